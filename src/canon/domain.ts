/** Domain types of records and proposals; `rpc/` converts them to and from protobuf. Pure. */
import type { Hash } from "@sigil/core/bytes";
import type { CborValue } from "@sigil/core/cbor";
import type { CallContext } from "../identity/caller.ts";
import type { AskedFeed } from "../identity/feed-reach.ts";
import type {
  AttestationRole,
  Disclosing,
  FrozenVerdict,
  ProposalCommit,
  ProposalOutcome,
  Space,
  RecordBody,
  RecordLink,
  StoredRecord,
} from "@sigil/core/record";
import type { EnrolledWitness, Registry, RegistryChange } from "@sigil/core/quorum";
import type { Room } from "../identity/caller.ts";

/** Context of a walk over records. `room` is the reply budget, acquired before records are read. */
export type WalkContext = { readonly signal: AbortSignal; readonly room?: Room };

export type VersionedRecord = {
  readonly record: StoredRecord;
  /** Counts from 1. */
  readonly version: bigint;
  /** Whether this version is a tombstone. */
  readonly tombstone: boolean;
};

export type Content =
  | { readonly kind: "payload"; readonly payload: CborValue }
  | { readonly kind: "tombstone" };

export type Write = {
  readonly id: string;
  /** May be empty for a tombstone. */
  readonly kind: string;
  readonly schemaVersion: number;
  readonly content: Content;
  readonly links: readonly RecordLink[];
  /** 0: must not exist, or be a tombstone. Undefined: any version. */
  readonly expectedVersion: bigint | undefined;
};

export type Written = VersionedRecord & { readonly auditId: string; readonly replayed: boolean };

export type RecordName = {
  readonly id: string;
  readonly space: Space;
  /** Empty for the caller's own, or "system" in the system space. */
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

/** Which parts of a record are returned; page tokens are bound to it. */
export type Presentation = {
  readonly view: "full" | "metadata";
  /** Dotted paths into the payload; empty for all of it. */
  readonly payloadMask: readonly string[];
};

export type RecordQuery = {
  readonly filter: RecordFilter;
  readonly presentation: Presentation;
  /** 0 for the default. */
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
  /** Empty to start from the beginning. */
  readonly afterId: string;
  /** 0 for the current size. */
  readonly size: bigint;
};

export type ExportedRecord = { readonly record: VersionedRecord; readonly ledgerSize: bigint };

/** Which records a watch sends; its parts are joined by "and". */
export type WatchSelection = Pick<RecordFilter, "idPrefix" | "linkTarget" | "fromMs" | "untilMs"> &
  Omit<AskedFeed, "asksDecisions"> & {
    /** Whom the decision that a record is, or that allowed it, is by or about; empty for anybody. */
    readonly principals: readonly string[];
    /** Of decisions; empty for any record. */
    readonly verdicts: readonly FrozenVerdict[];
  };

export type WatchQuery = {
  readonly selection: WatchSelection;
  /** Undefined to start now. */
  readonly from: bigint | undefined;
  readonly heartbeatMs: number;
  /** Whether each event comes with a proof against the checkpoint before it. */
  readonly proof: "none" | "inclusion" | "evidence";
  /** Size of the newest checkpoint that the caller has verified. */
  readonly knownSize: bigint | undefined;
  /** Whether records come with what opens their commitments. */
  readonly disclosing: Disclosing;
};

/** `next` is the position at which a watch resumes after the event; `proof` is there if it was asked for. */
export type WatchEvent =
  | {
      readonly kind: "record";
      readonly record: VersionedRecord;
      readonly next: bigint;
      readonly proof?: readonly Hash[];
    }
  | {
      /** What is left of an erased record. */
      readonly kind: "erased";
      readonly position: bigint;
      readonly leaf: Hash;
      readonly next: bigint;
      readonly proof?: readonly Hash[];
    }
  | {
      readonly kind: "heartbeat";
      readonly checkpoint: string;
      readonly timeMs: number;
      readonly next: bigint;
      /** That the tree begins with the one of the checkpoint before. */
      readonly proof?: readonly Hash[];
    };

export type ReceivedAttestation = {
  readonly witness: string;
  readonly role: AttestationRole;
  readonly epoch: number;
  readonly timeMs: number;
  /** COSE_Sign1. */
  readonly statement: Uint8Array;
  /** Whether it counts under the current registry. */
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
  /** The current epoch of the registry. */
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

/** Options common to all proposals. */
type Putting = {
  readonly reason: string;
  readonly lifetimeMs: number;
  readonly commit: ProposalCommit;
  /** Empty for none. */
  readonly idempotencyKey: string;
};

export type RecordProposal = Putting & {
  readonly id: string;
  readonly content: Content;
  readonly expectedVersion: bigint | undefined;
  /** Expensive checks, run only after proposing was allowed; an exception refuses the proposal. */
  readonly checkAllowed?: (call: CallContext) => Promise<void>;
  /** The RPC called, if not ProposeRecord: idempotency keys are per method. */
  readonly method?: string;
  /** Called when the proposal is allowed, before it is written; an exception refuses the proposal. */
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
