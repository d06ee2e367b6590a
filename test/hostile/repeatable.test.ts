/** What a module may learn of the world: nothing that changes, unless its manifest grants it; and what it may ask. */
import { createCipheriv, createHash } from "node:crypto";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { utf8Encode } from "../../src/core/bytes.ts";
import { fail } from "../../src/errors.ts";
import { hostAnswerBytesMax, runMsMax } from "../../src/limits.ts";
import type { HostRequest, RunOutcome, Sandbox } from "../../src/modules/sandbox/run.ts";
import { assemble } from "./assemble.ts";
import { guest, numbersOf } from "./guests.ts";
import { openSandbox, outputOf, requestOf, type Asked } from "./runs.ts";

/** Says its clocks and twenty random bytes, then sleeps an hour and says its clocks again. */
const curious = guest({
  imports: ["clock_time_get", "random_get", "poll_oneoff"],
  inside: `(func $clocks
      (drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 300)))
      (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 308)))
      (call $say (i32.const 300) (i32.const 16)))`,
  body: `
    (call $clocks)
    (drop (call $random_get (i32.const 320) (i32.const 20)))
    (call $say (i32.const 320) (i32.const 20))
    (i32.store (i32.const 216) (i32.const 1))
    (i64.store (i32.const 224) (i64.const 3600000000000))
    (drop (call $poll_oneoff (i32.const 200) (i32.const 400) (i32.const 1) (i32.const 500)))
    (call $clocks)`,
});

const hour = 3_600_000_000_000n;

describe("a run without clock and randomness", () => {
  let sandbox: Awaited<ReturnType<typeof openSandbox>>;
  before(async () => {
    sandbox = await openSandbox({ processes: 2 });
  });
  after(() => sandbox[Symbol.asyncDispose]());
  const run = (asked: Asked): Promise<RunOutcome> => sandbox.run(requestOf(assemble(curious), asked));
  const parts = ({ output }: RunOutcome) => {
    const view = new DataView(output.buffer, output.byteOffset);
    const at = (offset: number): bigint => view.getBigUint64(offset, true);
    return {
      clocks: [at(0), at(8)] as const,
      random: output.slice(16, 36),
      later: [at(36), at(44)] as const,
    };
  };

  it("gives the same bytes for the same input, in any process, and others for another input", async () => {
    const input = utf8Encode("{}");
    const same = await Promise.all([1, 2, 3, 4].map(() => run({ input })));
    expect(new Set(same.map(({ output }) => Buffer.from(output).toString("hex"))).size).to.equal(1);
    const other = await run({ input: utf8Encode("[]") });
    const [first] = same;
    expect(Buffer.from(parts(other).random)).to.not.deep.equal(first && Buffer.from(parts(first).random));
  });

  it("has the random bytes that the specification says, from the input's digest", async () => {
    const input = utf8Encode("{}");
    const seed = createHash("sha256").update(input).digest();
    const key = createHash("sha256").update("sigil/module/random/v1\0").update(seed).digest();
    const wanted = createCipheriv("aes-256-ctr", key, new Uint8Array(16)).update(new Uint8Array(20));
    expect(Buffer.from(parts(await run({ input })).random)).to.deep.equal(wanted);
  });

  it("has a clock that moves only by what it sleeps, and sleeps without waiting", async () => {
    const outcome = await run({});
    const { clocks, later } = parts(outcome);
    expect(clocks).to.deep.equal([946_684_800_000_000_000n, 1_000_000_000n]);
    expect(later).to.deep.equal([clocks[0] + hour, clocks[1] + hour]);
    expect(outcome.usage.wallMs).to.be.lessThan(Number(hour / 1_000_000n));
  });

  it("has the real ones when they are granted: the hour of the day, and no two runs alike", async () => {
    const capabilities = ["clock", "random"] as const;
    // Time enough to say what they see before they sleep, on a busy machine too.
    const outcomes = await Promise.all([1, 2].map(() => run({ capabilities, limits: { wallMs: 3000 } })));
    const [first, second] = outcomes.map(({ exit, output }) => {
      expect(exit).to.deep.equal({ kind: "killed", limit: "wall_time" });
      return new DataView(output.buffer, output.byteOffset);
    });
    expect(outcomes.map(({ output }) => output.length)).to.deep.equal([36, 36]);
    const skewMs = Number(first?.getBigUint64(0, true)) / 1e6 - Date.now();
    expect(Math.abs(skewMs)).to.be.lessThan(60_000);
    expect(first?.getBigUint64(16, true)).to.not.equal(second?.getBigUint64(16, true));
  });
});

/** Asks for the record whose id is the input and says the code or length it got, then the answer. */
const reader = `(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "sigil_v1" "canon_read" (func $canon_read (param i32 i32) (result i32)))
  (import "sigil_v1" "answer" (func $answer (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 512))
    (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 2048) (call $canon_read (i32.const 1024) (i32.load (i32.const 8))))
    (i32.store (i32.const 0) (i32.const 2048)) (i32.store (i32.const 4)
      (i32.add (i32.const 4) (call $answer (i32.const 2) (i32.const 2052) (i32.const 1000))))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))`;

