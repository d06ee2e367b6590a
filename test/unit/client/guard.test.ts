/** `require`, `check` and guarded functions: nothing but an honest ALLOW goes through. */
import { inspect } from "node:util";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { describe, it } from "mocha";
import {
  CheckResponse,
  connect,
  Decision,
  DeniedError,
  SigilError,
  Verdict,
  type Question,
  type SigilConnection,
} from "@sigil/client";
import { sha256 } from "../../../src/core/hash.ts";
import { decisionFor, settle, startServer, type Behaviour } from "./server.ts";

const question = { action: "write", target: "user/notes" };
const { VERDICT_ALLOW, VERDICT_DENY, VERDICT_REVIEW } = Verdict;

const answering = (reply: Partial<CheckResponse>): Behaviour => ({
  check: (_call, answer) => answer(null, CheckResponse.fromPartial(reply)),
});

const open = (target: string, options: Partial<Parameters<typeof connect>[0]> = {}): SigilConnection =>
  connect({ target, tls: "insecure", retry: "none", ...options });

const thrownBy = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => {
      throw new Error("expected a rejection");
    },
    (error: unknown) => error,
  );

const deniedBy = async (work: Promise<unknown>): Promise<DeniedError> => {
  const error = await thrownBy(work);
  if (error instanceof DeniedError) return error;
  throw new Error(`expected a DeniedError, not ${inspect(error)}`);
};

describe("require", () => {
  it("resolves with the decision of an allow", async () => {
    await using server = await startServer();
    using sigil = open(server.target);
    const decision = await sigil.require(question);
    expect(decision).to.be.instanceOf(Decision).and.include({ allowed: true, auditId: "write" });
  });

  const noAllows: readonly (readonly [string, Partial<CheckResponse>])[] = [
    ["a deny", { verdict: VERDICT_DENY, reason: "SCORE_BELOW_THRESHOLD", auditId: "a" }],
    ["a review", { verdict: VERDICT_REVIEW, reason: "REVIEW_BAND", auditId: "a" }],
    ["an answer with nothing in it", {}],
    ["an allow with the verdict of a deny", { verdict: VERDICT_DENY, allowed: true, auditId: "a" }],
    ["an allow without a record", { verdict: VERDICT_ALLOW, allowed: true }],
    ["a verdict of allow that does not allow", { verdict: VERDICT_ALLOW, auditId: "a" }],
  ];
  for (const [what, reply] of noAllows) {
    it(`throws the decision on ${what}`, async () => {
      await using server = await startServer(answering(reply));
      using sigil = open(server.target);
      const error = await deniedBy(sigil.require(question));
      expect(error).to.be.instanceOf(SigilError).and.include({ codeName: "PERMISSION_DENIED" });
      expect(error.decision).to.be.instanceOf(Decision).and.include({ allowed: false });
      expect(error.reason).to.equal(error.decision?.reason);
    });
  }

  const codes = Object.values(Code).filter((code): code is Code => typeof code === "number" && code !== 0);
  it("throws on every status, with its code and without a decision", async () => {
    for (const code of codes) {
      await using server = await startServer({ check: (_call, answer) => answer({ code, details: "no" }) });
      using sigil = open(server.target);
      const error = await deniedBy(sigil.require(question));
      expect(error.decision).to.equal(undefined);
      expect(error.codeName).to.equal(Code[code]);
      expect(error.cause).to.be.instanceOf(SigilError);
    }
  });

  it("throws when nobody listens, when it is aborted, and when it takes too long", async () => {
    using away = open("127.0.0.1:1");
    expect(await deniedBy(away.require(question))).to.include({ codeName: "UNAVAILABLE" });
    await using server = await startServer({ check: () => {} });
    using sigil = open(server.target);
    const signal = AbortSignal.abort();
    expect(await deniedBy(sigil.require(question, { signal }))).to.include({ codeName: "CANCELLED" });
    expect(await deniedBy(sigil.require(question, { deadlineMs: 50 }))).to.include({
      codeName: "DEADLINE_EXCEEDED",
    });
  });

  const incomplete: readonly (readonly [string, object])[] = [
    ["action", { target: "user/notes" }],
    ["action", { ...question, action: "" }],
    ["target", { action: "write" }],
    ["target", { ...question, target: undefined }],
    ["subject", { ...question, subject: "" }],
    ["subject", { ...question, subject: undefined }],
    ["subject", { ...question, subject: null }],
  ];
  for (const [field, asked] of incomplete) {
    it(`asks nothing without its ${field}: ${inspect(asked)}`, async () => {
      await using server = await startServer();
      using sigil = open(server.target);
      const error = await deniedBy(sigil.require(asked as Question));
      expect(error.codeName).to.equal("INVALID_ARGUMENT");
      expect(error.fieldViolations.map((violation) => violation.field)).to.deep.equal([field]);
      expect(await thrownBy(sigil.check(asked as Question))).to.include({ reason: "QUESTION_INCOMPLETE" });
      expect(server.seen.metadata).to.have.length(0);
    });
  }
});

