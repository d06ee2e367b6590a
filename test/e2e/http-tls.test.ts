/** HTTP over TLS: both versions, the certificates of gRPC's port, and whom they name. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { makeConfig } from "../../src/config/config.ts";
import { createAuthority, pemOf, type Authority, type Pair } from "../contract/certificates.ts";
import { makeDeployment, origin, type Deployment } from "./deployment.ts";
import { httpConfig, urlOf, type Seen } from "./http-caller.ts";

const body = JSON.stringify({ action: "read", target: "public/docs" });
type Reply = { readonly status: number; readonly json: Seen };

const overHttp2 = (
  url: string,
  tls: object,
  authority = "localhost",
  { path, text: sent } = { path: "/trust/check", text: body },
): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const session = connectHttp2(url, tls);
    session.on("error", reject);
    const headers = { ":method": "POST", ":path": path, ":authority": authority };
    const stream = session.request({ ...headers, "content-type": "application/json" });
    let status = 0;
    let text = "";
    stream.on("response", ({ ":status": given }) => (status = given ?? 0));
    stream.setEncoding("utf8").on("data", (part: string) => (text += part));
    stream.on("error", reject);
    stream.on("end", () => {
      session.close();
      resolve({ status, json: JSON.parse(text) as Seen });
    });
    stream.end(sent);
  });

const overHttp1 = (url: string, tls: object): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json" };
    const call = httpsRequest(`${url}/trust/check`, { method: "POST", headers, ...tls }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, json: JSON.parse(text) as Seen }));
    });
    call.on("error", reject);
    call.end(body);
  });

const servedName = (url: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const socket: TLSSocket = connectTls(
      { host: hostname, port: Number(port), rejectUnauthorized: false },
      () => {
        const { CN } = socket.getPeerCertificate().subject;
        socket.destroy();
        resolve(String(CN));
      },
    );
    socket.once("error", reject);
  });

describe("HTTP over TLS", () => {
  let authority: Authority;
  let first: Pair;
  let deployment: Deployment;
  let files = "";

  const put = ({ cert, key }: Pair): void => {
    copyFileSync(key, join(files, "tls.key"));
    copyFileSync(cert, join(files, "tls.crt"));
  };
  const config = () => ({
    ...httpConfig,
    "tls.cert": join(files, "tls.crt"),
    "tls.key": join(files, "tls.key"),
    "tls.client_ca": authority.ca,
  });
  const trusting = () => ({ ca: readFileSync(authority.ca) });

  before(async () => {
    authority = await createAuthority();
    files = mkdtempSync(join(tmpdir(), "sigil-http-tls-"));
    first = await authority.issue("first", "DNS:sigil.test,IP:127.0.0.1");
    put(first);
    deployment = await makeDeployment();
  });

  after(async () => {
    await deployment[Symbol.asyncDispose]();
    authority[Symbol.dispose]();
    rmSync(files, { recursive: true, force: true });
  });

  it("names a caller by its certificate in either version, and a caller without one is a Guest", async () => {
    await using served = await deployment.serve({ config: config() });
    const url = urlOf(served);
    expect(url).to.match(/^https:/);
    const certificate = pemOf(await authority.issue("client", `URI:spiffe://${origin}/operator`));
    const client = { cert: certificate.cert, key: certificate.key };
    for (const ask of [overHttp1, overHttp2]) {
      const named = await ask(url, { ...trusting(), ...client });
      expect([named.status, named.json.subject, named.json.level]).to.deep.equal([
        200,
        "operator",
        "LEVEL_OF_ACCESS_OPERATOR",
      ]);
      const nobody = await ask(url, trusting());
      expect([nobody.json.subject, nobody.json.level]).to.deep.equal(["", "LEVEL_OF_ACCESS_GUEST"]);
    }
  });

  it("answers a sequence of AuthZEN over HTTP/2, about whom its caller may name", async () => {
    await using served = await deployment.serve({ config: config() });
    const certificate = pemOf(await authority.issue("client", `URI:spiffe://${origin}/operator`));
    const evaluation = {
      subject: { type: "user", id: "ann" },
      action: { name: "read" },
      resource: { type: "public", id: "docs" },
    };
    const options = { evaluations_semantic: "permit_on_first_permit" };
    const text = JSON.stringify({ ...evaluation, evaluations: [{}, {}, {}], options });
    const sent = { path: "/access/v1/evaluations", text };
    const tls = { ...trusting(), cert: certificate.cert, key: certificate.key };
    const { status, json } = await overHttp2(urlOf(served), tls, "localhost", sent);
    expect([status, json.evaluations.map(({ decision }) => decision)]).to.deep.equal([
      200,
      [false, false, false],
    ]);
    expect((await overHttp2(urlOf(served), trusting(), "localhost", sent)).status).to.equal(200);
  });

  it("gives nobody a name by a certificate of another authority", async () => {
    using other = await createAuthority();
    await using served = await deployment.serve({ config: config() });
    const forged = pemOf(await other.issue("forged", `URI:spiffe://${origin}/operator`));
    for (const ask of [overHttp1, overHttp2]) {
      const { json } = await ask(urlOf(served), { ...trusting(), ...forged });
      expect(json.subject).to.equal("");
    }
  });

  it("lets nobody in without a certificate where one is required", async () => {
    await using served = await deployment.serve({
      config: { ...config(), "tls.client_certificate": "required" },
    });
    for (const ask of [overHttp1, overHttp2])
      expect(await ask(urlOf(served), trusting()).catch(() => "refused")).to.equal("refused");
  });

  it("serves no name that is not listed, in :authority as in Host", async () => {
    await using served = await deployment.serve({ config: config() });
    const { status, json } = await overHttp2(urlOf(served), trusting(), "evil.example");
    expect([status, json.reason, json.allowed]).to.deep.equal([421, "HOST_NOT_LISTED", false]);
  });

  it("takes a renewed certificate for the connections after it", async () => {
    await using served = await deployment.serve({ config: config() });
    expect(await servedName(urlOf(served))).to.equal("first");
    put(await authority.issue("second", "DNS:sigil.test,IP:127.0.0.1"));
    await served.server.reload();
    expect(await servedName(urlOf(served))).to.equal("second");
    put(first);
  });

  it("is asked for on an address that others can reach", () => {
    const open = { http_listen: { host: "0.0.0.0", port: 0 } };
    expect(() => makeConfig(open)).to.throw("http_listen: others can reach this address");
    expect(() => makeConfig({ ...open, insecure_listen: true })).not.to.throw();
  });
});
