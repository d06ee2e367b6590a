/** A server that lies: no method of the client, no stub and no command allows by a reply that contradicts itself. */
import { Readable } from "node:stream";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { describe, it } from "mocha";
import {
  CheckRequest,
  CheckResponse,
  connect,
  SigilError,
  SimulateResponse,
  StepOutcome,
  Verdict,
  VerifyFrozenChainResponse,
  WriteRecordResponse,
  type trustV1,
  type BatchCheckResult,
  type SigilConnection,
} from "@sigil/client";
import { runCommandLine } from "../../../src/cli/command-line.ts";
import { honest, lies, nothingElse } from "../../faulty/lies.ts";
import { always, startServer, type Behaviour } from "./server.ts";

const question = { action: "write", target: "user/notes" };

const decisionOf = (outcome: BatchCheckResult["outcome"]): CheckResponse => {
  if (outcome?.$case !== "decision") throw new Error("expected a decision");
  return outcome.value;
};

/** The same question by every way there is. */
const ways: Readonly<Record<string, (sigil: SigilConnection) => Promise<CheckResponse>>> = {
  check: ({ trust }) => trust.check(question),
  batchCheck: async ({ trust }) =>
    decisionOf((await trust.batchCheck({ checks: [question] })).results[0]?.outcome),
  streamChecks: async ({ trust }) => {
    for await (const { outcome } of trust.streamChecks([{ correlationId: "1", check: question }])) {
      return decisionOf(outcome);
    }
    throw new Error("expected an answer");
  },
  "the generated stub": ({ stubs }) =>
    new Promise((resolve, reject) => {
      stubs.trust.check(CheckRequest.fromPartial(question), (error, reply) =>
        error === null ? resolve(reply) : reject(error),
      );
    }),
};

const failureOf = async (work: Promise<unknown>): Promise<SigilError> => {
  try {
    await work;
  } catch (error) {
    if (error instanceof SigilError) return error;
    throw error;
  }
  throw new Error("expected a SigilError");
};

const run = async (words: readonly string[]) => {
  const printed: string[] = [];
  const exitCode = await runCommandLine(words, {
    environment: {},
    input: Readable.from([]),
    print: (text) => void printed.push(text),
    printBytes: () => {},
    note: (text) => void printed.push(text),
    progress: () => {},
    paint: (_style, text) => text,
  });
  return { exitCode, output: printed.join("\n") };
};

describe("a server that lies about a decision", () => {
  for (const [what, lie] of lies) {
    it(`allows nothing by ${what}`, async () => {
      await using server = await startServer(always({ ...honest, ...lie }));
      using sigil = connect({ target: server.target, tls: "insecure" });
      for (const [way, ask] of Object.entries(ways)) {
        const answer = await ask(sigil);
        expect(answer, way).to.include({
          allowed: false,
          verdict: Verdict.VERDICT_DENY,
          reason: "REPLY_CONTRADICTORY",
        });
      }
      const words = ["check", "--action", "write", "--target", "user/notes", "--server", server.target];
      expect(await run(words)).to.include({ exitCode: 1 });
      const { exitCode, output } = await run([...words, "--json"]);
      expect(exitCode).to.equal(1);
      expect(JSON.parse(output)).to.include({ verdict: "VERDICT_DENY" }).and.not.have.property("allowed");
    });
  }

  it("is believed where it tells the truth", async () => {
    const review = { verdict: Verdict.VERDICT_REVIEW, allowed: false, reason: "REVIEW_BAND" } as const;
    const deny = { verdict: Verdict.VERDICT_DENY, allowed: false, reason: "EVALUATOR_ERROR" } as const;
    const atThreshold = { ...nothingElse, score: 0.5, threshold: 0.5, z: 0 };
    const rounded = { ...nothingElse, score: 1, threshold: 0.999, z: 40 };
    for (const truth of [
      {},
      review,
      { ...nothingElse, ...deny, auditId: "" },
      nothingElse,
      atThreshold,
      rounded,
    ]) {
      const reply = { ...honest, ...truth };
      await using server = await startServer(always(reply));
      using sigil = connect({ target: server.target, tls: "insecure" });
      for (const [way, ask] of Object.entries(ways)) {
        const { verdict, allowed, reason } = await ask(sigil);
        expect({ verdict, allowed, reason }, way).to.deep.equal({
          verdict: reply.verdict,
          allowed: reply.allowed,
          reason: reply.reason,
        });
      }
    }
  });
});

