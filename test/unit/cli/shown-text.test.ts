/**
 * Text that is signed: whatever somebody wrote, two different texts are shown differently, and look-alikes are named.
 */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { lookAlikesAmong, looksLike } from "../../../src/canon/proposals/look-alikes.ts";
import { shownText } from "../../../src/cli/terminal/shown-text.ts";
import { formatPairs, formatTable } from "../../../src/cli/terminal/terminal.ts";
import { hexOf, invisible } from "./invisible.ts";

/** What a reader has seen once the escapes are taken for what they stand for. */
const understood = (shown: string): string => JSON.parse(shown.replace(/ \([^"]*\)$/, "")) as string;

describe("text that is signed", () => {
  for (const character of invisible) {
    it(`shows U+${hexOf(character)} behind a name`, () => {
      expect(shownText(`db.*${character}`)).to.match(
        /^"db\.\*(?:\\u[0-9a-f]{4}){1,2}"(?: \(mixed: Hangul, Latin\))?$/,
      );
    });
  }

  it("is marked in tables and pairs where a character cannot be seen", () => {
    for (const character of invisible) {
      const shown = "db\u{fffd}x";
      expect(formatPairs([["id", `db${character}x`]])).to.equal(`id  ${shown}`);
      expect(formatTable([{ title: "ID" }], [[`db${character}x`]])).to.include(shown);
    }
  });

  const table: readonly (readonly [claim: string, text: string, shown: string])[] = [
    ["leaves ASCII as it is", "db.*/x y~1", '"db.*/x y~1"'],
    ["leaves Latin letters as they are", "Müller søker Łódź", '"Müller søker Łódź"'],
    ["escapes quotes as JSON does", 'a"b\\', String.raw`"a\"b\\"`],
    ["names another script", "бюджет 3", '"бюджет 3" (Cyrillic)'],
    ["names Greek", "λόγος", '"λόγος" (Greek)'],
    [
      "escapes letters of another script beside Latin ones",
      "\u{430}dmin",
      String.raw`"\u0430dmin" (mixed: Cyrillic, Latin)`,
    ],
    [
      "escapes both of two scripts that are not Latin",
      "\u{430}\u{3b1}",
      String.raw`"\u0430\u03b1" (mixed: Cyrillic, Greek)`,
    ],
    ["escapes a dotless i", "\u{131}d", String.raw`"\u0131d"`],
    ["escapes combining marks", "e\u{301}", String.raw`"e\u0301"`],
    ["escapes fullwidth letters", "\u{ff41}", String.raw`"\uff41"`],
    ["escapes mathematical letters", "\u{1d41a}", String.raw`"\ud835\udc1a" (another script)`],
    ["escapes a script of many letters, and names it", "\u{5b57}", String.raw`"\u5b57" (Han)`],
    ["escapes a hyphen that is none", "witness\u{2011}1", String.raw`"witness\u20111"`],
    [
      "does not take a written remark for its own",
      "сос (Greek)",
      String.raw`"\u0441\u043e\u0441 (Greek)" (mixed: Cyrillic, Latin)`,
    ],
  ];
  for (const [claim, text, shown] of table) {
    it(claim, () => {
      expect(shownText(text)).to.equal(shown);
    });
  }

  it("can be read back, so that no two texts are shown alike", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        if (!text.isWellFormed()) return;
        expect(understood(shownText(text))).to.equal(text);
      }),
      { numRuns: 3000 },
    );
  });

  it("lets no character stand beside one that is drawn alike", () => {
    const standing = Array.from({ length: 0x10000 }, (_, point) => String.fromCharCode(point)).filter(
      (character) => /\p{L}/u.test(character) && shownText(character).startsWith(`"${character}"`),
    );
    expect(standing.length).to.be.greaterThan(300);
    const lookAlikes = lookAlikesAmong(standing);
    const pairs = standing.flatMap((one) =>
      lookAlikes(one)
        .filter((other) => one < other && shownText(one).slice(3) === shownText(other).slice(3))
        .filter((other) => one.toLowerCase() !== other.toLowerCase())
        .map((other) => one + other),
    );
    // I and l as in ASCII itself; sigma has its bar.
    expect(pairs.filter((pair) => !/[Σσ]/.test(pair))).to.deep.equal(["Il", "Íĺ"]);
  });
});

describe("look-alikes", () => {
  const alike: readonly (readonly [one: string, other: string])[] = [
    ["payment.refund", "payrnent.refund"],
    ["admin", "\u{430}dmin"],
    ["witness-1", "witness\u{2011}1"],
    ["witness-1", "witness-l"],
    ["Ivan", "lvan"],
    ["db.*", "db.*\u{3164}"],
    ["db.*", "DB.*"],
    ["db.*", "db.*\u{2800}"],
    ["ann smith", "annsmith"],
    ["caf\u{e9}", "cafe\u{301}"],
  ];
  for (const [one, other] of alike) {
    it(`takes "${one}" for ${JSON.stringify(other)}`, () => {
      expect(looksLike(one, other)).to.equal(true);
      expect(looksLike(other, one)).to.equal(true);
      expect(lookAlikesAmong(["x", one])(other)).to.deep.equal([one]);
    });
  }

  it("finds none for a name that is known, or is like no other", () => {
    expect(lookAlikesAmong(["ann", "bob"])("ann")).to.deep.equal([]);
    expect(lookAlikesAmong(["ann", "bob"])("carol")).to.deep.equal([]);
    expect(looksLike("ann", "ann")).to.equal(false);
  });
});
