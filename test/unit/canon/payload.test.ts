/** JSON and CBOR payloads: one text, one value, or a refusal that says where. */
import { expect } from "chai";
import { describe, it } from "mocha";
import fc from "fast-check";
import { jsonRules, parseCborPayload, parseJsonPayload } from "../../../src/canon/records/payload.ts";
import { fromHex } from "../../../src/core/bytes.ts";
import { cborDecode, cborEncode, type CborValue } from "../../../src/core/cbor/cbor.ts";
import { cborDepthMax, cborEntriesMax } from "../../../src/core/limits.ts";
import { jsonCharactersMax } from "../../../src/limits.ts";
import { errorOf } from "../record/faults.ts";

const parse = (text: string): CborValue => parseJsonPayload(text, "payload_json");

/** The rule by which a text is refused. */
const ruleOf = (text: string): string => {
  const error = errorOf(() => parse(text));
  if (error.kind !== "invalidField") return expect.fail(`refused as ${error.kind}`);
  expect(error.field).to.equal("payload_json");
  return error.rule;
};

const nest = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);
const arrayOf = (entries: number): string => `[${Array.from({ length: entries }, () => "0").join(",")}]`;
const mapOf = (entries: number): string =>
  `{${Array.from({ length: entries }, (_, index) => `"${index}":0`).join(",")}}`;

