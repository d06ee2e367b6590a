/** No model may be put to witnesses that would be the last one. */
import { expect } from "chai";
import { describe, it } from "mocha";
import type { CborMap } from "../../../src/core/cbor/cbor.ts";
import { defaultModelPayload } from "../../../src/trust/default-model.ts";
import { checkReplaceable } from "../../../src/trust/lockout.ts";
import { parseModel } from "../../../src/core/model/model.ts";

const check = (changes: CborMap): void =>
  checkReplaceable(parseModel({ ...defaultModelPayload, ...changes }));

const { actions, targets, weights } = defaultModelPayload;

describe("a model that must be replaceable", () => {
  it("is the default one", () => {
    check({});
  });

  const lockedOut: readonly (readonly [name: string, changes: CborMap, step: string])[] = [
    ["with a bias nothing makes up for", { bias: -20 }, "canon.propose"],
    ["with a threshold nobody reaches", { threshold: 0.9999, review: null }, "canon.propose"],
    ["that knows no canon actions", { actions: { read: actions.read } }, "canon.propose"],
    [
      "that keeps witnesses from attesting",
      { actions: { ...actions, "canon.attest": { risk: 0.05, min_loa: "mentor" } } },
      "canon.attest",
    ],
    [
      "under which witnesses fall into review",
      { targets: { ...targets, "canon/proposal": 0.25 } },
      "canon.attest",
    ],
    ["under which a busy witness is denied", { weights: { ...weights, rate: -9 } }, "canon.propose"],
    [
      "that lets Root propose and not commit",
      {
        weights: { ...weights, action_risk: -9 },
        actions: {
          ...actions,
          "canon.propose": { risk: 0.1, min_loa: "mentor" },
          "canon.commit": { risk: 1, min_loa: "mentor" },
        },
      },
      "canon.commit",
    ],
  ];
  for (const [name, changes, step] of lockedOut) {
    it(`is none ${name}`, () => {
      expect(() => check(changes)).throws(`must allow ${step}`);
    });
  }
});
