/** The schemas that hold user records: what compiles, what passes, and that the ledger's newest one is the one used. */
import { expect } from "chai";
import { beforeEach, describe, it } from "mocha";
import { parseJsonPayload } from "../../../src/canon/payload.ts";
import {
  checkAgainst,
  compileSchema,
  createSchemas,
  type CompiledSchema,
  type SchemaLedger,
} from "../../../src/canon/schemas.ts";
import type { CommittedRecord } from "../../../src/ledger/ledger.ts";
import { parseHash } from "../../../src/record/bytes.ts";
import type { CborValue } from "../../../src/record/cbor.ts";
import { fail, SigilFault, type SigilError } from "../../../src/record/errors.ts";
import { jsonSchemaCharactersMax } from "../../../src/record/limits.ts";
import type { RecordBody } from "../../../src/record/record.ts";
import { errorOf } from "../record/faults.ts";

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

const hash = parseHash(new Uint8Array(32));

const bodyOf = (kind: string, id: string, payload: CborValue): RecordBody => ({
  kind,
  schemaVersion: 1,
  id,
  tenant: "system",
  ts: 0,
  space: "system",
  payload,
  links: [],
  prev: null,
});

/** A ledger of heads: what the last `write` said is what is read. A read can be held back to be overtaken. */
class FakeLedger {
  readonly heads = new Map<string, RecordBody>();
  readonly listeners = new Set<(records: readonly CommittedRecord[]) => void>();
  readonly damaged = new Set<string>();
  reads = 0;
  hold: Promise<void> | undefined;

  write(body: RecordBody): void {
    this.heads.set(`${body.space} ${body.id}`, body);
    for (const listener of this.listeners) listener([{ position: 1n, hash, body, version: 1n }]);
  }

  put(kind: string, schema: CborValue): void {
    this.write(bodyOf("schema", `schema/${kind}`, { kind, schema }));
  }

  readonly reading = {
    readId: async (tenant: string, space: string, id: string) => {
      this.reads += 1;
      expect(tenant).to.equal("system");
      if (this.damaged.has(id)) fail({ kind: "recordCorrupt", position: 7n, step: "hash", rule: "differs" });
      const body = this.heads.get(`${space} ${id}`);
      await this.hold;
      return body === undefined ? undefined : { body, position: 7n };
    },
    subscribe: (listener: (records: readonly CommittedRecord[]) => void) => {
      this.listeners.add(listener);
      return () => this.listeners.delete(listener);
    },
  } as unknown as SchemaLedger;
}

const rejectionOf = async (act: Promise<unknown>): Promise<SigilError> => {
  try {
    await act;
  } catch (cause) {
    if (cause instanceof SigilFault) return cause.error;
    throw cause;
  }
  return expect.fail("expected a refusal");
};

describe("the schemas of the ledger", () => {
  let ledger: FakeLedger;
  beforeEach(() => {
    ledger = new FakeLedger();
    ledger.put("order", { type: "object" });
  });

  const passes = (schema: CompiledSchema | undefined, payload: CborValue): boolean =>
    schema?.refusalOf(payload) === null;

  it("are read and compiled once and then remembered", async () => {
    const schemas = createSchemas(ledger.reading);
    const first = await schemas.find("order");
    expect(passes(first, {})).to.equal(true);
    expect(passes(first, 1)).to.equal(false);
    expect(await schemas.find("order")).to.equal(first);
    expect(ledger.reads).to.equal(1);
  });

  it("are none for a kind without a record, and looking for it is not remembered", async () => {
    const schemas = createSchemas(ledger.reading, 1);
    await schemas.find("order");
    expect(await schemas.find("note")).to.equal(undefined);
    await schemas.find("order");
    expect(ledger.reads).to.equal(2);
  });

  it("are none, without a look, for a kind that no id can hold", async () => {
    const schemas = createSchemas(ledger.reading);
    for (const kind of ["", "a b", "é", "../order", "x".repeat(250)]) {
      expect(await schemas.find(kind), kind).to.equal(undefined);
    }
    expect(ledger.reads).to.equal(0);
  });

  it("change with the next commit", async () => {
    const schemas = createSchemas(ledger.reading);
    await schemas.find("order");
    ledger.put("order", { type: "string" });
    expect(passes(await schemas.find("order"), "x")).to.equal(true);
    ledger.put("other", {});
    ledger.put("order", { type: "null" });
    expect(passes(await schemas.find("order"), null)).to.equal(true);
  });

  it("are not remembered from a read that a commit overtook", async () => {
    const schemas = createSchemas(ledger.reading);
    const gate = Promise.withResolvers<void>();
    ledger.hold = gate.promise;
    const overtaken = schemas.find("order");
    ledger.put("order", { type: "string" });
    gate.resolve();
    expect(passes(await overtaken, {})).to.equal(true);
    expect(passes(await schemas.find("order"), "x")).to.equal(true);
  });

  it("end with a tombstone and begin again with a new version", async () => {
    const schemas = createSchemas(ledger.reading);
    await schemas.find("order");
    ledger.write(bodyOf("tombstone", "schema/order", { kind: "schema" }));
    expect(await schemas.find("order")).to.equal(undefined);
    ledger.put("order", { type: "string" });
    expect(passes(await schemas.find("order"), "x")).to.equal(true);
  });

  it("do not come from, nor change with, records outside the system space", async () => {
    const schemas = createSchemas(ledger.reading);
    const first = await schemas.find("order");
    const body = bodyOf("schema", "schema/order", { kind: "order", schema: {} });
    ledger.write({ ...body, space: "user" });
    ledger.write({ ...body, id: "schema/note", payload: { kind: "note", schema: {} }, space: "user" });
    expect(await schemas.find("order")).to.equal(first);
    expect(await schemas.find("note")).to.equal(undefined);
  });

  it("let nothing past a damaged record", async () => {
    const schemas = createSchemas(ledger.reading);
    ledger.damaged.add("schema/order");
    expect(await rejectionOf(schemas.find("order"))).to.deep.equal({
      kind: "recordCorrupt",
      position: 7n,
      step: "hash",
      rule: "differs",
    });
  });

  it("let nothing past a record that holds no usable schema of the kind", async () => {
    const schemas = createSchemas(ledger.reading);
    for (const body of [
      bodyOf("module", "schema/order", {}),
      bodyOf("schema", "schema/order", { kind: "order" }),
      bodyOf("schema", "schema/order", { kind: "order", schema: { type: "objct" } }),
      bodyOf("schema", "schema/order", { kind: "invoice", schema: {} }),
    ]) {
      ledger.write(body);
      const error = await rejectionOf(schemas.find("order"));
      expect(error).to.include({ kind: "recordCorrupt", position: 7n, step: "schema" });
    }
  });

  it("are forgotten, the longest unused first, past the bound", async () => {
    ledger.put("note", {});
    const schemas = createSchemas(ledger.reading, 1);
    await schemas.find("order");
    await schemas.find("note");
    await schemas.find("note");
    expect(ledger.reads).to.equal(2);
    await schemas.find("order");
    expect(ledger.reads).to.equal(3);
  });

  it("are no longer followed once closed", () => {
    const schemas = createSchemas(ledger.reading);
    schemas.close();
    expect(ledger.listeners.size).to.equal(0);
  });
});
