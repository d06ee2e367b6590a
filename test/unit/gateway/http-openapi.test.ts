/** The OpenAPI document as it is committed: the routes, fields and statuses of the gateway, and no others. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { placeOf } from "../../../scripts/openapi.ts";
import { repository } from "../../../scripts/run.ts";
import { evaluationPath, evaluationsPath, wellKnownPath } from "../../../src/gateway/authzen/discovery.ts";
import { problemTitles } from "../../../src/gateway/http/problem.ts";
import { resumes } from "../../../src/gateway/http/request.ts";
import { readContracts, routesOf } from "../../../src/gateway/http/routes.ts";
import { readDescriptors } from "../../../src/rpc/transport/descriptors.ts";

type Parameter = {
  readonly name?: string;
  readonly in?: string;
  readonly $ref?: string;
  readonly "x-sigil-slashes"?: true;
};
type Media = Readonly<
  Record<
    string,
    { readonly schema: { readonly properties?: object; readonly additionalProperties?: boolean } }
  >
>;
type Operation = {
  readonly operationId: string;
  readonly summary: string;
  readonly description: string;
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly content: Media };
  readonly responses: Readonly<Record<string, { readonly content?: Media; readonly $ref?: string }>>;
};
type Document = {
  readonly openapi: string;
  readonly security: readonly object[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly responses: Readonly<Record<string, { readonly content: Media }>>;
    readonly schemas: Readonly<Record<string, { readonly type?: string; readonly properties?: object }>>;
  };
};

const document = JSON.parse(readFileSync(join(repository, "generated/openapi.json"), "utf8")) as Document;
const contracts = readContracts(readDescriptors());
const routes = routesOf(contracts);

const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ place: `${method} ${path}`, operation })),
);
const operationOf = (wanted: string): Operation | undefined =>
  operations.find(({ place }) => place === wanted)?.operation;
/** One that is missing is the first test's to name. */
const documented = routes.flatMap((route) => {
  const operation = operationOf(placeOf(route).toReversed().join(" "));
  return operation === undefined ? [] : [{ route, operation }];
});
/** What the guard and the forwarded question answer. */
const guards = ["post /trust/guard", "get /trust/forward"];
/** What AuthZEN answers, whose paths stand in no contract. */
const authzen = [`post ${evaluationPath}`, `post ${evaluationsPath}`, `get ${wellKnownPath}`];

