/**
 * Erasure of tenants while the ledger serves. From the commit of the order on, nothing of the tenant is read or
 * written; then its keys and index entries are deleted and the store is compacted. Every step is idempotent: after a
 * crash anywhere the next start finishes the erasure. Source: docs/spec/ledger.md §7.
 */
import { openRecord, readRecord } from "@sigil/core/verify";
import { fail, SigilFault } from "../../errors.ts";
import { projectionOpsMax } from "../../limits.ts";
import { entryOf, erasedPrefix, formatErased, systemBody, type RecordBody } from "@sigil/core/record";
import type { Hash } from "@sigil/core/bytes";
import type { KeyRange, Store, StoreOp } from "../../storage/store.ts";
import {
  addPosition,
  noPositions,
  orderIn,
  refuseErased,
  reportIn,
  type Erasure,
} from "../layout/erasure.ts";
import { hasTraces, tracesOf, tracedRanges, positionsOf } from "./erasure-traces.ts";
import type { DecisionIndex } from "../decisions/decision-index.ts";
import type { BlindTags } from "../layout/indexes.ts";
import { erasedEntryKey, erasingKey, hashKey, recordKey } from "../layout/keyspace.ts";
import type { CommittedRecord } from "../append/options.ts";
import type { DataKeys, Sealer } from "../sealing/sealer.ts";

export type ErasureSteps = {
  readonly store: () => Store;
  readonly sealer: Sealer;
  readonly tags: BlindTags;
  readonly decisions: DecisionIndex;
  readonly keys: DataKeys;
  readonly nowMs: () => number;
  readonly append: (body: RecordBody) => Promise<unknown>;
  /** Writes operations without records. */
  readonly commit: (ops: readonly StoreOp[]) => Promise<void>;
  /** Compacts the ranges so that deleted data leaves the disk; the store serves again when it resolves. */
  readonly purge: (ranges: readonly KeyRange[]) => Promise<void>;
  /** Aborts when the ledger closes. */
  readonly signal: AbortSignal;
  readonly onErased: (tenant: string, records: bigint) => void;
  /** Called with the error of an erasure that could not finish; the next start tries again. */
  readonly onFault: (cause: unknown) => void;
};

/** Bounds retries, so that a full disk does not keep the ledger in recovery by repeated failing writes. */
const triesMax = 3;

/** The tenant's records, for the report. */
type Taken = { readonly records: bigint; readonly positions: Hash };

/** What is left to do of a record: its hash to forget, its entry to keep. */
type LastOpened = { readonly hash: Hash; readonly entry: Hash };

export class Erasures {
  readonly #steps: ErasureSteps;
  #ordered: ReadonlyMap<string, Erasure>;
  #running: Promise<void> | undefined;
  #again = false;
  readonly #tries = new Map<string, number>();
  /** Aborts copies of the ledger before keys are destroyed: a copy has all of a tenant's keys or none. */
  #copying = new AbortController();

  constructor(ordered: ReadonlyMap<string, Erasure>, steps: ErasureSteps) {
    this.#ordered = ordered;
    this.#steps = steps;
  }

  readonly of = (tenant: string): Erasure | undefined => this.#ordered.get(tenant);

