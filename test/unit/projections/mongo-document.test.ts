/** JSON as documents of MongoDB: keys and shapes that it cannot hold, and the same text back. */
import { BSON } from "mongodb";
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { formatTree, parseTree } from "../../../src/projections/mongo/document.ts";

const stored = (json: string): unknown =>
  BSON.deserialize(BSON.serialize({ payload: formatTree(json) }), { useBigInt64: true })["payload"];

describe("JSON as a document of MongoDB", () => {
  it("spells keys that it has no room for, and no others", () => {
    const cases: readonly (readonly [unknown, unknown])[] = [
      [
        { a: 1, "a b": "x", é: null },
        { a: 1, "a b": "x", é: null },
      ],
      [{ "": 1 }, { "%": 1 }],
      [
        { "a.b": 1, ".": 2 },
        { "a%2Eb": 1, "%2E": 2 },
      ],
      [
        { $set: 1, a$b: 2 },
        { "%24set": 1, a$b: 2 },
      ],
      [
        { "%": 1, "%24set": 2, "50%": 3 },
        { "%25": 1, "%2524set": 2, "50%25": 3 },
      ],
      [
        { _bsontype: "Long", _b: 1 },
        { "%5Fbsontype": "Long", _b: 1 },
      ],
      [
        [[1], [[2]]],
        [{ "%array": [1] }, { "%array": [{ "%array": [2] }] }],
      ],
      [{ "%array": [1] }, { "%25array": [1] }],
      [{ "%json": "1" }, { "%25json": "1" }],
      ["9223372036854775807", "9223372036854775807"],
    ];
    for (const [value, tree] of cases) {
      expect(formatTree(JSON.stringify(value))).to.deep.equal(tree);
      expect(parseTree(stored(JSON.stringify(value)))).to.equal(JSON.stringify(value));
    }
  });

  it("gives any JSON back as it was", () => {
    const key = fc.oneof(
      fc.string({ unit: "grapheme", maxLength: 6 }),
      fc.string({ unit: fc.constantFrom("%", ".", "$", "2", "4", "E", "5", "F"), maxLength: 5 }),
      fc.constantFrom(
        "",
        "%",
        "%array",
        "%json",
        "_bsontype",
        "__proto__",
        "constructor",
        "toBSON",
        "$ref",
        "$id",
      ),
    );
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.string({ unit: "grapheme" }),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.integer(),
        fc.maxSafeInteger(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie("value")),
        fc.dictionary(key, tie("value"), { noNullPrototype: false }),
      ),
    }));
    fc.assert(
      fc.property(value, (any) => {
        const json = JSON.stringify(any).replaceAll("\\u0000", "\u2400");
        expect(JSON.parse(parseTree(stored(json)))).to.deep.equal(JSON.parse(json));
      }),
      { numRuns: 500 },
    );
  });

  it("keeps as text what as a document might pass the size of one", () => {
    const json = JSON.stringify(Array.from({ length: 200_000 }, () => []));
    expect(formatTree(json)).to.deep.equal({ "%json": json });
    expect(parseTree(formatTree(json))).to.equal(json);
  });

  it("reads what the rule never writes as something that no record says", () => {
    const text = JSON.stringify({ n: "9223372036854775807" });
    const changed = { n: 9_223_372_036_854_775_807n };
    expect(parseTree(changed)).not.to.equal(text);
    expect(JSON.parse(parseTree({ at: new Date(0) }))).to.deep.equal({
      at: { "%bson": "object" },
    });
  });
});
