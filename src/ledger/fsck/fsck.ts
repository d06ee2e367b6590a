/**
 * Checks a whole ledger, offline or from a snapshot of a serving one: opens every seal, verifies every signature,
 * recomputes and compares tree, groups and indexes, checks the anchor. Reads each record once; memory does not grow
 * with the ledger. Damage is reported; an error that stops the check is thrown. Source: docs/operating/recovery.md.
 */
import { openResident } from "../../storage/resident.ts";
import { damagedFilesRule, type Store } from "../../storage/store.ts";
import {
  liveSignaturesUnderWayMax,
  readingThreadsFrom,
  readingThreadsMax,
  walkedBytesMax,
} from "../../limits.ts";
import { fail, SigilFault } from "../../errors.ts";
import { decodeBody, decodeEnvelope, hashRecord } from "@sigil/core/record";
import { parseStatement } from "@sigil/core/cose";
import { checkIdempotencyKeys } from "../read/completeness.ts";
import { Findings, type Problem } from "../walk/findings.ts";
import { parseGroup } from "../layout/group.ts";
import { BlindTags } from "../layout/indexes.ts";
import { Keyless, type ErasedTenant } from "../walk/keyless.ts";
import { familyRange, positionOf, recordKey } from "../layout/keyspace.ts";
import { isDamagedFiles } from "../recover/open.ts";
import type { LedgerOptions } from "../append/options.ts";
import { storeAt, type PinnedLedger } from "../walk/pinned.ts";
import { unlessDamaged } from "../layout/damaged.ts";
import { ProjectionCheck, projections } from "../walk/projections.ts";
import { rebuildProjections } from "../recover/rebuild.ts";
import { Sealer } from "../sealing/sealer.ts";
import { SummaryReplay, summaryContext } from "../walk/summary-replay.ts";
import {
  checkAnchored,
  checkIdempotency,
  checkSealCounts,
  checkUnknownKeys,
  countSeal,
  openAnchorWatch,
  type SealCounts,
  type UpkeepContext,
} from "../walk/other-entries.ts";
import { isWhole, Walk, type WalkedGroup, type WalkedRecord } from "../walk/walk.ts";
import { Readers } from "../walk/readers.ts";
import { threadsFor } from "../../threads.ts";

export type FsckProgress = {
  readonly step: "rebuild" | "records" | "indexes";
  readonly done: bigint;
  readonly total: bigint;
};

export type FsckOptions = {
  /** Drop and rebuild every projection before the check. */
  readonly rebuildIndexes?: boolean;
  /** `ignore` for a store of another format, whose indexes differ; they can be rebuilt, the rest cannot. */
  readonly indexes?: "check" | "ignore";
  readonly onProgress?: (progress: FsckProgress) => void;
  /** Further rules: called with every group in order, returns violations. */
  readonly inspectGroup?: (group: WalkedGroup) => Promise<readonly Problem[]>;
  /** Called after the last group; returns violations that show only over the whole ledger. */
  readonly inspectEnd?: () => Promise<readonly Problem[]>;
  readonly signal?: AbortSignal;
  /** Ids whose newest version is kept in memory; default `replayedIdsMax`. */
  readonly idsHeldMax?: number;
  /** Threads that read records; default one a core for a ledger of `readingThreadsFrom` records or more. */
  readonly threads?: number;
  /** For tests; records that a thread reads at a time. */
  readonly threadRecords?: number;
};

export type FsckReport = {
  /** True if no problem was found. */
  readonly ok: boolean;
  /** Number of records checked. */
  readonly size: bigint;
  /** Erased tenants, each with its number of remaining unreadable records; sorted by name. */
  readonly erased: readonly ErasedTenant[];
  /** Sorted by position, those without one last; at most `findingsMax`. */
  readonly problems: readonly Problem[];
  /** Number of problems found, including those past `findingsMax`. */
  readonly total: number;
  /** The problem with the lowest position. */
  readonly first: Problem | undefined;
};

/** Size from the newest group's entry, used only for progress. */
const expectedSize = async (store: Store): Promise<bigint> => {
  for await (const [key, value] of store.range({ ...familyRange("b"), reverse: true, limit: 1 })) {
    const group = await unlessDamaged(async () => parseGroup(positionOf(key), value));
    return group === undefined ? 0n : group.firstPosition + BigInt(group.leaves.length);
  }
  return 0n;
};

class Inspection {
  readonly #options: LedgerOptions;
  readonly #fsck: FsckOptions;
  readonly #store: Store;
  readonly #tags: BlindTags;
  readonly #sealer: Sealer;
  readonly #keyless: Keyless;
  #readers: Readers | undefined;
  #total = 0n;
  erased: readonly ErasedTenant[] = [];

