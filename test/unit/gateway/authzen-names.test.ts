/** AuthZEN's entities as Sigil's names: no two that differ have one. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { canonicalAction, canonicalSubject, canonicalTarget } from "../../../src/core/record/spelling.ts";
import { SigilFault } from "../../../src/errors.ts";
import { actionName, entityName, type Entity } from "../../../src/gateway/authzen/names.ts";

/** What the decision service makes of it. */
type Spell = (name: string) => ReturnType<typeof canonicalTarget>;
const asTarget: Spell = canonicalTarget;
const asSubject: Spell = (name) => canonicalSubject(name, "sigil.test");

/** Undefined when it is refused. */
const named = (make: () => string, spell: Spell): string | undefined => {
  try {
    const spelling = spell(make());
    return spelling.kind === "canonical" ? spelling.text : undefined;
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "invalidField") return undefined;
    throw error;
  }
};

/** Of few pieces, so that pairs meet: what separates, escapes, composes and names a trust domain. */
const pieces = [
  ..."aA1:/%.*~ @",
  "é",
  "e\u0301",
  "\u212b",
  "\u00c5",
  "\u200b",
  "\ud800",
  "%2F",
  "%3A",
  "%C3%A9",
  "%25",
  "//",
  "..",
  "spiffe:",
  "spiffe://sigil.test/",
  "user",
  "type",
];
const text = fc.array(fc.constantFrom(...pieces), { maxLength: 4 }).map((parts) => parts.join(""));
/** One text of parts between colons, cut anywhere: the pairs that a colon could confuse. */
const cut = fc
  .tuple(fc.array(fc.constantFrom("a", "type", "/"), { minLength: 2, maxLength: 4 }), fc.nat(3))
  .map(([parts, at]) => ({ type: parts.slice(0, at).join(":"), id: parts.slice(at).join(":") }));
const entity: fc.Arbitrary<Entity> = fc.oneof(
  fc.record({ type: text, id: text }),
  fc.record({ type: fc.constant("type"), id: text }),
  fc.record({ type: fc.constant("type"), id: cut.map(({ type, id }) => `${type}:${id}`) }),
  cut,
);

describe("AuthZEN's names", () => {
  it("lead back to one type and id each, as targets and as subjects, with and without a plain type", () => {
    for (const spell of [asTarget, asSubject]) {
      for (const plainType of ["", "type"]) {
        const known = new Map<string, string>();
        fc.assert(
          fc.property(entity, (one) => {
            const name = named(() => entityName(one, plainType, "subject"), spell);
            if (name === undefined) return;
            const made = JSON.stringify([one.type, one.id]);
            expect(known.get(name) ?? made, name).to.equal(made);
            known.set(name, made);
            // And nothing is spelled anew on the way to the record.
            expect(spell(name)).to.deep.equal({ kind: "canonical", text: name });
          }),
          { numRuns: 4000 },
        );
        expect(known.size).to.be.greaterThan(100);
      }
    }
  });

  it("never make one action of two", () => {
    const known = new Map<string, string>();
    const letters = fc.array(fc.constantFrom("a", "A", "/", ".", ":", "-", " ", "é"), { maxLength: 5 });
    fc.assert(
      fc.property(
        letters.map((parts) => parts.join("")),
        fc.constantFrom("", "app."),
        (name, prefix) => {
          const whole = named(() => actionName(name, prefix, "action.name"), canonicalAction);
          if (whole === undefined) return;
          const key = `${prefix} ${whole}`;
          expect(known.get(key) ?? name).to.equal(name);
          known.set(key, name);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it("are type:id, each escaped", () => {
    const nameOf = (type: string, id: string, plainType = ""): string =>
      entityName({ type, id }, plainType, "resource");
    expect(nameOf("user", "alice@example.com")).to.equal("user:alice@example.com");
    expect(nameOf("document", "2024/report 1.md")).to.equal("document:2024%2Freport 1.md");
    expect(nameOf("account", "a:b")).to.equal("account:a:b");
    expect(nameOf("user", "Zoë")).to.equal("user:Zoë");
    expect(nameOf("path", "public/docs", "path")).to.equal("public/docs");
    expect(nameOf("record", "100%")).to.equal("record:100%25");
    for (const [type, id, plainType] of [
      ["a:b", "c", ""],
      ["user", "", ""],
      ["", "x", ""],
      ["user", "e\u0301", ""],
      ["record", "../x", ""],
      ["record", "..", ""],
      ["record", "a/../b", ""],
      ["record", "\ud800", ""],
      ["path", "a//b", "path"],
      ["path", "/a", "path"],
      ["path", "a:b", "path"],
      ["path", "a%20b", "path"],
      ["path", "\ud800", "path"],
    ] as const)
      expect(
        named(() => nameOf(type, id, plainType), asTarget),
        `${type} ${id}`,
      ).to.equal(undefined);
  });
});
