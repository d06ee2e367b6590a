/**
 * The gate before every run: the decision, the approved digest, the record. Over a real socket, in the real sandbox.
 */
import { sha256 } from "@sigil/core/hash";
import { readFile, rm, writeFile } from "node:fs/promises";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { LevelOfAccess, type SigilConnection } from "@sigil/client";
import { Council } from "./council.ts";
import {
  approve,
  codeOf,
  codePath,
  hexOf,
  json,
  killedRuns,
  runningNow,
  runRecord,
  runsOf,
  type RunRecord,
} from "./modules.ts";
import { refusalOf } from "./refusal.ts";

const ada = { name: "hello", input: json({ name: "Ada" }) } as const;
const greeting = '{"greeting":"hello, Ada"}';
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

/** Writes its one byte for ever. */
const spin = { body: "(loop $again (br $again))" };
const say = (letter: string) => ({
  inside: `(data (i32.const 64) "${letter}")`,
  body: "(call $say (i32.const 64) (i32.const 1))",
});

describe("e2e_module_gate", function () {
  this.slow(3000);
  let council: Council;
  const asOperator = (): SigilConnection => council.as("operator");
  const record = (id: string | undefined): Promise<RunRecord> => runRecord(council.as("observer"), id);

  before(async () => {
    council = await Council.open({ otherTenants: ["globex"] });
  });
  after(() => council[Symbol.asyncDispose]());

  it("lets an Operator run hello, gives its content, and proves the run", async () => {
    const done = await asOperator().modules.run(ada);
    expect(done.outputJson).to.equal(greeting);
    expect(Buffer.from(done.output).toString()).to.equal(greeting);
    expect(done.exitCode).to.equal(0);
    expect(done.outputDigest).to.deep.equal(sha256(done.output));
    const { payload, links, disclosures } = await record(done.runId);
    expect(payload).to.deep.include({
      module: "module/hello",
      version: 1,
      digest: base64(done.digest),
      other_digest: null,
      caller: "operator",
      end: "exited",
      exit_code: 0,
      reason: "",
    });
    expect(payload["usage"]).to.deep.include({ host_calls: 0 });
    expect(disclosures).to.deep.equal({
      input: [new Uint8Array(sha256(Buffer.from(JSON.stringify({ name: "Ada" })))), 14],
      output: [done.outputDigest, greeting.length],
    });
    expect(payload["limits"]).to.deep.include({ wall_ms: 1000, memory_pages: 64 });
    const { chain } = await council.as("observer").audit.getFrozenChain({ auditId: done.auditId });
    expect(chain).to.include({ action: "module.run", target: "module/hello", session: done.runId });
    expect(chain?.minLevel).to.equal(LevelOfAccess.LEVEL_OF_ACCESS_OPERATOR);
    const { module } = await council.as("observer").modules.getModule({ name: "hello" });
    const decision = links.find(({ label }) => label === "decision")?.target;
    expect(decision && hexOf(decision)).to.equal(hexOf(chain?.record?.hash ?? new Uint8Array()));
    expect(links.find(({ label }) => label === "module")?.target).to.deep.equal(module?.recordHash);
    const verified = await council.as("observer").audit.verifyFrozenChain({ auditId: done.auditId });
    expect(verified.verified).to.equal(true);
  });

  it("denies a Guest, whose run's record says why, and the code was not even read", async () => {
    const { module } = await council.as("observer").modules.getModule({ name: "hello" });
    const path = codePath(council, module?.digest ?? new Uint8Array());
    const code = await readFile(path);
    await writeFile(path, "altered");
    const denied = await refusalOf(council.as("guest").modules.run(ada));
    const altered = await refusalOf(asOperator().modules.run(ada));
    await writeFile(path, code);
    expect([denied.codeName, denied.reason]).to.deep.equal(["PERMISSION_DENIED", "DENIED"]);
    expect(denied.facts).to.include({ verdict: "deny", decision_reason: "LEVEL_TOO_LOW" });
    // Who may read the code finds it altered; the Guest was turned away before.
    expect(altered.codeName).to.equal("DATA_LOSS");
    const { payload } = await runRecord(council.as("root"), denied.facts["run_id"], "public");
    expect(payload).to.deep.include({ end: "denied", reason: "LEVEL_TOO_LOW", usage: null, caller: "" });
    expect(payload).to.have.property("input");
    expect(payload).to.not.have.property("output");
    const chain = await council.as("root").audit.verifyFrozenChain({
      auditId: denied.facts["audit_id"] ?? "",
      tenant: "public",
    });
    expect(chain.verified).to.equal(true);
  });

  it("holds the module's own level as a floor under what the trust model allows", async () => {
    await approve(council, "senior", codeOf(say("s")), { minLevel: LevelOfAccess.LEVEL_OF_ACCESS_MENTOR });
    const denied = await refusalOf(asOperator().modules.run({ name: "senior" }));
    expect(denied.facts).to.include({ decision_reason: "LEVEL_TOO_LOW" });
    const done = await council.as("mentor").modules.run({ name: "senior" });
    expect(Buffer.from(done.output).toString()).to.equal("s");
    // The floor stands in the decision, so that it is worked out again as it was.
    for (const auditId of [denied.facts["audit_id"] ?? "", done.auditId]) {
      const verified = await council.as("observer").audit.verifyFrozenChain({ auditId });
      expect(verified.verified, JSON.stringify(verified.steps)).to.equal(true);
    }
  });

  it("refuses altered code and code that is gone, with the digests", async () => {
    const digest = await approve(council, "brittle", codeOf(say("b")));
    const path = codePath(council, digest);
    await asOperator().modules.run({ name: "brittle" });
    const junk = codeOf(say("x"));
    await writeFile(path, junk);
    const altered = await refusalOf(asOperator().modules.run({ name: "brittle" }));
    expect([altered.codeName, altered.reason]).to.deep.equal(["DATA_LOSS", "MODULE_ALTERED"]);
    expect(altered.facts).to.include({ wanted_digest: hexOf(digest), found_digest: hexOf(sha256(junk)) });
    expect((await record(altered.facts["run_id"])).payload).to.deep.include({
      end: "refused",
      reason: "MODULE_ALTERED",
      digest: base64(digest),
      other_digest: base64(sha256(junk)),
    });
    await rm(path);
    const missing = await refusalOf(asOperator().modules.run({ name: "brittle" }));
    expect([missing.codeName, missing.reason]).to.deep.equal(["FAILED_PRECONDITION", "MODULE_CODE_MISSING"]);
    expect((await record(missing.facts["run_id"])).payload).to.include({ reason: "MODULE_CODE_MISSING" });
  });

  it("refuses another digest, another version and a retired module, with both digests", async () => {
    const first = await approve(council, "moving", codeOf(say("1")));
    await asOperator().modules.run({ name: "moving", version: 1n, digest: first });
    const second = await approve(council, "moving", codeOf(say("2")));
    const done = await asOperator().modules.run({ name: "moving", version: 2n, digest: second });
    expect(Buffer.from(done.output).toString()).to.equal("2");
    const asked = [{ digest: first }, { version: 1n }] as const;
    for (const each of asked) {
      const refused = await refusalOf(asOperator().modules.run({ name: "moving", ...each }));
      expect(refused.codeName).to.equal("FAILED_PRECONDITION");
      expect(refused.reason).to.equal("digest" in each ? "MODULE_DIGEST" : "MODULE_VERSION");
      expect(refused.facts).to.include({ wanted_digest: hexOf(second), found_digest: hexOf(first) });
      expect((await record(refused.facts["run_id"])).payload).to.deep.include({
        other_digest: base64(first),
      });
    }
    const { proposal } = await council
      .as("mentor")
      .modules.retireModule({ name: "moving", reason: "enough" });
    if (proposal === undefined) throw new Error("the answer has no proposal");
    await asOperator().modules.run({ name: "moving" });
    await council.approve(proposal, "ann", "ben");
    const retired = await refusalOf(asOperator().modules.run({ name: "moving", digest: first }));
    expect([retired.codeName, retired.reason]).to.deep.equal(["FAILED_PRECONDITION", "MODULE_RETIRED"]);
    expect(retired.facts).to.include({ wanted_digest: hexOf(second), found_digest: hexOf(first) });
    expect((await record(retired.facts["run_id"])).payload).to.include({ end: "refused", version: 3 });
    await council.restart();
    const still = await refusalOf(council.as("operator").modules.run({ name: "moving" }));
    expect(still.reason).to.equal("MODULE_RETIRED");
    // What was retired may come back, by another proposal.
    await approve(council, "moving", codeOf(say("4")));
    expect((await council.as("operator").modules.run({ name: "moving" })).version).to.equal(4n);
  });

  it("says of a name without a module only to those who might run it that there is none", async () => {
    expect((await refusalOf(asOperator().modules.run({ name: "nobody" }))).codeName).to.equal("NOT_FOUND");
    expect((await refusalOf(council.as("guest").modules.run({ name: "nobody" }))).codeName).to.equal(
      "PERMISSION_DENIED",
    );
  });

  it("kills a run whose caller leaves or whose time is up, and the record says which", async () => {
    await approve(council, "spin", codeOf(spin), { limits: { wallMs: 30_000 } });
    const abort = new AbortController();
    const running = asOperator().modules.run({ name: "spin" }, { signal: abort.signal });
    await runningNow(council);
    abort.abort();
    expect((await refusalOf(running)).codeName).to.equal("CANCELLED");
    const [first] = await killedRuns(council.as("observer"), 1);
    expect(first).to.include({ reason: "cancelled", module: "module/spin" });
    const late = await refusalOf(asOperator().modules.run({ name: "spin" }, { deadlineMs: 1500 }));
    expect(late.codeName).to.equal("DEADLINE_EXCEEDED");
    expect((await killedRuns(council.as("observer"), 2))[1]).to.include({ reason: "deadline" });
    const stopped = await refusalOf(asOperator().modules.run({ name: "spin", wallMs: 100 }));
    expect([stopped.codeName, stopped.reason]).to.deep.equal(["DEADLINE_EXCEEDED", "RUN_TIMED_OUT"]);
    expect((await record(stopped.facts["run_id"])).payload).to.include({ reason: "wall_time" });
    expect((await asOperator().modules.run(ada)).outputJson).to.equal(greeting);
  });

  it("runs no more at once than a tenant may, and records what it turned away", async () => {
    await council.restart({ config: { module_processes: 2, module_runs_per_tenant_max: 1, drain_ms: 200 } });
    const abort = new AbortController();
    const first = asOperator().modules.run({ name: "spin" }, { signal: abort.signal });
    await runningNow(council);
    const second = await refusalOf(asOperator().modules.run(ada));
    expect([second.codeName, second.reason]).to.deep.equal(["RESOURCE_EXHAUSTED", "RUNS_BUSY"]);
    expect(second.retryDelayMs).to.equal(200);
    expect((await record(second.facts["run_id"])).payload).to.include({
      end: "refused",
      reason: "RUNS_BUSY",
    });
    const other = council.served.by("operator-globex", council.deployment.privateKeys.operator);
    expect((await other.modules.run(ada)).outputJson).to.equal(greeting);
    abort.abort();
    expect((await refusalOf(first)).codeName).to.equal("CANCELLED");
    expect((await killedRuns(council.as("observer"), 4)).length).to.equal(4);
    expect((await asOperator().modules.run(ada)).outputJson).to.equal(greeting);
  });

  it("kills what runs when the server stops, and its record is there afterwards", async () => {
    const running = refusalOf(asOperator().modules.run({ name: "spin" }));
    await runningNow(council);
    // Closed first, so that nobody is told before: the record is what tells.
    await council.restart();
    expect(["UNAVAILABLE", "CANCELLED"]).to.include((await running).codeName);
    const killed = (await runsOf(council.as("observer"))).filter(({ end }) => end === "killed");
    expect(killed.length).to.equal(5);
    expect(killed.at(-1)).to.include({ module: "module/spin", reason: "stopped" });
  });

  it("sends log and output as they come, and the result when the record is on disk", async () => {
    const inside = '(data (i32.const 64) "notedone")';
    const body = "(call $log (i32.const 64) (i32.const 4)) (call $say (i32.const 68) (i32.const 4))";
    await approve(council, "talk", codeOf({ inside, body }));
    const parts: string[] = [];
    let runId = "";
    for await (const { part } of asOperator().modules.runStream({ run: { name: "talk" } })) {
      if (part?.$case === "result") ({ runId } = part.value);
      else if (part !== undefined) parts.push(`${part.$case} ${Buffer.from(part.value).toString()}`);
    }
    expect(parts).to.deep.equal(["log note", "output done"]);
    expect((await record(runId)).payload).to.include({ end: "exited" });
    const { logTail } = await asOperator().modules.run({ name: "talk" });
    expect(logTail).to.equal("note");
    const trap = await approve(council, "trap", codeOf({ body: "unreachable" }));
    expect(trap).to.have.length(32);
    const trapped = await refusalOf(
      asOperator()
        .modules.runStream({ run: { name: "trap" } })
        .next(),
    );
    expect([trapped.codeName, trapped.reason]).to.deep.equal(["FAILED_PRECONDITION", "RUN_TRAPPED"]);
    expect((await record(trapped.facts["run_id"])).payload).to.include({
      end: "trapped",
      reason: "unreachable",
    });
  });

  it("never logs what went in or came out", async () => {
    const canary = "canary-5f1c";
    await asOperator().modules.run({ name: "hello", input: json({ name: canary }) });
    await refusalOf(
      asOperator().modules.run({ name: "hello", input: { $case: "inputJson", value: `{${canary}` } }),
    );
    await refusalOf(council.as("guest").modules.run({ name: "hello", input: json({ name: canary }) }));
    await asOperator().modules.run({ name: "hello", input: json({ nobody: canary }) });
    const logged = council.served.logged();
    expect(logged).to.include("/sigil.module.v1.ModuleService/Run");
    expect(logged).not.to.include(canary);
  });
});
