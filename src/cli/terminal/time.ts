/**
 * Times that are typed: in UTC unless they say another zone, as everything is that is printed. Whatever the machine's
 * zone.
 */

const day = String.raw`(\d{4}-\d\d-\d\d)`;
const clock = String.raw`(\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)`;
const zone = String.raw`(Z|[+-]\d\d:?\d\d)`;
const shape = new RegExp(`^${day}(?:[T ]${clock}${zone}?)?$`, "i");

/** What is asked of a flag that takes a time. */
export const timeRule = "a time such as 2026-01-31T12:00:00Z; without a zone it is UTC";

/**
 * A day, or a day and a time of it with a zone or without. Milliseconds are the finest.
 * @returns undefined for anything else, a 31st of February too.
 */
export const parseTime = (text: string): Date | undefined => {
  const [, date, time = "00:00", offset = "Z"] = shape.exec(text) ?? [];
  if (date === undefined) return undefined;
  // Where there is no such day the platform's parser takes one of the month after.
  const midnight = new Date(`${date}T00:00:00Z`);
  if (Number.isNaN(midnight.getTime()) || !midnight.toISOString().startsWith(date)) return undefined;
  const colon = offset.toUpperCase().replace(/(\d\d)(\d\d)$/, "$1:$2");
  const parsed = new Date(`${date}T${time}${colon}`);
  return Number.isNaN(parsed.getTime()) ? undefined : parsed;
};
