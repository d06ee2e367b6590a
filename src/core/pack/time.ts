/**
 * Times as people read them, ISO 8601 in UTC to the millisecond. Pure: a calendar and no clock. Years 1970 to 9999.
 */
import { invalidField } from "../errors.ts";

const dayMs = 86_400_000;
const timeMsMax = 253_402_300_799_999;

const isLeap = (year: number): boolean => year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);

/** Days from 1970-01-01 to January 1 of the year. */
const daysBefore = (year: number): number => {
  const past = year - 1;
  const leaps = Math.floor(past / 4) - Math.floor(past / 100) + Math.floor(past / 400);
  return (year - 1970) * 365 + leaps - 477;
};

const monthLengths = (year: number): readonly number[] => [
  31,
  isLeap(year) ? 29 : 28,
  31,
  30,
  31,
  30,
  31,
  31,
  30,
  31,
  30,
  31,
];

const padded = (number: number, digits: number): string => String(number).padStart(digits, "0");

/** @throws invalidField past the year 9999. */
export const formatTime = (timeMs: number): string => {
  if (!Number.isInteger(timeMs) || timeMs < 0 || timeMs > timeMsMax)
    return invalidField("time", "must be within the years 1970 to 9999");
  let days = Math.floor(timeMs / dayMs);
  let year = 1970 + Math.floor(days / 365.2425);
  // The mean length of a year may miss by one around its end.
  while (daysBefore(year) > days) year -= 1;
  while (daysBefore(year + 1) <= days) year += 1;
  days -= daysBefore(year);
  let month = 1;
  for (const length of monthLengths(year)) {
    if (days < length) break;
    days -= length;
    month += 1;
  }
  const ms = timeMs % dayMs;
  const clock = [Math.floor(ms / 3_600_000), Math.floor(ms / 60_000) % 60, Math.floor(ms / 1000) % 60];
  const date = `${padded(year, 4)}-${padded(month, 2)}-${padded(days + 1, 2)}`;
  return `${date}T${clock.map((part) => padded(part, 2)).join(":")}.${padded(ms % 1000, 3)}Z`;
};

const shape = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{3})Z$/;

/** Strict: `formatTime` of the result is the text. Undefined for anything else. */
export const parseTime = (text: string): number | undefined => {
  const [year = -1, month = 0, day = 0, hours = 0, minutes = 0, seconds = 0, ms = 0] = (
    shape.exec(text) ?? []
  )
    .slice(1)
    .map(Number);
  if (year < 1970) return undefined;
  const monthDays = monthLengths(year)
    .slice(0, month - 1)
    .reduce((sum, length) => sum + length, 0);
  const days = daysBefore(year) + monthDays + day - 1;
  const timeMs = days * dayMs + hours * 3_600_000 + minutes * 60_000 + seconds * 1000 + ms;
  return timeMs >= 0 && timeMs <= timeMsMax && formatTime(timeMs) === text ? timeMs : undefined;
};