describe("an answer to another question", () => {
  const allow = { verdict: VERDICT_ALLOW, allowed: true, auditId: "a" } as const;
  const input = Buffer.from("some input");
  const others: readonly (readonly [string, Partial<Question>, Partial<CheckResponse>])[] = [
    ["another subject", { subject: "ann" }, { subject: "bob" }],
    ["nobody in place of a subject", { subject: "ann" }, { subject: "" }],
    ["another input", { input }, { inputDigest: sha256(Buffer.from("other")) }],
    ["an input where there was none", {}, { inputDigest: sha256(input) }],
  ];
  for (const [what, asked, answered] of others) {
    it(`is a deny: ${what}`, async () => {
      const reply = CheckResponse.fromPartial({ ...allow, ...answered });
      await using server = await startServer({
        ...answering(reply),
        batchCheck: ({ request }, answer) =>
          answer(null, {
            results: request.checks.map(() => ({ outcome: { $case: "decision", value: reply } })),
            sharedProof: undefined,
          }),
        streamChecks: (call) => {
          call.on("data", ({ correlationId }: { correlationId: string }) =>
            call.write({ correlationId, outcome: { $case: "decision", value: reply } }),
          );
          call.on("end", () => call.end());
        },
      });
      using sigil = open(server.target);
      const check = { ...question, ...asked };
      const denied = { allowed: false, reason: "REPLY_CONTRADICTORY" };
      expect(await sigil.check(check)).to.include(denied);
      expect((await deniedBy(sigil.require(check))).decision).to.include(denied);
      const { results } = await sigil.trust.batchCheck({ checks: [check] });
      expect(results[0]?.outcome?.$case === "decision" && results[0].outcome.value).to.include(denied);
      for await (const { outcome } of sigil.trust.streamChecks([{ correlationId: "1", check }]))
        expect(outcome?.$case === "decision" && outcome.value).to.include(denied);
    });
  }

  it("is told from one that spells the subject as the server does", async () => {
    const spellings: readonly (readonly [string, string])[] = [
      ["ann", "ann"],
      ["/ann/", "ann"],
      ["spiffe://sigil.test/ann", "ann"],
      ["r%C3%A9sum%c3%a9", "résumé"],
    ];
    for (const [subject, spelled] of spellings) {
      await using server = await startServer(answering({ ...allow, subject: spelled }));
      using sigil = open(server.target);
      expect(await sigil.require({ ...question, subject })).to.include({ allowed: true });
    }
  });

  it("is told apart in a stream whose questions share an id", async () => {
    const answers = ["bob", "ann"].map((subject) => CheckResponse.fromPartial({ ...allow, subject }));
    await using server = await startServer({
      streamChecks: (call) => {
        call.on("data", () => {});
        call.on("end", () => {
          for (const value of answers)
            call.write({ correlationId: "", outcome: { $case: "decision", value } });
          call.end();
        });
      },
    });
    using sigil = open(server.target);
    const asked = ["ann", "bob"].map((subject) => ({ correlationId: "", check: { ...question, subject } }));
    const allowed: boolean[] = [];
    for await (const { outcome } of sigil.trust.streamChecks(asked))
      allowed.push(outcome?.$case === "decision" && outcome.value.allowed);
    expect(allowed).to.deep.equal([true, true]);
  });
});

describe("a decision", () => {
  const deny = new Decision(CheckResponse.fromPartial({ verdict: VERDICT_DENY, auditId: "a" }));

  it("cannot be turned after it was made", () => {
    expect(() => Object.assign(deny, { allowed: true })).to.throw(TypeError);
    deny.response.allowed = true;
    deny.response.verdict = VERDICT_ALLOW;
    expect(deny.allowed).to.equal(false);
  });

  it("is neither compared nor added up", () => {
    // `deny == true` converts in the same way, and a linter refuses it before that.
    const loose: unknown = deny;
    for (const use of [() => (loose as number) + 1, () => (loose as number) > 0, () => Number(loose)])
      expect(use).to.throw(TypeError, "read its allowed");
  });

  it("is written as proto3 JSON, in texts too", () => {
    const decision = new Decision(decisionFor("read"));
    expect(JSON.parse(JSON.stringify(decision))).to.include({ verdict: "VERDICT_ALLOW", allowed: true });
    const loose: unknown = decision;
    expect(`decided: ${loose as string}`).to.contain('"auditId":"read"');
  });
});

