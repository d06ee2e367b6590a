/**
 * Requests through Envoy as questions, and decisions as Envoy reads them: what is refused, who is meant, and that only
 * an allow allows.
 */
import { expect } from "chai";
import { describe, it } from "mocha";
import { AttributeContext } from "../../../generated/src/envoy/service/auth/v3/attribute_context.ts";
import { CheckResponse } from "../../../generated/src/envoy/service/auth/v3/external_auth.ts";
import { formatSubjectSource, parseSubjectSource } from "../../../src/config/subject-source.ts";
import { answerDecision, answerRefusal } from "../../../src/rpc/envoy/answer.ts";
import { readAttributes, type EnvoyMapping, type Reading } from "../../../src/rpc/envoy/question.ts";
import type { CheckQuestion } from "../../../src/trust/decision.ts";
import { decide } from "./fake-server.ts";

const origin = "sigil.test";
const byCertificate: EnvoyMapping = { subject: { kind: "principal" }, targetPrefix: "api" };
const byClaim: EnvoyMapping = {
  subject: { kind: "metadata", filter: "envoy.filters.http.jwt_authn", keys: ["payload", "sub"] },
  targetPrefix: "api",
};

type Sent = {
  readonly method?: string;
  readonly path?: string;
  readonly principal?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly extensions?: Readonly<Record<string, string>>;
  readonly metadata?: Readonly<Record<string, object>>;
};

const attributesOf = (sent: Sent): AttributeContext =>
  AttributeContext.fromPartial({
    source: { principal: sent.principal ?? `spiffe://${origin}/ann` },
    request: {
      http: { method: sent.method ?? "GET", path: sent.path ?? "/docs", headers: sent.headers ?? {} },
    },
    contextExtensions: sent.extensions ?? {},
    metadataContext: { filterMetadata: sent.metadata ?? {} },
  });

const read = (sent: Sent, mapping = byCertificate): Reading =>
  readAttributes(attributesOf(sent), mapping, origin);

const questionOf = (sent: Sent, mapping = byCertificate): CheckQuestion => {
  const reading = read(sent, mapping);
  if (reading.kind === "refused") throw new Error(reading.rule);
  return reading.question;
};

const reasonOf = (sent: Sent, mapping = byCertificate): string => {
  const reading = read(sent, mapping);
  return reading.kind === "refused" ? reading.reason : "none";
};

