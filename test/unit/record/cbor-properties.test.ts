/** Canonical CBOR against other implementations: cbor2 in its deterministic mode, cbor-x, and itself. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { Decoder } from "cbor-x";
import { decode, encode } from "cbor2";
import fc from "fast-check";
import { toHex } from "../../../src/core/bytes.ts";
import { cborDecode, cborEncode, type CborMap, type CborValue } from "../../../src/core/cbor/cbor.ts";
import { SigilFault } from "../../../src/errors.ts";
import { deterministicDecode, deterministicEncode } from "./cbor2-profile.ts";

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.string({ maxLength: 300 }),
  fc.constantFrom("__proto__", "constructor", "toString", "", "\ufeff", "\u0000"),
);
const integer = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
  fc.nat({ max: 64 }).map((bits) => 2n ** BigInt(bits) - 1n),
  fc.nat({ max: 63 }).map((bits) => -(2n ** BigInt(bits))),
);
const float = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.float({ noNaN: true, noDefaultInfinity: true }),
  fc.nat({ max: 2047 }).map((significand) => significand * 2 ** -24),
);
const bytes = fc.uint8Array({ maxLength: 300 });

/** Values as decoding gives them: small integers as numbers, -0 as 0, maps without a prototype. */
const normal = (value: CborValue): CborValue => {
  if (typeof value === "bigint") {
    return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
      ? Number(value)
      : value;
  }
  if (Object.is(value, -0)) return 0;
  return value;
};

const { value: values } = fc.letrec<{ value: CborValue; leaf: CborValue }>((tie) => ({
  leaf: fc.oneof(fc.boolean(), fc.constant(null), integer, float, text, bytes).map(normal),
  value: fc.oneof(
    { depthSize: "medium", maxDepth: 6, withCrossShrink: true },
    tie("leaf"),
    fc.array(tie("value"), { maxLength: 6 }),
    fc.dictionary(text, tie("value"), { maxKeys: 8, noNullPrototype: false }),
  ),
}));

/** The same value with the maps that an oracle can be handed. */
const asMaps = (value: CborValue): unknown => {
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return (value as readonly CborValue[]).map(asMaps);
  return new Map(Object.entries(value as CborMap).map(([key, inner]) => [key, asMaps(inner)]));
};

/**
 * A value for comparing across libraries: cbor-x gives Buffers, and both give -2^53 as a number although it is not a
 * safe one.
 */
const comparable = (value: unknown): unknown => {
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  if (Array.isArray(value)) return value.map(comparable);
  if (value instanceof Map) return new Map(Array.from(value, ([key, inner]) => [key, comparable(inner)]));
  return typeof value === "bigint" && value >= -(2n ** 53n) && value <= 2n ** 53n ? Number(value) : value;
};

const accepts = (act: () => unknown): boolean => {
  try {
    act();
    return true;
  } catch {
    return false;
  }
};

/** Bytes near the canonical: one encoding with a few edits, or noise. */
const nearlyCanonical = fc
  .tuple(
    values,
    fc.array(
      fc.record({
        at: fc.nat(),
        edit: fc.constantFrom("set", "insert", "remove", "cut"),
        byte: fc.oneof(
          fc.nat({ max: 255 }),
          fc.constantFrom(
            0x18,
            0x38,
            0x58,
            0x78,
            0x98,
            0xb8,
            0xc0,
            0xf7,
            0xf9,
            0xfa,
            0xfb,
            0xff,
            0x5f,
            0x9f,
            0xbf,
          ),
        ),
      }),
      { minLength: 1, maxLength: 3 },
    ),
  )
  .map(([value, edits]) => {
    const edited = Array.from(cborEncode(value));
    for (const { at, edit, byte } of edits) {
      const index = at % (edited.length + 1);
      if (edit === "set") edited[Math.min(index, edited.length - 1)] = byte;
      else if (edit === "insert") edited.splice(index, 0, byte);
      else if (edit === "remove") edited.splice(index, 1);
      else edited.length = index;
    }
    return Uint8Array.from(edited);
  });

/** The shortest of random bytes: where most encodings of one item lie. */
const noise = fc.uint8Array({ maxLength: 12 });

describe("canonical CBOR, for any value of the profile,", () => {
  it("decodes to the value that was encoded, and encodes to the bytes that were decoded", () => {
    fc.assert(
      fc.property(values, (value) => {
        const encoded = cborEncode(value);
        const decoded = cborDecode(encoded);
        expect(decoded).to.deep.equal(value);
        expect(toHex(cborEncode(decoded))).to.equal(toHex(encoded));
      }),
      { numRuns: 250 },
    );
  });

  it("gives the bytes of cbor2 in its deterministic mode", () => {
    fc.assert(
      fc.property(values, (value) => {
        const theirs = encode(asMaps(value), deterministicEncode);
        expect(toHex(cborEncode(value))).to.equal(toHex(theirs));
      }),
      { numRuns: 250 },
    );
  });

  it("is read by cbor-x and by cbor2 as the same value", () => {
    const decoder = new Decoder({ mapsAsObjects: false, useRecords: false, int64AsType: "auto" } as object);
    fc.assert(
      fc.property(values, (value) => {
        const encoded = cborEncode(value);
        const ours = comparable(asMaps(value));
        expect(comparable(decode(encoded, deterministicDecode))).to.deep.equal(ours);
        expect(comparable(decoder.decode(Buffer.from(encoded)))).to.deep.equal(ours);
      }),
      { numRuns: 250 },
    );
  });
});

describe("canonical CBOR, for any bytes,", () => {
  for (const [what, inputs] of [
    ["edited encodings", nearlyCanonical],
    ["noise", noise],
  ] as const) {
    it(`accepts of ${what} only what cbor2 accepts, gives it back, and refuses the rest as malformedCbor`, () => {
      fc.assert(
        fc.property(inputs, (input) => {
          try {
            const value = cborDecode(input);
            expect(toHex(cborEncode(value))).to.equal(toHex(input));
          } catch (cause) {
            if (!(cause instanceof SigilFault) || cause.error.kind !== "malformedCbor") throw cause;
            expect(cause.error.offset).to.be.within(0, input.length);
            return;
          }
          expect(accepts(() => decode(input, deterministicDecode))).to.equal(true);
        }),
        { numRuns: 800 },
      );
    });
  }

  it("accepts of all first bytes, with a telling second, exactly what cbor2 accepts but tags", () => {
    const seconds = [0x00, 0x01, 0x17, 0x18, 0x41, 0x60, 0x7f, 0x80, 0xa0, 0xc0, 0xf4, 0xf6, 0xf7, 0xff];
    const differing: string[] = [];
    for (let first = 0; first < 256; first += 1) {
      for (const input of [Uint8Array.of(first), ...seconds.map((second) => Uint8Array.of(first, second))]) {
        const isTagged = first >>> 5 === 6 || (first === 0x81 && (input[1] ?? 0) >>> 5 === 6);
        const theirs = !isTagged && accepts(() => decode(input, deterministicDecode));
        if (accepts(() => cborDecode(input)) !== theirs) differing.push(toHex(input));
      }
    }
    expect(differing).to.deep.equal([]);
  });
});
