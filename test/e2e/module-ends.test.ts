/**
 * Every way a run can end, as its caller sees it and as its record has it: the table of docs/spec/module.md, played by
 * a sandbox that ends as it is told. And what happens when the record cannot be written.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { status as Code } from "@grpc/grpc-js";
import { fail } from "../../src/errors.ts";
import { inspectModule } from "../../src/modules/sandbox/inspect-module.ts";
import type {
  InspectionRequest,
  RunExit,
  RunOutcome,
  RunRequest,
  Sandbox,
} from "../../src/modules/sandbox/run.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import { createFaultyStore, type FaultyStore } from "../contract/faulty-store.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { codeOf, json, runRecord, sha256, upload } from "./modules.ts";
import { refusalOf } from "./refusal.ts";

const text = (words: string): Uint8Array => new Uint8Array(Buffer.from(words));

/** Does what the test says, and writes "out" in any case. */
class ToldSandbox implements Sandbox {
  next: (request: RunRequest) => Promise<RunExit> = async () => ({ kind: "exited", code: 0 });
  asked = 0;
  readonly gauge = { running: 0, warm: 0, restarts: 3 };

  async run(request: RunRequest): Promise<RunOutcome> {
    this.asked += 1;
    const exit = await this.next(request);
    const output = text("out");
    const usage = {
      wallMs: 1.5,
      cpuMs: 0.5,
      memoryBytesPeak: 65_536,
      outputBytes: 3,
      logBytes: 0,
      hostCalls: 0,
    };
    return { exit, output, logTail: text(""), usage: { ...usage, inputBytes: request.input.length } };
  }

