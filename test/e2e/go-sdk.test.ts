/**
 * The Go client against a server of this repository: over TLS and a Unix socket, with the keys of a deployment, through
 * connections that are cut. Its own tests, against servers that lie, run here too, with Go's race detector.
 */
import { spawn } from "node:child_process";
import type { KeyObject } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository, run } from "../../scripts/run.ts";
import type { Values } from "../../src/config/keys.ts";
import { startFaulty } from "../faulty/table.ts";
import { freePort } from "../contract/free-port.ts";
import { genesisOf } from "../faulty/world.ts";
import { createAuthority, type Authority } from "../contract/certificates.ts";
import { unhurriedModel } from "./canon-writes.ts";
import { freePorts, serving, type Serving } from "./command.ts";
import { makeDeployment, origin, type Deployment } from "./deployment.ts";
import { expectAsPrinted, expectShown, printedOn } from "./printed.ts";

const sources = join(repository, "clients/go");
const offline = { GOPROXY: "off", GOFLAGS: "-mod=readonly" };

const goProblem = async (): Promise<string | undefined> => {
  const { exitCode } = await run(["go", "list", "-deps", "-test", "./..."], { cwd: sources, env: offline });
  return exitCode === 0
    ? undefined
    : "skipped: no Go, or not what the client needs: scripts/services.sh install go_sdk";
};

const missing = await goProblem();

const tracing = join(repository, "examples/go/tracing");
const tracingProblem = async (): Promise<string | undefined> => {
  const { exitCode } = await run(["go", "list", "-deps", "-test", "."], { cwd: tracing, env: offline });
  return exitCode === 0 ? undefined : "skipped: no OpenTelemetry for Go: scripts/services.sh install go_sdk";
};
const tracingMissing = missing ?? (await tracingProblem());

const suffix = (problem: string | undefined): string => (problem === undefined ? "" : ` (${problem})`);

