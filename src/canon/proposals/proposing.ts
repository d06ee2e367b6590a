/** Drafts proposals: from a request to the exact bodies to be committed, and the proposal's record. */
import { sha256 } from "@sigil/core/hash";
import type { Hash } from "@sigil/core/bytes";
import { cborEncode, type CborValue } from "@sigil/core/cbor";
import { fail, invalidField } from "../../errors.ts";
import {
  feedGrantPrefix,
  formatProposal,
  formatQuorum,
  formatWitness,
  modelDigest,
  parsePrincipal,
  parseSchema,
  principalPrefix,
  type FlipReportPayload,
  type ProposalCommit,
  encodeBody,
  hashRecord,
  type RecordBody,
  type RecordLink,
  quorumId,
  systemBody,
  witnessPrefix,
} from "@sigil/core/record";
import { proposalBodyBytesMax } from "../../limits.ts";
import type { CallContext } from "../../identity/caller.ts";
import type { LedgerReader } from "../../ledger/read/reading.ts";
import { candidateOf, checkWitnessKey } from "./candidate.ts";
import type { Content, RecordProposal, WitnessProposal } from "../domain.ts";
import { systemScope } from "./kept-proposal.ts";
import { proposableKind } from "../kinds.ts";
import { readNewest } from "../records/reading.ts";
import { looksLike } from "./look-alikes.ts";
import type { ProposalsDependencies } from "./proposals.ts";
import { planRegistryChange, type Registry } from "@sigil/core/quorum";

/** A proposal before it is sequenced. */
export type Draft = {
  /** Id of the system record to change. */
  readonly id: string;
  /** @param links of the changed record. @throws staleVersion, and errors of an invalid draft. */
  readonly bodies: (links: readonly RecordLink[], ts: number) => Promise<readonly RecordBody[]>;
  /** What its flip report says, for a model; run after the decision and outside the mutex. */
  readonly rescore?: ((call: CallContext) => Promise<Rescored>) | undefined;
  /** Expensive checks, run after the decision and outside the mutex. */
  readonly checkAllowed?: ((call: CallContext) => Promise<void>) | undefined;
  /** Called after the decision, before it is written. */
  readonly beforeWrite?: (() => Promise<void>) | undefined;
};

/** A flip report before its proposal has an id. */
type Rescored = Omit<FlipReportPayload, "proposal">;

export const decisionLink = (target: Hash): RecordLink => ({ label: "decision", target });

/** Compared with a repeat's, for idempotency. */
const contentBytes = (content: Content): CborValue =>
  content.kind === "payload" ? sha256(cborEncode(content.payload)) : null;

export const proposalBytes = (proposal: RecordProposal): Uint8Array =>
  cborEncode([
    proposal.id,
    contentBytes(proposal.content),
    proposal.expectedVersion ?? null,
    proposal.reason,
    proposal.lifetimeMs,
    proposal.commit,
  ]);

export const changeBytes = ({ change, reason, lifetimeMs, commit }: WitnessProposal): Uint8Array => {
  const { kind, ...parts } =
    "witness" in change ? { ...change, witness: formatWitness(change.witness) } : change;
  const values = Object.entries(parts).map(([name, value]): CborValue => [name, value ?? null]);
  return cborEncode([kind, values, reason, lifetimeMs, commit]);
};

/**
 * Refuses to erase a tenant without records: most likely a typo, and the name could never be used again. @throws
 * notFound, erased.
 */
const checkErasable = async (ledger: LedgerReader, id: string): Promise<void> => {
  const tenant = id.slice(id.indexOf("/") + 1);
  ledger.refuseErased(tenant);
  const [key] = await ledger.dataKeys({ tenant, limit: 1 });
  if (key === undefined) fail({ kind: "notFound", what: "record of tenant", id: tenant });
};

/** To somebody whom a quorum enrolled to read, and whose keys nobody changes alone. @throws invalidField. */
const checkFeedReader = async (ledger: LedgerReader, id: string): Promise<void> => {
  const recordId = principalPrefix + id.slice(feedGrantPrefix.length);
  const body = (await readNewest(ledger, systemScope, recordId))?.record.body;
  const principal = body?.kind === "principal" ? parsePrincipal(body.payload, body.schemaVersion) : undefined;
  if (principal?.active === true && principal.loa === "observer") return;
  invalidField("id", `must name an active Observer that a quorum enrolled: there is none as ${recordId}`);
};

