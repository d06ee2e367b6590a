/** The interfaces of Canon, implemented in records.ts and quorum.ts. Types only. */
import type { PublicKey } from "@sigil/core/bytes";
import type { CallContext, Caller } from "../identity/caller.ts";
import type { PageQuery } from "../ledger/layout/paging.ts";
import type {
  Attested,
  Export,
  ExportedRecord,
  HistoryQuery,
  Proposal,
  ProposalPage,
  ProposalQuery,
  Proposed,
  RecordAt,
  RecordName,
  RecordPage,
  RecordProposal,
  RecordQuery,
  SetRegistry,
  SystemRecord,
  VersionedRecord,
  WatchEvent,
  WatchQuery,
  WitnessPage,
  WitnessProposal,
  WalkContext,
  Write,
  Written,
} from "./domain.ts";

/** The user space, and reads in both spaces. */
export type RecordsService = {
  /** @throws denied, staleVersion, invalidField, malformedRecord, idempotencyConflict, indeterminate. */
  readonly write: (
    caller: Caller,
    write: Write,
    idempotencyKey: string,
    call: CallContext,
  ) => Promise<Written>;
  readonly batchWrite: (
    caller: Caller,
    writes: readonly Write[],
    idempotencyKey: string,
    call: CallContext,
  ) => Promise<readonly Written[]>;
  /** @throws notFound, recordCorrupt, tenantForbidden. */
  readonly get: (caller: Caller, name: RecordName, at: RecordAt) => Promise<VersionedRecord>;
  /** @throws invalidPageToken, recordCorrupt naming the position, cancelled. */
  readonly list: (caller: Caller, query: RecordQuery, signal: AbortSignal) => Promise<RecordPage>;
  readonly stream: (caller: Caller, from: Export, call: WalkContext) => AsyncIterable<ExportedRecord>;
  readonly history: (caller: Caller, query: HistoryQuery, signal: AbortSignal) => Promise<RecordPage>;
  /** Completes when the signal aborts. */
  readonly watch: (caller: Caller, query: WatchQuery, call: WalkContext) => AsyncIterable<WatchEvent>;
};

/** The system space: proposals, witnesses, and committed records. */
export type QuorumService = {
  /** @throws denied, staleVersion, invalidField, malformedModel, malformedRecord, malformedKey, queueFull. */
  readonly propose: (caller: Caller, proposal: RecordProposal, call: CallContext) => Promise<Proposed>;
  readonly proposeWitnessChange: (
    caller: Caller,
    proposal: WitnessProposal,
    call: CallContext,
  ) => Promise<Proposed>;
  /** @throws notFound, recordCorrupt. */
  readonly get: (
    caller: Caller,
    id: string,
  ) => Promise<{
    readonly proposal: Proposal;
    readonly current: VersionedRecord | null;
    /** The body of the flip report that the proposed body names, for callers of tenant "system". */
    readonly flipReport: Uint8Array | null;
  }>;
  /** @throws invalidPageToken, invalidField, recordCorrupt, cancelled. */
  readonly list: (caller: Caller, query: ProposalQuery, signal: AbortSignal) => Promise<ProposalPage>;
  /** @throws notFound, attestationForged, attestationRepeated, attestationRefused, proposalEnded. */
  readonly attest: (id: string, statement: Uint8Array, call: CallContext) => Promise<Attested>;
  /** @throws notFound, quorumShort, proposalEnded, attestationRefused. */
  readonly commit: (
    caller: Caller,
    id: string,
    call: CallContext,
  ) => Promise<{ readonly proposal: Proposal; readonly record: VersionedRecord }>;
  readonly withdraw: (caller: Caller, id: string, reason: string, call: CallContext) => Promise<Proposal>;
  /** @param version 0n for the newest. @throws notFound, recordCorrupt. */
  readonly systemRecord: (id: string, version: bigint) => Promise<SystemRecord>;
  readonly registry: () => Promise<SetRegistry>;
  /** Page size 0 returns all. @throws invalidPageToken. */
  readonly witnesses: (caller: Caller, query: PageQuery) => Promise<WitnessPage>;
};

/** The mutex and checks shared with other changes of authorization. */
export type GovernedTurns = {
  /** Runs a step under the mutex of governed changes, so that each sees the others' effects. @throws notServing. */
  readonly inTurn: <Result>(step: () => Promise<Result>) => Promise<Result>;
  /** Whether enough witnesses could approve a proposal made by this principal now. @throws recordCorrupt. */
  readonly reaches: (proposer: string, proposerKeys: readonly PublicKey[]) => Promise<boolean>;
};
