/**
 * Fair sharing of processor time by caller, and by connection within a caller: deficit round robin with costs measured
 * and charged afterwards. Calls and slices of long ones start in turns of the event loop, callers without debt first. A
 * caller in debt is delayed by its debt while others are active, never while it is alone. A caller has at most
 * `callsUnderWayPerCallerMax` concurrent calls and batch items, `callsUnderWayBesideOthersMax` while others are active;
 * further ones queue.
 */
import {
  callOverheadMs,
  callsPerTurn,
  callsUnderWayBesideOthersMax,
  callsUnderWayOfConnectionMax,
  callsUnderWayPerCallerMax,
  collectionMsPerByte,
  pacedCallersMax,
  pacingActiveMs,
  pacingDebtMsMax,
  pacingFreeMs,
  pacingSliceMs,
  pacingTurnAloneMs,
  pacingTurnMs,
} from "../../limits.ts";
import { BoundedMap } from "../../identity/bounded-map.ts";
import type { Pace } from "../../identity/caller.ts";
import { FairQueue } from "../../identity/fair-queue.ts";

/** `paidMs`: time at which the debt is paid; `underWay`: concurrent calls and batch items. */
type Account = { paidMs: number; underWay: number };

/** `connections` counts its connections with calls in progress. */
type CallerAccount = Account & { connections: number };

type Waiter = {
  readonly weight: number;
  readonly isWanted: () => boolean;
  readonly begin: () => void;
};

/**
 * Who is active: those with calls in progress, and the last activity of two different ones, in milliseconds of event
 * loop time not blocked by work.
 */
class Activity<One extends Account> {
  #last: One | undefined;
  #lastMs = -Infinity;
  #otherMs = -Infinity;
  /** Number of those with calls in progress. */
  #underWay = 0;

  /** Changes the calls in progress. */
  add(one: One, weight: number): void {
    const before = one.underWay;
    one.underWay += weight;
    this.#underWay += Number(one.underWay > 0) - Number(before > 0);
  }

  note(one: One, idleMs: number): void {
    if (one !== this.#last) {
      this.#otherMs = this.#lastMs;
      this.#last = one;
    }
    this.#lastMs = idleMs;
  }

  /** When another one was last active; Infinity if one has calls in progress, which may wait for a slow disk. */
  othersMs(one: One): number {
    if (this.#underWay > Number(one.underWay > 0)) return Infinity;
    return one === this.#last ? this.#otherMs : this.#lastMs;
  }

  /** Until when more than one was active. */
  get severalMs(): number {
    return this.#otherMs;
  }
}

const always = (): boolean => true;

/** The work of one caller on one connection. */
export class Flow implements Account {
  paidMs = 0;
  underWay = 0;
  readonly caller: CallerAccount;
  readonly #pacing: Pacing;

  constructor(pacing: Pacing, caller: CallerAccount) {
    this.#pacing = pacing;
    this.caller = caller;
  }

  /**
   * Requests a turn for `weight` calls or batch items, which count as in progress until `leave`.
   * @returns undefined if it may start immediately, else a promise. An unwanted one resolves without charge.
   */
  enter(weight = 1, isWanted: () => boolean = always): Promise<void> | undefined {
    return this.#pacing.enter(this, weight, isWanted);
  }

  /** Yields until its next turn, ahead of the caller's queued calls: work that has begun finishes first. */
  pause(isWanted: () => boolean = always): Promise<void> {
    return this.#pacing.pause(this, isWanted);
  }

  leave(weight = 1): void {
    this.#pacing.leave(this, weight);
  }

  charge(costMs: number): void {
    this.#pacing.charge(this, costMs);
  }

  /** Charges the collection of a request's bytes, and of what is decoded from them. */
  chargeBytes(bytes: number): void {
    this.charge(bytes * collectionMsPerByte);
  }

  /** Runs synchronous work and charges its time. */
  run<Result>(work: () => Result): Result {
    const startMs = this.#pacing.nowMs();
    try {
      return work();
    } finally {
      this.worked(this.#pacing.nowMs() - startMs);
    }
  }

  /** Charges time for which it blocked the event loop. */
  worked(spentMs: number): void {
    this.#pacing.pass(spentMs);
    this.charge(spentMs);
  }
}

/** Pacing of one call in progress. */
export class CallPace implements Pace {
  readonly #flow: Flow;
  readonly #nowMs: () => number;
  readonly #isWanted: () => boolean;
  #weight: number;

  /** @param weight of the call. */
  constructor(flow: Flow, nowMs: () => number, isWanted: () => boolean, weight = 1) {
    this.#weight = weight;
    this.#flow = flow;
    this.#nowMs = nowMs;
    this.#isWanted = isWanted;
  }