  /** @throws erased. */
  refuse(tenant: string): void {
    refuseErased(this.#ordered.get(tenant));
  }

  /** Aborts when keys are about to be destroyed. */
  get copying(): AbortSignal {
    return this.#copying.signal;
  }

  /** Replaces the state by what a reopened store holds. */
  reset(ordered: ReadonlyMap<string, Erasure>): void {
    this.#ordered = ordered;
  }

  /** Applies committed records: an order takes effect before its caller is answered. */
  take(records: readonly CommittedRecord[]): void {
    let isOrdered = false;
    for (const record of records) {
      const order = orderIn(record);
      const report = reportIn(record);
      const reported = report && this.#ordered.get(report.tenant);
      if (reported !== undefined) this.#put({ ...reported, reported: true });
      if (order === undefined) continue;
      isOrdered = true;
      this.#put(order);
      this.#steps.sealer.forget(order.tenant);
      this.#steps.tags.forget(order.tenant);
      this.#steps.decisions.forget(order.tenant);
    }
    if (isOrdered) void this.carryOut();
  }

  get isUnderWay(): boolean {
    return this.#running !== undefined;
  }

  /** Resolves when no erasure is in progress. */
  async settled(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Called after the store was reopened: retries interrupted erasures, at most `triesMax` times. */
  resume(): void {
    if (this.#running === undefined) void this.carryOut();
  }

  /** Carries out every unfinished erasure. Resolves even if one could not finish. */
  carryOut(): Promise<void> {
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #run(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      for (const erasure of this.#ordered.values()) {
        const tries = this.#tries.get(erasure.tenant) ?? 0;
        try {
          if (tries >= triesMax || !(await this.#isPending(erasure))) continue;
          this.#tries.set(erasure.tenant, tries + 1);
          await this.#erase(erasure);
        } catch (cause) {
          if (!this.#steps.signal.aborted) this.#steps.onFault(cause);
        }
      }
    }
  }

  async #isPending({ tenant, reported }: Erasure): Promise<boolean> {
    const { keys, store } = this.#steps;
    if (!reported || keys.newest(tenant) > 0) return true;
    return (await store().get(erasingKey(tenant))) !== undefined || hasTraces(tenant, store());
  }

  async #erase(erasure: Erasure): Promise<void> {
    const { store, keys, sealer, tags, decisions, purge, append, onErased } = this.#steps;
    const { tenant } = erasure;
    await this.#commit([{ kind: "put", key: erasingKey(tenant), value: new Uint8Array(0) }]);
    // The report is committed before the keys are destroyed: afterwards the tenant's records can no longer be told
    // apart.
    const taken = erasure.reported ? undefined : await this.#takeRecords(erasure);
    if (taken !== undefined) await append(this.#report(erasure, taken));
    this.#copying.abort();
    this.#copying = new AbortController();
    await keys.destroy(tenant);
    sealer.forget(tenant);
    tags.forget(tenant);
    // A merge in progress would write entries after their deletion.
    decisions.forget(tenant);
    await decisions.settled();
    for await (const batch of tracesOf(tenant, store())) await this.#commit(batch);
    await purge(tracedRanges(tenant));
    await this.#commit([{ kind: "delete", key: erasingKey(tenant) }]);
    if (taken !== undefined) onErased(tenant, taken.records);
  }

  /** Opens the tenant's records one last time; records that do not open as this tenant's are not counted. */
  async #takeRecords({ tenant, position: end }: Erasure): Promise<Taken> {
    let [records, positions] = [0n, noPositions];
    let hashes: StoreOp[] = [];
    for await (const position of positionsOf(tenant, end, this.#steps.store())) {
      const opened = await this.#openLast(tenant, position);
      if (opened === undefined) continue;
      records += 1n;
      positions = addPosition(positions, position);
      // Kept for tiles: the leaf, which stays, says as much of the record.
      hashes.push({ kind: "put", key: erasedEntryKey(position), value: opened.entry });
      hashes.push({ kind: "delete", key: hashKey(opened.hash) });
      if (hashes.length < projectionOpsMax) continue;
      await this.#commit(hashes);
      hashes = [];
    }
    if (hashes.length > 0) await this.#commit(hashes);
    return { records, positions };
  }

  async #openLast(tenant: string, position: bigint): Promise<LastOpened | undefined> {
    const { store, sealer, onFault } = this.#steps;
    try {
      const stored = await store().get(recordKey(position));
      if (stored === undefined) return undefined;
      const opened = await sealer.openDoomed(stored, position);
      const record = openRecord(position, opened.envelope);
      readRecord(record, {});
      return opened.tenant === tenant ? { hash: record.hash, entry: entryOf(opened.envelope) } : undefined;
    } catch (cause) {
      if (!(cause instanceof SigilFault) || cause.error.kind === "storeFailed") throw cause;
      // The record was damaged before the erasure; fsck keeps reporting it.
      onFault(cause);
      return undefined;
    }
  }

  #report({ tenant, hash }: Erasure, taken: Taken): RecordBody {
    return systemBody({
      kind: "erased",
      id: erasedPrefix + tenant,
      ts: this.#steps.nowMs(),
      payload: formatErased({ tenant, order: hash, ...taken }),
      links: [{ label: "erasure", target: hash }],
    });
  }

  async #commit(batch: readonly StoreOp[]): Promise<void> {
    if (this.#steps.signal.aborted) fail({ kind: "cancelled" });
    await this.#steps.commit(batch);
  }

  #put(erasure: Erasure): void {
    this.#ordered = new Map([...this.#ordered, [erasure.tenant, erasure]]);
  }
}
