/**
 * Every kind of record that has a schema, and the check that runs on write and on read. Pure.
 * Source: docs/spec/record.md §6. A kind without a schema is user data, and only the user space holds it.
 */
import type { CborValue } from "./cbor.ts";
import { refuseField } from "./fields.ts";
import { parseAttestationRecord, parseSchema, parseTombstone } from "./kinds/canon.ts";
import { parseErased, parseErasure } from "./kinds/erasure.ts";
import { parseFrozenChain } from "./kinds/frozen-chain.ts";
import { parseGenesis } from "./kinds/genesis.ts";
import { parsePrincipal, parseQuorum, parseSigningKey, parseWitness } from "./kinds/governance.ts";
import { parseModule } from "./kinds/module.ts";
import { parseModuleRun } from "./kinds/module-run.ts";
import { parseProposal, parseProposalEnding } from "./kinds/proposal.ts";
import { parseKeyRetirement, parseRestoration } from "./kinds/upkeep.ts";
import { parseTrustModel } from "./kinds/trust-model.ts";
import type { Space } from "./names.ts";

export * from "./kinds/canon.ts";
export * from "./kinds/erasure.ts";
export * from "./kinds/frozen-chain.ts";
export * from "./kinds/governance.ts";
export * from "./kinds/module.ts";
export * from "./kinds/module-run.ts";
export * from "./kinds/proposal.ts";
export * from "./kinds/upkeep.ts";
export { formatGenesis, parseGenesis, type GenesisPayload } from "./kinds/genesis.ts";
export { formatTrustModel, parseTrustModel, type TrustModelPayload } from "./kinds/trust-model.ts";

interface Schema {
  /** The only payload version known; another is refused rather than guessed at. */
  readonly schemaVersion: number;
  /** Kinds that govern are believed by their kind alone, so they exist only where a quorum writes. */
  readonly spaces: "system" | "both";
  readonly parse: (payload: CborValue) => unknown;
}

const schemas: ReadonlyMap<string, Schema> = new Map<string, Schema>([
  ["genesis", { schemaVersion: 1, spaces: "system", parse: parseGenesis }],
  ["signing_key", { schemaVersion: 1, spaces: "system", parse: parseSigningKey }],
  ["frozen_chain", { schemaVersion: 1, spaces: "both", parse: parseFrozenChain }],
  ["trust_model", { schemaVersion: 1, spaces: "system", parse: (payload) => parseTrustModel(payload) }],
  ["principal", { schemaVersion: 1, spaces: "both", parse: parsePrincipal }],
  ["witness", { schemaVersion: 1, spaces: "system", parse: parseWitness }],
  ["quorum", { schemaVersion: 1, spaces: "system", parse: parseQuorum }],
  ["module", { schemaVersion: 1, spaces: "system", parse: parseModule }],
  ["module_run", { schemaVersion: 1, spaces: "both", parse: parseModuleRun }],
  ["proposal", { schemaVersion: 1, spaces: "both", parse: parseProposal }],
  ["attestation", { schemaVersion: 1, spaces: "both", parse: parseAttestationRecord }],
  ["schema", { schemaVersion: 1, spaces: "system", parse: parseSchema }],
  ["key_retirement", { schemaVersion: 1, spaces: "system", parse: parseKeyRetirement }],
  ["restoration", { schemaVersion: 1, spaces: "system", parse: parseRestoration }],
  ["erasure", { schemaVersion: 1, spaces: "system", parse: parseErasure }],
  ["erased", { schemaVersion: 1, spaces: "system", parse: parseErased }],
  ["tombstone", { schemaVersion: 1, spaces: "both", parse: parseTombstone }],
  ["proposal_ending", { schemaVersion: 1, spaces: "both", parse: parseProposalEnding }],
]);

/** Names of the kinds with a schema. */
export const knownKinds: readonly string[] = [...schemas.keys()];

/** @throws malformedRecord when the kind may not be in the space, its version is unknown or a field breaks a rule. */
export const checkPayload = (kind: string, space: Space, payload: CborValue, schemaVersion = 1): void => {
  const schema = schemas.get(kind);
  if (schema === undefined) {
    if (space === "system") refuseField("kind", "", "is unknown and the system space holds known kinds only");
    return;
  }
  if (schema.spaces === "system" && space !== "system") {
    refuseField("space", "", `must be system for kind ${kind}`);
  }
  if (schemaVersion !== schema.schemaVersion) {
    refuseField("schema_version", "", `must be ${schema.schemaVersion} for kind ${kind}`);
  }
  schema.parse(payload);
};
