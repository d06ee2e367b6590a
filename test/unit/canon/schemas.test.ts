/** The schemas that hold user records: what compiles and what passes. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { parseJsonPayload } from "../../../src/canon/records/payload.ts";
import { compileSchema, type CompiledSchema } from "../../../src/canon/schemas/json-schema.ts";
import type { CborValue } from "../../../src/core/cbor/cbor.ts";
import { fail } from "../../../src/errors.ts";
import { jsonSchemaCharactersMax } from "../../../src/limits.ts";
import { errorOf } from "../record/faults.ts";

const checkAgainst = (compiled: CompiledSchema, payload: CborValue, field: string): void => {
  const rule = compiled.refusalOf(payload);
  if (rule !== null) fail({ kind: "invalidField", field, rule });
};

/** JSON text to a value: keys such as "__proto__" stay keys. */
const json = (text: string): CborValue => parseJsonPayload(text, "test");

const schemaRuleOf = (schema: CborValue): string => {
  const error = errorOf(() => compileSchema(schema));
  if (error.kind !== "malformedRecord") return expect.fail(`refused as ${error.kind}`);
  expect(error.field).to.equal("payload.schema");
  return error.rule;
};

const payloadRuleOf = (compiled: CompiledSchema, payload: CborValue): string => {
  const error = errorOf(() => checkAgainst(compiled, payload, "payload_json"));
  if (error.kind !== "invalidField") return expect.fail(`refused as ${error.kind}`);
  expect(error.field).to.equal("payload_json");
  return error.rule;
};

const draft = "https://json-schema.org/draft/2020-12/schema";