  constructor(options: LedgerOptions, fsck: FsckOptions, store: Store) {
    this.#options = options;
    this.#fsck = fsck;
    this.#store = store;
    this.#tags = new BlindTags(options.indexKey);
    this.#keyless = new Keyless();
    this.#sealer = new Sealer({ origin: options.origin, keys: options.dataKeys, store: () => store });
  }

  /** @returns the number of records checked. */
  async run(findings: Findings): Promise<bigint> {
    await using _ = await this.#begin();
    if (this.#fsck.rebuildIndexes === true) {
      for (const rule of await this.#rebuild()) findings.add(null, "rebuild", rule);
    }
    return await this.#check(findings);
  }

  async rebuild(): Promise<void> {
    await using _ = await this.#begin();
    const [rule] = await this.#rebuild();
    if (rule !== undefined) fail({ kind: "ledgerCorrupt", position: 0n, rule });
  }

  /** Starts the threads, where the ledger is long enough for them. */
  async #begin(): Promise<AsyncDisposable | undefined> {
    const { origin, dataKeys } = this.#options;
    this.#total = await expectedSize(this.#store);
    const usual = this.#total < readingThreadsFrom ? 0 : threadsFor(readingThreadsMax);
    const { threads = usual, threadRecords: batchRecords } = this.#fsck;
    if (threads > 0)
      this.#readers = new Readers({ origin, dataKeys, tags: this.#tags, threads, batchRecords });
    return this.#readers;
  }