describe("the OpenAPI document", () => {
  it("has every route of the gateway, and no other", () => {
    const served = routes.map((route) => placeOf(route).toReversed().join(" "));
    expect(operations.map(({ place }) => place)).to.have.members([...served, ...guards, ...authzen]);
    expect(document.openapi).to.equal("3.1.0");
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).to.equal(ids.length);
  });

  it("has every message's fields by their JSON names, and no others", () => {
    const schemas = Object.entries(document.components.schemas).filter(([name]) => name.startsWith("sigil."));
    expect(schemas.length).to.be.above(80);
    for (const [name, { properties = {} }] of schemas) {
      const message = contracts.getMessage(name);
      if (message === undefined) expect(contracts.getEnum(name), name).not.to.equal(undefined);
      else
        expect(Object.keys(properties), name).to.have.members(message.fields.map(({ jsonName }) => jsonName));
    }
  });

  it("gives each request the fields that path, query and body may carry", () => {
    for (const { route, operation } of documented) {
      const name = route.template.text;
      const { fields } = route.rpc.input;
      const inPath = operation.parameters.filter((each) => each.in === "path").map((each) => each.name);
      const captured = route.template.parts.flatMap((part) => (part.kind === "literal" ? [] : [part.field]));
      expect(inPath, name).to.have.members(captured.map((field) => field.split(".").at(-1)));
      const properties = operation.requestBody?.content["application/json"]?.schema.properties;
      if (route.method === "GET") {
        const inQuery = operation.parameters.filter((each) => each.in === "query");
        const given = [...inQuery, ...operation.parameters.filter((each) => each.in === "path")];
        const first = new Set(given.map((each) => each.name?.split(".")[0]));
        for (const { jsonName, name: own } of fields)
          expect(first.has(jsonName) || first.has(own), `${name} ${own}`).to.equal(true);
      } else if (properties !== undefined) {
        const others = fields.filter((field) => !captured.includes(field.name));
        expect(Object.keys(properties), name).to.have.members(others.map(({ jsonName }) => jsonName));
        expect(
          operation.requestBody?.content["application/json"]?.schema.additionalProperties,
          name,
        ).to.equal(false);
      } else expect(route.body, name).not.to.equal("*");
    }
  });

  it("has every status that a problem comes with, and the guard's two alone", () => {
    const statuses = [...problemTitles.keys()].filter((status) => status !== 405);
    for (const { route, operation } of documented) {
      const isStream = route.rpc.methodKind === "server_streaming";
      const expected = [200, ...statuses.filter((status) => isStream || status !== 406)];
      expect(Object.keys(operation.responses).map(Number), route.template.text).to.have.members(expected);
    }
    for (const place of guards)
      expect(Object.keys(operationOf(place)?.responses ?? {})).to.deep.equal(["204", "403"]);
    for (const [name, { content }] of Object.entries(document.components.responses))
      if (!name.startsWith("Plain"))
        expect(Object.keys(content), name).to.deep.equal(["application/problem+json"]);
  });

  it("says of streams their two forms and where they go on, and of an id that it takes slashes", () => {
    for (const { route, operation } of documented) {
      const { content = {} } = operation.responses["200"] ?? {};
      const forms =
        route.rpc.methodKind === "unary"
          ? ["application/json"]
          : ["application/x-ndjson", "text/event-stream"];
      expect(Object.keys(content), route.template.text).to.deep.equal(forms);
      const goesOn = operation.parameters.some((each) => each.$ref === "#/components/parameters/lastEventId");
      expect(goesOn, route.template.text).to.equal(resumes(route));
      const slashes = operation.parameters.filter((each) => each["x-sigil-slashes"]).map((each) => each.name);
      expect(slashes, route.template.text).to.deep.equal(
        route.template.parts.flatMap((part) => (part.kind === "rest" ? [part.field] : [])),
      );
    }
  });

  it("has AuthZEN's errors as plain text and never as 415, and closes none of its members", () => {
    const statuses = [...problemTitles.keys()].filter((status) => ![405, 406, 415].includes(status));
    for (const place of authzen) {
      const { responses = {}, requestBody } = operationOf(place) ?? {};
      expect(Object.keys(responses).map(Number), place).to.have.members([200, ...statuses]);
      for (const [status, response] of Object.entries(responses)) {
        const { content } = response;
        const shared = document.components.responses[response.$ref?.split("/").at(-1) ?? ""];
        const isMetadata = requestBody === undefined;
        expect(Object.keys(content ?? shared?.content ?? {}), `${place} ${status}`).to.deep.equal([
          status === "200"
            ? "application/json"
            : status === "404" && isMetadata
              ? "application/problem+json"
              : "text/plain",
        ]);
      }
    }
    const closed = Object.entries(document.components.schemas).filter(
      ([name, schema]) =>
        /^(Evaluation|Authzen)/.test(name) && JSON.stringify(schema).includes('"additionalProperties":false'),
    );
    expect(closed).to.deep.equal([]);
  });

  it("lets nobody in particular call, or somebody with a token or a certificate, and says of every route what it does", () => {
    expect(document.security).to.deep.equal([{}, { bearer: [] }, { certificate: [] }]);
    for (const { place, operation } of operations) {
      expect(operation.summary, place).to.match(/\.$/);
      expect(operation.description.length, place).to.be.at.least(operation.summary.length);
    }
  });
});