describe("a JSON payload", () => {
  const accepted: readonly (readonly [string, CborValue])[] = [
    ["null", null],
    [" \t\r\n true \n", true],
    ['"\\u00e9\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\\"\\\\"', 'é😀/\b\f\n\r\t"\\'],
    ["[]", []],
    ["[[],[1,[2]]]", [[], [1, [2]]]],
    ["1.0", 1],
    ["1e2", 100],
    ["-12.5E-1", -1.25],
    ["0.1", 0.1],
    ["9007199254740991", 9007199254740991],
    ["-9007199254740991", -9007199254740991],
    ["9007199254740991.000", 9007199254740991],
    ["9.007199254740991e15", 9007199254740991],
    ["0.9007199254740991e+16", 9007199254740991],
    ["9007199254740990", 9007199254740990],
  ];
  for (const [text, value] of accepted) {
    it(`is the value that ${JSON.stringify(text)} names`, () => {
      expect(parse(text)).to.deep.equal(value);
    });
  }

  it("has one zero", () => {
    for (const text of ["-0", "-0.0", "0e5", "-0E-3"]) expect(Object.is(parse(text), 0), text).to.equal(true);
  });

  it("takes __proto__ and constructor for keys like any other", () => {
    const map = parse('{"__proto__":{"a":1},"constructor":2,"toString":3,"":4}') as object;
    expect(Object.getPrototypeOf(map)).to.equal(null);
    expect(Object.keys(map)).to.deep.equal(["__proto__", "constructor", "toString", ""]);
    expect(cborEncode(cborDecode(cborEncode(map as CborValue)))).to.deep.equal(cborEncode(map as CborValue));
  });

  it("may be as deep and as wide as a record", () => {
    expect(() => cborEncode(parse(nest(cborDepthMax)))).not.to.throw();
    expect(parse(arrayOf(cborEntriesMax))).to.have.length(cborEntriesMax);
    expect(Object.keys(parse(mapOf(cborEntriesMax)) as object)).to.have.length(cborEntriesMax);
    expect(parse(`"a"${" ".repeat(jsonCharactersMax - 3)}`)).to.equal("a");
  });

  const refused: readonly (readonly [string, string])[] = [
    ["9007199254740992", `at "" ${jsonRules.number}`],
    ["9007199254740993", `at "" ${jsonRules.number}`],
    ['{"a":[1e300]}', `at "/a/0" ${jsonRules.number}`],
    ["[0,-9007199254740992]", `at "/1" ${jsonRules.number}`],
    ["1e400", `at "" ${jsonRules.number}`],
    ["9007199254740991.4", `at "" ${jsonRules.number}`],
    ["900719925474099.14e1", `at "" ${jsonRules.number}`],
    ['{"a":1,"a":1}', `at "/a" ${jsonRules.keyTwice}`],
    ['{"a":1,"\\u0061":2}', `at "/a" ${jsonRules.keyTwice}`],
    ['[{"__proto__":1,"__proto__":1}]', `at "/0/__proto__" ${jsonRules.keyTwice}`],
    ['{"x/y~":{"b":1,"b":2}}', `at "/x~1y~0/b" ${jsonRules.keyTwice}`],
    ['{"a":"\\ud800"}', `at "/a" ${jsonRules.text}`],
    ['["\\udc00\\ud800"]', `at "/0" ${jsonRules.text}`],
    ['"\ud800"', `at "" ${jsonRules.text}`],
    ['{"a":{"\\udfff":1}}', `at "/a" ${jsonRules.key}`],
    [`{"a":${nest(cborDepthMax)}}`, `at "/a${"/0".repeat(cborDepthMax - 1)}" ${jsonRules.tooDeep}`],
    [`{"a":${arrayOf(cborEntriesMax + 1)}}`, `at "/a" ${jsonRules.tooMany}`],
    [`[${mapOf(cborEntriesMax + 1)}]`, `at "/0" ${jsonRules.tooMany}`],
    [" ".repeat(jsonCharactersMax + 1), `must be at most ${jsonCharactersMax} characters`],
    ["", "is not JSON: value expected at line 1 column 1"],
    [" \n ", "is not JSON: value expected at line 2 column 2"],
    ["[1,]", "is not JSON: value expected at line 1 column 4"],
    ['{"a":1,}', "is not JSON: property name expected at line 1 column 8"],
    ["[1] 2", "is not JSON: end of file expected at line 1 column 5"],
    ["1 // one", "is not JSON: invalid comment token at line 1 column 3"],
    ["[\n  /* one */ 1]", "is not JSON: invalid comment token at line 2 column 3"],
    ["[1 2]", "is not JSON: comma expected at line 1 column 4"],
    ['{"a" 1}', "is not JSON: colon expected at line 1 column 6"],
    ["[", "is not JSON: close bracket expected at line 1 column 2"],
    ["{'a':1}", "is not JSON: invalid symbol at line 1 column 2"],
  ];
  for (const [text, rule] of refused) {
    const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text;
    it(`refuses ${JSON.stringify(shown)}`, () => {
      expect(ruleOf(text)).to.equal(rule);
    });
  }

  it("refuses whatever is almost JSON", () => {
    const texts = [
      [
        "NaN",
        "Infinity",
        "-",
        "+1",
        "01",
        "-01",
        ".5",
        "1.",
        "1e",
        "0x10",
        "1_000",
        "1n",
        "undefined",
        "TRUE",
      ],
      [
        '"a',
        '"\n"',
        '"\t"',
        '"\\x41"',
        '"\\u12"',
        '"\\u{41}"',
        "'a'",
        "`a`",
        '"a" "b"',
        "truefalse",
        "nulll",
      ],
      [
        "[,]",
        "[1,,2]",
        "{,}",
        "{a:1}",
        '{"a"}',
        '{"a":}',
        '{"a":1 "b":2}',
        "{1:2}",
        "[1}",
        '{"a":1]',
        "]",
        "}",
      ],
      ["\ufeff1", "\u00a01", "1\u2028", "\v1", "\f1", "1\0", "/", "/*", "/**/1", "# 1", "[1]]", ",", ":"],
    ].flat();
    for (const text of texts) {
      expect(() => JSON.parse(text) as unknown, text).to.throw(SyntaxError);
      expect(ruleOf(text), text).to.match(/^is not JSON: .* at line \d column \d/);
    }
  });

  it("refuses a megabyte of open brackets at the first one that is too deep", () => {
    expect(ruleOf("[".repeat(1 << 20))).to.contain(jsonRules.tooDeep);
    expect(ruleOf('{"a":'.repeat(1 << 18))).to.contain(jsonRules.tooDeep);
  });

  it("reads zeros by the megabyte in one pass", () => {
    expect(ruleOf(`9007199254740991.${"0".repeat(1 << 20)}1`)).to.contain(jsonRules.number);
  });

  it("never comes back in its refusal, however long its keys are", () => {
    expect(ruleOf('{"secret\\ud800":1}')).not.to.contain("secret");
    expect(ruleOf('{"a":["secret\\ud800"]}')).not.to.contain("secret");
    expect(ruleOf('{"a":secret}')).not.to.contain("secret");
    const long = ruleOf(`{"${"k".repeat(100_000)}":1e300}`);
    expect(long.length).to.be.below(300);
    expect(long).to.contain("…");
    expect(ruleOf('{"a\\nb":1e300}')).to.contain('"/a\\nb"');
  });
});

