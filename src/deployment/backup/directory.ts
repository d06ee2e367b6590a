/**
 * A backup directory: `manifest.json`, `segments/<from>-<to>.seg`, `state-<n>/`. Files named by the manifest are
 * complete and durable; others are leftovers of an interrupted backup, removed when the next one begins. One writer at
 * a time. Source: docs/spec/backup.md §2.
 */
import { mkdir, open, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "../../errors.ts";
import { syncDirectory } from "../../crypto/files/private-file.ts";
import { replaceFile } from "../../ledger/append/anchor.ts";
import { formatManifest, parseManifest, segmentPath, stateDirectory, type Manifest } from "./manifest.ts";

const manifestName = "manifest.json";
const segmentsName = "segments";
const lockName = "lock";

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && "code" in error && error.code === code;

/** @returns undefined if the directory holds no backup. @throws backupRefused, newerFormat. */
export const readManifest = async (directory: string): Promise<Manifest | undefined> => {
  const path = join(directory, manifestName);
  try {
    return parseManifest(await readFile(path, "utf8"), path);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
};

const isAlive = (pid: number): boolean => {
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch (error) {
    return hasCode(error, "EPERM");
  }
};

/** Excludes concurrent writers. The lock of a dead process is ignored. @param refuse told why it is held. */
export const lockFile = async (path: string, refuse: (rule: string) => never): Promise<AsyncDisposable> => {
  for (let tries = 0; ; tries += 1) {
    try {
      const file = await open(path, "wx", 0o600);
      await file.writeFile(String(process.pid));
      await file.close();
      return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
      const holder = Number(await readFile(path, "utf8").catch(() => "0"));
      if (tries > 0 || isAlive(holder)) {
        refuse(`process ${holder} is writing it; if that is none of Sigil's, remove ${path}`);
      }
      await rm(path, { force: true });
    }
  }
};

/** Removes files and directories of interrupted runs. */
const sweep = async (directory: string, manifest: Manifest | undefined): Promise<void> => {
  const segments = new Set((manifest?.segments ?? []).map(segmentPath));
  for (const name of await readdir(join(directory, segmentsName))) {
    if (!segments.has(`${segmentsName}/${name}`)) await rm(join(directory, segmentsName, name));
  }
  const state = manifest?.state;
  const kept = state === null || state === undefined ? "" : stateDirectory(state.serial);
  for (const name of await readdir(directory)) {
    if (name.startsWith("state-") && name !== kept) await rm(join(directory, name), { recursive: true });
  }
};

export class BackupDirectory implements AsyncDisposable {
  readonly path: string;
  readonly #lock: AsyncDisposable;
  #manifest: Manifest | undefined;

  private constructor(path: string, held: AsyncDisposable, manifest: Manifest | undefined) {
    this.path = path;
    this.#lock = held;
    this.#manifest = manifest;
  }

  /** Creates the directory if needed. @throws backupRefused if it holds something else. */
  static async open(path: string): Promise<BackupDirectory> {
    await mkdir(path, { recursive: true, mode: 0o700 });
    const names = (await readdir(path)).filter((name) => name !== lockName);
    if (names.length > 0 && !names.includes(manifestName) && !names.includes(segmentsName)) {
      fail({ kind: "backupRefused", backup: path, rule: "it holds something that is no backup" });
    }
    const held = await lockFile(join(path, lockName), (rule) =>
      fail({ kind: "backupRefused", backup: path, rule }),
    );
    try {
      await mkdir(join(path, segmentsName), { recursive: true, mode: 0o700 });
      const manifest = await readManifest(path);
      await sweep(path, manifest);
      return new BackupDirectory(path, held, manifest);
    } catch (error) {
      await held[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The current manifest; undefined before the first segment. */
  get manifest(): Manifest | undefined {
    return this.#manifest;
  }

  /** Replaces the manifest atomically; durable when it resolves. */
  async replaceManifest(manifest: Manifest): Promise<void> {
    await syncDirectory(join(this.path, segmentsName));
    await replaceFile(join(this.path, manifestName), formatManifest(manifest));
    this.#manifest = manifest;
  }

  /** Removes leftovers of the last attempt, before a retry. */
  sweep(): Promise<void> {
    return sweep(this.path, this.#manifest);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lock[Symbol.asyncDispose]();
  }
}
