/**
 * Expected totals of a ledger's indexes and counts, authenticated by every commit under a key that is never in clear in
 * the data directory: each tenant's number of decisions and other records and a digest of its versions, the number of
 * indexed hashes, seal counts, erasure marks, and expiries of idempotency keys. It is bound to the size and root it was
 * written at, so that an older summary does not match a newer ledger, nor an older index a newer summary. Holds about
 * 200 bytes per tenant and data key version. Source: docs/spec/ledger.md §8.
 */
import { timingSafeEqual } from "node:crypto";
import {
  concatBytes,
  equalBytes,
  readU64be,
  toHex,
  u64be,
  utf8Decode,
  utf8Encode,
  type Hash,
} from "@sigil/core/bytes";
import { assert, fail } from "../../errors.ts";
import type { RecordBody } from "@sigil/core/record";
import type { Store, StoreOp } from "../../storage/store.ts";
import { isDecision } from "./indexes.ts";
import { familyRange, summaryKey, tallyKey } from "./keyspace.ts";
import { addSums, emptySum, subtractSums, SummaryKey, type Sum } from "./multiset.ts";

/** Totals of one tenant's indexes. */
export type Tally = {
  /** Number of decisions in the decision index. */
  readonly decisions: number;
  /** Number of versions of ids other than decisions. */
  readonly records: number;
  /** Digest of the version index. */
  readonly versions: Sum;
};

/** Totals of the hash index and the idempotency entries of the whole ledger. */
export type Totals = {
  /** Number of hash index entries; an erased tenant's are not counted from its order on. */
  readonly hashes: number;
  /** Number of expiry entries of idempotency keys, with their digest. */
  readonly expiries: number;
  readonly expirySum: Sum;
};

export type SummaryContext = { readonly key: SummaryKey; readonly origin: string };

type KeptTally = {
  readonly tally: Tally;
  /** The size at which the digest last changed; its mask is derived from it. */
  readonly changedAt: bigint;
  /** The masked digest, as stored. */
  readonly masked: Sum;
  readonly element: Sum;
};

/** The authenticated content. */
type Counted = {
  readonly tallyCount: number;
  readonly tallySum: Sum;
  readonly markCount: number;
  readonly markSum: Sum;
  readonly totals: Totals;
  /**
   * Counter that the mask of the expiry digest is derived from: increases with each change, at least that commit's
   * size.
   */
  readonly expiriesAt: bigint;
  /** The masked expiry digest, as stored. */
  readonly expiriesMasked: Sum;
};

type State = Counted & {
  /** By tenant. */
  readonly tallies: Map<string, KeptTally>;
  /** Seal counts and erasure marks, by key in hex: few, and all read at every start. */
  readonly marks: Map<string, Sum>;
};

const label = utf8Encode("sigil/summary/v1\0");
/** Size, hashes, expiries, mask counter, masked digest. */
const bodyBytes = 64;
const tagBytes = 32;
const tallyBytes = 56;

const emptyTally: Tally = { decisions: 0, records: 0, versions: emptySum };

const formatTally = ({ tally, changedAt, masked }: Omit<KeptTally, "element">): Uint8Array =>
  concatBytes(u64be(BigInt(tally.decisions)), u64be(BigInt(tally.records)), u64be(changedAt), masked);

/** @returns undefined if malformed; untrusted until the summary's tag is verified. */
const parseTally = (key: SummaryKey, tenant: string, value: Uint8Array): KeptTally | undefined => {
  if (value.length !== tallyBytes) return undefined;
  const changedAt = readU64be(value, 16);
  const masked = value.slice(24);
  const tally = {
    decisions: Number(readU64be(value, 0)),
    records: Number(readU64be(value, 8)),
    versions: subtractSums(masked, key.mask(tallyKey(tenant), changedAt)),
  };
  return { tally, changedAt, masked, element: key.element(tallyKey(tenant), value) };
};

const letterOf = (bytes: Uint8Array): string => String.fromCharCode(bytes[0] ?? 0);

const damaged = (position: bigint, rule: string): never =>
  fail({
    kind: "ledgerCorrupt",
    position,
    rule: `${rule}; run: sigil fsck --data DIR --rebuild-indexes`,
  });