/** The number as both sides know it, `undefined` for one that is refused. */
const isPlain = (value: unknown): boolean => {
  if (typeof value === "number") return Math.abs(value) <= Number.MAX_SAFE_INTEGER;
  if (typeof value === "string") return value.isWellFormed();
  if (typeof value !== "object" || value === null) return true;
  return Object.entries(value).every(([key, entry]) => key.isWellFormed() && isPlain(entry));
};

const outcomeOf = (read: () => unknown): string => {
  try {
    return JSON.stringify(read());
  } catch {
    return "refused";
  }
};

describe("JSON payloads, whatever they are,", () => {
  it("come back equal from the text that JSON.stringify makes of them", () => {
    const values = fc.jsonValue({ maxDepth: 6, stringUnit: "binary" }).filter(isPlain);
    fc.assert(
      fc.property(values, fc.constantFrom(0, 2, "\t"), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        expect(JSON.stringify(parse(text))).to.equal(JSON.stringify(JSON.parse(text)));
        expect(cborEncode(parse(text))).to.deep.equal(cborEncode(JSON.parse(text) as CborValue));
      }),
      { numRuns: 500 },
    );
  });

  it("are accepted exactly when JSON.parse accepts the text, and as the same value", () => {
    const tokens = [
      ['"a"', '"b\\n"', "1", "-0", "2.5e1", "01", "1.", "true", "null", "nul", "[", "]", "{", "}"],
      [",", ":", " ", "\n", "\r\n", "\t", "//", "/*", "*/", '"', "\\", "-", "e", "\u0000", "\u00a0", "é"],
    ].flat();
    const token = fc.constantFrom(...tokens);
    const edited = fc
      .tuple(fc.json({ maxDepth: 3 }), fc.nat(), fc.nat({ max: 2 }), fc.oneof(token, fc.constant("")))
      .map(([text, at, drop, add]) => {
        const start = at % (text.length + 1);
        return text.slice(0, start) + add + text.slice(start + drop);
      });
    const texts = fc.oneof(
      edited,
      fc.array(token, { maxLength: 8 }).map((tokens) => tokens.join("")),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const outcome = outcomeOf(() => JSON.parse(text));
        if (outcome !== "refused" && !isPlain(JSON.parse(text))) return;
        const ours = outcomeOf(() => parse(text));
        if (ours === "refused" && outcome !== "refused") expect(ruleOf(text)).to.contain(jsonRules.keyTwice);
        else expect(ours).to.equal(outcome);
      }),
      { numRuns: 4000 },
    );
  });
});

describe("a CBOR payload", () => {
  it("is the canonical value that the bytes encode", () => {
    const value = { a: [1, 2n ** 60n, Uint8Array.of(1)], b: null };
    expect(cborEncode(parseCborPayload(cborEncode(value), "payload_cbor"))).to.deep.equal(cborEncode(value));
  });

  it("is refused under the name of its field, with the offset and the rule", () => {
    expect(errorOf(() => parseCborPayload(fromHex("8200"), "body.payload_cbor"))).to.deep.equal({
      kind: "invalidField",
      field: "body.payload_cbor",
      rule: "is not canonical CBOR at offset 0: input ends inside the item",
    });
    expect(errorOf(() => parseCborPayload(fromHex("811817"), "p"))).to.deep.equal({
      kind: "invalidField",
      field: "p",
      rule: "is not canonical CBOR at offset 1: integer or length is not in its shortest form",
    });
    expect(errorOf(() => parseCborPayload(new Uint8Array(), "p"))).to.have.property("kind", "invalidField");
  });
});