describe("a request through Envoy", () => {
  it("is asked about by its method and its path without the query", () => {
    const { action, target, subject } = questionOf({ method: "DELETE", path: "/orders/7?force=/../admin#x" });
    expect([action, target, subject]).to.deep.equal(["http.delete", "api/orders/7", "ann"]);
    expect(questionOf({ path: "/" }).target).to.equal("api");
    expect(questionOf({ path: "/orders/" }).target).to.equal("api/orders");
    expect(questionOf({ method: "M-SEARCH" }).action).to.equal("http.m-search");
  });

  it("has one target for every spelling of a name, and that of the route's own configuration", () => {
    expect(questionOf({ path: "/%61dmin/caf%C3%A9" }).target).to.equal("api/admin/café");
    expect(questionOf({ path: "/admin/cafe%CC%81" }).target).to.equal("api/admin/café");
    const extensions = { sigil_target_prefix: "shop/api" };
    expect(questionOf({ path: "/orders", extensions }).target).to.equal("shop/api/orders");
  });

  for (const path of [
    "//admin",
    "/public//admin",
    "/public/../admin",
    "/public/./x",
    "/public/%2e%2e/admin",
    "/public/.%2E/admin",
    "/public/%252e%252e/admin",
    "/public%2Fx",
    "/public%2fx",
    "/public%252Fx",
    "/public%5Cx",
    "/public\\..\\admin",
    "/public/..;/admin",
    "/public;x=1/admin",
    "/public/..%3B/admin",
    "/a%00",
    "/a%0d%0ab",
    "/a%",
    "/a%zz",
    "/a%ff",
    "/a#b",
    "/a b\u0000",
    "",
    "?x=/docs",
    "*",
    "http://other/docs",
    `/${"a".repeat(600)}`,
  ]) {
    it(`is refused at the path ${JSON.stringify(path.slice(0, 40))}`, () => {
      expect(reasonOf({ path })).to.equal("REQUEST_REFUSED");
    });
  }

  it("is refused at a method that is another one's twin, or none", () => {
    for (const method of ["get", "Get", "", "GET /x", "GÉT", "A".repeat(33)]) {
      expect(reasonOf({ method }), method).to.equal("REQUEST_REFUSED");
    }
    const attributes = AttributeContext.fromPartial({ source: { principal: "a.example" } });
    expect(readAttributes(attributes, byCertificate, origin)).to.include({ reason: "REQUEST_REFUSED" });
  });

  it("is about whom the certificate names, as it names callers of Sigil's own", () => {
    for (const principal of [`spiffe://${origin}/ann`, `SPIFFE://${origin.toUpperCase()}/ann`]) {
      expect(questionOf({ principal }).subject).to.equal("ann");
    }
    expect(questionOf({ principal: "spiffe://other.test/ann" }).subject).to.equal("spiffe:/other.test/ann");
    expect(questionOf({ principal: "Shop.Example" }).subject).to.equal("dns:shop.example");
    // A host called as a principal is called is not that principal.
    expect(questionOf({ principal: "root" }).subject).to.equal("dns:root");
  });

  it("is refused when nobody proved who sends it: an empty subject would be Envoy itself", () => {
    expect(reasonOf({ principal: "" })).to.equal("SUBJECT_MISSING");
    const headers = { "x-sigil-subject": "root", "x-forwarded-client-cert": `URI=spiffe://${origin}/root` };
    expect(reasonOf({ principal: "", headers })).to.equal("SUBJECT_MISSING");
    expect(questionOf({ headers }).subject).to.equal("ann");
    expect(reasonOf({ metadata: {} }, byClaim)).to.equal("SUBJECT_MISSING");
  });

  it("is refused when the certificate's name is no principal's", () => {
    for (const principal of [
      "CN=root",
      `spiffe://${origin}/`,
      `spiffe://${origin}/../root`,
      "https://x/root",
    ]) {
      expect(reasonOf({ principal }), principal).to.equal("SUBJECT_REFUSED");
    }
  });

  it("is about the claim of a verifying filter, under a mark that no principal of another kind has", () => {
    const claimed = (sub: unknown, filter = "envoy.filters.http.jwt_authn"): Sent => ({
      metadata: { [filter]: { payload: { sub } } },
    });
    expect(questionOf(claimed("auth0|ann"), byClaim).subject).to.equal("jwt:auth0|ann");
    expect(questionOf(claimed("root"), byClaim).subject).to.equal("jwt:root");
    for (const sub of ["", 7, null, ["ann"], { sub: "ann" }, undefined]) {
      expect(reasonOf(claimed(sub), byClaim)).to.equal("SUBJECT_MISSING");
    }
    for (const sub of ["a//b", "a/", "%61nn", "a/../root", "e\u0301", "a b ", `spiffe://${origin}/root`]) {
      expect(reasonOf(claimed(sub), byClaim), sub).to.equal("SUBJECT_REFUSED");
    }
    expect(reasonOf(claimed("ann", "envoy.lb"), byClaim)).to.equal("SUBJECT_MISSING");
  });

  it("takes no claim from what a token calls __proto__", () => {
    const field = (tag: number, bytes: Buffer): Buffer =>
      Buffer.concat([Buffer.of(tag, bytes.length), bytes]);
    const text = (value: string): Buffer => field(0x1a, Buffer.from(value));
    const entry = (name: string, value: Buffer): Buffer =>
      field(0x0a, Buffer.concat([field(0x0a, Buffer.from(name)), field(0x12, value)]));
    const struct = (value: Buffer): Buffer => field(0x2a, value);
    const claims = entry("sub", text("ann"));
    const read = (filter: string, fields: Buffer): Reading => {
      const metadata = field(0x5a, entry(filter, fields));
      const rest = AttributeContext.encode(attributesOf({})).finish();
      return readAttributes(AttributeContext.decode(Buffer.concat([rest, metadata])), byClaim, origin);
    };
    const name = "envoy.filters.http.jwt_authn";
    expect(read(name, entry("payload", struct(claims)))).to.have.nested.property(
      "question.subject",
      "jwt:ann",
    );
    for (const [filter, fields] of [
      [name, entry("payload", struct(entry("__proto__", struct(claims))))],
      [name, entry("__proto__", struct(entry("payload", struct(claims))))],
      ["__proto__", entry(name, struct(entry("payload", struct(claims))))],
    ] as const) {
      expect(read(filter, fields)).to.include({ reason: "SUBJECT_MISSING" });
    }
  });

  it("has its subject from where the configuration says, written as it is read", () => {
    for (const text of ["source.principal", "metadata:envoy.filters.http.jwt_authn/payload/sub"]) {
      const source = parseSubjectSource(text);
      expect(source === undefined ? "" : formatSubjectSource(source)).to.equal(text);
    }
    for (const text of [
      "",
      "header:x-user",
      "metadata:",
      "metadata:filter",
      "metadata:f/",
      "metadata:f//a",
    ]) {
      expect(parseSubjectSource(text), text).to.equal(undefined);
    }
  });
});

