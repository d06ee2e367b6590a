/** An index of decisions over a store in memory, and beside it the plain list that it must agree with. */
import { createHmac } from "node:crypto";
import { decisionKeys, DecisionIndex } from "../../../../src/ledger/decisions/decision-index.ts";
import { DecisionSearch, type DecisionWalk } from "../../../../src/ledger/decisions/search.ts";
import type { DecisionFilter } from "../../../../src/ledger/decisions/terms.ts";
import type { RecordBody } from "../../../../src/core/record/record.ts";
import type { Store } from "../../../../src/storage/store.ts";

const tenant = "acme";

export type Made = {
  readonly position: number;
  readonly ts: number;
  readonly id: string;
  readonly subject: string;
  readonly caller: string;
  readonly action: string;
  readonly target: string;
  readonly session: string;
  readonly verdict: string;
  readonly reason: string;
};

export const keysOf = async (name: string) =>
  decisionKeys(
    "test.example",
    (label) => new Uint8Array(createHmac("sha256", `key of ${name}`).update(label).digest()),
  );

const requestOf = ({ subject, caller, action, target, session }: Made) => ({
  subject,
  caller,
  action,
  target,
  session,
});

const bodyOf = (made: Made): RecordBody => ({
  kind: "frozen_chain",
  schemaVersion: 1,
  id: made.id,
  tenant,
  ts: made.ts,
  space: "user",
  payload: { request: requestOf(made), verdict: made.verdict, reason: made.reason },
  links: [],
  prev: null,
});

/** As a walk over the ledger gives it. */
export const recordOf = (made: Made) => ({ body: bodyOf(made), position: BigInt(made.position) });

export const openIndex = (store: Store, count?: () => bigint) => {
  const faults: unknown[] = [];
  const index = new DecisionIndex({
    store: () => store,
    keys: keysOf,
    onFault: (cause) => faults.push(cause),
    ...(count === undefined ? {} : { count }),
  });
  return { index, faults };
};

/** As a commit of the ledger does: what is staged, in one batch. */
export const commit = async (index: DecisionIndex, store: Store, made: readonly Made[]): Promise<void> => {
  await index.ensure(tenant);
  const staged = index.stage();
  for (const each of made) staged.add(bodyOf(each), BigInt(each.position));
  await store.commit(staged.ops());
  staged.committed();
  // The segment that is due is prepared in a turn of its own.
  await new Promise<void>((resolve) => setImmediate(resolve));
};

export const asked = (
  over: Partial<Omit<DecisionWalk, "tenant">> & { filter: DecisionFilter },
): DecisionWalk => ({
  tenant,
  order: "newestFirst",
  size: 2n ** 40n,
  ...over,
});

export const searchIn = async (index: DecisionIndex, store: Store): Promise<DecisionSearch> =>
  new DecisionSearch(await index.view(tenant), store, store.snapshot());

/** Positions that a walk finds, over as many walks as it takes when each ends after some slices. */
export const walkAll = async (
  index: DecisionIndex,
  store: Store,
  walk: DecisionWalk,
  slicesMax = Infinity,
): Promise<readonly number[]> => {
  const found: number[] = [];
  let start = walk.start;
  for (;;) {
    const search = await searchIn(index, store);
    let next: bigint | undefined;
    let slices = 0;
    for await (const { positions, resume } of search.walk({
      ...walk,
      ...(start === undefined ? {} : { start }),
    })) {
      found.push(...positions.map(Number));
      slices += 1;
      if (slices < slicesMax) continue;
      next = await resume();
      break;
    }
    if (next === undefined) return found;
    start = next;
  }
};

const isOrBegins = (prefix: string, target: string): boolean =>
  target === prefix || target.startsWith(`${prefix}/`);

/** What the index must find, by looking at everything. */
export const expected = (all: readonly Made[], { filter, order, size, from = 0n, start }: DecisionWalk) => {
  const reverse = order === "newestFirst";
  const found = all.filter(
    (made) =>
      BigInt(made.position) < size &&
      BigInt(made.position) >= from &&
      (start === undefined || (reverse ? BigInt(made.position) <= start : BigInt(made.position) >= start)) &&
      (filter.principal === undefined || [made.subject, made.caller].includes(filter.principal)) &&
      (filter.action ?? made.action) === made.action &&
      (filter.verdict ?? made.verdict) === made.verdict &&
      (filter.reason ?? made.reason) === made.reason &&
      (filter.session ?? made.session) === made.session &&
      (filter.targetPrefix === undefined || isOrBegins(filter.targetPrefix, made.target)) &&
      made.ts >= (filter.fromMs ?? 0) &&
      made.ts < (filter.untilMs ?? Infinity),
  );
  const positions = found.map(({ position }) => position);
  return reverse ? positions.toReversed() : positions;
};

/** A generator of numbers that gives the same ones again: what failed once fails again. */
export const seeded = (seed: number) => {
  let state = seed;
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    // By the high bits: the low ones of this generator come round so soon that some numbers never come.
    return Math.floor((state / 2 ** 32) * below);
  };
};

/** Decisions as a busy tenant has them: common values, rare ones, positions with gaps, a clock that steps back. */
export const makeDecisions = (count: number, seed = 7): readonly Made[] => {
  const random = seeded(seed);
  let [position, clockMs] = [3, 1_700_000_000_000];
  return Array.from({ length: count }, (_, index) => {
    position += 1 + (random(8) === 0 ? random(5) : 0);
    clockMs += random(200) - (random(2000) === 0 ? 400_000 : 0);
    const isRare = index % 997 === 0;
    const subject = isRare ? "rare-agent" : `agent-${(index * 7) % 40}`;
    return {
      position,
      ts: clockMs + random(3) - 1,
      id: `d-${index}`,
      subject,
      caller: random(3) === 0 ? "gateway" : subject,
      action: random(20) === 0 ? "write" : "read",
      target: `user/notes-${random(3)}/${random(500)}${random(9) === 0 ? "/deep/er/than/the/index/goes/in/any/case" : ""}`,
      session: random(4) === 0 ? "" : `s-${random(50)}`,
      verdict: random(10) < 6 ? "allow" : "deny",
      reason: random(50) === 0 ? "UNKNOWN_ACTION" : "SCORE_BELOW_THRESHOLD",
    };
  });
};
