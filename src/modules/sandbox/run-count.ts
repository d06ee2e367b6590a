/** Counts running and waiting runs, per tenant and in total. Pure. */
import { fail } from "../../errors.ts";

export class RunCount {
  readonly #max: number;
  readonly #perTenantMax: number;
  readonly #byTenant = new Map<string, number>();
  #all = 0;

  constructor(max: number, perTenantMax: number) {
    this.#max = max;
    this.#perTenantMax = perTenantMax;
  }

  /** @returns the release function. @throws runsBusy. */
  enter(tenant: string): () => void {
    if (this.#all >= this.#max) fail({ kind: "runsBusy", what: "all tenants", limit: this.#max });
    const own = this.#byTenant.get(tenant) ?? 0;
    if (own >= this.#perTenantMax) {
      fail({ kind: "runsBusy", what: `tenant "${tenant}"`, limit: this.#perTenantMax });
    }
    this.#all += 1;
    this.#byTenant.set(tenant, own + 1);
    return () => this.#leave(tenant);
  }

  #leave(tenant: string): void {
    this.#all -= 1;
    const left = (this.#byTenant.get(tenant) ?? 1) - 1;
    if (left === 0) this.#byTenant.delete(tenant);
    else this.#byTenant.set(tenant, left);
  }
}
