/**
 * Between a walk and the threads that read records for it. A thread answers only what is sound: of a record with any
 * fault, and of whatever else it does not know, it says nothing, and the walk reads the record itself.
 */
import type { KeyObject } from "node:crypto";
import type { PublicKey } from "@sigil/core/bytes";

/** What a thread needs to open a tenant's records of one data key, and to index its decisions. */
export type ReadingKey = {
  readonly number: number;
  readonly tenant: string;
  readonly dataKey: KeyObject;
  readonly keyVersion: number;
  readonly termsKey: Uint8Array;
};

/** A key that may have signed records, by its thumbprint. */
export type ReadingSigner = { readonly kid: Uint8Array; readonly publicKey: PublicKey };

/** Of `keys` in a request: the record is not for the thread. */
export const noKey = 0xffff_ffff;

export type ReadingRequest = {
  /** Keys that the thread does not have yet. */
  readonly learned: readonly ReadingKey[];
  /** In the order in which answers number them; undefined if they are as before. */
  readonly signers: readonly ReadingSigner[] | undefined;
  readonly positions: BigUint64Array<ArrayBuffer>;
  readonly keys: Uint32Array<ArrayBuffer>;
  /** Where each stored value ends in `bytes`. */
  readonly ends: Uint32Array<ArrayBuffer>;
  readonly bytes: Uint8Array<ArrayBuffer>;
};

/** `unread`: nothing is known. `verified`: hash, leaf and signer hold, the rest is the walk's. */
export const readingStates = { unread: 0, verified: 1, decision: 2 } as const;

/** Columns, by the number of the record in its request. */
export type ReadingAnswer = {
  readonly states: Uint8Array<ArrayBuffer>;
  readonly signers: Uint32Array<ArrayBuffer>;
  /** 32 bytes each. */
  readonly hashes: Uint8Array<ArrayBuffer>;
  readonly leaves: Uint8Array<ArrayBuffer>;
  readonly times: Float64Array<ArrayBuffer>;
  readonly subjects: Uint32Array<ArrayBuffer>;
  readonly callers: Uint32Array<ArrayBuffer>;
  readonly termEnds: Uint32Array<ArrayBuffer>;
  readonly terms: Uint32Array<ArrayBuffer>;
};

/** What every thread is told as it starts. */
export type ReadingStart = { readonly origin: string };
