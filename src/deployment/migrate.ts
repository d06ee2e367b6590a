/**
 * Bringing a data directory of an older format to this program's, while nobody serves it. First every record is opened
 * and verified; nothing is changed until then. Then deployment.json names the new format, so that no older program
 * opens what is half changed, and beside it the old one, so that a run that was cut off is known and goes on. The last
 * change takes that note away, after the whole inspection has found nothing. Source: docs/operating/upgrade.md.
 */
import { join } from "node:path";
import { fail } from "../errors.ts";
import type { KekInputs } from "../crypto/kek.ts";
import { runFsck, type FsckOptions, type FsckProgress } from "../ledger/fsck/fsck.ts";
import type { LedgerOptions } from "../ledger/ledger.ts";
import { openLevelStore } from "../storage/level.ts";
import type { Store } from "../storage/store.ts";
import { describeDeployment } from "./open.ts";
import {
  contentFormat,
  readAnyDescription,
  requireUnchanged,
  writeDescription,
  type Description,
} from "./file.ts";
import { migrations, newestFormat, planMigrations, type Migration } from "./migrations.ts";

export type MigrateOptions = {
  readonly directory: string;
  readonly kekInputs: KekInputs;
  readonly nowMs: () => number;
  /** Rules above the ledger's own, as `sigil fsck` applies them. */
  readonly inspector?: (
    origin: string,
    directory: string,
  ) => Pick<FsckOptions, "inspectGroup" | "inspectEnd">;
  /** @param stage what is being done: a step by its name, or the inspection before or after them. */
  readonly onProgress?: (stage: string, progress: FsckProgress) => void;
  /** The formats this program knows; others only in tests. */
  readonly table?: readonly Migration[];
  readonly openStore?: (path: string) => Promise<Store>;
};

export type PlannedStep = {
  readonly from: number;
  readonly to: number;
  readonly name: string;
  readonly about: string;
};

export type Migrated = {
  /** Of what the directory held; the same as `to` when there was nothing to do. */
  readonly from: number;
  readonly to: number;
  /** Whether an earlier run had begun. */
  readonly resumed: boolean;
  readonly steps: readonly PlannedStep[];
  /** Records that were inspected; 0 when there was nothing to do. */
  readonly size: bigint;
};

/** The store for one who opens and closes it, while its lock is kept. */
const lend = (store: Store): Store => ({
  get: (key, options) => store.get(key, options),
  getMany: (keys, options) => store.getMany(keys, options),
  range: (options) => store.range(options),
  commit: (batch) => store.commit(batch),
  // It would give up the lock.
  purge: async () => fail({ kind: "storeFailed", step: "purge", rule: "the store is only lent" }),
  flush: () => store.flush(),
  snapshot: () => store.snapshot(),
  close: async () => {},
  [Symbol.asyncDispose]: async () => {},
});

/** @returns how many records there are. @throws ledgerCorrupt when anything is found. */
const inspect = async (
  ledger: LedgerOptions,
  { directory, inspector, onProgress }: MigrateOptions,
  indexes: "check" | "ignore",
): Promise<bigint> => {
  const report = await runFsck(ledger, {
    indexes,
    ...inspector?.(ledger.origin, directory),
    onProgress: (progress) => onProgress?.("inspection", progress),
  });
  const { first, total } = report;
  if (!report.ok) {
    const rule = `${first?.step ?? ""}: ${first?.rule ?? ""} (${total} found)`;
    fail({ kind: "ledgerCorrupt", position: first?.position ?? 0n, rule });
  }
  return report.size;
};

/**
 * The steps of every migration, one after the other. A crash between two writes of deployment.json leaves the newer
 * format there beside `migrating`, and the migration that was under way begins anew.
 * @returns the description that ends the migration once it is written.
 */
export const runSteps = async (
  description: Description,
  plan: readonly Migration[],
  {
    directory,
    ledger,
    onProgress,
  }: Pick<MigrateOptions, "directory" | "onProgress"> & { ledger: LedgerOptions },
): Promise<Description> => {
  const { migrating: _, ...kept } = description;
  let done: Description = kept;
  for (const { from, steps } of plan) {
    done = { ...kept, format: from + 1 };
    await writeDescription(directory, { ...done, migrating: from });
    for (const { name, run } of steps) {
      await run({ directory, ledger, onProgress: (progress) => onProgress?.(name, progress) });
    }
  }
  return done;
};

/** Under the store's lock. @returns how many records there are. */
const migrateLocked = async (
  options: MigrateOptions,
  description: Description,
  plan: readonly Migration[],
  ledger: LedgerOptions,
): Promise<bigint> => {
  const { directory } = options;
  await requireUnchanged(directory, description);
  // Damage that was there before is found while the older program can still be asked about it.
  if (description.migrating === undefined) await inspect(ledger, options, "ignore");
  const done = await runSteps(description, plan, { ...options, ledger });
  const size = await inspect(ledger, options, "check");
  await writeDescription(directory, done);
  return size;
};

const plannedSteps = (plan: readonly Migration[]): readonly PlannedStep[] =>
  plan.flatMap(({ from, steps }) => steps.map(({ name, about }) => ({ from, to: from + 1, name, about })));

/** What `migrateDeployment` would do. @throws notInitialised, newerFormat, invalidConfig. */
export const planMigration = async ({ directory, table = migrations }: MigrateOptions) => {
  const to = newestFormat(table);
  const description = await readAnyDescription(directory, to);
  const from = contentFormat(description);
  const plan = from === to ? [] : planMigrations(from, table);
  const resumed = description.migrating !== undefined;
  return { description, plan, facts: { from, to, resumed, steps: plannedSteps(plan) } };
};

/**
 * @throws before anything is changed: notInitialised, newerFormat, looseMode, wrongKeyEncryptionKey, storeLocked,
 * keyUnavailable, ledgerCorrupt when the ledger is damaged. Whatever is thrown later, another run goes on.
 */
export const migrateDeployment = async (options: MigrateOptions): Promise<Migrated> => {
  const { description, plan, facts } = await planMigration(options);
  if (plan.length === 0) return { ...facts, size: 0n };
  const { directory, kekInputs, nowMs } = options;
  // Modes and keys first: opening a database writes in it.
  const described = await describeDeployment({ directory, kekInputs, nowMs, description });
  const open = options.openStore ?? ((path) => openLevelStore(path, { onMissing: "fail" }));
  const store = await open(join(directory, "ledger"));
  try {
    const ledger = { ...described, openStore: async (): Promise<Store> => lend(store) };
    return { ...facts, size: await migrateLocked(options, description, plan, ledger) };
  } finally {
    await store.close();
  }
};