describe("a schema", () => {
  const compiling: readonly (readonly [string, CborValue])[] = [
    ["that says nothing", {}],
    [
      "that names its dialect and itself",
      { $schema: draft, $id: "https://example.com/order", type: "object" },
    ],
    ["with references into itself", json('{"$defs":{"a b/c":{"type":"string"}},"$ref":"#/$defs/a%20b~1c"}')],
    ["with an anchor", json('{"$defs":{"x":{"$anchor":"node","type":"string"}},"$ref":"#node"}')],
    ["that goes round through the payload", json('{"properties":{"next":{"$ref":"#"}}}')],
    ["with annotations, `format` among them", json('{"title":"t","format":"shoe-size","examples":[1]}')],
    [
      "with properties named like keywords",
      json('{"properties":{"$ref":{"type":"string"},"nullable":true}}'),
    ],
  ];
  for (const [name, schema] of compiling) {
    it(`${name} compiles`, () => {
      expect(() => compileSchema(schema)).not.to.throw();
    });
  }

  const refused: readonly (readonly [string, CborValue, string])[] = [
    ["that is no map", "object", "must be a map"],
    ["with an unknown type", { type: "objct" }, 'at "/type" must match a schema in anyOf'],
    [
      "with a keyword of the wrong form",
      { properties: { a: 1 } },
      'at "/properties/a" must be object,boolean',
    ],
    ["with an unknown keyword", { propertis: {} }, 'strict mode: unknown keyword: "propertis"'],
    ["with an unknown keyword inside", { items: { typ: "x" } }, 'strict mode: unknown keyword: "typ"'],
    [
      "of another dialect",
      { $schema: "http://json-schema.org/draft-07/schema#" },
      `at "/$schema" must be "${draft}"`,
    ],
    ["with `nullable`", { type: "string", nullable: true }, 'unknown keyword: "nullable"'],
    ["with `$async`, whose outcome would be a promise", { $async: true }, 'unknown keyword: "$async"'],
    ["with a dynamic reference", { $dynamicRef: "#x" }, 'unknown keyword: "$dynamicRef"'],
    ["with `id`", { id: "x" }, 'NOT SUPPORTED: keyword "id"'],
    ["with a pattern that is none", { pattern: "(" }, "Invalid regular expression"],
    [
      "with a reference elsewhere",
      { $ref: "https://example.com/s" },
      'at "/$ref" must lead to a part of this schema',
    ],
    ["with a reference to the dialect", { $ref: draft }, 'at "/$ref" must lead'],
    ["with a reference to nothing", { items: { $ref: "#/$defs/a" } }, 'at "/items/$ref" must lead'],
    ["with a reference to no schema", { minimum: 1, $ref: "#/minimum" }, 'at "/$ref" must lead'],
    [
      "with a reference to the length of a list",
      json('{"allOf":[{"$ref":"#/allOf/length"}]}'),
      'at "/allOf/0/$ref"',
    ],
    ["with a reference to what objects inherit", { $ref: "#/constructor" }, 'at "/$ref" must lead'],
    ["with a reference to what all objects inherit from", { $ref: "#/__proto__" }, 'at "/$ref" must lead'],
    ["with a reference in broken escapes", { $ref: "#/%zz" }, 'at "/$ref" must lead'],
    ["with a reference to an unknown anchor", { $ref: "#nowhere" }, "can't resolve reference #nowhere"],
    [
      "inside which another one is named",
      json('{"$defs":{"a":{"$id":"b"}}}'),
      'at "/$defs/a/$id" must be at the top',
    ],
    [
      "with a key __proto__",
      json('{"properties":{"__proto__":{"type":"string"}}}'),
      'at "/properties/__proto__" is a key',
    ],
    ["with a key constructor", { const: { constructor: 1 } }, 'at "/const/constructor" is a key'],
    [
      "that is too long",
      { title: "x".repeat(jsonSchemaCharactersMax) },
      `must be at most ${jsonSchemaCharactersMax}`,
    ],
  ];
  for (const [name, schema, rule] of refused) {
    it(`${name} is refused`, () => {
      expect(schemaRuleOf(schema)).to.contain(rule);
    });
  }

  it("on which the compiler overflows its stack is refused, not fatal", () => {
    expect(schemaRuleOf({ oneOf: Array.from({ length: 4000 }, () => true) })).to.equal(
      "is too intricate to compile",
    );
    const chain = Array.from({ length: 750 }, (_, i) => [`d${i}`, { items: { $ref: `#/$defs/d${i + 1}` } }]);
    const $defs = { ...Object.fromEntries(chain), d750: true } as CborValue;
    expect(schemaRuleOf({ $defs, $ref: "#/$defs/d0" })).to.equal("is too intricate to compile");
  });

  it("is not quoted at length in its refusal", () => {
    expect(schemaRuleOf({ pattern: `(${"x".repeat(20_000)}` }).length).to.be.below(320);
    expect(schemaRuleOf({ ["k".repeat(20_000)]: {} }).length).to.be.below(320);
  });
});

