/** One thing has one spelling: the vectors, respellings of every kind, and a second, dumber reading of the rules. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { characterFault, structureLookAlikes } from "../../../src/core/record/characters.ts";
import {
  canonicalAction,
  canonicalActionGlob,
  canonicalSession,
  canonicalSubject,
  canonicalTarget,
  canonicalTargetGlob,
  enrolledName,
  type Spelling,
} from "../../../src/core/record/spelling.ts";
import { readVectors } from "./vector-files.ts";

type Kind = "target" | "subject" | "action" | "session" | "target_glob" | "action_glob";

type Vectors = {
  readonly trust_domain: string;
  readonly accept: readonly {
    readonly name: string;
    readonly of: Kind;
    readonly raw: string;
    readonly canonical: string;
  }[];
  readonly refuse: readonly {
    readonly name: string;
    readonly of: Kind;
    readonly raw: string;
    readonly rule: string;
  }[];
  readonly enrolled: readonly { readonly name: string; readonly enrolled: string }[];
};

const vectors = readVectors<Vectors>("spelling.json");

const SPELL: Readonly<Record<Kind, (raw: string) => Spelling>> = {
  target: canonicalTarget,
  subject: (raw) => canonicalSubject(raw, vectors.trust_domain),
  action: canonicalAction,
  session: canonicalSession,
  target_glob: canonicalTargetGlob,
  action_glob: canonicalActionGlob,
};

describe("one spelling, by its vectors", () => {
  for (const { name, of, raw, canonical } of vectors.accept) {
    it(`accepts a ${of}: ${name}`, () => {
      expect(SPELL[of](raw)).to.deep.equal({ kind: "canonical", text: canonical });
      expect(SPELL[of](canonical), "its own canonical form").to.deep.equal({
        kind: "canonical",
        text: canonical,
      });
    });
  }
  for (const { name, of, raw, rule } of vectors.refuse) {
    it(`refuses a ${of}: ${name}`, () => {
      expect(SPELL[of](raw)).to.deep.equal({ kind: "refused", rule });
    });
  }
  for (const { name, enrolled } of vectors.enrolled) {
    it(`enrols ${name.slice(0, 24)} under what a record id can hold`, () => {
      expect(enrolledName(name)).to.equal(enrolled);
    });
  }
});

const hex = (byte: number, upper: boolean): string => {
  const digits = byte.toString(16).padStart(2, "0");
  return `%${upper ? digits.toUpperCase() : digits}`;
};

const escapeAll = (text: string, upper: boolean): string =>
  Array.from(new TextEncoder().encode(text), (byte) => hex(byte, upper)).join("");

/** Characters that stand for themselves, `/` and composed letters among them. */
const nameCharacter = fc.constantFrom(..."abzAZ019._~:@+=|,;!*'()-éüçñ文件имяאبぱ€–’½😀");
const segment = fc
  .array(nameCharacter, { minLength: 1, maxLength: 12 })
  .map((characters) => characters.join(""))
  .filter((text) => text !== "." && text !== "..");
const canonicalName = fc.array(segment, { minLength: 1, maxLength: 6 });

/** Any of the ways to write the same segment. */
const respelled = (text: string): fc.Arbitrary<string> =>
  fc
    .array(fc.constantFrom("as it is", "lower", "upper", "decomposed"), {
      minLength: text.length,
      maxLength: text.length,
    })
    .map((ways) =>
      Array.from(text, (character, index) => {
        switch (ways[index]) {
          case "lower":
            return escapeAll(character, false);
          case "upper":
            return escapeAll(character, true);
          case "decomposed":
            return character.normalize("NFD");
          case "as it is":
          case undefined:
            return character;
        }
      }).join(""),
    );

const slashes = fc.constantFrom("/", "//", "///");

const respelling = canonicalName.chain((segments) =>
  fc
    .record({
      segments: fc.tuple(...segments.map(respelled)),
      between: fc.array(slashes, { minLength: segments.length, maxLength: segments.length }),
      before: fc.constantFrom("", "/", "//"),
      after: fc.constantFrom("", "/", "//"),
    })
    .map((parts) => ({
      canonical: segments.join("/"),
      raw:
        parts.before +
        parts.segments
          .map((text, index) => (index === 0 ? text : `${parts.between[index]}${text}`))
          .join("") +
        parts.after,
    })),
);

/** Any text, more of it such that rules meet. */
const hostile = fc
  .array(
    fc.oneof(
      {
        weight: 6,
        arbitrary: fc.constantFrom(..."ab/.%* \\?12ef\u0301\u0327\u200b\uff0fKé", "%2F", "%2e", "%25", "%2A"),
      },
      { weight: 2, arbitrary: fc.nat(255).map((byte) => hex(byte, byte % 2 === 0)) },
      { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 2 }) },
    ),
    { maxLength: 20 },
  )
  .map((parts) => parts.join(""));