const decided = (verdict: "allow" | "deny" | "review", reason: string) => {
  const call = { signal: new AbortController().signal, deadlineMs: 1, metadata: {} };
  const { chain } = decide(
    { action: "http.get", target: "api", session: "", input: new Uint8Array(0) } as never,
    call,
  );
  return { auditId: "decision", chain: { ...chain, verdict, reason } };
};

/** As it is after the wire. */
const sent = (answer: CheckResponse): CheckResponse =>
  CheckResponse.decode(CheckResponse.encode(answer).finish());

const headersOf = ({ httpResponse }: CheckResponse): Record<string, string> =>
  Object.fromEntries(
    (httpResponse?.value.headers ?? []).map(({ header, appendAction }) => {
      expect(appendAction).to.equal(2);
      return [header?.key ?? "", header?.value ?? ""];
    }),
  );

describe("an answer to Envoy", () => {
  it("allows with status 0 and an ok response, for an allow alone", () => {
    const answer = sent(answerDecision(decided("allow", "SCORE_AT_OR_ABOVE_THRESHOLD"), attributesOf({})));
    expect([answer.status?.code, answer.httpResponse?.$case]).to.deep.equal([0, "okResponse"]);
    expect(headersOf(answer)).to.deep.equal({ "x-sigil-audit-id": "decision" });
  });

  for (const [verdict, reason] of [
    ["deny", "SCORE_BELOW_THRESHOLD"],
    ["review", "REVIEW_BAND"],
  ] as const) {
    it(`denies with 403 for a ${verdict}, and says so`, () => {
      const answer = sent(answerDecision(decided(verdict, reason), attributesOf({})));
      expect([answer.status?.code, answer.httpResponse?.$case]).to.deep.equal([7, "deniedResponse"]);
      expect(answer.httpResponse).to.have.nested.property("value.status.code", 403);
      expect(headersOf(answer)).to.deep.equal({
        "x-sigil-verdict": verdict,
        "x-sigil-reason": reason,
        "x-sigil-audit-id": "decision",
      });
      expect(answer.dynamicMetadata).to.deep.equal({ verdict, reason, audit_id: "decision" });
    });
  }

  it("denies with 403 and no audit id what no question could be made of", () => {
    for (const [reason, code] of [
      ["REQUEST_REFUSED", 3],
      ["SUBJECT_MISSING", 16],
      ["SUBJECT_REFUSED", 16],
    ] as const) {
      const answer = sent(answerRefusal({ kind: "refused", reason, rule: "must be other" }));
      expect([answer.status?.code, answer.httpResponse?.$case]).to.deep.equal([code, "deniedResponse"]);
      expect(headersOf(answer)).to.deep.equal({ "x-sigil-verdict": "deny", "x-sigil-reason": reason });
    }
  });

  it("removes the client's x-sigil headers, however they are spelled or sent", () => {
    const own = {
      "x-sigil-verdict": "allow",
      x_sigil_reason: "x",
      "x-sigil-audit-id": "forged",
      x_sigil_audit_id: "y",
    };
    const removed = ["x-sigil-verdict", "x_sigil_reason", "x_sigil_audit_id"];
    const allowed = decided("allow", "SCORE_AT_OR_ABOVE_THRESHOLD");
    const mapped = attributesOf({ headers: { ...own, accept: "*/*", "x-sigilant": "stays" } });
    const raw = AttributeContext.fromPartial({
      request: { http: { headerMap: { headers: Object.keys(own).map((key) => ({ key })) } } },
    });
    for (const attributes of [mapped, raw]) {
      expect(answerDecision(allowed, attributes).httpResponse).to.have.deep.nested.property(
        "value.headersToRemove",
        removed,
      );
    }
  });
});
