/** Reasoning chains: built by steps, frozen once, and out of reach after that. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { recordChain, ReasoningChain } from "../../../src/audit/chain.ts";
import type { ChainOutcome, ChainRequest } from "../../../src/audit/chain.ts";
import { FrozenBytes } from "../../../src/audit/freeze.ts";
import { parseHash, toHex } from "../../../src/core/bytes.ts";
import { cborDecode, cborEncode } from "../../../src/core/cbor/cbor.ts";
import { formatDisclosures, readDisclosures } from "../../../src/core/record/commitment.ts";
import { readDecision } from "../../../src/core/record/decision.ts";
import type { RecordBody } from "../../../src/core/record/record.ts";
import { sha256 } from "../../../src/core/hash.ts";

const makeRequest = (): ChainRequest => ({
  action: "write",
  target: "user/notes",
  subject: "ann",
  caller: "backend",
  tenant: "acme",
  loa: "operator",
  session: "s-1",
  inputDigest: sha256(Uint8Array.of(1, 2, 3)),
  inputBytes: 3,
  input: Uint8Array.of(1, 2, 3),
  metadata: { request_id: "r-1", ["__proto__"]: "kept" },
});

const makeOutcome = (): ChainOutcome => ({
  features: { action_risk: 0.4, rate: 0 },
  model: { id: "trust-model", hash: parseHash(new Uint8Array(32).fill(9)) },
  contributions: { action_risk: -2.4, rate: 0 },
  z: 0.6,
  score: 0.65,
  threshold: 0.5,
  review: { low: 0.45, high: 0.55 },
  verdict: "allow",
  reason: "SCORE_AT_OR_ABOVE_THRESHOLD",
  durationUs: 120,
});

const makeChain = (): ReasoningChain => new ReasoningChain(makeRequest());
const salt = new Uint8Array(32).fill(5);

/** Every object below `value`, itself first. */
const objectsOf = (value: unknown): readonly object[] =>
  typeof value === "object" && value !== null
    ? [value, ...Object.values(value).flatMap((part) => objectsOf(part))]
    : [];

describe("reasoning chain", () => {
  it("is frozen once", () => {
    const chain = makeChain();
    chain.freeze(makeOutcome());
    expect(() => chain.freeze(makeOutcome())).throw("frozen once");
  });
});

describe("frozen chain", () => {
  it("holds nothing that can be changed, however deep", () => {
    const frozen = makeChain().freeze(makeOutcome());
    const objects = objectsOf(frozen);
    expect(objects).length.above(8);
    for (const object of objects) {
      expect(Object.isFrozen(object)).equal(true);
      expect(ArrayBuffer.isView(object)).equal(false);
    }
    expect(Reflect.set(frozen, "verdict", "deny")).equal(false);
    expect(Reflect.set(frozen.request, "action", "read")).equal(false);
    expect(Reflect.set(frozen.contributions, "rate", 1)).equal(false);
  });

  it("does not follow what the caller changes afterwards", () => {
    const input = Uint8Array.of(1, 2, 3);
    const outcome = { ...makeOutcome(), features: { action_risk: 0.4 } };
    const chain = new ReasoningChain({ ...makeRequest(), input });
    input[0] = 99;
    const frozen = chain.freeze(outcome);
    outcome.features.action_risk = 0;
    expect(frozen.request.input?.copy()).deep.equal(Uint8Array.of(1, 2, 3));
    expect(frozen.features["action_risk"]).equal(0.4);
  });

  it("hands out copies of its bytes", () => {
    const { model } = makeChain().freeze(makeOutcome());
    model.hash?.copy().fill(0);
    expect(model.hash?.copy()).deep.equal(new Uint8Array(32).fill(9));
    expect(Reflect.set(new FrozenBytes(Uint8Array.of(1)), "copy", () => null)).equal(false);
  });

  it("gives a payload and disclosures whose changes do not reach it", () => {
    const frozen = makeChain().freeze(makeOutcome());
    const { payload, disclosures } = recordChain(frozen, salt);
    (payload as { request: { action: string } }).request.action = "read";
    disclosures["input"]?.raw?.fill(0);
    expect(frozen.request.action).equal("write");
    expect(frozen.request.input?.copy()).deep.equal(Uint8Array.of(1, 2, 3));
  });

  const recorded = () => {
    const { payload, disclosures } = recordChain(makeChain().freeze(makeOutcome()), salt);
    const body: RecordBody = {
      kind: "frozen_chain",
      schemaVersion: 2,
      id: "d-1",
      tenant: "acme",
      ts: 1,
      space: "user",
      payload: cborDecode(cborEncode(payload)),
      links: [{ label: "model", target: parseHash(new Uint8Array(32).fill(9)) }],
      prev: null,
    };
    return { body, disclosures: cborDecode(cborEncode(formatDisclosures(disclosures))) };
  };

  it("reads back from its record and what was disclosed of it as it was", () => {
    const { body, disclosures } = recorded();
    const { request, steps, score, ...chain } = readDecision(body, readDisclosures(disclosures, body));
    expect(request).deep.include({ ...makeRequest(), metadata: request.metadata });
    expect(Object.entries(request.metadata)).deep.include(["__proto__", "kept"]);
    expect(steps.map(({ detail }) => detail)).deep.equal([
      "subject is a operator",
      "allow: SCORE_AT_OR_ABOVE_THRESHOLD",
    ]);
    expect(score).closeTo(0.6457, 1e-4);
    const { score: _, ...outcome } = makeOutcome();
    expect(chain).deep.equal(outcome);
  });

  it("says nothing of its input where nothing was disclosed", () => {
    const { body } = recorded();
    const { request } = readDecision(body);
    expect(request).include({ inputDigest: null, inputBytes: null, input: null });
    const bytes = toHex(cborEncode(body.payload));
    expect(bytes).not.include(toHex(sha256(Uint8Array.of(1, 2, 3))));
  });

  it("commits to another value with every salt", () => {
    const inputs = [salt, new Uint8Array(32).fill(6)].map((each) => {
      const { payload } = recordChain(makeChain().freeze(makeOutcome()), each);
      return (payload["request"] as { readonly input: Uint8Array }).input;
    });
    expect(inputs[0]).not.deep.equal(inputs[1]);
  });
});
