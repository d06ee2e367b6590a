/**
 * `manifest.json` of a backup directory: its segments, and the newest complete state. Replaced atomically after each,
 * canonical, and protected by its own SHA-256 against corruption. Source: docs/spec/backup.md §2.
 */
import { createHash } from "node:crypto";
import { fromHex, parseHash, toHex } from "@sigil/core/bytes";
import { fail, SigilFault } from "../../errors.ts";
import {
  parseCheckpoint,
  type Checkpoint,
  parseNote,
  peaksOf,
  restoreFrontier,
  rootOf,
  type Frontier,
} from "@sigil/core/merkle";
import { isBackedUpPath } from "./frames.ts";

export const backupFormat = 1;

export type FileEntry = { readonly path: string; readonly bytes: number; readonly sha256: string };

/** Group entries and records from one checkpoint to another. */
export type SegmentEntry = {
  readonly from: bigint;
  readonly to: bigint;
  readonly bytes: number;
  readonly sha256: string;
  /** The signed note of size `to`, and the tree's peaks there, in hex, from which the next segment is checked. */
  readonly checkpoint: string;
  readonly peaks: readonly string[];
};

/** The mutable state at the end of a backup. */
export type StateEntry = {
  readonly serial: number;
  readonly size: bigint;
  readonly checkpoint: string;
  readonly takenMs: number;
  readonly files: readonly FileEntry[];
};

export type Manifest = {
  readonly format: number;
  /** Id of the backup directory, named in a restored ledger. */
  readonly id: string;
  readonly origin: string;
  readonly genesis: string;
  /** From position 0 on, without gaps. */
  readonly segments: readonly SegmentEntry[];
  /** Null until the first backup is complete. */
  readonly state: StateEntry | null;
};

export const segmentPath = ({ from, to }: Pick<SegmentEntry, "from" | "to">): string =>
  `segments/${from}-${to}.seg`;
export const stateDirectory = (serial: number): string => `state-${serial}`;
/**
 * Files of a state besides the deployment's: seal counts and idempotency entries; and, on request, the key-encryption
 * key.
 */
export const bookkeepingName = "bookkeeping.seg";
export const kekName = "kek";

/** Number of records in the segments. */
export const sizeOfSegments = ({ segments }: Manifest): bigint => segments.at(-1)?.to ?? 0n;

const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex");

const textOf = (manifest: Manifest, sha256?: string): string =>
  JSON.stringify(
    { ...manifest, ...(sha256 === undefined ? {} : { sha256 }) },
    (_name, value: unknown) => (typeof value === "bigint" ? String(value) : value),
    2,
  );

/** Ends with the SHA-256 over the text without it. */
export const formatManifest = (manifest: Manifest): string =>
  `${textOf(manifest, digestOf(textOf(manifest)))}\n`;

/** The backup's name in a restored ledger: id, state number, and digest of the manifest. */
export const nameBackup = (manifest: Manifest): string =>
  `${manifest.id}/${manifest.state?.serial ?? 0} sha256:${digestOf(textOf(manifest))}`;

type Json = Readonly<Record<string, unknown>>;

class Refused extends Error {}
const must = (holds: boolean, rule: string): void => {
  if (!holds) throw new Refused(rule);
};

const object = (value: unknown, name: string): Json => {
  must(typeof value === "object" && value !== null && !Array.isArray(value), `${name} must be an object`);
  return value as Json;
};
const list = (value: unknown, name: string): readonly unknown[] => {
  must(Array.isArray(value), `${name} must be a list`);
  return value as readonly unknown[];
};
const text = (value: unknown, name: string, pattern = /^[^]{1,600000}$/): string => {
  must(typeof value === "string" && pattern.test(value), `${name} is malformed`);
  return value as string;
};
const count = (value: unknown, name: string): number => {
  must(Number.isSafeInteger(value) && (value as number) >= 0, `${name} must be a whole number`);
  return value as number;
};
const size = (value: unknown, name: string): bigint => BigInt(text(value, name, /^(?:0|[1-9][0-9]{0,18})$/));
const hex32 = (value: unknown, name: string): string => text(value, name, /^[0-9a-f]{64}$/);

