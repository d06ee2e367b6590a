/** Options for opening a ledger, and the types that its users see. */
import type { Hash } from "@sigil/core/bytes";
import type { SigilError } from "../../errors.ts";
import type { PublishedRecord, RecordBody } from "@sigil/core/record";
import type { Store } from "../../storage/store.ts";
import type { Anchor } from "./anchor.ts";
import type { Appended } from "./commit.ts";
import type { DataKeys } from "../sealing/sealer.ts";
import type { SigningKeys } from "./signers.ts";

export type LedgerOptions = {
  readonly origin: string;
  /** Hash of the genesis record: the root of trust. */
  readonly genesis: Hash;
  readonly openStore: () => Promise<Store>;
  readonly anchor: Anchor;
  readonly signingKeys: SigningKeys;
  /** Whether checkpoints that leave as proofs are signed by ML-DSA-44 as well; the first key is made at the start. */
  readonly mldsa44?: boolean;
  readonly dataKeys: DataKeys;
  /** A tenant's key for blind tags, 32 bytes. */
  readonly indexKey: (tenant: string) => Promise<Uint8Array>;
  /** The key of the ledger's summary, 32 bytes; never stored in clear in the data directory. */
  readonly summaryKey: () => Promise<Uint8Array>;
  readonly nowMs: () => number;
  readonly observe?: LedgerObserver;
};

/** Events for metrics and logs; never a payload. Observers must not throw. */
export type LedgerObserver = {
  readonly onStatus?: (status: LedgerStatus) => void;
  readonly onGroup?: (records: number) => void;
  readonly onVerifyFailure?: (error: SigilError) => void;
  /** Called when an erasure is complete. @param records how many were erased. */
  readonly onErased?: (tenant: string, records: bigint) => void;
  /** Called for the log with the reason the ledger stopped, or an error that a listener threw. */
  readonly onFault?: (cause: unknown) => void;
};

/** A new object for each change: if two reads give the same object, no recovery happened between them. */
export type LedgerStatus =
  | { readonly kind: "serving" }
  /** Reopening and checking the store after a store error; recovers automatically. */
  | { readonly kind: "recovering"; readonly rule: string }
  /** Found damage that an operator must resolve; never recovers automatically. */
  | { readonly kind: "refused"; readonly error: SigilError }
  | { readonly kind: "closed" };

export type CommittedRecord = Omit<Appended, "envelope"> & { readonly body: RecordBody };

/** A committed record with its envelope: the bytes that its hash and proofs cover. */
export type FeedRecord = PublishedRecord;

export type CommitListener = (records: readonly CommittedRecord[]) => void;
