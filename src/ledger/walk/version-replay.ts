/**
 * Versions as a walk over the whole ledger finds them, in bounded memory: the newest version of the ids met last is
 * held, what came before a record of any other id is recalled from the store. A recollection is a hint: two records
 * that claim one version, or one that claims a version the store has not, do not pass the comparison with the index.
 */
import { equalBytes, type Hash } from "@sigil/core/bytes";
import { replayedIdsMax } from "../../limits.ts";
import type { RecordBody } from "@sigil/core/record";
import type { Store, StoreOp } from "../../storage/store.ts";
import { indexOps, isDecision, type BlindTags, type Head } from "../layout/indexes.ts";
import { readHead, readPositionOfHash } from "../layout/lookup.ts";
import { readVersionBelow } from "../layout/version-index.ts";
import type { WalkedRecord } from "./walk.ts";

/** `hash` undefined: not known, and not the one that was asked about. */
export type Newest = Head & { readonly hash: Hash | undefined };

/** The version that a record's id had before it. */
export type Recall = (record: WalkedRecord) => Promise<Newest | undefined>;

/**
 * For a rebuild: the store has what the records before gave, and nothing else, but for what is not written yet: that
 * the replay still holds.
 */
export const recallWritten =
  (store: Store): Recall =>
  async ({ body: { tenant, space, id, prev } }) => {
    const head = await readHead(store, tenant, space, id);
    if (head === undefined) return undefined;
    const isNamed = prev !== null && (await readPositionOfHash(store, prev)) === head.position;
    return { ...head, hash: isNamed ? prev : undefined };
  };

/** For an inspection: the store has the indexes of the whole ledger, if they are right. */
export const recallIndexed =
  (store: Store, hashAt: (position: bigint) => Promise<Hash | undefined>): Recall =>
  async ({ body: { tenant, space, id, prev }, position }) => {
    // One that follows nothing and is not the first claims the first one's entry.
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
  /** A record does not follow the newest version of its id. */
  readonly onStale: (position: bigint) => void;
  readonly heldMax?: number | undefined;
};

export class Replay {
  readonly #tags: BlindTags;
  readonly #steps: ReplaySteps;
  readonly #heldMax: number;
  /** By name, those met last at the end. */
  readonly #held = new Map<string, Newest>();

  constructor(tags: BlindTags, steps: ReplaySteps) {
    this.#tags = tags;
    this.#steps = steps;
    this.#heldMax = steps.heldMax ?? replayedIdsMax;
  }

  /** The newest version of an id, when it was met lately. */
  held(name: string): Newest | undefined {
    return this.#held.get(name);
  }

  /**
   * Once all have been met: whether the id of a record has such a version, and when it is not held any more, whether it
   * is that record.
   */
  async hasVersion(record: WalkedRecord, version: bigint): Promise<boolean> {
    const held = this.#held.get(nameOf(record.body));
    if (held !== undefined) return version > 0n && version <= held.version;
    return version === ((await this.#steps.recall(record))?.version ?? 0n) + 1n;
  }

  /** The index entries of a record, in the order of the ledger. */
  async ops(record: WalkedRecord): Promise<readonly StoreOp[]> {
    const { body, hash, position } = record;
    if (!this.#tags.isReady(body.tenant)) await this.#tags.ensure(body.tenant);
    if (isDecision(body)) return indexOps(this.#tags, body, hash, { position, version: 1n });
    const name = nameOf(body);
    const before = this.#held.get(name) ?? (await this.#steps.recall(record));
    const follows =
      body.prev === null
        ? before === undefined
        : before?.hash !== undefined && equalBytes(body.prev, before.hash);
    if (!follows) this.#steps.onStale(position);
    const version = (before?.version ?? 0n) + 1n;
    // Last in the order of the map.
    this.#held.delete(name);
    this.#held.set(name, { position, version, hash });
    return indexOps(this.#tags, body, hash, { position, version });
  }

  /** More than may be held. */
  get isFull(): boolean {
    return this.#held.size > this.#heldMax;
  }

  /**
   * Forgets what is more than may be held, the ids first that were met longest ago. In a rebuild, once all is written.
   */
  trim(): void {
    for (const oldest of this.#held.keys()) {
      if (this.#held.size <= this.#heldMax) return;
      this.#held.delete(oldest);
    }
  }
}
