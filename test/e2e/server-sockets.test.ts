/** Where a server listens: Unix sockets, with their files, and addresses that somebody else has. */
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { freePorts, running, serving, sigil, sigilHere } from "./command.ts";

const readyAt = (socketPath: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const asked = request({ socketPath, path: "/readyz" }, (response) => {
      let text = "";
      response.on("data", (part: Buffer) => (text += part.toString()));
      response.on("end", () => resolve(text));
    });
    asked.on("error", reject).end();
  });

const listenAt = async (
  address: string | { readonly host: string; readonly port: number },
): Promise<Server> => {
  const server = createServer();
  server.listen(address);
  await once(server, "listening");
  return server;
};

describe("where a server listens", function () {
  this.slow(15_000);

  let cwd: string;
  let path: string;
  beforeEach(async () => {
    cwd = mkdtempSync(join(tmpdir(), "sigil-at-"));
    path = join(cwd, "s.sock");
    await sigilHere(["init", "--data", "data", "--dev"], { cwd });
  });
  afterEach(() => rmSync(cwd, { recursive: true, force: true }));

  const serveAt = (...flags: readonly string[]) => ["serve", "--data", "data", ...freePorts, ...flags];
  const check = (server: string) =>
    sigilHere(
      [
        "check",
        "--action",
        "write",
        "--target",
        "user/a",
        "--key",
        "data.keys/operator.pem",
        "--principal",
        "operator",
        "--server",
        server,
      ],
      { cwd },
    );

  it("may be Unix sockets: for their owner unless told, removed at the stop, and taken over from the dead alone", async () => {
    const other = join(cwd, "o.sock");
    const flags = ["--listen", "unix:s.sock", "--operator-listen", `unix:${other}`];
    {
      const killed = running(serveAt(...flags), { cwd });
      await killed.printed(/"msg":"serving"/);
      expect([path, other].map((one) => statSync(one).mode & 0o777)).to.deep.equal([0o600, 0o600]);
      expect(await readyAt(other)).to.equal("ready\n");
      expect((await check(`unix:${path}`)).exitCode).to.equal(0);
      const twin = await sigil(serveAt(...flags), { cwd });
      expect([twin.exitCode, twin.output, twin.problems]).to.deep.equal([
        2,
        "",
        "sigil: config listen: cannot listen on unix:s.sock: EADDRINUSE\n",
      ]);
      expect((await check("unix:s.sock")).exitCode).to.equal(0);
      await killed.end("SIGKILL");
    }
    expect(existsSync(path)).to.equal(true);
    const server = await serving(serveAt(...flags, "--socket-mode", "0660"), { cwd });
    expect(statSync(path).mode & 0o777).to.equal(0o660);
    expect((await check(server.target)).exitCode).to.equal(0);
    expect(await server.stop()).to.equal(0);
    expect([path, other].map((one) => existsSync(one))).to.deep.equal([false, false]);
  });

  it("is no file of somebody's that is not a socket, and no directory that is not there", async () => {
    writeFileSync(path, "mine");
    chmodSync(path, 0o600);
    const taken = await sigilHere(serveAt("--listen", `unix:${path}`), { cwd });
    expect(taken.problems).to.equal(`sigil: config listen: cannot listen on unix:${path}: EADDRINUSE\n`);
    expect(existsSync(path)).to.equal(true);
    const nowhere = await sigilHere(serveAt("--listen", "unix:nowhere/s.sock"), { cwd });
    expect(nowhere.problems).to.match(
      /^sigil: config listen: cannot listen on unix:nowhere\/s.sock: E[A-Z]+\n$/,
    );
  });

  it("is nothing that somebody else has: EADDRINUSE, and nothing else is said", async () => {
    const holder = await listenAt({ host: "127.0.0.1", port: 0 });
    try {
      const { port } = holder.address() as { readonly port: number };
      for (const [flag, key] of [
        ["--listen", "listen"],
        ["--operator-listen", "operator_listen"],
      ] as const) {
        const { exitCode, output, problems } = await sigil(serveAt(flag, `127.0.0.1:${port}`), { cwd });
        expect([exitCode, output, problems]).to.deep.equal([
          2,
          "",
          `sigil: config ${key}: cannot listen on 127.0.0.1:${port}: EADDRINUSE\n`,
        ]);
      }
    } finally {
      holder.close();
    }
  });
});
