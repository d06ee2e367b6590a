/** Formats decisions for a terminal. */
import { LevelOfAccess, Verdict, verdictToJSON, type CheckResponse, type Contribution } from "@sigil/client";
import { usage } from "../terminal/command.ts";
import {
  formatPairs,
  formatTable,
  printable,
  type Cell,
  type Column,
  type Terminal,
} from "../terminal/terminal.ts";

/** "ALLOW", "DENY", "REVIEW"; other values by their name. */
export const verdictName = (verdict: Verdict): string => verdictToJSON(verdict).replace("VERDICT_", "");

const levelNames: ReadonlyMap<LevelOfAccess, string> = new Map(
  Object.entries(LevelOfAccess).map(([name, level]) => [level, name.replace("LEVEL_OF_ACCESS_", "")]),
);

const capitalised = (name: string): string => name.slice(0, 1) + name.slice(1).toLowerCase();

export const levelName = (level: LevelOfAccess): string => capitalised(levelNames.get(level) ?? "?");

const verdicts: ReadonlyMap<string, Verdict> = new Map([
  ["allow", Verdict.VERDICT_ALLOW],
  ["deny", Verdict.VERDICT_DENY],
  ["review", Verdict.VERDICT_REVIEW],
]);

/** As people type it. @throws usage. */
export const readVerdictName = (text: string): Verdict =>
  verdicts.get(text.toLowerCase()) ?? usage("--verdict must be allow, deny or review");

export const verdictStyle = (verdict: Verdict): "green" | "yellow" | "red" => {
  if (verdict === Verdict.VERDICT_ALLOW) return "green";
  return verdict === Verdict.VERDICT_REVIEW ? "yellow" : "red";
};

export const verdictCell = (verdict: Verdict, paint: Terminal["paint"]): Cell => ({
  text: verdictName(verdict),
  style: verdictStyle(verdict),
  paint,
});

export const formatScore = (score: number | undefined): string =>
  score === undefined ? "–" : score.toFixed(3);

export const signed = (logits: number): string => `${logits < 0 ? "−" : "+"}${Math.abs(logits).toFixed(2)}`;

/** The subject's name for display. */
export const whoName = (subject: string): string => (subject === "" ? "(anonymous)" : subject);

/** The main reason: the deciding rule, else the feature that moved the score furthest towards the verdict. */
const topReason = ({ reason, verdict, contributions }: CheckResponse): string => {
  if (!reason.startsWith("SCORE_") && reason !== "REVIEW_BAND") return reason;
  const direction = verdict === Verdict.VERDICT_ALLOW ? 1 : -1;
  const strongest = contributions.reduce<Contribution | undefined>(
    (best, each) =>
      best === undefined || each.contribution * direction > best.contribution * direction ? each : best,
    undefined,
  );
  return strongest === undefined ? reason : `${strongest.feature} ${signed(strongest.contribution)}`;
};

export const decisionColumns: readonly Column[] = [
  { title: "WHO", widthMax: 20 },
  { title: "LEVEL" },
  { title: "ACTION", widthMax: 20 },
  { title: "TARGET", widthMax: 34 },
  { title: "VERDICT" },
  { title: "SCORE", align: "right" },
  { title: "TOP REASON", widthMax: 26 },
  { title: "AUDIT ID" },
];

export const decisionRow = (
  asked: { readonly action: string; readonly target: string },
  response: CheckResponse,
  paint: Terminal["paint"],
): readonly Cell[] => [
  whoName(response.subject),
  levelName(response.level),
  asked.action,
  asked.target,
  verdictCell(response.verdict, paint),
  formatScore(response.score),
  topReason(response),
  response.auditId,
];

/** One decision in full. */
export const formatDecision = (
  asked: { readonly action: string; readonly target: string },
  response: CheckResponse,
  paint: Terminal["paint"],
): string => {
  const verdict = paint(verdictStyle(response.verdict), verdictName(response.verdict));
  const score =
    response.score === undefined
      ? undefined
      : `${formatScore(response.score)} (threshold ${response.threshold ?? "?"})`;
  const pairs = formatPairs([
    ["subject", `${whoName(response.subject)}, ${levelName(response.level)}`],
    ["score", score],
    ["reason", response.reason],
    ["audit id", response.auditId],
    ["position", String(response.ledgerPosition)],
    ["replayed", response.replayed ? "yes: the stored answer to an earlier request" : undefined],
  ]);
  const features = formatTable(
    [
      { title: "FEATURE" },
      { title: "VALUE", align: "right" },
      { title: "WEIGHT", align: "right" },
      { title: "LOGITS", align: "right" },
    ],
    response.contributions.map(({ feature, value, weight, contribution }) => [
      feature,
      value.toFixed(3),
      String(weight),
      signed(contribution),
    ]),
  );
  const head = `${verdict}  ${printable(asked.action)} ${printable(asked.target)}`;
  return [head, "", pairs, ...(response.contributions.length === 0 ? [] : ["", features])].join("\n");
};
