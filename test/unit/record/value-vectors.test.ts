/** 500 records described as values, and 500 broken encodings, against our encoder and decoder and against cbor2. */
import { decode, encode } from "cbor2";
import { expect } from "chai";
import { describe, it } from "mocha";
import { valueVectorFiles } from "../../../scripts/vectors/files.ts";
import { valueOfTyped, type Typed } from "../../../scripts/vectors/values/typed.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { cborDecode, cborEncode, type CborMap, type CborValue } from "../../../src/core/cbor/cbor.ts";
import { cborRules } from "../../../src/core/cbor/decode.ts";
import { sha256 } from "../../../src/core/hash.ts";
import { decodeBody, encodeBody } from "../../../src/core/record/record.ts";
import { deterministicDecode, deterministicEncode } from "./cbor2-profile.ts";
import { broken, bytesOf, values, wrongGolden, wrongRefusals, wrongValues } from "./value-vectors.ts";
import { vectorText } from "./vector-files.ts";

const ours = { encode: cborEncode, decode: cborDecode };

/** For cbor2: its maps, and every integer as one however it is given. */
const asTheirs = (value: CborValue): unknown => {
  if (typeof value === "bigint" && BigInt(Number(value)) === value && Number.isSafeInteger(Number(value))) {
    return Number(value);
  }
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return (value as readonly CborValue[]).map(asTheirs);
  return new Map(Object.entries(value as CborMap).map(([key, inner]) => [key, asTheirs(inner)]));
};

const everything = [...values.bodies, ...values.values];
const namesIn = (typed: Typed): readonly string[] => {
  if (typed === null || typeof typed !== "object") return [String(typed)];
  const inner = "array" in typed ? typed.array : "map" in typed ? typed.map.map(([, value]) => value) : [];
  return [...Object.keys(typed), ...inner.flatMap(namesIn)];
};

describe("500 records described as values", () => {
  it("are 500, each name once, at least half of them whole bodies", () => {
    expect(everything).to.have.length(500);
    expect(values.bodies.length).to.be.at.least(250);
    expect(new Set(everything.map(({ name }) => name)).size).to.equal(500);
    expect(new Set(everything.map(({ sha256: hash }) => hash)).size).to.be.at.least(400);
  });

  it("use every way in which a value is described, in bodies as well", () => {
    const ways = [
      "null",
      "true",
      "false",
      "i64",
      "u64",
      "f16",
      "f32",
      "f64",
      "bytes",
      "text",
      "array",
      "map",
    ];
    expect(new Set(everything.flatMap(({ value }) => namesIn(value)))).to.include.keys(...ways, "times");
    expect(new Set(values.bodies.flatMap(({ value }) => namesIn(value)))).to.include.keys(...ways);
  });

  it("are encoded as described, and those without an encoding are refused", () => {
    expect(wrongValues(ours)).to.deep.equal([]);
  });

  it("have the hashes that cbor2 gives them, and are of the length told", () => {
    const wrong = everything.filter(({ bytes, sha256: wanted, value }) => {
      const theirs = encode(asTheirs(valueOfTyped(value)), deterministicEncode);
      return theirs.length !== bytes || toHex(sha256(theirs)) !== wanted;
    });
    expect(wrong.map(({ name }) => name)).to.deep.equal([]);
  });

  it("have one hash", () => {
    const hashes = everything.map(({ value }) => sha256(cborEncode(valueOfTyped(value))));
    expect(toHex(sha256(Buffer.concat(hashes)))).to.equal(values.sha256);
  });

  it("are bodies where they say so, and a record gives the bytes back", () => {
    for (const { name, value } of values.bodies) {
      const encoded = cborEncode(valueOfTyped(value));
      expect(toHex(encodeBody(decodeBody(encoded))), name).to.equal(toHex(encoded));
    }
  });
});

describe("500 broken encodings", () => {
  it("are 500, each once, and break every rule of the decoder many times, in a key's place too", () => {
    expect(broken).to.have.length(500);
    expect(new Set(broken.map((each) => JSON.stringify(each.hex ?? each.parts))).size).to.equal(500);
    const counts = Map.groupBy(broken, ({ rule }) => rule);
    for (const rule of Object.values(cborRules)) {
      expect(counts.get(rule)?.length ?? 0, rule).to.be.at.least(rule === cborRules.tooLong ? 4 : 12);
    }
  });

  it("are refused at their offset by their rule", () => {
    expect(wrongRefusals(ours)).to.deep.equal([]);
  });

  it("are refused by cbor2 as well, except where our profile alone is narrower", () => {
    const narrower: readonly string[] = [
      cborRules.tooMany,
      cborRules.tooDeep,
      cborRules.tooLong,
      cborRules.tag,
      cborRules.notFinite,
      cborRules.integralFloat,
      cborRules.keyType,
    ];
    const accepted = broken.filter((each) => {
      if (narrower.includes(each.rule)) return false;
      try {
        decode(bytesOf(each), deterministicDecode);
        return true;
      } catch {
        return false;
      }
    });
    expect(accepted).to.deep.equal([]);
  });

  it("leave the golden vectors as they were read", () => {
    expect(wrongGolden(ours)).to.deep.equal([]);
  });
});

describe("regenerating values and broken encodings", () => {
  for (const [name, content] of Object.entries(valueVectorFiles())) {
    it(`gives ${name} byte for byte, in ASCII`, () => {
      expect(content === vectorText(name)).to.equal(true);
      expect(/^[\n\x20-\x7e]*$/.test(content)).to.equal(true);
    });
  }
});
