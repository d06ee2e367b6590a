/**
 * The persisted cursor of a relay: a JSON file, replaced atomically (write, fsync, rename, fsync of the directory).
 * Only a hint: what the destination holds takes precedence. Losing it loses the paused flag and a pending reset.
 */
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import type { Cursor } from "./plan.ts";

const parsePosition = (value: unknown): bigint | undefined =>
  typeof value === "string" && /^\d{1,20}$/.test(value) ? BigInt(value) : undefined;

/** None in a file of one lane. @returns undefined if malformed. */
const parseLanes = (value: unknown): Cursor["lanes"] | undefined => {
  if (value === undefined) return new Map();
  if (typeof value !== "object" || value === null) return undefined;
  const lanes = new Map<string, bigint>();
  for (const [name, text] of Object.entries(value)) {
    const position = parsePosition(text);
    if (position === undefined) return undefined;
    lanes.set(name, position);
  }
  return lanes;
};

const parseCursor = (text: string): Cursor | undefined => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Readonly<Record<string, unknown>>;
  const [from, next, prev] = [fields["from"], fields["next"], fields["prev"]].map(parsePosition);
  const lanes = parseLanes(fields["lanes"]);
  const generation = Number(fields["generation"]);
  const isFromKnown = fields["from"] !== null;
  if (
    (isFromKnown && from === undefined) ||
    next === undefined ||
    lanes === undefined ||
    !Number.isSafeInteger(generation) ||
    generation < 1
  )
    return undefined;
  return { generation, from, next, prev, lanes, isPaused: fields["paused"] === true };
};

const textOf = (position: bigint | undefined): string | null =>
  position === undefined ? null : String(position);

/** `lanes` is there only for destinations with several. */
const formatCursor = ({ generation, from, next, prev, lanes, isPaused }: Cursor): string => {
  const named = Object.fromEntries([...lanes].map(([name, position]) => [name, String(position)]));
  const fields = { generation, from: textOf(from), next: String(next), prev: textOf(prev), paused: isPaused };
  return `${JSON.stringify(lanes.size === 0 ? fields : { ...fields, lanes: named })}\n`;
};

export const isMissing = (error: unknown): boolean =>
  error instanceof Error && "code" in error && error.code === "ENOENT";

/** @returns undefined if the file is missing or malformed. */
export const readCursor = async (path: string): Promise<Cursor | undefined> => {
  try {
    return parseCursor(await readFile(path, "utf8"));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
};

export const writeCursor = (path: string, cursor: Cursor): Promise<void> =>
  replaceFile(path, formatCursor(cursor));

/** Mode 0600. Durable when it resolves; a crash before that leaves the old file. */
export const replaceFile = async (path: string, text: string): Promise<void> => {
  const directory = dirname(path);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const unfinished = `${path}.unfinished`;
  const file = await open(unfinished, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(unfinished, path);
  await syncDirectory(directory);
};

export const syncDirectory = async (path: string): Promise<void> => {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
};
