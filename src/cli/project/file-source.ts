/**
 * The files that a relay writes as a source: CloudEvents in structured mode, one a line, in ended files whose names
 * hold what is in them and in `events.jsonl`, which grows. A last line without its newline is not there yet. Holds one
 * line at a time, of at most `projectionLineBytesMax`.
 */
import { open, readdir, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { projectionLineBytesMax } from "../../limits.ts";
import type { LaneBatch, LaneMessage, LaneSource } from "../../projections/message.ts";
import { isMissing } from "../../relay/cursor-file.ts";
import { usage } from "../terminal/command.ts";
import { parseEvent } from "./event-message.ts";

const currentName = "events.jsonl";
const endedName = /^events-(\d{9})-\d{20}-(\d{20})\.jsonl$/;
const lane = "files";
const batchMessages = 256;
const readBytes = 1 << 16;
/** Between two looks at a file that has grown no more. */
const idleMs = 200;

/** @throws usage for a line that no relay wrote, or one whose record cannot be verified. */
const parseLine = (text: string, at: string): LaneMessage => parseEvent(lane, text, at).message;

/** Whole lines from an offset on. @returns where to read on. */
async function* linesFrom(
  file: FileHandle,
  from: number,
  name: string,
): AsyncGenerator<string, number, undefined> {
  let [offset, held] = [from, Buffer.alloc(0)];
  for (;;) {
    const chunk = Buffer.allocUnsafe(readBytes);
    const { bytesRead } = await file.read(chunk, 0, chunk.length, offset + held.length);
    if (bytesRead === 0) return offset;
    held = Buffer.concat([held, chunk.subarray(0, bytesRead)]);
    let begin = 0;
    for (let end = held.indexOf(0x0a); end >= 0; end = held.indexOf(0x0a, begin)) {
      yield held.toString("utf8", begin, end);
      begin = end + 1;
    }
    offset += begin;
    held = held.subarray(begin);
    if (held.length > projectionLineBytesMax)
      usage(`${name} has a line of more than ${projectionLineBytesMax} bytes`);
  }
}

type Reached = { readonly inode: bigint; readonly offset: number; readonly number: number };

/** @returns undefined if it is missing. @throws usage if it cannot be read. */
const openFile = async (path: string): Promise<FileHandle | undefined> => {
  try {
    return await open(path, "r");
  } catch (error) {
    if (isMissing(error)) return undefined;
    return usage(`--from: ${path} cannot be read: ${error instanceof Error ? error.message : "unknown"}`);
  }
};

/** Names of the ended files that hold something after a position, in their order. */
const endedAfter = async (directory: string, position: bigint): Promise<readonly string[]> => {
  const names = await readdir(directory).catch(() => usage(`--from: ${directory} cannot be read`));
  return names
    .filter((name) => BigInt(endedName.exec(name)?.[2] ?? -1) > position)
    .sort((one, two) => (one < two ? -1 : 1));
};

class Files {
  readonly #directory: string;
  /** How far the file was read that may have grown. */
  #reached: Reached | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Everything after a position that is there now; of a file that is rotated meanwhile, lines may come twice. */
  async *read(after: bigint): AsyncGenerator<LaneMessage> {
    const currentPath = join(this.#directory, currentName);
    // Before the names are listed: rotated later, it is in no list and is still read.
    const current = await openFile(currentPath);
    try {
      for (const name of await endedAfter(this.#directory, after)) {
        const path = join(this.#directory, name);
        const file = await openFile(path);
        if (file === undefined) continue;
        try {
          yield* this.#readFile(file, path, after);
        } finally {
          await file.close();
        }
      }
      if (current !== undefined) yield* this.#readFile(current, currentPath, after);
    } finally {
      await current?.close();
    }
  }

  async *#readFile(file: FileHandle, path: string, after: bigint): AsyncGenerator<LaneMessage> {
    const { ino: inode } = await file.stat({ bigint: true });
    const known = this.#reached?.inode === inode ? this.#reached : { offset: 0, number: 0 };
    let { number } = known;
    const lines = linesFrom(file, known.offset, path);
    for (let next = await lines.next(); ; next = await lines.next()) {
      if (next.done === true) {
        this.#reached = { inode, offset: next.value, number };
        return;
      }
      number += 1;
      const message = parseLine(next.value, `${path}, line ${number}`);
      if (message.position > after) yield message;
    }
  }
}

async function* batchesOf(messages: AsyncIterable<LaneMessage>): AsyncGenerator<LaneBatch> {
  let batch: LaneMessage[] = [];
  for await (const message of messages) {
    batch.push(message);
    if (batch.length < batchMessages) continue;
    yield { messages: batch };
    batch = [];
  }
  if (batch.length > 0) yield { messages: batch };
}

export const fileSource = (directory: string): LaneSource => ({
  after: async function* (lanes, { signal }) {
    const files = new Files(directory);
    let after = lanes.get(lane)?.position ?? -1n;
    while (!signal.aborted) {
      for await (const batch of batchesOf(files.read(after))) {
        if (signal.aborted) return;
        yield batch;
        after = batch.messages.reduce(
          (newest, { position }) => (position > newest ? position : newest),
          after,
        );
      }
      await pause(idleMs, undefined, { signal }).catch(() => {});
    }
  },
});

/** How many places the files reach to: one past the newest position. */
export const fileSize = async (directory: string): Promise<bigint> => {
  const ended = (await endedAfter(directory, -1n))
    .map((name) => BigInt(endedName.exec(name)?.[2] ?? -1) + 1n)
    .reduce((most, size) => (size > most ? size : most), 0n);
  let size = ended;
  for await (const { position } of new Files(directory).read(ended - 1n)) {
    if (position >= size) size = position + 1n;
  }
  return size;
};
