/** A proxy that asks before it lets a request through: by hand, and nginx as the page for operators prints it. */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository } from "../../scripts/run.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { httpAs, httpConfig, problem, sendRaw, urlOf, type Ask } from "./http-caller.ts";

const searched = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin"];
const nginx = searched.map((folder) => join(folder, "nginx")).find((path) => existsSync(path));
const missing = nginx === undefined ? " (skipped: no nginx: scripts/services.sh install nginx)" : "";

const { actions, targets } = defaultModelPayload;
/** Operators may read what is public over HTTP, and nobody anything else. */
const model = {
  ...defaultModelPayload,
  actions: { ...actions, "http.get": { risk: 0.25, min_loa: "operator" } },
  targets: { ...targets, "http/shop.example/public/**": 0, "http/**": 1 },
};

const freePort = async (): Promise<number> => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
};

describe("a proxy that asks first", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let guest: Ask;
  let operator: Ask;

  before(async () => {
    deployment = await makeDeployment({ model });
    served = await deployment.serve({ config: { ...httpConfig, http_proxies: ["127.0.0.0/8"] } });
    const as = httpAs(deployment, served);
    [guest, operator] = [as("guest"), as("operator")];
  });

  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  const asked = (path: string, more: Readonly<Record<string, string>> = {}) => ({
    "x-forwarded-method": "GET",
    "x-forwarded-host": "shop.example",
    "x-forwarded-uri": path,
    ...more,
  });

  it("gets 204 for an allow and 403 for everything else, and the decision is about what it holds", async () => {
    const allowed = await operator("GET", "/trust/forward", undefined, asked("/public/a?b=c"));
    expect(allowed.status, JSON.stringify(allowed.json)).to.equal(204);
    const { json } = await operator("GET", `/audit/${allowed.headers.get("sigil-audit-id")}`);
    expect(json.chain).to.include({
      action: "http.get",
      target: "http/shop.example/public/a",
      subject: "operator",
    });
    const forward = (ask: Ask, path: string, more = {}) =>
      ask("GET", "/trust/forward", undefined, asked(path, more));
    expect(problem(await forward(guest, "/public/a"))).to.deep.equal([403, "DENIED"]);
    expect(problem(await forward(operator, "/private"))).to.deep.equal([403, "DENIED"]);
    expect(problem(await forward(operator, "/public/a", { "x-forwarded-method": "PURGE" }))).to.deep.equal([
      403,
      "DENIED",
    ]);
    for (const path of [
      "/public/../private",
      "/public/%2e%2e/private",
      "/public//a",
      "/public/a;b",
      "/public%2fa",
    ])
      expect(problem(await forward(operator, path)), path).to.deep.equal([403, "INVALID_FIELD"]);
    expect(problem(await operator("GET", "/trust/forward"))).to.deep.equal([403, "INVALID_FIELD"]);
    expect(problem(await operator("GET", "/trust/forward?x=1", undefined, asked("/public/a")))).to.deep.equal(
      [403, "INVALID_FIELD"],
    );
    expect(
      problem(
        await guest("GET", "/trust/forward", undefined, asked("/public/a", { authorization: "Bearer x" })),
      ),
    ).to.deep.equal([403, "TOKEN_MALFORMED"]);
  });

  it("is believed from a listed address alone", async () => {
    await using other = await makeDeployment({ model });
    await using plain = await other.serve({ config: { ...httpConfig, http_proxies: ["10.0.0.0/8", "::1"] } });
    const answer = await httpAs(other, plain)("operator")(
      "GET",
      "/trust/forward",
      undefined,
      asked("/public/a"),
    );
    expect(problem(answer)).to.deep.equal([403, "PROXY_NOT_LISTED"]);
    expect(answer.json.allowed).to.equal(false);
  });

  describe(`nginx${missing}`, function () {
    let home = "";
    let proxy: ChildProcess | undefined;
    let backend: Server;
    let url = "";

    before(async function () {
      if (nginx === undefined) return this.skip();
      home = await mkdtemp(join(tmpdir(), "sigil-nginx-"));
      await mkdir(join(home, "logs"));
      backend = createServer((request, response) => response.end(`behind: ${request.url}`));
      await new Promise<void>((resolve) => backend.listen(0, "127.0.0.1", resolve));
      const { port: backendPort } = backend.address() as AddressInfo;
      const page = readFileSync(join(repository, "docs/operating/http.md"), "utf8");
      const [, printed = ""] = /```nginx\n([\s\S]*?)```/.exec(page) ?? [];
      const locations = printed
        .replace("http://127.0.0.1:8080", `http://127.0.0.1:${backendPort}`)
        .replace("http://127.0.0.1:50053", urlOf(served));
      const port = await freePort();
      url = `http://127.0.0.1:${port}`;
      const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
        (name) => `${name}_temp_path ${join(home, name)};`,
      );
      const config = `pid ${join(home, "pid")}; daemon off; error_log ${join(home, "logs/error.log")};
        events {} http { access_log off; ${temporary.join(" ")}
        server { listen 127.0.0.1:${port}; server_name shop.example; ${locations} } }`;
      await writeFile(join(home, "nginx.conf"), config);
      proxy = spawn(nginx, ["-p", home, "-c", join(home, "nginx.conf")], { stdio: "ignore" });
      for (let turn = 0; turn < 400; turn += 1) {
        if (
          await fetch(url).then(
            () => true,
            () => false,
          )
        )
          break;
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    });

    after(async () => {
      if (proxy === undefined) return;
      const ended = new Promise((resolve) => proxy?.once("close", resolve));
      proxy.kill("SIGTERM");
      await ended;
      backend.close();
      await rm(home, { recursive: true, force: true });
    });

    const through = async (target: string, token?: string): Promise<string> => {
      const authorization = token === undefined ? "" : `Authorization: Bearer ${token}\r\n`;
      return sendRaw(
        url,
        `GET ${target} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n${authorization}\r\n`,
      );
    };

    it("lets through what is allowed, and nothing that is spelled as if it were", async () => {
      const token = await deployment.signer("operator").token();
      expect(await through("/public/a?b", token))
        .to.match(/^HTTP\/1\.1 200 /)
        .and.to.include("behind: /public/a?b");
      expect(await through("/public/a")).to.match(/^HTTP\/1\.1 403 /);
      for (const target of [
        "/private",
        "/public/../private",
        "/public/%2e%2e/private",
        "/public//a",
        "/public/..%2fprivate",
      ])
        expect(await through(target, token), target).to.match(/^HTTP\/1\.1 403 /);
    });

    it("cannot be told by its caller what the request is", async () => {
      const token = await deployment.signer("operator").token();
      const lies =
        "X-Original-URI: /public/a\r\nX-Forwarded-Uri: /public/a\r\nX-Original-Method: GET\r\nX-Forwarded-Host: shop.example\r\n";
      const text = await sendRaw(
        url,
        `GET /private HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\n${lies}\r\n`,
      );
      expect(text).to.match(/^HTTP\/1\.1 403 /);
    });

    it("lets nothing through while nobody answers", async () => {
      const token = await deployment.signer("operator").token();
      await served[Symbol.asyncDispose]();
      expect(await through("/public/a", token)).to.match(/^HTTP\/1\.1 5/);
    });
  });
});
