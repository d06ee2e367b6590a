/**
 * Likely mistakes in a valid model, and the effect of a full rate window on each action. Warnings only. Pure. Source:
 * docs/spec/trust.md §11. By default at most `lintMatchesMax` glob matches.
 */
import { type Level, levelFraction } from "@sigil/core/record";
import type { CborValue } from "@sigil/core/cbor";
import { actionBytesMax, targetBytesMax } from "@sigil/core/limits";
import { lintMatchesMax } from "../limits.ts";
import {
  rateFraction,
  type ActionRule,
  compileGlob,
  type GlobTable,
  withCanonicalGlobs,
  evaluate,
  parseModel,
  type TrustModel,
  type Verdict,
} from "@sigil/core/model";

export type Finding = {
  readonly code: "NEVER_ALLOWS" | "NEVER_WINS" | "CASE_ALONE" | "NOT_CANONICAL" | "RATE_LIMITS_NOTHING";
  /** The row's path, for example `actions["payment.refund"]`; `rate` for the window. */
  readonly row: string;
  readonly message: string;
};

/** An action at its minimum level, on its least sensitive intended target, without input. */
export type ActionReport = {
  readonly action: string;
  readonly level: Level;
  /** The row of the target table; undefined if the table is empty. */
  readonly target: string | undefined;
  /** Logits, in an idle window. */
  readonly z: number;
  readonly idle: Verdict["kind"];
  /** Verdict in a full window. */
  readonly full: Verdict["kind"];
};

type ActionSurvey = ActionReport & {
  /** Maximum earlier checks in the window with which it is allowed; `limit` if always, null if never. */
  readonly countAllowed: () => number | null;
};

export type Lint = { readonly findings: readonly Finding[]; readonly actions: readonly ActionSurvey[] };

const rowOf = (table: "actions" | "targets", glob: string): string => `${table}[${JSON.stringify(glob)}]`;

/** The topic of a name: `payment.refund` and `payment/**` both have `payment`. */
const topicOf = (glob: string): string => /^[^./:*]+/.exec(glob)?.[0] ?? "";

const patternsOf = ({ entries }: GlobTable<unknown>): readonly string[] =>
  entries.map(({ pattern }) => pattern);

type TargetRow = TrustModel["targets"]["entries"][number];

/** The least sensitive target per topic, and overall under the empty topic; the broadest among equals. */
const homesOf = ({ targets }: TrustModel): ReadonlyMap<string, TargetRow> => {
  const homes = new Map<string, TargetRow>();
  for (const entry of targets.entries) {
    for (const topic of new Set([topicOf(entry.pattern), ""])) {
      const known = homes.get(topic);
      // Entries are most specific first, so later ones are broader.
      if (known === undefined || entry.value <= known.value) homes.set(topic, entry);
    }
  }
  return homes;
};

const unlisted = 1;

type Asked = { readonly rule: ActionRule; readonly sensitivity: number };

const evaluateAt = (model: TrustModel, { rule, sensitivity }: Asked, count: number) =>
  evaluate(model, {
    values: {
      action_risk: rule.risk,
      target_sensitivity: sensitivity,
      level: levelFraction(rule.minLevel),
      rate: rateFraction(count, model.rate.limit),
      entropy: 0,
    },
    level: rule.minLevel,
    rule,
  });

/** The highest allowed count, by binary search: verdicts are monotone in the rate. */
const lastAllowed = (model: TrustModel, asked: Asked): number => {
  let [low, high] = [0, model.rate.limit];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (evaluateAt(model, asked, middle).verdict.kind === "allow") low = middle;
    else high = middle - 1;
  }
  return low;
};

const surveyActions = (model: TrustModel): readonly ActionSurvey[] => {
  const homes = homesOf(model);
  return model.actions.entries
    .map(({ pattern, value: rule }): ActionSurvey => {
      const home = homes.get(topicOf(pattern)) ?? homes.get("");
      const asked = { rule, sensitivity: home?.value ?? unlisted };
      const idle = evaluateAt(model, asked, 0);
      return {
        action: pattern,
        level: rule.minLevel,
        target: home?.pattern,
        z: idle.z,
        idle: idle.verdict.kind,
        full: evaluateAt(model, asked, model.rate.limit).verdict.kind,
        countAllowed: () => (idle.verdict.kind === "allow" ? lastAllowed(model, asked) : null),
      };
    })
    .toSorted((a, b) => (a.action < b.action ? -1 : 1));
};

const neverAllows = (model: TrustModel, reports: readonly ActionSurvey[]): readonly Finding[] =>
  reports
    .filter(({ idle }) => idle !== "allow")
    .map(({ action, level, target, z, idle }): Finding => {
      const needed = Math.max(model.thresholdZ, model.reviewZ?.high ?? model.thresholdZ);
      const where = target === undefined ? "a target that is not listed" : target;
      return {
        code: "NEVER_ALLOWS",
        row: rowOf("actions", action),
        message:
          `never allows a caller of its least level, ${level}: on ${where} the verdict is ${idle} with z ${z.toFixed(2)}, ` +
          `in an idle window and without input, and an allow takes ${needed.toFixed(2)}`,
      };
    });

