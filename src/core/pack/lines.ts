/**
 * Lines of a pack's files: decisions, other records, and callers. Pure. One spelling for each: a line that is not what
 * its own content makes is refused. Source: docs/spec/pack.md §3 to §5. At most `packLineBytesMax` bytes.
 */
import { utf8Decode } from "../bytes.ts";
import { invalidField } from "../errors.ts";
import { packLineBytesMax, treeSizeMax } from "../limits.ts";
import type { Columns } from "./columns.ts";

/** A record as a line holds it; base64. */
export type RecordLine = { readonly position: bigint; readonly envelope: string };

export type DecisionLine = RecordLine & {
  /** Canonical CBOR, base64; absent where nothing is disclosed. */
  readonly disclosures: string | undefined;
};

export type Place = { readonly position: bigint; readonly number: number };

/** How a span ends for a caller: docs/spec/completeness.md §1. */
export const callerEnds = ["decision", "head", "newest"] as const;
export type CallerEnd = (typeof callerEnds)[number];

/** What is claimed of a caller: its numbers around the span, and how many lie within. */
export type CallerLine = {
  readonly caller: string;
  /** Null if numbers begin at 1. */
  readonly before: Place | null;
  readonly after: Place;
  readonly end: CallerEnd;
  readonly decisions: number;
};

type Json = Readonly<Record<string, unknown>>;

const decimal = /^(?:0|[1-9]\d{0,19})$/;

export const readPosition = (value: unknown, field: string): bigint => {
  const position = typeof value === "string" && decimal.test(value) ? BigInt(value) : treeSizeMax;
  return position < treeSizeMax ? position : invalidField(field, "must be a position, as a decimal string");
};

export const readText = (value: unknown, field: string): string =>
  typeof value === "string" ? value : invalidField(field, "must be a text");

export const readCount = (value: unknown, field: string): number =>
  Number.isSafeInteger(value) && (value as number) >= 0
    ? (value as number)
    : invalidField(field, "must be a whole number");

export const readMap = (value: unknown, field: string): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Json)
    : invalidField(field, "must be an object");

/** @throws invalidField. */
export const parseJson = (text: string, field: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return invalidField(field, "must be JSON");
  }
};

/**
 * @throws invalidField: other spellings of the same, and what nobody reads, have no place in a file that is compared.
 */
export const requireSame = (made: string, text: string, field: string): void => {
  if (made !== text) invalidField(field, "must be written as its own content is, with nothing besides");
};

const lineMap = (line: string): Json => readMap(parseJson(line, "line"), "line");

export const formatRecordLine = ({ position, envelope }: RecordLine): string =>
  JSON.stringify({ position: String(position), envelope });

/** @throws invalidField. */
export const parseRecordLine = (line: string): RecordLine => {
  const map = lineMap(line);
  const record = {
    position: readPosition(map["position"], "position"),
    envelope: readText(map["envelope"], "envelope"),
  };
  requireSame(formatRecordLine(record), line, "line");
  return record;
};

export const formatDecisionLine = (
  { position, envelope, disclosures }: DecisionLine,
  decision: Columns,
): string => JSON.stringify({ position: String(position), envelope, disclosures, decision });

/** Whether the line is what `formatDecisionLine` makes is up to whoever has read the record. @throws invalidField. */
export const parseDecisionLine = (line: string): DecisionLine => {
  const map = lineMap(line);
  const { disclosures } = map;
  return {
    position: readPosition(map["position"], "position"),
    envelope: readText(map["envelope"], "envelope"),
    disclosures: disclosures === undefined ? undefined : readText(disclosures, "disclosures"),
  };
};

const placeJson = ({ position, number }: Place): Json => ({ position: String(position), number });

const readPlace = (value: unknown, field: string): Place => {
  const map = readMap(value, field);
  return {
    position: readPosition(map["position"], `${field}.position`),
    number: readCount(map["number"], `${field}.number`),
  };
};

export const formatCallerLine = ({ caller, before, after, end, decisions }: CallerLine): string =>
  JSON.stringify({
    caller,
    before: before === null ? null : placeJson(before),
    after: placeJson(after),
    end,
    decisions,
  });

/** @throws invalidField. */
export const parseCallerLine = (line: string): CallerLine => {
  const map = lineMap(line);
  const end = callerEnds.find((name) => name === map["end"]);
  const caller: CallerLine = {
    caller: readText(map["caller"], "caller"),
    before: map["before"] === null ? null : readPlace(map["before"], "before"),
    after: readPlace(map["after"], "after"),
    end: end ?? invalidField("end", `must be one of ${callerEnds.join(", ")}`),
    decisions: readCount(map["decisions"], "decisions"),
  };
  requireSame(formatCallerLine(caller), line, "line");
  return caller;
};

const newline = 0x0a;

const decodeLine = (parts: readonly Uint8Array[], bytes: number): string => {
  const line = new Uint8Array(bytes);
  let offset = 0;
  for (const part of parts) {
    line.set(part, offset);
    offset += part.length;
  }
  try {
    return utf8Decode(line);
  } catch {
    return invalidField("line", "must be UTF-8");
  }
};

/**
 * Lines of a file, without their ends. @throws invalidField for a line of more than `packLineBytesMax` bytes, before
 * it is read whole, and for a file that ends within one.
 */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    let from = 0;
    for (let to = chunk.indexOf(newline); ; to = chunk.indexOf(newline, from)) {
      const part = chunk.subarray(from, to < 0 ? chunk.length : to);
      parts.push(part);
      bytes += part.length;
      if (bytes > packLineBytesMax) invalidField("line", `must be at most ${packLineBytesMax} bytes`);
      if (to < 0) break;
      yield decodeLine(parts, bytes);
      [parts, bytes, from] = [[], 0, to + 1];
    }
  }
  if (bytes > 0) invalidField("line", "must end with a line feed: the file was cut off");
}
