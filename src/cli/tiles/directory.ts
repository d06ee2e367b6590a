/**
 * A directory of a tiled log, for any static server: what stands under a path is whole and on disk, and its checkpoint
 * is the last to change. A crash leaves the log of the checkpoint that is there, and perhaps files that a larger tree
 * has; unfinished ones lie apart, in `.sigil/`. One writer at a time.
 */
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncDirectory } from "../../crypto/files/private-file.ts";
import { lockFile } from "../../deployment/backup/directory.ts";
import { usage } from "../terminal/command.ts";

const ownName = ".sigil";
const lockName = "lock";
const unfinishedName = "unfinished";
export const checkpointName = "checkpoint";

const orAbsent = <Value>(reading: Promise<Value>): Promise<Value | undefined> =>
  reading.catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw error;
  });

export class TilesDirectory implements AsyncDisposable {
  readonly #path: string;
  readonly #lock: AsyncDisposable;
  readonly #unsynced = new Set<string>();
  #files = 0;

  private constructor(path: string, lock: AsyncDisposable) {
    this.#path = path;
    this.#lock = lock;
  }

  /** Makes it if it is not there. @throws usage while another process writes it. */
  static async open(path: string): Promise<TilesDirectory> {
    await mkdir(join(path, ownName), { recursive: true });
    const lock = await lockFile(join(path, ownName, lockName), (rule) => usage(`--out ${path}: ${rule}`));
    const unfinished = join(path, ownName, unfinishedName);
    await rm(unfinished, { recursive: true, force: true });
    await mkdir(unfinished);
    return new TilesDirectory(path, lock);
  }

  /** Undefined for a file that is not there. */
  read(file: string): Promise<Uint8Array | undefined> {
    return orAbsent(readFile(join(this.#path, file)));
  }

  /** The file is whole at every moment; its name is durable with the next checkpoint. */
  async write(file: string, content: Uint8Array): Promise<void> {
    const path = join(this.#path, file);
    await this.#makeDirectory(dirname(path));
    await this.#replace(path, content);
    this.#unsynced.add(dirname(path));
  }

  /** After everything that its tree needs. */
  async publish(checkpoint: string): Promise<void> {
    for (const directory of this.#unsynced) await syncDirectory(directory);
    this.#unsynced.clear();
    await this.#replace(join(this.#path, checkpointName), Buffer.from(checkpoint));
    await syncDirectory(this.#path);
  }

  /** Removes a folder of partial tiles, of which the full one is published. */
  async removePartial(folder: string): Promise<void> {
    await rm(join(this.#path, folder), { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lock[Symbol.asyncDispose]();
  }

  /** Every one that is made has to be found after a crash. */
  async #makeDirectory(path: string): Promise<void> {
    const first = await mkdir(path, { recursive: true });
    if (first === undefined) return;
    for (let made = path; made.length >= first.length; made = dirname(made))
      this.#unsynced.add(dirname(made));
  }

  async #replace(path: string, content: Uint8Array): Promise<void> {
    this.#files += 1;
    const unfinished = join(this.#path, ownName, unfinishedName, String(this.#files));
    const file = await open(unfinished, "w", 0o644);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(unfinished, path);
  }
}
