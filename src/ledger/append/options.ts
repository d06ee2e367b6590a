/** What a ledger is opened with, and what it shows to those who use it. */
import type { Hash } from "@sigil/core/bytes";
import type { SigilError } from "../../errors.ts";
import type { RecordBody } from "@sigil/core/record";
import type { Store } from "../../storage/store.ts";
import type { Anchor } from "./anchor.ts";
import type { Appended } from "./commit.ts";
import type { DataKeys } from "../sealing/sealer.ts";
import type { SigningKeys } from "./signers.ts";

export type LedgerOptions = {
  readonly origin: string;
  /** Hash of the genesis record; everything is believed because of it. */
  readonly genesis: Hash;
  readonly openStore: () => Promise<Store>;
  readonly anchor: Anchor;
  readonly signingKeys: SigningKeys;
  readonly dataKeys: DataKeys;
  /** A tenant's key for blind tags, 32 bytes. */
  readonly indexKey: (tenant: string) => Promise<Uint8Array>;
  /** The key of the ledger's summary, 32 bytes; never readable from the directory. */
  readonly summaryKey: () => Promise<Uint8Array>;
  readonly nowMs: () => number;
  readonly observe?: LedgerObserver;
};

/** What the outside may watch; never a payload. Observers do not throw. */
export type LedgerObserver = {
  readonly onStatus?: (status: LedgerStatus) => void;
  readonly onGroup?: (records: number) => void;
  readonly onVerifyFailure?: (error: SigilError) => void;
  /** Nothing of the tenant is left, of so many records. */
  readonly onErased?: (tenant: string, records: bigint) => void;
  /** Why the ledger stopped, or what a listener threw; for the log. */
  readonly onFault?: (cause: unknown) => void;
};

/** Another value each time it changes: two that are the same value have no recovery between them. */
export type LedgerStatus =
  | { readonly kind: "serving" }
  /** Closed for self-examination after a store error; comes back by itself. */
  | { readonly kind: "recovering"; readonly rule: string }
  /** Found something a person must look at; never comes back by itself. */
  | { readonly kind: "refused"; readonly error: SigilError }
  | { readonly kind: "closed" };

export type CommittedRecord = Appended & { readonly body: RecordBody };

/** With the bytes that its hash and its proofs are over. */
export type FeedRecord = CommittedRecord & { readonly envelope: Uint8Array };

export type CommitListener = (records: readonly CommittedRecord[]) => void;
