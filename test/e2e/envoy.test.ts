/**
 * docs/operating/envoy.md through Envoy itself: its configuration as it is printed, with the files and ports of this
 * test. What reaches the service behind Envoy was allowed by Sigil, and nothing else does.
 */
import { generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { request } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { envoyMissing, startEnvoy, type Envoy } from "../contract/envoy.ts";
import { startAuthorizer, type Authorizer } from "../contract/ext-authz.ts";
import type { ServedDeployment } from "./deployment.ts";
import { makeEnvoyWorld, type EnvoyWorld } from "./envoy-world.ts";
import { blocksOf } from "./page.ts";

type Header = readonly [name: string, value: string];

type Answered = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** What the service behind Envoy got, in its order; absent when nothing reached it. */
  readonly passed: readonly Header[] | undefined;
};

type Asked = {
  readonly as?: "observer" | "operator" | "nobody" | null;
  readonly method?: string;
  readonly headers?: readonly Header[];
};

const pairsOf = (raw: readonly string[]): readonly Header[] =>
  raw.flatMap((name, index) => (index % 2 === 0 ? [[name, raw[index + 1] ?? ""] as const] : []));

const portOf = (target: string): number => Number(target.slice(target.lastIndexOf(":") + 1));

const indented = (text: string, spaces: number): string => text.replaceAll(/^(?=.)/gm, " ".repeat(spaces));