describe("what a module asks of the server", () => {
  let sandbox: Awaited<ReturnType<typeof openSandbox>>;
  before(async () => {
    sandbox = await openSandbox();
  });
  after(() => sandbox[Symbol.asyncDispose]());

  const ask = (id: string, host: (request: HostRequest) => Promise<Uint8Array>, asked: Asked = {}) =>
    sandbox.run(
      requestOf(assemble(reader), {
        input: utf8Encode(id),
        capabilities: ["canon.read:notes/"],
        host,
        ...asked,
      }),
    );

  it("comes back as bytes, from any place in the answer, and is counted", async () => {
    const asked: HostRequest[] = [];
    const outcome = await ask("notes/größe", (request) => {
      asked.push(request);
      return Promise.resolve(utf8Encode("0123456789"));
    });
    expect(asked).to.deep.equal([{ kind: "canon.read", id: "notes/größe" }]);
    expect([numbersOf(outcome.output)[0], outputOf(outcome).slice(4)]).to.deep.equal([10, "23456789"]);
    expect(outcome.usage.hostCalls).to.equal(1);
  });

  const codes: readonly (readonly [string, number, () => Promise<Uint8Array>])[] = [
    ["not found", -1, async () => fail({ kind: "notFound", what: "record", id: "x" })],
    ["denied", -2, async () => fail({ kind: "levelTooLow", rpc: "r", needed: "Root", actual: "Guest" })],
    ["invalid", -3, async () => fail({ kind: "invalidField", field: "id", rule: "r" })],
    ["unavailable", -4, async () => fail({ kind: "notServing", rule: "r" })],
    ["too large", -5, async () => new Uint8Array(hostAnswerBytesMax + 1)],
  ];
  for (const [what, code, host] of codes) {
    it(`comes back as a code when it is ${what}, and the run goes on`, async () => {
      const outcome = await ask("notes/1", host);
      expect([outcome.exit.kind, numbersOf(outcome.output)]).to.deep.equal(["exited", [code]]);
    });
  }

  it("is denied outside the one prefix without the server being asked, and the bug of a host call is reported", async () => {
    let asked = 0;
    const host = () => Promise.reject(new Error(`asked ${(asked += 1)}`));
    expect(numbersOf((await ask("secrets/1", host)).output)).to.deep.equal([-2]);
    expect(asked).to.equal(0);
    expect(numbersOf((await ask("notes/1", host)).output)).to.deep.equal([-4]);
    expect(sandbox.faults.map(String)).to.deep.equal(["Error: asked 1"]);
  });

  it("does not keep a run alive whose caller has gone, or whose time is up", async () => {
    const never = () => new Promise<Uint8Array>(() => undefined);
    const caller = new AbortController();
    const left = ask("notes/1", never, { signal: caller.signal });
    setTimeout(() => caller.abort(), 200);
    expect((await left).exit).to.deep.equal({ kind: "killed", limit: "cancelled" });
    const late = await ask("notes/1", never, { limits: { wallMs: 200 } });
    expect(late.exit).to.deep.equal({ kind: "killed", limit: "wall_time" });
  });
});

describe("a caller who cancels", () => {
  /** A module that says so when it has begun, and never ends. */
  const endless = assemble(
    guest({
      inside: `(data (i32.const 100) "begun")`,
      body: `(call $log (i32.const 100) (i32.const 5)) (loop $on (br $on))`,
    }),
  );
  const begin = async (sandbox: Sandbox, asked: Asked = {}) => {
    const { promise: begun, resolve } = Promise.withResolvers<void>();
    const outcome = sandbox.run(requestOf(endless, { ...asked, onLog: () => resolve() }));
    await begun;
    return { outcome };
  };

  it("ends the run at once, leaves the queue at once, and never starts when it had gone before", async () => {
    await using sandbox = await openSandbox();
    const [first, second] = [new AbortController(), new AbortController()];
    // Beyond this test's own time: only the caller ends it.
    const limits = { wallMs: runMsMax };
    const { outcome: running } = await begin(sandbox, { signal: first.signal, limits });
    const queued = sandbox.run(requestOf(endless, { signal: second.signal, limits }));
    second.abort();
    expect((await queued).exit).to.deep.equal({ kind: "killed", limit: "cancelled" });
    first.abort();
    const { exit, usage } = await running;
    expect(exit).to.deep.equal({ kind: "killed", limit: "cancelled" });
    expect(usage.wallMs).to.be.lessThan(limits.wallMs);
    const gone = await sandbox.run(requestOf(endless, { signal: AbortSignal.abort() }));
    expect([gone.exit, gone.usage.wallMs]).to.deep.equal([{ kind: "killed", limit: "cancelled" }, 0]);
  });

  it("by closing the sandbox: runs end, those who wait are told, nobody can begin, no process is left", async () => {
    const sandbox = await openSandbox();
    const { outcome: running } = await begin(sandbox);
    const queued = sandbox.run(requestOf(endless)).catch(String);
    await sandbox[Symbol.asyncDispose]();
    expect((await running).exit).to.deep.equal({ kind: "killed", limit: "cancelled" });
    expect(await queued).to.contain("the sandbox is closed");
    expect(await sandbox.run(requestOf(endless)).catch(String)).to.contain("the sandbox is closed");
    expect(sandbox.gauge).to.include({ running: 0, warm: 0 });
  });

  it("before its module is compiled is told the same, by cancelling or by closing", async () => {
    const cancelled = { kind: "killed", limit: "cancelled" };
    const sandbox = await openSandbox();
    const caller = new AbortController();
    const slow = async (): Promise<Uint8Array> => {
      setImmediate(() => caller.abort());
      return endless;
    };
    expect(
      (await sandbox.run(requestOf(endless, { bytes: slow, signal: caller.signal }))).exit,
    ).to.deep.equal(cancelled);
    const closing = Promise.withResolvers<void>();
    const bytes = async (): Promise<Uint8Array> => {
      setImmediate(() => closing.resolve(sandbox[Symbol.asyncDispose]()));
      return endless;
    };
    const closed = sandbox.run(requestOf(endless, { bytes }));
    await closing.promise;
    expect((await closed).exit).to.deep.equal(cancelled);
  });
});
