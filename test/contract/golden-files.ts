/** A golden ledger as the files of a relay: CloudEvents, one a line, in ended files and in one that grows. */
import { appendFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { jsonLine, type RelayEvent } from "../../src/relay/event.ts";
import { eventsOf } from "./golden-events.ts";
import type { GoldenLedger } from "./golden-ledger.ts";

const digits = (position: number): string => String(position).padStart(20, "0");

/** Adds what stands at positions [from, to) to the file that grows. */
export const appendEvents = async (
  directory: string,
  ledger: GoldenLedger,
  range: readonly [number, number],
): Promise<void> => {
  await appendLines(directory, eventsOf(ledger, range));
};

export const appendLines = async (directory: string, events: readonly RelayEvent[]): Promise<void> => {
  const lines = events.map((event) => `${jsonLine(event)}\n`);
  await appendFile(join(directory, "events.jsonl"), lines.join(""));
};

/** Ends the file that grows, which has what stands at positions [from, to). */
export const rotateEvents = async (
  directory: string,
  [from, to]: readonly [number, number],
): Promise<void> => {
  const name = `events-000000001-${digits(from)}-${digits(to - 1)}.jsonl`;
  await rename(join(directory, "events.jsonl"), join(directory, name));
  await writeFile(join(directory, "events.jsonl"), "");
};
