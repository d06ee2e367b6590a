/**
 * A mutex with a fair queue: round-robin among tenants, FIFO within a tenant. At most `moduleInspectionsPerTenantMax`
 * holders and waiters per tenant and `moduleInspectionsMax` in total.
 */
import { FairQueue } from "../../identity/fair-queue.ts";
import { fail, SigilFault } from "../../errors.ts";
import { moduleInspectionsMax, moduleInspectionsPerTenantMax } from "../../limits.ts";

type Waiter = { readonly take: () => void; readonly refuse: (cause: SigilFault) => void };

const whyAborted = ({ reason }: AbortSignal): SigilFault =>
  reason instanceof SigilFault ? reason : new SigilFault({ kind: "cancelled" });

/** @throws the abort reason if it is a SigilFault (a deadline), else cancelled. */
export const requireWanted = (signal: AbortSignal): void => {
  if (signal.aborted) throw whyAborted(signal);
};

export class TenantQueue {
  readonly #what: string;
  readonly #byTenant = new Map<string, number>();
  /** By tenant. */
  readonly #waiting = new FairQueue<string, Waiter>();
  #all = 0;
  #isTaken = false;

  /** @param what name of the queue in queueFull errors. */
  constructor(what: string) {
    this.#what = what;
  }

  /** Runs `act` while holding the mutex. @throws queueFull, cancelled, deadlineExceeded, what `act` throws. */
  async inTurn<Value>(tenant: string, signal: AbortSignal, act: () => Promise<Value>): Promise<Value> {
    requireWanted(signal);
    this.#enter(tenant);
    try {
      await this.#take(tenant, signal);
      try {
        return await act();
      } finally {
        this.#pass();
      }
    } finally {
      this.#leave(tenant);
    }
  }

  /** Rejects all waiters; the holder is not affected. */
  refuseAll(cause: SigilFault): void {
    for (const { refuse } of this.#waiting.clear()) refuse(cause);
  }

  #enter(tenant: string): void {
    const own = this.#byTenant.get(tenant) ?? 0;
    const what = this.#what;
    if (own >= moduleInspectionsPerTenantMax) {
      fail({ kind: "queueFull", what: `the tenant's ${what}`, limit: moduleInspectionsPerTenantMax });
    }
    if (this.#all >= moduleInspectionsMax) {
      fail({ kind: "queueFull", what: `the ${what}`, limit: moduleInspectionsMax });
    }
    this.#all += 1;
    this.#byTenant.set(tenant, own + 1);
  }

  #leave(tenant: string): void {
    this.#all -= 1;
    const left = (this.#byTenant.get(tenant) ?? 1) - 1;
    if (left === 0) this.#byTenant.delete(tenant);
    else this.#byTenant.set(tenant, left);
  }

  #take(tenant: string, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (!this.#isTaken) {
      this.#isTaken = true;
      resolve();
      return promise;
    }
    const onAbort = (): void => {
      this.#waiting.remove(tenant, waiter);
      reject(whyAborted(signal));
    };
    const settled = (): void => signal.removeEventListener("abort", onAbort);
    const waiter: Waiter = {
      take: () => (settled(), resolve()),
      refuse: (cause) => (settled(), reject(cause)),
    };
    signal.addEventListener("abort", onAbort, { once: true });
    this.#waiting.add(tenant, waiter);
    return promise;
  }

  #pass(): void {
    const next = this.#waiting.take();
    if (next === undefined) this.#isTaken = false;
    else next.take();
  }
}
