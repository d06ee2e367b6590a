/**
 * A weighted semaphore over bytes, with a limit per holder and a total. Waiters hold nothing. FIFO within a holder,
 * round-robin among holders; a holder that has used up its own share is skipped, so that it does not block the others.
 * At most `waitersMax` waiters per holder; further ones are refused immediately.
 */
import { assert } from "../../errors.ts";

/** The owner of a share, compared by identity. */
export type Holder = object | string;

export type BudgetBounds = {
  readonly bytesMax: number;
  readonly bytesPerHolderMax: number;
  readonly waitersMax: number;
  /** Creates the error thrown for a waiter beyond `waitersMax`. */
  readonly refuse: () => Error;
};

type Waiter = {
  readonly bytes: number;
  readonly grant: (permit: Permit) => void;
};

type Account = { readonly holder: Holder; used: number; waiting: Waiter[] };

/** Acquired bytes. Release is idempotent. */
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

  /** Releases the bytes that are not needed. */
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
  /** Accounts with waiters whose own share may have room, in round-robin order. */
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

  /** Whether a waiter is blocked only by the total. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Acquires without waiting; undefined if there is no room. A request larger than a share counts as a whole share. */
  tryTake(holder: Holder, bytes: number): Permit | undefined {
    const account = this.#accounts.get(holder);
    const weight = this.#weigh(bytes);
    if (this.#isFull || this.#used + weight > this.#bounds.bytesMax) return undefined;
    if (account === undefined) return this.#grant(this.#open(holder), weight);
    if (account.waiting.length > 0 || account.used + weight > this.#bounds.bytesPerHolderMax)
      return undefined;
    return this.#grant(account, weight);
  }

  /** @throws the error of `refuse` if too many wait; the signal's reason if it aborts. */
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

  /** @param changed the account whose share or waiters changed. */
  #serve(changed: Account): void {
    if (changed.waiting.length > 0) this.#turns.add(changed);
    else if (changed.used === 0) this.#accounts.delete(changed.holder);
    this.#isFull = false;
    // A served account moves to the end of the set, where this iteration visits it again.
    for (const account of this.#turns) {
      const [next] = account.waiting;
      if (next === undefined || account.used + next.bytes > this.#bounds.bytesPerHolderMax) {
        this.#turns.delete(account);
        continue;
      }
      if (this.#used + next.bytes > this.#bounds.bytesMax) {
        // No overtaking: small requests would starve a large one.
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
