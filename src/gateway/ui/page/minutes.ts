/** Decisions by minute and verdict, for the chart and the table beside it. Pure. At most `minutesMax` minutes. */

export const verdicts = ["allow", "review", "deny"] as const;
export type VerdictName = (typeof verdicts)[number];

export type Minute = {
  /** Seconds since 1970, at its beginning. */
  readonly startSeconds: number;
} & Readonly<Record<VerdictName, number>>;

export type Counted = { readonly timeMs: number; readonly verdict: VerdictName };

export const minutesMax = 60;

/** @returns every minute up to the newest decision's, oldest first, empty ones too; none without decisions. */
export const minutesOf = (decisions: readonly Counted[]): readonly Minute[] => {
  const minuteOf = ({ timeMs }: Counted): number => Math.floor(timeMs / 60_000);
  const newest = decisions.reduce((latest, each) => Math.max(latest, minuteOf(each)), -Infinity);
  if (newest === -Infinity) return [];
  const oldest = newest - minutesMax + 1;
  const minutes = Array.from({ length: minutesMax }, (_, at) => ({
    startSeconds: (oldest + at) * 60,
    allow: 0,
    review: 0,
    deny: 0,
  }));
  for (const each of decisions) {
    const minute = minutes[minuteOf(each) - oldest];
    if (minute !== undefined) minute[each.verdict] += 1;
  }
  return minutes;
};
