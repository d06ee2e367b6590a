/** Features and logits: the numbers a decision starts from. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { isAtLeast, isLevel, levelFraction, parseLevel } from "../../../src/core/record/levels.ts";
import { utf8Encode } from "../../../src/core/bytes.ts";
import { SigilFault } from "../../../src/errors.ts";
import { levelNames } from "../../../src/core/record/names.ts";
import { inputEntropy, rateFraction } from "../../../src/core/model/features.ts";
import { logit } from "../../../src/core/model/logit.ts";
import { scoreOf } from "../../../src/core/record/kinds/frozen-chain.ts";

describe("features", () => {
  it("finds no entropy in nothing and in one byte repeated", () => {
    expect(inputEntropy(new Uint8Array(0))).equal(0);
    expect(inputEntropy(new Uint8Array(1000))).equal(0);
  });

  it("finds an eighth in a fair coin and 1 in every byte once", () => {
    expect(inputEntropy(Uint8Array.of(0, 255, 0, 255))).equal(1 / 8);
    expect(inputEntropy(Uint8Array.from({ length: 256 }, (_, byte) => byte))).equal(1);
  });

  it("finds about a half in English", () => {
    expect(inputEntropy(utf8Encode("The quick brown fox jumps over the lazy dog, twice."))).within(0.45, 0.6);
  });

  it("keeps entropy in [0, 1] and blind to order", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        const entropy = inputEntropy(bytes);
        expect(entropy).within(0, 1);
        expect(inputEntropy(bytes.toReversed())).equal(entropy);
      }),
    );
  });

  it("fills the rate at the limit and not past it", () => {
    expect([0, 1, 4, 5].map((count) => rateFraction(count, 4))).deep.equal([0, 0.25, 1, 1]);
  });
});

describe("levels", () => {
  it("rise in quarters from guest to root", () => {
    expect(levelNames.map(levelFraction)).deep.equal([0, 0.25, 0.5, 0.75, 1]);
  });

  it("are at least those before them and no more", () => {
    for (const [rank, level] of levelNames.entries()) {
      for (const [needed, other] of levelNames.entries()) {
        expect(isAtLeast(level, other)).equal(rank >= needed);
      }
    }
  });

  it("have no other spelling", () => {
    for (const name of ["Guest", "ROOT", "", "constructor", 3, null]) {
      expect(isLevel(name)).equal(false);
      expect(() => parseLevel(name)).throw(SigilFault, "loa must be one of");
    }
  });
});

describe("logit", () => {
  it("puts one half at exactly 0", () => expect(logit(0.5)).equal(0));

  it("agrees with the engine's logarithm to the last few bits", () => {
    fc.assert(
      fc.property(fc.double({ min: Number.MIN_VALUE, max: 1 - 2 ** -53, noNaN: true }), (score) => {
        const engine = Math.log(score / (1 - score));
        expect(Math.abs(logit(score) - engine)).at.most(4e-16 * Math.max(1, Math.abs(engine)));
      }),
    );
  });

  it("is turned back by the logistic function", () => {
    for (const score of [0.001, 0.25, 0.45, 0.5, 0.55, 0.9, 0.999]) {
      expect(scoreOf(logit(score))).closeTo(score, 1e-15);
    }
  });

  it("refuses what is no score", () => {
    for (const score of [0, 1, Number.NaN, -1]) expect(() => logit(score)).throw("strictly between");
  });
});
