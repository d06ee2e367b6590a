/**
 * `npm run bench:sdk`: what a check costs in each client beside the bare generated stub of its language, and what it
 * costs to verify the decision. Processor time of the client's process a check, in rounds in which all languages and
 * loads take turns, and ratios within a round. A language whose packages are not installed is said to be left out.
 *
 *   --rounds N      41 unless told: many short ones, so that both sides of a ratio see the same machine
 *   --checks N      of each load in a round; 400 unless told
 *   --in-flight N   calls at a time; 1 unless told, as in a service that asks before it acts
 *   --write         also as docs/operating/client-cost.md
 *   --directory D   where the scratch ledger goes, a real disk; the system's temporary directory unless told
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createTokenSigner } from "@sigil/client";
import { repository, run } from "../scripts/run.ts";
import { startActor } from "./actor.ts";
import { makeScratch } from "./scratch.ts";
import { startDriver, type Driver, type DriverInput, type Load } from "./sdk/driver.ts";
import { measure, quantileOf, ratioOf, type Measured } from "./statistics.ts";
import type { DriveInput } from "./drive-calls.ts";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "41" },
    checks: { type: "string", default: "400" },
    "in-flight": { type: "string", default: "1" },
    write: { type: "boolean", default: false },
    directory: { type: "string", default: tmpdir() },
  },
});
const rounds = Number(options.rounds);
const checks = Number(options.checks);

const loads = ["stub", "client", "verified"] as const satisfies readonly Load[];
/** A verified check takes as long as tens of others; fewer of them tell as much. */
const checksOf = (load: Load): number => (load === "verified" ? Math.ceil(checks / 20) : checks);

type Language = {
  readonly name: string;
  readonly needs: readonly string[];
  readonly command: readonly string[];
  readonly cwd: string;
};

const python = "build/python-sdk/bin/python";
const languages: readonly Language[] = [
  {
    name: "TypeScript",
    needs: [],
    command: [process.execPath, "--disable-warning=ExperimentalWarning", "bench/sdk/drive.ts"],
    cwd: ".",
  },
  {
    name: "Python",
    needs: [python, "clients/python/src/sigil_client/client.py"],
    command: [join(repository, python), "../../bench/sdk/drive.py"],
    cwd: "clients/python",
  },
  {
    name: "Go",
    needs: ["clients/go/check.go"],
    command: ["go", "run", "../../bench/sdk/drive.go"],
    cwd: "clients/go",
  },
];

/** The median, and the middle half of the rounds: their ends say more of the machine than of the client. */
const format = ({ median, runs }: Measured, digits: number): string =>
  `${median.toFixed(digits)} (${quantileOf(runs, 0.25).toFixed(digits)}–${quantileOf(runs, 0.75).toFixed(digits)})`;

/** Processor time a check in microseconds, by load, a value a round. */
type Costs = Readonly<Record<Load, number[]>>;

const rowOf = (name: string, { stub, client, verified }: Costs): string => {
  const [bare, own, proved] = [measure(stub), measure(client), measure(verified)];
  const cells = [name, format(bare, 0), format(own, 0), format(ratioOf(own, bare), 2), format(proved, 0)];
  return `| ${cells.join(" | ")} |`;
};

const directory = await mkdtemp(join(options.directory, "sigil-sdk-"));
await using stack = new AsyncDisposableStack();
stack.defer(() => rm(directory, { recursive: true, force: true }));
const scratch = await makeScratch(directory, "served");
const sigil = stack.use(startActor("serve-sigil.ts", scratch));
const target = await sigil.ask<string>("target");
const sampler = startActor("drive-calls.ts", { scratch, target } satisfies DriveInput);
const nothing = stack.use(startActor("serve-nothing.ts", await sampler.ask("sample")));
await sampler.stop();
const keyFile = join(directory, "key.pem");
await writeFile(keyFile, scratch.privateKey, { mode: 0o600 });
const input: DriverInput = {
  target: await nothing.ask<string>("target"),
  provingTarget: target,
  genesis: await sigil.ask<string>("genesis"),
  origin: scratch.origin,
  principal: scratch.principal,
  keyFile,
  token: createTokenSigner(scratch).token(),
  inFlight: Number(options["in-flight"]),
};

const drivers = new Map<string, Driver>();
const costs = new Map<string, Costs>();
for (const { name, needs, command, cwd } of languages) {
  const missing = needs.find((path) => !existsSync(join(repository, path)));
  if (missing !== undefined) {
    console.error(`${name} is left out: there is no ${missing}`);
    continue;
  }
  const driver = stack.use(startDriver(command, join(repository, cwd), input));
  drivers.set(name, driver);
  costs.set(name, { stub: [], client: [], verified: [] });
  // The first calls connect, and are compiled on the way.
  for (let time = 0; time < 5; time += 1) for (const load of loads) await driver.drive(load, checksOf(load));
}

for (let round = 0; round < rounds; round += 1) {
  console.error(`round ${round + 1} of ${rounds}`);
  for (const [name, driver] of drivers) {
    for (let turn = 0; turn < loads.length; turn += 1) {
      const load = loads[(turn + round) % loads.length] ?? "stub";
      costs.get(name)?.[load].push(await driver.drive(load, checksOf(load)));
    }
  }
}

const rows = [...costs].map(([name, cost]) => rowOf(name, cost));
const tableText = [
  "| client | bare stub, µs | client, µs | client ÷ stub | verified, µs |",
  "| --- | --: | --: | --: | --: |",
  ...rows,
].join("\n");
console.log(tableText);

const page = `# What a client costs

\`npm run bench:sdk -- --write\` measures and writes this page. Processor time of the client's process a check, all of its
threads together, in microseconds: the median of ${rounds} rounds in which all clients and loads take turns, and the middle half
of them. Ratios are taken within a round, so they hold on a slower machine where the absolute numbers do not. Calls at a
time: ${input.inFlight}. ${cpus()[0]?.model ?? "Processor unknown"}, ${cpus().length} cores, shared with the servers;
${new Date().toISOString().slice(0, 10)}, with ${loadavg()[1]?.toFixed(1)} processes ready to run at a time, of which the measurement
itself is two.

${tableText}

- **Bare stub**: the generated stub on a plain channel, with a deadline and a fixed token.
- **Client**: \`check\` as the package's README shows it, with a key: it makes and renews tokens, gives each question an
  idempotency key, repeats what may be repeated, and judges the reply.
- **Verified**: the same with \`verifyDecisions\`: every decision is verified from the hash of the genesis record, at a real
  server, by an inclusion proof and two signatures or more.

A client's own cost, without verification, is to be at most 15 % of the stub's. On a machine that does something else as
well, two runs of one program differ by more than that: compare the middle halves.
`;
if (options.write) {
  await writeFile(join(repository, "docs/operating/client-cost.md"), page);
  await run(["oxfmt", "docs/operating/client-cost.md"]);
}
