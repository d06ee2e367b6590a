/**
 * Compares the stored indexes and tiles with those derived from the records: every expected entry exists, and no other.
 * Memory does not grow with the ledger.
 */
import { equalBytes, readU64be } from "@sigil/core/bytes";
import { tileHeight } from "@sigil/core/limits";
import { projectionOpsMax } from "../../limits.ts";
import type { Store, StoreOp } from "../../storage/store.ts";
import { decisionKeysOf } from "../decisions/decision-index.ts";
import { unlessDamaged } from "../layout/damaged.ts";
import { DecisionCheck } from "./decisions.ts";
import type { Findings } from "./findings.ts";
import { differingHeads, nameOfHead, newestVersions } from "./head-order.ts";
import { formatHead, isDecision, type BlindTags, type Head } from "../layout/indexes.ts";
import { canonKey, familyRange, hashKey, headKey, historyPrefix, type Family } from "../layout/keyspace.ts";
import { recallIndexed, Replay } from "./version-replay.ts";
import type { WalkedDecision, WalkedGroup, WalkedRecord } from "./walk.ts";

/** Families derived from the records, with the step name of a problem in each. */
export const projectionSteps = {
  i: "id index",
  h: "hash index",
  d: "decision index",
  v: "version index",
  w: "record index",
  t: "tile",
} as const satisfies Partial<Record<Family, string>>;
export type Projection = keyof typeof projectionSteps;
export const projections = Object.keys(projectionSteps) as readonly Projection[];

type Expected = { readonly op: StoreOp & { readonly kind: "put" }; readonly position: bigint };

const familyOf = (key: Uint8Array): Projection => String.fromCharCode(key[0] ?? 0) as Projection;

export type CheckContext = {
  readonly store: Store;
  readonly tags: BlindTags;
  readonly origin: string;
  /** Reads a record; undefined if it is unreadable. */
  readonly readAgain: (position: bigint) => Promise<WalkedRecord | undefined>;
  /** Ids whose newest version is kept in memory; default `replayedIdsMax`. */
  readonly idsHeldMax?: number | undefined;
};

/** Compares the store's projections with the walk's. Feed it every group, then `finish`. */
export class ProjectionCheck {
  readonly #store: Store;
  readonly #findings: Findings;
  readonly #replay: Replay;
  readonly #decisions: DecisionCheck;
  readonly #readAgain: CheckContext["readAgain"];
  readonly #families: readonly Projection[];
  readonly #counts: Record<Projection, number> = { i: 0, h: 0, d: 0, v: 0, w: 0, t: 0 };
  #queue: Expected[] = [];
  #treeWhole = true;
  #size = 0n;

