/**
 * Rehearses a migration on a copy; only reads the original. Copies without a lock, since taking LevelDB's changes its
 * files; so file times are compared before and after, and a copy during which a file changed is discarded.
 */
import { constants } from "node:fs";
import { cp, lstat, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "../errors.ts";
import { migrateDeployment, planMigration, type Migrated, type MigrateOptions } from "./migrate.ts";
import { clearScratch } from "./scratch.ts";

/** Name, size and times of every file; any write changes it. */
const fingerprint = async (directory: string): Promise<string> => {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const lines = await Promise.all(
    entries.map(async ({ parentPath, name }) => {
      const path = join(parentPath, name);
      const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
      return `${path} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
    }),
  );
  return lines.toSorted().join("\n");
};

/** @throws storeLocked if the directory changes meanwhile. */
const copyUnchanged = async (directory: string, scratch: string): Promise<void> => {
  const locked = (): never => fail({ kind: "storeLocked", path: directory });
  const before = await fingerprint(directory);
  try {
    // Uses reflinks if the file system supports them: no space, almost no time.
    await cp(directory, scratch, {
      recursive: true,
      mode: constants.COPYFILE_FICLONE,
      // A stale socket of a killed server: cp refuses to copy it.
      filter: async (path) => !(await lstat(path)).isSocket(),
    });
  } catch (error) {
    // A running server deletes database files during the copy.
    if (error instanceof Error && "code" in error && error.code === "ENOENT") locked();
    throw error;
  }
  if ((await fingerprint(directory)) !== before) locked();
};

/**
 * Runs `migrateDeployment` in `scratch`, which is removed afterwards. Needs as much space as the directory.
 * @throws what `migrateDeployment` throws; directoryNotEmpty if the scratch directory holds something else.
 */
export const rehearseMigration = async (options: MigrateOptions, scratch: string): Promise<Migrated> => {
  const { plan, facts } = await planMigration(options);
  if (plan.length === 0) return { ...facts, size: 0n };
  await clearScratch(scratch);
  try {
    await copyUnchanged(options.directory, scratch);
    return await migrateDeployment({ ...options, directory: scratch });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
};
