/** What a run of a module gives back, and what it may have. */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { SigilFault } from "../../src/errors.ts";
import { utf8Encode } from "../../src/core/bytes.ts";
import type { RunOutcome } from "../../src/modules/sandbox/run.ts";
import { assemble } from "./assemble.ts";
import { guest, numbersOf } from "./guests.ts";
import { logOf, openSandbox, outputOf, requestOf, type Asked } from "./runs.ts";

describe("a run in the sandbox", () => {
  let sandbox: Awaited<ReturnType<typeof openSandbox>>;
  before(async () => {
    sandbox = await openSandbox();
  });
  after(() => sandbox[Symbol.asyncDispose]());

  const run = (text: Parameters<typeof guest>[0], asked: Asked = {}): Promise<RunOutcome> =>
    sandbox.run(requestOf(assemble(guest(text)), asked));

  const echo = {
    imports: ["fd_read"],
    body: `(local $n i32)
      (loop $more
        (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 1000))
        (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (local.set $n (i32.load (i32.const 8)))
        (call $say (i32.const 1024) (local.get $n))
        (br_if $more (local.get $n)))`,
  };

  it("gives the module its input and returns what it writes, its log beside it, and what it took", async () => {
    const input = utf8Encode(`{"text":"${"größer ".repeat(500)}"}`);
    const outcome = await run(echo, { input });
    expect(outcome.exit).to.deep.equal({ kind: "exited", code: 0 });
    expect(Buffer.from(outcome.output).equals(Buffer.from(input))).to.equal(true);
    const { usage } = outcome;
    expect(usage).to.include({
      outputBytes: input.length,
      inputBytes: input.length,
      logBytes: 0,
      hostCalls: 0,
    });
    expect(usage.memoryBytesPeak).to.equal(65_536);
    expect(usage.wallMs).to.be.greaterThan(0);
    const logged = await run({
      inside: `(data (i32.const 100) "a line\\0a")`,
      body: `(call $log (i32.const 100) (i32.const 7))`,
    });
    expect([logOf(logged), logged.output.length, logged.usage.logBytes]).to.deep.equal(["a line\n", 0, 7]);
  });

  it("gives the module its name as the only argument, and an empty environment", async () => {
    const outcome = await run(
      {
        imports: ["args_get", "args_sizes_get", "environ_sizes_get"],
        body: `
          (drop (call $args_sizes_get (i32.const 100) (i32.const 104)))
          (drop (call $environ_sizes_get (i32.const 108) (i32.const 112)))
          (call $say (i32.const 100) (i32.const 16))
          (drop (call $args_get (i32.const 100) (i32.const 200)))
          (call $say (i32.load (i32.const 100)) (i32.const 6))`,
      },
      { name: "thumb" },
    );
    expect(numbersOf(outcome.output.slice(0, 16))).to.deep.equal([1, 6, 0, 0]);
    expect(outputOf(outcome).slice(16)).to.equal("thumb\0");
  });

  it("tells of output and log while the module is still running", async () => {
    const chunks: string[] = [];
    let sawEarly = false;
    const outcome = await run(
      {
        imports: ["poll_oneoff"],
        inside: `(data (i32.const 100) "first") (data (i32.const 110) "last")`,
        body: `
          (call $log (i32.const 100) (i32.const 5))
          (i64.store (i32.const 224) (i64.const 300000000))
          (i32.store (i32.const 216) (i32.const 1))
          (drop (call $poll_oneoff (i32.const 200) (i32.const 400) (i32.const 1) (i32.const 500)))
          (call $say (i32.const 110) (i32.const 4))`,
      },
      {
        capabilities: ["clock"],
        onLog: (chunk) => {
          chunks.push(Buffer.from(chunk).toString());
          setTimeout(() => (sawEarly = chunks.length === 1), 20);
        },
        onOutput: (chunk) => chunks.push(Buffer.from(chunk).toString()),
      },
    );
    expect(outcome.exit.kind).to.equal("exited");
    expect(chunks).to.deep.equal(["first", "last"]);
    expect(sawEarly).to.equal(true);
    expect(outcome.usage.wallMs).to.be.greaterThan(290);
  });

  it("refuses bytes that have another digest than the approved one, and names both", async () => {
    const bytes = assemble(guest({ body: "" }));
    const outcome = await sandbox.run(requestOf(bytes, { digest: requestOf(new Uint8Array()).digest }));
    expect(outcome.exit.kind).to.equal("refused");
    if (outcome.exit.kind === "refused")
      expect(outcome.exit.rule).to.match(/digest [0-9a-f]{64}, approved is [0-9a-f]{64}/);
  });

  it("asks for a module's bytes once, and keeps it compiled", async () => {
    const bytes = assemble(guest({ ...echo, inside: `(global $unique i32 (i32.const 12345))` }));
    let asked = 0;
    const request = requestOf(bytes, { bytes: () => Promise.resolve((asked += 1)).then(() => bytes) });
    for (let count = 0; count < 5; count += 1) await sandbox.run(request);
    expect(asked).to.equal(1);
  });

  it("refuses input past its limit, and more runs than there may be", async () => {
    const refusal = (asked: Asked) =>
      run(echo, asked).then(
        () => "ran",
        (cause: unknown) => (cause instanceof SigilFault ? cause.error.kind : String(cause)),
      );
    expect(await refusal({ input: new Uint8Array(11), limits: { inputBytes: 10 } })).to.equal("tooLarge");
    await using small = await openSandbox({ runsMax: 3, runsPerTenantMax: 2 });
    const request = (tenant: string) => requestOf(assemble(guest(echo)), { tenant });
    const outcomes = await Promise.all(
      ["a", "a", "a", "b", "c"].map((tenant) =>
        small.run(request(tenant)).then(
          ({ exit }) => exit.kind,
          (cause: unknown) => (cause instanceof SigilFault ? cause.message : String(cause)),
        ),
      ),
    );
    expect(outcomes[2]).to.contain('2 runs of tenant "a" are under way');
    expect(outcomes[4]).to.contain("3 runs of all tenants are under way");
    expect([outcomes[0], outcomes[1], outcomes[3]]).to.deep.equal(["exited", "exited", "exited"]);
  });

  it("leaves its process to the next run when it exited, and to nobody after any other end", async () => {
    await using one = await openSandbox();
    const restartsAfter = async (body: string, asked: Asked = {}): Promise<number> => {
      await one.run(requestOf(assemble(guest({ imports: ["proc_exit"], body })), asked));
      await one.run(requestOf(assemble(guest({ body: "" }))));
      return one.gauge.restarts;
    };
    expect(await restartsAfter("")).to.equal(0);
    expect(await restartsAfter("(call $proc_exit (i32.const 3))")).to.equal(0);
    expect(await restartsAfter("", { digest: requestOf(new Uint8Array()).digest })).to.equal(0);
    expect(await restartsAfter("unreachable")).to.equal(1);
    expect(await restartsAfter("(loop $on (br $on))", { limits: { wallMs: 100 } })).to.equal(2);
    expect(one.faults).to.deep.equal([]);
  });
});
