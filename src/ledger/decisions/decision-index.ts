/**
 * The decision index while the ledger serves, a log-structured index per tenant. Each commit adds one tail value to a
 * tenant's index, which is also kept in memory. Once `decisionSegmentMin` decisions are outside any segment, the next
 * batch writes them as one. Segments are merged in the background. A crash at any step loses nothing: decisions without
 * a segment are in tail values, unmerged ones in shorter segments. Source: docs/spec/ledger.md §6.
 */
import type { BlindTags } from "../layout/indexes.ts";
import { assert, fail, SigilFault, type SigilError } from "../../errors.ts";
import {
  decisionRowsMax,
  decisionSegmentMin,
  decisionTenantsMax,
  segmentLevelMax,
  segmentsMerged,
} from "../../limits.ts";
import type { RecordBody } from "@sigil/core/record";
import type { Store, StoreOp } from "../../storage/store.ts";
import {
  decisionPartPrefix,
  decisionParts,
  decisionTailKey,
  parseDecisionKey,
  prefixRange,
} from "../layout/keyspace.ts";
import { ValueSeal } from "./authentic.ts";
import { clockAfter, formatTail, noTime, parseTail, type Clock, type DecisionEntry } from "./rows.ts";
import { dropMerged, mergeSegments, planFirstSegment, type FirstSegment } from "./segments.ts";
import { DecisionTerms, type IndexedDecision } from "./terms.ts";
import { damagedIndex, DecisionValues, type Segment } from "./values.ts";

/** A tenant's constant keys: for sealing its values and deriving its terms. */
export type DecisionKeys = { readonly seal: ValueSeal; readonly terms: DecisionTerms };

/** The key of a tenant's terms, 16 bytes. @param digest as for `decisionKeys`. */
export const termsKey = (digest: (label: string) => Uint8Array): Uint8Array =>
  digest("sigil/decision-index/terms/v1").subarray(0, 16);

/** @param digest a keyed digest of a label under the tenant's index key, 32 bytes. */
export const decisionKeys = (origin: string, digest: (label: string) => Uint8Array): DecisionKeys => ({
  seal: new ValueSeal(digest("sigil/decision-index/seal/v1"), origin),
  terms: new DecisionTerms(termsKey(digest)),
});

/** Derives a tenant's decision index keys. */
export const decisionKeysOf =
  (origin: string, tags: BlindTags) =>
  async (tenant: string): Promise<DecisionKeys> => {
    await tags.ensure(tenant);
    return decisionKeys(origin, (label) => tags.digest(tenant, label));
  };

/** The body has been validated before, so the shape is certain. */
type IndexedPayload = Pick<IndexedDecision, "verdict" | "reason"> & {
  readonly request: Omit<IndexedDecision, "id" | "verdict" | "reason" | "session" | "isNumbered"> & {
    readonly session?: string;
  };
  readonly caller_seq?: number;
};

/** The index entry of a decision. */
export const indexedEntry = (terms: DecisionTerms, body: RecordBody, position: bigint): DecisionEntry => {
  const { request, verdict, reason, caller_seq } = body.payload as IndexedPayload;
  const { session = "" } = request;
  const isNumbered = caller_seq !== undefined;
  const found = terms.of({ ...request, session, id: body.id, verdict, reason, isNumbered });
  return { position: Number(position), ts: body.ts, ...found };
};

/** A decision as a walk has it: its record, or what is left of it. */
export type WalkedIn =
  | { readonly position: bigint; readonly body: RecordBody }
  | {
      readonly position: bigint;
      readonly body: Pick<RecordBody, "tenant">;
      readonly entry: DecisionEntry;
    };

export const entryOf = (walked: WalkedIn, terms: DecisionTerms): DecisionEntry =>
  "entry" in walked ? walked.entry : indexedEntry(terms, walked.body, walked.position);

