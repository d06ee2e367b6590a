/** Events that a receiver refused for good, one CloudEvent per line; mode 0600. They hold their data. */
import { open, rm } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { isMissing, syncDirectory } from "../cursor-file.ts";
import { failRelay, RelayFault, type Erased, type Erasure } from "../destination.ts";
import { jsonLine, type RelayEvent } from "../event.ts";
import { eraseFile, unfinishedSuffix, type EraseStep } from "../files-erase.ts";

const newline = 0x0a;

/**
 * Durable when it resolves. A line that a crash cut short is ended first. One at a time for each file: a long line
 * takes several writes. @throws RelayFault retryable.
 */
export const appendDeadLetter = async (path: string, event: RelayEvent): Promise<void> => {
  try {
    await using file = await open(path, "a+", 0o600);
    const { size } = await file.stat();
    const { buffer, bytesRead } = await file.read(Buffer.alloc(1), 0, 1, Math.max(0, size - 1));
    const isTorn = bytesRead === 1 && buffer[0] !== newline;
    await file.writeFile(`${isTorn ? "\n" : ""}${jsonLine(event)}\n`);
    await file.sync();
    if (size === 0) await syncDirectory(dirname(path));
  } catch (cause) {
    failRelay({ kind: "retryable", rule: `cannot write the dead letters ${path}` }, { cause });
  }
};

/** Of an erasure that a crash ended. */
export const removeUnfinished = (path: string): Promise<void> => rm(path + unfinishedSuffix, { force: true });

/**
 * Erases a tenant's letters in their place. A line that a crash cut short goes as well: whose it was cannot be told,
 * and its event was written again. @throws RelayFault retryable.
 */
export const eraseDeadLetters = async (
  path: string,
  erasure: Erasure,
  call: { readonly signal: AbortSignal; readonly onStep: (step: EraseStep) => Promise<void> },
): Promise<Erased> => {
  const { found, generation } = await eraseFile(dirname(path), basename(path), erasure, {
    ...call,
    onUnreadable: "remove",
  }).catch((cause: unknown) => {
    // Nothing was refused yet.
    if (isMissing(cause)) return { found: 0, generation: undefined };
    if (cause instanceof RelayFault) throw cause;
    return failRelay({ kind: "retryable", rule: `cannot erase in the dead letters ${path}` }, { cause });
  });
  const left = erasure.action === "count" ? found : 0;
  const newestGeneration = left === 0 ? undefined : generation;
  return { isInPlace: true, isBeyondReach: true, found, left, newestGeneration, outOfReach };
};

const outOfReach = ["dead letters that somebody moved elsewhere, copies and backups of them"];
