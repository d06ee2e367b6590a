/** Steps of a verification as a table. */
import { formatTable, type Style, type Terminal } from "./terminal.ts";

export type ShownStep = {
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  readonly detail: string;
};

const outcomes: Readonly<Record<ShownStep["outcome"], readonly [string, Style]>> = {
  passed: ["passed", "green"],
  failed: ["FAILED", "red"],
  skipped: ["skipped", "dim"],
};

export const formatSteps = (steps: readonly ShownStep[], paint: Terminal["paint"]): string =>
  formatTable(
    [{ title: "STEP" }, { title: "OUTCOME" }, { title: "DETAIL" }],
    steps.map(({ name, outcome, detail }) => {
      const [text, style] = outcomes[outcome];
      return [name, { text, style, paint }, detail];
    }),
  );