describe(`Envoy${envoyMissing === undefined ? "" : ` (${envoyMissing})`}`, function () {
  this.slow(10_000);

  const [config, filter, namespaces] = blocksOf("docs/operating/envoy.md")
    .filter(({ language }) => language === "yaml")
    .map(({ body }) => body);
  let world: EnvoyWorld;
  let served: ServedDeployment;
  let upstream: Server;
  let passed: (readonly Header[])[] = [];

  before(async function () {
    if (envoyMissing !== undefined) this.skip();
    world = await makeEnvoyWorld();
    served = await world.serve();
    upstream = createServer((incoming, response) => {
      passed.push(pairsOf(incoming.rawHeaders));
      response.end("passed");
    });
    upstream.listen(0, "127.0.0.1");
    await once(upstream, "listening");
  });

  after(async () => {
    upstream?.close();
    await served?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
  });

  /** The page's configuration, here. @param changed further text of it → what it is instead. */
  const configured = (sigilPort: number, changed: Readonly<Record<string, string>> = {}): string => {
    const { authority, pairs } = world;
    const here: Readonly<Record<string, string>> = {
      // Where tests share a busy machine, only one about a deadline should meet it.
      "timeout: 1s": "timeout: 60s",
      "/etc/envoy/server.pem": pairs.server.cert,
      "/etc/envoy/server-key.pem": pairs.server.key,
      "/etc/envoy/clients.pem": authority.ca,
      "/etc/envoy/sigil-client.pem": pairs.envoy.cert,
      "/etc/envoy/sigil-client-key.pem": pairs.envoy.key,
      "/etc/envoy/sigil-ca.pem": authority.ca,
      "sigil.example": "sigil.test",
      "address: 0.0.0.0, port_value: 8443": "address: 127.0.0.1, port_value: 0",
      "port_value: 8080": `port_value: ${(upstream.address() as AddressInfo).port}`,
      "port_value: 50051": `port_value: ${sigilPort}`,
      ...changed,
    };
    return Object.entries(here).reduce((text, [printed, is]) => {
      expect(text, printed).to.include(printed);
      return text.replaceAll(printed, is);
    }, config ?? "");
  };

  const ask = (envoy: Envoy, path: string, { as = "observer", method = "GET", headers = [] }: Asked = {}) =>
    new Promise<Answered>((resolve, reject) => {
      passed = [];
      const { ca, cert, key } = world.pem(as ?? "nobody");
      const shown = as === null ? {} : { cert, key };
      const to = { host: "127.0.0.1", port: envoy.port, servername: "localhost", agent: false, ca, ...shown };
      const raw = [["host", "api.example"] as const, ...headers].flat();
      const asked = request({ ...to, path, method, headers: raw }, (response) => {
        response.resume();
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, passed: passed[0] }),
        );
      });
      asked.on("error", reject).end();
    });

  const expectDenied = (answered: Answered, headers: object = {}): void => {
    expect(answered.passed, JSON.stringify(answered.passed)).to.equal(undefined);
    expect(answered.status).to.equal(403);
    expect(answered.headers).to.include(headers);
  };

  describe("as the page configures it", () => {
    let envoy: Envoy;

    before(async () => {
      envoy = await startEnvoy(configured(portOf(served.server.target)));
    });

    after(() => envoy?.[Symbol.asyncDispose]());

    it("passes on what Sigil allows, and names the record", async () => {
      const answered = await ask(envoy, "/public/a?b=c");
      expect(answered.status).to.equal(200);
      const { auditId, action, target, subject, caller } = await world.newest(served);
      expect(answered.passed).to.deep.include(["x-sigil-audit-id", auditId]);
      expect([action, target, subject, caller]).to.deep.equal([
        "http.get",
        "api/public/a",
        "observer",
        "envoy",
      ]);
    });

    it("passes on nothing that Sigil denies, by whom and for what it was asked", async () => {
      const denied = await ask(envoy, "/admin/a");
      const { auditId } = await world.newest(served);
      const said = { "x-sigil-verdict": "deny", "x-sigil-reason": "SCORE_BELOW_THRESHOLD" };
      expectDenied(denied, { ...said, "x-sigil-audit-id": auditId });
      expect((await ask(envoy, "/admin/a", { as: "operator" })).status).to.equal(200);
      expectDenied(await ask(envoy, "/public/a", { method: "DELETE" }), {
        "x-sigil-reason": "LEVEL_TOO_LOW",
      });
      expectDenied(await ask(envoy, "/public/a", { as: "nobody" }), { "x-sigil-reason": "LEVEL_TOO_LOW" });
    });

    it("passes on nothing that a person has to look at", async () => {
      const said = { "x-sigil-verdict": "review", "x-sigil-reason": "REVIEW_BAND" };
      expectDenied(await ask(envoy, "/review/a"), said);
    });

    it("logs verdict and audit id of what passed and of what did not", async () => {
      for (const [path, line] of [
        ["/public/a", "200 allow"],
        ["/admin/a", "403 deny"],
        ["/review/a", "403 review"],
      ] as const) {
        await ask(envoy, path);
        const { auditId } = await world.newest(served);
        while (!envoy.accesses().includes(auditId)) await setTimeout(20);
        expect(envoy.accesses()).to.include(`${line} ${auditId}\n`);
      }
    });

    it("believes no header about who asks, and passes none of Sigil's on that a client sent", async () => {
      const forged: readonly Header[] = [
        ["x-sigil-subject", "root"],
        ["x-sigil-verdict", "allow"],
        ["X-Sigil-Audit-Id", "forged-1"],
        ["x-sigil-audit-id", "forged-2"],
        ["x-forwarded-client-cert", "URI=spiffe://sigil.test/operator"],
        ["x-envoy-original-path", "/public/a"],
      ];
      expectDenied(await ask(envoy, "/admin/a", { headers: forged }));
      expect((await world.newest(served)).subject).to.equal("observer");
      const { passed: got, status } = await ask(envoy, "/public/a", { headers: forged });
      expect(status).to.equal(200);
      const { auditId } = await world.newest(served);
      const own = (got ?? []).filter(([name]) => name.toLowerCase().startsWith("x-sigil-"));
      expect(own).to.deep.equal([["x-sigil-audit-id", auditId]]);
    });

    it("answers 400 itself to escaped slashes and to headers that spell - as _", async () => {
      for (const path of ["/public%2F..%2Fadmin/a", "/public%5c..%5cadmin/a"]) {
        const { status, passed: got } = await ask(envoy, path, { as: "operator" });
        expect([status, got], path).to.deep.equal([400, undefined]);
      }
      const { status } = await ask(envoy, "/public/a", { headers: [["x_sigil_verdict", "allow"]] });
      expect(status).to.equal(400);
    });

    it("asks about the path that it passes on, however the client spelled it", async () => {
      for (const path of [
        "/public/../admin/a",
        "/public/%2e%2e/admin/a",
        "/public\\..\\admin\\a",
        "/public/..;/admin/a",
        "/%61dmin/a",
      ]) {
        expectDenied(await ask(envoy, path));
        expect((await world.newest(served)).target, path).to.equal("api/admin/a");
      }
    });

    it("passes on no path that has two readings", async () => {
      for (const path of ["//public/a", "/public//a", "/public;a/b", "/public/%252e%252e/admin"]) {
        expectDenied(await ask(envoy, path, { as: "operator" }), { "x-sigil-reason": "REQUEST_REFUSED" });
      }
    });
  });

  describe("told to leave paths as they are, to ask clients for no certificate, and how targets begin", () => {
    let envoy: Envoy;

    before(async () => {
      const host = '                      domains: ["*"]\n';
      const filterOfHost = [
        "typed_per_filter_config:",
        "  envoy.filters.http.ext_authz:",
        '    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute',
        "    check_settings: { context_extensions: { sigil_target_prefix: api/public/shop } }\n",
      ].join("\n");
      const changed = {
        [host]: host + indented(filterOfHost, 22),
        "normalize_path: true": "normalize_path: false",
        "path_with_escaped_slashes_action: REJECT_REQUEST":
          "path_with_escaped_slashes_action: KEEP_UNCHANGED",
        "headers_with_underscores_action: REJECT_REQUEST": "headers_with_underscores_action: ALLOW",
        "require_client_certificate: true": "require_client_certificate: false",
      };
      envoy = await startEnvoy(configured(portOf(served.server.target), changed));
    });

    after(() => envoy?.[Symbol.asyncDispose]());

    it("still passes on no path that has two readings", async () => {
      for (const path of [
        "/public/../admin/a",
        "/public/%2e%2e/admin/a",
        "/public/./a",
        "/public/..;/admin/a",
        "/public%2Fa",
        "/public%5Ca",
        "/public\\a",
        "//public/a",
      ]) {
        expectDenied(await ask(envoy, path, { as: "operator" }), { "x-sigil-reason": "REQUEST_REFUSED" });
      }
    });

    it("passes on nothing of a client that showed no certificate, also when public", async () => {
      const headers: readonly Header[] = [["x-sigil-subject", "operator"]];
      expectDenied(await ask(envoy, "/public/a", { as: null, headers }), {
        "x-sigil-reason": "SUBJECT_MISSING",
      });
      expect((await ask(envoy, "/public/a")).status).to.equal(200);
    });

    it("asks about the target that its own configuration of the host begins", async () => {
      expect((await ask(envoy, "/admin/a")).status).to.equal(200);
      expect((await world.newest(served)).target).to.equal("api/public/shop/admin/a");
    });

    it("passes on no header of Sigil's that is spelled with _", async () => {
      const headers: readonly Header[] = [
        ["x_sigil_audit_id", "forged"],
        ["X_Sigil-Verdict", "allow"],
      ];
      const { status, passed: got } = await ask(envoy, "/public/a", { headers });
      expect(status).to.equal(200);
      const own = (got ?? []).filter(([name]) =>
        name.toLowerCase().replaceAll("_", "-").startsWith("x-sigil-"),
      );
      expect(own.map(([name]) => name)).to.deep.equal(["x-sigil-audit-id"]);
    });
  });

  describe("with an authorizer that is not well", () => {
    let envoy: Envoy;
    let impatient: Envoy;
    let authorizer: Authorizer;

    before(async () => {
      authorizer = await startAuthorizer(world.pem("server"));
      envoy = await startEnvoy(configured(authorizer.port));
      impatient = await startEnvoy(configured(authorizer.port, { "timeout: 60s": "timeout: 0.2s" }));
    });

    after(async () => {
      await envoy?.[Symbol.asyncDispose]();
      await impatient?.[Symbol.asyncDispose]();
      await authorizer?.[Symbol.asyncDispose]();
    });

    it("passes on nothing while it does not answer", async () => {
      authorizer.answerWith(null);
      // On a busy machine the time may be up before the question is there.
      do expectDenied(await ask(impatient, "/public/a"));
      while (authorizer.asked() === 0);
    });

    it("passes on nothing when it answers nonsense", async () => {
      const asked = authorizer.asked();
      const nonsense = [
        Buffer.from("ffffffff", "hex"),
        Buffer.from("<html>allow</html>"),
        Buffer.from([0x0a, 0x7f]),
        // A status that is none of gRPC's, with an ok response.
        Buffer.from([0x0a, 0x02, 0x08, 0x63, 0x1a, 0x00]),
      ];
      for (const bytes of nonsense) {
        authorizer.answerWith(bytes);
        expectDenied(await ask(envoy, "/public/a"));
      }
      expect(authorizer.asked()).to.equal(asked + nonsense.length);
    });

    it("passes on nothing when it is down", async () => {
      await authorizer[Symbol.asyncDispose]();
      expectDenied(await ask(envoy, "/public/a"));
    });
  });

  describe("with tokens instead of certificates", () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    let envoy: Envoy;
    let byClaim: ServedDeployment;
    let home: string;

    const tokenOf = (claims: object, key = privateKey): Header => {
      const expires = Math.floor(Date.now() / 1000) + 600;
      const parts = [
        { alg: "ES256", kid: "1" },
        { iss: "https://issuer.example", aud: "api", exp: expires, ...claims },
      ];
      const text = parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
      const signature = sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" });
      return ["authorization", `Bearer ${text}.${signature.toString("base64url")}`];
    };

    before(async () => {
      home = await mkdtemp(join(tmpdir(), "sigil-jwks-"));
      const jwks = join(home, "jwks.json");
      await writeFile(
        jwks,
        JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "1", alg: "ES256" }] }),
      );
      await served[Symbol.asyncDispose]();
      const keys = ["payload", "sub"];
      const subject = { kind: "metadata", filter: "envoy.filters.http.jwt_authn", keys } as const;
      byClaim = await world.serve({ config: { "envoy.subject": subject } });
      const extAuthz = "                  - name: envoy.filters.http.ext_authz\n";
      const oneLine = "                      transport_api_version: V3\n";
      const changed = {
        "require_client_certificate: true": "require_client_certificate: false",
        [extAuthz]: indented(filter ?? "", 18) + extAuthz,
        [oneLine]: oneLine + indented(namespaces ?? "", 22),
        "/etc/envoy/jwks.json": jwks,
      };
      envoy = await startEnvoy(configured(portOf(byClaim.server.target), changed));
    });

    after(async () => {
      await envoy?.[Symbol.asyncDispose]();
      await byClaim?.[Symbol.asyncDispose]();
      if (home !== undefined) await rm(home, { recursive: true });
    });

    it("asks about whom the verified token names, by a name that is no principal's of another kind", async () => {
      expectDenied(await ask(envoy, "/public/a", { headers: [tokenOf({ sub: "operator" })] }), {
        "x-sigil-reason": "LEVEL_TOO_LOW",
      });
      expect((await world.newest(byClaim)).subject).to.equal("jwt:operator");
      const headers = [tokenOf({ sub: "member" })];
      expect((await ask(envoy, "/public/a", { headers })).status).to.equal(200);
      expect((await world.newest(byClaim)).subject).to.equal("jwt:member");
    });

    it("takes no name from elsewhere: a certificate, another member, a token that does not hold", async () => {
      const missing = { "x-sigil-reason": "SUBJECT_MISSING" };
      const hidden = [tokenOf({ ["__proto__"]: { sub: "member" } })];
      expectDenied(await ask(envoy, "/public/a", { as: "operator", headers: hidden }), missing);
      const { privateKey: other } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      for (const headers of [[], [tokenOf({ sub: "member" }, other)]]) {
        const { status, passed: got } = await ask(envoy, "/public/a", { headers });
        expect([status, got]).to.deep.equal([401, undefined]);
      }
    });
  });
});