const go = async (words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> => {
  const { exitCode, output } = await run(["go", ...words], { cwd: sources, env: { ...offline, ...env } });
  expect(exitCode, `go ${words.join(" ")}\n${output}`).to.equal(0);
  return output;
};

const pemOf = (key: KeyObject): string => key.export({ format: "pem", type: "pkcs8" }).toString();

describe(`the Go client${suffix(missing)}`, function () {
  this.slow(60_000);
  let home = "";
  let deployment: Deployment;
  let authority: Authority;

  before(async function () {
    if (missing !== undefined) return this.skip();
    home = await mkdtemp(join(tmpdir(), "sigil-go-"));
    // Checks of one run must not fill the rate window of the next.
    deployment = await makeDeployment({ model: unhurriedModel });
    authority = await createAuthority();
  });

  after(async () => {
    if (missing !== undefined) return;
    authority[Symbol.dispose]();
    await deployment[Symbol.asyncDispose]();
    await rm(home, { recursive: true, force: true });
  });

  it("is formatted and vetted", async () => {
    const { exitCode, output } = await run(["gofmt", "-l", "."], { cwd: sources });
    expect({ exitCode, output }).to.deep.equal({ exitCode: 0, output: "" });
    await go(["vet", ".", "./sigiltest"]);
  });

  it("passes its own tests", async () => {
    // The race detector needs a C compiler.
    const hasCompiler = (await run(["cc", "--version"])).exitCode === 0;
    await go(
      ["test", ...(hasCompiler ? ["-race"] : []), "-count=1", "."],
      hasCompiler ? { CGO_ENABLED: "1" } : {},
    );
  });

  /** @returns the tests that ran. */
  const tested = async (config: Partial<Values>, ca: string): Promise<readonly string[]> => {
    await using served = await deployment.serve({ config });
    const keys = { ...deployment.privateKeys, "witness/alice": deployment.witnessKeys["alice"] };
    const world = {
      target: served.server.target,
      ca,
      origin,
      genesis: await genesisOf(deployment),
      keys: Object.fromEntries(
        Object.entries(keys).flatMap(([id, key]) => (key === undefined ? [] : [[id, pemOf(key)]])),
      ),
      hello: join(repository, "generated/modules/hello.wasm"),
    };
    const path = join(home, "world.json");
    await writeFile(path, JSON.stringify(world), { mode: 0o600 });
    const output = await go(["test", "-count=1", "-v", "-run", "^TestWorld", "."], {
      SIGIL_TEST_WORLD: path,
    });
    expect(output).to.not.include("--- SKIP");
    const log = served.logged();
    for (const pem of Object.values(world.keys)) expect(log).to.not.include(pem.split("\n")[1]);
    return [...output.matchAll(/^--- PASS: (\w+)/gm)].map(([, name = ""]) => name);
  };

  const wanted = async (): Promise<readonly string[]> =>
    [...(await readFile(join(sources, "world_test.go"), "utf8")).matchAll(/^func (TestWorld\w+)/gm)].map(
      ([, name = ""]) => name,
    );

  it("decides, watches, attests, runs and shows evidence over TLS", async () => {
    const { cert, key } = await authority.issue("server", "IP:127.0.0.1");
    const ca = await readFile(authority.ca, "utf8");
    expect(await tested({ "tls.cert": cert, "tls.key": key }, ca)).to.deep.equal(await wanted());
  });

  it("and on a Unix socket, where tokens need no TLS", async () => {
    expect(await tested({ listen: { path: join(home, "s.sock") } }, "")).to.deep.equal(await wanted());
  });

  it("never allows by a faulty server, and would at every fault if it failed open", async () => {
    await using server = await startFaulty();
    const path = join(home, "faulty.json");
    await writeFile(path, JSON.stringify(server.table), { mode: 0o600 });
    const output = await go(["test", "-count=1", "-v", "-run", "^TestFaulty", "."], {
      SIGIL_TEST_FAULTY: path,
    });
    expect([...output.matchAll(/^--- PASS: TestFaulty(?:Server|Proofs)\w+/gm)]).to.have.length(3);
  });

  it("guards an HTTP service, as in examples/go", async () => {
    const example = join(repository, "examples/go");
    const program = join(home, "orders");
    const keyFile = join(home, "operator.pem");
    await writeFile(keyFile, pemOf(deployment.privateKeys.operator), { mode: 0o600 });
    const built = await run(["go", "build", "-o", program, "."], { cwd: example, env: offline });
    expect(built.exitCode, built.output).to.equal(0);
    const checked = await run(["gofmt", "-l", "."], { cwd: example });
    expect(checked.output).to.equal("");
    const served = await deployment.serve();
    const child = spawn(program, ["127.0.0.1:0", served.server.target, origin, keyFile], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const ended = once(child, "exit");
    try {
      const [url] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
      const ask = async (order: string, headers: Readonly<Record<string, string>>) => {
        const response = await fetch(`${url}/orders/${order}`, { headers });
        return [response.status, await response.text()] as const;
      };
      const [status, body] = await ask("7", { user: "observer" });
      expect(status, body).to.equal(200);
      const { audit_id: auditId } = JSON.parse(body) as { readonly audit_id: string };
      const { chain } = await served.as("operator").audit.getFrozenChain({ auditId });
      expect(chain).to.include({ subject: "observer", target: "public/orders/7", action: "read" });
      const forbidden = '{"error":"forbidden"}\n';
      expect(await ask("7", {})).to.deep.equal([403, forbidden]);
      expect(await ask("..%2F..%2Fvault", { user: "observer" })).to.deep.equal([403, forbidden]);
      await served[Symbol.asyncDispose]();
      expect(await ask("7", { user: "observer" })).to.deep.equal([503, '{"error":"unavailable"}\n']);
    } finally {
      child.kill("SIGTERM");
      expect(await ended).to.deep.equal([0, null]);
      await served[Symbol.asyncDispose]();
    }
  });

  describe("the five minutes of examples/go/README.md", () => {
    const page = "examples/go/README.md";
    let server: Serving | undefined;
    const replaced: [RegExp, string][] = [];

    before(async function () {
      if (missing !== undefined) return this.skip();
      server = await serving(["dev", ...freePorts], { cwd: home });
      replaced.push(
        [/\$PWD\/build\/orders/g, join(home, "orders")],
        [/build\/orders/g, join(home, "orders")],
        [/127\.0\.0\.1:8080/g, `127.0.0.1:${await freePort()}`],
      );
    });
    after(() => server?.stop());

    for (const step of printedOn(page)) {
      it(`work as printed at line ${step.line}`, () =>
        expectAsPrinted(step, { target: server?.target ?? "", home, replaced }));
    }

    it("show the lines of the program", () => expectShown(page, "examples/go/main.go", "go"));
  });

  it(`is traced by OpenTelemetry's own handler of gRPC${suffix(tracingMissing)}`, async function () {
    if (tracingMissing !== undefined) return this.skip();
    const { exitCode, output } = await run(["go", "test", "-count=1", "."], { cwd: tracing, env: offline });
    expect(exitCode, output).to.equal(0);
  });
});
