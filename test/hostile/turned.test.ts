/**
 * Processes that a module has turned against the server, that die, or that do not come up: no caller hangs, no server
 * falls.
 */
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { utf8Encode } from "../../src/core/bytes.ts";
import { assemble, assembleFile } from "./assemble.ts";
import { guest } from "./guests.ts";
import { openSandbox, requestOf, type Asked } from "./runs.ts";

const program = (name: string): string => join(import.meta.dirname, "turned", `${name}.js`);
const bytes = assemble(guest({ body: "" }));

describe("a sandbox process that was turned", () => {
  let sandbox: Awaited<ReturnType<typeof openSandbox>>;
  before(async () => {
    sandbox = await openSandbox({ launch: { program: program("process") } });
  });
  after(() => sandbox[Symbol.asyncDispose]());

  const run = (name: string, asked: Asked = {}) =>
    sandbox.run(
      requestOf(bytes, {
        name,
        limits: { wallMs: 1000, outputBytes: 100_000 },
        host: () => new Promise((resolve) => setTimeout(resolve, 50, utf8Encode("{}"))),
        capabilities: ["canon.read:notes/"],
        ...asked,
      }),
    );
  const isHonest = async (): Promise<void> => {
    expect((await run("honest")).exit).to.deep.equal({ kind: "exited", code: 0 });
  };

  const nonsense = [
    "a frame without end",
    "an empty frame",
    "an unknown kind",
    "an exit that is none",
    "a code that is none",
    "a usage that is none",
    "a header that is none",
    "a header of the prototype",
    "an end that names no run",
    "a second greeting",
    "a load nobody asked for",
    "two questions at once",
    "an end inside a question",
    "a question of another kind",
    "its own death",
  ];
  for (const name of nonsense) {
    it(`is ended, its run has crashed and the next run is served: ${name}`, async () => {
      const before = sandbox.faults.length;
      expect((await run(name)).exit).to.deep.equal({ kind: "crashed" });
      await isHonest();
      expect(sandbox.faults.length).to.equal(before + 1);
    });
  }

  it("that says the end of one run in the next is ended, and the next has crashed", async () => {
    await isHonest();
    expect((await run("the end of the run before")).exit).to.deep.equal({ kind: "crashed" });
    await isHonest();
  });

  it("that says the end twice is not used again, and the second end reaches no other run", async () => {
    expect((await run("two ends")).exit).to.deep.equal({ kind: "exited", code: 0 });
    const next = await run("silence");
    expect(next.exit.kind).to.be.oneOf(["crashed", "killed"]);
    await isHonest();
  });

  it("that writes past the limit is killed by the server's own count", async () => {
    const outcome = await run("output past the limit");
    expect(outcome.exit).to.deep.equal({ kind: "killed", limit: "output" });
    expect(outcome.output.length).to.equal(100_000);
    await isHonest();
  });

  it("gets a denial for what the manifest does not grant, and the server is not asked", async () => {
    let asked = 0;
    const host = () => Promise.resolve(new Uint8Array((asked += 1)));
    const { exit } = await run("an ungranted question", { host });
    expect([exit, asked]).to.deep.equal([{ kind: "exited", code: 2 }, 0]);
  });

  for (const name of ["silence", "the end of the pipe"]) {
    it(`is killed at its wall time when all it does is ${name}`, async () => {
      expect((await run(name)).exit).to.deep.equal({ kind: "killed", limit: "wall_time" });
      await isHonest();
    });
  }
});

describe("a sandbox process", () => {
  const failureOf = async (name: string): Promise<string> => {
    await using sandbox = await openSandbox({ launch: { program: program(name) } });
    const refusal = await sandbox.run(requestOf(bytes)).then(() => "ran", String);
    expect(refusal).to.contain("no sandbox process can be started");
    return String(sandbox.faults[0]);
  };

  it("can read, write, start, load and evaluate nothing: each of it was tried under its flags", async () => {
    expect(await failureOf("prober")).to.match(/must not have: nothing that was tried but$/);
  });

  it("that holds a permission is not used, and who waits is told instead of kept waiting", async () => {
    expect(await failureOf("permissions")).to.match(/must not have: child$/);
  });

  it("that cannot be started at all leaves nobody waiting either", async () => {
    expect(await failureOf("missing")).to.contain("a sandbox process ended: 1");
  });

  it("ends by itself when an endless loop has used up its CPU time, though nobody kills it", async () => {
    await using sandbox = await openSandbox({ launch: { cpuSecondsMax: 1 } });
    const outcome = await sandbox.run(
      requestOf(await assembleFile("endless-loop"), { limits: { wallMs: 20_000 } }),
    );
    expect(outcome.exit).to.deep.equal({ kind: "crashed" });
    expect(String(sandbox.faults[0])).to.match(/SIGXCPU|SIGKILL/);
  });
});
