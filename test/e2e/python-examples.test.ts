/** examples/python works as its page prints it: a guarded HTTP service, and an agent whose tools are asked about. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository, run } from "../../scripts/run.ts";
import { freePorts, serving, type Serving } from "./command.ts";
import { expectAsPrinted, printedOn } from "./printed.ts";

const page = "examples/python/README.md";
const python = join(repository, "build/python-sdk/bin/python");
const { exitCode } = await run([python, "-c", "import flask, grpc, google.rpc, cryptography"]);
const missing =
  exitCode === 0 ? "" : " (skipped: no grpcio or flask for Python: scripts/services.sh install python_sdk)";

describe(`the examples in Python${missing}`, function () {
  this.slow(20_000);
  let home = "";
  let server: Serving | undefined;
  let service: ChildProcess | undefined;

  before(async function () {
    if (missing !== "") this.skip();
    home = await mkdtemp(join(tmpdir(), "sigil-python-"));
    server = await serving(["dev", ...freePorts], { cwd: home });
  });

  after(async () => {
    service?.kill();
    await server?.stop();
    await rm(home, { recursive: true, force: true });
  });

  it("ask before each use of a tool, as printed", () => {
    const step = printedOn(page).find(({ script }) => script.includes("agent.py"));
    if (step === undefined) throw new Error(`${page} shows no agent`);
    expect(step.shown.length).to.be.greaterThan(7);
    return expectAsPrinted(step, { target: server?.target ?? "", home });
  });

  it("serve what is allowed, and nothing else; nothing at all while Sigil is away", async () => {
    const key = join(home, ".sigil/keys/operator.pem");
    service = spawn(python, ["examples/python/service.py", server?.target ?? "", key, "0"], {
      cwd: repository,
      env: { ...process.env, PYTHONPATH: "clients/python/src", PYTHONDONTWRITEBYTECODE: "1" },
      stdio: ["ignore", "pipe", "ignore"],
    });
    if (service.stdout === null) throw new Error("the service has no output");
    const [line] = (await once(createInterface({ input: service.stdout }), "line")) as [string];
    const url = `${/http:\S+/.exec(line)?.[0]}/notes/menu`;
    const answer = async (method: string, body?: string): Promise<readonly [number, string]> => {
      const response = await fetch(url, { method, ...(body === undefined ? {} : { body }) });
      return [response.status, await response.text()];
    };
    expect((await answer("PUT", "leek soup"))[1]).to.match(/^written, by decision [0-9a-f-]{36}\n$/);
    expect(await answer("GET")).to.deep.equal([200, "leek soup\n"]);
    const denied = [403, '{"error": "denied"}'];
    expect(await answer("DELETE")).to.deep.equal(denied);
    expect(await answer("POST", "x")).to.deep.equal(denied);
    expect(await answer("GET")).to.deep.equal([200, "leek soup\n"]);
    await server?.stop();
    expect(await answer("GET")).to.deep.equal([503, '{"error": "unavailable"}']);
  });
});
