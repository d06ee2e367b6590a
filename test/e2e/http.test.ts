/** HTTP over a real socket, by plain fetch: the handlers of gRPC, and what stands before them. */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { status as Code } from "@grpc/grpc-js";
import { evaluate } from "../../src/core/model/model.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import type { Evaluate } from "../../src/trust/evaluator.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { createFaultyStore, type FaultyStore } from "../contract/faulty-store.ts";
import { join } from "node:path";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import {
  asking,
  httpAs,
  httpConfig,
  problem,
  sendRaw,
  urlOf,
  type Answered,
  type Ask,
} from "./http-caller.ts";

const question = { action: "write", target: "user/notes" };

describe("HTTP", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let guest: Ask;
  let operator: Ask;
  /** In the place of the evaluator, for one test. */
  let broken: Evaluate | undefined;
  let store: FaultyStore | undefined;

  before(async () => {
    deployment = await makeDeployment();
    const evaluator: Evaluate = (...asked) =>
      (broken ?? ((model, features) => evaluate(model, features)))(...asked);
    const openStore = async (): Promise<FaultyStore> =>
      (store = createFaultyStore(await openLevelStore(join(deployment.directory, "ledger"))));
    served = await deployment.serve({
      config: httpConfig,
      overrides: { evaluate: evaluator, openStore },
    });
    const as = httpAs(deployment, served);
    [guest, operator] = [as("guest"), as("operator")];
  });

  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  it("gives the same answer over HTTP as over gRPC, and records it alike", async () => {
    const request_id = "a-request";
    const { status, json } = await operator(
      "POST",
      "/trust/check",
      { ...question, session: "s" },
      { "x-request-id": request_id },
    );
    const asked = await served.as("operator").trust.check({ ...question, session: "s" });
    expect(status).to.equal(200);
    expect(json).to.include({
      verdict: "VERDICT_ALLOW",
      allowed: true,
      replayed: false,
      level: "LEVEL_OF_ACCESS_OPERATOR",
    });
    expect(json).to.include({ reason: asked.reason, subject: asked.subject, threshold: asked.threshold });
    expect(json.score).to.equal(1 / (1 + Math.exp(-json.z)));
    expect(json.modelHash).to.equal(Buffer.from(asked.modelHash).toString("base64"));
    const { json: read } = await operator("GET", `/audit/${json.auditId}`);
    const { chain } = await served.as("operator").audit.getFrozenChain({ auditId: json.auditId });
    expect(read.chain).to.include({
      action: chain?.action,
      target: chain?.target,
      score: chain?.score,
      z: chain?.z,
    });
    expect(read.chain.metadata).to.deep.equal({ request_id });
    const { json: checked } = await operator("GET", `/audit/${json.auditId}/verification`);
    expect(checked.verified).to.equal(true);
  });

  it("answers with the request id that it records, also where the caller gives none or one that is none", async () => {
    for (const given of [{}, { "x-request-id": "not fit: {}" }]) {
      const { headers, json } = await operator("POST", "/trust/check", question, given);
      const { json: read } = await operator("GET", `/audit/${json.auditId}`);
      expect(read.chain.metadata).to.have.property("request_id", headers.get("x-request-id"));
    }
  });

  it("names its caller by the token, and refuses one that does not hold", async () => {
    expect((await guest("GET", "/audit")).json).to.deep.include({
      reason: "LEVEL_TOO_LOW",
      code: "PERMISSION_DENIED",
    });
    expect((await operator("GET", "/audit?page_size=1")).status).to.equal(200);
    const bad = await guest("POST", "/trust/check", question, { authorization: "Bearer x.y.z" });
    expect(problem(bad)).to.deep.equal([401, "TOKEN_MALFORMED"]);
    expect(bad.headers.get("www-authenticate")).to.equal("Bearer");
    expect(bad.json.allowed).to.equal(false);
  });

  it("refuses two Authorizations, whichever of them would do", async () => {
    const token = await deployment.signer("operator").token();
    for (const second of [`Bearer ${token}`, "Bearer x", ""]) {
      const text = await sendRaw(
        urlOf(served),
        `GET /audit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\nauthorization: ${second}\r\n\r\n`,
      );
      expect(text)
        .to.match(/^HTTP\/1\.1 401 /)
        .and.to.include("TOKEN_MALFORMED");
    }
  });

  it("answers 200 with allowed false for a deny, and when the evaluator fails", async () => {
    const denied = await guest("POST", "/trust/check", { action: "delete", target: "user/profile" });
    expect([denied.status, denied.json.allowed, denied.json.verdict]).to.deep.equal([
      200,
      false,
      "VERDICT_DENY",
    ]);
    broken = () => {
      throw new Error("broken");
    };
    try {
      const { status, json } = await operator("POST", "/trust/check", question);
      expect(status).to.equal(200);
      expect(json)
        .to.include({ allowed: false, reason: "EVALUATOR_ERROR" })
        .and.not.to.have.property("score");
    } finally {
      broken = undefined;
    }
  });

  it("answers an error, with allowed false, for what could not be recorded", async () => {
    store?.plan({ operation: "commit", nth: 1, when: "before", then: "works" });
    const { status, json, headers } = await operator("POST", "/trust/check", question);
    expect(status).to.equal(503);
    expect(json).to.include({ code: "UNAVAILABLE", allowed: false });
    expect(headers.get("retry-after")).to.equal("1");
    for (let turn = 0; turn < 200 && (await served.as("guest").health()) !== "SERVING"; turn += 1)
      await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await operator("POST", "/trust/check", question)).status).to.equal(200);
  });

  it("says where a body breaks its contract", async () => {
    const { status, json } = await guest("POST", "/trust/check:batch", {
      checks: [question, { keepInput: "false" }],
    });
    expect(status).to.equal(400);
    expect(json.violations).to.deep.equal([
      { field: "checks[1].keepInput", description: 'expected boolean, got "false"' },
    ]);
    expect(json.allowed).to.equal(false);
    const named = await operator("POST", "/trust/check", { action: "", target: "user/notes" });
    expect(named.json.violations[0]?.field).to.equal("action");
    for (const bytes of ["\xff", '{"action":"\xc0\x80"}']) {
      const text = await sendRaw(
        urlOf(served),
        `POST /trust/check HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${bytes.length}\r\n\r\n${bytes}`,
      );
      expect(text)
        .to.match(/^HTTP\/1\.1 400 /)
        .and.to.include("UTF-8");
    }
  });

  it("decides a batch, and says of each item what became of it", async () => {
    const { status, json } = await operator("POST", "/trust/check:batch", {
      checks: [question, { ...question, target: "//" }],
    });
    expect(status).to.equal(200);
    expect(json.results[0]?.decision.allowed).to.equal(true);
    expect(json.results[1]?.error).to.include({ code: Code.INVALID_ARGUMENT });
    expect(json.results[1]?.error.details[0]).to.include({
      "@type": "type.googleapis.com/google.rpc.ErrorInfo",
      reason: "INVALID_FIELD",
    });
  });

  it("writes records and reads them by their ids, whatever is in them", async () => {
    for (const id of ["notes/http", "a:b/c:watch", "write", "tilde~1"]) {
      const written = await operator("POST", "/canon/user/write", {
        id,
        kind: "note",
        payload: { text: id },
      });
      expect(written.status, JSON.stringify(written.json)).to.equal(200);
      const { json } = await operator("GET", `/canon/user/${id}`);
      expect(JSON.parse(json.record.record.payloadJson)).to.deep.equal({ text: id });
    }
    const { json } = await operator("GET", "/canon/user?filter.id_prefix=notes/&page_size=5");
    expect(json.records.length).to.be.at.least(1);
    expect((await operator("GET", "/canon/history/notes/http")).status).to.equal(200);
    for (const target of ["/canon/user/notes%2Fhttp", "/canon/user/notes//http", "/canon/user//notes/http"]) {
      const text = await sendRaw(
        urlOf(served),
        `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer ${await deployment.signer("operator").token()}\r\n\r\n`,
      );
      expect(text, target).to.match(/^HTTP\/1\.1 400 /);
    }
    expect(problem(await operator("GET", "/canon/user/nowhere"))).to.deep.equal([404, "NOT_FOUND"]);
  });

  it("makes a repeat safe by Idempotency-Key, quoted or bare, and refuses it for another body", async () => {
    const write = (text: string, key: string): Promise<Answered> =>
      operator(
        "POST",
        "/canon/user/write",
        { id: "keyed", kind: "note", payload: { text } },
        { "idempotency-key": key },
      );
    const first = await write("one", '"the key"');
    const again = await write("one", '"the key"');
    expect(again.json.hash ?? again.json.record).to.deep.equal(first.json.hash ?? first.json.record);
    expect(problem(await write("two", '"the key"'))).to.deep.equal([409, "IDEMPOTENCY_CONFLICT"]);
    expect(problem(await write("one", '""'))).to.deep.equal([400, "INVALID_FIELD"]);
    expect(problem(await write("one", "k".repeat(129)))).to.deep.equal([400, "INVALID_FIELD"]);
    expect(
      (await operator("GET", "/canon/user/keyed", undefined, { "idempotency-key": '"x' })).status,
    ).to.equal(200);
    const differing = await operator(
      "POST",
      "/trust/check",
      { ...question, idempotencyKey: "a" },
      { "idempotency-key": "b" },
    );
    expect(problem(differing)).to.deep.equal([400, "INVALID_FIELD"]);
  });

  it("guards by the status alone: 204 for an allow, 403 for everything else", async () => {
    const allowed = await operator("POST", "/trust/guard", question);
    expect([allowed.status, allowed.json]).to.deep.equal([204, undefined]);
    const auditId = allowed.headers.get("sigil-audit-id") ?? "";
    expect((await operator("GET", `/audit/${auditId}`)).json.chain.verdict).to.equal("VERDICT_ALLOW");
    const others: Readonly<Record<string, () => Promise<Answered>>> = {
      DENIED: () => guest("POST", "/trust/guard", { action: "delete", target: "user/profile" }),
      INVALID_FIELD: () => operator("POST", "/trust/guard", { ...question, allowed: true }),
      TOKEN_MALFORMED: () => guest("POST", "/trust/guard", question, { authorization: "Bearer x" }),
      NOT_JSON: () => operator("POST", "/trust/guard", "{}", { "content-type": "text/plain" }),
      OTHER_METHOD: () => operator("GET", "/trust/guard"),
      NO_SUCH_ROUTE: () => operator("POST", "/trust/guard/x", question),
    };
    for (const [reason, ask] of Object.entries(others)) {
      const answer = await ask();
      expect(problem(answer)).to.deep.equal([403, reason]);
      expect(answer.json.allowed).to.equal(false);
    }
  });

  it("guards by an allow alone: what a person has to look at is 403", async () => {
    await using other = await makeDeployment({
      model: { ...defaultModelPayload, review: { low: 0.01, high: 0.99 } },
    });
    await using reviewing = await other.serve({ config: httpConfig });
    const ask = httpAs(other, reviewing)("operator");
    const decision = await ask("POST", "/trust/check", question);
    expect([decision.status, decision.json.verdict, decision.json.allowed]).to.deep.equal([
      200,
      "VERDICT_REVIEW",
      false,
    ]);
    const guarded = await ask("POST", "/trust/guard", question);
    expect(problem(guarded)).to.deep.equal([403, "DENIED"]);
    expect(guarded.json.allowed).to.equal(false);
  });

  it("ends a check at its caller's time, and never later than its own", async () => {
    for (const timeout of ["0", "-1", "1.5", "1e3", "x", ""]) {
      const answer = await operator("POST", "/trust/check", question, { "sigil-timeout-ms": timeout });
      expect(problem(answer), timeout).to.deep.equal([400, "INVALID_FIELD"]);
    }
    broken = () => new Promise(() => {});
    try {
      const late = await operator("POST", "/trust/check", question, { "sigil-timeout-ms": "1" });
      expect(problem(late)).to.deep.equal([504, "DEADLINE_EXCEEDED"]);
      expect(late.json.allowed).to.equal(false);
    } finally {
      broken = undefined;
    }
  });

  it("forgets a call whose caller has gone, and logs and counts it as any", async () => {
    const gate = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    broken = async (model, features) => {
      reached.resolve();
      await gate.promise;
      return evaluate(model, features);
    };
    const left = new AbortController();
    const url = `${urlOf(served)}/trust/check`;
    const headers = { "content-type": "application/json", "x-request-id": "gone" };
    const call = fetch(url, { method: "POST", body: JSON.stringify(question), headers, signal: left.signal });
    await reached.promise;
    left.abort();
    await call.catch(() => {});
    const ended = (): string | undefined =>
      served
        .logged()
        .split("\n")
        .find((line) => line.includes('"request_id":"gone"'));
    for (let turn = 0; turn < 500 && ended() === undefined; turn += 1)
      await new Promise((resolve) => setTimeout(resolve, 10));
    broken = undefined;
    gate.resolve();
    expect(ended()).to.include('"code":"CANCELLED"').and.to.include("TrustService/Check");
  });

  it("is off unless told", async () => {
    await using other = await makeDeployment();
    await using plain = await other.serve();
    expect(plain.server.httpUrl).to.equal(null);
  });

  it("lets calls under way end when the server stops, and takes no more", async () => {
    await using other = await makeDeployment();
    const reached = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const slow: Evaluate = async (model, features) => {
      reached.resolve();
      await gate.promise;
      return evaluate(model, features);
    };
    const stopping = await other.serve({ config: httpConfig, overrides: { evaluate: slow } });
    const ask = asking(urlOf(stopping));
    const call = ask("POST", "/trust/check", { action: "read", target: "public/docs" });
    await reached.promise;
    const stopped = stopping[Symbol.asyncDispose]();
    await new Promise((resolve) => setTimeout(resolve, 50));
    gate.resolve();
    expect((await call).status).to.equal(200);
    await stopped;
    expect(await ask("GET", "/audit/checkpoint").catch(() => "refused")).to.equal("refused");
  });
});
