/**
 * That the numbers of each caller say what the pack claims, and that every gap is named. Pure. Source:
 * docs/spec/pack.md §5; docs/spec/completeness.md §2.
 */
import { packCallersMax } from "../limits.ts";
import { refuse } from "../verify/steps.ts";
import type { Boundary, PackContent } from "./content.ts";
import { linesOf, parseCallerLine, type CallerLine, type Place } from "./lines.ts";
import type { PackManifest } from "./manifest.ts";
import type { PackReader } from "./reading.ts";
import { decisionsClaimed, inOrder } from "./tally.ts";

const readCallers = async (reader: PackReader): Promise<readonly CallerLine[]> => {
  const callers: CallerLine[] = [];
  for await (const text of linesOf(reader.read("callers.jsonl"))) {
    if (callers.length === packCallersMax) refuse(`there are more than ${packCallersMax} callers`);
    callers.push(parseCallerLine(text));
  }
  const names = callers.map(({ caller }) => caller);
  if (new Set(names).size !== names.length || inOrder(callers).some((line, at) => line !== callers[at]))
    refuse("callers.jsonl must name each caller once, in order");
  return callers;
};

type Span = Pick<PackManifest, "fromMs" | "toMs">;

class Boundaries {
  readonly #content: PackContent;
  readonly #used = new Set<bigint>();

  constructor(content: PackContent) {
    this.#content = content;
  }

  /** The record of a place, which must say the caller's number; undefined for a decision of the span. */
  at(caller: string, { position, number }: Place): Boundary | undefined {
    const found = this.#content.boundaries.get(position);
    const last = this.#content.tally.last(caller);
    if (found === undefined) {
      if (last?.position === position && last.number === number) return undefined;
      return refuse(`nothing at position ${position} ends the numbers of ${caller}`);
    }
    this.#used.add(position);
    if (found.caller === caller && found.number === number) return found;
    return refuse(`the record at position ${position} does not say number ${number} of ${caller}`);
  }

  requireAllUsed(): void {
    const idle = [...this.#content.boundaries.keys()].find((position) => !this.#used.has(position));
    if (idle !== undefined) refuse(`nothing needs the record at position ${idle}`);
  }
}

const checkCaller = (line: CallerLine, boundaries: Boundaries, { fromMs, toMs }: Span): void => {
  const { caller, before, after, end, decisions } = line;
  if (before !== null) {
    const first = boundaries.at(caller, before);
    if (first?.kind !== "decision" || fromMs === null || first.timeMs >= fromMs)
      refuse(`position ${before.position} is no decision of ${caller} before the span`);
    if (before.position > after.position)
      refuse(`the numbers of ${caller} are not in the order of the ledger`);
  }
  const last = boundaries.at(caller, after);
  if (end !== "newest" && (last?.kind !== end || last.timeMs < toMs))
    refuse(`position ${after.position} is no ${end} of ${caller} after the span`);
  const claimed = decisionsClaimed(line);
  if (claimed < 0 || claimed !== decisions)
    refuse(`from the numbers of ${caller} follow ${claimed} decisions, and not ${decisions}`);
};

/** @returns how many callers there are, and how many gaps. @throws Refused, invalidField. */
export const checkCompleteness = async (
  reader: PackReader,
  manifest: PackManifest,
  content: PackContent,
): Promise<{ readonly callers: number; readonly gaps: number }> => {
  const broken = content.broken.get("completeness");
  if (broken !== undefined) refuse(broken);
  const callers = await readCallers(reader);
  if (callers.length !== manifest.counts.callers)
    refuse(`the manifest counts ${manifest.counts.callers} callers, there are ${callers.length}`);
  const boundaries = new Boundaries(content);
  for (const line of callers) checkCaller(line, boundaries, manifest);
  boundaries.requireAllUsed();
  const named = new Set(callers.map(({ caller }) => caller));
  const unnamed = content.tally.callers.find((caller) => !named.has(caller));
  if (unnamed !== undefined) refuse(`nothing is claimed of ${unnamed}, which has decisions`);
  const damaged = manifest.gaps.filter(({ kind }) => kind === "damaged");
  const gaps = [...content.tally.gaps(callers, content.restorations), ...damaged].map((gap) =>
    JSON.stringify(gap),
  );
  const said = manifest.gaps.map((gap) => JSON.stringify(gap));
  const at = Array.from({ length: Math.max(gaps.length, said.length) }).findIndex(
    (_, index) => gaps[index] !== said[index],
  );
  if (at >= 0) {
    refuse(
      `the gaps are not those that the manifest names: there is ${gaps[at] ?? "no further one"}, it names ${said[at] ?? "no further one"}`,
    );
  }
  return { callers: callers.length, gaps: gaps.length };
};
