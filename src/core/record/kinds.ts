/**
 * Every kind of record that has a schema, and the check that runs on write and on read. Pure.
 * Source: docs/spec/record.md §6. A kind without a schema is user data, and only the user space holds it.
 */
import type { CborValue } from "../cbor/cbor.ts";
import { refuseField } from "./fields.ts";
import { parseAttestationRecord, parseSchema, parseTombstone } from "./kinds/canon.ts";
import { parseCallerHead } from "./kinds/caller-head.ts";
import { parseErased, parseErasure } from "./kinds/erasure.ts";
import { parseFeedGrant } from "./kinds/feed-grant.ts";
import { parseFlipReport } from "./kinds/flip-report.ts";
import { parseFrozenChain } from "./kinds/frozen-chain.ts";
import { parseFrozenChain1 } from "./kinds/frozen-chain-1.ts";
import { parseGenesis } from "./kinds/genesis.ts";
import { parsePrincipal, parseQuorum, parseSigningKey, parseWitness } from "./kinds/governance.ts";
import { parseModule } from "./kinds/module.ts";
import { parseModuleRun, parseModuleRun1 } from "./kinds/module-run.ts";
import { parseProposal, parseProposalEnding } from "./kinds/proposal.ts";
import { parseSuspension } from "./kinds/suspension.ts";
import { parseKeyRetirement, parseRestoration } from "./kinds/operations.ts";
import { parseTrustModel } from "./kinds/trust-model.ts";
import type { Space } from "./names.ts";

export * from "./kinds/canon.ts";
export * from "./kinds/caller-head.ts";
export * from "./kinds/erasure.ts";
export * from "./kinds/feed-grant.ts";
export * from "./kinds/flip-report.ts";
export * from "./kinds/frozen-chain.ts";
export * from "./kinds/governance.ts";
export * from "./kinds/module.ts";
export * from "./kinds/module-run.ts";
export * from "./kinds/proposal.ts";
export * from "./kinds/suspension.ts";
export * from "./kinds/operations.ts";
export { formatGenesis, parseGenesis, type GenesisPayload } from "./kinds/genesis.ts";
export { formatTrustModel, parseTrustModel, type TrustModelPayload } from "./kinds/trust-model.ts";

type Parse = (payload: CborValue) => unknown;

interface Schema {
  /** Governing kinds are trusted by kind alone, so they are allowed only in the system space, which quorums write. */
  readonly spaces: "system" | "both";
  /** Parsers by payload version, from 1. A version is never changed or dropped; unknown versions are refused. */
  readonly versions: readonly [Parse, ...Parse[]];
}

const schemas: ReadonlyMap<string, Schema> = new Map<string, Schema>([
  ["genesis", { spaces: "system", versions: [parseGenesis] }],
  [
    "signing_key",
    {
      spaces: "system",
      versions: [(payload) => parseSigningKey(payload, 1), (payload) => parseSigningKey(payload, 2)],
    },
  ],
  ["frozen_chain", { spaces: "both", versions: [parseFrozenChain1, parseFrozenChain] }],
  ["trust_model", { spaces: "system", versions: [(payload) => parseTrustModel(payload)] }],
  [
    "principal",
    {
      spaces: "both",
      versions: [(payload) => parsePrincipal(payload, 1), (payload) => parsePrincipal(payload, 2)],
    },
  ],
  ["witness", { spaces: "system", versions: [parseWitness] }],
  ["quorum", { spaces: "system", versions: [parseQuorum] }],
  ["module", { spaces: "system", versions: [parseModule] }],
  ["module_run", { spaces: "both", versions: [parseModuleRun1, parseModuleRun] }],
  ["proposal", { spaces: "both", versions: [parseProposal] }],
  ["attestation", { spaces: "both", versions: [parseAttestationRecord] }],
  ["schema", { spaces: "system", versions: [parseSchema] }],
  [
    "key_retirement",
    {
      spaces: "system",
      versions: [(payload) => parseKeyRetirement(payload, 1), (payload) => parseKeyRetirement(payload, 2)],
    },
  ],
  ["restoration", { spaces: "system", versions: [parseRestoration] }],
  ["erasure", { spaces: "system", versions: [parseErasure] }],
  ["erased", { spaces: "system", versions: [parseErased] }],
  ["suspension", { spaces: "system", versions: [parseSuspension] }],
  ["feed_grant", { spaces: "system", versions: [parseFeedGrant] }],
  ["caller_head", { spaces: "both", versions: [parseCallerHead] }],
  ["flip_report", { spaces: "both", versions: [parseFlipReport] }],
  ["tombstone", { spaces: "both", versions: [parseTombstone] }],
  ["proposal_ending", { spaces: "both", versions: [parseProposalEnding] }],
]);

/** Names of the kinds with a schema. */
export const knownKinds: readonly string[] = [...schemas.keys()];

/** @returns undefined if any payload is allowed. @throws malformedRecord. */
const schemaOf = (kind: string, space: Space, schemaVersion: number): Parse | undefined => {
  const schema = schemas.get(kind);
  if (schema === undefined) {
    if (space === "system") refuseField("kind", "", "is unknown and the system space holds known kinds only");
    return undefined;
  }
  if (schema.spaces === "system" && space !== "system") {
    refuseField("space", "", `must be system for kind ${kind}`);
  }
  const parse = schema.versions[schemaVersion - 1];
  if (parse === undefined) {
    const known = schema.versions.map((_, index) => index + 1).join(" or ");
    return refuseField("schema_version", "", `must be ${known} for kind ${kind}`);
  }
  return parse;
};

/** @throws malformedRecord if the kind is not allowed in the space, its version is unknown or a field breaks a rule. */
export const checkPayload = (kind: string, space: Space, payload: CborValue, schemaVersion = 1): void => {
  schemaOf(kind, space, schemaVersion)?.(payload);
};
