/**
 * One caller must not starve the others. During each attack, the median latency of a Guest's checks on another
 * connection stays within three times the baseline and none fails; memory is bounded, is released, and does not grow in
 * a second run. `npm run campaign:starve -- --seed 7 --count 3 [--only NAME] [--quick]`. Baseline and attack phases
 * alternate, so that a busy machine slows both. Exit code 0 only if every limit held.
 */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { connect } from "@sigil/client";
import { levels, makeDeployment, origin } from "../e2e/deployment.ts";
import { unhurriedModel } from "../e2e/canon-writes.ts";
import { readOptions } from "./options.ts";
import type { Attack } from "./starve/attack.ts";
import type { Order, Report } from "./starve/attacker.ts";
import { attacks } from "./starve/attacks.ts";
import { serve, type Served } from "./starve/served.ts";

const usage = `campaign:starve [--seed S] [--count ROUNDS] [--quick] [--only ATTACK]
attacks: ${attacks.map(({ name }) => name).join(", ")}`;
const { values, refuse } = readOptions(usage, "--count 3 --seed 7 --only gzip-calls", {
  seed: { type: "string", default: "1" },
  count: { type: "string", default: "3" },
  only: { type: "string" },
  quick: { type: "boolean", default: false },
});
const [seed, count] = [Number(values.seed), Number(values.count)];
/** One of each kind, for a quick run. */
const quick = [
  "export-unread",
  "gzip-stream-unread",
  "watches",
  "idle-connections",
  "operator-silent",
  "inspections",
];
const isChosen = ({ name }: Attack): boolean =>
  values.only === undefined ? !values.quick || quick.includes(name) : name === values.only;
const chosen = attacks.filter(isChosen);
if (!Number.isInteger(seed) || !Number.isInteger(count) || count < 1 || chosen.length === 0) refuse();

const slowerMax = 3;
const residentGrowthMax = 200e6;
/** Normal variation of the heap after collection. */
const heldSlack = 24e6;
/** Allowed growth in the second run, for allocator fragmentation. */
const secondSlack = 60e6;
const quietMs = 1500;

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;

const mb = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;

type Checks = { readonly tookMs: number[]; failed: string[] };

/** Sends sequential checks until told to stop. */
const checkUntil = async (target: string, isOver: () => boolean, checks: Checks): Promise<void> => {
  const guest = connect({ target, tls: "insecure", deadlineMs: 30_000, retry: "none" });
  try {
    for (let index = 0; !isOver(); index += 1) {
      const startMs = performance.now();
      try {
        await guest.trust.check({ action: "read", target: `public/${index % 50}` });
        checks.tookMs.push(performance.now() - startMs);
      } catch (error) {
        checks.failed.push(String(error));
      }
    }
  } finally {
    guest.close();
  }
};

const attacker = fork(fileURLToPath(new URL("starve/attacker.ts", import.meta.url)));
const order = (asked: Order): Promise<string> =>
  new Promise((resolve, reject) => {
    attacker.once("message", ({ kind, text }: Report) => {
      if (kind === "done") resolve(text);
      else reject(new Error(text));
    });
    attacker.send(asked);
  });

type Run = {
  readonly quiet: Checks;
  readonly attacked: Checks;
  /** Peak growth of resident bytes. */
  readonly growth: number;
  readonly outcome: string;
};

const runOnce = async ({ target, residentPeak }: Served, asked: Omit<Order, "step">): Promise<Run> => {
  const quiet: Checks = { tookMs: [], failed: [] };
  const attacked: Checks = { tookMs: [], failed: [] };
  let growth = 0;
  let outcome = "";
  for (let round = 0; round < count; round += 1) {
    const endMs = performance.now() + quietMs;
    await checkUntil(target, () => performance.now() >= endMs, quiet);
    residentPeak();
    const before = residentPeak();
    let isOver = false;
    const checking = checkUntil(target, () => isOver, attacked);
    outcome = await order({ ...asked, seed: asked.seed + round, step: "wave" });
    isOver = true;
    await checking;
    growth = Math.max(growth, residentPeak() - before);
  }
  return { quiet, attacked, growth, outcome };
};

const judge = (run: Run): readonly string[] => {
  const wrongs: string[] = [];
  const slower = median(run.attacked.tookMs) / median(run.quiet.tookMs);
  if (!(slower <= slowerMax)) wrongs.push(`checks took ${slower.toFixed(1)} times as long`);
  const { failed } = run.attacked;
  if (failed.length > 0) wrongs.push(`${failed.length} checks failed: ${failed[0]}`);
  if (run.growth > residentGrowthMax) wrongs.push(`${mb(run.growth)} more were resident`);
  return wrongs;
};

const describe = ({ quiet, attacked, growth, outcome }: Run): string =>
  `checks ${median(quiet.tookMs).toFixed(2)} → ${median(attacked.tookMs).toFixed(2)} ms ` +
  `(${(median(attacked.tookMs) / median(quiet.tookMs)).toFixed(2)}×, ${quiet.tookMs.length} and ${attacked.tookMs.length}), ` +
  `resident +${mb(growth)}; ${outcome}`;

/** Uses a separate deployment for each attack, so that attacks are independent. */
const carryOut = async ({ name, what, descriptors }: Attack): Promise<readonly string[]> => {
  console.log(`${name}: ${what}`);
  await using deployment = await makeDeployment({ model: unhurriedModel });
  const privateKeys = Object.fromEntries(
    levels.map((level) => [
      level,
      deployment.privateKeys[level].export({ format: "pem", type: "pkcs8" }) as string,
    ]),
  ) as Order["privateKeys"];
  await using served = await serve(deployment.directory, descriptors);
  const { target, operatorUrl } = served;
  const asked = { attack: name, seed, target, operatorUrl, origin, privateKeys };
  await order({ ...asked, step: "prepare" });
  await runOnce(served, { ...asked, attack: "nothing" });
  const before = await served.memory();
  const first = await runOnce(served, asked);
  console.log(`  first:  ${describe(first)}`);
  const after = await served.memory();
  const second = await runOnce(served, asked);
  console.log(`  second: ${describe(second)}`);
  const last = await served.memory();
  const held = (memory: typeof before): number => memory.heapUsed + memory.external;
  console.log(
    `  held: heap ${mb(before.heapUsed)} → ${mb(after.heapUsed)} → ${mb(last.heapUsed)}, ` +
      `external ${mb(before.external)} → ${mb(after.external)} → ${mb(last.external)}`,
  );
  const wrongs = [...judge(first), ...judge(second).map((wrong) => `again: ${wrong}`)];
  if (held(last) - held(before) > heldSlack)
    wrongs.push(`${mb(held(last) - held(before))} did not come back`);
  if (second.growth - first.growth > secondSlack) wrongs.push("the second run held more than the first");
  for (const wrong of wrongs) console.log(`  WRONG: ${wrong}`);
  return wrongs.map((wrong) => `${name}: ${wrong}`);
};

const startedMs = performance.now();
const wrongs: string[] = [];
try {
  for (const attack of chosen) wrongs.push(...(await carryOut(attack)));
} finally {
  attacker.kill();
}
const seconds = Math.round((performance.now() - startedMs) / 1000);
console.log(
  `${chosen.length} attacks, ${count} rounds twice, ${wrongs.length} wrong, seed ${seed}, ${seconds} s`,
);
for (const wrong of wrongs) console.error(wrong);
process.exitCode = wrongs.length === 0 ? 0 : 1;
