/** Events that a receiver refused for good, one CloudEvent per line; mode 0600. They hold their data. */
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { syncDirectory } from "../cursor-file.ts";
import { failRelay } from "../destination.ts";
import { jsonLine, type RelayEvent } from "../event.ts";

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
