/** A counting semaphore with limits per caller, per tenant and in total, and slots reserved for Root. */
import { fail, type QuotaReason } from "../../errors.ts";
import { callerKey, readsAcross, type Caller } from "../../identity/caller.ts";

export type PlaceBounds = {
  /** What the slots hold, in the plural, for messages. */
  readonly what: string;
  readonly perCallerMax: number;
  readonly perTenantMax: number;
  readonly max: number;
  /** Slots reserved for Root of tenant "system", so that an operator can act when all others are taken. */
  readonly forRoot: number;
  readonly reasons: Readonly<Record<"caller" | "tenant" | "all", QuotaReason>>;
};

const change = (counts: Map<string, number>, name: string, by: 1 | -1): void => {
  const count = (counts.get(name) ?? 0) + by;
  if (count === 0) counts.delete(name);
  else counts.set(name, count);
};

export class Places {
  readonly #bounds: PlaceBounds;
  readonly #ofCaller = new Map<string, number>();
  readonly #ofTenant = new Map<string, number>();
  #taken = 0;

  constructor(bounds: PlaceBounds) {
    this.#bounds = bounds;
  }

  get taken(): number {
    return this.#taken;
  }

  /** @returns an idempotent release function. @throws overQuota. */
  take(caller: Caller): () => void {
    const { what, perCallerMax, perTenantMax, max, forRoot, reasons } = this.#bounds;
    const { tenant } = caller;
    const name = `${tenant}\0${callerKey(caller)}`;
    const limit = readsAcross(caller) ? max : max - forRoot;
    const refuse = (reason: QuotaReason, bound: number, whose: string): never =>
      fail({
        kind: "overQuota",
        reason,
        limit: bound,
        rule: `too many ${what} ${whose} are under way; end one, then call again`,
      });
    if ((this.#ofCaller.get(name) ?? 0) >= perCallerMax)
      refuse(reasons.caller, perCallerMax, "of this caller");
    if ((this.#ofTenant.get(tenant) ?? 0) >= perTenantMax)
      refuse(reasons.tenant, perTenantMax, "of this tenant");
    if (this.#taken >= limit) refuse(reasons.all, limit, "on this server");
    change(this.#ofCaller, name, 1);
    change(this.#ofTenant, tenant, 1);
    this.#taken += 1;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      change(this.#ofCaller, name, -1);
      change(this.#ofTenant, tenant, -1);
      this.#taken -= 1;
    };
  }
}
