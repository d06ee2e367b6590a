/**
 * Numbers of callers over the decisions of a pack, and the gaps that follow from them. Pure. A caller takes two
 * numbers of memory, and two more for each gap. Source: docs/spec/pack.md §5; docs/spec/completeness.md.
 */
import { invalidField } from "../errors.ts";
import { packCallersMax, packGapsMax } from "../limits.ts";
import type { PackDecision } from "./columns.ts";
import type { CallerLine, Place } from "./lines.ts";
import type { PackGap } from "./manifest.ts";

/** Numbers from and to, included. */
type Run = { readonly from: number; readonly to: number };

type Counted = { runs: Run[]; last: Place | undefined; unnumbered: number };

/** The newest number that a statement claims to be in the span. */
const lastClaimed = ({ after, end }: CallerLine): number => after.number - (end === "decision" ? 1 : 0);

/** How many decisions follow from the numbers around the span. */
export const decisionsClaimed = (line: Omit<CallerLine, "decisions">): number =>
  lastClaimed({ ...line, decisions: 0 }) - (line.before?.number ?? 0);

const ofCaller = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Callers in the order of a pack. */
export const inOrder = <Named extends { readonly caller: string }>(
  each: readonly Named[],
): readonly Named[] => each.toSorted((a, b) => ofCaller(a.caller, b.caller));

export class Tally {
  readonly #callers = new Map<string, Counted>();
  #anonymous = 0;
  #runs = 0;

  /** Callers whose decisions have numbers. */
  get callers(): readonly string[] {
    return [...this.#callers].flatMap(([caller, { last }]) => (last === undefined ? [] : [caller]));
  }

  /** In ledger order. @throws invalidField unless the caller's numbers ascend, and for more than a pack holds. */
  add({ position, chain: { request, callerSeq: number } }: Pick<PackDecision, "position" | "chain">): void {
    if (request.caller === "") {
      this.#anonymous += 1;
      return;
    }
    const counted = this.#of(request.caller);
    if (number === undefined) {
      counted.unnumbered += 1;
      return;
    }
    const { last } = counted;
    if (last !== undefined && number <= last.number) {
      const rule = `must ascend: ${request.caller} has ${number} at position ${position}, after ${last.number}`;
      invalidField("numbers", rule);
    }
    counted.last = { position, number };
    const run = counted.runs.at(-1);
    if (run !== undefined && run.to === number - 1) {
      counted.runs[counted.runs.length - 1] = { from: run.from, to: number };
      return;
    }
    this.#runs += 1;
    if (this.#runs > packCallersMax + packGapsMax) invalidField("gaps", `must be at most ${packGapsMax}`);
    counted.runs.push({ from: number, to: number });
  }

  /** The last numbered decision of a caller. */
  last(caller: string): Place | undefined {
    return this.#callers.get(caller)?.last;
  }

  /** @param callers in order, one for each. @param restorations positions, ascending. */
  gaps(callers: readonly CallerLine[], restorations: readonly bigint[]): readonly PackGap[] {
    const unnumbered = inOrder(
      [...this.#callers].map(([caller, counted]) => ({ caller, decisions: counted.unnumbered })),
    );
    return [
      ...restorations.map((position) => ({ kind: "restoration" as const, position: String(position) })),
      ...callers.flatMap((line) => [
        ...this.#missing(line),
        ...(line.end === "newest" ? [{ kind: "open" as const, caller: line.caller }] : []),
      ]),
      ...unnumbered.flatMap(({ caller, decisions }) =>
        decisions === 0 ? [] : [{ kind: "unnumbered" as const, caller, decisions }],
      ),
      ...(this.#anonymous === 0 ? [] : [{ kind: "anonymous" as const, decisions: this.#anonymous }]),
    ];
  }

  /** Numbers that are claimed to be in the span, and are not in the pack. */
  #missing(line: CallerLine): readonly PackGap[] {
    const { caller } = line;
    const gaps: PackGap[] = [];
    const end = lastClaimed(line);
    let next = (line.before?.number ?? 0) + 1;
    for (const { from, to } of this.#callers.get(caller)?.runs ?? []) {
      if (from > end) break;
      if (from > next) gaps.push({ kind: "numbers", caller, from: next, to: from - 1 });
      next = Math.max(next, to + 1);
    }
    if (next <= end) gaps.push({ kind: "numbers", caller, from: next, to: end });
    return gaps;
  }

  #of(caller: string): Counted {
    const known = this.#callers.get(caller);
    if (known !== undefined) return known;
    if (this.#callers.size >= packCallersMax)
      invalidField("callers", `must be at most ${packCallersMax} of one pack`);
    const counted: Counted = { runs: [], last: undefined, unnumbered: 0 };
    this.#callers.set(caller, counted);
    return counted;
  }
}
