/** Decisions over a real socket: the table of the default model, who a check is about, what a reply says. */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import {
  LevelOfAccess,
  SigilError,
  StepOutcome,
  Verdict,
  type CheckRequest,
  type CheckResponse,
  type SigilConnection,
} from "@sigil/client";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { refusalOf } from "./refusal.ts";

const utf8 = new TextEncoder();
const text = utf8.encode("Please add a note that the meeting with the design team moved to Thursday at ten.");

/** What must hold of every answer, whatever the verdict. */
const expectProved = async (connection: SigilConnection, decision: CheckResponse): Promise<void> => {
  const proof = await connection.audit.verifyFrozenChain({ auditId: decision.auditId });
  expect(proof.verified, JSON.stringify(proof.steps)).to.equal(true);
  expect(proof.ledgerPosition).to.equal(decision.ledgerPosition);
  const { chain } = await connection.audit.getFrozenChain({ auditId: decision.auditId });
  expect(chain?.verdict).to.equal(decision.verdict);
  expect(chain?.z).to.equal(decision.z);
  expect(chain?.modelHash).to.deep.equal(decision.modelHash);
};

describe("decisions over a socket", () => {
  let deployment: Deployment;
  let served: ServedDeployment;

  before(async () => {
    deployment = await makeDeployment();
    served = await deployment.serve();
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  it("e2e_allow", async () => {
    const operator = served.as("operator");
    const decision = await operator.trust.check({ action: "write", target: "user/notes", input: text });
    expect(decision.verdict).to.equal(Verdict.VERDICT_ALLOW);
    expect(decision.allowed).to.equal(true);
    expect(decision.reason).to.equal("SCORE_AT_OR_ABOVE_THRESHOLD");
    expect(decision.level).to.equal(LevelOfAccess.LEVEL_OF_ACCESS_OPERATOR);
    expect(decision.subject).to.equal("operator");
    const sum = decision.contributions.reduce(
      (z, part) => z + part.contribution,
      decision.bias ?? Number.NaN,
    );
    expect(sum).to.equal(decision.z);
    expect(decision.contributions.map(({ feature }) => feature)).to.deep.equal([
      "action_risk",
      "target_sensitivity",
      "level",
      "rate",
      "entropy",
    ]);
    await expectProved(operator, decision);
  });

  it("e2e_deny", async () => {
    const guest = served.as("guest");
    const decision = await guest.trust.check({ action: "delete", target: "user/profile" });
    expect(decision.verdict).to.equal(Verdict.VERDICT_DENY);
    expect(decision.allowed).to.equal(false);
    expect(decision.level).to.equal(LevelOfAccess.LEVEL_OF_ACCESS_GUEST);
    await expectProved(guest, decision);
  });

  const rows = [
    ["guest", "read", "public/docs", false, true],
    ["guest", "execute", "module/hello", false, false],
    ["guest", "delete", "user/profile", false, false],
    ["observer", "read", "audit/log", false, true],
    ["observer", "write", "user/notes", false, false],
    ["operator", "write", "user/notes", true, true],
    ["operator", "execute", "module/hello", false, true],
    ["operator", "admin", "system/config", false, false],
    ["mentor", "write", "config/flags", false, true],
    ["root", "admin", "system/config", false, true],
    ["operator", "transmogrify", "user/notes", false, false],
  ] as const;
  for (const [level, action, target, hasInput, allowed] of rows) {
    it(`${allowed ? "allows" : "denies"} ${level} ${action} ${target}`, async () => {
      const input = hasInput ? text : new Uint8Array(0);
      const decision = await served.as(level).trust.check({ action, target, input });
      expect(decision.allowed).to.equal(allowed);
      expect(decision.verdict).to.equal(allowed ? Verdict.VERDICT_ALLOW : Verdict.VERDICT_DENY);
    });
  }

  it("decides about another principal of the tenant with that principal's level", async () => {
    const decision = await served
      .as("operator")
      .trust.check({ action: "write", target: "config/flags", subject: "mentor" });
    expect(decision.subject).to.equal("mentor");
    expect(decision.level).to.equal(LevelOfAccess.LEVEL_OF_ACCESS_MENTOR);
    expect(decision.allowed).to.equal(true);
    const { chain } = await served.as("observer").audit.getFrozenChain({ auditId: decision.auditId });
    expect(chain).to.include({ caller: "operator", subject: "mentor" });
  });

  it("takes an unknown subject, and one of another tenant, for a Guest", async () => {
    for (const subject of ["nobody", "root"]) {
      const decision = await served
        .as("operator")
        .trust.check({ action: "admin", target: "system/config", subject });
      expect(decision.level).to.equal(LevelOfAccess.LEVEL_OF_ACCESS_GUEST);
      expect(decision.allowed).to.equal(false);
    }
  });

  it("refuses a caller below Operator who asks about somebody else, naming the level", async () => {
    const refused = await refusalOf(
      served.as("observer").trust.check({ action: "read", target: "audit/log", subject: "root" }),
    );
    expect(refused.codeName).to.equal("PERMISSION_DENIED");
    expect(refused.message).to.contain("operator");
    const guest = await refusalOf(
      served.as("guest").trust.check({ action: "read", target: "public/docs", subject: "root" }),
    );
    expect(guest.codeName).to.equal("PERMISSION_DENIED");
  });

  it("keeps the raw input only when asked, and its digest always", async () => {
    const operator = served.as("operator");
    const ask = { action: "write", target: "user/notes", input: text };
    const without = await operator.trust.check(ask);
    const kept = await operator.trust.check({ ...ask, keepInput: true });
    const chainOf = async ({ auditId }: CheckResponse) =>
      (await operator.audit.getFrozenChain({ auditId })).chain;
    expect((await chainOf(without))?.input).to.equal(undefined);
    expect(new Uint8Array((await chainOf(kept))?.input ?? [])).to.deep.equal(text);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
    for (const decision of [without, kept]) {
      const chain = await chainOf(decision);
      expect(new Uint8Array(chain?.inputDigest ?? [])).to.deep.equal(digest);
      expect(chain?.inputBytes).to.equal(BigInt(text.length));
    }
  });

  it("names the field and the rule of a request that breaks one", async () => {
    const operator = served.as("operator");
    const wrong = [
      [{ action: "", target: "a" }, "action"],
      [{ action: "x".repeat(129), target: "a" }, "action"],
      [{ action: "write", target: "" }, "target"],
      [{ action: "write", target: "a\nb" }, "target"],
      [{ action: "write", target: "a", session: "s".repeat(129) }, "session"],
      [{ action: "write", target: "a", input: new Uint8Array(262_145) }, "input"],
      [{ action: "write", target: "a", idempotencyKey: "k".repeat(129) }, "idempotency_key"],
    ] as const;
    for (const [request, field] of wrong) {
      const refused = await refusalOf(operator.trust.check(request));
      expect(refused.codeName).to.equal("INVALID_ARGUMENT");
      expect(refused.fieldViolations.map((violation) => violation.field)).to.deep.equal([field]);
    }
  });

  it("answers a batch in order, an item that fails for itself alone", async () => {
    const operator = served.as("operator");
    const { results } = await operator.trust.batchCheck({
      checks: [
        { action: "read", target: "public/docs" },
        { action: "read", target: "" },
        { action: "admin", target: "system/config" },
      ],
    });
    expect(results.map(({ outcome }) => outcome?.$case)).to.deep.equal(["decision", "error", "decision"]);
    const [first, second, third] = results.map(({ outcome }) => outcome);
    expect(first?.$case === "decision" && first.value.allowed).to.equal(true);
    expect(third?.$case === "decision" && third.value.allowed).to.equal(false);
    const error = second?.$case === "error" ? SigilError.fromStatus(second.value) : undefined;
    expect(error?.codeName).to.equal("INVALID_ARGUMENT");
    expect(error?.fieldViolations[0]?.field).to.equal("checks[1].target");
    if (first?.$case === "decision" && third?.$case === "decision") {
      expect(third.value.ledgerPosition).to.equal(first.value.ledgerPosition + 1n);
    }
  });

  it("takes 1,000 checks in a batch, and refuses 1,001 and none", async () => {
    const operator = served.as("operator");
    const check = { action: "read", target: "public/docs" };
    const { results } = await operator.trust.batchCheck({
      checks: Array.from({ length: 1000 }, () => check),
    });
    expect(results).to.have.length(1000);
    for (const count of [0, 1001]) {
      const refused = await refusalOf(
        operator.trust.batchCheck({ checks: Array.from({ length: count }, () => check) }),
      );
      expect(refused.codeName).to.equal("INVALID_ARGUMENT");
    }
  });

  it("answers a stream by correlation id and goes on after a bad item", async () => {
    const asked = Array.from({ length: 500 }, (_, index) => ({
      correlationId: `c${index}`,
      check: { action: "read", target: index === 250 ? "" : "public/docs" },
    }));
    const answers = new Map<string, string>();
    for await (const answer of served.as("operator").trust.streamChecks(asked)) {
      answers.set(answer.correlationId, answer.outcome?.$case ?? "none");
    }
    expect(answers.size).to.equal(500);
    expect(answers.get("c250")).to.equal("error");
    expect([...answers.values()].filter((kind) => kind === "decision")).to.have.length(499);
  });

  it("gives the first answer to a repeat with the same key and body, and refuses another body", async () => {
    const operator = served.as("operator");
    const ask = { action: "write", target: "user/notes", input: text, idempotencyKey: "order-17" };
    const first = await operator.trust.check(ask);
    const size = served.server.ledger.reader.size;
    const again = await operator.trust.check(ask);
    expect(again).to.deep.equal({ ...first, replayed: true });
    expect(served.server.ledger.reader.size).to.equal(size);
    const other = await refusalOf(operator.trust.check({ ...ask, target: "user/other" }));
    expect(other.codeName).to.equal("ALREADY_EXISTS");
    const mentor = await served.as("mentor").trust.check(ask);
    expect(mentor.auditId).to.not.equal(first.auditId);
  });

  it("refuses a key that comes again with any one field of the question changed", async () => {
    const operator = served.as("operator");
    const ask = { action: "write", target: "user/notes", input: text, idempotencyKey: "order-18" };
    await operator.trust.check(ask);
    const others = {
      action: "read",
      target: "user/other",
      subject: "observer",
      session: "another",
      input: utf8.encode("another"),
      keepInput: true,
    } satisfies Omit<CheckRequest, "idempotencyKey" | "disclose" | "proof">;
    for (const [field, value] of Object.entries(others)) {
      const refused = await refusalOf(operator.trust.check({ ...ask, [field]: value }));
      expect(refused.codeName, field).to.equal("ALREADY_EXISTS");
    }
  });

  it("decides once when the same key arrives many times at the same moment", async () => {
    const operator = served.as("operator");
    const ask = { action: "read", target: "public/docs", idempotencyKey: "at-once" };
    const answers = await Promise.all(Array.from({ length: 20 }, () => operator.trust.check(ask)));
    expect(new Set(answers.map(({ auditId }) => auditId)).size).to.equal(1);
    expect(answers.filter(({ replayed }) => !replayed)).to.have.length(1);
  });

  it("gives a whole batch again for its key", async () => {
    const operator = served.as("operator");
    const request = {
      checks: [
        { action: "read", target: "public/docs" },
        { action: "", target: "public/docs" },
        { action: "admin", target: "system/config" },
      ],
      idempotencyKey: "batch-1",
    };
    const first = await operator.trust.batchCheck(request);
    const again = await operator.trust.batchCheck(request);
    const ids = ({ results }: typeof first) =>
      results.map(({ outcome }) => (outcome?.$case === "decision" ? outcome.value.auditId : outcome?.$case));
    expect(ids(again)).to.deep.equal(ids(first));
  });

  it("binds the key of a batch whose items all fail", async () => {
    const read = { action: "read", target: "public/docs" };
    // An Observer may not ask about another subject, and an action is never empty.
    const batches = [
      ["observer", [{ ...read, subject: "operator" }]],
      ["operator", [{ ...read, action: "" }]],
    ] as const;
    for (const [name, checks] of batches) {
      const { trust } = served.as(name);
      const request = { checks: [...checks, ...checks], idempotencyKey: "all-fail" };
      const size = served.server.ledger.reader.size;
      const first = await trust.batchCheck(request);
      expect(
        first.results.map(({ outcome }) => outcome?.$case),
        name,
      ).to.deep.equal(["error", "error"]);
      const others = [
        [read],
        [...checks],
        [...request.checks, read],
        [{ ...checks[0], target: "user/notes" }],
      ];
      for (const other of others) {
        const refused = await refusalOf(trust.batchCheck({ ...request, checks: other }));
        expect(refused, name).to.include({ codeName: "ALREADY_EXISTS" });
      }
      const again = await trust.batchCheck(request);
      const statuses = ({ results }: typeof first) =>
        results
          .map(({ outcome }) => (outcome?.$case === "error" ? SigilError.fromStatus(outcome.value) : outcome))
          .map((error) => error instanceof SigilError && [error.code, error.reason, error.fieldViolations]);
      expect(statuses(again), name).to.deep.equal(statuses(first));
      expect(served.server.ledger.reader.size, name).to.equal(size);
    }
  });

  it("holds a batch's key against the items that are no questions too", async () => {
    const { trust } = served.as("operator");
    const read = { action: "read", target: "public/docs" };
    const request = { checks: [read, { ...read, action: "" }], idempotencyKey: "one-malformed" };
    await trust.batchCheck(request);
    for (const checks of [
      [read],
      [read, { ...read, action: "", session: "s" }],
      [...request.checks].toReversed(),
    ]) {
      const refused = await refusalOf(trust.batchCheck({ ...request, checks }));
      expect(refused.codeName).to.equal("ALREADY_EXISTS");
    }
    expect((await trust.batchCheck(request)).results).to.have.length(2);
  });

  it("shows the model that decides, and what a candidate would flip, without recording anything", async () => {
    await using other = await makeDeployment();
    await using fresh = await other.serve();
    const operator = fresh.as("operator");
    const decision = await operator.trust.check({ action: "write", target: "user/notes" });
    await operator.trust.check({ action: "admin", target: "system/config" });
    const active = await operator.trust.getActiveModel({});
    expect(active.hash).to.deep.equal(decision.modelHash);
    const { model } = active;
    if (model === undefined) throw new Error("no model");
    const candidate = { ...model, threshold: 0.999, review: undefined };
    const size = fresh.server.ledger.reader.size;
    const simulated = await fresh.as("mentor").trust.simulate({
      candidate,
      subjectMatter: { $case: "lastDecisions", value: 10 },
    });
    expect(simulated).to.include({ scored: 2, flipped: 1 });
    expect(simulated.decisions[0]).to.include({
      auditId: decision.auditId,
      current: Verdict.VERDICT_ALLOW,
      candidate: Verdict.VERDICT_DENY,
    });
    const one = await fresh.as("mentor").trust.simulate({
      candidate,
      subjectMatter: {
        $case: "check",
        value: { action: "write", target: "user/notes", subject: "operator" },
      },
      includeUnchanged: true,
    });
    expect(one).to.include({ scored: 1, flipped: 1 });
    expect(fresh.server.ledger.reader.size).to.equal(size);
    const refused = await refusalOf(
      fresh.as("mentor").trust.simulate({
        candidate: { ...model, weights: { ...model.weights, level: -1 } },
        subjectMatter: { $case: "lastDecisions", value: 10 },
      }),
    );
    expect(refused.codeName).to.equal("INVALID_ARGUMENT");
  });

  it("names the steps of a verification in order", async () => {
    const operator = served.as("operator");
    const { auditId } = await operator.trust.check({ action: "read", target: "public/docs" });
    const proof = await operator.audit.verifyFrozenChain({ auditId });
    expect(proof.steps.map(({ name }) => name)).to.deep.equal([
      "seal",
      "envelope",
      "hash",
      "key",
      "signature",
      "schema",
      "inclusion",
      "checkpoint",
      "model",
      "decision",
    ]);
    expect(proof.steps.every(({ outcome }) => outcome === StepOutcome.STEP_OUTCOME_PASSED)).to.equal(true);
  });
});
