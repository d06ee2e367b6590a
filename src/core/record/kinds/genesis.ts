/** Payload of `genesis`, the record at position 0: the root of trust. Pure. Source: docs/spec/record.md §6. */
import { toHex, type PublicKey } from "../../bytes.ts";
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import { distinct, exactMap, listField, publicKeyField, refuseField, textField } from "../fields.ts";
import { attestationsMax } from "../../limits.ts";
import { recordIdFault } from "../names.ts";
import {
  formatPrincipal,
  formatWitness,
  ownerName,
  principalKeys,
  readK,
  readPrincipal,
  readWitness,
  witnessKeys,
  type PrincipalPayload,
  type WitnessPayload,
} from "./governance.ts";
import { formatTrustModel, parseTrustModel, type TrustModelPayload } from "./trust-model.ts";

export interface GenesisPayload {
  readonly format: 1;
  readonly origin: string;
  /** The first Root principal. */
  readonly root: PrincipalPayload & { readonly id: string };
  readonly witnesses: readonly (WitnessPayload & { readonly id: string })[];
  readonly k: number;
  readonly model: TrustModelPayload;
  /** The first signing keys, one per role. */
  readonly keys: { readonly record: PublicKey; readonly checkpoint: PublicKey };
}

const genesisKeys = ["format", "origin", "root", "witnesses", "k", "model", "keys"];
const rootKeys = ["id", ...principalKeys];
const namedWitnessKeys = ["id", ...witnessKeys];
const keysKeys = ["record", "checkpoint"];

const readId = (map: CborMap, path: string): string => {
  const id = textField(map, path, "id");
  const fault = recordIdFault(id);
  return fault === null ? id : refuseField(path, "id", fault);
};

const readNamedWitness = (item: CborValue, path: string): WitnessPayload & { readonly id: string } => {
  const map = exactMap(item, path, namedWitnessKeys);
  textField(map, path, "owner");
  return { id: readId(map, path), ...readWitness(map, path) };
};

/** @throws malformedRecord naming the field. Witness ids, witness keys and the two signing keys are all distinct. */
export const parseGenesis = (payload: CborValue): GenesisPayload => {
  const path = "payload";
  const map = exactMap(payload, path, genesisKeys);
  if (map["format"] !== 1) refuseField(path, "format", "must be 1");
  const root = exactMap(map["root"], "payload.root", rootKeys);
  const keys = exactMap(map["keys"], "payload.keys", keysKeys);
  const witnesses = listField(map, path, "witnesses", readNamedWitness, attestationsMax);
  const signers = {
    record: publicKeyField(keys, "payload.keys", "record"),
    checkpoint: publicKeyField(keys, "payload.keys", "checkpoint"),
  };
  distinct(
    witnesses.map(({ id }) => id),
    "payload.witnesses",
    "must have distinct ids",
  );
  // Otherwise the operator could attest for itself.
  distinct(
    [signers.record, signers.checkpoint, ...witnesses.map(({ publicKey }) => publicKey)].map(toHex),
    "payload.witnesses",
    "and signing keys must all be distinct keys",
  );
  // Two witnesses of one owner would not be independent.
  distinct(
    witnesses.map(({ owner }) => ownerName(owner)),
    "payload.witnesses",
    "must have distinct owners",
  );
  return {
    format: 1,
    origin: textField(map, path, "origin"),
    root: { id: readId(root, "payload.root"), ...readPrincipal(root, "payload.root") },
    witnesses,
    k: readK(map, path, witnesses.length),
    model: parseTrustModel(map["model"] ?? null, "payload.model"),
    keys: signers,
  };
};

export const formatGenesis = (genesis: GenesisPayload): CborMap => ({
  format: genesis.format,
  origin: genesis.origin,
  root: { id: genesis.root.id, ...formatPrincipal(genesis.root) },
  witnesses: genesis.witnesses.map((witness) => ({ id: witness.id, ...formatWitness(witness) })),
  k: genesis.k,
  model: formatTrustModel(genesis.model),
  keys: { record: genesis.keys.record, checkpoint: genesis.keys.checkpoint },
});
