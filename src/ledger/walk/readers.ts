/**
 * Reads a ledger's records ahead of a walk and has threads open and verify them. Records come out in the order of the
 * store, each with what a thread found; what none has read, or no longer can, the walk reads itself, so that a thread
 * can only say that a record is sound. Bound: `readingBatchesMax` batches a thread, each of `readingBatchRecords`
 * records or `readingBatchBytes`.
 */
import { extname } from "node:path";
import { equalBytes, type Hash } from "@sigil/core/bytes";
import { threadEnvironment } from "../../crypto/signing/thread-environment.ts";
import {
  readingBatchBytes,
  readingBatchesMax,
  readingBatchRecords,
  readingHeapMib,
  readingKeysMax,
} from "../../limits.ts";
import type { StoreEntry } from "../../storage/store.ts";
import { idlest, Thread } from "../../threads.ts";
import { termsKey } from "../decisions/decision-index.ts";
import type { DecisionEntry } from "../decisions/rows.ts";
import type { BlindTags } from "../layout/indexes.ts";
import { positionOf } from "../layout/keyspace.ts";
import { keyHead, keyNamed, type DataKeys } from "../sealing/sealer.ts";
import {
  noKey,
  readingStates,
  type ReadingAnswer,
  type ReadingKey,
  type ReadingRequest,
  type ReadingSigner,
  type ReadingStart,
} from "./reading-messages.ts";

/** Tenants of a batch that are looked for among its values' heads. */
const recentHeadsMax = 8;

/** What a thread found: the seal, the schema and the signature by this key hold. */
export type Prepared = {
  readonly signer: ReadingSigner;
  readonly tenant: string;
  readonly keyVersion: number;
  readonly hash: Hash;
  readonly leaf: Hash;
  /** Undefined if the record is no decision. */
  readonly entry: DecisionEntry | undefined;
};

export type StoredRecord = {
  readonly position: bigint;
  readonly value: Uint8Array;
  readonly prepared: Prepared | undefined;
};

type ReadingThread = {
  readonly thread: Thread<ReadingRequest, ReadingAnswer>;
  /** Numbers of the keys that it has been told. */
  readonly told: Set<number>;
  signers: readonly ReadingSigner[] | undefined;
};

type Sent = {
  readonly answer: ReadingAnswer;
  readonly keys: readonly (ReadingKey | undefined)[];
  readonly signers: readonly ReadingSigner[];
};

type Batch = { readonly entries: readonly StoreEntry[]; readonly sent: Promise<Sent | undefined> };

export type ReadersOptions = {
  readonly origin: string;
  readonly dataKeys: DataKeys;
  readonly tags: BlindTags;
  readonly threads: number;
  /** For tests; default `readingBatchRecords`. */
  readonly batchRecords?: number | undefined;
};

/** Dispose of it to end the threads. */
export class Readers implements AsyncDisposable {
  readonly #options: ReadersOptions;
  readonly #threads: readonly ReadingThread[];
  /** By tenant and version; undefined if the key cannot be had, which the walk then finds out. */
  readonly #keys = new Map<string, ReadingKey | undefined>();
  #nextKey = 0;
  readonly batchRecords: number;