const parseFile = (value: unknown): FileEntry => {
  const { path, bytes, sha256 } = object(value, "files");
  const name = text(path, "files.path");
  must(
    isBackedUpPath(name) || name === bookkeepingName || name === kekName,
    "a file lies outside the backup",
  );
  return { path: name, bytes: count(bytes, "files.bytes"), sha256: hex32(sha256, "files.sha256") };
};

const parseSegment = (value: unknown): SegmentEntry => {
  const given = object(value, "segments");
  return {
    from: size(given["from"], "segments.from"),
    to: size(given["to"], "segments.to"),
    bytes: count(given["bytes"], "segments.bytes"),
    sha256: hex32(given["sha256"], "segments.sha256"),
    checkpoint: text(given["checkpoint"], "segments.checkpoint"),
    peaks: list(given["peaks"], "segments.peaks").map((peak) => hex32(peak, "segments.peaks")),
  };
};

const parseState = (value: unknown): StateEntry | null => {
  if (value === null) return null;
  const given = object(value, "state");
  return {
    serial: count(given["serial"], "state.serial"),
    size: size(given["size"], "state.size"),
    checkpoint: text(given["checkpoint"], "state.checkpoint"),
    takenMs: count(given["takenMs"], "state.takenMs"),
    files: list(given["files"], "state.files").map(parseFile),
  };
};

const parseFields = (given: Json): Manifest => {
  const format = count(given["format"], "format");
  if (format > backupFormat) fail({ kind: "newerFormat", found: format, known: backupFormat });
  return {
    format,
    id: text(given["id"], "id", /^[0-9a-f-]{36}$/),
    origin: text(given["origin"], "origin"),
    genesis: hex32(given["genesis"], "genesis"),
    segments: list(given["segments"], "segments").map(parseSegment),
    state: parseState(given["state"]),
  };
};

/** The checkpoint in a segment's note, and the tree at its end. */
export const frontierOf = (
  segment: SegmentEntry,
): { readonly checkpoint: Checkpoint; readonly frontier: Frontier } => {
  const checkpoint = parseCheckpoint(parseNote(segment.checkpoint).text);
  must(segment.peaks.length === peaksOf(segment.to).length, "a segment has too many peaks or too few");
  const frontier = restoreFrontier(
    segment.to,
    segment.peaks.map((peak) => parseHash(fromHex(peak))),
  );
  return { checkpoint, frontier };
};

const checkOrder = ({ origin, segments, state }: Manifest): void => {
  let end = 0n;
  for (const segment of segments) {
    must(segment.from === end && segment.to > end, "the segments do not follow each other");
    const { checkpoint, frontier } = frontierOf(segment);
    must(checkpoint.origin === origin, "a checkpoint names another origin");
    must(checkpoint.size === segment.to, "a segment does not end at its checkpoint");
    must(toHex(rootOf(frontier)) === toHex(checkpoint.root), "a segment's peaks do not give its root");
    end = segment.to;
  }
  if (state === null) return;
  const last = segments.find(({ to }) => to === state.size);
  must(last?.checkpoint === state.checkpoint, "the state does not stand at the end of a segment");
};

/** @param path for the error. @throws backupRefused, newerFormat. */
export const parseManifest = (content: string, path: string): Manifest => {
  const refuse = (rule: string, cause?: unknown): never =>
    fail({ kind: "backupRefused", backup: path, rule }, { cause });
  try {
    const manifest = parseFields(object(JSON.parse(content), "it"));
    must(formatManifest(manifest) === content, "it is not as it was written");
    checkOrder(manifest);
    return manifest;
  } catch (error) {
    if (error instanceof Refused) return refuse(error.message);
    if (error instanceof SyntaxError) return refuse("it is not JSON");
    if (!(error instanceof SigilFault) || error.error.kind === "newerFormat") throw error;
    return refuse("a checkpoint is malformed", error);
  }
};
