/** Reasoning chains: built by steps, frozen once, and out of reach after that. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { formatChain, ReasoningChain } from "../../../src/audit/chain.ts";
import type { ChainOutcome } from "../../../src/audit/chain.ts";
import { FrozenBytes } from "../../../src/audit/freeze.ts";
import { parseHash } from "../../../src/core/bytes.ts";
import { cborDecode, cborEncode } from "../../../src/core/cbor/cbor.ts";
import { parseFrozenChain } from "../../../src/core/record/kinds/frozen-chain.ts";
import type { FrozenRequest } from "../../../src/core/record/kinds/frozen-chain.ts";
import { reasoningStepDetailBytesMax, reasoningStepsMax } from "../../../src/limits.ts";

const makeRequest = (): FrozenRequest => ({
  action: "write",
  target: "user/notes",
  subject: "ann",
  caller: "backend",
  tenant: "acme",
  loa: "operator",
  session: "s-1",
  inputDigest: parseHash(new Uint8Array(32).fill(7)),
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

const makeChain = (): ReasoningChain => {
  const chain = new ReasoningChain(makeRequest());
  chain.add({ name: "identify", detail: "ann is operator" });
  chain.add({ name: "score", detail: "z 0.6" });
  return chain;
};

/** Every object below `value`, itself first. */
const objectsOf = (value: unknown): readonly object[] =>
  typeof value === "object" && value !== null
    ? [value, ...Object.values(value).flatMap((part) => objectsOf(part))]
    : [];

describe("reasoning chain", () => {
  it("keeps its steps in order", () => {
    expect(
      makeChain()
        .freeze(makeOutcome())
        .steps.map(({ name }) => name),
    ).deep.equal(["identify", "score"]);
  });

  it("is frozen once", () => {
    const chain = makeChain();
    chain.freeze(makeOutcome());
    expect(() => chain.freeze(makeOutcome())).throw("frozen once");
  });

  it("takes no step after it is frozen", () => {
    const chain = makeChain();
    const frozen = chain.freeze(makeOutcome());
    expect(() => chain.add({ name: "late", detail: "" })).throw("no more steps");
    expect(frozen.steps).lengthOf(2);
  });

  it("bounds its steps, their names and their details", () => {
    const chain = new ReasoningChain(makeRequest());
    for (let index = 0; index < reasoningStepsMax; index += 1) chain.add({ name: "step", detail: "" });
    expect(() => chain.add({ name: "step", detail: "" })).throw("at most");
    const other = new ReasoningChain(makeRequest());
    expect(() => other.add({ name: "", detail: "" })).throw("short name");
    expect(() => other.add({ name: "x".repeat(65), detail: "" })).throw("short name");
    expect(() => other.add({ name: "x", detail: "é".repeat(reasoningStepDetailBytesMax / 2 + 1) })).throw(
      "too long",
    );
  });
});

describe("frozen chain", () => {
  it("holds nothing that can be changed, however deep", () => {
    const frozen = makeChain().freeze(makeOutcome());
    const objects = objectsOf(frozen);
    expect(objects).length.above(10);
    for (const object of objects) {
      expect(Object.isFrozen(object)).equal(true);
      expect(ArrayBuffer.isView(object)).equal(false);
    }
    expect(Reflect.set(frozen, "verdict", "deny")).equal(false);
    expect(Reflect.set(frozen.request, "action", "read")).equal(false);
    expect(Reflect.set(frozen.steps, 0, null)).equal(false);
    expect(() => (frozen.steps as unknown[]).push(null)).throw(TypeError);
    expect(Reflect.set(frozen.contributions, "rate", 1)).equal(false);
  });

  it("does not follow what the caller changes afterwards", () => {
    const input = Uint8Array.of(1, 2, 3);
    const step = { name: "identify", detail: "before" };
    const outcome = { ...makeOutcome(), features: { action_risk: 0.4 } };
    const chain = new ReasoningChain({ ...makeRequest(), input });
    chain.add(step);
    input[0] = 99;
    step.detail = "after";
    const frozen = chain.freeze(outcome);
    outcome.features.action_risk = 0;
    expect(frozen.request.input?.copy()).deep.equal(Uint8Array.of(1, 2, 3));
    expect(frozen.steps[0]?.detail).equal("before");
    expect(frozen.features["action_risk"]).equal(0.4);
  });

  it("hands out copies of its bytes", () => {
    const { model } = makeChain().freeze(makeOutcome());
    model.hash?.copy().fill(0);
    expect(model.hash?.copy()).deep.equal(new Uint8Array(32).fill(9));
    expect(Reflect.set(new FrozenBytes(Uint8Array.of(1)), "copy", () => null)).equal(false);
  });

  it("gives a payload whose changes do not reach it", () => {
    const frozen = makeChain().freeze(makeOutcome());
    const payload = formatChain(frozen) as { request: { action: string; input: Uint8Array } };
    payload.request.action = "read";
    payload.request.input.fill(0);
    expect(frozen.request.action).equal("write");
    expect(frozen.request.input?.copy()).deep.equal(Uint8Array.of(1, 2, 3));
  });

  it("reads back from its record as it was", () => {
    const payload = parseFrozenChain(cborDecode(cborEncode(formatChain(makeChain().freeze(makeOutcome())))));
    expect(payload.request.input).deep.equal(Uint8Array.of(1, 2, 3));
    expect(Object.entries(payload.request.metadata)).deep.include(["__proto__", "kept"]);
    expect(payload.steps).deep.equal([
      { name: "identify", detail: "ann is operator" },
      { name: "score", detail: "z 0.6" },
    ]);
    expect({ ...payload, request: null, steps: null }).deep.equal({
      ...makeOutcome(),
      request: null,
      steps: null,
    });
  });
});
