/** Events that a receiver refused for good, one CloudEvent per line; mode 0600. They hold their data. */
import { open } from "node:fs/promises";
import { failRelay } from "../destination.ts";
import { jsonLine, type RelayEvent } from "../event.ts";

const newline = 0x0a;

/** Durable when it resolves. A line that a crash cut short is ended first. @throws RelayFault retryable. */
export const appendDeadLetter = async (path: string, event: RelayEvent): Promise<void> => {
  try {
    await using file = await open(path, "a+", 0o600);
    const { size } = await file.stat();
    const { buffer, bytesRead } = await file.read(Buffer.alloc(1), 0, 1, Math.max(0, size - 1));
    const isTorn = bytesRead === 1 && buffer[0] !== newline;
    await file.writeFile(`${isTorn ? "\n" : ""}${jsonLine(event)}\n`);
    await file.sync();
  } catch (cause) {
    failRelay({ kind: "retryable", rule: `cannot write the dead letters ${path}` }, { cause });
  }
};