  constructor(options: ReadersOptions) {
    this.#options = options;
    this.batchRecords = options.batchRecords ?? readingBatchRecords;
    const { origin, threads } = options;
    this.#threads = Array.from({ length: threads }, (_, index) => ({
      thread: new Thread({
        name: `reading-${index + 1}`,
        // `.ts` when run from sources, `.js` in the built package.
        program: new URL(`reading-worker${extname(import.meta.url)}`, import.meta.url),
        data: { origin } satisfies ReadingStart,
        env: threadEnvironment(),
        heapMib: readingHeapMib,
      }),
      told: new Set(),
      signers: undefined,
    }));
  }

  get batchesMax(): number {
    return readingBatchesMax * this.#threads.length;
  }

  /** @returns undefined if no thread has answered. */
  async read(entries: readonly StoreEntry[], signers: readonly ReadingSigner[]): Promise<Sent | undefined> {
    const keys = await this.#keysOf(entries);
    const thread = idlest(this.#threads.map((each) => each.thread));
    const chosen = this.#threads.find((each) => each.thread === thread);
    if (chosen === undefined || signers.length === 0) return undefined;
    const request = this.#requestTo(chosen, entries, keys, signers);
    const { positions, ends, bytes } = request;
    const moved = [positions.buffer, request.keys.buffer, ends.buffer, bytes.buffer];
    try {
      return { answer: await chosen.thread.ask(request, moved), keys, signers };
    } catch {
      // The thread has ended: the walk reads these records itself.
      return undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map(({ thread }) => thread.end()));
  }

  #requestTo(
    to: ReadingThread,
    entries: readonly StoreEntry[],
    keys: readonly (ReadingKey | undefined)[],
    signers: readonly ReadingSigner[],
  ): ReadingRequest {
    const count = entries.length;
    const learned: ReadingKey[] = [];
    const request = {
      positions: new BigUint64Array(count),
      keys: new Uint32Array(count),
      ends: new Uint32Array(count),
      bytes: new Uint8Array(entries.reduce((sum, [, value]) => sum + value.length, 0)),
    };
    let end = 0;
    for (const [at, [key, value]] of entries.entries()) {
      const named = keys[at];
      if (named !== undefined && !to.told.has(named.number)) {
        // The thread forgets all of them at the same moment.
        if (to.told.size === readingKeysMax) to.told.clear();
        to.told.add(named.number);
        learned.push(named);
      }
      request.positions[at] = positionOf(key);
      request.keys[at] = named?.number ?? noKey;
      request.bytes.set(value, end);
      end += value.length;
      request.ends[at] = end;
    }
    const isTold = to.signers === signers;
    to.signers = signers;
    return { ...request, learned, signers: isTold ? undefined : signers };
  }

  async #keysOf(entries: readonly StoreEntry[]): Promise<readonly (ReadingKey | undefined)[]> {
    const keys: (ReadingKey | undefined)[] = [];
    // The heads of recent values, as they lie there: few differ, and their keys need not be looked for again.
    const recent: { readonly head: Uint8Array; readonly key: ReadingKey | undefined }[] = [];
    for (const [key, value] of entries) {
      const known = recent.find(({ head }) => equalBytes(value.subarray(0, head.length), head));
      const found = known === undefined ? await this.#keyOf(value, positionOf(key)) : known.key;
      keys.push(found);
      if (known === undefined && recent.length < recentHeadsMax)
        recent.push({ head: keyHead(value), key: found });
    }
    return keys;
  }

  async #keyOf(value: Uint8Array, position: bigint): Promise<ReadingKey | undefined> {
    const named = keyNamed(value, position);
    if (named === undefined || this.#options.dataKeys.newest(named.tenant) === 0) return undefined;
    const name = `${named.tenant}/${named.keyVersion}`;
    if (this.#keys.has(name)) return this.#keys.get(name);
    const found = await this.#load(named);
    if (this.#keys.size === readingKeysMax) this.#keys.clear();
    this.#keys.set(name, found);
    return found;
  }

  async #load({
    tenant,
    keyVersion,
  }: Pick<ReadingKey, "tenant" | "keyVersion">): Promise<ReadingKey | undefined> {
    const { dataKeys, tags } = this.#options;
    try {
      const { dataKey } = await dataKeys.at(tenant, keyVersion);
      await tags.ensure(tenant);
      const key = termsKey((label) => tags.digest(tenant, label));
      return { number: this.#nextKey++, tenant, dataKey, keyVersion, termsKey: key };
    } catch {
      return undefined;
    }
  }
}

