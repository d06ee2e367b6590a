/** The tiled log over HTTP: who is served, under which paths, with which headers; its calls are calls as any. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { parseCheckpoint, parseNote } from "../../src/core/merkle/index.ts";
import { makeDeployment, type Deployment, type ServedDeployment, type ServeOptions } from "./deployment.ts";
import { httpConfig, urlOf } from "./http-caller.ts";

type Config = NonNullable<ServeOptions["config"]>;

describe("tiles over HTTP", () => {
  let deployment: Deployment;
  before(async () => {
    deployment = await makeDeployment();
  });
  after(() => deployment[Symbol.asyncDispose]());

  const serving = (config: Config): Promise<ServedDeployment> =>
    deployment.serve({ config: { ...httpConfig, ...config } });

  it("are off unless asked for", async () => {
    await using served = await serving({});
    for (const path of ["/tlog/checkpoint", "/tlog/tile/0/000.p/1"]) {
      expect((await fetch(urlOf(served) + path)).status).to.equal(404);
    }
  });

  it("are files under a prefix, with a checkpoint of seconds and everything else for ever", async () => {
    await using served = await serving({ tiles: "public", tiles_prefix: "/logs/main", tiles_interval_ms: 0 });
    const operator = served.as("operator");
    for (let turn = 0; turn < 3; turn += 1)
      await operator.trust.check({ action: "read", target: "public/x" });
    const base = `${urlOf(served)}/logs/main`;
    const checkpoint = await fetch(`${base}/checkpoint`);
    expect(checkpoint.status).to.equal(200);
    expect(checkpoint.headers.get("content-type")).to.equal("text/plain; charset=utf-8");
    expect(checkpoint.headers.get("cache-control")).to.equal("public, max-age=0");
    const { size } = parseCheckpoint(parseNote(await checkpoint.text()).text);
    const read = async (path: string): Promise<Buffer> => {
      const response = await fetch(`${base}/${path}`);
      expect(response.status, path).to.equal(200);
      expect(response.headers.get("content-type")).to.equal("application/octet-stream");
      expect(response.headers.get("cache-control")).to.equal("public, max-age=31536000, immutable");
      expect(response.headers.get("x-content-type-options")).to.equal("nosniff");
      return Buffer.from(await response.arrayBuffer());
    };
    const leaves = await read(`tile/0/000.p/${size}`);
    const entries = await read(`tile/entries/000.p/${size}`);
    expect([leaves.length, entries.length]).to.deep.equal([32 * Number(size), 34 * Number(size)]);
    for (let index = 0; index < Number(size); index += 1) {
      expect(entries.readUInt16BE(34 * index)).to.equal(32);
      const entry = entries.subarray(34 * index + 2, 34 * index + 34);
      const leaf = createHash("sha256").update(Buffer.of(0)).update(entry).digest("hex");
      expect(leaves.subarray(32 * index, 32 * index + 32).toString("hex")).to.equal(leaf);
    }
    expect(await read("tile/0/000.p/1")).to.deep.equal(leaves.subarray(0, 32));
    expect((await fetch(`${urlOf(served)}/tlog/checkpoint`)).status).to.equal(404);
  });

  it("have one path each: every other is 404 and never cached", async () => {
    await using served = await serving({ tiles: "public" });
    const paths = [
      "checkpoint/",
      "checkpoint?x",
      "tile/",
      "tile/0/0",
      "tile/0/0000",
      "tile/0/000",
      "tile/0/000/",
      "tile/0/x000/000",
      "tile/0/000.p/0",
      "tile/0/000.p/01",
      "tile/0/000.p/256",
      "tile/0/000.p/200",
      "tile/0/000.p/1?x",
      "tile/0/%3000",
      "tile/00/000.p/1",
      "tile/1/000.p/1",
      "tile/64/000.p/1",
      "tile/0/001.p/1",
      "tile/entries/000",
      "tile/entries/001.p/1",
      "tile/entries/000.p/1/x",
    ];
    for (const path of paths) {
      const response = await fetch(`${urlOf(served)}/tlog/${path}`);
      expect(response.status, path).to.equal(404);
      expect(response.headers.get("content-type"), path).to.equal("application/problem+json");
      expect(response.headers.get("cache-control"), path).to.equal("no-store");
    }
    const posted = await fetch(`${urlOf(served)}/tlog/checkpoint`, { method: "POST", body: "{}" });
    expect([posted.status, posted.headers.get("allow")]).to.deep.equal([405, "GET"]);
  });

  it("ask who it is where they are for callers that are known, over gRPC too, and are then for no shared cache", async () => {
    await using served = await serving({ tiles: "authenticated" });
    const url = `${urlOf(served)}/tlog/tile/0/000.p/1`;
    const unknown = await fetch(url);
    expect([unknown.status, unknown.headers.get("www-authenticate")]).to.deep.equal([401, "Bearer"]);
    const authorization = `Bearer ${await deployment.signer("observer").token()}`;
    const known = await fetch(url, { headers: { authorization } });
    expect(known.status).to.equal(200);
    expect(known.headers.get("cache-control")).to.equal("private, max-age=31536000, immutable");
    const wrong = await fetch(url, { headers: { authorization: `${authorization}x` } });
    expect(wrong.status).to.equal(401);
    const { content } = await served.as("observer").audit.getTile({ path: "tile/0/000.p/1" });
    expect(Buffer.from(content)).to.deep.equal(Buffer.from(await known.arrayBuffer()));
    const refused = await served
      .as("guest")
      .audit.getTile({ path: "checkpoint" })
      .catch((error: unknown) => error);
    expect(refused).to.include({ codeName: "UNAUTHENTICATED" });
  });

  it("are calls as any: counted by their RPC and refused past a deadline", async () => {
    await using served = await serving({ tiles: "public" });
    const url = urlOf(served);
    await fetch(`${url}/tlog/checkpoint`);
    const malformed = await fetch(`${url}/tlog/checkpoint`, { headers: { "sigil-timeout-ms": "soon" } });
    expect(malformed.status).to.equal(400);
    const metrics = await (await fetch(`${served.server.operatorUrl}/metrics`)).text();
    expect(metrics).to.match(/_count\{method="[^"]*GetTile",code="OK"\} 1\n/);
  });

  it("do not stand in front of other routes", async () => {
    for (const prefix of ["/audit", "/canon/user"]) {
      const started = await serving({ tiles: "public", tiles_prefix: prefix }).catch(String);
      expect(started, prefix).to.match(/tiles_prefix: other routes are below it/);
    }
  });
});