type Drafting = Pick<ProposalsDependencies, "spellModel" | "rescore"> & {
  readonly compileSchema: (schema: CborValue, call: CallContext) => Promise<void>;
};

/** @throws invalidField, malformedRecord, malformedKey, malformedModel. */
export const draftRecord = (
  ledger: LedgerReader,
  { id, content, expectedVersion, checkAllowed, beforeWrite }: RecordProposal,
  { spellModel, compileSchema, rescore }: Drafting,
): Draft => {
  const rules = { spellModel, trustDomain: ledger.origin };
  const { kind, schemaVersion, payload } = candidateOf(proposableKind(id), id, content, rules);
  return {
    id,
    beforeWrite,
    checkAllowed:
      kind === "schema" ? (call) => compileSchema(parseSchema(payload).schema, call) : checkAllowed,
    rescore:
      kind === "trust_model"
        ? async (call) => ({ model: modelDigest(payload), ...(await rescore(payload, call)) })
        : undefined,
    bodies: async (links, ts) => {
      const newest = await readNewest(ledger, systemScope, id);
      const version = newest?.version ?? 0n;
      const exists = newest !== undefined && !newest.tombstone;
      const holds =
        expectedVersion === undefined || expectedVersion === version || (expectedVersion === 0n && !exists);
      if (!holds) fail({ kind: "staleVersion", id, version });
      if (content.kind === "tombstone" && !exists) fail({ kind: "notFound", what: "system record", id });
      if (kind === "erasure") await checkErasable(ledger, id);
      if (kind === "feed_grant") await checkFeedReader(ledger, id);
      const prev = newest?.record.hash ?? null;
      return [systemBody({ kind, schemaVersion, id, payload, links, prev, ts })];
    },
  };
};

/** @throws invalidField naming the rule that the new registry would break, malformedKey. */
export const draftChange = (
  ledger: LedgerReader,
  { change }: WitnessProposal,
  registry: () => Promise<Registry>,
): Draft => ({
  id: quorumId,
  bodies: async (links, ts) => {
    const current = await registry();
    const plan = planRegistryChange(current, change, looksLike);
    if (plan.kind === "refused") {
      return invalidField(`${change.kind}.${plan.field}`, plan.rule);
    }
    const payload = formatQuorum(plan.quorum);
    const quorum = { kind: "quorum", id: quorumId, payload, prev: current.hash, ts };
    if (plan.enrols === null) return [systemBody({ ...quorum, links })];
    const id = witnessPrefix + plan.enrols.id;
    const witness = formatWitness(plan.enrols.witness);
    checkWitnessKey(
      witness,
      ledger.ring.entries.map(({ publicKey }) => publicKey),
    );
    const prev = (await readNewest(ledger, systemScope, id))?.record.hash ?? null;
    const enrolled = systemBody({ kind: "witness", id, payload: witness, links, prev, ts });
    // Links the quorum record to the witness record, so that attesting one attests both.
    const target = hashRecord(encodeBody(enrolled));
    return [systemBody({ ...quorum, links: [{ label: "witness", target }, ...links] }), enrolled];
  },
});

/** The proposal's own record. */
export const proposalBody = (
  id: string,
  [body, ...others]: readonly RecordBody[],
  put: {
    readonly epoch: number;
    readonly ts: number;
    readonly lifetimeMs: number;
    readonly proposer: string;
    readonly reason: string;
    readonly commit: ProposalCommit;
    readonly links: readonly RecordLink[];
  },
): RecordBody => {
  const main = body as RecordBody;
  const { epoch, ts, lifetimeMs, proposer, reason, commit, links } = put;
  const encoded = [main, ...others].map(encodeBody);
  const bytes = encoded.reduce((sum, { length }) => sum + length, 0);
  if (bytes > proposalBodyBytesMax) {
    fail({ kind: "tooLarge", what: "the proposed record", bytes, limit: proposalBodyBytesMax });
  }
  const payload = formatProposal({
    body: encoded[0] as Uint8Array,
    with: encoded.slice(1),
    base: main.prev,
    epoch,
    expiresMs: ts + lifetimeMs,
    proposer,
    reason,
    commit,
  });
  return systemBody({ kind: "proposal", id, ts, space: "user", payload, links });
};
