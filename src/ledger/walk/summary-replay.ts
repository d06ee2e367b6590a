/** Recomputes the summary from the records during a full walk, to compare it with the stored one or to replace it. */
import { equalBytes, toHex, type Hash } from "@sigil/core/bytes";
import { SigilFault } from "../../errors.ts";
import { systemTenant } from "@sigil/core/record";
import type { Store, StoreOp } from "../../storage/store.ts";
import { orderIn } from "../layout/erasure.ts";
import { familyRange } from "../layout/keyspace.ts";
import { SummaryKey } from "../layout/multiset.ts";
import { Summary, type SummaryChanges, type SummaryContext, type Tally } from "../layout/summary.ts";
import { isWhole, type WalkedDecision, type WalkedRecord } from "./walk.ts";

/** The tree at the end of a walk. */
export type Place = { readonly size: bigint; readonly root: Hash };

export type StoredSummary =
  | { readonly kind: "holds"; readonly summary: Summary }
  | { readonly kind: "refused"; readonly rule: string };

const isSame = (a: Tally | undefined, b: Tally | undefined): boolean =>
  a?.decisions === b?.decisions &&
  a?.records === b?.records &&
  (a === undefined || b === undefined || equalBytes(a.versions, b.versions));

export class SummaryReplay {
  readonly #context: SummaryContext;
  readonly #summary: Summary;
  #changes: SummaryChanges;
  #walked = 0n;

  constructor(context: SummaryContext) {
    this.#context = context;
    this.#summary = Summary.empty(context);
    this.#changes = this.#summary.changes();
  }

  /** Number of records replayed. */
  get walked(): bigint {
    return this.#walked;
  }

  /** Call in ledger order. @param ops the record's index entries. */
  add(record: WalkedRecord | WalkedDecision, ops: readonly StoreOp[]): void {
    this.#walked += 1n;
    this.#changes.index(record.body, ops);
    const order = isWhole(record) ? orderIn(record) : undefined;
    if (order !== undefined) this.#changes.erase(order.tenant);
  }

  /** Called at the end of each commit. */
  endGroup(size: bigint): void {
    this.#summary.replay(this.#changes, size);
    this.#changes = this.#summary.changes();
  }

  /** Loads the stored summary and verifies it for the walked size and root. @throws storeFailed. */
  async stored(store: Store, place: Place): Promise<StoredSummary> {
    try {
      return { kind: "holds", summary: await Summary.load({ ...this.#context, store, ...place }) };
    } catch (error) {
      if (!(error instanceof SigilFault) || error.error.kind !== "ledgerCorrupt") throw error;
      return { kind: "refused", rule: error.error.rule };
    }
  }

  /** Whether both agree on everything that quorums govern. */
  agreesOnGoverned(other: Summary): boolean {
    return isSame(this.#summary.tallyOf(systemTenant), other.tallyOf(systemTenant));
  }

  /** Differences of records and hashes from another summary. */
  differences(other: Summary): readonly string[] {
    const tenants = new Set([...this.#summary.tenants, ...other.tenants]);
    const rules = [...tenants]
      .filter((tenant) => !isSame(this.#summary.tallyOf(tenant), other.tallyOf(tenant)))
      .map((tenant) => `the summary counts other records of tenant "${tenant}" than there are`);
    const [here, there] = [this.#summary.totals.hashes, other.totals.hashes];
    return here === there ? rules : [...rules, `the summary counts ${there} hashes, there are ${here}`];
  }

  /** Lost idempotency entries; call after `replace`. */
  lostExpiries(before: Summary): readonly string[] {
    const [here, there] = [this.#summary.totals, before.totals];
    if (equalBytes(here.expirySum, there.expirySum)) return [];
    return [`${there.expiries} idempotency entries were written, other ones or ${here.expiries} are there`];
  }

  /**
   * Writes that replace the stored summary by this one, with bookkeeping read from the store.
   * @param before the stored summary, if valid. @param changed puts about to be written.
   */
  async replace(
    store: Store,
    place: Place,
    before: Summary | undefined,
    changed: readonly StoreOp[],
  ): Promise<readonly StoreOp[]> {
    const changes = this.#summary.changes();
    for (const family of ["s", "y", "e"] as const) {
      for await (const [key, value] of store.range(familyRange(family))) {
        changes.upkeep([{ kind: "put", key, value }]);
      }
    }
    changes.upkeep(changed);
    this.#summary.replay(changes, before?.expiriesAt ?? place.size);
    const ops = this.#summary.ops(place.size, place.root);
    const written = new Set(ops.map(({ key }) => toHex(key)));
    const gone: StoreOp[] = [];
    for await (const [key] of store.range(familyRange("m"))) {
      if (!written.has(toHex(key))) gone.push({ kind: "delete", key });
    }
    return [...gone, ...ops];
  }
}

/** @throws keyUnavailable. */
export const summaryContext = async (options: {
  readonly origin: string;
  readonly summaryKey: () => Promise<Uint8Array>;
}): Promise<SummaryContext> => ({
  origin: options.origin,
  key: new SummaryKey(await options.summaryKey()),
});