describe("a guarded function", () => {
  it("runs after an allow, with its arguments, and asks each time", async () => {
    const asked: string[] = [];
    await using server = await startServer({
      check: ({ request }, answer) => {
        asked.push(`${request.action} ${request.target} ${request.subject}`);
        answer(null, CheckResponse.fromPartial({ ...decisionFor("x"), subject: request.subject }));
      },
    });
    using sigil = open(server.target);
    const refund = sigil.guard(
      {
        action: "payment.refund",
        target: (payment: string, _cents: number) => `payment/${payment}`,
        subject: async () => "ann",
      },
      (payment, cents) => `${payment}: ${cents}`,
    );
    expect(await refund("7", 100)).to.equal("7: 100");
    expect(await refund("8", 200)).to.equal("8: 200");
    expect(asked).to.deep.equal(["payment.refund payment/7 ann", "payment.refund payment/8 ann"]);
  });

  it("does nothing on a deny, an error, and a part that gives no text", async () => {
    await using denying = await startServer(answering({ verdict: VERDICT_DENY, auditId: "a" }));
    await using allowing = await startServer();
    const ran: string[] = [];
    const nothing = (): string => undefined as unknown as string;
    const throwing = (): string => {
      throw new Error("no user");
    };
    const rules = [
      [denying.target, question],
      ["127.0.0.1:1", question],
      [allowing.target, { ...question, subject: nothing }],
      [allowing.target, { ...question, subject: () => "" }],
      [allowing.target, { ...question, target: nothing }],
      [allowing.target, { ...question, action: throwing }],
      [allowing.target, { ...question, session: async () => throwing() }],
      [allowing.target, { ...question, input: () => throwing() as never }],
    ] as const;
    for (const [target, rule] of rules) {
      using sigil = open(target);
      await deniedBy(sigil.guard(rule, () => ran.push(target))());
    }
    expect(ran).to.deep.equal([]);
    expect(allowing.seen.metadata).to.have.length(0);
  });

  it("is not made without an action, a target or a connection", async () => {
    using sigil = open("127.0.0.1:1");
    const wrong: readonly (readonly [string, object])[] = [
      ["action", {}],
      ["action", { target: "a" }],
      ["action", { ...question, action: "" }],
      ["action", { ...question, action: "  " }],
      ["target", { action: "a" }],
      ["target", { ...question, target: undefined }],
      ["target", { ...question, target: 7 }],
      ["subject", { ...question, subject: undefined }],
      ["subject", { ...question, subject: "" }],
      ["input", { ...question, input: "text" }],
    ];
    for (const [part, rule] of wrong)
      expect(() => sigil.guard(rule as never, () => {}), inspect(rule)).to.throw(TypeError, `needs ${part}`);
  });
});

describe("a token", () => {
  const secret = "eyJ-this-is-a-secret";
  const sources: readonly (readonly [string, () => unknown])[] = [
    ["that no header may hold", () => `${secret}\nmore`],
    ["with a character beyond ASCII", () => `${secret}\u2028`],
    ["that is none", () => undefined],
    ["that is empty", () => ""],
    [
      "whose source throws",
      () => {
        throw new Error("broken");
      },
    ],
    ["whose source rejects", () => Promise.reject(new Error("broken"))],
  ];
  for (const [what, token] of sources) {
    it(`${what} denies, and stands in no error`, async () => {
      await using server = await startServer();
      using sigil = open(server.target, { signer: { token: token as () => string } });
      const error = await deniedBy(sigil.require(question));
      expect(error).to.include({ codeName: "UNAUTHENTICATED", reason: "TOKEN_SOURCE_FAILED" });
      expect(inspect(error, { depth: Infinity, showHidden: true })).not.to.include(secret);
      expect(server.seen.metadata).to.have.length(0);
    });
  }

  it("of a caller's own, which no header may hold, stands in no error", async () => {
    await using server = await startServer();
    using sigil = open(server.target);
    const metadata = { authorization: `Bearer ${secret}\n` };
    const error = await deniedBy(sigil.require(question, { metadata }));
    expect(inspect(error, { depth: Infinity, showHidden: true })).not.to.include(secret);
  });

  it("that never comes denies at the deadline, and by the signal", async () => {
    await using server = await startServer();
    using sigil = open(server.target, { signer: { token: () => new Promise(() => {}) } });
    expect(await deniedBy(sigil.require(question, { deadlineMs: 50 }))).to.include({
      codeName: "DEADLINE_EXCEEDED",
    });
    const stop = new AbortController();
    const denied = deniedBy(sigil.require(question, { signal: stop.signal }));
    await settle(2);
    stop.abort();
    expect(await denied).to.include({ codeName: "CANCELLED" });
  });
});
