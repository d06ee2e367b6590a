/** The payload that a witness signs about a proposal. Pure. Source: docs/spec/record.md §4. */
import type { Hash } from "../bytes.ts";
import { cborDecode, cborEncode } from "../cbor/cbor.ts";
import { exactMap, hashField, oneOfField, refuseField, textField, uintField } from "./fields.ts";
import { recordIdFault } from "./names.ts";

export const attestationVerdicts = ["approve", "reject"] as const;

export interface Attestation {
  /** The proposal's id; also the subject of the statement. */
  readonly proposal: string;
  /** Hash of the body that would be committed. */
  readonly record: Hash;
  /** Version of the witness registry. */
  readonly epoch: number;
  readonly verdict: (typeof attestationVerdicts)[number];
}

const attestationKeys = ["proposal", "record", "epoch", "verdict"];

/** The payload of an attestation statement. @throws malformedRecord naming the field. */
export const encodeAttestation = (attestation: Attestation): Uint8Array => {
  const bytes = cborEncode({
    proposal: attestation.proposal,
    record: attestation.record,
    epoch: attestation.epoch,
    verdict: attestation.verdict,
  });
  decodeAttestation(bytes);
  return bytes;
};

/** @throws malformedCbor with the offset, malformedRecord naming the field. */
export const decodeAttestation = (bytes: Uint8Array): Attestation => {
  const path = "attestation";
  const map = exactMap(cborDecode(bytes), path, attestationKeys);
  const proposal = textField(map, path, "proposal");
  const fault = recordIdFault(proposal);
  if (fault !== null) refuseField(path, "proposal", fault);
  return {
    proposal,
    record: hashField(map, path, "record"),
    epoch: uintField(map, path, "epoch"),
    verdict: oneOfField(map, path, "verdict", attestationVerdicts),
  };
};
