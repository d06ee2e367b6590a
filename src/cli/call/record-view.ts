/** Formats records of Canon for a terminal, and the flags that select them. */
import { recordMeant } from "./principal-record.ts";
import { Space, type RecordFilter, type VersionedRecord } from "@sigil/client";
import { fromHex, toHex } from "@sigil/core/bytes";
import { usage, type Arguments, type Flags } from "../terminal/command.ts";
import { tenantFlag, timeOf, timeText } from "./listing.ts";
import { formatPairs, formatTable, type Cell, type Terminal } from "../terminal/terminal.ts";

const hashBytes = 32;
/** Enough to distinguish the records of a listing. */
const shortHashCharacters = 12;

export const spaceFlags = {
  system: { about: "Look in the system space, which changes by quorum alone." },
  ...tenantFlag,
} as const satisfies Flags;

/** The tenant, space and id given by the flags. */
export const nameOf = (given: Arguments) => ({
  id: recordMeant(given.words[0] ?? "").id,
  ...placeOf(given),
});

const placeOf = (given: Arguments) => ({
  space: given.has("system") ? Space.SPACE_SYSTEM : Space.SPACE_USER,
  tenant: given.text("tenant") ?? "",
});

/** @param what names the hash in error messages. @throws usage. */
export const parseRecordHash = (text: string, what: string): Uint8Array => {
  const isHash = text.length === 2 * hashBytes && /^[0-9a-f]*$/i.test(text);
  return isHash ? fromHex(text) : usage(`${what} must be ${2 * hashBytes} hex digits, a record's hash`);
};

export const filterFlags = {
  kind: { value: "KIND", about: "Only records of this kind." },
  prefix: { value: "TEXT", about: "Only ids with this prefix." },
  link: { value: "HASH", about: "Only records that link to this one." },
  from: {
    value: "TIME",
    about: "Only records made at or after it, for example 2026-01-31T12:00:00Z; UTC without a zone.",
  },
  until: { value: "TIME", about: "Only records made before it." },
  ...spaceFlags,
} as const satisfies Flags;

/** Filter flags of `sigil canon watch`, whose --from is a position. */
export const watchFilterFlags = {
  kind: filterFlags.kind,
  prefix: filterFlags.prefix,
  link: filterFlags.link,
  ...spaceFlags,
} as const satisfies Flags;

/** @throws usage. */
export const readWatchFilter = (given: Arguments): Partial<RecordFilter> => {
  const link = given.text("link");
  return {
    ...placeOf(given),
    kind: given.text("kind") ?? "",
    idPrefix: given.text("prefix") ?? "",
    ...(link === undefined ? {} : { linkTarget: parseRecordHash(link, "--link") }),
  };
};

/** @throws usage. */
export const readFilter = (given: Arguments): Partial<RecordFilter> => ({
  ...readWatchFilter(given),
  fromTime: timeOf(given, "from"),
  untilTime: timeOf(given, "until"),
  includeTombstones: given.has("deleted"),
});

const shortHash = (hash: Uint8Array | undefined): string =>
  toHex(hash ?? new Uint8Array(0)).slice(0, shortHashCharacters);

const columns = [
  { title: "ID" },
  { title: "KIND", widthMax: 24 },
  { title: "VERSION", align: "right" },
  { title: "POSITION", align: "right" },
  { title: "TIME" },
  { title: "HASH" },
] as const;

const row = ({ record, version, tombstone }: VersionedRecord, { paint }: Terminal): readonly Cell[] => [
  record?.id ?? "",
  tombstone ? { text: record?.kind ?? "", style: "dim", paint } : (record?.kind ?? ""),
  String(version),
  String(record?.position ?? ""),
  timeText(record?.time),
  shortHash(record?.hash),
];

export const formatRecords = (records: readonly VersionedRecord[], terminal: Terminal): string =>
  formatTable(
    columns,
    records.map((record) => row(record, terminal)),
  );

/** All facts about a record except its payload. */
export const formatRecordFacts = (
  { record, version }: VersionedRecord,
  more: readonly (readonly [string, string | undefined])[] = [],
): string =>
  formatPairs([
    ["id", record?.id],
    ["kind", record?.kind],
    ["version", String(version)],
    ["tenant", record?.tenant],
    ["time", timeText(record?.time)],
    ["position", String(record?.position ?? "–")],
    ["hash", toHex(record?.hash ?? new Uint8Array(0))],
    ...(record?.links ?? []).map(({ label, target }) => ["link", `${label} ${toHex(target)}`] as const),
    ...more,
  ]);