type TallyChange = { decisions: number; records: number; versions: Sum };

/** The changes of one batch, derived from its writes. */
export class SummaryChanges {
  readonly #key: SummaryKey;
  readonly tallies = new Map<string, TallyChange>();
  readonly erased = new Set<string>();
  readonly marks = new Map<string, Sum | undefined>();
  hashes = 0;
  expiries = 0;
  expirySum: Sum = emptySum;

  constructor(key: SummaryKey) {
    this.#key = key;
  }

  /** Adds one record and its index entries. */
  index(record: Pick<RecordBody, "tenant" | "kind">, ops: readonly StoreOp[]): void {
    const { tenant } = record;
    let change = this.tallies.get(tenant);
    if (change === undefined) {
      change = { decisions: 0, records: 0, versions: emptySum };
      this.tallies.set(tenant, change);
    }
    if (isDecision(record)) change.decisions += 1;
    for (const op of ops) {
      if (op.kind !== "put") continue;
      const family = letterOf(op.key);
      if (family === "h") this.hashes += 1;
      else if (family === "v") {
        change.records += 1;
        change.versions = addSums(change.versions, this.#key.element(op.key, op.value));
      }
    }
  }

  /** Adds the other operations of a batch. */
  upkeep(ops: Iterable<StoreOp>): void {
    for (const op of ops) {
      const family = letterOf(op.key);
      if (family === "s" || family === "y") {
        this.marks.set(toHex(op.key), op.kind === "put" ? this.#key.element(op.key, op.value) : undefined);
      } else if (family === "e") this.#expiry(op);
    }
  }

  /** Removes a tenant: from its erasure order on its totals are not needed. */
  erase(tenant: string): void {
    const { decisions, records } = this.tallies.get(tenant) ?? emptyTally;
    this.hashes -= decisions + records;
    this.tallies.delete(tenant);
    this.erased.add(tenant);
  }

  #expiry(op: StoreOp): void {
    const element = this.#key.element(op.key, emptySum.subarray(0, 0));
    const isPut = op.kind === "put";
    this.expiries += isPut ? 1 : -1;
    this.expirySum = (isPut ? addSums : subtractSums)(this.expirySum, element);
  }
}

/** A planned change of the summary. */
export type SummaryPlan = {
  readonly ops: readonly StoreOp[];
  /** Called when the batch is on disk. */
  readonly accept: () => void;
};

export class Summary {
  readonly #context: SummaryContext;
  #state: State;

  private constructor(context: SummaryContext, state: State) {
    this.#context = context;
    this.#state = state;
  }

  static empty(context: SummaryContext): Summary {
    return new Summary(context, {
      tallies: new Map(),
      tallyCount: 0,
      tallySum: emptySum,
      marks: new Map(),
      markCount: 0,
      markSum: emptySum,
      totals: { hashes: 0, expiries: 0, expirySum: emptySum },
      expiriesAt: 0n,
      expiriesMasked: context.key.mask(summaryKey, 0n),
    });
  }

  /**
   * Loads the summary for this size and root, and verifies every tally, seal count and erasure mark against it.
   * @throws ledgerCorrupt if it is missing, of another size or root, or not written by this deployment; storeFailed.
   */
  static async load(
    context: SummaryContext & { readonly store: Store; readonly size: bigint; readonly root: Hash },
  ): Promise<Summary> {
    const { key, origin, store, size, root } = context;
    const bytes = await store.get(summaryKey);
    if (bytes === undefined) return damaged(size, "the summary of the indexes is missing");
    if (bytes.length !== bodyBytes + tagBytes)
      return damaged(size, "the summary of the indexes is malformed");
    const found = readU64be(bytes);
    if (found !== size) return damaged(size, `the summary of the indexes is of size ${found}`);
    const state = await readState(key, bytes, store, size);
    const tag = tagOf({ key, origin }, bytes.subarray(0, bodyBytes), root, state);
    if (!timingSafeEqual(tag, bytes.subarray(bodyBytes))) {
      return damaged(size, "counts of records, seals or erasures are not those of the last commit");
    }
    return new Summary({ key, origin }, state);
  }

