/**
 * ext_authz over gRPC with client certificates, asked as Envoy asks: who may ask, what is recorded, and what breaks.
 */
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { status as Code, type ServiceError } from "@grpc/grpc-js";
import { openLevelStore } from "../../src/storage/level.ts";
import { evaluate } from "../../src/core/model/model.ts";
import type { Evaluate } from "../../src/trust/evaluator.ts";
import { askingAt, attributesOf, type Asking, type RequestGiven } from "../contract/ext-authz.ts";
import { createFaultyStore, type FaultyStore } from "../contract/faulty-store.ts";
import { readConfig } from "../../src/config/config.ts";
import { origin, type ServedDeployment } from "./deployment.ts";
import { makeEnvoyWorld, type EnvoyWorld } from "./envoy-world.ts";
import { blocksOf } from "./page.ts";

const observer = `spiffe://${origin}/observer`;

const codeOf = async (answer: Promise<unknown>): Promise<Code | undefined> => {
  try {
    await answer;
    return undefined;
  } catch (error) {
    return (error as ServiceError).code;
  }
};

describe("ext_authz", () => {
  let world: EnvoyWorld;
  let served: ServedDeployment;
  let store: FaultyStore | undefined;
  let evaluator: Evaluate = evaluate;

  before(async () => {
    world = await makeEnvoyWorld();
    const openStore = async (): Promise<FaultyStore> => {
      store = createFaultyStore(await openLevelStore(join(world.deployment.directory, "ledger")));
      return store;
    };
    served = await world.serve({
      overrides: {
        openStore,
        evaluate: (compiled, features, signal) => evaluator(compiled, features, signal),
      },
    });
  });

  after(async () => {
    await served[Symbol.asyncDispose]();
    await world[Symbol.asyncDispose]();
  });

  const asEnvoy = (): Asking => askingAt(served.server.target, world.pem("envoy"));

  /** Status, the response's kind, and what its headers say. */
  const answerTo = async (
    given: RequestGiven,
  ): Promise<readonly [number | undefined, string | undefined, object]> => {
    using envoy = asEnvoy();
    const { status, httpResponse } = await envoy.ask(attributesOf(given));
    const headers = (httpResponse?.value.headers ?? []).map(({ header }) => [header?.key, header?.value]);
    return [status?.code, httpResponse?.$case, Object.fromEntries(headers) as object];
  };

  it("allows by the same check as everybody's, recorded before it is answered", async () => {
    const [code, kind, headers] = await answerTo({ principal: observer, path: "/public/a?b=c" });
    expect([code, kind]).to.deep.equal([0, "okResponse"]);
    const { auditId, ...recorded } = await world.newest(served);
    expect(headers).to.deep.equal({ "x-sigil-audit-id": auditId });
    expect(recorded).to.deep.equal({
      action: "http.get",
      target: "api/public/a",
      subject: "observer",
      caller: "envoy",
      reason: "SCORE_AT_OR_ABOVE_THRESHOLD",
    });
  });

  for (const [verdict, path, reason] of [
    ["deny", "/admin/a", "SCORE_BELOW_THRESHOLD"],
    ["review", "/review/a", "REVIEW_BAND"],
  ] as const) {
    it(`denies a ${verdict}, which is recorded`, async () => {
      const [code, kind, headers] = await answerTo({ principal: observer, path });
      expect([code, kind]).to.deep.equal([Code.PERMISSION_DENIED, "deniedResponse"]);
      const { auditId } = await world.newest(served);
      expect(headers).to.deep.equal({
        "x-sigil-verdict": verdict,
        "x-sigil-reason": reason,
        "x-sigil-audit-id": auditId,
      });
    });
  }

  it("gives a name that nobody is enrolled under the level of a Guest, never Envoy's", async () => {
    const [code] = await answerTo({ principal: "stranger.example", path: "/public/a" });
    expect(code).to.equal(Code.PERMISSION_DENIED);
    const { subject, reason } = await world.newest(served);
    expect([subject, reason]).to.deep.equal(["dns:stranger.example", "LEVEL_TOO_LOW"]);
  });

  it("denies and records nothing without a subject, or of a path that has two readings", async () => {
    const { auditId: last } = await world.newest(served);
    for (const [given, code] of [
      [{ principal: "", path: "/public/a" }, Code.UNAUTHENTICATED],
      [{ principal: "CN=operator", path: "/public/a" }, Code.UNAUTHENTICATED],
      [{ principal: observer, path: "/public/../admin/a" }, Code.INVALID_ARGUMENT],
      [{ principal: observer, path: "/public%2Fa" }, Code.INVALID_ARGUMENT],
    ] as const) {
      const [status, kind] = await answerTo(given);
      expect([status, kind], given.path).to.deep.equal([code, "deniedResponse"]);
    }
    expect((await world.newest(served)).auditId).to.equal(last);
  });

  it("is decided by the default model as its page says", async () => {
    for (const [principal, method, allowed] of [
      ["observer", "GET", true],
      ["observer", "POST", false],
      ["operator", "POST", true],
      ["operator", "PUT", true],
      ["operator", "PATCH", true],
      ["operator", "DELETE", false],
      ["mentor", "DELETE", true],
    ] as const) {
      const [, kind] = await answerTo({
        principal: `spiffe://${origin}/${principal}`,
        method,
        path: "/orders/7",
      });
      expect(kind, `${principal} ${method}`).to.equal(allowed ? "okResponse" : "deniedResponse");
    }
  });

  it("decides each question anew, also the same one with the same request id", async () => {
    const headers = { "x-request-id": "7f3a" };
    const given = { principal: observer, path: "/public/a", headers };
    const [, , first] = await answerTo(given);
    const [, , second] = await answerTo(given);
    expect(first).to.have.property("x-sigil-audit-id");
    expect(second).not.to.deep.equal(first);
  });

  it("takes nobody's question but that of a principal who may ask about others", async () => {
    const attributes = attributesOf({ principal: observer, path: "/public/a" });
    const { ca } = world.pem("envoy");
    using anonymous = askingAt(served.server.target, { ca });
    expect(await codeOf(anonymous.ask(attributes))).to.equal(Code.PERMISSION_DENIED);
    using low = askingAt(served.server.target, world.pem("observer"));
    expect(await codeOf(low.ask(attributes))).to.equal(Code.PERMISSION_DENIED);
    using unknown = askingAt(served.server.target, world.pem("nobody"));
    expect(await codeOf(unknown.ask(attributes))).to.equal(Code.UNAUTHENTICATED);
  });

  it("is an error of the call when there are no attributes", async () => {
    using envoy = asEnvoy();
    expect(await codeOf(envoy.ask(undefined))).to.equal(Code.INVALID_ARGUMENT);
  });

  it("denies by a record when the model fails", async () => {
    evaluator = () => {
      throw new Error("broken");
    };
    try {
      const [code, , headers] = await answerTo({ principal: observer, path: "/public/a" });
      expect(code).to.equal(Code.PERMISSION_DENIED);
      const { auditId, reason } = await world.newest(served);
      expect(headers).to.include({ "x-sigil-reason": "EVALUATOR_ERROR", "x-sigil-audit-id": auditId });
      expect(reason).to.equal("EVALUATOR_ERROR");
    } finally {
      evaluator = evaluate;
    }
  });

  it("is an error of the call, and no answer, when the decision cannot be recorded", async () => {
    using envoy = asEnvoy();
    const attributes = attributesOf({ principal: observer, path: "/public/a" });
    store?.plan({ operation: "commit", nth: 1, when: "before", then: "fails" });
    expect(await codeOf(envoy.ask(attributes))).to.equal(Code.UNAVAILABLE);
  });

  it("is configured, and kept from passing anything on by itself, as its page says", () => {
    const [file, envoy, ...others] = blocksOf("docs/operating/envoy.md").map(({ body }) => body);
    const config = readConfig({
      argv: ["--config", "sigil.toml"],
      environment: {},
      readText: () => file ?? "",
    });
    expect([config["envoy.ext_authz"], config["tls.client_ca"]]).to.deep.equal([
      true,
      "/etc/sigil/clients.pem",
    ]);
    for (const set of [
      "normalize_path: true",
      "path_with_escaped_slashes_action: REJECT_REQUEST",
      "failure_mode_allow: false",
      "timeout: 1s",
    ]) {
      expect(envoy).to.contain(set);
    }
    expect([envoy, ...others].join("")).not.to.match(
      /failure_mode_allow: true|ACCEPT_UNTRUSTED|allowed_headers/,
    );
  });

  it("is not served unless the configuration says so", async () => {
    await using other = await makeEnvoyWorld();
    await using plain = await other.serve({ config: { "envoy.ext_authz": false } });
    using envoy = askingAt(plain.server.target, other.pem("envoy"));
    const attributes = attributesOf({ principal: observer, path: "/public/a" });
    expect(await codeOf(envoy.ask(attributes))).to.equal(Code.UNIMPLEMENTED);
  });
});
