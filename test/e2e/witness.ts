/** A witness at its own machine: what it is shown is hashed here, and only its signature leaves. */
import { createHash, createPublicKey, sign, type KeyObject } from "node:crypto";
import type { Proposal } from "@sigil/client";
import { attestationToSign, formatAttestationStatement } from "../../src/core/quorum/statement.ts";
import type { Attestation } from "../../src/core/record/attestation.ts";
import { parseHash, parsePublicKey } from "../../src/core/bytes.ts";

export type Signing = Partial<Attestation> & { readonly origin?: string };

/** The statement of whoever holds the key; `changes` makes it say something else than the proposal. */
export const attest = (proposal: Proposal, privateKey: KeyObject, changes: Signing = {}): Uint8Array => {
  const { origin = proposal.origin, ...said } = changes;
  const attestation: Attestation = {
    proposal: proposal.id,
    record: parseHash(createHash("sha256").update(proposal.body).digest()),
    epoch: Number(proposal.epoch),
    verdict: "approve",
    ...said,
  };
  const { x } = createPublicKey(privateKey).export({ format: "jwk" });
  const publicKey = parsePublicKey(Buffer.from(x ?? "", "base64url"));
  const toSign = attestationToSign(attestation, { origin, publicKey });
  return formatAttestationStatement(toSign, sign(null, toSign.message, privateKey));
};
