/**
 * The cost of running a module: `Run` compared with `Check` on one server, in interleaved runs, and the sandbox alone.
 */
import { startActor } from "./actor.ts";
import { runClient, type Scale, type Say } from "./measure.ts";
import type { ModuleRuns, SandboxCosts } from "./results.ts";
import { makeScratch } from "./scratch.ts";
import { measure } from "./statistics.ts";
import type { SandboxWeighing } from "./weigh-sandbox.ts";

const inFlight = 16;

type ClientRun = Awaited<ReturnType<typeof runClient>>;

export const measureModules = async (directory: string, scale: Scale, say: Say): Promise<ModuleRuns> => {
  const scratch = await makeScratch(directory, "modules", "mentor");
  const runs = { check: [] as ClientRun[], run: [] as ClientRun[] };
  {
    await using sigil = startActor("serve-sigil.ts", scratch);
    for (let round = 1; round <= scale.runs; round += 1) {
      say(`modules, round ${round} of ${scale.runs}`);
      runs.check.push(await runClient(sigil, scratch, { rpc: "check", inFlight }, scale));
      runs.run.push(await runClient(sigil, scratch, { rpc: "run", inFlight }, scale));
    }
  }
  say("the sandbox alone");
  await using sandbox = startActor("weigh-sandbox.ts", {});
  const { runs: rounds, sandboxRuns } = scale;
  return {
    inFlight,
    checkPerSecond: measure(runs.check.map(({ perSecond }) => perSecond)),
    runPerSecond: measure(runs.run.map(({ perSecond }) => perSecond)),
    checkCpuUs: measure(runs.check.map(({ cpuUs }) => cpuUs)),
    runCpuUs: measure(runs.run.map(({ cpuUs }) => cpuUs)),
    runMedianMs: measure(runs.run.map(({ medianMs }) => medianMs)),
    runP99Ms: measure(runs.run.map(({ p99Ms }) => p99Ms)),
    sandbox: await sandbox.ask<SandboxCosts>("weigh", {
      rounds,
      runs: sandboxRuns,
    } satisfies SandboxWeighing),
  };
};
