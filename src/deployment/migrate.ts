/**
 * Migrates an offline data directory of an older format to this program's. First every record is opened and verified,
 * without any change. Then deployment.json names the new format, so that no older program opens a half-migrated
 * directory, and also the old one, so that an interrupted run is recognized and resumed. The last step removes that
 * marker, after fsck has found no problem. Source: docs/operating/upgrade.md.
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
  /** Rules besides the ledger's own, as in `sigil fsck`. */
  readonly inspector?: (
    origin: string,
    directory: string,
  ) => Pick<FsckOptions, "inspectGroup" | "inspectEnd">;
  /** @param stage the current step's name, or the inspection before or after all steps. */
  readonly onProgress?: (stage: string, progress: FsckProgress) => void;
  /** Known migrations; replaced in tests. */
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
  /** The directory's previous format; equal to `to` if there was nothing to do. */
  readonly from: number;
  readonly to: number;
  /** Whether an interrupted run was resumed. */
  readonly resumed: boolean;
  readonly steps: readonly PlannedStep[];
  /** Number of records inspected; 0 if there was nothing to do. */
  readonly size: bigint;
};

/** Wraps the store so that close keeps its lock. */
const lend = (store: Store): Store => ({
  get: (key, options) => store.get(key, options),
  getMany: (keys, options) => store.getMany(keys, options),
  range: (options) => store.range(options),
  commit: (batch) => store.commit(batch),
  // A purge would release the lock.
  purge: async () => fail({ kind: "storeFailed", step: "purge", rule: "the store is only lent" }),
  flush: () => store.flush(),
  snapshot: () => store.snapshot(),
  close: async () => {},
  [Symbol.asyncDispose]: async () => {},
});

/** @returns the number of records. @throws ledgerCorrupt if any problem is found. */
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
 * Runs the steps of all migrations in order. A crash between two writes of deployment.json leaves the newer format
 * beside `migrating`, and the interrupted migration starts over.
 * @returns the description that completes the migration once it is written.
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

/** Call under the store's lock. @returns the number of records. */
const migrateLocked = async (
  options: MigrateOptions,
  description: Description,
  plan: readonly Migration[],
  ledger: LedgerOptions,
): Promise<bigint> => {
  const { directory } = options;
  await requireUnchanged(directory, description);
  // Finds existing damage before any change, while the older program can still open the directory.
  if (description.migrating === undefined) await inspect(ledger, options, "ignore");
  const done = await runSteps(description, plan, { ...options, ledger });
  const size = await inspect(ledger, options, "check");
  await writeDescription(directory, done);
  return size;
};

const plannedSteps = (plan: readonly Migration[]): readonly PlannedStep[] =>
  plan.flatMap(({ from, steps }) => steps.map(({ name, about }) => ({ from, to: from + 1, name, about })));

/** Returns what `migrateDeployment` would do. @throws notInitialised, newerFormat, invalidConfig. */
export const planMigration = async ({ directory, table = migrations }: MigrateOptions) => {
  const to = newestFormat(table);
  const description = await readAnyDescription(directory, to);
  const from = contentFormat(description);
  const plan = from === to ? [] : planMigrations(from, table);
  const resumed = description.migrating !== undefined;
  return { description, plan, facts: { from, to, resumed, steps: plannedSteps(plan) } };
};

/**
 * @throws before any change: notInitialised, newerFormat, looseMode, wrongKeyEncryptionKey, storeLocked,
 * keyUnavailable, ledgerCorrupt if the ledger is damaged. After any later error another run resumes.
 */
export const migrateDeployment = async (options: MigrateOptions): Promise<Migrated> => {
  const { description, plan, facts } = await planMigration(options);
  if (plan.length === 0) return { ...facts, size: 0n };
  const { directory, kekInputs, nowMs } = options;
  // Checks file modes and keys first, since opening a database writes to it.
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