/** A tenant's index at one moment. To read on from it, take a store snapshot in the same turn. */
export type DecisionView = DecisionKeys & {
  readonly tenant: string;
  /** Ascending; together they cover decisions 0 to `settled` − 1. */
  readonly segments: readonly Segment[];
  readonly settled: number;
  /** Decisions from `settled` on. The array may grow; only the first `tailLength` belong to this view. */
  readonly tail: readonly DecisionEntry[];
  readonly tailLength: number;
  /** The clock after the last decision. */
  readonly clock: Clock;
};

type TailValue = { readonly first: number; readonly count: number };

export type TenantState = DecisionKeys & {
  readonly tenant: string;
  segments: readonly Segment[];
  settled: number;
  settledClock: Clock;
  clock: Clock;
  tail: DecisionEntry[];
  tailValues: TailValue[];
  /** A segment ready to be written with the next batch. */
  ready: FirstSegment | undefined;
  /** True once `forget` dropped this state. */
  isGone: boolean;
};

/** One commit's changes to the index. */
export type StagedDecisions = {
  readonly add: (body: RecordBody, position: bigint) => void;
  /** Called once, after all records are added. */
  readonly ops: () => readonly StoreOp[];
  /** Called when the batch is on disk. */
  readonly committed: () => void;
};

export type DecisionIndexSteps = {
  readonly store: () => Store;
  /** Loads the tenant's keys. @throws keyUnavailable, erased. */
  readonly keys: (tenant: string) => Promise<DecisionKeys>;
  /** The tenant's number of decisions from an independent count, if there is one. */
  readonly count?: ((tenant: string) => bigint | undefined) | undefined;
  /** Called when an index is found damaged. */
  readonly onBroken?: ((error: SigilError) => void) | undefined;
  /** Called when a merge fails; the next merge tries again. */
  readonly onFault: (cause: unknown) => void;
};

const gone = (): never => fail({ kind: "cancelled" });

/** Loads a tenant's index from the store. @throws ledgerCorrupt if any value is missing or changed. */
export const loadDecisions = async (
  tenant: string,
  store: Store,
  keys: DecisionKeys,
): Promise<TenantState> => {
  const values = new DecisionValues(tenant, store, keys.seal);
  let settled = 0;
  const rows = prefixRange(decisionPartPrefix(tenant, decisionParts.rows));
  for await (const [key] of store.range({ ...rows, reverse: true, limit: 1 })) {
    settled = (parseDecisionKey(key).number + 1) * decisionRowsMax;
  }
  if (settled % decisionSegmentMin !== 0) damagedIndex(tenant, `rows end at decision ${settled}`);
  const tail: DecisionEntry[] = [];
  const tailValues: TailValue[] = [];
  for await (const [key, value] of store.range(prefixRange(decisionPartPrefix(tenant, decisionParts.tail)))) {
    const { number: first } = parseDecisionKey(key);
    const entries = parseTail(values.open(key, value, `the tail at decision ${first}`));
    // The first tail value may overlap the segments; each later one begins where the previous one ended.
    const isNext = tailValues.length === 0 ? first <= settled : first === settled + tail.length;
    if (!isNext || first + entries.length <= settled) damagedIndex(tenant, `decision ${settled} is missing`);
    tailValues.push({ first, count: entries.length });
    tail.push(...entries.slice(Math.max(0, settled - first)));
  }
  const settledClock = settled === 0 ? noTime : (await values.rows(settled / decisionRowsMax - 1)).clock;
  const clock = tail.reduce((before, { ts }) => clockAfter(before, ts), settledClock);
  const segments = await values.segments(settled);
  return {
    ...keys,
    tenant,
    segments,
    settled,
    settledClock,
    clock,
    tail,
    tailValues,
    ready: undefined,
    isGone: false,
  };
};

export class DecisionIndex {
  readonly #steps: DecisionIndexSteps;
  /** In LRU order, the most recently used last. */
  readonly #states = new Map<string, TenantState>();
  /** Kept when a tenant's state is evicted: rate windows filled under these terms must still be found. */
  readonly #keys = new Map<string, DecisionKeys>();
  readonly #loading = new Map<string, Promise<TenantState>>();
  #upkeep: Promise<void> = Promise.resolve();

