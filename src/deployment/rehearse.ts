/**
 * A migration tried out on a copy: the directory itself is only read. Copying takes no lock, since taking LevelDB's
 * would change its files; so the files are looked at before and after, and a copy during which one changed counts for
 * nothing.
 */
import { constants } from "node:fs";
import { cp, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "../errors.ts";
import { migrateDeployment, planMigration, type Migrated, type MigrateOptions } from "./migrate.ts";
import { clearScratch } from "./scratch.ts";

/** Name, size and times of every file: whoever writes one changes this. */
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

/** @throws storeLocked when somebody writes the directory meanwhile. */
const copyUnchanged = async (directory: string, scratch: string): Promise<void> => {
  const locked = (): never => fail({ kind: "storeLocked", path: directory });
  const before = await fingerprint(directory);
  try {
    // A reflink where the file system has them: it takes no room and no time.
    await cp(directory, scratch, { recursive: true, mode: constants.COPYFILE_FICLONE });
  } catch (error) {
    // A database that is served drops files while they are copied.
    if (error instanceof Error && "code" in error && error.code === "ENOENT") locked();
    throw error;
  }
  if ((await fingerprint(directory)) !== before) locked();
};

/**
 * The whole of `migrateDeployment`, in `scratch`, which is gone afterwards. Takes as much room as the directory.
 * @throws what `migrateDeployment` throws; directoryNotEmpty for a scratch directory with something else in it.
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
