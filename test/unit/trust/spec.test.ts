/** The worked example of docs/spec/trust.md, run. */
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { describe, it } from "mocha";
import { utf8Encode } from "../../../src/core/bytes.ts";
import type { CborMap } from "../../../src/core/cbor/cbor.ts";
import type { LevelName } from "../../../src/core/record/names.ts";
import { gatherFeatures } from "../../../src/core/model/features.ts";
import { evaluate, parseModel } from "../../../src/core/model/model.ts";

type Example = {
  readonly model: CborMap;
  readonly check: {
    readonly action: string;
    readonly target: string;
    readonly level: LevelName;
    readonly earlier_checks: number;
    readonly input: string;
  };
  readonly thresholds_z: { readonly threshold: number; readonly low: number; readonly high: number };
  readonly result: {
    readonly features: object;
    readonly contributions: object;
    readonly z: number;
    readonly score: number;
    readonly verdict: string;
    readonly reason: string;
  };
};

const page = readFileSync(new URL("../../../docs/spec/trust.md", import.meta.url), "utf8");
const block = /```json\n(.*?)```/s.exec(page)?.[1] ?? "";

describe("docs/spec/trust.md", () => {
  const example = JSON.parse(block) as Example;
  const model = parseModel(example.model);
  const features = gatherFeatures(model, {
    action: example.check.action,
    target: example.check.target,
    level: example.check.level,
    rateCount: example.check.earlier_checks,
    input: utf8Encode(example.check.input),
  });
  const { verdict, ...numbers } = evaluate(model, features);

  it("shows the thresholds of its example in logits, to the last bit", () => {
    expect({ threshold: model.thresholdZ, ...model.reviewZ }).deep.equal(example.thresholds_z);
  });

  it("shows the features, the sum and the verdict of its example, to the last bit", () => {
    expect({
      features: features.values,
      contributions: numbers.contributions,
      z: numbers.z,
      score: numbers.score,
      verdict: verdict.kind,
      reason: verdict.reason,
    }).deep.equal(example.result);
  });
});
