/** What a lint says of a model: each mistake by its row, and nothing of the default model. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import type { CborMap } from "../../../src/core/cbor/cbor.ts";
import { defaultModelPayload } from "../../../src/trust/default-model.ts";
import { compileGlobTable, globFault } from "../../../src/core/model/glob.ts";
import { lintModel } from "../../../src/trust/lint.ts";

const modelOf = (actions: CborMap, targets: CborMap, more: CborMap = {}): CborMap => ({
  ...defaultModelPayload,
  actions,
  targets,
  ...more,
});
const row = (risk: number, level: string): CborMap => ({ risk, min_loa: level });
/** But for the rate, which the models here are too small to be limited by. */
const findingsOf = (payload: CborMap, matchesMax = Infinity) =>
  lintModel(payload, matchesMax).findings.filter(({ row: name }) => name !== "rate");
const found = (payload: CborMap): readonly string[] =>
  findingsOf(payload).map(({ code, row: name }) => `${code} ${name}`);

describe("the lint of a model", () => {
  it("has nothing to say of the default model", () => {
    expect(lintModel(defaultModelPayload, Infinity).findings).to.deep.equal([]);
  });

  it("names an action that never allows at its own least level, by the targets of its topic", () => {
    const targets = { "public/**": 0, "payment/**": 0.6, "payment/*/quotes/**": 0.5 };
    const actions = { "payment.refund": row(0.7, "operator"), "payment.read": row(0.1, "operator") };
    const findings = findingsOf(modelOf(actions, targets));
    expect(findings.map(({ row: name }) => name)).to.deep.equal(['actions["payment.refund"]']);
    expect(findings[0]?.code).to.equal("NEVER_ALLOWS");
    expect(findings[0]?.message).to.equal(
      "never allows a caller of its least level, operator: on payment/*/quotes/** the verdict is deny with z -1.20, " +
        "in an idle window and without input, and an allow takes 0.20",
    );
  });

  it("takes all targets for an action whose topic has none, and the unlisted where there are none at all", () => {
    expect(found(modelOf({ "fax.send": row(0.7, "operator") }, { "a/**": 1, "b/**": 0 }))).to.deep.equal([]);
    expect(found(modelOf({ "fax.send": row(0.7, "operator") }, { "a/**": 1 }))).to.deep.equal([
      'NEVER_ALLOWS actions["fax.send"]',
    ]);
    expect(found(modelOf({ "fax.send": row(0.7, "operator") }, {}))).to.deep.equal([
      'NEVER_ALLOWS actions["fax.send"]',
    ]);
  });

  it("does not take a review for an allow", () => {
    const model = modelOf({ see: row(0, "guest") }, { "**": 0 }, { bias: 0.1 });
    expect(found(model)).to.deep.equal(['NEVER_ALLOWS actions["see"]']);
  });

  it("names rows that never win, and what wins in their place", () => {
    const targets = {
      "a/**": 0.1,
      "a/**/**": 0.2,
      "b/*/**": 0.3,
      "b/**": 0.4,
      "**": 0.5,
      "c/*/d": 0,
      "c/**/d": 0,
    };
    const findings = findingsOf(modelOf({ read: row(0, "mentor") }, targets));
    expect(findings).to.deep.equal([
      {
        code: "NEVER_WINS",
        row: 'targets["a/**/**"]',
        message: "never wins: where it matches, a/** does too and is more specific",
      },
    ]);
  });

  it("names rows that differ by letter case alone", () => {
    expect(
      found(modelOf({ Read: row(0, "mentor"), read: row(0, "mentor") }, { "Ärger/**": 0, "ärger/**": 0 })),
    ).to.deep.equal(['CASE_ALONE actions["read"]', 'CASE_ALONE targets["ärger/**"]']);
  });

  it("names globs of an older model that are not canonical, or none", () => {
    expect(found(modelOf({ read: row(0, "mentor") }, { "/api/**": 0, "a?b": 0, "x/**": 0 }))).to.have.members(
      ['NOT_CANONICAL targets["/api/**"]', 'NOT_CANONICAL targets["a?b"]'],
    );
  });

  it("names a rate that limits nothing", () => {
    const weights = { ...defaultModelPayload.weights, rate: -0.001 };
    const { findings } = lintModel(modelOf({ read: row(0, "mentor") }, { "**": 0 }, { weights }));
    expect(findings).to.deep.equal([
      {
        code: "RATE_LIMITS_NOTHING",
        row: "rate",
        message: "limits nothing: a full window of 600 changes the verdict of no action at its least level",
      },
    ]);
  });

  it("says what a full window does to each action, and after how many checks", () => {
    const { actions } = lintModel(defaultModelPayload);
    const of = (action: string) => {
      const { level, target, idle, full, countAllowed } =
        actions.find((each) => each.action === action) ?? actions[0]!;
      return { level, target, idle, full, count: countAllowed() };
    };
    expect(of("canon.delete")).to.deep.equal({
      level: "operator",
      target: "canon/proposal",
      idle: "allow",
      full: "allow",
      count: 600,
    });
    // z 1.1, an allow takes logit(0.55) = 0.2007, and 600 checks take away 2: 0.8993 / 2 × 600 = 269.8.
    expect(of("payment.refund")).to.deep.include({ idle: "allow", full: "deny", count: 269 });
    expect(actions).to.have.length(Object.keys(defaultModelPayload.actions).length);
  });

  it("never says of a row that wins somewhere that it never does", () => {
    const pattern = fc
      .array(fc.constantFrom("a", "b", "*", "**", "a*", "*b"), { minLength: 1, maxLength: 4 })
      .map((segments) => segments.join("/"))
      .filter((text) => globFault(text) === null);
    const texts = ["a", "b", "q", "ab", "aq", "qb"];
    const all = [1, 2, 3, 4].reduce<readonly string[]>(
      (known, count) => [
        ...known,
        ...(count === 1
          ? texts
          : known
              .filter((text) => text.split("/").length === count - 1)
              .flatMap((text) => texts.map((next) => `${text}/${next}`))),
      ],
      [],
    );
    fc.assert(
      fc.property(fc.uniqueArray(pattern, { minLength: 2, maxLength: 5 }), (patterns) => {
        const table = compileGlobTable(patterns.map((each) => [each, 0] as const));
        const targets = Object.fromEntries(patterns.map((each) => [each, 0]));
        const { findings } = lintModel(modelOf({ read: row(0, "mentor") }, targets));
        const losing = findings.filter(({ code }) => code === "NEVER_WINS").map(({ row: name }) => name);
        const winners = new Set(all.map((text) => table.find(text)?.pattern));
        for (const each of patterns) {
          if (winners.has(each)) expect(losing, each).to.not.include(`targets[${JSON.stringify(each)}]`);
        }
      }),
      // Only where one `**` stands for nothing and the other does not.
      { numRuns: 60, examples: [[["**/**", "*/**"]], [["**/a/**", "*/**/a/**"]]] },
    );
  });

  it("tries no more globs than it may, and says nothing of rows that it did not look at", () => {
    const model = modelOf({ read: row(0, "mentor") }, { "a/**": 0, "a/**/**": 0 });
    expect(findingsOf(model)).to.have.length(1);
    expect(findingsOf(model, 0)).to.deep.equal([]);
  });
});