  constructor(steps: DecisionIndexSteps) {
    this.#steps = steps;
  }

  /** True once `ensure` has loaded the tenant's index. */
  isReady(tenant: string): boolean {
    return this.#states.has(tenant);
  }

  /** @throws keyUnavailable, erased, ledgerCorrupt. */
  async ensure(tenant: string): Promise<void> {
    await this.#state(tenant);
  }

  /** A principal's term in a tenant's rows; undefined while the tenant's keys are not loaded. */
  principalTerm(tenant: string, principal: string): number | undefined {
    return this.#keys.get(tenant)?.terms.principal(principal);
  }

  async view(tenant: string): Promise<DecisionView> {
    const state = await this.#state(tenant);
    const { seal, terms, segments, settled, tail, clock } = state;
    return { tenant, seal, terms, segments, settled, tail, tailLength: tail.length, clock };
  }

  /** Starts the changes of one commit. The tenants of added records must be ready. */
  stage(): StagedDecisions {
    const added = new Map<TenantState, DecisionEntry[]>();
    const carried: TenantState[] = [];
    return {
      add: (body, position) => {
        const state = this.#states.get(body.tenant);
        assert(state !== undefined, "the tenant's index of decisions is loaded before a commit");
        const entry = indexedEntry(state.terms, body, position);
        const entries = added.get(state);
        if (entries === undefined) added.set(state, [entry]);
        else entries.push(entry);
      },
      ops: () => {
        const ops: StoreOp[] = [];
        for (const [{ tenant, seal, settled, tail }, entries] of added) {
          const key = decisionTailKey(tenant, settled + tail.length);
          ops.push({ kind: "put", key, value: seal.seal(key, formatTail(entries)) });
        }
        for (const state of this.#states.values()) {
          if (state.ready === undefined) continue;
          carried.push(state);
          ops.push(...state.ready.ops);
        }
        return ops;
      },
      committed: () => {
        for (const [state, entries] of added) {
          state.tailValues.push({ first: state.settled + state.tail.length, count: entries.length });
          for (const entry of entries) {
            state.tail.push(entry);
            state.clock = clockAfter(state.clock, entry.ts);
          }
        }
        for (const state of carried) this.#settle(state);
        for (const state of added.keys()) this.#prepare(state);
        this.#evict();
      },
    };
  }

