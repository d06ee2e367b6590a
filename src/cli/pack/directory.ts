/**
 * The directory of an evidence pack. It is written under another name beside it, each file flushed to disk and its
 * digest taken, and appears by a rename: whatever interrupts that, nothing under its name looks whole. Read, it is one
 * level of plain files, of which only the names of the format are opened.
 */
import { createHash, type Hash as Digest } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, mkdir, open, readdir, rename, rm, writeFile, type FileHandle } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { manifestName, type PackFile, type PackFileName, type PackReader } from "@sigil/core/pack";
import { syncDirectory } from "../../crypto/files/private-file.ts";
import { usage } from "../terminal/command.ts";

const bufferedBytesMax = 1 << 20;
const nameSuffixMax = 10_000;

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";

/** An error of the disk, which is nobody's bug. @throws usage for those; others as they are. */
const onDisk = async <T>(path: string, work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    if (codeOf(error) === "") throw error;
    return usage(`--out: ${path} cannot be written: ${codeOf(error)}`);
  }
};

/** A file that is written from beginning to end. */
export class PackFileWriter {
  readonly #path: string;
  readonly #name: PackFileName;
  readonly #file: FileHandle;
  readonly #digest: Digest = createHash("sha256");
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #bytes = 0;

  private constructor(path: string, name: PackFileName, file: FileHandle) {
    [this.#path, this.#name, this.#file] = [path, name, file];
  }

  static async open(directory: string, name: PackFileName): Promise<PackFileWriter> {
    const path = join(directory, name);
    return new PackFileWriter(path, name, await open(path, "wx", 0o600));
  }

  async append(content: string | Uint8Array): Promise<void> {
    const bytes = typeof content === "string" ? Buffer.from(content) : content;
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
    if (this.#heldBytes >= bufferedBytesMax) await this.#write();
  }

  /** Durable when it resolves. */
  async close(): Promise<PackFile> {
    await this.#write();
    await onDisk(this.#path, () => this.#file.sync());
    await this.#file.close();
    return { name: this.#name, bytes: this.#bytes, sha256: this.#digest.digest("hex") };
  }

  /** Of a file that goes with its directory. */
  async abandon(): Promise<void> {
    await this.#file.close().catch(() => {});
  }

  async #write(): Promise<void> {
    const bytes = Buffer.concat(this.#held);
    [this.#held, this.#heldBytes] = [[], 0];
    this.#digest.update(bytes);
    this.#bytes += bytes.length;
    await onDisk(this.#path, () => this.#file.appendFile(bytes));
  }
}

export class PackDirectory implements AsyncDisposable {
  readonly #path: string;
  readonly #unfinished: string;
  readonly #writers: PackFileWriter[] = [];
  readonly #files: PackFile[] = [];
  #isPublished = false;

  private constructor(path: string, unfinished: string) {
    [this.#path, this.#unfinished] = [path, unfinished];
  }

  /** @throws usage unless nothing is there, or an empty directory. */
  static async create(given: string): Promise<PackDirectory> {
    const path = resolve(given);
    const there = await readdir(path).catch((error: unknown) => {
      if (codeOf(error) === "ENOENT") return [];
      return usage(`--out: ${given} is there, and is no directory`);
    });
    if (there.length > 0) usage(`--out: ${given} is there, and is not empty; a pack is never written over`);
    const unfinished = await onDisk(given, () => makeUnfinished(path));
    return new PackDirectory(path, unfinished);
  }

  /** Written, in the order of their names. */
  get files(): readonly PackFile[] {
    return this.#files.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  async open(name: PackFileName): Promise<PackFileWriter> {
    const writer = await onDisk(this.#path, () => PackFileWriter.open(this.#unfinished, name));
    this.#writers.push(writer);
    return writer;
  }

  async close(...writers: readonly PackFileWriter[]): Promise<void> {
    for (const writer of writers) this.#files.push(await writer.close());
  }

  /** A file that was closed. */
  read(name: PackFileName): AsyncIterable<Uint8Array> {
    return createReadStream(join(this.#unfinished, name));
  }

  /** The pack is whole, and there, when it resolves. */
  async publish(manifest: string): Promise<void> {
    await onDisk(this.#path, async () => {
      await writeFile(join(this.#unfinished, manifestName), manifest, { mode: 0o600, flush: true });
      await syncDirectory(this.#unfinished);
      // An empty directory is replaced; one that was filled meanwhile is not.
      await rename(this.#unfinished, this.#path);
      this.#isPublished = true;
      await syncDirectory(dirname(this.#path));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isPublished) return;
    for (const writer of this.#writers) await writer.abandon();
    await rm(this.#unfinished, { recursive: true, force: true });
  }
}

/** A directory beside the path, which nothing takes for a pack: it has no manifest until all else is there. */
const makeUnfinished = async (path: string): Promise<string> => {
  for (let number = 1; ; number += 1) {
    const unfinished = join(dirname(path), `.${basename(path)}.unfinished-${process.pid}-${number}`);
    try {
      await mkdir(unfinished, { mode: 0o700 });
      return unfinished;
    } catch (error) {
      if (codeOf(error) !== "EEXIST" || number === nameSuffixMax) throw error;
    }
  }
};

const digestOf = async (
  chunks: AsyncIterable<Uint8Array>,
): Promise<{ readonly bytes: number; readonly sha256: string }> => {
  const digest = createHash("sha256");
  let bytes = 0;
  for await (const chunk of chunks) {
    digest.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: digest.digest("hex") };
};

/** Reads a pack. A link, or anything else that is no plain file, is refused by its name. */
export const packReader = (directory: string): PackReader => {
  const read = (name: string): AsyncIterable<Uint8Array> => createReadStream(join(directory, name));
  return {
    names: async () => {
      const names = await readdir(directory);
      const kinds = await Promise.all(names.map((name) => lstat(join(directory, name))));
      return names.map((name, at) => (kinds[at]?.isFile() === true ? name : `${name} (no plain file)`));
    },
    read,
    digest: (name) => digestOf(read(name)),
  };
};
