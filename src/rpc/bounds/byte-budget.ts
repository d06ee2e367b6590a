/**
 * A weighted semaphore over bytes: so much for one holder, so much for all. Whoever waits holds nothing. Waiters of one
 * holder come in order, holders take turns, and one that waits for its own share is passed over, so that nobody waits
 * for somebody else's greed. At most `waitersMax` of one holder wait; the next is refused at once.
 */
import { assert } from "../../errors.ts";

/** Whoever has a share: compared by identity. */
export type Holder = object | string;

export type BudgetBounds = {
  readonly bytesMax: number;
  readonly bytesPerHolderMax: number;
  readonly waitersMax: number;
  /** The refusal of a waiter too many; thrown. */
  readonly refuse: () => Error;
};

type Waiter = {
  readonly bytes: number;
  readonly grant: (permit: Permit) => void;
};

type Account = { readonly holder: Holder; used: number; waiting: Waiter[] };

/** Bytes that somebody may hold. Giving them back twice is giving them back once. */
export class Permit {
  readonly #giveBack: (bytes: number) => void;
  #bytes: number;

  constructor(bytes: number, giveBack: (bytes: number) => void) {
    this.#bytes = bytes;
    this.#giveBack = giveBack;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Gives back what turned out not to be needed. */
  shrink(bytes: number): void {
    if (bytes >= this.#bytes) return;
    const spare = this.#bytes - bytes;
    this.#bytes = bytes;
    this.#giveBack(spare);
  }

  release(): void {
    this.shrink(0);
  }
}

export class ByteBudget {
  readonly #bounds: BudgetBounds;
  readonly #accounts = new Map<Holder, Account>();
  /** Accounts with somebody waiting whose own share may have room, in the order of their turns. */
  readonly #turns = new Set<Account>();
  #used = 0;
  #waiting = 0;
  #isFull = false;

  constructor(bounds: BudgetBounds) {
    assert(bounds.bytesPerHolderMax > 0 && bounds.bytesMax > 0, "a budget has room for something");
    this.#bounds = bounds;
  }

  get bytesUsed(): number {
    return this.#used;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Whether somebody waits whose own share has room. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** At once, or not at all. More than a share can ever hold counts as a whole share. */
  tryTake(holder: Holder, bytes: number): Permit | undefined {
    const account = this.#accounts.get(holder);
    const weight = this.#weigh(bytes);
    if (this.#isFull || this.#used + weight > this.#bounds.bytesMax) return undefined;
    if (account === undefined) return this.#grant(this.#open(holder), weight);
    if (account.waiting.length > 0 || account.used + weight > this.#bounds.bytesPerHolderMax)
      return undefined;
    return this.#grant(account, weight);
  }

  /** @throws the refusal when too many wait already; the signal's reason when it aborts. */
  take(holder: Holder, bytes: number, signal: AbortSignal): Permit | Promise<Permit> {
    const permit = this.tryTake(holder, bytes);
    if (permit !== undefined) return permit;
    if (signal.aborted) throw signal.reason;
    const account = this.#accounts.get(holder) ?? this.#open(holder);
    if (account.waiting.length >= this.#bounds.waitersMax) throw this.#bounds.refuse();
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        bytes: this.#weigh(bytes),
        grant: (granted) => {
          signal.removeEventListener("abort", leave);
          resolve(granted);
        },
      };
      const leave = (): void => {
        account.waiting = account.waiting.filter((each) => each !== waiter);
        this.#waiting -= 1;
        this.#serve(account);
        reject(signal.reason as Error);
      };
      account.waiting.push(waiter);
      this.#waiting += 1;
      signal.addEventListener("abort", leave, { once: true });
      this.#serve(account);
    });
  }

  #weigh(bytes: number): number {
    const { bytesPerHolderMax, bytesMax } = this.#bounds;
    return Math.min(bytes, bytesPerHolderMax, bytesMax);
  }

  #open(holder: Holder): Account {
    const account = { holder, used: 0, waiting: [] };
    this.#accounts.set(holder, account);
    return account;
  }

  #grant(account: Account, bytes: number): Permit {
    account.used += bytes;
    this.#used += bytes;
    return new Permit(bytes, (spare) => {
      account.used -= spare;
      this.#used -= spare;
      this.#serve(account);
    });
  }

  /** @param changed whose share or line has changed. */
  #serve(changed: Account): void {
    if (changed.waiting.length > 0) this.#turns.add(changed);
    else if (changed.used === 0) this.#accounts.delete(changed.holder);
    this.#isFull = false;
    // Whoever is served goes to the end of the set, which a walk of it comes to again.
    for (const account of this.#turns) {
      const [next] = account.waiting;
      if (next === undefined || account.used + next.bytes > this.#bounds.bytesPerHolderMax) {
        this.#turns.delete(account);
        continue;
      }
      if (this.#used + next.bytes > this.#bounds.bytesMax) {
        // Nobody overtakes: many small ones would keep a large one out for ever.
        this.#isFull = true;
        return;
      }
      account.waiting.shift();
      this.#waiting -= 1;
      this.#turns.delete(account);
      if (account.waiting.length > 0) this.#turns.add(account);
      next.grant(this.#grant(account, next.bytes));
    }
  }
}
