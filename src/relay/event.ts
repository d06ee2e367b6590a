/**
 * Maps records to CloudEvents, and events to binary mode (headers and data) and structured mode (one JSON object).
 * Pure. Source: CloudEvents 1.0.2, its JSON format and its NATS binding; attributes and data: docs/spec/event.md.
 */
import { toBase64, toHex, utf8Encode } from "@sigil/core/bytes";
import { cborDecode, cborEncode, jsonView, type CborValue } from "@sigil/core/cbor";
import {
  encodeDisclosed,
  formatDisclosures,
  type Disclosing,
  type FeedItem,
  type RecordBody,
} from "@sigil/core/record";

export const envelopeMediaType = "application/vnd.sigil.envelope.v1+cbor";
export const disclosedMediaType = "application/vnd.sigil.disclosed.v1+cbor";
const jsonMediaType = "application/json";

export type EventOptions = {
  readonly origin: string;
  /** Prefix of event types. */
  readonly typePrefix: string;
  readonly data: "full" | "metadata";
  readonly format: "envelope" | "json";
  /** Needs `full` data. */
  readonly disclosures: Disclosing;
};

/** An event's place in its ordered lane. */
export type Lane = {
  /** From 1; incremented by each reset. */
  readonly generation: number;
  /** Position of the previous message in the lane; undefined for its first of a generation. */
  readonly prev: bigint | undefined;
  /** Absent where a destination has one lane. */
  readonly name?: string | undefined;
};

export type RelayEvent = {
  readonly position: bigint;
  /** Merkle leaf hash in hex. */
  readonly leaf: string;
  /** Context attributes by CloudEvents name. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly data: EventData | undefined;
  /** Undefined for erased records. */
  readonly place: Pick<RecordBody, "tenant" | "space" | "kind"> | undefined;
  /** Name of its lane; undefined where a destination has one. */
  readonly lane: string | undefined;
};

export type EventData = { readonly mediaType: string; readonly bytes: Uint8Array };

const positionDigits = 20;
/** 9999-12-31T23:59:59.999Z, the last instant that RFC 3339 can express. */
const timeMsMax = 253_402_300_799_999;
const traceparentShape = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** Nothing to encode: nearly every name, and several for each record. */
const unreserved = /^[A-Za-z0-9_.~-]*$/;

/** RFC 3986 unreserved characters stay; every other byte of the UTF-8 becomes %XX. Injective. */
export const percentEncode = (text: string): string => (unreserved.test(text) ? text : encodeEvery(text));

const encodeEvery = (text: string): string =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (one) => `%${toHex(utf8Encode(one)).toUpperCase()}`);

const unreservedPath = /^[A-Za-z0-9_.~/-]*$/;

/** Encodes each segment; slashes stay. */
const percentEncodePath = (path: string): string =>
  unreservedPath.test(path) ? path : path.split("/").map(percentEncode).join("/");

const twoDigits = (value: number): string => String(value).padStart(2, "0");

/** RFC 3339 in UTC; undefined beyond the year 9999. Source of the calendar: Howard Hinnant, civil_from_days. */
export const formatTime = (ms: number): string | undefined => {
  if (ms > timeMsMax) return undefined;
  const days = Math.floor(ms / 86_400_000);
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const ofDay = ms - days * 86_400_000;
  const clock = [ofDay / 3_600_000, (ofDay / 60_000) % 60, (ofDay / 1000) % 60]
    .map((value) => twoDigits(Math.floor(value)))
    .join(":");
  const millis = String(ofDay % 1000).padStart(3, "0");
  return `${String(year).padStart(4, "0")}-${twoDigits(month)}-${twoDigits(day)}T${clock}.${millis}Z`;
};

const memberOf = (value: CborValue | undefined, name: string): CborValue | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
    ? (value as Readonly<Record<string, CborValue>>)[name]
    : undefined;

