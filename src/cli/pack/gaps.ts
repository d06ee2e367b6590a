/** Gaps of an evidence pack, for people. */
import type { PackGap } from "@sigil/core/pack";
import { printable } from "../terminal/terminal.ts";

const shownMax = 50;

const formatGap = (gap: PackGap): string => {
  switch (gap.kind) {
    case "restoration":
      return `restored from a backup at position ${gap.position}: what was lost there is not counted`;
    case "numbers":
      return `${gap.caller}: numbers ${gap.from} to ${gap.to} are not in the pack`;
    case "open":
      return `${gap.caller}: nothing is claimed after its newest`;
    case "unnumbered":
      return `${gap.caller}: ${gap.decisions} decisions without numbers (record version 1)`;
    case "anonymous":
      return `anonymous callers: ${gap.decisions} decisions, which have no numbers`;
    case "damaged":
      return `damaged at position ${gap.position}: the server could not prove the record`;
  }
};

/** A line each; of many the first. */
export const formatGaps = (gaps: readonly PackGap[]): string =>
  [
    "Gaps:",
    ...gaps.slice(0, shownMax).map((gap) => `  ${printable(formatGap(gap))}`),
    ...(gaps.length > shownMax ? [`  and ${gaps.length - shownMax} more; the manifest has them all`] : []),
  ].join("\n");