/** A character that occurs in no pattern, so that only wildcards match it. */
const freshFor = (patterns: readonly string[]): string => {
  const used = patterns.join("");
  return [..."qzxjkvwyQZXJKVWY7385"].find((character) => !used.includes(character)) ?? "qzxj7";
};

/**
 * Representative texts that the pattern matches: wildcards are filled with a fresh character, each `**` with a varying
 * number of segments.
 */
function* instancesOf(
  pattern: string,
  fresh: string,
  segmentsMax: number,
): Generator<string, void, undefined> {
  const segments = pattern.split("/");
  /** Number of segments per `**`, incremented like the digits of a number. */
  const counts = segments.map(() => 0);
  for (;;) {
    const filled = segments.flatMap((segment, at) =>
      segment === "**"
        ? Array.from({ length: counts[at] ?? 0 }, () => fresh)
        : [segment.replaceAll("*", fresh)],
    );
    yield filled.join("/").replaceAll("%2A", "*");
    const next = segments.findLastIndex((segment, at) => segment === "**" && counts[at] !== segmentsMax);
    if (next < 0) return;
    counts[next] = (counts[next] ?? 0) + 1;
    counts.fill(0, next + 1);
  }
}

const neverWins = (
  name: "actions" | "targets",
  table: GlobTable<unknown>,
  { bytesMax, matchesMax }: { readonly bytesMax: number; readonly matchesMax: number },
): readonly Finding[] => {
  const patterns = patternsOf(table);
  let tried = 0;
  const fresh = freshFor(patterns);
  const segmentsMax = 1 + Math.max(...patterns.map((pattern) => pattern.split("/").length), 0);
  return patterns.flatMap((pattern): readonly Finding[] => {
    // A pattern without a wildcard always wins for its own text.
    if (!pattern.includes("*") && pattern.length <= bytesMax) return [];
    const { matches } = compileGlob(pattern);
    const winners = new Set<string>();
    for (const text of instancesOf(pattern, fresh, segmentsMax)) {
      if (tried >= matchesMax) return [];
      tried += 1;
      if (text.length > bytesMax || !matches(text)) continue;
      tried += patterns.length;
      const winner = table.find(text)?.pattern;
      if (winner === pattern) return [];
      if (winner !== undefined) winners.add(winner);
    }
    const [other] = winners;
    const message =
      other === undefined
        ? "matches no name that there can be"
        : `never wins: where it matches, ${other} does too and is more specific`;
    return [{ code: "NEVER_WINS", row: rowOf(name, pattern), message }];
  });
};

const caseAlone = (name: "actions" | "targets", table: GlobTable<unknown>): readonly Finding[] => {
  const seen = new Map<string, string>();
  return patternsOf(table)
    .toSorted()
    .flatMap((pattern): readonly Finding[] => {
      const folded = pattern.toLowerCase();
      const other = seen.get(folded);
      if (other === undefined) {
        seen.set(folded, pattern);
        return [];
      }
      const message = `differs from ${other} by letter case alone: they are two names, and each decides for itself`;
      return [{ code: "CASE_ALONE", row: rowOf(name, pattern), message }];
    });
};

const rateFindings = (model: TrustModel, reports: readonly ActionSurvey[]): readonly Finding[] => {
  const allowed = reports.filter(({ idle }) => idle === "allow");
  if (allowed.length === 0 || allowed.some(({ full }) => full !== "allow")) return [];
  const message = `limits nothing: a full window of ${model.rate.limit} changes the verdict of no action at its least level`;
  return [{ code: "RATE_LIMITS_NOTHING", row: "rate", message }];
};

const notCanonical = (model: TrustModel, canonical: TrustModel): readonly Finding[] =>
  (["actions", "targets"] as const).flatMap((name) => {
    const kept = new Set(patternsOf(canonical[name]));
    return patternsOf(model[name])
      .filter((pattern) => !kept.has(pattern))
      .map((pattern): Finding => {
        const message =
          "is not in its canonical spelling, by which it decides where it has one: propose the model anew";
        return { code: "NOT_CANONICAL", row: rowOf(name, pattern), message };
      });
  });

/**
 * @param payload of a `trust_model` record. @param matchesMax limit of glob matches in searching for rows that never
 * win; rows past it are not examined.
 * @throws malformedModel.
 */
export const lintModel = (payload: CborValue, matchesMax: number = lintMatchesMax): Lint => {
  const recorded = parseModel(payload);
  const model = parseModel(withCanonicalGlobs(payload));
  const actions = surveyActions(model);
  return {
    actions,
    findings: [
      ...neverAllows(model, actions),
      ...neverWins("actions", model.actions, { bytesMax: actionBytesMax, matchesMax }),
      ...neverWins("targets", model.targets, { bytesMax: targetBytesMax, matchesMax }),
      ...caseAlone("actions", model.actions),
      ...caseAlone("targets", model.targets),
      ...notCanonical(recorded, model),
      ...rateFindings(model, actions),
    ],
  };
};

/** A finding in one line. */
export const describeFinding = ({ row, message }: Finding): string => `${row} ${message}`;