/** W3C trace context of a decision's caller. */
const traceparentOf = ({ kind, payload }: RecordBody): string | undefined => {
  if (kind !== "frozen_chain") return undefined;
  const given = memberOf(memberOf(memberOf(payload, "request"), "metadata"), "traceparent");
  return typeof given === "string" && traceparentShape.test(given) ? given : undefined;
};

type Published = NonNullable<FeedItem["record"]>;

/** Canonical key order: a body from the tail of the feed still has its writer's order. */
const viewOf = (value: CborValue): unknown => jsonView(cborDecode(cborEncode(value)));

/** The JSON view of a body: docs/spec/event.md §4. */
const recordView = (
  { body, hash }: Published,
  data: EventOptions["data"],
  disclosures: Published["disclosures"],
): unknown => ({
  hash: toHex(hash),
  kind: body.kind,
  schema_version: body.schemaVersion,
  id: body.id,
  tenant: body.tenant,
  ts: body.ts,
  space: body.space,
  ...(data === "full" ? { payload: viewOf(body.payload) } : {}),
  links: body.links.map(({ label, target }) => ({ label, target: toHex(target) })),
  prev: body.prev === null ? null : toHex(body.prev),
  ...(disclosures === undefined ? {} : { disclosures: viewOf(formatDisclosures(disclosures)) }),
});

const dataOf = (
  record: Published,
  { data, format, disclosures: disclosing }: EventOptions,
): EventData | undefined => {
  const isDisclosing = disclosing === "included" && data === "full";
  const disclosures = isDisclosing ? record.disclosures : undefined;
  if (format === "json") {
    const view = recordView(record, data, disclosures);
    return { mediaType: jsonMediaType, bytes: utf8Encode(JSON.stringify(view)) };
  }
  if (data === "metadata") return undefined;
  const { envelope } = record;
  return disclosures === undefined
    ? { mediaType: envelopeMediaType, bytes: envelope }
    : { mediaType: disclosedMediaType, bytes: encodeDisclosed(envelope, disclosures) };
};

/** `tenant/space/id`, percent-encoded between slashes: one text for each record id. */
export const subjectOfRecord = ({ tenant, space, id }: RecordBody): string =>
  `${percentEncode(tenant)}/${space}/${percentEncodePath(id)}`;

const recordAttributes = (
  body: RecordBody,
  hash: Uint8Array,
  typePrefix: string,
): Readonly<Record<string, string>> => {
  const time = formatTime(body.ts);
  const traceparent = traceparentOf(body);
  return {
    id: toHex(hash),
    type: `${typePrefix}.record.${percentEncode(body.kind)}.v${body.schemaVersion}`,
    subject: subjectOfRecord(body),
    ...(time === undefined ? {} : { time }),
    ...(traceparent === undefined ? {} : { traceparent }),
  };
};

const erasedType = (typePrefix: string): string => `${typePrefix}.erased.v1`;

/** An erased record has its leaf as id: its hash is gone. */
export const eventOf = (
  item: FeedItem,
  options: EventOptions,
  { generation, prev, name }: Lane,
): RelayEvent => {
  const { position, record } = item;
  const leaf = toHex(item.leaf);
  const digits = String(position);
  const own =
    record === undefined
      ? { id: leaf, type: erasedType(options.typePrefix) }
      : recordAttributes(record.body, record.hash, options.typePrefix);
  const data = record === undefined ? undefined : dataOf(record, options);
  return {
    position,
    leaf,
    attributes: {
      specversion: "1.0",
      source: percentEncodePath(options.origin),
      ...own,
      sequence: digits.padStart(positionDigits, "0"),
      sigilposition: digits,
      ...(prev === undefined ? {} : { sigilprev: String(prev) }),
      sigilleaf: leaf,
      sigilgeneration: String(generation),
      ...(data === undefined ? {} : { datacontenttype: data.mediaType }),
    },
    data,
    place: record?.body,
    lane: name,
  };
};

/** Of the last event of a batch. Base64, since a header holds no newlines. */
export const checkpointAttribute = (note: string): Readonly<Record<string, string>> => ({
  sigilcheckpoint: toBase64(utf8Encode(note)),
});

