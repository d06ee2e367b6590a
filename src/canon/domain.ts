/**
 * Records, proposals and their answers, as the services speak of them; `rpc/` turns them to and from protobuf. Pure.
 */
import type { Hash } from "@sigil/core/bytes";
import type { CborValue } from "@sigil/core/cbor";
import type { CallContext } from "../identity/caller.ts";
import type {
  AttestationRole,
  ProposalCommit,
  ProposalOutcome,
  Space,
  RecordBody,
  RecordLink,
  StoredRecord,
} from "@sigil/core/record";
import type { EnrolledWitness, Registry, RegistryChange } from "@sigil/core/quorum";
import type { Room } from "../identity/caller.ts";

/**
 * What a walk over records is bound to. @param room is entered before records are read, where the caller takes room for
 * them.
 */
export type WalkContext = { readonly signal: AbortSignal; readonly room?: Room };

export type VersionedRecord = {
  readonly record: StoredRecord;
  /** From 1. */
  readonly version: bigint;
  /** Whether this version ends the record. */
  readonly tombstone: boolean;
};

export type Content =
  | { readonly kind: "payload"; readonly payload: CborValue }
  | { readonly kind: "tombstone" };

export type Write = {
  readonly id: string;
  /** Empty for a tombstone that does not say. */
  readonly kind: string;
  readonly schemaVersion: number;
  readonly content: Content;
  readonly links: readonly RecordLink[];
  /** 0: must not exist, or be a tombstone. Undefined: whatever it is. */
  readonly expectedVersion: bigint | undefined;
};

export type Written = VersionedRecord & { readonly auditId: string; readonly replayed: boolean };

export type RecordName = {
  readonly id: string;
  readonly space: Space;
  /** Empty means the caller's own, or "system" in the system space. */
  readonly tenant: string;
};

export type RecordAt =
  | { readonly kind: "newest" }
  | { readonly kind: "version"; readonly version: bigint }
  | { readonly kind: "hash"; readonly hash: Hash }
  | { readonly kind: "size"; readonly size: bigint };

export type RecordFilter = {
  readonly space: Space;
  readonly tenant: string;
  /** Empty strings, null and undefined match everything. */
  readonly kind: string;
  readonly idPrefix: string;
  readonly linkTarget: Hash | null;
  readonly fromMs: number | undefined;
  readonly untilMs: number | undefined;
  readonly includeTombstones: boolean;
};

/** How much of a record is sent; a page token is bound to it. */
export type Presentation = {
  readonly view: "full" | "metadata";
  /** Dotted paths into the payload; empty means all of it. */
  readonly payloadMask: readonly string[];
};

export type RecordQuery = {
  readonly filter: RecordFilter;
  readonly presentation: Presentation;
  /** 0 means the default. */
  readonly pageSize: number;
  readonly pageToken: string;
};

export type RecordPage = {
  readonly records: readonly VersionedRecord[];
  readonly nextPageToken: string;
  readonly ledgerSize: bigint;
};

export type HistoryQuery = {
  readonly name: RecordName;
  readonly presentation: Presentation;
  readonly oldestFirst: boolean;
  readonly pageSize: number;
  readonly pageToken: string;
};

export type Export = {
  readonly filter: RecordFilter;
  /** Empty means from the beginning. */
  readonly afterId: string;
  /** 0 means as the ledger is now. */
  readonly size: bigint;
};

export type ExportedRecord = { readonly record: VersionedRecord; readonly ledgerSize: bigint };

export type WatchQuery = {
  readonly filter: RecordFilter;
  /** Undefined means from now on. */
  readonly from: bigint | undefined;
  readonly heartbeatMs: number;
};

/** `next` is where a watch goes on after the event. */
export type WatchEvent =
  | { readonly kind: "record"; readonly record: VersionedRecord; readonly next: bigint }
  | {
      readonly kind: "heartbeat";
      readonly checkpoint: string;
      readonly timeMs: number;
      readonly next: bigint;
    };

export type ReceivedAttestation = {
  readonly witness: string;
  readonly role: AttestationRole;
  readonly epoch: number;
  readonly timeMs: number;
  /** COSE_Sign1. */
  readonly statement: Uint8Array;
  /** Whether it counts under the registry of now. */
  readonly counts: boolean;
};

export type Proposal = {
  readonly id: string;
  readonly position: bigint;
  readonly outcome: "open" | ProposalOutcome;
  readonly endingReason: string;
  readonly body: RecordBody;
  readonly bodyBytes: Uint8Array;
  readonly recordHash: Hash;
  readonly with: readonly Uint8Array[];
  readonly origin: string;
  /** The registry's epoch now. */
  readonly epoch: number;
  readonly base: Hash | null;
  readonly proposer: string;
  readonly reason: string;
  readonly timeMs: number;
  readonly expiresMs: number;
  readonly commit: ProposalCommit;
  readonly attestations: readonly ReceivedAttestation[];
  readonly approvedBy: readonly string[];
  readonly rejectedBy: readonly string[];
  readonly approvalsNeeded: number;
  readonly possessionNeeded: boolean;
  readonly enrols: { readonly witness: string; readonly publicKey: Uint8Array } | null;
  readonly committedPosition: bigint | null;
};

/** What every proposal brings, whatever it would change. */
type Putting = {
  readonly reason: string;
  readonly lifetimeMs: number;
  readonly commit: ProposalCommit;
  /** Empty means none. */
  readonly idempotencyKey: string;
};

export type RecordProposal = Putting & {
  readonly id: string;
  readonly content: Content;
  readonly expectedVersion: bigint | undefined;
  /** What costs too much to be looked at before proposing is allowed; what it throws refuses the proposal. */
  readonly checkAllowed?: (call: CallContext) => Promise<void>;
  /** The method that was called, where it is not ProposeRecord: an idempotency key is good for one method. */
  readonly method?: string;
  /** Done when the proposal is allowed and about to be written; what it throws refuses the proposal. */
  readonly beforeWrite?: () => Promise<void>;
};

export type WitnessProposal = Putting & { readonly change: RegistryChange };

export type Proposed = { readonly proposal: Proposal; readonly auditId: string };

export type ProposalQuery = {
  readonly outcome: Proposal["outcome"] | undefined;
  readonly waitingForWitness: string;
  readonly recordId: string;
  readonly pageSize: number;
  readonly pageToken: string;
};

export type ProposalPage = { readonly proposals: readonly Proposal[]; readonly nextPageToken: string };

export type Attested = {
  readonly proposal: Proposal;
  readonly attestation: ReceivedAttestation;
  readonly committed: VersionedRecord | null;
  readonly auditId: string;
};

export type SystemRecord = {
  readonly record: VersionedRecord;
  readonly attestedBy: readonly string[];
  readonly k: number;
  readonly n: number;
  readonly epoch: number;
  readonly proposalId: string;
};

/** A page of the registry's witnesses, by id. */
export type WitnessPage = {
  readonly registry: Registry;
  readonly witnesses: readonly EnrolledWitness[];
  readonly nextPageToken: string;
};

export type SetRegistry = { readonly registry: Registry; readonly record: VersionedRecord };
