/**
 * Rotated JSONL files as a destination: one CloudEvent per line (structured mode), gapless across files. Appends to
 * `events.jsonl`; rotation renames it to `events-<generation>-<first>-<last>.jsonl`, so names sort in event order and
 * `tail -F` follows. The position is read from the last line. A crash leaves at most a torn last line, which is
 * truncated when the directory is opened.
 */
import { chmod, mkdir, open, readdir, rename, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { utf8Encode } from "@sigil/core/bytes";
import { relayLineBytesMax, relayReadBytes } from "../limits.ts";
import { isMissing, syncDirectory } from "./cursor-file.ts";
import {
  failRelay,
  RelayFault,
  type Destination,
  type Erased,
  type Erasure,
  type Holding,
  type OpenDestination,
} from "./destination.ts";
import { eraseFile, unfinishedSuffix, type EraseStep } from "./files-erase.ts";
import { jsonLine, readEvent, type ReadEvent, type RelayEvent } from "./event.ts";

export type FilesOptions = {
  readonly directory: string;
  /** Size at which a file is rotated. */
  readonly fileBytesMax: number;
  /** Age at which a file is rotated. */
  readonly fileAgeMsMax: number;
  readonly nowMs: () => number;
  /** Fault injection for tests: awaited between steps. */
  readonly onStep?: (step: FilesStep) => Promise<void>;
};

export type FilesStep =
  | "writing"
  | "written half"
  | "written"
  | "synced"
  | "renaming"
  | "renamed"
  | "created"
  | EraseStep;

const currentName = "events.jsonl";
const ended = /^events-\d{9}-\d{20}-\d{20}\.jsonl$/;
const batchEventsMax = 256;
const newline = 0x0a;
const outOfReach = [
  "what was read from the files, copies and backups of them",
  "blocks and snapshots that the file system keeps of a file that was replaced",
];

const endedName = (first: ReadEvent, last: ReadEvent): string => {
  const digits = (value: bigint | number, count: number): string => String(value).padStart(count, "0");
  return `events-${digits(last.generation, 9)}-${digits(first.position, 20)}-${digits(last.position, 20)}.jsonl`;
};

const parseLine = (line: Buffer): ReadEvent | undefined => {
  try {
    const value: unknown = JSON.parse(line.toString("utf8"));
    if (typeof value !== "object" || value === null) return undefined;
    return readEvent(value as Readonly<Record<string, unknown>>);
  } catch {
    return undefined;
  }
};

const bytesBetween = async (file: FileHandle, from: number, to: number): Promise<Buffer> => {
  const bytes = Buffer.alloc(to - from);
  let read = 0;
  while (read < bytes.length) {
    const { bytesRead } = await file.read(bytes, read, bytes.length - read, from + read);
    if (bytesRead === 0) return bytes.subarray(0, read);
    read += bytesRead;
  }
  return bytes;
};

/** @returns the offset after the last newline before `end`, or 0. */
const lineStart = async (file: FileHandle, end: number): Promise<number> => {
  for (let to = end; to > 0;) {
    const from = Math.max(0, to - relayReadBytes);
    const at = (await bytesBetween(file, from, to)).lastIndexOf(newline);
    if (at >= 0) return from + at + 1;
    to = from;
    if (end - to > relayLineBytesMax) break;
  }
  return 0;
};

/** The last valid line and the offset after it; anything beyond is torn. */
const newestLine = async (
  file: FileHandle,
): Promise<{ readonly last: ReadEvent | undefined; readonly end: number }> => {
  let { size: end } = await file.stat();
  // A line without newline was never acknowledged; after a power failure unsynced lines may hold garbage.
  end = await lineStart(file, end);
  while (end > 0) {
    const start = await lineStart(file, end - 1);
    const last = parseLine(await bytesBetween(file, start, end - 1));
    if (last !== undefined) return { last, end };
    end = start;
  }
  return { last: undefined, end: 0 };
};

const firstLine = async (file: FileHandle): Promise<ReadEvent | undefined> => {
  const head = await bytesBetween(file, 0, Math.min((await file.stat()).size, relayLineBytesMax));
  const at = head.indexOf(newline);
  return at < 0 ? undefined : parseLine(head.subarray(0, at));
};

type Failing = { readonly code?: string };

/** Permission and path errors are refused; all others, ENOSPC among them, are retryable. */
const asFault = (directory: string, cause: unknown): RelayFault => {
  if (cause instanceof RelayFault) return cause;
  const code = (cause as Failing | null)?.code ?? "unknown error";
  const isRefused = ["EACCES", "EPERM", "EROFS", "ENOTDIR", "ELOOP"].includes(code);
  const rule = `cannot write below ${directory}: ${code}`;
  return new RelayFault({ kind: isRefused ? "refused" : "retryable", rule }, { cause });
};

class OpenFiles implements OpenDestination {
  readonly limits = {
    messageBytesMax: Number.MAX_SAFE_INTEGER,
    batchEventsMax,
    batchBytesMax: relayLineBytesMax,
  };
  readonly #options: FilesOptions;
  #file: FileHandle;
  #size: number;
  #first: ReadEvent | undefined;
  #last: ReadEvent | undefined;
  /** Creation time of the current file. */
  #begunMs: number;
  /** Last event of the newest rotated file, used while the current file is empty. */
  readonly #before: ReadEvent | undefined;

  constructor(
    options: FilesOptions,
    file: FileHandle,
    facts: {
      readonly size: number;
      readonly first: ReadEvent | undefined;
      readonly last: ReadEvent | undefined;
      readonly begunMs: number;
      readonly before: ReadEvent | undefined;
    },
  ) {
    this.#options = options;
    this.#file = file;
    this.#size = facts.size;
    this.#first = facts.first;
    this.#last = facts.last;
    this.#begunMs = facts.begunMs;
    this.#before = facts.before;
  }

  async lastPublished(): Promise<Holding> {
    const last = this.#last ?? this.#before;
    return last === undefined ? { kind: "empty" } : { kind: "at", last };
  }

  async publish(events: readonly RelayEvent[]): Promise<void> {
    try {
      const generation = Number(events[0]?.attributes["sigilgeneration"]);
      if (this.#isFull(generation)) await this.#rotate();
      const lines = Buffer.from(utf8Encode(events.map((event) => `${jsonLine(event)}\n`).join("")));
      await this.#step("writing");
      const half = lines.length >>> 1;
      await this.#append(lines.subarray(0, half), this.#size);
      await this.#step("written half");
      await this.#append(lines.subarray(half), this.#size + half);
      await this.#step("written");
      await this.#file.datasync();
      await this.#step("synced");
      this.#size += lines.length;
      this.#first ??= this.#eventAt(events[0]);
      this.#last = this.#eventAt(events.at(-1));
    } catch (cause) {
      throw asFault(this.#options.directory, cause);
    }
  }

  /** File by file, oldest first. */
  async erase(erasure: Erasure, signal: AbortSignal): Promise<Erased> {
    const { directory } = this.#options;
    const call = { signal, onStep: (step: EraseStep) => this.#step(step) };
    let [found, newestGeneration]: [number, number | undefined] = [0, undefined];
    try {
      const names = [...(await endedNames(directory)), currentName];
      for (const [index, name] of names.entries()) {
        signal.throwIfAborted();
        const counted = await eraseFile(directory, name, erasure, call);
        found += counted.found;
        newestGeneration = counted.generation ?? newestGeneration;
        erasure.onProgress(`${index + 1} of ${names.length} files, ${found} events of the tenant`);
      }
    } catch (cause) {
      throw asFault(directory, cause);
    }
    const left = erasure.action === "count" ? found : 0;
    const newest = left === 0 ? undefined : newestGeneration;
    return { isInPlace: true, found, left, newestGeneration: newest, outOfReach };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  #eventAt(event: RelayEvent | undefined): ReadEvent | undefined {
    return event === undefined ? undefined : readEvent(event.attributes);
  }

  #isFull(generation: number): boolean {
    if (this.#first === undefined || this.#last === undefined) return false;
    const { fileBytesMax, fileAgeMsMax, nowMs } = this.#options;
    const isOld = nowMs() - this.#begunMs >= fileAgeMsMax;
    return this.#size >= fileBytesMax || isOld || this.#last.generation !== generation;
  }

  async #append(bytes: Buffer, offset: number): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      const { bytesWritten } = await this.#file.write(
        bytes,
        written,
        bytes.length - written,
        offset + written,
      );
      written += bytesWritten;
    }
  }

  /** A crash after the rename leaves no current file; the next open creates it. */
  async #rotate(): Promise<void> {
    const { directory, nowMs } = this.#options;
    const [first, last] = [this.#first, this.#last];
    if (first === undefined || last === undefined) return;
    await this.#step("renaming");
    await rename(join(directory, currentName), join(directory, endedName(first, last)));
    await syncDirectory(directory);
    await this.#step("renamed");
    await this.#file.close();
    this.#file = await openCurrent(directory);
    [this.#size, this.#first, this.#last, this.#begunMs] = [0, undefined, undefined, nowMs()];
    await this.#step("created");
  }

  async #step(step: FilesStep): Promise<void> {
    await this.#options.onStep?.(step);
  }
}

/** Opens the current file, or creates it with mode 0600 and syncs the directory. */
const openCurrent = async (directory: string): Promise<FileHandle> => {
  const path = join(directory, currentName);
  const file = await open(path, "r+").catch(async (cause: unknown) => {
    if (!isMissing(cause)) throw cause;
    const made = await open(path, "wx+", 0o600);
    await syncDirectory(directory);
    return made;
  });
  return file;
};

/** Rotated files in event order. */
const endedNames = async (directory: string): Promise<string[]> =>
  (await readdir(directory)).filter((name) => ended.test(name)).sort();

/** Of an erasure that a crash ended. */
const removeUnfinished = async (directory: string): Promise<void> => {
  for (const name of await readdir(directory))
    if (name.endsWith(`.jsonl${unfinishedSuffix}`)) await rm(join(directory, name));
};

/** The last event of the rotated files. */
const newestEnded = async (directory: string): Promise<ReadEvent | undefined> => {
  for (const name of (await endedNames(directory)).reverse()) {
    await using file = await open(join(directory, name), "r");
    const { last } = await newestLine(file);
    if (last !== undefined) return last;
  }
  return undefined;
};

const openFiles = async (options: FilesOptions): Promise<OpenFiles> => {
  const { directory, nowMs } = options;
  const made = await mkdir(directory, { recursive: true, mode: 0o700 });
  if (made !== undefined) await chmod(directory, 0o700);
  await removeUnfinished(directory);
  const before = await newestEnded(directory);
  const file = await openCurrent(directory);
  try {
    const { last, end } = await newestLine(file);
    const { size, birthtimeMs } = await file.stat();
    if (size !== end) await file.truncate(end);
    // Lines of a killed process may be in the page cache only: sync before counting them as published.
    await file.sync();
    const first = last === undefined ? undefined : await firstLine(file);
    const begunMs = first === undefined ? nowMs() : birthtimeMs;
    return new OpenFiles(options, file, { size: end, first: first ?? last, last, begunMs, before });
  } catch (error) {
    await file.close();
    throw error;
  }
};

export const filesDestination = (options: FilesOptions): Destination => ({
  describe: () => `files below ${options.directory}`,
  open: async () => {
    try {
      return await openFiles(options);
    } catch (cause) {
      const { error } = asFault(options.directory, cause);
      return failRelay(error, { cause });
    }
  },
});