  /** Drops the state of one tenant, or of all: it is read from the store again. */
  forget(tenant?: string): void {
    for (const state of this.#states.values()) {
      if (tenant !== undefined && state.tenant !== tenant) continue;
      state.isGone = true;
      this.#states.delete(state.tenant);
    }
    const names = tenant === undefined ? [...this.#keys.keys(), ...this.#loading.keys()] : [tenant];
    for (const name of names) {
      this.#keys.delete(name);
      this.#loading.delete(name);
    }
  }

  /** Resolves when the merges in progress have finished. */
  settled(): Promise<void> {
    return this.#upkeep;
  }

  async #state(tenant: string): Promise<TenantState> {
    const known = this.#states.get(tenant);
    if (known !== undefined) {
      this.#states.delete(tenant);
      this.#states.set(tenant, known);
      return known;
    }
    const underWay = this.#loading.get(tenant);
    if (underWay !== undefined) return underWay;
    const loading = this.#load(tenant).catch((cause: unknown) => {
      const isBroken = cause instanceof SigilFault && cause.error.kind === "ledgerCorrupt";
      if (isBroken) this.#steps.onBroken?.(cause.error);
      throw cause;
    });
    this.#loading.set(tenant, loading);
    try {
      const state = await loading;
      // Not stored if it was forgotten meanwhile: the next caller loads again.
      if (this.#loading.get(tenant) === loading) this.#states.set(tenant, state);
      return state;
    } finally {
      if (this.#loading.get(tenant) === loading) this.#loading.delete(tenant);
    }
  }

  async #load(tenant: string): Promise<TenantState> {
    const keys = this.#keys.get(tenant) ?? (await this.#steps.keys(tenant));
    const state = await loadDecisions(tenant, this.#steps.store(), keys);
    const [found, counted] = [BigInt(state.settled + state.tail.length), this.#steps.count?.(tenant)];
    if (counted !== undefined && counted !== found) {
      damagedIndex(tenant, `it has ${found} of ${counted} decisions`);
    }
    this.#keys.set(tenant, keys);
    this.#prepare(state);
    for (const parent of unmerged(state.segments)) this.#merge(state, parent);
    return state;
  }

  /** If the tail is long enough, builds a segment from its oldest decisions, after this turn's calls. */
  #prepare(state: TenantState): void {
    if (state.ready !== undefined || state.tail.length < decisionSegmentMin) return;
    setImmediate(() => {
      if (state.isGone || state.ready !== undefined || state.tail.length < decisionSegmentMin) return;
      const { tenant, settled, settledClock, tail, tailValues } = state;
      const end = settled + decisionSegmentMin;
      const planned = planFirstSegment(
        state,
        settled / decisionSegmentMin,
        tail.slice(0, decisionSegmentMin),
        settledClock,
      );
      const covered = tailValues.filter(({ first, count }) => first + count <= end);
      const drops = covered.map(({ first }): StoreOp => ({
        kind: "delete",
        key: decisionTailKey(tenant, first),
      }));
      state.ready = { ...planned, ops: [...planned.ops, ...drops] };
    });
  }

  /** Called when the ready segment is on disk: moves its decisions out of the tail. */
  #settle(state: TenantState): void {
    const { ready } = state;
    assert(ready !== undefined, "a segment that was carried was ready");
    state.ready = undefined;
    state.settled += decisionSegmentMin;
    state.settledClock = ready.clock;
    state.segments = [...state.segments, ready.segment];
    // A new array, since readers still hold the old one.
    state.tail = state.tail.slice(decisionSegmentMin);
    state.tailValues = state.tailValues.filter(({ first, count }) => first + count > state.settled);
    for (const parent of unmerged(state.segments)) this.#merge(state, parent);
    this.#prepare(state);
  }

  #merge(state: TenantState, first: Segment): void {
    this.#upkeep = this.#upkeep.then(async () => {
      try {
        await this.#mergeNow(state, first);
      } catch (cause) {
        if (!state.isGone) this.#steps.onFault(cause);
      }
    });
  }

  async #mergeNow(state: TenantState, { level, number }: Segment): Promise<void> {
    const from = state.segments.findIndex((each) => each.level === level && each.number === number);
    const children = state.segments.slice(from, from + segmentsMerged);
    // Another run has already merged them.
    if (from < 0 || children.some((child) => child.level !== level)) return;
    const store = this.#steps.store();
    const { tenant, seal } = state;
    const values = new DecisionValues(tenant, store, seal);
    const proceed = (): void => {
      if (state.isGone || this.#steps.store() !== store) gone();
    };
    const merged = await mergeSegments(children, { tenant, seal, store, values, proceed });
    proceed();
    state.segments = state.segments.toSpliced(from, segmentsMerged, merged);
    // Readers of the shorter segments hold a snapshot taken before this.
    for await (const batch of dropMerged({ tenant, store }, merged)) {
      proceed();
      await store.commit(batch);
    }
    for (const parent of unmerged(state.segments)) this.#merge(state, parent);
  }

  #evict(): void {
    for (const state of this.#states.values()) {
      if (this.#states.size <= decisionTenantsMax) return;
      if (state.ready !== undefined) continue;
      state.isGone = true;
      this.#states.delete(state.tenant);
    }
  }
}

/** The first segment of every run of sixteen that can be merged. */
export const unmerged = (segments: readonly Segment[]): readonly Segment[] =>
  segments.filter((first, index) => {
    const last = segments[index + segmentsMerged - 1];
    return (
      first.level < segmentLevelMax &&
      first.number % segmentsMerged === 0 &&
      last !== undefined &&
      last.level === first.level
    );
  });