  #walk(findings: Findings, keyless: Keyless): Walk {
    const { origin, genesis } = this.#options;
    const [store, sealer, signal] = [this.#store, this.#sealer, this.#fsck.signal];
    return new Walk({ store, sealer, origin, genesis, findings, keyless, signal, readers: this.#readers });
  }

  #progress(step: FsckProgress["step"], done: bigint): void {
    this.#fsck.onProgress?.({ step, done, total: this.#total });
  }

  /** @returns what could not be rebuilt. */
  async #rebuild(): Promise<readonly string[]> {
    const { anchor, dataKeys } = this.#options;
    const findings = new Findings();
    const keyless = new Keyless();
    const { losses } = await rebuildProjections(this.#walk(findings, keyless).run(), {
      store: this.#store,
      tags: this.#tags,
      origin: this.#options.origin,
      anchor,
      dataKeys,
      summary: new SummaryReplay(await summaryContext(this.#options)),
      findings,
      keyless,
      onGroup: (end) => this.#progress("rebuild", end),
      idsHeldMax: this.#fsck.idsHeldMax,
    });
    return losses;
  }

  async #check(findings: Findings): Promise<bigint> {
    const walk = this.#walk(findings, this.#keyless);
    const families = this.#fsck.indexes === "ignore" ? [] : projections;
    const check = new ProjectionCheck(
      {
        store: this.#store,
        tags: this.#tags,
        origin: this.#options.origin,
        readAgain: (position) => this.#readAgain(position),
        idsHeldMax: this.#fsck.idsHeldMax,
      },
      findings,
      families,
    );
    const watch = await openAnchorWatch(this.#options.anchor);
    const seals: SealCounts = new Map();
    const summary = new SummaryReplay(await summaryContext(this.#options));
    let last: WalkedGroup | undefined;
    for await (const group of walk.run()) {
      await check.add(group, (record, ops) => summary.add(record, ops));
      summary.endGroup(group.end);
      for (const record of group.records) {
        countSeal(seals, record);
        if (isWhole(record)) this.#keyless.take(record);
      }
      for (const { position, step, rule } of (await this.#fsck.inspectGroup?.(group)) ?? []) {
        findings.add(position, step, rule);
      }
      if (group.end === watch.size) watch.root = group.tree?.root;
      last = group;
      this.#progress("records", group.end);
    }
    for (const { position, step, rule } of (await this.#fsck.inspectEnd?.()) ?? []) {
      findings.add(position, step, rule);
    }
    const size = last?.end ?? 0n;
    if (size === 0n) findings.add(null, "sequence", "the ledger has no genesis record");
    this.#progress("indexes", size);
    await check.finish();
    this.erased = await this.#keyless.finish(findings, this.#options.dataKeys, this.#store);
    const upkeep = { store: this.#store, findings, tags: this.#tags };
    // A tenant all of whose calls failed has idempotency entries but no record.
    const { dataKeys } = this.#options;
    await checkIdempotency(upkeep, (tenant) => dataKeys.newest(tenant) > 0);
    await checkSealCounts(upkeep, seals);
    if (this.#fsck.indexes !== "ignore") await this.#checkSummary(summary, last, upkeep);
    await checkUnknownKeys(upkeep);
    const { origin } = this.#options;
    const treeWhole = last?.tree !== undefined;
    await checkAnchored(watch, size, treeWhole, { findings, origin, ring: walk.ring });
    await findings.settle();
    return size;
  }

  /** Compares the stored summary with the replayed one. Skipped if the tree is unknown. */
  async #checkSummary(
    replayed: SummaryReplay,
    last: WalkedGroup | undefined,
    { store, findings }: UpkeepContext,
  ): Promise<void> {
    if (last?.tree === undefined) return;
    const stored = await replayed.stored(store, { size: last.end, root: last.tree.root });
    if (stored.kind === "refused") return findings.add(null, "summary", stored.rule);
    const { key } = await summaryContext(this.#options);
    const { totals } = stored.summary;
    try {
      await checkIdempotencyKeys({ store, at: {} }, key, totals, this.#options.nowMs());
    } catch (error) {
      if (!(error instanceof SigilFault) || error.error.kind !== "ledgerCorrupt") throw error;
      findings.add(null, "idempotency", error.error.rule);
    }
    // Unreadable records are reported separately; what they would add to the summary is unknown.
    const isWhole = replayed.walked + this.#keyless.records === last.end && this.#keyless.unexplained === 0n;
    if (!isWhole) return;
    for (const rule of replayed.differences(stored.summary)) findings.add(null, "summary", rule);
  }

  /** Reads a record again, for unexpected index entries. Its seal authenticates its position. */
  #readAgain(position: bigint): Promise<WalkedRecord | undefined> {
    return unlessDamaged(async () => {
      const stored = await this.#store.get(recordKey(position));
      if (stored === undefined) return fail({ kind: "notFound", what: "record", id: String(position) });
      const { envelope } = await this.#sealer.open(stored, position);
      const { statement, attestations } = decodeEnvelope(envelope);
      const { payload } = parseStatement(statement);
      const hash = hashRecord(payload);
      return { position, body: decodeBody(payload), hash, attestations, keyVersion: 0 };
    });
  }
}

/** Opens the store for one sequential read, without caching. */
const openWalked = (options: LedgerOptions): Promise<Store> =>
  openResident({ open: options.openStore, bytesMax: walkedBytesMax });

/**
 * Rebuilds the indexes without a full check; run `runFsck` afterwards.
 * @throws storeLocked, storeFailed, cancelled: the store is refused until a rebuild completes; the next one starts
 * over.
 */
export const rebuildIndexes = async (
  options: LedgerOptions,
  fsck: Pick<FsckOptions, "onProgress" | "signal"> = {},
): Promise<void> => {
  const store = await openWalked(options);
  try {
    await new Inspection(options, fsck, store).rebuild();
  } finally {
    await store.close();
  }
};

const report = async (
  options: LedgerOptions,
  fsck: FsckOptions,
  findings: Findings,
  openStore: () => Promise<Store>,
): Promise<FsckReport> => {
  let size = 0n;
  let erased: readonly ErasedTenant[] = [];
  try {
    const store = await openStore();
    try {
      const inspection = new Inspection(options, fsck, store);
      size = await inspection.run(findings);
      ({ erased } = inspection);
    } finally {
      await findings.settle();
      await store.close();
    }
  } catch (error) {
    if (!isDamagedFiles(error)) throw error;
    findings.add(null, "store", damagedFilesRule);
  }
  const { total, first } = findings;
  return { ok: total === 0, size, erased, problems: findings.sorted(), total, first };
};

/** @throws storeLocked, storeFailed, cancelled: the check could not run or complete. */
export const runFsck = (options: LedgerOptions, fsck: FsckOptions = {}): Promise<FsckReport> =>
  report(options, fsck, new Findings(), () => openWalked(options));

/**
 * Runs the same check on a snapshot of a serving ledger.
 * @param proceed as in `storeAt`.
 * @throws what `proceed` throws; storeFailed; notServing if needed keys are being destroyed.
 */
export const inspectPinned = async (
  pinned: PinnedLedger,
  proceed: () => Promise<void> | undefined,
  fsck: Omit<FsckOptions, "rebuildIndexes"> = {},
): Promise<FsckReport> => {
  const store = storeAt(pinned, () => {
    if (!pinned.signal.aborted) return proceed();
    return fail({ kind: "notServing", rule: "a tenant is being erased; begin the inspection again" });
  });
  // The cores belong to the served calls.
  const alone = { ...fsck, threads: 0 };
  return report(pinned.options, alone, new Findings(liveSignaturesUnderWayMax), async () => store);
};
