/**
 * Records whose key is gone, as fsck meets them. A record counts as erased only if the ledger holds the order and the
 * report for its tenant, and exactly the reported positions name that tenant: otherwise anyone with write access to the
 * disk could disguise any record as erased. Holds one digest per tenant.
 */
import { equalBytes, type Hash } from "@sigil/core/bytes";
import { findingsMax } from "../../limits.ts";
import type { ErasedPayload } from "@sigil/core/record";
import type { Store } from "../../storage/store.ts";
import { addPosition, noPositions, orderIn, reportIn, type Erasure, type Placed } from "../layout/erasure.ts";
import { hasTraces } from "../erase/erasure-traces.ts";
import type { Findings } from "./findings.ts";
import { familyRange } from "../layout/keyspace.ts";
import type { DataKeys } from "../sealing/sealer.ts";

type Tally = { records: bigint; positions: Hash; readonly listed: bigint[] };

export type ErasedTenant = { readonly tenant: string; readonly records: bigint };

const step = "erasure";

export class Keyless {
  readonly #tallies = new Map<string, Tally>();
  #kept = 0;
  readonly #orders = new Map<string, Erasure>();
  readonly #reports = new Map<string, ErasedPayload>();

  /** Call in ledger order. @param tenant that the record claims. @param isKept whether its entry is stored. */
  add(tenant: string, position: bigint, isKept: boolean): void {
    if (isKept) this.#kept += 1;
    const tally = this.#tallies.get(tenant) ?? { records: 0n, positions: noPositions, listed: [] };
    this.#tallies.set(tenant, tally);
    tally.records += 1n;
    tally.positions = addPosition(tally.positions, position);
    if (tally.listed.length < findingsMax) tally.listed.push(position);
  }

  /** Takes an opened record, which may order or report an erasure. */
  take(record: Placed): void {
    const order = orderIn(record);
    if (order !== undefined) this.#orders.set(order.tenant, order);
    const report = reportIn(record);
    if (report !== undefined) this.#reports.set(report.tenant, report);
  }

  /** Number of keyless records whose tenant has no erasure order: damaged or forged. */
  get unexplained(): bigint {
    let records = 0n;
    for (const [tenant, tally] of this.#tallies) if (!this.#orders.has(tenant)) records += tally.records;
    return records;
  }

  get records(): bigint {
    return [...this.#tallies.values()].reduce((sum, tally) => sum + tally.records, 0n);
  }

  /** Reports problems after the last record. @returns erased tenants, sorted by name. */
  async finish(findings: Findings, keys: DataKeys, store: Store): Promise<readonly ErasedTenant[]> {
    const erased: ErasedTenant[] = [];
    for (const [tenant, order] of this.#orders) {
      const rule = this.#faultOf(order, keys);
      if (rule !== null) findings.add(order.position, step, rule);
      else {
        erased.push({ tenant, records: this.#tallies.get(tenant)?.records ?? 0n });
        if (await hasTraces(tenant, store))
          findings.add(null, step, `index entries of tenant "${tenant}" are left`);
      }
    }
    for (const [tenant, { records, listed }] of this.#tallies) {
      if (this.#orders.has(tenant)) continue;
      for (const position of listed) findings.add(position, "seal", "the sealed value does not authenticate");
      const unlisted = records - BigInt(listed.length);
      if (unlisted > 0n) findings.add(null, "seal", `${unlisted} more records have no key`);
    }
    let isFinished = true;
    for await (const _ of store.range(familyRange("y"))) {
      isFinished = false;
      findings.add(null, step, "an erasure is not finished; start the server once");
    }
    if (isFinished) await this.#checkKept(findings, store);
    return erased.toSorted((a, b) => (a.tenant < b.tenant ? -1 : 1));
  }

  async #checkKept(findings: Findings, store: Store): Promise<void> {
    let stored = 0;
    for await (const _ of store.range(familyRange("n"))) stored += 1;
    if (stored !== this.#kept)
      findings.add(null, step, `${stored - this.#kept} kept entries are of no erased record`);
  }

  #faultOf({ tenant, hash }: Erasure, keys: DataKeys): string | null {
    const report = this.#reports.get(tenant);
    if (report === undefined || keys.newest(tenant) > 0) {
      return `the erasure of tenant "${tenant}" is not finished; start the server once`;
    }
    const { records, positions } = this.#tallies.get(tenant) ?? { records: 0n, positions: noPositions };
    const holds =
      equalBytes(report.order, hash) && report.records === records && equalBytes(report.positions, positions);
    if (holds) return null;
    return `${records} records say that they are of tenant "${tenant}"; ${report.records} were erased, or other ones`;
  }
}
