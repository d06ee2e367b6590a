/**
 * Proposed code against the sandbox: whatever compiling it takes, it takes nothing from the process that serves runs.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { describeError, SigilFault } from "../../src/errors.ts";
import { utf8Encode } from "../../src/core/bytes.ts";
import type { SandboxOptions } from "../../src/modules/sandbox/pool.ts";
import { assemble } from "./assemble.ts";
import { localsBomb } from "./broken.ts";
import { guest } from "./guests.ts";
import { inspectionOf, openSandbox, requestOf } from "./runs.ts";

const sound = assemble(guest({ body: "" }));
const turned: Partial<SandboxOptions> = {
  launch: { program: join(import.meta.dirname, "turned", "process.js") },
};
const exited = { kind: "exited", code: 0 };

const refusalOf = (asked: Promise<unknown>): Promise<string> =>
  asked.then(
    () => "passed",
    (cause: unknown) => (cause instanceof SigilFault ? describeError(cause.error) : String(cause)),
  );

/** Processes that this one has started and that live, by id. */
const children = (): readonly string[] =>
  readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8").trim().split(" ");

/** CPU time of a process so far, in hundredths of a second. */
const cpuTicksOf = (pid: string | undefined): number => {
  if (pid === undefined) return 0;
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[11]);
};

const until = async (isSo: () => boolean): Promise<void> => {
  for (let tries = 0; !isSo(); tries += 1) {
    if (tries > 4000) throw new Error("it does not come to pass");
    await sleep(10);
  }
};

describe("code that nobody approved yet", () => {
  it("of twelve billion locals is refused by the rule, unseen by any engine, and sound code is described", async () => {
    await using sandbox = await openSandbox();
    expect(await refusalOf(sandbox.inspect(inspectionOf(localsBomb())))).to.match(
      /malformed module at offset \d+: has \d+ locals or more in all functions/,
    );
    expect((await sandbox.inspect(inspectionOf(sound))).functions).to.equal(6);
    expect([sandbox.gauge.restarts, sandbox.faults]).to.deep.equal([0, []]);
  });

  it("is compiled in another process than runs: while one never ends, the only process for runs serves them", async () => {
    const launch = { ...turned.launch, cpuSecondsMax: 60 };
    await using sandbox = await openSandbox({ launch, compileCpuMsMax: Infinity });
    await until(() => sandbox.gauge.warm === 1);
    const servesRuns = children();
    const abort = new AbortController();
    const asked = inspectionOf(utf8Encode("burn"), { signal: abort.signal });
    const endless = refusalOf(sandbox.inspect(asked));
    const inspecting = (): string | undefined => children().find((pid) => !servesRuns.includes(pid));
    // More than a start takes: it compiles.
    await until(() => cpuTicksOf(inspecting()) > 200);
    for (let count = 0; count < 3; count += 1) {
      expect((await sandbox.run(requestOf(sound, { name: "honest" }))).exit).to.deep.equal(exited);
    }
    abort.abort();
    expect(await endless).to.match(/cancelled/);
    expect(children(), "the inspection's process is gone with its caller").to.deep.equal(servesRuns);
    expect([sandbox.gauge.restarts, sandbox.faults]).to.deep.equal([0, []]);
  });

  it("that takes more CPU time than it may is refused by the rule; what waited is served next", async () => {
    await using sandbox = await openSandbox({ ...turned, compileCpuMsMax: 200 });
    const burning = refusalOf(sandbox.inspect(inspectionOf(utf8Encode("burn"))));
    const abort = new AbortController();
    const left = refusalOf(sandbox.inspect(inspectionOf(sound, { signal: abort.signal })));
    const dying = refusalOf(sandbox.inspect(inspectionOf(utf8Encode("its own death"))));
    abort.abort();
    expect(await left).to.match(/cancelled/);
    expect(await burning).to.contain("takes more than 200 ms of CPU time to compile");
    expect(sandbox.faults, "code at fault is no fault of the sandbox").to.deep.equal([]);
    expect(await dying).to.contain("is more than the engine can compile");
    expect(String(sandbox.faults)).to.contain("SIGABRT");
    expect((await sandbox.run(requestOf(sound, { name: "honest" }))).exit).to.deep.equal(exited);
    expect(sandbox.gauge.restarts).to.equal(0);
  });

  it("is bounded by the system too, should nobody look at its CPU time", async () => {
    const launch = { ...turned.launch, cpuSecondsMax: 1 };
    await using sandbox = await openSandbox({ launch, compileCpuMsMax: Infinity });
    expect(await refusalOf(sandbox.inspect(inspectionOf(utf8Encode("burn"))))).to.match(/malformed module/);
  });

  it("is given up when the sandbox closes, waiting or under way", async () => {
    const sandbox = await openSandbox(turned);
    const began = Promise.withResolvers<Uint8Array>();
    const bytes = () => (began.resolve(utf8Encode("silence")), began.promise);
    const both = [
      refusalOf(sandbox.inspect(inspectionOf(sound, { bytes }))),
      refusalOf(sandbox.inspect(inspectionOf(sound))),
    ];
    await began.promise;
    await sandbox[Symbol.asyncDispose]();
    for (const refusal of await Promise.all(both)) expect(refusal).to.contain("the sandbox is closed");
  });
});

describe("approved code that takes more CPU time to compile than it may", () => {
  it("is refused by the rule, however often, and everybody else is served", async () => {
    await using sandbox = await openSandbox({ compileCpuMsMax: 400 });
    const bomb = requestOf(localsBomb());
    const failuresTolerated = 3;
    for (let count = 1; count <= failuresTolerated + 1; count += 1) {
      const { exit } = await sandbox.run(bomb);
      expect(exit).to.deep.equal({
        kind: "refused",
        rule: "takes more than 400 ms of CPU time to compile",
      });
      expect((await sandbox.run(requestOf(sound))).exit).to.deep.equal(exited);
      expect(sandbox.gauge.restarts).to.equal(count);
    }
    expect(sandbox.faults).to.deep.equal([]);
  });
});
