/**
 * Rate limits log lines that callers can cause: one token bucket per reason; suppressed lines are counted and
 * summarized in one line later. Reasons consist of the program's own words (message, kind, code), never of a caller's
 * text.
 */
import { logLinesBurst, logLinesPerSecond, logReasonsMax } from "../limits.ts";

/** The logger methods that are limited. */
type Lines = {
  readonly isLevelEnabled: (level: string) => boolean;
  readonly debug: (fields: object, message: string) => void;
  readonly info: (fields: object, message: string) => void;
  readonly warn: (fields: object, message: string) => void;
  readonly error: (fields: object, message: string) => void;
};

type Level = "info" | "warn" | "error";

type Bucket = {
  lines: number;
  atMs: number;
  passedOver: number;
  readonly level: Level;
  readonly reason: object;
  readonly message: string;
};

/** Fields with a closed set of values. */
const reasonFields = ["code", "kind", "reason", "library", "type"] as const;

const reasonOf = (fields: object): object =>
  Object.fromEntries(
    Object.entries(fields).filter(
      ([name, value]) => reasonFields.some((known) => known === name) && typeof value === "string",
    ),
  );

const summaryMs = 10_000;

/** Schedules the summary of suppressed lines; does not keep the process alive. */
const tellLater = (tell: () => void): void => void setTimeout(tell, summaryMs).unref();

/** @param monotonicMs clock of the buckets. */
export const limitLines = (log: Lines, monotonicMs: () => number, later = tellLater): Lines => {
  const buckets = new Map<string, Bucket>();
  let willTell = false;

  const tell = (bucket: Bucket): void => {
    const { passedOver, level, reason, message } = bucket;
    bucket.passedOver = 0;
    log[level]({ ...reason, lines: passedOver }, `more of: ${message}`);
  };
  const tellAll = (): void => {
    willTell = false;
    for (const bucket of buckets.values()) if (bucket.passedOver > 0) tell(bucket);
  };
  const bucketFor = (level: Level, fields: object, message: string): Bucket => {
    const reason = reasonOf(fields);
    const known = JSON.stringify([level, message, reason]);
    const key = buckets.has(known) || buckets.size < logReasonsMax ? known : level;
    let bucket = buckets.get(key);
    if (bucket === undefined) {
      const shown = key === known ? { reason, message } : { reason: {}, message: "other lines" };
      bucket = { lines: logLinesBurst, atMs: monotonicMs(), passedOver: 0, level, ...shown };
      buckets.set(key, bucket);
    }
    return bucket;
  };
  const limited =
    (level: Level) =>
    (fields: object, message: string): void => {
      if (!log.isLevelEnabled(level)) return;
      const bucket = bucketFor(level, fields, message);
      const nowMs = monotonicMs();
      const earned = ((nowMs - bucket.atMs) / 1000) * logLinesPerSecond;
      bucket.lines = Math.min(logLinesBurst, bucket.lines + Math.max(0, earned));
      bucket.atMs = nowMs;
      if (bucket.lines < 1) {
        bucket.passedOver += 1;
        if (!willTell) later(tellAll);
        willTell = true;
        return;
      }
      bucket.lines -= 1;
      log[level](fields, message);
    };
  return {
    isLevelEnabled: (level) => log.isLevelEnabled(level),
    debug: (fields, message) => log.debug(fields, message),
    info: limited("info"),
    warn: limited("warn"),
    error: limited("error"),
  };
};
