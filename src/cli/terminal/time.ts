/** Parses typed times: UTC unless another zone is given, regardless of the machine's zone. */

const day = String.raw`(\d{4}-\d\d-\d\d)`;
const clock = String.raw`(\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)`;
const zone = String.raw`(Z|[+-]\d\d:?\d\d)`;
const shape = new RegExp(`^${day}(?:[T ]${clock}${zone}?)?$`, "i");

/** The rule for flags that take a time. */
export const timeRule = "a time such as 2026-01-31T12:00:00Z; without a zone it is UTC";

/**
 * Parses a date, or a date and time with optional zone, up to milliseconds.
 * @returns undefined for anything else, including invalid dates such as February 31.
 */
export const parseTime = (text: string): Date | undefined => {
  const [, date, time = "00:00", offset = "Z"] = shape.exec(text) ?? [];
  if (date === undefined) return undefined;
  // The platform's parser would roll an invalid day over into the next month.
  const midnight = new Date(`${date}T00:00:00Z`);
  if (Number.isNaN(midnight.getTime()) || !midnight.toISOString().startsWith(date)) return undefined;
  const colon = offset.toUpperCase().replace(/(\d\d)(\d\d)$/, "$1:$2");
  const parsed = new Date(`${date}T${time}${colon}`);
  return Number.isNaN(parsed.getTime()) ? undefined : parsed;
};
