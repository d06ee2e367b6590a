/** A recorded decision, worked out again: what agrees, and what does not. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { parseHash, utf8Encode } from "../../../src/core/bytes.ts";
import { cborDecode, cborEncode } from "../../../src/core/cbor/cbor.ts";
import type { FrozenChainPayload } from "../../../src/core/record/kinds/frozen-chain.ts";
import { parseFrozenChain1 } from "../../../src/core/record/kinds/frozen-chain-1.ts";
import { formatFrozenChain1, type Chain1 } from "../../contract/version-1.ts";
import { levelNames } from "../../../src/core/record/names.ts";
import { defaultModelPayload } from "../../../src/trust/default-model.ts";
import { gatherFeatures } from "../../../src/core/model/features.ts";
import type { Observation } from "../../../src/core/model/features.ts";
import { evaluate, parseModel } from "../../../src/core/model/model.ts";
import { recompute } from "../../../src/core/model/recompute.ts";

const model = parseModel(defaultModelPayload);
const hash = parseHash(new Uint8Array(32));

/** A decision as its record would hold it, through the bytes and back. */
const recordOf = (observation: Observation): FrozenChainPayload => {
  const features = gatherFeatures(model, observation);
  const { verdict, z, score, contributions } = evaluate(model, features);
  const chain: Chain1 = {
    request: {
      action: observation.action,
      target: observation.target,
      subject: "ann",
      caller: "ann",
      tenant: "acme",
      loa: observation.level,
      ...(observation.minLevel === undefined ? {} : { minLoa: observation.minLevel }),
      session: "",
      inputDigest: hash,
      inputBytes: observation.input?.length ?? 0,
      input: observation.input,
      metadata: {},
    },
    features: features.values,
    model: { id: "trust-model", hash },
    contributions,
    z,
    score,
    threshold: model.threshold,
    review: model.review,
    verdict: verdict.kind,
    reason: verdict.reason,
    steps: [],
    durationUs: 1,
  };
  return parseFrozenChain1(cborDecode(cborEncode(formatFrozenChain1(chain))));
};

const sample: Observation = {
  action: "write",
  target: "user/notes",
  level: "operator",
  rateCount: 3,
  input: utf8Encode("some text"),
};
const good = recordOf(sample);
const floored = recordOf({ ...sample, minLevel: "mentor" });
const { minLoa: _, ...unfloored } = floored.request;

const FORGED: readonly (readonly [claim: string, field: string, chain: FrozenChainPayload])[] = [
  ["a turned verdict", "verdict", { ...good, verdict: "deny" }],
  ["another reason", "reason", { ...good, reason: "REVIEW_BAND" }],
  ["another z", "z", { ...good, z: (good.z ?? 0) + 1e-15 }],
  ["a missing z", "z", { ...good, z: null }],
  ["a nicer score", "score", { ...good, score: 0.99 }],
  ["another threshold", "threshold", { ...good, threshold: 0.4 }],
  ["no review band", "review.low", { ...good, review: null }],
  ["a review band that begins elsewhere", "review.low", { ...good, review: { low: 0.4, high: 0.55 } }],
  ["a review band that ends elsewhere", "review.high", { ...good, review: { low: 0.45, high: 0.6 } }],
  ["a floor that was taken away", "verdict", { ...floored, request: unfloored }],
  ["a floor that was put under it", "verdict", { ...good, request: { ...good.request, minLoa: "root" } }],
  ["a raised level", "features.level", { ...good, request: { ...good.request, loa: "mentor" } }],
  ["another action", "features.action_risk", { ...good, request: { ...good.request, action: "read" } }],
  [
    "another target",
    "features.target_sensitivity",
    { ...good, request: { ...good.request, target: "public/x" } },
  ],
  [
    "another input",
    "features.entropy",
    { ...good, request: { ...good.request, input: utf8Encode("aaaaaaaaa") } },
  ],
  ["another rate", "contributions.rate", { ...good, features: { ...good.features, rate: 0.5 } }],
  [
    "another contribution",
    "contributions.level",
    { ...good, contributions: { ...good.contributions, level: 5 } },
  ],
];

describe("recomputing a decision", () => {
  it("agrees with every decision the model makes, read back from its bytes", () => {
    const observation = fc.record({
      action: fc.constantFrom("read", "write", "tool.shell", "payment.refund", "unheard of"),
      target: fc.constantFrom("public/docs", "user/ann/credentials/x", "secret/a", "elsewhere", "a/../b"),
      level: fc.constantFrom(...levelNames),
      rateCount: fc.nat(700),
      minLevel: fc.option(fc.constantFrom(...levelNames), { nil: undefined }),
      input: fc.option(fc.uint8Array({ maxLength: 50 })),
    });
    fc.assert(
      fc.property(observation, (one) => {
        expect(recompute(recordOf(one), defaultModelPayload).kind).equal("match");
      }),
    );
  });

  it("needs no input that was not kept", () => {
    const kept = { ...good, request: { ...good.request, input: null } };
    expect(recompute(kept, defaultModelPayload).kind).equal("match");
  });

  for (const [claim, field, chain] of FORGED) {
    it(`finds ${claim} in ${field}`, () => {
      const outcome = recompute(chain, defaultModelPayload);
      expect(outcome).deep.include({ kind: "differs", field });
    });
  }

  it("finds a decision that another model made", () => {
    const other = { ...defaultModelPayload, bias: 2 };
    expect(recompute(good, other)).deep.include({ kind: "differs", field: "z" });
  });

  it("has nothing to work out when a fault decided, and accepts only a deny from one", () => {
    for (const reason of ["EVALUATOR_ERROR", "MODEL_MISSING", "DEADLINE_EXCEEDED"]) {
      const fault = { ...good, features: {}, contributions: {}, z: null, score: null, reason };
      expect(recompute({ ...fault, verdict: "deny" }, null)).deep.equal({ kind: "unscored", reason });
      expect(recompute({ ...fault, verdict: "allow" }, null)).deep.include({
        kind: "differs",
        field: "verdict",
      });
    }
  });

  it("refuses features that are no shares", () => {
    for (const features of [{}, { rate: 2, entropy: 0 }, { rate: 0, entropy: -1 }]) {
      expect(() => recompute({ ...good, features }, defaultModelPayload)).throw("must be between 0 and 1");
    }
  });
});