const keptOfErased = [
  "sequence",
  "sigilposition",
  "sigilprev",
  "sigilleaf",
  "sigilgeneration",
  "sigilcheckpoint",
] as const;

/** Whether a published event is of a tenant and has more than an erased one: read from its `subject`. */
export const isOfTenant = ({ subject }: Readonly<Record<string, unknown>>, tenant: string): boolean =>
  typeof subject === "string" && subject.startsWith(`${percentEncode(tenant)}/`);

/** What is left of a published event once its record is erased: what `eventOf` makes of it then, in its old place. */
export const erasedAttributes = (
  published: Readonly<Record<string, unknown>>,
  typePrefix: string,
): Readonly<Record<string, string>> => {
  const kept = keptOfErased.flatMap((name) => {
    const value = published[name];
    return typeof value === "string" ? [[name, value] as const] : [];
  });
  return {
    specversion: "1.0",
    source: String(published["source"]),
    id: String(published["sigilleaf"]),
    type: erasedType(typePrefix),
    ...Object.fromEntries(kept),
  };
};

/** Replaces the data by a `dataref`, for events larger than a message may be. */
export const byReference = (event: RelayEvent): RelayEvent => {
  const { datacontenttype: _, ...attributes } = event.attributes;
  const dataref = `sigil://${attributes["source"] ?? ""}/records/${attributes["id"] ?? ""}`;
  return { ...event, attributes: { ...attributes, dataref }, data: undefined };
};

const plainHeader = /^[!#$&-~]*$/;

/** Percent-encodes what the header bindings require: space, quote, percent, and all but printable ASCII. */
const headerValue = (text: string): string => (plainHeader.test(text) ? text : encodeHeader(text));

const encodeHeader = (text: string): string =>
  text.replaceAll(/[^!#$&-~]+/gu, (run) =>
    [...utf8Encode(run)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );

/** Headers of binary mode: `ce-` names, printable ASCII values. */
export const headersOf = ({
  attributes,
}: Pick<RelayEvent, "attributes">): readonly (readonly [string, string])[] =>
  Object.entries(attributes).map(([name, value]) => [`ce-${name}`, headerValue(value)] as const);

/** What `headersOf` gives, with separators, without making it: every event is measured. */
export const headerBytesOf = ({ attributes }: Pick<RelayEvent, "attributes">): number => {
  let bytes = 0;
  for (const name of Object.keys(attributes))
    bytes += "ce-: \r\n".length + name.length + headerValue(attributes[name] ?? "").length;
  return bytes;
};

/** Structured mode as one line without newline; JSON data inline, other data in base64. */
export const jsonLine = ({ attributes, data }: RelayEvent): string => {
  const members = JSON.stringify(attributes);
  if (data === undefined) return members;
  const value =
    data.mediaType === jsonMediaType
      ? `"data":${new TextDecoder().decode(data.bytes)}`
      : `"data_base64":"${toBase64(data.bytes)}"`;
  return `${members.slice(0, -1)},${value}}`;
};

export type ReadEvent = { readonly position: bigint; readonly leaf: string; readonly generation: number };

/** Parses the attributes of a published message. @returns undefined if no relay wrote it. */
export const readEvent = (attributes: Readonly<Record<string, unknown>>): ReadEvent | undefined => {
  const { sigilposition, sigilleaf, sigilgeneration } = attributes;
  const isOurs =
    typeof sigilposition === "string" &&
    /^\d{1,20}$/.test(sigilposition) &&
    typeof sigilleaf === "string" &&
    /^[0-9a-f]{64}$/.test(sigilleaf) &&
    typeof sigilgeneration === "string" &&
    /^[1-9]\d{0,8}$/.test(sigilgeneration);
  if (!isOurs) return undefined;
  return { position: BigInt(sigilposition), leaf: sigilleaf, generation: Number(sigilgeneration) };
};
