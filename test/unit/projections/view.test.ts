/** How values look in a database that cannot hold them all, as docs/spec/projections.md says. */
import { readFileSync } from "node:fs";
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { fromHex } from "../../../src/core/bytes.ts";
import { cborDecode } from "../../../src/core/cbor/cbor.ts";
import { isReplaced, viewJson, viewText } from "../../../src/projections/view.ts";

type Vector = {
  readonly about: string;
  readonly cbor: string;
  readonly json: string;
  readonly nul_replaced: boolean;
};

const vectors = JSON.parse(
  readFileSync(new URL("../../vectors/projection-views.json", import.meta.url), "utf8"),
) as readonly Vector[];

describe("the view of a value", () => {
  for (const { about, cbor, json, nul_replaced: replaced } of vectors) {
    it(`is that of the vectors: ${about}`, () => {
      const value = cborDecode(fromHex(cbor));
      expect(viewJson(value)).to.equal(json);
      expect(isReplaced(value)).to.equal(replaced);
    });
  }

  it("holds no U+0000 in any key or text, however deep", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "\0", "\\", "u0000", "\u2400") });
    const value = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(text, fc.array(tie("value"), { maxLength: 3 }), fc.dictionary(text, tie("value"))),
    })).value;
    fc.assert(
      fc.property(value, (any) => {
        const holds = (seen: unknown): boolean =>
          typeof seen === "string"
            ? seen.includes("\0")
            : typeof seen === "object" &&
              seen !== null &&
              Object.entries(seen).some(([key, entry]) => key.includes("\0") || holds(entry));
        const view: unknown = JSON.parse(viewJson(any as string));
        expect(holds(view)).to.equal(false);
        expect(isReplaced(any as string)).to.equal(holds(any));
        if (!holds(any)) expect(view).to.deep.equal(JSON.parse(JSON.stringify(any)));
      }),
    );
  });

  it("leaves text without U+0000 as it is", () => {
    expect(viewText("\\u0000")).to.equal("\\u0000");
    expect(viewText("a\0b")).to.equal("a\u2400b");
  });
});
