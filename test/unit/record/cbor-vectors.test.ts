/** Canonical CBOR against data: RFC 8949 Appendix A and our own golden vectors. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { decode, encode } from "cbor2";
import { fromNotation, type Notation } from "../../../scripts/vectors/notation.ts";
import { recordVectorFiles } from "../../../scripts/vectors/files.ts";
import { fromHex, toHex } from "../../../src/core/bytes.ts";
import { cborDecode, cborEncode } from "../../../src/core/cbor/cbor.ts";
import { cborRules } from "../../../src/core/cbor/decode.ts";
import { deterministicDecode, deterministicEncode } from "./cbor2-profile.ts";
import { errorOf } from "./faults.ts";
import { readVectors, vectorText } from "./vector-files.ts";

interface CborVectors {
  readonly accept: readonly { readonly name: string; readonly hex: string; readonly value: Notation }[];
  readonly refuse: readonly {
    readonly name: string;
    readonly hex: string;
    readonly offset: number;
    readonly rule: string;
  }[];
}

const golden = readVectors<CborVectors>("cbor.json");
const appendix =
  readVectors<readonly { readonly hex: string; readonly roundtrip: boolean }[]>("cbor-appendix-a.json");

/** First bytes outside the profile: tags, other simple values, indefinite lengths. */
const outside =
  /^(c|d|f0|f7|f8|f97c|f97e|f9fc|fa7f8|fa7fc|faff8|fb7ff|fbfff|5f|7f|9f|bf|3bffffffffffffffff|a201)/;
const indefiniteInside = new Set(["83018202039f0405ff", "83019f0203ff820405", "826161bf61626163ff"]);
/** Integral values that Appendix A writes as floats. */
const integralFloats = new Set(["f90000", "f98000", "f93c00", "f97bff", "fa47c35000", "f9c400"]);
const isOutside = (hex: string): boolean =>
  outside.test(hex) || indefiniteInside.has(hex) || integralFloats.has(hex);

describe("RFC 8949 Appendix A", () => {
  for (const { hex, roundtrip } of appendix) {
    if (isOutside(hex)) {
      it(`refuses ${hex}, which lies outside the profile`, () => {
        expect(errorOf(() => cborDecode(fromHex(hex))).kind).to.equal("malformedCbor");
      });
    } else {
      it(`gives ${hex} back`, () => {
        expect(roundtrip).to.equal(true);
        const value = cborDecode(fromHex(hex));
        expect(toHex(cborEncode(value))).to.equal(hex);
        expect(toHex(cborEncode(decode(fromHex(hex))))).to.equal(hex);
      });
    }
  }

  it("has 42 of its 82 encodings inside the profile", () => {
    expect(appendix.filter(({ hex }) => !isOutside(hex))).to.have.length(42);
  });
});

describe("golden vectors of canonical CBOR", () => {
  it("number at least 60 accepting and 60 refusing, each name once", () => {
    expect(golden.accept.length).to.be.at.least(60);
    expect(golden.refuse.length).to.be.at.least(60);
    const names = [...golden.accept, ...golden.refuse].map(({ name }) => name);
    expect(new Set(names).size).to.equal(names.length);
  });

  it("break every rule of the decoder but the one on size, at least once", () => {
    const broken = new Set(golden.refuse.map(({ rule }) => rule));
    const rules: readonly string[] = Object.values(cborRules).filter((rule) => rule !== cborRules.tooLong);
    expect(rules.filter((rule) => !broken.has(rule))).to.deep.equal([]);
  });

  for (const { name, hex, value } of golden.accept) {
    it(`accepts ${name}`, () => {
      const decoded = cborDecode(fromHex(hex));
      expect(decoded).to.deep.equal(fromNotation(value));
      expect(toHex(cborEncode(decoded))).to.equal(hex);
      expect(toHex(cborEncode(fromNotation(value)))).to.equal(hex);
      expect(toHex(encode(fromNotation(value), deterministicEncode))).to.equal(hex);
      decode(fromHex(hex), deterministicDecode);
    });
  }

  for (const { name, hex, offset, rule } of golden.refuse) {
    it(`refuses ${name}: ${rule}`, () => {
      expect(errorOf(() => cborDecode(fromHex(hex)))).to.deep.equal({ kind: "malformedCbor", offset, rule });
    });
  }
});

describe("regenerating the vectors", () => {
  for (const [name, content] of Object.entries(recordVectorFiles())) {
    it(`gives ${name} byte for byte`, () => {
      expect(content === vectorText(name)).to.equal(true);
    });
  }
});
