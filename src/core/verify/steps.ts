/**
 * Verification in named steps, in a fixed order: what is verified is refused by the first step that does not hold.
 * Pure.
 */
import { assert, Fault } from "../errors.ts";

export type Step<Name extends string> = {
  readonly name: Name;
  readonly outcome: "passed" | "failed" | "skipped";
  /** What was compared, or the rule that was broken. */
  readonly detail: string;
};

/** Thrown when a step was refused: the one under way, unless it names another. */
export class Refused<Name extends string = string> extends Error {
  readonly step: Name | undefined;

  constructor(rule: string, step?: Name) {
    super(rule);
    this.step = step;
  }
}

export const refuse = (rule: string): never => {
  throw new Refused(rule);
};

/** The rule that was broken. @throws the error, if it is neither a refusal nor of the data. */
export const ruleOf = (error: unknown): string => {
  if (error instanceof Refused || error instanceof Fault) return error.message;
  throw error;
};

export const counted = (count: number | bigint, what: string): string =>
  `${count} ${what}${count === 1 || count === 1n ? "" : "s"}`;

/** Where steps are taken, some of them by what verifies a part. */
export type Steps<Name extends string> = {
  /** @param work gives its result and a detail. */
  take<T>(name: Name, work: () => Promise<readonly [T, string]> | readonly [T, string]): Promise<T>;
  skip(name: Name, detail: string): void;
};

/** The steps so far; the next is the first that is not among them. */
export class StepList<Name extends string> implements Steps<Name> {
  readonly steps: Step<Name>[] = [];
  readonly #names: readonly Name[];

  /** @param names every step, in order. */
  constructor(names: readonly Name[]) {
    this.#names = names;
  }

  get holds(): boolean {
    return this.steps.every(({ outcome }) => outcome !== "failed");
  }

  async take<T>(name: Name, work: () => Promise<readonly [T, string]> | readonly [T, string]): Promise<T> {
    const [result, detail] = await work();
    this.pass(name, detail);
    return result;
  }

  pass(name: Name, detail: string): void {
    this.steps.push({ name, outcome: "passed", detail });
  }

  skip(name: Name, detail: string): void {
    this.steps.push({ name, outcome: "skipped", detail });
  }

  /** @param failed the step that was refused, where several are taken at once; otherwise the one under way. */
  refuse(rule: string, failed: Name | undefined = this.#names[this.steps.length]): void {
    const left = this.#names.slice(this.steps.length);
    assert(failed !== undefined && left.includes(failed), "a step is under way");
    for (const name of left) {
      if (name === failed) this.steps.push({ name, outcome: "failed", detail: rule });
      else this.skip(name, this.holds ? "a step taken with it failed" : "a step before it failed");
    }
  }
}