  get weight(): number {
    return this.#weight;
  }

  async weigh(items: number): Promise<void> {
    // Releases its own slot while waiting: many that hold one each would deadlock.
    this.#flow.leave(this.#weight);
    this.#weight = 0;
    await this.#flow.enter(items, this.#isWanted);
    this.#weight = items;
  }

  async map<Item, Result>(
    items: readonly Item[],
    act: (item: Item, index: number) => Result,
  ): Promise<readonly Result[]> {
    const results: Result[] = [];
    let startMs = this.#nowMs();
    for (const [index, item] of items.entries()) {
      results.push(act(item, index));
      const spentMs = this.#nowMs() - startMs;
      if (spentMs < pacingSliceMs) continue;
      this.#flow.worked(spentMs);
      await this.pause();
      startMs = this.#nowMs();
    }
    this.#flow.worked(this.#nowMs() - startMs);
    return results;
  }

  run<Result>(work: () => Result): Result {
    return this.#flow.run(work);
  }

  charge(costMs: number): void {
    this.#flow.charge(costMs);
  }

  pause(): Promise<void> {
    return this.#flow.pause(this.#isWanted);
  }
}

/** Guaranteed concurrency per connection of a caller; lower with many connections. */
const connectionPlaces = ({ connections }: CallerAccount): number =>
  Math.max(
    1,
    Math.min(callsUnderWayOfConnectionMax, Math.floor(callsUnderWayBesideOthersMax / (connections + 1))),
  );

export class Pacing {
  readonly nowMs: () => number;
  readonly #callers = new BoundedMap<string, CallerAccount>(pacedCallersMax);
  readonly #flows = new WeakMap<object, Map<string, Flow>>();
  readonly #waiting = new FairQueue<Flow, Waiter>();
  readonly #activeFlows = new Activity<Flow>();
  readonly #activeCallers = new Activity<CallerAccount>();
  /** Total time in which work blocked the event loop; monotonic. */
  #busyMs = 0;
  #idleMs = -Infinity;
  #callsLeft = callsPerTurn;
  #turnStartMs = 0;
  #isScheduled = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param nowMs monotonic clock. */
  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  /** @param caller its `callerKey`. @param connection compared by identity. */
  flowOf(caller: string, connection: object): Flow {
    let flows = this.#flows.get(connection);
    if (flows === undefined) {
      flows = new Map();
      this.#flows.set(connection, flows);
    }
    const known = flows.get(caller);
    if (known !== undefined) return known;
    const account = this.#callers.get(caller) ?? { paidMs: 0, underWay: 0, connections: 0 };
    this.#callers.set(caller, account);
    const flow = new Flow(this, account);
    flows.set(caller, flow);
    return flow;
  }

  enter(flow: Flow, weight: number, isWanted: () => boolean): Promise<void> | undefined {
    const nowMs = this.nowMs();
    if (this.#waiting.isEmpty && this.#callsLeft > 0 && this.#mayBegin(flow, weight, nowMs)) {
      this.#schedule();
      this.#begin(flow, weight, nowMs);
      return undefined;
    }
    return new Promise((resolve) => {
      this.#waiting.add(flow, { weight, isWanted, begin: resolve });
      this.#schedule();
    });
  }

  pause(flow: Flow, isWanted: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.addFirst(flow, { weight: 0, isWanted, begin: resolve });
      this.#schedule();
    });
  }

  leave(flow: Flow, weight: number): void {
    this.#add(flow, -weight);
    if (weight > 0 && flow.underWay === 0) flow.caller.connections -= 1;
    this.#note(flow, this.nowMs());
    if (!this.#waiting.isEmpty) this.#schedule();
  }

  /** Excludes blocked time: nobody else could be active in it. */
  pass(spentMs: number): void {
    this.#idleMs = Math.max(this.#idleMs, this.nowMs() - this.#busyMs - spentMs);
    this.#busyMs = this.nowMs() - this.#idleMs;
  }

  charge(flow: Flow, costMs: number): void {
    const nowMs = this.nowMs();
    for (const account of [flow, flow.caller]) {
      account.paidMs = Math.min(Math.max(account.paidMs, nowMs) + costMs, nowMs + pacingDebtMsMax);
    }
  }

  #note(flow: Flow, nowMs: number): void {
    const idleMs = nowMs - this.#busyMs;
    this.#activeFlows.note(flow, idleMs);
    this.#activeCallers.note(flow.caller, idleMs);
  }

