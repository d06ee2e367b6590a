/** The model: what is refused at load, and how a check is decided. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import type { CborMap, CborValue } from "../../../src/core/cbor/cbor.ts";
import { SigilFault } from "../../../src/errors.ts";
import type { LevelName } from "../../../src/core/record/names.ts";
import { defaultModelPayload } from "../../../src/trust/default-model.ts";
import { FEATURES } from "../../../src/core/model/features.ts";
import type { Feature, Features } from "../../../src/core/model/features.ts";
import { evaluate, parseModel } from "../../../src/core/model/model.ts";
import { isAllowed } from "../../../src/core/model/verdict.ts";

const base = defaultModelPayload as CborMap;
const weights = defaultModelPayload.weights as CborMap;
const without = (map: CborMap, key: string): CborMap =>
  Object.fromEntries(Object.entries(map).filter(([name]) => name !== key));

const refusal = (payload: CborValue): { readonly field: string; readonly rule: string } => {
  try {
    parseModel(payload);
  } catch (thrown) {
    if (thrown instanceof SigilFault && thrown.error.kind === "malformedModel") return thrown.error;
    throw thrown;
  }
  throw new Error("the model was accepted");
};

const action = (rule: CborValue): CborMap => ({ ...base, actions: { read: rule } });
const many = Object.fromEntries(Array.from({ length: 1025 }, (_, index) => [`action${index}`, 0.5]));

const REFUSED: readonly (readonly [claim: string, field: string, payload: CborValue])[] = [
  ["no map", "model", null],
  ["a list", "model", []],
  ["bytes", "model", new Uint8Array(3)],
  ...["bias", "weights", "threshold", "review", "actions", "targets", "rate"].map(
    (key) => [`a missing ${key}`, key, without(base, key)] as const,
  ),
  ["an unknown field", "colour", { ...base, colour: 1 }],
  ["a bias of text", "bias", { ...base, bias: "1" }],
  ["a bias beyond the numbers", "bias", { ...base, bias: Number.NaN }],
  ["an infinite bias", "bias", { ...base, bias: Number.POSITIVE_INFINITY }],
  ["a bigint bias", "bias", { ...base, bias: 2n ** 60n }],
  ["an unknown feature", "weights.mood", { ...base, weights: { ...weights, mood: -1 } }],
  ...FEATURES.map(
    (name) =>
      [`no weight for ${name}`, `weights.${name}`, { ...base, weights: without(weights, name) }] as const,
  ),
  ...FEATURES.map(
    (name) =>
      [`NaN for ${name}`, `weights.${name}`, { ...base, weights: { ...weights, [name]: NaN } }] as const,
  ),
  ...FEATURES.map(
    (name) =>
      [`zero for ${name}`, `weights.${name}`, { ...base, weights: { ...weights, [name]: 0 } }] as const,
  ),
  ...FEATURES.map((name) => {
    const turned = -(weights[name] as number);
    return [
      `the wrong sign for ${name}`,
      `weights.${name}`,
      { ...base, weights: { ...weights, [name]: turned } },
    ] as const;
  }),
  ["weights that overflow", "weights", { ...base, bias: 1e308, weights: { ...weights, level: 1e308 } }],
  ...[0, 1, -0.1, 1.1, Number.NaN].map(
    (threshold) => [`threshold ${threshold}`, "threshold", { ...base, threshold }] as const,
  ),
  ["a band above the threshold", "review.low", { ...base, review: { low: 0.6, high: 0.7 } }],
  ["a band below the threshold", "review.high", { ...base, review: { low: 0.3, high: 0.4 } }],
  ["a band from 0", "review.low", { ...base, review: { low: 0, high: 0.6 } }],
  ["a band to 1", "review.high", { ...base, review: { low: 0.4, high: 1 } }],
  ["a band with one edge", "review.high", { ...base, review: { low: 0.4 } }],
  ["a risk above 1", 'actions["read"].risk', action({ risk: 1.01, min_loa: "guest" })],
  ["a negative risk", 'actions["read"].risk', action({ risk: -0.01, min_loa: "guest" })],
  ["a missing risk", 'actions["read"].risk', action({ min_loa: "guest" })],
  ["an unknown level", 'actions["read"].min_loa', action({ risk: 0.1, min_loa: "admin" })],
  ["a level by number", 'actions["read"].min_loa', action({ risk: 0.1, min_loa: 2 })],
  ["a level called toString", 'actions["read"].min_loa', action({ risk: 0.1, min_loa: "toString" })],
  ["a rule with more", 'actions["read"].note', action({ risk: 0.1, min_loa: "guest", note: "" })],
  [
    "an action that is no glob",
    'actions["a**"]',
    { ...base, actions: { "a**": { risk: 0, min_loa: "guest" } } },
  ],
  ["a target that is no glob", 'targets["a/../b"]', { ...base, targets: { "a/../b": 0 } }],
  ["a sensitivity above 1", 'targets["a"]', { ...base, targets: { a: 2 } }],
  ["too many targets", "targets", { ...base, targets: many }],
  ["a window of 0 ms", "rate.window_ms", { ...base, rate: { window_ms: 0, limit: 1 } }],
  ["a window past a day", "rate.window_ms", { ...base, rate: { window_ms: 86_400_001, limit: 1 } }],
  ["a limit of 0", "rate.limit", { ...base, rate: { window_ms: 1, limit: 0 } }],
  ["a limit past a million", "rate.limit", { ...base, rate: { window_ms: 1, limit: 1_000_001 } }],
  ["half a check", "rate.limit", { ...base, rate: { window_ms: 1, limit: 1.5 } }],
  ["a rate without limit", "rate.limit", { ...base, rate: { window_ms: 1 } }],
];

const share = fc.double({ min: 0, max: 1, noNaN: true });
const weight = fc.double({ min: 0.001, max: 1000, noNaN: true });
const levels: readonly LevelName[] = ["guest", "observer", "operator", "mentor", "root"];
const anyModel = fc
  .record({
    bias: fc.double({ min: -1000, max: 1000, noNaN: true }),
    sizes: fc.tuple(weight, weight, weight, weight, weight),
    band: fc
      .tuple(...Array.from({ length: 3 }, () => fc.double({ min: 0.001, max: 0.999, noNaN: true })))
      .map((edges) => edges.toSorted((a, b) => a - b)),
    hasBand: fc.boolean(),
  })
  .map(({ bias, sizes: [risk, sensitivity, level, rate, entropy], band: [low, threshold, high], hasBand }) =>
    parseModel({
      ...base,
      bias,
      weights: {
        action_risk: -risk,
        target_sensitivity: -sensitivity,
        level,
        rate: -rate,
        entropy: -entropy,
      },
      threshold: threshold ?? 0.5,
      review: hasBand ? { low: low ?? 0.5, high: high ?? 0.5 } : null,
    }),
  );
const anyValues = fc.record({
  action_risk: share,
  target_sensitivity: share,
  level: share,
  rate: share,
  entropy: share,
});
const features = (values: Features["values"]): Features => ({
  values,
  level: "root",
  rule: { risk: values.action_risk, minLevel: "guest" },
});
const ORDER = { deny: 0, review: 1, allow: 2 } as const;

describe("trust model", () => {
  for (const [claim, field, payload] of REFUSED) {
    it(`refuses ${claim}, naming ${field}`, () => expect(refusal(payload).field).equal(field));
  }

  it("accepts a band that begins or ends at the threshold", () => {
    expect(parseModel({ ...base, review: { low: 0.5, high: 0.5 } }).review).deep.equal({
      low: 0.5,
      high: 0.5,
    });
  });

  it("denies an action it does not know, whatever the level", () => {
    const model = parseModel({ ...base, bias: 1000 });
    const values = { action_risk: 0, target_sensitivity: 0, level: 1, rate: 0, entropy: 0 };
    const { verdict } = evaluate(model, { values, level: "root", rule: null });
    expect(verdict).deep.equal({ kind: "deny", reason: "UNKNOWN_ACTION" });
  });

  it("denies a level below the action's minimum, whatever the score", () => {
    const model = parseModel({ ...base, bias: 1000 });
    const values = { action_risk: 0, target_sensitivity: 0, level: 0.5, rate: 0, entropy: 0 };
    for (const level of levels) {
      const { verdict } = evaluate(model, { values, level, rule: { risk: 0, minLevel: "operator" } });
      const expected =
        level === "guest" || level === "observer" ? "LEVEL_TOO_LOW" : "SCORE_AT_OR_ABOVE_THRESHOLD";
      expect(verdict.reason, level).equal(expected);
    }
  });

  const at = (z: number, review: CborValue): string => {
    const model = parseModel({ ...base, bias: z, review });
    const values = { action_risk: 0, target_sensitivity: 0, level: 0, rate: 0, entropy: 0 };
    return evaluate(model, features(values)).verdict.kind;
  };

  it("allows exactly at the threshold and denies right below it", () => {
    expect(at(0, null)).equal("allow");
    expect(at(-Number.MIN_VALUE, null)).equal("deny");
    expect(at(0, { low: 0.5, high: 0.5 })).equal("allow");
  });

  it("reviews from the low edge of the band up to, not including, its high edge", () => {
    const band = parseModel({ ...base, review: { low: 0.3, high: 0.8 } }).reviewZ ?? { low: 0, high: 0 };
    const step = 1e-12;
    const edges = [band.low - step, band.low, 0, band.high - step, band.high];
    expect(edges.map((z) => at(z, { low: 0.3, high: 0.8 }))).deep.equal([
      "deny",
      "review",
      "review",
      "review",
      "allow",
    ]);
  });

  it("lets only allow be allowed", () => {
    expect(isAllowed({ kind: "allow", reason: "SCORE_AT_OR_ABOVE_THRESHOLD" })).equal(true);
    expect(isAllowed({ kind: "review", reason: "REVIEW_BAND" })).equal(false);
    expect(isAllowed({ kind: "deny", reason: "EVALUATOR_ERROR" })).equal(false);
  });

  it("throws on a feature that is no share, so that nothing comes of it but a deny", () => {
    const model = parseModel(base);
    const good = { action_risk: 0, target_sensitivity: 0, level: 1, rate: 0, entropy: 0 };
    for (const nonsense of [Number.NaN, -0.1, 1.1, Number.POSITIVE_INFINITY, undefined as never]) {
      for (const name of FEATURES) {
        expect(() => evaluate(model, features({ ...good, [name]: nonsense }))).throw(name);
      }
    }
  });

  it("contributes a plain 0 for a feature that is 0, never −0", () => {
    const values = { action_risk: 0, target_sensitivity: 0, level: 0, rate: 0, entropy: 0 };
    const { contributions } = evaluate(parseModel(base), features(values));
    for (const name of FEATURES) expect(Object.is(contributions[name], 0), name).equal(true);
  });

  it("adds the bias and the contributions up in their fixed order", () => {
    fc.assert(
      fc.property(anyModel, anyValues, (model, values) => {
        const { z, contributions } = evaluate(model, features(values));
        let sum = model.bias;
        for (const name of FEATURES) sum += contributions[name];
        expect(z).equal(sum);
      }),
    );
  });

  const direction: Readonly<Record<Feature, -1 | 1>> = {
    action_risk: -1,
    target_sensitivity: -1,
    level: 1,
    rate: -1,
    entropy: -1,
  };
  for (const name of FEATURES) {
    it(`${direction[name] > 0 ? "rises" : "falls"} strictly with ${name}, all else equal, and the verdict follows`, () => {
      fc.assert(
        fc.property(anyModel, anyValues, share, (model, values, other) => {
          // Below this step a difference may be lost in rounding next to a sum of thousands.
          fc.pre(Math.abs(values[name] - other) > 1e-6);
          const [low, high] = [Math.min(values[name], other), Math.max(values[name], other)];
          const before = evaluate(model, features({ ...values, [name]: low }));
          const after = evaluate(model, features({ ...values, [name]: high }));
          expect((after.z - before.z) * direction[name]).above(0);
          expect((after.score - before.score) * direction[name]).at.least(0);
          const change = ORDER[after.verdict.kind] - ORDER[before.verdict.kind];
          expect(change * direction[name]).at.least(0);
        }),
      );
    });
  }
});