describe("a payload under a schema", () => {
  const order = compileSchema(
    json(`{
      "type": "object",
      "properties": {
        "sku": { "type": "string", "pattern": "^[A-Z]+$" },
        "lines": { "type": "array", "items": { "type": "object", "properties": { "n/a": { "type": "integer" } } } },
        "digest": { "type": "string", "contentEncoding": "base64", "maxLength": 4 },
        "mail": { "format": "email" }
      },
      "required": ["sku"],
      "additionalProperties": false
    }`),
  );

  it("passes when it keeps the schema", () => {
    checkAgainst(order, { sku: "A", lines: [{ "n/a": 1 }], mail: "no address" }, "payload_json");
    checkAgainst(compileSchema({}), null, "payload_json");
    checkAgainst(compileSchema({ type: "integer" }), 9_007_199_254_740_991, "payload_json");
  });

  it("is refused with a pointer to the fault", () => {
    expect(payloadRuleOf(order, [])).to.equal('at "" must be object');
    expect(payloadRuleOf(order, {})).to.equal(`at "" must have required property 'sku'`);
    expect(payloadRuleOf(order, { sku: "secret" })).to.equal('at "/sku" must match pattern "^[A-Z]+$"');
    expect(payloadRuleOf(order, { sku: "A", lines: [{}, { "n/a": 1.5 }] })).to.equal(
      'at "/lines/1/n~1a" must be integer',
    );
    expect(payloadRuleOf(order, { sku: "A", extra: 1 })).to.equal(
      'at "" must NOT have additional properties, which has "extra"',
    );
  });

  it("is refused for the outermost of several reasons", () => {
    const either = compileSchema(
      json('{"properties":{"a":{"anyOf":[{"type":"string"},{"type":"integer"}]}}}'),
    );
    expect(payloadRuleOf(either, { a: null })).to.equal('at "/a" must match a schema in anyOf');
  });

  it("shows its byte strings as base64 and its large integers as text", () => {
    checkAgainst(order, { sku: "A", digest: Uint8Array.of(1, 2, 3) }, "payload_json");
    expect(payloadRuleOf(order, { sku: "A", digest: Uint8Array.of(1, 2, 3, 4) })).to.contain('at "/digest"');
    checkAgainst(compileSchema({ const: "18446744073709551615" }), 2n ** 64n - 1n, "payload_json");
    expect(payloadRuleOf(compileSchema({ type: "integer" }), 2n ** 53n)).to.equal('at "" must be integer');
  });

  it("is compared by value, maps and lists too", () => {
    const one = compileSchema(json('{"enum":[{"a":[1,{"b":null}]}]}'));
    checkAgainst(one, json('{"a":[1,{"b":null}]}'), "payload_json");
    expect(payloadRuleOf(one, json('{"a":[1,{"b":0}]}'))).to.contain(
      "must be equal to one of the allowed values",
    );
    expect(payloadRuleOf(compileSchema({ uniqueItems: true }), json('[{"a":1},{"a":1}]'))).to.contain(
      "duplicate",
    );
  });

  it("owes what is required of it even if every object inherits it", () => {
    expect(payloadRuleOf(compileSchema(json('{"required":["constructor"]}')), {})).to.contain(
      "must have required",
    );
  });

  it("passes no key by the schema under a name that every object answers to", () => {
    const closed = compileSchema(
      json('{"anyOf":[{"required":["a"],"properties":{"a":true}},true],"unevaluatedProperties":false}'),
    );
    checkAgainst(closed, { a: 1 }, "payload_json");
    expect(payloadRuleOf(closed, { b: 1 })).to.contain('unevaluated properties, which has "b"');
    for (const key of ["__proto__", "constructor", "valueOf"]) {
      expect(payloadRuleOf(closed, json(`{"a":1,"${key}":1}`))).to.equal(
        `at "/${key}" is a key that a kind with a schema cannot have`,
      );
    }
    const unique = compileSchema({ uniqueItems: true });
    const twice = json('[{"constructor":[]},{"constructor":[]}]');
    expect(payloadRuleOf(unique, twice)).to.contain('at "/0/constructor" is a key');
  });

  it("is refused when the schema goes round without an end", () => {
    for (const schema of ['{"$ref":"#"}', '{"allOf":[{"$ref":"#"}]}']) {
      expect(payloadRuleOf(compileSchema(json(schema)), 1)).to.contain("does not come to an end");
    }
  });

  it("is checked anew each time, whatever was refused before it", () => {
    expect(payloadRuleOf(order, [])).to.contain("must be object");
    checkAgainst(order, { sku: "A" }, "payload_json");
  });

  it("is not named by value, and by bounded keys only", () => {
    const strings = compileSchema(json('{"additionalProperties":{"type":"integer","maximum":3}}'));
    expect(payloadRuleOf(strings, { a: 777_777 })).not.to.contain("777");
    expect(payloadRuleOf(strings, { ["k".repeat(100_000)]: "x" }).length).to.be.below(300);
    const closed = compileSchema({ additionalProperties: false });
    expect(payloadRuleOf(closed, { ["k".repeat(100_000)]: "x" }).length).to.be.below(300);
  });
});