  #add(flow: Flow, weight: number): void {
    this.#activeFlows.add(flow, weight);
    this.#activeCallers.add(flow.caller, weight);
  }

  #begin(flow: Flow, weight: number, nowMs: number): void {
    this.#callsLeft -= 1;
    if (weight > 0 && flow.underWay === 0) flow.caller.connections += 1;
    this.#add(flow, weight);
    this.#note(flow, nowMs);
    if (weight > 0) this.charge(flow, callOverheadMs);
  }

  /** A caller without calls in progress may start any weight; each of its connections always has a slot. */
  #hasPlace(flow: Flow, weight: number, nowMs: number): boolean {
    const { caller } = flow;
    if (weight === 0 || caller.underWay === 0) return true;
    if (flow.underWay + weight <= connectionPlaces(caller)) return true;
    const ofCaller = this.#isBesideOthers(this.#activeCallers, caller, nowMs);
    if (caller.underWay + weight > (ofCaller ? callsUnderWayBesideOthersMax : callsUnderWayPerCallerMax))
      return false;
    return (
      flow.underWay === 0 ||
      flow.underWay + weight <= callsUnderWayBesideOthersMax ||
      !this.#isBesideOthers(this.#activeFlows, flow, nowMs)
    );
  }

  #isBesideOthers<One extends Account>(active: Activity<One>, one: One, nowMs: number): boolean {
    return active.othersMs(one) > nowMs - this.#busyMs - pacingActiveMs;
  }

  #mayBegin(flow: Flow, weight: number, nowMs: number): boolean {
    return this.#hasPlace(flow, weight, nowMs) && this.#waitMs(flow, nowMs) <= 0;
  }

  /** Delay for its debt in milliseconds; 0 if no other caller is active. */
  #waitMs(flow: Flow, nowMs: number): number {
    const { caller } = flow;
    const ofFlow = this.#isBesideOthers(this.#activeFlows, flow, nowMs) ? flow.paidMs : 0;
    const ofCaller = this.#isBesideOthers(this.#activeCallers, caller, nowMs) ? caller.paidMs : 0;
    return Math.max(ofFlow, ofCaller) - nowMs - pacingFreeMs;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#isScheduled = false;
    this.#callsLeft = callsPerTurn;
    this.#turnStartMs = this.nowMs();
    if (!this.#waiting.isEmpty) this.#step();
  };

  /** Starts one; starts the next when its synchronous work is done. */
  readonly #step = (): void => {
    const nowMs = this.nowMs();
    if (this.#callsLeft <= 0 || nowMs >= this.#turnStartMs + this.#turnMs(nowMs)) return this.#rest(0);
    const picked = this.#pick(nowMs);
    if (picked.flow === undefined) return this.#rest(picked.waitMs);
    const waiter = this.#waiting.takeOf(picked.flow);
    this.#begin(picked.flow, waiter?.weight ?? 0, nowMs);
    waiter?.begin();
    // A nextTick from a microtask runs after all microtasks.
    queueMicrotask(this.#afterMicrotasks);
  };

  readonly #afterMicrotasks = (): void => process.nextTick(this.#step);

  #turnMs(nowMs: number): number {
    const severalAreActive = this.#activeFlows.severalMs > nowMs - this.#busyMs - pacingActiveMs;
    return severalAreActive || this.#waiting.holderCount > 1 ? pacingTurnMs : pacingTurnAloneMs;
  }

  /** @param waitMs until one may start; Infinity if only the end of a call permits that. */
  #rest(waitMs: number): void {
    if (this.#waiting.isEmpty || this.#isScheduled) return;
    if (waitMs <= 0) this.#schedule();
    else if (waitMs < Infinity) this.#timer ??= setTimeout(() => this.#schedule(), Math.ceil(waitMs)).unref();
  }

  /** The next caller without debt in turn order; else the one with the least debt. */
  #pick(nowMs: number): { readonly flow: Flow | undefined; readonly waitMs: number } {
    let least: Flow | undefined;
    let leastMs = Infinity;
    let waitMs = Infinity;
    for (const flow of this.#waiting.holders()) {
      const first = this.#waiting.firstOf(flow);
      if (first === undefined || !first.isWanted()) return { flow, waitMs: 0 };
      if (!this.#hasPlace(flow, first.weight, nowMs)) continue;
      // Among a caller's connections, the one with less debt first.
      const owedMs = Math.max(0, flow.paidMs - nowMs) + Math.max(0, flow.caller.paidMs - nowMs);
      if (owedMs <= 0) return { flow, waitMs: 0 };
      const ownMs = this.#waitMs(flow, nowMs);
      if (ownMs > 0) waitMs = Math.min(waitMs, ownMs);
      else if (owedMs < leastMs) [least, leastMs] = [flow, owedMs];
    }
    return { flow: least, waitMs };
  }
}
