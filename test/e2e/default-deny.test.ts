/** Default deny over a real socket: whatever breaks on the way to an answer, no allow leaves the server. */
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { join } from "node:path";
import { connect, SigilError, Verdict, type CheckResponse } from "@sigil/client";
import { appendQueueRecordsMax } from "../../src/limits.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import type { Evaluate } from "../../src/trust/evaluator.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { evaluate } from "../../src/core/model/model.ts";
import { createFaultyStore, type FaultyStore } from "../contract/faulty-store.ts";
import { Hold } from "../contract/held-store.ts";
import { makeDeployment, type Deployment } from "./deployment.ts";

/** What the default model allows an Operator. */
const allowedCheck = { action: "write", target: "user/notes" };

type Answer = { readonly decision: CheckResponse } | { readonly error: SigilError };

const answerOf = async (call: Promise<CheckResponse>): Promise<Answer> => {
  try {
    return { decision: await call };
  } catch (error) {
    if (error instanceof SigilError) return { error };
    throw error;
  }
};

/** Until the server says that it serves; at most ten seconds. */
const serving = async (health: () => Promise<string>): Promise<void> => {
  for (let turn = 0; turn < 200 && (await health()) !== "SERVING"; turn += 1) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

describe("e2e_error_default_deny", () => {
  let deployment: Deployment;
  beforeEach(async () => {
    deployment = await makeDeployment();
  });
  afterEach(() => deployment[Symbol.asyncDispose]());

  const good: Evaluate = (model, features) => evaluate(model, features);
  const allow = { kind: "allow", reason: "SCORE_AT_OR_ABOVE_THRESHOLD" } as const;
  const none = { action_risk: 0, target_sensitivity: 0, level: 0, rate: 0, entropy: 0 };
  const nonsense = (value: unknown): Evaluate => (() => value) as Evaluate;
  const faults: readonly (readonly [string, Evaluate])[] = [
    [
      "throws",
      () => {
        throw new Error("evaluator broke");
      },
    ],
    [
      "throws something that is no error",
      () => {
        throw undefined as unknown as Error;
      },
    ],
    ["rejects", () => Promise.reject(new Error("evaluator broke"))],
    ["hangs past its deadline", () => new Promise(() => {})],
    ["returns nothing", nonsense(undefined)],
    ["returns a word", nonsense("allow")],
    ["promises nothing", nonsense(Promise.resolve(null))],
    ["allows without a sum", nonsense({ verdict: allow, score: 0.9, contributions: none })],
    [
      "allows with a sum that is no number",
      nonsense({ verdict: allow, z: Number.NaN, score: 0.9, contributions: none }),
    ],
    ["allows below the threshold", nonsense({ verdict: allow, z: -1, score: 0.9, contributions: none })],
    ["allows with a score of 7", nonsense({ verdict: allow, z: 3, score: 7, contributions: none })],
    [
      "allows with an endless contribution",
      nonsense({ verdict: allow, z: 3, score: 0.9, contributions: { ...none, level: Infinity } }),
    ],
    [
      "answers with an unknown verdict",
      nonsense({ verdict: { kind: "sure", reason: "WHY_NOT" }, z: 3, score: 0.9, contributions: none }),
    ],
  ];
  for (const [name, broken] of faults) {
    it(`denies and records when the evaluator ${name}`, async () => {
      let current = broken;
      const evaluator: Evaluate = (model, features, signal) => current(model, features, signal);
      await using served = await deployment.serve({ overrides: { evaluate: evaluator } });
      const operator = served.as("operator");
      const decision = await operator.trust.check(allowedCheck);
      expect(decision.verdict).to.equal(Verdict.VERDICT_DENY);
      expect(decision).to.include({ allowed: false, reason: "EVALUATOR_ERROR", score: undefined });
      const proof = await operator.audit.verifyFrozenChain({ auditId: decision.auditId });
      expect(proof.verified, JSON.stringify(proof.steps)).to.equal(true);
      current = good;
      expect((await operator.trust.check(allowedCheck)).allowed).to.equal(true);
    });
  }

  it("gives no answer when a decision cannot be encoded as a record, and serves the next", async () => {
    let verdict: unknown = { kind: "allow", reason: "\ud800" };
    const evaluator = ((model, features) =>
      verdict === undefined
        ? evaluate(model, features)
        : { ...evaluate(model, features), verdict }) as Evaluate;
    await using served = await deployment.serve({ overrides: { evaluate: evaluator } });
    const operator = served.as("operator");
    const size = served.server.ledger.reader.size;
    for (const reason of ["\ud800", "", "not upper snake"]) {
      verdict = { kind: "allow", reason };
      const answer = await answerOf(operator.trust.check(allowedCheck));
      expect(answer).to.have.property("error");
    }
    expect(served.server.ledger.reader.size).to.equal(size);
    verdict = undefined;
    expect((await operator.trust.check(allowedCheck)).allowed).to.equal(true);
  });

  it("gives no answer while the clock fails, and serves again when it works", async () => {
    let reading: () => number = Date.now;
    await using served = await deployment.serve({ overrides: { clock: { nowMs: () => reading() } } });
    const operator = served.as("operator");
    // The token is known from here on, so that it is the decision that meets the broken clock.
    expect((await operator.trust.check(allowedCheck)).allowed).to.equal(true);
    const broken: readonly (() => number)[] = [
      () => Number.NaN,
      () => -1,
      () => {
        throw new Error("no clock");
      },
    ];
    for (const clock of broken) {
      reading = clock;
      for (const caller of [operator, served.as("guest")]) {
        const answer = await answerOf(caller.trust.check({ action: "read", target: "public/docs" }));
        expect(answer).to.have.property("error");
      }
    }
    reading = Date.now;
    expect((await operator.trust.check(allowedCheck)).allowed).to.equal(true);
  });

  it("gives no answer when randomness fails", async () => {
    let broken = false;
    const { randomFillSync } = await import("node:crypto");
    const randomBytes = (bytes: number): Uint8Array => {
      if (broken) throw new Error("no randomness");
      return randomFillSync(new Uint8Array(bytes));
    };
    await using served = await deployment.serve({ overrides: { randomBytes } });
    const operator = served.as("operator");
    broken = true;
    const answer = await answerOf(operator.trust.check(allowedCheck));
    expect(answer).to.have.property("error");
    broken = false;
    expect((await operator.trust.check(allowedCheck)).allowed).to.equal(true);
  });

  it("answers UNAVAILABLE when the decision cannot be committed, and serves again after its self-check", async () => {
    let store: FaultyStore | undefined;
    const openStore = async () => {
      store = createFaultyStore(await openLevelStore(join(deployment.directory, "ledger")));
      return store;
    };
    await using served = await deployment.serve({ overrides: { openStore } });
    const operator = served.as("operator");
    for (const when of ["before", "after"] as const) {
      store?.plan({ operation: "commit", nth: 1, when, then: "fails" });
      const lost = await answerOf(operator.trust.check(allowedCheck));
      expect("error" in lost && lost.error.codeName).to.equal("UNAVAILABLE");
      expect(await operator.health()).to.equal("NOT_SERVING");
      await serving(() => operator.health());
      expect(await operator.health()).to.equal("SERVING");
      expect((await operator.trust.check(allowedCheck)).allowed).to.equal(true);
    }
  });

  it("answers RESOURCE_EXHAUSTED past the bound of its queue, and never an allow it did not record", async () => {
    // Each caller has one batch under way beside the others: fewer callers are held back before the queue is full.
    const batches = Math.ceil(appendQueueRecordsMax / 1000) + 4;
    const otherTenants = Array.from({ length: batches }, (_, at) => `tenant-${at}`);
    await using crowded = await makeDeployment({ otherTenants });
    const hold = new Hold();
    const openStore = async () => hold.over(await openLevelStore(join(crowded.directory, "ledger")));
    await using served = await crowded.serve({ overrides: { openStore } });
    const callers = otherTenants.map((name) => served.by(`operator-${name}`, crowded.privateKeys.operator));
    const operator = served.as("operator");
    void hold.begin();
    using _ = { [Symbol.dispose]: () => hold.end() };
    const checks = Array.from({ length: 1000 }, () => allowedCheck);
    const calls = callers.map((caller) =>
      caller.trust.batchCheck({ checks }).then(
        () => "OK",
        (error: unknown) => SigilError.from(error).codeName,
      ),
    );
    const refused = await Promise.race([
      Promise.any(
        calls.map(async (call) => ((await call) === "OK" ? Promise.reject(new Error("answered")) : call)),
      ),
      new Promise<string>((resolve) => setTimeout(() => resolve("nobody was refused"), 40_000)),
    ]);
    expect(refused).to.equal("RESOURCE_EXHAUSTED");
    hold.end();
    const answers = await Promise.all(calls);
    const answered = answers.filter((answer) => answer === "OK").length;
    expect(answered).to.be.greaterThan(0);
    expect(answers.every((answer) => answer === "OK" || answer === "RESOURCE_EXHAUSTED")).to.equal(true);
    expect((await operator.trust.check({ action: "read", target: "public/docs" })).allowed).to.equal(true);
  });

  it("denies everything while its model is malformed, and names the reason", async () => {
    const { entropy: _, ...weights } = defaultModelPayload.weights;
    await using other = await makeDeployment({ model: { ...defaultModelPayload, weights } });
    await using served = await other.serve();
    const root = served.as("root");
    const decision = await root.trust.check({ action: "read", target: "public/docs" });
    expect(decision).to.include({ allowed: false, reason: "MODEL_MISSING" });
    const proof = await root.audit.verifyFrozenChain({ auditId: decision.auditId });
    expect(proof.verified, JSON.stringify(proof.steps)).to.equal(true);
    const missing = await root.trust.getActiveModel({}).then(
      () => "OK",
      (error: unknown) => SigilError.from(error).codeName,
    );
    expect(missing).to.equal("FAILED_PRECONDITION");
  });

  it("lets no allow through for a call whose deadline has passed", async () => {
    await using served = await deployment.serve();
    const operator = served.as("operator");
    const late = await answerOf(operator.trust.check(allowedCheck, { deadlineMs: 0 }));
    expect("error" in late && late.error.codeName).to.equal("DEADLINE_EXCEEDED");
  });

  it("lives through a caller that vanishes in the middle of its calls", async () => {
    await using served = await deployment.serve();
    for (let round = 0; round < 5; round += 1) {
      const hasty = connect({
        target: served.server.target,
        tls: "insecure",
        signer: deployment.signer("operator"),
      });
      const abort = new AbortController();
      const calls = Array.from({ length: 50 }, () =>
        answerOf(hasty.trust.check(allowedCheck, { signal: abort.signal })),
      );
      setTimeout(() => abort.abort(), round);
      await Promise.all(calls);
      hasty.close();
    }
    expect((await served.as("operator").trust.check(allowedCheck)).allowed).to.equal(true);
  });
});