  async inspect({ bytes }: InspectionRequest) {
    return inspectModule(await bytes());
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

type Row = readonly [shown: string, exit: RunExit, code: keyof typeof Code, reason: string];

/** In the order of the table in docs/spec/module.md. */
const rows: readonly Row[] = [
  ["exited", { kind: "exited", code: 0 }, "OK", ""],
  ["exited", { kind: "exited", code: 7 }, "OK", ""],
  ["trapped", { kind: "trapped", trap: "unreachable" }, "FAILED_PRECONDITION", "RUN_TRAPPED"],
  ["killed: wall_time", { kind: "killed", limit: "wall_time" }, "DEADLINE_EXCEEDED", "RUN_TIMED_OUT"],
  ["killed: output", { kind: "killed", limit: "output" }, "RESOURCE_EXHAUSTED", "RUN_OUTPUT_LIMIT"],
  ["killed: log", { kind: "killed", limit: "log" }, "RESOURCE_EXHAUSTED", "RUN_LOG_LIMIT"],
  [
    "killed: host_calls",
    { kind: "killed", limit: "host_calls" },
    "RESOURCE_EXHAUSTED",
    "RUN_HOST_CALLS_LIMIT",
  ],
  ["killed: memory", { kind: "killed", limit: "memory" }, "RESOURCE_EXHAUSTED", "RUN_MEMORY_LIMIT"],
  ["killed: cancelled", { kind: "killed", limit: "cancelled" }, "CANCELLED", "CANCELLED"],
  ["refused", { kind: "refused", rule: "an import" }, "FAILED_PRECONDITION", "MODULE_REFUSED"],
  ["crashed", { kind: "crashed" }, "UNAVAILABLE", "RUN_CRASHED"],
];

describe("the end of a run", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let store: FaultyStore | undefined;
  const sandbox = new ToldSandbox();

  before(async () => {
    deployment = await makeDeployment();
    const openStore = async () => {
      store = createFaultyStore(await openLevelStore(join(deployment.directory, "ledger")));
      return store;
    };
    served = await deployment.serve({ overrides: { sandbox, openStore } });
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  const run = () => served.as("operator").modules.run({ name: "hello", input: json({ name: "Ada" }) });

  for (const [shown, exit, code, reason] of rows) {
    it(`is ${code} for a run that ${exit.kind} (${JSON.stringify(exit)}), and recorded as it was`, async () => {
      sandbox.next = async () => exit;
      let runId = "";
      if (code === "OK") {
        const done = await run();
        expect(done.exitCode).to.equal(exit.kind === "exited" ? exit.code : -1);
        expect(Buffer.from(done.output).toString()).to.equal("out");
        ({ runId } = done);
      } else {
        const refused = await refusalOf(run());
        expect([refused.codeName, refused.reason], shown).to.deep.equal([code, reason]);
        expect(refused.message).not.to.include("out\n");
        runId = refused.facts["run_id"] ?? "";
        if (code === "CANCELLED") return;
        expect(refused.facts["audit_id"]).to.be.a("string");
      }
      const { payload, disclosures } = await runRecord(served.as("observer"), runId);
      expect(payload["end"]).to.equal(exit.kind);
      if (exit.kind === "refused") expect(payload["usage"]).to.equal(null);
      else {
        expect(payload["usage"]).to.include({ wall_us: 1500, cpu_us: 500 });
        expect(disclosures["output"]).to.deep.equal([new Uint8Array(sha256(text("out"))), 3]);
      }
    });
  }

  it("stands in docs/spec/module.md as it is", async () => {
    const page = await readFile(join(import.meta.dirname, "../../docs/spec/module.md"), "utf8");
    const documented = [...page.matchAll(/^\| `([a-z_: ]+)` +\| `([A-Z_]+)` +\| (?:`([A-Z_]+)`)? *\|/gm)];
    const asked = rows.filter(([, exit]) => exit.kind !== "exited" || exit.code === 0);
    expect(documented.map(([, shown, code, reason = ""]) => [shown, code, reason])).to.deep.equal(
      asked.map(([shown, , code, reason]) => [shown, code, code === "CANCELLED" ? "CANCELLED" : reason]),
    );
  });

  it("is UNAVAILABLE when the sandbox rejects what it was asked, and the run is recorded as refused", async () => {
    sandbox.next = () => Promise.reject(new Error("canary-2c"));
    const refused = await refusalOf(run());
    expect([refused.codeName, refused.reason]).to.deep.equal(["UNAVAILABLE", "RUN_CRASHED"]);
    expect(refused.message).not.to.include("canary-2c");
    const { payload } = await runRecord(served.as("observer"), refused.facts["run_id"]);
    expect(payload).to.include({ end: "refused", reason: "SANDBOX_UNAVAILABLE" });
    sandbox.next = () => fail({ kind: "runsBusy", what: "all tenants", limit: 1 });
    expect((await refusalOf(run())).codeName).to.equal("RESOURCE_EXHAUSTED");
  });

  it("gives no output when the record cannot be written: UNAVAILABLE, unary and streamed", async () => {
    const broken = async (): Promise<RunExit> => {
      store?.plan({ operation: "commit", nth: 1, when: "before", then: "works" });
      return { kind: "exited", code: 0 };
    };
    const serving = async (): Promise<void> => {
      for (let turn = 0; turn < 100 && (await served.as("guest").health()) !== "SERVING"; turn += 1) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    sandbox.next = broken;
    const refused = await refusalOf(run());
    expect(refused.codeName).to.equal("UNAVAILABLE");
    expect(refused.message).to.include("no output");
    await serving();
    sandbox.next = broken;
    const parts: unknown[] = [];
    const reading = async (): Promise<void> => {
      const stream = served.as("operator").modules.runStream({ run: { name: "hello" } });
      for await (const { part } of stream) parts.push(part?.$case);
    };
    expect((await refusalOf(reading())).codeName).to.equal("UNAVAILABLE");
    expect(parts).not.to.include("result");
    await serving();
    sandbox.next = async () => ({ kind: "exited", code: 0 });
    await run();
  });

  it("runs nothing when the decision cannot be written", async () => {
    const { asked } = sandbox;
    store?.plan({ operation: "commit", nth: 1, when: "before", then: "works" });
    expect((await refusalOf(run())).codeName).to.equal("UNAVAILABLE");
    expect(sandbox.asked).to.equal(asked);
  });

  it("is counted by how it was, with the sandbox's restarts, on the operator's port", async () => {
    const metrics = await (await fetch(`${served.server.operatorUrl}/metrics`)).text();
    for (const end of ["exited", "trapped", "killed", "refused", "crashed"]) {
      expect(metrics).to.match(new RegExp(`sigil_module_run_duration_seconds_count\\{end="${end}"\\} [1-9]`));
    }
    expect(metrics).to.match(/^sigil_sandbox_restarts_total 3$/m);
  });

  it("is bound by the least of manifest, configuration and call", async () => {
    const config = { module_memory_pages_max: 16, module_log_bytes_max: 77, module_input_bytes_max: 20 };
    await using strict = await makeDeployment();
    await using other = await strict.serve({ config, overrides: { sandbox: new ToldSandbox() } });
    const modules = other.as("operator").modules;
    const done = await modules.run({ name: "hello", wallMs: 400 });
    expect(done.limits).to.include({ wallMs: 400, memoryPages: 16, logBytes: 77, inputBytes: 20 });
    const long = await refusalOf(modules.run({ name: "hello", input: json({ name: "x".repeat(20) }) }));
    expect([long.codeName, long.reason]).to.deep.equal(["INVALID_ARGUMENT", "TOO_LARGE"]);
    // Nothing of it was proposed: the manifest asks for no more than this.
    const wide = upload("wide", codeOf({ pages: 20, body: "" }), { limits: { memoryPages: 16 } });
    const unfit = await refusalOf(other.as("mentor").modules.proposeModule(wide));
    expect(unfit.fieldViolations.map(({ field }) => field)).to.deep.equal(["limits.memory_pages"]);
  });
});