/** The rules again, read as slowly as they are written. Null when refused. */
const dumbTarget = (raw: string): string | null => {
  const form: string[] = [];
  for (const part of raw.split("/")) {
    if (part === "") continue;
    if (/["#$&<>?[\\\]^`{}]/.test(part)) return null;
    let text: string;
    try {
      text = decodeURIComponent(part).normalize("NFC");
    } catch {
      return null;
    }
    if (/^ | $|\p{Cc}/u.test(text) || text.split(/[/\\]/).some((piece) => piece === "." || piece === "..")) {
      return null;
    }
    // Decoded again and again, one level at a time.
    for (let again = text, last = ""; again !== last;) {
      if (/%(?:2[ef]|5c|[01][0-9a-f]|7f)/i.test(again)) return null;
      last = again;
      again = again.replaceAll("%25", "%");
    }
    let encoded = "";
    let canCarryMark = false;
    for (const character of text) {
      if (/\p{M}/u.test(character) && !canCarryMark) return null;
      const stays = character > "~" || /[\w .~:@+=|,;!*'()-]/.test(character);
      if (character > "~" && characterFault(character) !== null) return null;
      encoded += stays ? character : escapeAll(character, true);
      canCarryMark = stays && character !== " ";
    }
    form.push(encoded);
  }
  const whole = form.join("/");
  return whole === "" || new TextEncoder().encode(whole).length > 512 ? null : whole;
};

const textOf = (spelling: Spelling): string | null => (spelling.kind === "canonical" ? spelling.text : null);

describe("one spelling, over generated names", () => {
  it("gives every respelling of a name the same form", () => {
    fc.assert(
      fc.property(respelling, ({ raw, canonical }) => {
        expect(textOf(canonicalTarget(raw))).to.equal(canonical);
        expect(textOf(canonicalSubject(raw, "sigil.test"))).to.equal(canonical);
        const named = canonicalSubject(`spiffe://sigil.test/${raw}`, "sigil.test");
        expect(textOf(named)).to.equal(canonical);
      }),
      { numRuns: 500 },
    );
  });

  it("reads any text as the rules read it slowly, and a form as itself", () => {
    let accepted = 0;
    fc.assert(
      fc.property(hostile, (raw) => {
        const form = textOf(canonicalTarget(raw));
        expect(form).to.equal(dumbTarget(raw));
        if (form === null) return;
        accepted += 1;
        expect(textOf(canonicalTarget(form))).to.equal(form);
        const glob = textOf(canonicalTargetGlob(raw));
        if (glob !== null) expect(textOf(canonicalTargetGlob(glob))).to.equal(glob);
      }),
      { numRuns: 5000 },
    );
    expect(accepted, "of 5,000").to.be.above(200);
  });

  it("accepts a form exactly when normalising leaves it alone", () => {
    fc.assert(
      fc.property(hostile, (raw) => {
        const form = textOf(canonicalTarget(raw));
        if (form !== null) expect(form.normalize("NFC")).to.equal(form);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("what a name may hold", () => {
  const everyCharacter = function* (): Generator<string, void, undefined> {
    for (let code = 0; code <= 0x10ffff; code += 1) {
      if (code < 0xd800 || code > 0xdfff) yield String.fromCodePoint(code);
    }
  };

  it("refuses whatever compatibility turns into a slash, a dot, a percent sign or a star", () => {
    const known = new Set(structureLookAlikes);
    const missed: string[] = [];
    for (const character of everyCharacter()) {
      if (character < "\u0080" || characterFault(character) !== null) continue;
      const turned = character.normalize("NFKC");
      if (/[/\\%*]/.test(turned) || turned === "." || turned === "..") missed.push(character);
    }
    expect(missed).to.deep.equal([]);
    for (const character of known) expect(characterFault(character), character).to.not.equal(null);
  });

  it("refuses what cannot be seen: spaces, controls, formats, fillers, selectors, private use and the unassigned", () => {
    const seen: string[] = [];
    for (const character of everyCharacter()) {
      if (character === " " || characterFault(character) !== null) continue;
      if (/[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/u.test(character)) seen.push(character);
    }
    expect(seen).to.deep.equal([]);
  });

  it("enrols under the digest of the name in UTF-8", () => {
    const digest = createHash("sha256").update("Jörg", "utf8").digest("hex");
    expect(enrolledName("Jörg")).to.equal(`~${digest}`);
  });
});