const failed = (code: number) => ({ code, message: "m", details: [] });

describe("a server that lies about a batch", () => {
  const decision = { outcome: { $case: "decision", value: honest } } as const;

  for (const count of [0, 2, 3]) {
    it(`gives no answer when ${count} results come for a batch of one`, async () => {
      const results = Array.from({ length: count }, () => decision);
      await using server = await startServer({
        batchCheck: (_call, answer) => answer(null, { results, sharedProof: undefined }),
      });
      using sigil = connect({ target: server.target, tls: "insecure" });
      const error = await failureOf(sigil.trust.batchCheck({ checks: [question] }));
      expect(error).to.include({ codeName: "INTERNAL", reason: "REPLY_CONTRADICTORY" });
    });
  }

  it("makes a failure of an item that holds nothing, or an error that is none", async () => {
    const results: BatchCheckResult[] = [
      { outcome: undefined },
      { outcome: { $case: "error", value: failed(Code.OK) } },
      { outcome: { $case: "error", value: failed(Code.ABORTED) } },
    ];
    await using server = await startServer({
      batchCheck: (_call, answer) => answer(null, { results, sharedProof: undefined }),
      streamChecks: (call) => {
        call.on("data", ({ correlationId }: { correlationId: string }) =>
          call.write({ correlationId, outcome: results[Number(correlationId)]?.outcome }),
        );
        call.on("end", () => call.end());
      },
    });
    using sigil = connect({ target: server.target, tls: "insecure" });
    const codes: (string | undefined)[] = [];
    const codeOf = (outcome: BatchCheckResult["outcome"]) =>
      outcome?.$case === "error" ? SigilError.fromStatus(outcome.value).codeName : undefined;
    const batch = await sigil.trust.batchCheck({ checks: [question, question, question] });
    for (const { outcome } of batch.results) codes.push(codeOf(outcome));
    const questions = ["0", "1", "2"].map((correlationId) => ({ correlationId, check: question }));
    for await (const { outcome } of sigil.trust.streamChecks(questions)) codes.push(codeOf(outcome));
    expect(codes).to.deep.equal(["INTERNAL", "INTERNAL", "ABORTED", "INTERNAL", "INTERNAL", "ABORTED"]);
  });

  it("gives no answer when other records were written than were meant", async () => {
    const written = (...ids: readonly string[]) =>
      ids.map((id) => WriteRecordResponse.fromPartial({ record: { id } }));
    let reply = written("note/b");
    await using server = await startServer({
      writeRecord: (_call, answer) => answer(null, reply[0]),
      batchWriteRecords: (_call, answer) => answer(null, { results: reply }),
    });
    using sigil = connect({ target: server.target, tls: "insecure" });
    const write = { id: "note/a", content: { $case: "payloadJson", value: "{}" } } as const;
    const lying = "REPLY_CONTRADICTORY";
    expect((await failureOf(sigil.canon.writeRecord(write))).reason).to.equal(lying);
    for (const wrong of [
      written("note/b"),
      written(),
      written("note/a", "note/a"),
      [WriteRecordResponse.fromPartial({})],
    ]) {
      reply = wrong;
      expect((await failureOf(sigil.canon.batchWriteRecords({ writes: [write] }))).reason).to.equal(lying);
    }
    reply = written("note/a");
    expect((await sigil.canon.batchWriteRecords({ writes: [write] })).results).to.have.length(1);
  });
});