  /** Undefined for a tenant without records, or erased. */
  tallyOf(tenant: string): Tally | undefined {
    return this.#state.tallies.get(tenant)?.tally;
  }

  get tenants(): readonly string[] {
    return [...this.#state.tallies.keys()];
  }

  get totals(): Totals {
    return this.#state.totals;
  }

  /** Counter that the mask of the expiry digest is derived from. */
  get expiriesAt(): bigint {
    return this.#state.expiriesAt;
  }

  /** Starts collecting a batch's changes. */
  changes(): SummaryChanges {
    return new SummaryChanges(this.#context.key);
  }

  /** Plans the summary writes of a batch. One batch at a time. */
  plan(changes: SummaryChanges, size: bigint, root: Hash): SummaryPlan {
    const { ops, after, accept } = this.#next(changes, size);
    const value = formatSummary(this.#context, size, root, after);
    return { ops: [...ops, { kind: "put", key: summaryKey, value }], accept };
  }

  /** Applies the changes of one commit during a replay, without writing. */
  replay(changes: SummaryChanges, size: bigint): void {
    this.#next(changes, size).accept();
  }

  /** Writes of the whole summary, for a store that has none or a wrong one. */
  ops(size: bigint, root: Hash): readonly StoreOp[] {
    const tallies = [...this.#state.tallies].map(([tenant, kept]): StoreOp => ({
      kind: "put",
      key: tallyKey(tenant),
      value: formatTally(kept),
    }));
    const value = formatSummary(this.#context, size, root, this.#state);
    return [...tallies, { kind: "put", key: summaryKey, value }];
  }

  #next(changes: SummaryChanges, size: bigint) {
    const before = this.#state;
    const tallies = this.#planTallies(changes, size);
    const marks = planMarks(before, changes.marks);
    const totals = {
      hashes: before.totals.hashes + changes.hashes - tallies.erasedHashes,
      expiries: before.totals.expiries + changes.expiries,
      expirySum: addSums(before.totals.expirySum, changes.expirySum),
    };
    const { expiriesAt, expiriesMasked } = equalBytes(totals.expirySum, before.totals.expirySum)
      ? before
      : this.#maskExpiries(totals.expirySum, size);
    const after: Counted = {
      tallySum: tallies.sum,
      tallyCount: tallies.count,
      markSum: marks.sum,
      markCount: marks.count,
      totals,
      expiriesAt,
      expiriesMasked,
    };
    const accept = (): void => {
      for (const [tenant, kept] of tallies.changed) before.tallies.set(tenant, kept);
      for (const tenant of changes.erased) before.tallies.delete(tenant);
      for (const [name, element] of changes.marks) {
        if (element === undefined) before.marks.delete(name);
        else before.marks.set(name, element);
      }
      this.#state = { ...before, ...after };
    };
    return { ops: tallies.ops, after, accept };
  }

  /**
   * A commit without a record does not change the size: with an unchanged mask, the difference of the stored values
   * before and after would reveal the new entry's hash.
   */
  #maskExpiries(sum: Sum, size: bigint) {
    const { expiriesAt: before } = this.#state;
    const expiriesAt = size > before ? size : before + 1n;
    const mask = this.#context.key.mask(summaryKey, expiriesAt);
    return { expiriesAt, expiriesMasked: addSums(sum, mask) };
  }

  #planTallies(changes: SummaryChanges, size: bigint) {
    const { key } = this.#context;
    const { tallies, tallySum, tallyCount } = this.#state;
    const changed = new Map<string, KeptTally>();
    const ops: StoreOp[] = [];
    let [sum, count, erasedHashes] = [tallySum, tallyCount, 0];
    for (const [tenant, change] of changes.tallies) {
      const kept = tallies.get(tenant);
      const tally = addTallies(kept?.tally ?? emptyTally, change);
      const entryKey = tallyKey(tenant);
      const { changedAt, masked } =
        kept !== undefined && change.records === 0
          ? kept
          : { changedAt: size, masked: addSums(tally.versions, key.mask(entryKey, size)) };
      const value = formatTally({ tally, changedAt, masked });
      const element = key.element(entryKey, value);
      ops.push({ kind: "put", key: entryKey, value });
      sum = addSums(subtractSums(sum, kept?.element ?? emptySum), element);
      if (kept === undefined) count += 1;
      changed.set(tenant, { tally, changedAt, masked, element });
    }
    for (const tenant of changes.erased) {
      const kept = tallies.get(tenant);
      if (kept === undefined) continue;
      ops.push({ kind: "delete", key: tallyKey(tenant) });
      sum = subtractSums(sum, kept.element);
      count -= 1;
      erasedHashes += kept.tally.decisions + kept.tally.records;
    }
    return { changed, ops, sum, count, erasedHashes };
  }
}

