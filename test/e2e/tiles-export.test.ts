/** `sigil tiles export` from a server: once, following, refused; and what a tenant's erasure leaves of it. */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { startProxy } from "../contract/cutting-proxy.ts";
import { verifyTiledLog, type ReadFile } from "../contract/tiled-log.ts";
import { sigilHere } from "./command.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { httpConfig, urlOf } from "./http-caller.ts";

describe("sigil tiles export", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let cwd: string;
  before(async () => {
    deployment = await makeDeployment();
    served = await deployment.serve({ config: { ...httpConfig, tiles: "public", tiles_interval_ms: 0 } });
    cwd = await mkdtemp(join(tmpdir(), "sigil-tiles-"));
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
    await rm(cwd, { recursive: true });
  });

  const fromFiles =
    (out: string): ReadFile =>
    (path) =>
      readFile(join(cwd, out, path)).catch(() => undefined);
  const fromHttp: ReadFile = async (path) => {
    const response = await fetch(`${urlOf(served)}/tlog/${path}`);
    return response.status === 404 ? undefined : Buffer.from(await response.arrayBuffer());
  };
  const decide = async (count: number): Promise<void> => {
    const { trust } = served.as("operator");
    const checks = Array.from({ length: count }, () => ({ action: "read", target: "public/x" }));
    await trust.batchCheck({ checks });
  };
  const exporting = (out: string) =>
    sigilHere(["tiles", "export", "--out", out, "--server", served.server.target], { cwd });

  it("writes what the server serves, and goes on after it", async () => {
    for (const count of [3, 600, 40]) {
      await decide(count);
      const ended = await exporting("log");
      expect([ended.exitCode, ended.problems]).to.deep.equal([
        0,
        `log: ${served.server.ledger.reader.size} entries.\n`,
      ]);
      const written = await verifyTiledLog(fromFiles("log"));
      expect(written?.size).to.equal(Number(served.server.ledger.reader.size));
      expect(written).to.deep.equal(await verifyTiledLog(fromHttp));
    }
  });

  it("goes on where a connection breaks in the middle", async () => {
    await decide(1000);
    await decide(1000);
    await decide(1000);
    const port = Number(served.server.target.split(":").at(-1));
    await using proxy = await startProxy(port, { delayMs: 100 });
    const first = join(cwd, "cut/tile/entries/000");
    let cuts = 0;
    const cutting = setInterval(() => {
      if (cuts > 0 || !existsSync(first)) return;
      cuts += 1;
      proxy.cut();
    }, 5);
    const words = ["tiles", "export", "--out", "cut", "--server", `127.0.0.1:${proxy.port}`];
    const ended = await sigilHere(words, { cwd });
    clearInterval(cutting);
    expect([ended.exitCode, cuts], ended.problems).to.deep.equal([0, 1]);
    expect((await verifyTiledLog(fromFiles("cut")))?.size).to.equal(Number(served.server.ledger.reader.size));
  });

  it("refuses to go on from a directory of another deployment", async () => {
    await using other = await makeDeployment({ tenant: "other" });
    await using elsewhere = await other.serve({ config: { tiles: "public" } });
    const words = ["tiles", "export", "--out", "log", "--server", elsewhere.server.target];
    const ended = await sigilHere(words, { cwd });
    expect(ended.exitCode).to.equal(1);
    expect(ended.problems).to.match(/not exported: the log has \d+ entries, \d+ are exported/);
  });

  it("takes a caller where tiles are not public", async () => {
    await using other = await makeDeployment();
    await using known = await other.serve({});
    const words = ["tiles", "export", "--out", "known", "--server", known.server.target];
    const ended = await sigilHere(words, { cwd });
    expect(ended.exitCode).to.equal(2);
    expect(ended.problems).to.match(/tiles are not published to everybody/);
  });
});