  /** @param families to compare. That each record follows its previous version is always checked. */
  constructor(
    { store, tags, origin, readAgain, idsHeldMax }: CheckContext,
    findings: Findings,
    families = projections,
  ) {
    this.#store = store;
    this.#decisions = new DecisionCheck(store, findings, decisionKeysOf(origin, tags), readAgain);
    this.#readAgain = readAgain;
    this.#findings = findings;
    this.#families = families;
    const recall = recallIndexed(store, async (position) => (await readAgain(position))?.hash);
    this.#replay = new Replay(tags, {
      recall: async (record) => unlessDamaged(() => recall(record)),
      onStale: (position) =>
        findings.add(position, "version", "the record does not follow the newest version of its id"),
      heldMax: idsHeldMax,
    });
  }

  /** @param onRecord receives each record's index entries. */
  async add(
    group: WalkedGroup,
    onRecord: (record: WalkedRecord | WalkedDecision, ops: readonly StoreOp[]) => void,
  ): Promise<void> {
    for (const record of group.records) {
      const ops = await this.#replay.ops(record);
      onRecord(record, ops);
      if (isDecision(record.body) && this.#families.includes("d")) await this.#decisions.add(record);
      for (const op of ops) {
        // The id index holds only newest versions: compared at the end.
        if (op.kind === "put" && familyOf(op.key) !== "i") this.#expect({ op, position: record.position });
      }
    }
    if (group.tree === undefined) this.#treeWhole = false;
    for (const op of group.tree?.plan.ops ?? []) {
      if (op.kind === "put") this.#expect({ op, position: group.end - 1n });
    }
    this.#size = group.end;
    if (this.#queue.length >= projectionOpsMax) await this.#compare();
    this.#replay.trim();
  }

  async finish(): Promise<void> {
    await this.#compare();
    for (const family of this.#families) {
      if (family === "d") await this.#decisions.finish();
      if (family === "i") await this.#checkHeads();
      if (family === "d" || family === "i") continue;
      if (family === "t" && !this.#treeWhole) continue;
      let stored = 0;
      for await (const _ of this.#store.range(familyRange(family))) stored += 1;
      if (stored !== this.#counts[family]) await this.#findSurplus(family);
    }
  }

  #expect(expected: Expected): void {
    if (!this.#families.includes(familyOf(expected.op.key))) return;
    this.#counts[familyOf(expected.op.key)] += 1;
    this.#queue.push(expected);
  }

  async #compare(): Promise<void> {
    const queue = this.#queue;
    this.#queue = [];
    for (let from = 0; from < queue.length; from += projectionOpsMax) {
      const part = queue.slice(from, from + projectionOpsMax);
      const values = await this.#store.getMany(part.map(({ op }) => op.key));
      for (const [index, { op, position }] of part.entries()) {
        const value = values[index];
        if (value !== undefined && equalBytes(value, op.value)) continue;
        const rule = value === undefined ? missingRule : differsRule;
        this.#findings.add(position, projectionSteps[familyOf(op.key)], rule);
      }
    }
  }

  /** Checks the id index against the version index, which was compared with the records before. */
  async #checkHeads(): Promise<void> {
    for await (const key of differingHeads(this.#store)) {
      const stored = await this.#store.get(key);
      const newest = this.#replay.held(nameOfHead(key)) ?? (await this.#newestGiven(key));
      if (newest !== undefined) {
        if (stored !== undefined && equalBytes(stored, formatHead(newest))) continue;
        const rule = stored === undefined ? missingRule : differsRule;
        this.#findings.add(newest.position, projectionSteps.i, rule);
      } else if (stored !== undefined) await this.#judgeSurplus("i", key, stored);
    }
  }

  /** The newest version of an id whose record yields this entry. */
  async #newestGiven(key: Uint8Array): Promise<Head | undefined> {
    for await (const [entryKey, value] of newestVersions(this.#store, key)) {
      const position = namedPosition("v", entryKey, value);
      const record = position === null ? undefined : await this.#readAgain(position);
      if (record === undefined || !(await this.#gives(record, "v", entryKey))) continue;
      return { position: record.position, version: readU64be(entryKey, entryKey.length - 8) };
    }
    return undefined;
  }

  /** Whether the record yields this key of the family. */
  async #gives(record: WalkedRecord, family: Projection, key: Uint8Array): Promise<boolean> {
    const { body, hash, position } = record;
    const isDecided = isDecision(body);
    switch (family) {
      case "h":
        return equalBytes(key, hashKey(hash));
      case "i":
        return !isDecided && equalBytes(key, headKey(body.tenant, body.space, body.id));
      case "w":
        return !isDecided && equalBytes(key, canonKey(body.tenant, position));
      case "v": {
        // Decisions have no entries in this index.
        const prefix = historyPrefix(body.tenant, body.space, body.id);
        const isOfId =
          !isDecided &&
          key.length === prefix.length + 8 &&
          equalBytes(key.subarray(0, prefix.length), prefix);
        // That the entry names the right record was compared before.
        return isOfId && this.#replay.hasVersion(record, readU64be(key, prefix.length));
      }
      case "d":
      case "t":
        return false;
    }
  }

  async #findSurplus(family: Projection): Promise<void> {
    for await (const [key, value] of this.#store.range(familyRange(family))) {
      if (family === "t" && isTileOf(key, this.#size)) continue;
      await this.#judgeSurplus(family, key, value);
    }
  }

  async #judgeSurplus(family: Projection, key: Uint8Array, value: Uint8Array): Promise<void> {
    const position = family === "t" ? null : namedPosition(family, key, value);
    if (position !== null && position < this.#size) {
      const record = await this.#readAgain(position);
      // An unreadable record is reported separately; its entries are unknown.
      if (record === undefined || (await this.#gives(record, family, key))) return;
    }
    const rule = `an entry belongs to no record (${describeKey(key)})`;
    this.#findings.add(null, projectionSteps[family], rule);
  }
}

const missingRule = "the entry is missing";
const differsRule = "the entry is not what its record gives";

/** Describes the key by family and length only, since its text may be confidential. */
const describeKey = (key: Uint8Array): string => `${String.fromCharCode(key[0] ?? 0)}, ${key.length} bytes`;

const namedPosition = (family: Projection, key: Uint8Array, value: Uint8Array): bigint | null => {
  const isInKey = family === "w";
  const bytes = isInKey ? key : value;
  if (bytes.length < 8) return null;
  return readU64be(bytes, isInKey ? key.length - 8 : 0);
};

/** Level 0 holds complete tiles, each higher level one hash per tile below. */
const isTileOf = (key: Uint8Array, size: bigint): boolean => {
  if (key.length !== 10) return false;
  const level = key[1] ?? 0;
  return readU64be(key, 2) < size >> BigInt(tileHeight * Math.max(1, level));
};