const addTallies = (tally: Tally, change: Tally): Tally => ({
  decisions: tally.decisions + change.decisions,
  records: tally.records + change.records,
  versions: addSums(tally.versions, change.versions),
});

const planMarks = ({ marks, markSum, markCount }: State, changed: SummaryChanges["marks"]) => {
  let [sum, count] = [markSum, markCount];
  for (const [name, element] of changed) {
    const before = marks.get(name);
    sum = addSums(subtractSums(sum, before ?? emptySum), element ?? emptySum);
    count += (element === undefined ? 0 : 1) - (before === undefined ? 0 : 1);
  }
  return { sum, count };
};

const readTallies = async (key: SummaryKey, store: Store, size: bigint) => {
  const tallies = new Map<string, KeptTally>();
  let tallySum = emptySum;
  for await (const [entryKey, value] of store.range(familyRange("m"))) {
    if (entryKey.length === summaryKey.length) continue;
    const tenant = utf8Decode(entryKey.subarray(1));
    const kept = parseTally(key, tenant, value) ?? damaged(size, "a tally of the summary is malformed");
    tallies.set(tenant, kept);
    tallySum = addSums(tallySum, kept.element);
  }
  return { tallies, tallySum, tallyCount: tallies.size };
};

const readMarks = async (key: SummaryKey, store: Store) => {
  const marks = new Map<string, Sum>();
  let markSum = emptySum;
  for (const family of ["s", "y"] as const) {
    for await (const [entryKey, value] of store.range(familyRange(family))) {
      const element = key.element(entryKey, value);
      marks.set(toHex(entryKey), element);
      markSum = addSums(markSum, element);
    }
  }
  return { marks, markSum, markCount: marks.size };
};

/** Reads the stored state, before its tag is verified. */
const readState = async (key: SummaryKey, bytes: Uint8Array, store: Store, size: bigint): Promise<State> => {
  const expiriesAt = readU64be(bytes, 24);
  const expiriesMasked = bytes.slice(32, bodyBytes);
  const totals = {
    hashes: Number(readU64be(bytes, 8)),
    expiries: Number(readU64be(bytes, 16)),
    expirySum: subtractSums(expiriesMasked, key.mask(summaryKey, expiriesAt)),
  };
  return {
    ...(await readTallies(key, store, size)),
    ...(await readMarks(key, store)),
    totals,
    expiriesAt,
    expiriesMasked,
  };
};

/** Sums that every start recomputes from all entries are only hashed into the tag, not stored. */
const tagOf = ({ key, origin }: SummaryContext, body: Uint8Array, root: Hash, counted: Counted): Uint8Array =>
  key.authenticate(
    concatBytes(
      label,
      utf8Encode(`${origin}\0`),
      root,
      body,
      u64be(BigInt(counted.tallyCount)),
      counted.tallySum,
      u64be(BigInt(counted.markCount)),
      counted.markSum,
    ),
  );

const formatSummary = (context: SummaryContext, size: bigint, root: Hash, counted: Counted): Uint8Array => {
  const { totals, expiriesAt, expiriesMasked } = counted;
  assert(totals.hashes >= 0 && totals.expiries >= 0, "nothing goes that was not there");
  const body = concatBytes(
    u64be(size),
    u64be(BigInt(totals.hashes)),
    u64be(BigInt(totals.expiries)),
    u64be(expiriesAt),
    expiriesMasked,
  );
  return concatBytes(body, tagOf(context, body, root, counted));
};
