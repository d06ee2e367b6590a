/** Requests from what HTTP carries: ProtoJSON strictly, and the path of what is wrong with it. */
import { fromBinary, toJson } from "@bufbuild/protobuf";
import { expect } from "chai";
import { describe, it } from "mocha";
import { SigilFault } from "../../../src/errors.ts";
import { requestBytes, type Carried } from "../../../src/gateway/http/request.ts";
import { findRoute, readContracts, routesOf } from "../../../src/gateway/http/routes.ts";
import { readDescriptors } from "../../../src/rpc/transport/descriptors.ts";

const contracts = readContracts(readDescriptors());
const routes = routesOf(contracts);

type Rest = Partial<Pick<Carried, "body" | "idempotencyKey" | "lastEventId">>;

const carriedTo = (
  method: string,
  target: string,
  { body = "", idempotencyKey, lastEventId }: Rest,
): Carried => {
  const [path = "", query = ""] = target.split("?");
  const found = findRoute(routes, method, path);
  if (found.kind !== "found") throw new Error(`no route: ${target}`);
  return { route: found.route, captures: found.captures, query, body, idempotencyKey, lastEventId };
};

const read = (method: string, target: string, rest: Rest = {}): unknown => {
  const carried = carriedTo(method, target, rest);
  const { input } = carried.route.rpc;
  return toJson(input, fromBinary(input, requestBytes(carried, contracts)), { registry: contracts });
};

const refusal = (method: string, target: string, rest: Rest = {}): readonly string[] => {
  try {
    read(method, target, rest);
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "invalidField")
      return [error.error.field, error.error.rule];
    throw error;
  }
  throw new Error(`it was read: ${target} ${rest.body}`);
};

const posted = (path: string, body: unknown): readonly string[] =>
  refusal("POST", path, { body: typeof body === "string" ? body : JSON.stringify(body) });

const check = { action: "read", target: "public/docs" };

