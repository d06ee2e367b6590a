/**
 * Processor time, shared out by caller, and by connection within a caller: deficit round robin in which what work took
 * is measured and charged afterwards. Calls and parts of long ones begin in turns of the event loop, those first who
 * are in no debt. Who is in debt waits as long as its work took while others are active, and never while it is alone. A
 * caller has at most `callsUnderWayPerCallerMax` calls and items of batches under way, `callsUnderWayBesideOthersMax`
 * while others are active; the rest of its own waits for them.
 */
import {
  callOverheadMs,
  callsPerTurn,
  callsUnderWayBesideOthersMax,
  callsUnderWayOfConnectionMax,
  callsUnderWayPerCallerMax,
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

/** What somebody owes, paid by then, and what it has under way, in calls and items of batches. */
type Account = { paidMs: number; underWay: number };

/** `connections` counts those on which it has something under way. */
type CallerAccount = Account & { connections: number };

type Waiter = {
  readonly weight: number;
  readonly isWanted: () => boolean;
  readonly begin: () => void;
};

/** When two different ones were last active, in milliseconds of time in which nobody's work held the event loop. */
class Lately<One> {
  #last: One | undefined;
  #lastMs = -Infinity;
  #otherMs = -Infinity;

  note(one: One, idleMs: number): void {
    if (one !== this.#last) {
      this.#otherMs = this.#lastMs;
      this.#last = one;
    }
    this.#lastMs = idleMs;
  }

  /** When somebody else was. */
  othersMs(one: One): number {
    return one === this.#last ? this.#otherMs : this.#lastMs;
  }

  /** Until when more than one was active. */
  get severalMs(): number {
    return this.#otherMs;
  }
}

const always = (): boolean => true;

/** What one caller does on one connection. */
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
   * A turn of `weight` calls or items of a batch, which are under way until `leave`.
   * @returns undefined when it may begin at once, else a promise of its turn. One that is no longer wanted has it for
   * nothing.
   */
  enter(weight = 1, isWanted: () => boolean = always): Promise<void> | undefined {
    return this.#pacing.enter(this, weight, isWanted);
  }

  /** Its next turn of the event loop, before what waits of its own: what has begun ends first. */
  pause(isWanted: () => boolean = always): Promise<void> {
    return this.#pacing.pause(this, isWanted);
  }

  leave(weight = 1): void {
    this.#pacing.leave(this, weight);
  }

  charge(costMs: number): void {
    this.#pacing.charge(this, costMs);
  }

  /** Synchronous work, charged with what it takes. */
  run<Result>(work: () => Result): Result {
    const startMs = this.#pacing.nowMs();
    try {
      return work();
    } finally {
      this.worked(this.#pacing.nowMs() - startMs);
    }
  }

  /** Has held the event loop for so long. */
  worked(spentMs: number): void {
    this.#pacing.pass(spentMs);
    this.charge(spentMs);
  }
}

/** The pace of one call that has begun. */
export class CallPace implements Pace {
  readonly #flow: Flow;
  readonly #nowMs: () => number;
  readonly #isWanted: () => boolean;
  #weight: number;

  /** @param weight with which it is under way. */
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
    // Whoever waits holds nothing: many that each held their first would wait for each other.
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

/** What each connection of a caller may have under way whatever the others have: less where they are many. */
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
  readonly #flowsLately = new Lately<Flow>();
  readonly #callersLately = new Lately<Account>();
  /**
   * Time in which somebody's work held the event loop, and the rest of it at the end of the last such work: it never
   * goes back.
   */
  #busyMs = 0;
  #idleMs = -Infinity;
  #callsLeft = callsPerTurn;
  #turnStartMs = 0;
  #isScheduled = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param nowMs monotonic. */
  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  /** @param caller as `callerKey` names it. @param connection compared by identity. */
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
    flow.underWay -= weight;
    flow.caller.underWay -= weight;
    if (weight > 0 && flow.underWay === 0) flow.caller.connections -= 1;
    this.#note(flow, this.nowMs());
    if (!this.#waiting.isEmpty) this.#schedule();
  }

  /** While one held the event loop nobody else could be active: that time does not count. */
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
    this.#flowsLately.note(flow, idleMs);
    this.#callersLately.note(flow.caller, idleMs);
  }

  #begin(flow: Flow, weight: number, nowMs: number): void {
    this.#callsLeft -= 1;
    if (weight > 0 && flow.underWay === 0) flow.caller.connections += 1;
    flow.underWay += weight;
    flow.caller.underWay += weight;
    this.#note(flow, nowMs);
    if (weight > 0) this.charge(flow, callOverheadMs);
  }

  /** A caller that has nothing under way may begin whatever it weighs; each of its connections always has a place. */
  #hasPlace(flow: Flow, weight: number, nowMs: number): boolean {
    const { caller } = flow;
    if (weight === 0 || caller.underWay === 0) return true;
    if (flow.underWay + weight <= connectionPlaces(caller)) return true;
    const ofCaller = this.#isBesideOthers(this.#callersLately, caller, nowMs);
    if (caller.underWay + weight > (ofCaller ? callsUnderWayBesideOthersMax : callsUnderWayPerCallerMax))
      return false;
    return (
      flow.underWay === 0 ||
      flow.underWay + weight <= callsUnderWayBesideOthersMax ||
      !this.#isBesideOthers(this.#flowsLately, flow, nowMs)
    );
  }

  #isBesideOthers<One>(lately: Lately<One>, one: One, nowMs: number): boolean {
    return lately.othersMs(one) > nowMs - this.#busyMs - pacingActiveMs;
  }

  #mayBegin(flow: Flow, weight: number, nowMs: number): boolean {
    return this.#hasPlace(flow, weight, nowMs) && this.#waitMs(flow, nowMs) <= 0;
  }

  /** Milliseconds it waits for its debts: none to whom nobody else is there. */
  #waitMs(flow: Flow, nowMs: number): number {
    const { caller } = flow;
    const ofFlow = this.#isBesideOthers(this.#flowsLately, flow, nowMs) ? flow.paidMs : 0;
    const ofCaller = this.#isBesideOthers(this.#callersLately, caller, nowMs) ? caller.paidMs : 0;
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

  /** One begins; when all that it does at once is done, the next does. */
  readonly #step = (): void => {
    const nowMs = this.nowMs();
    if (this.#callsLeft <= 0 || nowMs >= this.#turnStartMs + this.#turnMs(nowMs)) return this.#rest(0);
    const picked = this.#pick(nowMs);
    if (picked.flow === undefined) return this.#rest(picked.waitMs);
    const waiter = this.#waiting.takeOf(picked.flow);
    this.#begin(picked.flow, waiter?.weight ?? 0, nowMs);
    waiter?.begin();
    // A tick after a microtask runs when there are no more microtasks.
    queueMicrotask(this.#afterMicrotasks);
  };

  readonly #afterMicrotasks = (): void => process.nextTick(this.#step);

  #turnMs(nowMs: number): number {
    const severalAreActive = this.#flowsLately.severalMs > nowMs - this.#busyMs - pacingActiveMs;
    return severalAreActive || this.#waiting.holderCount > 1 ? pacingTurnMs : pacingTurnAloneMs;
  }

  /** @param waitMs until somebody may begin; Infinity when only the end of a call can let somebody. */
  #rest(waitMs: number): void {
    if (this.#waiting.isEmpty || this.#isScheduled) return;
    if (waitMs <= 0) this.#schedule();
    else if (waitMs < Infinity) this.#timer ??= setTimeout(() => this.#schedule(), Math.ceil(waitMs));
  }

  /** Whose turn it is of those in no debt; else whoever owes least. */
  #pick(nowMs: number): { readonly flow: Flow | undefined; readonly waitMs: number } {
    let least: Flow | undefined;
    let leastMs = Infinity;
    let waitMs = Infinity;
    for (const flow of this.#waiting.holders()) {
      const first = this.#waiting.firstOf(flow);
      if (first === undefined || !first.isWanted()) return { flow, waitMs: 0 };
      if (!this.#hasPlace(flow, first.weight, nowMs)) continue;
      // Of a caller's connections the one that owes less is first.
      const owedMs = Math.max(0, flow.paidMs - nowMs) + Math.max(0, flow.caller.paidMs - nowMs);
      if (owedMs <= 0) return { flow, waitMs: 0 };
      const ownMs = this.#waitMs(flow, nowMs);
      if (ownMs > 0) waitMs = Math.min(waitMs, ownMs);
      else if (owedMs < leastMs) [least, leastMs] = [flow, owedMs];
    }
    return { flow: least, waitMs };
  }
}
