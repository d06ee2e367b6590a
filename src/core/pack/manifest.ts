/**
 * The manifest of an evidence pack: what it is of, the checkpoint that everything in it is proved by, its gaps, and
 * the digest of every file. Pure; what is parsed is not verified. Source: docs/spec/pack.md §2. At most
 * `packManifestBytesMax` bytes.
 */
import { fromHex, parseHash, toHex, type Hash } from "../bytes.ts";
import { invalidField } from "../errors.ts";
import { packGapsMax } from "../limits.ts";
import { parseCheckpoint, type Checkpoint } from "../merkle/checkpoint.ts";
import { parseNote } from "../merkle/note.ts";
import { parseJson, readCount, readMap, readPosition, readText, requireSame } from "./lines.ts";
import { formatTime, parseTime } from "./time.ts";

export const manifestName = "manifest.json";
const neededNames = ["callers.jsonl", "decisions.csv", "decisions.jsonl", "proof", "records.jsonl"] as const;
const controlNames = ["controls.csv", "controls.json"] as const;

/** Files of a pack besides the manifest; those of controls are there both or not at all. */
export const packFileNames = [...neededNames, ...controlNames] as const;
export type PackFileName = (typeof packFileNames)[number];

export type PackFile = { readonly name: PackFileName; readonly bytes: number; readonly sha256: string };

/** What the pack does not show. `numbers` from and to are included. */
export type PackGap =
  /** The ledger was restored from a backup there: what was lost had numbers that were given again. */
  | { readonly kind: "restoration"; readonly position: string }
  /** Numbers of a caller within the span, of which the pack has no decision. */
  | { readonly kind: "numbers"; readonly caller: string; readonly from: number; readonly to: number }
  /** Nothing is claimed after the caller's newest. */
  | { readonly kind: "open"; readonly caller: string }
  /** Decisions of a caller that have no numbers: record version 1. */
  | { readonly kind: "unnumbered"; readonly caller: string; readonly decisions: number }
  /** Decisions of anonymous callers, who have no numbers. */
  | { readonly kind: "anonymous"; readonly decisions: number }
  /** A record that the server could not prove, so that it is not in the pack. The exporter's word. */
  | { readonly kind: "damaged"; readonly position: string };

export type PackManifest = {
  /** The program that wrote it. */
  readonly tool: string;
  readonly origin: string;
  readonly genesis: Hash;
  readonly tenant: string;
  /** Of the times of its decisions: included, or null for the beginning of the ledger. */
  readonly fromMs: number | null;
  /** Excluded. */
  readonly toMs: number;
  /** A signed note with its cosignatures. */
  readonly checkpoint: string;
  readonly counts: { readonly decisions: number; readonly records: number; readonly callers: number };
  readonly gaps: readonly PackGap[];
  readonly files: readonly PackFile[];
};

export type ParsedManifest = PackManifest & { readonly tree: Checkpoint };

const format = "sigil-evidence-pack";
const version = 1;

/** The same content is always the same bytes. */
export const formatManifest = (manifest: PackManifest): string => {
  const { tool, origin, genesis, tenant, fromMs, toMs, checkpoint, counts, gaps, files } = manifest;
  const value = {
    format,
    version,
    tool,
    origin,
    genesis: toHex(genesis),
    tenant,
    from: fromMs === null ? null : formatTime(fromMs),
    to: formatTime(toMs),
    checkpoint,
    counts: { decisions: counts.decisions, records: counts.records, callers: counts.callers },
    gaps,
    files: files.map(({ name, bytes, sha256 }) => ({ name, bytes, sha256 })),
  };
  return `${JSON.stringify(value, null, 2)}\n`;
};

const readTimeMs = (value: unknown, field: string): number => {
  const ms = parseTime(readText(value, field));
  return ms ?? invalidField(field, "must be a time, ISO 8601 in UTC with milliseconds");
};

const readHexHash = (value: unknown, field: string): Hash => {
  const text = readText(value, field);
  return /^[0-9a-f]{64}$/.test(text)
    ? parseHash(fromHex(text))
    : invalidField(field, "must be 64 hexadecimal digits");
};

const readGap = (value: unknown, field: string): PackGap => {
  const map = readMap(value, field);
  const caller = () => readText(map["caller"], `${field}.caller`);
  const count = (name: string) => readCount(map[name], `${field}.${name}`);
  const position = () => String(readPosition(map["position"], `${field}.position`));
  switch (map["kind"]) {
    case "restoration":
    case "damaged":
      return { kind: map["kind"], position: position() };
    case "numbers":
      return { kind: "numbers", caller: caller(), from: count("from"), to: count("to") };
    case "open":
      return { kind: "open", caller: caller() };
    case "unnumbered":
      return { kind: "unnumbered", caller: caller(), decisions: count("decisions") };
    case "anonymous":
      return { kind: "anonymous", decisions: count("decisions") };
    default:
      return invalidField(`${field}.kind`, "must be a kind of gap that this version knows");
  }
};

const readFile = (value: unknown, field: string): PackFile => {
  const map = readMap(value, field);
  const name = packFileNames.find((known) => known === map["name"]);
  return {
    // No other name is ever opened, so none can lead out of the pack.
    name: name ?? invalidField(`${field}.name`, `must be one of ${packFileNames.join(", ")}`),
    bytes: readCount(map["bytes"], `${field}.bytes`),
    sha256: toHex(readHexHash(map["sha256"], `${field}.sha256`)),
  };
};

const readList = <Item>(
  value: unknown,
  field: string,
  itemsMax: number,
  read: (item: unknown, itemField: string) => Item,
): readonly Item[] => {
  if (!Array.isArray(value) || value.length > itemsMax)
    return invalidField(field, `must be a list of at most ${itemsMax}`);
  return value.map((item: unknown, index) => read(item, `${field}[${index}]`));
};

const checkNames = (files: readonly PackFile[]): void => {
  const names = files.map(({ name }) => name);
  const wanted = packFileNames.filter(
    (name) => neededNames.some((needed) => needed === name) || names.includes("controls.json"),
  );
  if (names.join() !== wanted.toSorted().join()) {
    invalidField("files", `must be ${wanted.toSorted().join(", ")}, in this order`);
  }
};

/** Strict: `formatManifest` of the result is the text. @throws invalidField, malformedCheckpoint. */
export const parseManifest = (text: string): ParsedManifest => {
  const map = readMap(parseJson(text, "manifest"), "manifest");
  if (map["format"] !== format) invalidField("format", `must be "${format}"`);
  if (map["version"] !== version) invalidField("version", `must be ${version}`);
  const counts = readMap(map["counts"], "counts");
  const manifest: PackManifest = {
    tool: readText(map["tool"], "tool"),
    origin: readText(map["origin"], "origin"),
    genesis: readHexHash(map["genesis"], "genesis"),
    tenant: readText(map["tenant"], "tenant"),
    fromMs: map["from"] === null ? null : readTimeMs(map["from"], "from"),
    toMs: readTimeMs(map["to"], "to"),
    checkpoint: readText(map["checkpoint"], "checkpoint"),
    counts: {
      decisions: readCount(counts["decisions"], "counts.decisions"),
      records: readCount(counts["records"], "counts.records"),
      callers: readCount(counts["callers"], "counts.callers"),
    },
    gaps: readList(map["gaps"], "gaps", packGapsMax, readGap),
    files: readList(map["files"], "files", packFileNames.length, readFile),
  };
  checkNames(manifest.files);
  requireSame(formatManifest(manifest), text, "manifest");
  return { ...manifest, tree: parseCheckpoint(parseNote(manifest.checkpoint).text) };
};
