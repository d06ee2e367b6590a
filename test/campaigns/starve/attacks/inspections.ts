/** Repeated live inspections, which Root may request at any time. */
import { SigilError } from "@sigil/client";
import { tally, type Attack, type World } from "../attack.ts";

const batches = 2;
const batchChecks = 1000;
const holdMs = 5000;

const prepare = async ({ as }: World): Promise<void> => {
  const { trust } = as("operator");
  for (let batch = 0; batch < batches; batch += 1) {
    await trust.batchCheck({
      checks: Array.from({ length: batchChecks }, (_, index) => ({
        action: "write",
        target: `user/notes/${batch}/${index}`,
      })),
    });
  }
};

/** Two concurrent requests: one is refused. */
const wave: Attack["wave"] = async ({ as }) => {
  const untilMs = performance.now() + holdMs;
  const inspectOn = async (): Promise<readonly string[]> => {
    const { backup } = as("root");
    const outcomes: string[] = [];
    while (performance.now() < untilMs) {
      try {
        for await (const { part } of backup.inspect({})) {
          if (part?.$case === "end") outcomes.push(part.value.found === 0n ? "clean" : "damaged");
        }
      } catch (error) {
        outcomes.push(SigilError.from(error).reason);
      }
    }
    return outcomes;
  };
  const outcomes = (await Promise.all([inspectOn(), inspectOn()])).flat();
  if (outcomes.includes("damaged")) throw new Error("a sound ledger was called damaged");
  return tally(outcomes);
};

export const inspections: readonly Attack[] = [
  { name: "inspections", what: "inspections of all that the server has, one after the other", prepare, wave },
];
