/**
 * Replays version numbers during a full walk in bounded memory: newest versions of recently seen ids are cached (LRU),
 * others are looked up in the store's index. A lookup is only a hint: two records that claim one version, or one that
 * claims a missing version, fail the comparison with the index.
 */
import { equalBytes, type Hash } from "@sigil/core/bytes";
import { replayedIdsMax } from "../../limits.ts";
import type { RecordBody } from "@sigil/core/record";
import type { Store, StoreOp } from "../../storage/store.ts";
import { hashOp, indexOps, isDecision, type BlindTags, type Head } from "../layout/indexes.ts";
import { readHead, readPositionOfHash } from "../layout/lookup.ts";
import { readVersionBelow } from "../layout/version-index.ts";
import { isWhole, type WalkedDecision, type WalkedRecord } from "./walk.ts";

/** `hash` is undefined if unknown, and then not the expected one. */
export type Newest = Head & { readonly hash: Hash | undefined };

/** Looks up the version that a record's id had before it. */
export type Recall = (record: WalkedRecord) => Promise<Newest | undefined>;

/**
 * For a rebuild: the store holds exactly the entries of earlier records, except unwritten ones, which the replay still
 * caches.
 */
export const recallWritten =
  (store: Store): Recall =>
  async ({ body: { tenant, space, id, prev } }) => {
    const head = await readHead(store, tenant, space, id);
    if (head === undefined) return undefined;
    const isNamed = prev !== null && (await readPositionOfHash(store, prev)) === head.position;
    return { ...head, hash: isNamed ? prev : undefined };
  };

/** For fsck: the store holds the indexes of the whole ledger, if correct. */
export const recallIndexed =
  (store: Store, hashAt: (position: bigint) => Promise<Hash | undefined>): Recall =>
  async ({ body: { tenant, space, id, prev }, position }) => {
    // A record without `prev` claims version 1; if it is not the first, the index comparison reports it.
    if (prev === null) return undefined;
    const before = await readVersionBelow(store, { tenant, space }, id, position);
    if (before === undefined) return undefined;
    const isNamed = (await readPositionOfHash(store, prev)) === before.position;
    return { ...before, hash: isNamed ? prev : await hashAt(before.position) };
  };

const nameOf = ({ tenant, space, id }: Pick<RecordBody, "tenant" | "space" | "id">): string =>
  `${tenant}\0${space}\0${id}`;

type ReplaySteps = {
  readonly recall: Recall;
  /** Called for a record that does not follow the newest version of its id. */
  readonly onStale: (position: bigint) => void;
  readonly heldMax?: number | undefined;
};

export class Replay {
  readonly #tags: BlindTags;
  readonly #steps: ReplaySteps;
  readonly #heldMax: number;
  /** By name, in LRU order, the most recent last. */
  readonly #held = new Map<string, Newest>();

  constructor(tags: BlindTags, steps: ReplaySteps) {
    this.#tags = tags;
    this.#steps = steps;
    this.#heldMax = steps.heldMax ?? replayedIdsMax;
  }

  /** The cached newest version of an id. */
  held(name: string): Newest | undefined {
    return this.#held.get(name);
  }

  /**
   * Call at the end: whether the id of a record has such a version; if it is no longer cached, whether it is that
   * record.
   */
  async hasVersion(record: WalkedRecord, version: bigint): Promise<boolean> {
    const held = this.#held.get(nameOf(record.body));
    if (held !== undefined) return version > 0n && version <= held.version;
    return version === ((await this.#steps.recall(record))?.version ?? 0n) + 1n;
  }

  /** The index entries of a record. Call in ledger order. */
  async ops(record: WalkedRecord | WalkedDecision): Promise<readonly StoreOp[]> {
    const { hash, position } = record;
    if (!this.#tags.isReady(record.body.tenant)) await this.#tags.ensure(record.body.tenant);
    if (!isWhole(record) || isDecision(record.body)) return [hashOp(hash, position)];
    const { body } = record;
    const name = nameOf(body);
    const before = this.#held.get(name) ?? (await this.#steps.recall(record));
    const follows =
      body.prev === null
        ? before === undefined
        : before?.hash !== undefined && equalBytes(body.prev, before.hash);
    if (!follows) this.#steps.onStale(position);
    const version = (before?.version ?? 0n) + 1n;
    // Move to the end: maps keep insertion order.
    this.#held.delete(name);
    this.#held.set(name, { position, version, hash });
    return indexOps(this.#tags, body, hash, { position, version });
  }

  /** Whether the cache exceeds its limit. */
  get isFull(): boolean {
    return this.#held.size > this.#heldMax;
  }

  /** Evicts least recently seen ids down to the limit. In a rebuild, call it once their entries are written. */
  trim(): void {
    for (const oldest of this.#held.keys()) {
      if (this.#held.size <= this.#heldMax) return;
      this.#held.delete(oldest);
    }
  }
}
