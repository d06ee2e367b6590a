/**
 * Erases a tenant from one file of a relay: its events lose everything but their place (docs/spec/event.md §6), all
 * other lines stay byte for byte. The file is written anew beside the old one and renamed over it, so readers see the
 * old or the new one; a crash leaves at most a copy without the tenant, which the next open removes. Holds one line.
 */
import { open, rename, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { relayLineBytesMax, relayReadBytes } from "../limits.ts";
import { syncDirectory } from "./cursor-file.ts";
import { failRelay, type Erasure } from "./destination.ts";
import { erasedAttributes, isOfTenant, readEvent } from "./event.ts";

/** Ends the names of files that are being written in place of another. */
export const unfinishedSuffix = ".erasing";

export type EraseStep = "erasing" | "written anew" | "replaced" | "replacement synced";

type Attributes = Readonly<Record<string, unknown>>;

/** A line that cannot be read may be of anybody: only its writer knows whether it can be done without. */
type Unreadable = "refuse" | "remove";

const newline = 0x0a;

/** Lines with their newline. What follows the last newline was never acknowledged: left out. */
async function* linesOf(file: FileHandle, path: string): AsyncGenerator<Buffer, void, undefined> {
  let [held, offset] = [Buffer.alloc(0), 0];
  for (;;) {
    const chunk = Buffer.allocUnsafe(relayReadBytes);
    const { bytesRead } = await file.read(chunk, 0, chunk.length, offset);
    if (bytesRead === 0) return;
    offset += bytesRead;
    held = Buffer.concat([held, chunk.subarray(0, bytesRead)]);
    let begin = 0;
    for (let end = held.indexOf(newline); end >= 0; end = held.indexOf(newline, begin)) {
      yield held.subarray(begin, end + 1);
      begin = end + 1;
    }
    held = held.subarray(begin);
    if (held.length > relayLineBytesMax)
      failRelay({ kind: "refused", rule: `${path} has a line of more than ${relayLineBytesMax} bytes` });
  }
}

const parseLine = (line: Buffer): Attributes | undefined => {
  try {
    const value: unknown = JSON.parse(line.toString("utf8"));
    const isEvent =
      typeof value === "object" && value !== null && readEvent(value as Attributes) !== undefined;
    return isEvent ? (value as Attributes) : undefined;
  } catch {
    return undefined;
  }
};

type SortedLine = {
  readonly line: Buffer;
  /** Its event, if it is the tenant's. */
  readonly own: Attributes | undefined;
  readonly isReadable: boolean;
};

/** @throws RelayFault refused for a line that no relay wrote, unless it is to be removed. */
async function* sortedLines(
  file: FileHandle,
  path: string,
  tenant: string,
  onUnreadable: Unreadable,
): AsyncGenerator<SortedLine, void, undefined> {
  let number = 0;
  for await (const line of linesOf(file, path)) {
    number += 1;
    const event = parseLine(line);
    if (event === undefined && onUnreadable === "refuse") {
      const rule = `${path}, line ${number}, is no event of a relay: whose it is cannot be told`;
      failRelay({ kind: "refused", rule });
    }
    const own = event !== undefined && isOfTenant(event, tenant) ? event : undefined;
    yield { line, own, isReadable: event !== undefined };
  }
}

type Counted = {
  /** The tenant's events. */
  readonly found: number;
  /** Of the newest of them. */
  readonly generation: number | undefined;
  /** Bytes that are no event's, of lines that are to be removed. */
  readonly unreadableBytes: number;
};

const countLines = async (
  file: FileHandle,
  path: string,
  tenant: string,
  onUnreadable: Unreadable,
): Promise<Counted> => {
  let [found, generation, readableBytes]: [number, number | undefined, number] = [0, undefined, 0];
  for await (const { line, own, isReadable } of sortedLines(file, path, tenant, onUnreadable)) {
    if (isReadable) readableBytes += line.length;
    if (own === undefined) continue;
    found += 1;
    generation = readEvent(own)?.generation;
  }
  const unreadableBytes = onUnreadable === "remove" ? (await file.stat()).size - readableBytes : 0;
  return { found, generation, unreadableBytes };
};

type EraseCall = {
  readonly signal: AbortSignal;
  readonly onStep: (step: EraseStep) => Promise<void>;
  /** Default: refuse. */
  readonly onUnreadable?: Unreadable;
};

/** Mode and owner are the old file's: whoever reads it reads the new one. */
const writeAnew = async (
  file: FileHandle,
  path: string,
  { tenant, typePrefix }: Erasure,
  { signal, onUnreadable = "refuse" }: EraseCall,
): Promise<void> => {
  const { mode, uid, gid } = await file.stat();
  await using anew = await open(path + unfinishedSuffix, "w", 0o600);
  const made = await anew.stat();
  if (made.uid !== uid || made.gid !== gid) await anew.chown(uid, gid);
  await anew.chmod(mode & 0o777);
  for await (const { line, own, isReadable } of sortedLines(file, path, tenant, onUnreadable)) {
    signal.throwIfAborted();
    if (!isReadable) continue;
    await anew.appendFile(
      own === undefined ? line : `${JSON.stringify(erasedAttributes(own, typePrefix))}\n`,
    );
  }
  await anew.sync();
};

/** @throws RelayFault refused for a line that no relay wrote; errors of node:fs. */
export const eraseFile = async (
  directory: string,
  name: string,
  erasure: Erasure,
  call: EraseCall,
): Promise<Pick<Counted, "found" | "generation">> => {
  const path = join(directory, name);
  await using file = await open(path, "r");
  const counted = await countLines(file, path, erasure.tenant, call.onUnreadable ?? "refuse");
  const isClean = counted.found === 0 && counted.unreadableBytes === 0;
  if (isClean || erasure.action === "count") return counted;
  await call.onStep("erasing");
  await writeAnew(file, path, erasure, call);
  await call.onStep("written anew");
  await rename(path + unfinishedSuffix, path);
  await call.onStep("replaced");
  await syncDirectory(directory);
  await call.onStep("replacement synced");
  return counted;
};