describe("a server that lies on a stream", () => {
  const answering = (ids: readonly string[]): Behaviour => ({
    streamChecks: (call) => {
      call.once("data", () => {
        for (const correlationId of ids) {
          call.write({ correlationId, outcome: { $case: "decision", value: honest } });
        }
        call.end();
      });
      call.on("error", () => {});
    },
  });

  for (const [what, ids] of [
    ["a question that nobody asked", ["2"]],
    ["a question twice", ["1", "1"]],
    ["no question by name", [""]],
  ] as const) {
    it(`is left when it answers ${what}`, async () => {
      await using server = await startServer(answering(ids));
      using sigil = connect({ target: server.target, tls: "insecure" });
      const seen: string[] = [];
      const error = await failureOf(
        (async () => {
          const asked = [{ correlationId: "1", check: question }];
          for await (const { correlationId } of sigil.trust.streamChecks(asked)) seen.push(correlationId);
        })(),
      );
      expect(error.reason).to.equal("REPLY_CONTRADICTORY");
      expect(seen).to.deep.equal(ids.slice(0, ids.length - 1));
    });
  }

  it("may answer the same id as often as it was asked, and refuse one it does not give back", async () => {
    await using server = await startServer({
      streamChecks: (call) => {
        call.on("data", ({ correlationId }: { correlationId: string }) =>
          call.write(
            correlationId.length > 128
              ? { correlationId: "", outcome: { $case: "error", value: failed(Code.INVALID_ARGUMENT) } }
              : { correlationId, outcome: { $case: "decision", value: honest } },
          ),
        );
        call.on("end", () => call.end());
      },
    });
    using sigil = connect({ target: server.target, tls: "insecure" });
    const ids = ["1", "x".repeat(129), "1", "1"];
    const seen: string[] = [];
    const asked = ids.map((correlationId) => ({ correlationId, check: question }));
    for await (const { correlationId } of sigil.trust.streamChecks(asked)) seen.push(correlationId);
    expect(seen).to.deep.equal(["1", "", "1", "1"]);
  });
});

describe("a server that lies about what it worked out", () => {
  const { VERDICT_ALLOW, VERDICT_DENY } = Verdict;
  const flip = { current: VERDICT_ALLOW, candidate: VERDICT_DENY };

  const simulations: readonly (readonly [what: string, reply: trustV1.DeepPartial<SimulateResponse>])[] = [
    ["more flips than decisions", { scored: 1, flipped: 2 }],
    ["flips that it does not count", { scored: 2, flipped: 0, decisions: [flip] }],
    [
      "more decisions than it scored",
      { scored: 1, flipped: 1, decisions: [flip, { ...flip, current: VERDICT_DENY }] },
    ],
    [
      "a verdict that is not known",
      { scored: 1, flipped: 1, decisions: [{ ...flip, candidate: 7 as never }] },
    ],
    ["a score that is NaN", { scored: 1, flipped: 1, decisions: [{ ...flip, candidateScore: Number.NaN }] }],
  ];
  for (const [what, reply] of simulations) {
    it(`gives no simulation with ${what}`, async () => {
      await using server = await startServer({
        simulate: (_call, answer) => answer(null, SimulateResponse.fromPartial(reply)),
      });
      using sigil = connect({ target: server.target, tls: "insecure" });
      expect((await failureOf(sigil.trust.simulate({}))).reason).to.equal("REPLY_CONTRADICTORY");
      const words = [
        "simulate",
        "--proposal",
        "0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11",
        "--server",
        server.target,
      ];
      expect(await run(words)).to.include({ exitCode: 2 });
    });
  }

  const passed = { name: "hash", outcome: StepOutcome.STEP_OUTCOME_PASSED };
  for (const [what, steps] of [
    ["a step failed", [passed, { name: "key", outcome: StepOutcome.STEP_OUTCOME_FAILED }]],
    ["a step was skipped", [passed, { name: "key", outcome: StepOutcome.STEP_OUTCOME_SKIPPED }]],
    ["what came of a step is not known", [passed, { name: "key", outcome: 9 as never }]],
    ["there were no steps", []],
  ] as const) {
    it(`is not verified when ${what}`, async () => {
      await using server = await startServer({
        verifyFrozenChain: (_call, answer) =>
          answer(null, VerifyFrozenChainResponse.fromPartial({ verified: true, steps: [...steps] })),
      });
      using sigil = connect({ target: server.target, tls: "insecure" });
      expect((await sigil.audit.verifyFrozenChain({ auditId: "a" })).verified).to.equal(false);
      expect(await run(["audit", "verify", "a", "--server", server.target])).to.include({ exitCode: 1 });
    });
  }
});
