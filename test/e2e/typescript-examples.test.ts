/** The TypeScript examples, run as they are printed, against a real server: an HTTP service and an agent. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository } from "../../scripts/run.ts";
import { freePort } from "../contract/free-port.ts";
import { freePorts, serving, type Serving } from "./command.ts";
import { makeDeployment, origin, type Deployment, type ServedDeployment } from "./deployment.ts";
import { expectAsPrinted, expectShown, printedOn } from "./printed.ts";

describe("the TypeScript examples", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let env: NodeJS.ProcessEnv;
  before(async () => {
    deployment = await makeDeployment();
    served = await deployment.serve();
    const key = join(dirname(deployment.directory), "operator.pem");
    const pem = deployment.privateKeys.operator.export({ format: "pem", type: "pkcs8" });
    await writeFile(key, pem, { mode: 0o600 });
    const { genesis } = JSON.parse(await readFile(join(deployment.directory, "deployment.json"), "utf8")) as {
      readonly genesis: string;
    };
    env = {
      ...process.env,
      SIGIL_TARGET: served.server.target,
      SIGIL_ORIGIN: origin,
      SIGIL_PRINCIPAL: "operator",
      SIGIL_KEY: key,
      SIGIL_GENESIS: genesis,
    };
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  const run = (name: string, more: NodeJS.ProcessEnv = {}): ChildProcess =>
    spawn(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", join(repository, "examples/typescript", name)],
      {
        env: { ...env, ...more },
        stdio: ["pipe", "pipe", "pipe"],
      },
    );

  const serve = async (more: NodeJS.ProcessEnv = {}) => {
    const child = run("service.ts", more);
    child.stderr?.resume();
    for await (const line of createInterface({ input: child.stdout ?? expect.fail("no output") })) {
      const url = /http:\S+/.exec(line)?.[0] ?? expect.fail(line);
      return {
        url,
        [Symbol.asyncDispose]: async () => {
          child.kill("SIGTERM");
          await once(child, "exit");
          expect(child.exitCode).to.equal(0);
        },
      };
    }
    throw new Error("the service did not start");
  };

  it("serve what is allowed, and refuse the rest", async () => {
    await using service = await serve();
    const put = (user?: string): Promise<Response> =>
      fetch(`${service.url}/notes/menu`, {
        method: "PUT",
        body: "leek soup",
        headers: { "content-type": "text/plain", ...(user === undefined ? {} : { "x-user": user }) },
      });
    const written = await put("operator");
    expect(written.status).to.equal(201);
    const { decided } = (await written.json()) as { readonly decided: string };
    const { chain } = await served.as("observer").audit.getFrozenChain({ auditId: decided });
    expect(chain).to.include({ subject: "operator", action: "write", target: "user/notes/menu" });
    const denied = await put("a-stranger");
    expect(denied.status).to.equal(403);
    expect(await denied.json()).to.include({ error: "denied" });
    expect((await put()).status).to.equal(403);
    const read = await fetch(`${service.url}/notes/menu`, { headers: { "x-user": "operator" } });
    expect(await read.json()).to.deep.equal({ text: "leek soup" });
  });

  it("refuse everything without a server, and a server that proves nothing", async () => {
    for (const wrong of [{ SIGIL_TARGET: "127.0.0.1:1" }, { SIGIL_GENESIS: "0".repeat(64) }]) {
      await using service = await serve(wrong);
      const answer = await fetch(`${service.url}/notes/menu`, { headers: { "x-user": "operator" } });
      expect(answer.status).to.equal(503);
      expect(await answer.json()).to.deep.equal({ error: "unavailable" });
    }
  });

  it("run an agent's tools after an allow, and tell its model of a deny", async () => {
    const child = run("agent.ts");
    child.stdin?.end(
      ["search", "shell", "calculate", "unheard-of", "constructor"]
        .map((tool) => `${JSON.stringify({ tool, argument: "six times seven" })}\n`)
        .join(""),
    );
    const [output, problems] = await Promise.all([
      text(child.stdout ?? expect.fail("no output")),
      text(child.stderr ?? expect.fail("no output")),
      once(child, "close"),
    ]);
    expect(child.exitCode, problems).to.equal(0);
    const lines = output.trimEnd().split("\n");
    expect(lines[0]).to.equal("search: 3 pages about six times seven");
    expect(lines[1]).to.match(/^shell: not allowed: LEVEL_TOO_LOW, decision [0-9a-f-]{36}$/);
    expect(lines.slice(2)).to.deep.equal([
      "calculate: six times seven is 42",
      "unheard-of: there is no tool unheard-of",
      "constructor: there is no tool constructor",
    ]);
  });

  it("run no tool of an agent without a server", async () => {
    const child = run("agent.ts", { SIGIL_TARGET: "127.0.0.1:1", SIGIL_GENESIS: undefined });
    child.stdin?.end(`${JSON.stringify({ tool: "search", argument: "soup" })}\n`);
    child.stderr?.resume();
    expect(await text(child.stdout ?? expect.fail("no output"))).to.equal(
      "search: not allowed: no decision\n",
    );
  });
});

describe("the five minutes of examples/typescript/README.md", () => {
  const page = "examples/typescript/README.md";
  const [settings, ...steps] = printedOn(page);
  let home: string;
  let server: Serving;
  let port: number;
  before(async () => {
    home = await mkdtemp(join(tmpdir(), "sigil-five-minutes-"));
    [server, port] = [await serving(["dev", ...freePorts], { cwd: home }), await freePort()];
  });
  after(async () => {
    await server.stop();
    await rm(home, { recursive: true, force: true });
  });

  for (const step of steps) {
    it(`work as printed at line ${step.line}`, () =>
      expectAsPrinted(
        { ...step, script: `${settings?.script ?? ""}${step.script}` },
        { target: server.target, home, replaced: [[/\b8080\b/g, String(port)]] },
      ));
  }

  it("show the lines of the program", () => expectShown(page, "examples/typescript/service.ts", "ts"));
});
