/** Golden vectors of how values look in a database: docs/spec/projections.md §3. */
import { cborDecode, cborEncode, type CborMap, type CborValue } from "../../src/core/cbor/cbor.ts";
import { toHex } from "../../src/core/bytes.ts";
import { isReplaced, viewJson } from "../../src/projections/view.ts";

const cases: Readonly<Record<string, CborValue>> = {
  text: "plain",
  "U+0000 in a text": "nul \0 inside",
  "U+0000 in a key": { "a\0": 1 },
  "two keys that look the same afterwards, of which the later in canonical order counts": {
    "a\0b": 1,
    "a\u2400b": 2,
  },
  "a backslash before u0000": "\\u0000",
  "the largest safe integer": 9_007_199_254_740_991,
  "an integer beyond": 9_007_199_254_740_993n,
  "the least integer of 64 bits": -(2n ** 63n),
  "the largest": 2n ** 64n - 1n,
  "the largest float": 1.7976931348623157e308,
  "the least float": 5e-324,
  "a float that is integral and beyond 2^53": 1e21,
  "a fraction": 0.1,
  bytes: new Uint8Array([0, 255, 128]),
  "no bytes": new Uint8Array(0),
  "an empty key": { "": { "": "" } },
  "a key that other languages treat apart": JSON.parse('{"__proto__": 1}') as CborMap,
  "a key order by length first": { b: 1, aa: 2, a: 3 },
  nesting: [[[[[[[["deep"]]]]]]]],
  "null, true and false": [null, true, false],
  "text outside of the basic plane": "\u{1f9ff}",
};

/** By file name under test/vectors. */
export const projectionVectorFiles = (): Readonly<Record<string, string>> => {
  const vectors = Object.entries(cases).map(([about, value]) => {
    const cbor = cborEncode(value);
    const decoded = cborDecode(cbor);
    return { about, cbor: toHex(cbor), json: viewJson(decoded), nul_replaced: isReplaced(decoded) };
  });
  return { "projection-views.json": `${JSON.stringify(vectors, null, 2)}\n` };
};