describe("a request over HTTP", () => {
  it("takes every form of ProtoJSON: either name of a field, numbers as text, base64 of both alphabets", () => {
    const body = '{"keep_input":true,"input":"_-8","idempotencyKey":"k","session":null}';
    expect(read("POST", "/trust/check", { body })).to.deep.equal({
      keepInput: true,
      input: "/+8=",
      idempotencyKey: "k",
    });
    const versions = { id: "a", expectedVersion: "7", payload: { n: 1.5, __proto__: null } };
    expect(read("POST", "/canon/user/write", { body: JSON.stringify(versions) })).to.deep.include({
      expectedVersion: "7",
    });
    const named = '{"payload":{"__proto__":1,"constructor":2}}';
    expect(JSON.stringify(read("POST", "/canon/user/write", { body: named }))).to.equal(named);
  });

  const refused: Readonly<Record<string, readonly [string, unknown, string]>> = {
    "text for a truth value": ["/trust/check", { keepInput: "false" }, "keepInput"],
    "a number for text": ["/trust/check", { action: 5 }, "action"],
    "an unknown member": ["/trust/check", { ...check, allow: true }, "allow"],
    "an unknown member of a member": ["/trust/check:batch", { checks: [check, { a: 1 }] }, "checks[1].a"],
    "a wrong type in a list": ["/trust/check:batch", { checks: [check, { input: "!" }] }, "checks[1].input"],
    "a wrong type in a map": [
      "/trust/simulate",
      { candidate: { actions: { read: { risk: "much" } } } },
      "candidate.actions.read.risk",
    ],
    "a list for a message": ["/trust/check", [], ""],
    nothing: ["/trust/check", "null", ""],
    "no JSON": ["/trust/check", '{"action":', ""],
    "an empty body": ["/trust/check", "", ""],
    "a comment": ["/trust/check", "{/**/}", ""],
    "a byte order mark": ["/trust/check", "\ufeff{}", ""],
    "a member twice": ["/trust/check", '{"action":"a","action":"b"}', "action"],
    "a member twice, one with an escape": ["/trust/check", '{"action":"a","\\u0061ction":"b"}', "action"],
    "a member twice, deep down": [
      "/trust/check:batch",
      '{"checks":[{},{"input":"","input":""}]}',
      "checks[1].input",
    ],
    "a member by both its names": ["/trust/check", { keepInput: true, keep_input: true }, "keep_input"],
    "two of a oneof": ["/canon/user/write", { payloadJson: "1", payloadCbor: "AA==" }, "payloadCbor"],
    "a key twice in a payload": ["/canon/user/write", '{"payload":{"a":1,"a":2}}', "payload.a"],
    "a lone surrogate": ["/trust/check", '{"action":"\\ud800"}', "action"],
    "a 64-bit number that JSON rounds": [
      "/canon/user/write",
      '{"expectedVersion":9007199254740993}',
      "expectedVersion",
    ],
    "space around a 64-bit number": ["/canon/user/write", '{"expectedVersion":" 1"}', "expectedVersion"],
    "a fraction for a whole number": ["/canon/user/write", '{"schemaVersion":1.5}', "schemaVersion"],
    "a name that no enum has": ["/keys/rotate", { role: "KEY_ROLE_OF_GOLD" }, "role"],
    "what the path has said otherwise": ["/module/hello/run", { name: "redact" }, "name"],
  };
  for (const [what, [path, body, field]] of Object.entries(refused)) {
    it(`is refused with ${what}, and told where`, () => expect(posted(path, body)[0]).to.equal(field));
  }

  it("is refused when it is nested too deep, whatever parser would recurse", () => {
    for (const depth of [200, 200_000]) {
      for (const [open, close] of [
        ['{"payload":{"a":', "}}"],
        ['{"a":', "}"],
      ] as const) {
        const body = open + "[".repeat(depth) + "]".repeat(depth) + close;
        expect(posted("/canon/user/write", body)[1]).to.match(/nested|depth/);
      }
    }
  });

  it("may say again what the path says, and is one request", () => {
    for (const body of ["{}", '{"name":"hello"}'])
      expect(read("POST", "/module/hello/run", { body })).to.deep.equal({ name: "hello" });
  });

  it("takes its fields from the query where it has no body", () => {
    const target =
      "/canon/user?filter.id_prefix=notes%2F&filter.includeTombstones=true&view=2&pageSize=5&payload_mask=a&payload_mask=b.c+d";
    expect(read("GET", target)).to.deep.equal({
      filter: { idPrefix: "notes/", includeTombstones: true },
      view: "RECORD_VIEW_METADATA",
      pageSize: 5,
      payloadMask: ["a", "b.c d"],
    });
    expect(read("GET", "/audit?from_time=2026-01-02T03:04:05Z&verdict=VERDICT_DENY")).to.deep.equal({
      fromTime: "2026-01-02T03:04:05Z",
      verdict: "VERDICT_DENY",
    });
    expect(read("GET", "/canon/user/notes/1?version=3")).to.deep.equal({ id: "notes/1", version: "3" });
  });

  const queries: Readonly<Record<string, string>> = {
    "/audit?nothing=1": "nothing",
    "/audit?page_size=1&pageSize=1": "pageSize",
    "/audit?page_size=x": "page_size",
    "/audit?page_size=-1": "page_size",
    "/audit?page_size": "page_size",
    "/audit?tenant=%": "tenant",
    "/audit?tenant=%ff": "tenant",
    "/audit?%zz=1": "query",
    "/audit?tenant.a=1": "tenant.a",
    "/audit?__proto__=1": "__proto__",
    "/audit/x?auditId=y": "audit_id",
    "/canon/user?filter=1": "filter",
    "/canon/user?filter.space=SPACE_ODDITY": "filter.space",
    "/canon/user?filter.includeTombstones=1": "filter.include_tombstones",
    "/canon/user/a?version=1&hash=AA==": "hash",
    "/canon/user/a?version=99999999999999999999": "version",
    "/audit/proof/inclusion/1e3": "position",
    "/canon/user/a//b": "id",
  };
  for (const [target, field] of Object.entries(queries)) {
    it(`is refused for ${target}, and told where`, () => expect(refusal("GET", target)[0]).to.equal(field));
  }

  it("goes on where the last event says, whatever the first request asked for, if its stream can", () => {
    const given = { lastEventId: "7" };
    expect(read("GET", "/canon/user:watch?from_position=3", given)).to.deep.equal({ fromPosition: "7" });
    expect(read("GET", "/canon/user:stream", given)).to.deep.equal({});
  });

  it("has no query beside a body", () => {
    expect(refusal("POST", "/trust/check?action=read", { body: "{}" })[0]).to.equal("query");
  });

  it("takes its idempotency key from the header, the body, or both when they say the same", () => {
    const keyed = { idempotencyKey: "k" };
    for (const body of ["{}", '{"idempotency_key":"k"}'])
      expect(read("POST", "/trust/check", { body, ...keyed })).to.deep.equal(keyed);
    expect(refusal("POST", "/trust/check", { body: '{"idempotencyKey":"l"}', ...keyed })[0]).to.equal(
      "idempotency_key",
    );
    expect(refusal("POST", "/trust/simulate", { body: "{}", ...keyed })[0]).to.equal("Idempotency-Key");
  });
});