const preparedAt = (at: number, { answer, keys, signers }: Sent): Prepared | undefined => {
  const [state, key, signer] = [answer.states[at], keys[at], signers[answer.signers[at] ?? 0]];
  if (state === undefined || state === readingStates.unread) return undefined;
  if (key === undefined || signer === undefined) return undefined;
  const hashAt = (column: Uint8Array): Hash => column.slice(32 * at, 32 * at + 32) as Hash;
  const [subject, caller, ts] = [answer.subjects[at] ?? 0, answer.callers[at] ?? 0, answer.times[at] ?? 0];
  const terms = answer.terms.subarray(at === 0 ? 0 : answer.termEnds[at - 1], answer.termEnds[at]);
  const entry = { position: 0, ts, subject, caller, terms: Array.from(terms) };
  return {
    signer,
    tenant: key.tenant,
    keyVersion: key.keyVersion,
    hash: hashAt(answer.hashes),
    leaf: hashAt(answer.leaves),
    entry: state === readingStates.decision ? entry : undefined,
  };
};

/** Iterates over records in order, with one of lookahead. */
export type RecordCursor = {
  readonly peek: () => Promise<StoredRecord | undefined>;
  readonly skip: () => void;
  readonly close: () => Promise<void>;
};

/** The records of a store, read ahead. */
export class ReadAhead implements RecordCursor {
  readonly #entries: AsyncIterator<StoreEntry>;
  readonly #readers: Readers;
  readonly #signers: () => readonly ReadingSigner[];
  readonly #onMalformed: () => void;
  readonly #ahead: Promise<Batch | undefined>[] = [];
  #last: Promise<unknown> = Promise.resolve();
  #batch: { readonly entries: readonly StoreEntry[]; readonly sent: Sent | undefined } | undefined;
  #at = 0;
  #isOver = false;

  /** @param signers the keys known so far; the same array while they stay the same. */
  constructor(
    entries: AsyncIterable<StoreEntry>,
    readers: Readers,
    signers: () => readonly ReadingSigner[],
    onMalformed: () => void,
  ) {
    this.#entries = entries[Symbol.asyncIterator]();
    this.#readers = readers;
    this.#signers = signers;
    this.#onMalformed = onMalformed;
  }

  async peek(): Promise<StoredRecord | undefined> {
    for (;;) {
      const entry = this.#batch?.entries[this.#at];
      if (entry !== undefined) return this.#stored(entry);
      const next = await this.#nextBatch();
      if (next === undefined) return undefined;
      this.#batch = { entries: next.entries, sent: await next.sent };
      this.#at = 0;
    }
  }

  skip(): void {
    this.#at += 1;
  }

  async close(): Promise<void> {
    this.#isOver = true;
    await this.#last;
    await this.#entries.return?.();
  }

  #stored([key, value]: StoreEntry): StoredRecord {
    const position = positionOf(key);
    const sent = this.#batch?.sent;
    const prepared = sent && preparedAt(this.#at, sent);
    if (prepared?.entry === undefined) return { position, value, prepared };
    return {
      position,
      value,
      prepared: { ...prepared, entry: { ...prepared.entry, position: Number(position) } },
    };
  }

  #nextBatch(): Promise<Batch | undefined> {
    while (this.#ahead.length < this.#readers.batchesMax) {
      const batch = this.#last.then(() => this.#collect());
      // Whoever takes the batch gets the error.
      this.#last = batch.catch(() => {});
      this.#ahead.push(batch);
    }
    return this.#ahead.shift() ?? Promise.resolve(undefined);
  }

  /** @returns undefined at the end. */
  async #collect(): Promise<Batch | undefined> {
    // Until the genesis record has given the first key there is nothing to verify with.
    const recordsMax = this.#signers().length === 0 ? 1 : this.#readers.batchRecords;
    const entries: StoreEntry[] = [];
    for (let bytes = 0; !this.#isOver && entries.length < recordsMax && bytes < readingBatchBytes;) {
      const { done, value: entry } = await this.#entries.next();
      if (done === true) this.#isOver = true;
      else if (entry[0].length !== 9) this.#onMalformed();
      else {
        entries.push(entry);
        bytes += entry[1].length;
      }
    }
    return entries.length === 0 ? undefined : { entries, sent: this.#readers.read(entries, this.#signers()) };
  }
}
