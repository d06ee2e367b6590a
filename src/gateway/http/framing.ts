/**
 * How a stream of answers is written, line by line: `{"result":…}` for each, then `{"end":{}}`, or `{"error":…}` with a
 * problem. One that ends without such a line is broken. Pure. Source: github.com/ndjson/ndjson-spec; HTML, "Server-sent
 * events".
 */

export type Framing = {
  readonly contentType: string;
  /** @param json on one line. @param id position to resume after; undefined if the stream cannot be resumed there. */
  readonly line: (member: "result" | "error" | "end", json: string, id?: string) => string;
};

const memberOf = (member: string, json: string): string => `{"${member}":${json}}`;

const lines: Framing = {
  contentType: "application/x-ndjson",
  line: (member, json) => `${memberOf(member, json)}\n`,
};

const events: Framing = {
  contentType: "text/event-stream",
  line: (member, json, id) => `${id === undefined ? "" : `id: ${id}\n`}data: ${memberOf(member, json)}\n\n`,
};

const BY_TYPE: Readonly<Record<string, Framing>> = {
  "application/x-ndjson": lines,
  "text/event-stream": events,
  "application/*": lines,
  "text/*": events,
  "*/*": lines,
};

/**
 * The first that the caller names; lines where it names none. @returns undefined when it takes something else alone.
 */
export const framingFor = (accept: readonly string[]): Framing | undefined => {
  const types = accept.flatMap((value) => value.split(",")).map((each) => each.split(";", 1)[0] ?? "");
  const named = types.map((type) => type.trim().toLowerCase()).filter((type) => type !== "");
  if (named.length === 0) return lines;
  return named.flatMap((type) => (Object.hasOwn(BY_TYPE, type) ? (BY_TYPE[type] ?? []) : []))[0];
};
