/**
 * What stands before a call over HTTP: pages of other origins, other people's names, long and slow bodies, requests
 * that proxies read another way.
 */
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { httpAs, httpConfig, problem, sendRaw, urlOf, type Ask } from "./http-caller.ts";

const question = { action: "write", target: "user/notes" };

describe("the HTTP port", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let guest: Ask;
  let operator: Ask;

  before(async () => {
    deployment = await makeDeployment();
    served = await deployment.serve({
      config: {
        ...httpConfig,
        http_hosts: ["sigil.example"],
        message_bytes_max: 64 << 10,
        connection_silent_ms: 500,
      },
    });
    const as = httpAs(deployment, served);
    [guest, operator] = [as("guest"), as("operator")];
  });

  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  it("takes POST as JSON alone, so that no page sends one unasked, and says so", async () => {
    const types = [
      "text/plain",
      "application/x-www-form-urlencoded",
      "multipart/form-data",
      "application/jsonp",
      "",
    ];
    for (const type of [...types, "application/json; charset=utf-16", "application/json, text/plain"]) {
      const answer = await guest("POST", "/trust/check", JSON.stringify(question), { "content-type": type });
      expect(problem(answer), type).to.deep.equal([415, "NOT_JSON"]);
      expect(answer.json.allowed).to.equal(false);
    }
    const packed = await guest("POST", "/trust/check", "{}", { "content-encoding": "gzip" });
    expect(problem(packed)).to.deep.equal([415, "NOT_JSON"]);
    for (const type of ["application/json; charset=UTF-8", "Application/JSON"])
      expect(
        (await guest("POST", "/trust/check", JSON.stringify(question), { "content-type": type })).status,
      ).to.equal(200);
    const preflight = await fetch(`${urlOf(served)}/trust/check`, {
      method: "OPTIONS",
      headers: { origin: "https://evil.example" },
    });
    expect([preflight.status, preflight.headers.get("allow")]).to.deep.equal([405, "POST"]);
    const names = [...preflight.headers.keys()].filter((name) => /^access-control|^set-cookie/.test(name));
    expect(names).to.deep.equal([]);
  });

  it("serves the names that it is told and addresses, and no name that leads here from elsewhere", async () => {
    const { port } = new URL(urlOf(served));
    const statusFor = (host: string): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const headers = { host };
        httpRequest({ host: "127.0.0.1", port, path: "/audit/checkpoint", headers }, (response) =>
          resolve(response.resume().statusCode),
        )
          .on("error", reject)
          .end();
      });
    for (const host of [
      "localhost",
      `LOCALHOST:${port}`,
      "127.0.0.1",
      "[::1]:80",
      "sigil.example",
      "Sigil.Example:443",
    ])
      expect(await statusFor(host), host).to.equal(200);
    for (const host of [
      "evil.example",
      "sigil.example.evil.example",
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "sigil.example@evil",
      "x",
    ])
      expect(await statusFor(host), host).to.equal(421);
  });

  it("counts what it refuses before it is a call, by the reason", async () => {
    await guest("POST", "/trust/check", "{}", { "content-type": "text/plain" });
    const metrics = await (await fetch(`${served.server.operatorUrl}/metrics`)).text();
    expect(metrics).to.match(/^sigil_\w*refus\w*\{[^}]*HTTP_NOT_JSON[^}]*\} [1-9]/m);
  });

  it("ends the connection of an address that is silent longest for the next, and none that proved who it is", async () => {
    await using other = await makeDeployment();
    await using few = await other.serve({ config: { ...httpConfig, connections_per_peer_max: 2 } });
    const { port } = new URL(urlOf(few));
    const open = async (): Promise<Socket> => {
      const socket = connect({ host: "127.0.0.1", port: Number(port) });
      socket.on("error", () => {});
      await once(socket, "connect");
      return socket;
    };
    const proved = await open();
    const head = `GET /audit/checkpoint HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${await other.signer("operator").token()}\r\n\r\n`;
    const answered = async (): Promise<string> => {
      proved.write(head);
      return String((await once(proved, "data"))[0]);
    };
    expect(await answered()).to.match(/^HTTP\/1\.1 200 /);
    const silent = [await open(), await open()];
    const ended = once(silent[0] ?? proved, "close");
    silent.push(await open());
    await ended;
    expect(await answered()).to.match(/^HTTP\/1\.1 200 /);
    // It takes no place of those without a name.
    expect(silent.map(({ closed }) => closed)).to.deep.equal([true, false, false]);
    for (const socket of [proved, ...silent]) socket.destroy();
  });

  it("bounds a body by its length as it is told and as it comes", async () => {
    const long = JSON.stringify({ ...question, input: "A".repeat(64 << 10) });
    const answer = await guest("POST", "/trust/check", long);
    expect(problem(answer)).to.deep.equal([413, "BODY_TOO_LARGE"]);
    const chunk = `2000\r\n${" ".repeat(0x2000)}\r\n`;
    const head =
      "POST /trust/check HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    const text = await sendRaw(urlOf(served), head, ...Array.from({ length: 9 }, () => chunk));
    expect(text)
      .to.match(/^HTTP\/1\.1 413 /)
      .and.to.include('"allowed":false');
    // Room that long bodies took is free again.
    const fits = JSON.stringify({ ...question, input: "A".repeat(40 << 10) });
    for (let turn = 0; turn < 5; turn += 1)
      expect((await operator("POST", "/trust/check", fits)).status).to.equal(200);
  });

  it("finds no two requests where a proxy might see one", async () => {
    const post = (headers: string, body: string): Promise<string> =>
      sendRaw(
        urlOf(served),
        `POST /trust/check HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${headers}\r\n\r\n${body}`,
      );
    const smuggled = "GET /audit/checkpoint HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const probes = {
      "both lengths": post("Content-Length: 5\r\nTransfer-Encoding: chunked", `0\r\n\r\n${smuggled}`),
      "two lengths": post("Content-Length: 2\r\nContent-Length: 70", `{}${smuggled}`),
      "a list of lengths": post("Content-Length: 2, 2", `{}${smuggled}`),
      "a signed length": post("Content-Length: +2", `{}${smuggled}`),
      "an obscured coding": post("Transfer-Encoding: xchunked", `0\r\n\r\n${smuggled}`),
      "two codings": post(
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        `0\r\n\r\n${smuggled}`,
      ),
      "space before a colon": post("Content-Length : 2", `{}${smuggled}`),
      "a folded header": post("X: a\r\n Content-Length: 2", `{}${smuggled}`),
      "a bare line feed": post("X: a\nContent-Length: 2", `{}${smuggled}`),
      "a chunk's wrong end": post("Transfer-Encoding: chunked", `2\r\n{}XX0\r\n\r\n${smuggled}`),
    };
    for (const [what, sent] of Object.entries(probes)) {
      const answer = await sent;
      expect(answer, what).not.to.match(/^HTTP\/1\.1 2/);
      expect(answer.split("HTTP/1.1 ").length, `${what}: ${answer}`).to.be.at.most(2);
      expect(answer, what).not.to.include("checkpoint");
    }
    const targets = ["http://localhost/audit/checkpoint", "*", "localhost:80", "/audit/checkpoint#x"];
    for (const target of targets) {
      const text = await sendRaw(
        urlOf(served),
        `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
      );
      expect(text, target).to.match(/^HTTP\/1\.1 4/);
    }
    const bodied = await sendRaw(
      urlOf(served),
      `GET /audit/checkpoint HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}`,
    );
    expect(bodied).to.match(/^HTTP\/1\.1 415 /);
  });

  it("ends connections that do not get to the end of their headers", async () => {
    for (const begun of ["", "GET /audit/checkpoint HTTP/1.1\r\nHost: localhost\r\nX: "])
      expect(await sendRaw(urlOf(served), begun)).not.to.include("200");
  });
});
