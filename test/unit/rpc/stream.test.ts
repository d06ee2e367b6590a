/** StreamChecks over made-up services: backpressure, order, a bad item, a vanished caller. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { status as Code } from "@grpc/grpc-js";
import { SigilError, type StreamChecksResponse } from "@sigil/client";
import { fail } from "../../../src/errors.ts";
import { streamInFlightMax } from "../../../src/limits.ts";
import { decide, startFakeServer } from "./fake-server.ts";

const check = { action: "read", target: "public/docs" };

const all = async (
  answers: AsyncIterable<StreamChecksResponse>,
): Promise<readonly StreamChecksResponse[]> => {
  const collected: StreamChecksResponse[] = [];
  for await (const answer of answers) collected.push(answer);
  return collected;
};

const failure = async (answers: AsyncIterable<StreamChecksResponse>): Promise<SigilError> => {
  try {
    await all(answers);
  } catch (error) {
    return SigilError.from(error);
  }
  throw new Error("the stream succeeded");
};

describe("streams of checks", () => {
  it("answers each question with its correlation id, as the answers come", async () => {
    const slow = Promise.withResolvers<void>();
    await using server = await startFakeServer({
      trust: {
        check: async (_, question, call) => {
          if (question.target === "slow") await slow.promise;
          else slow.resolve();
          return decide(question, call);
        },
      },
    });
    const answers = await all(
      server.connection.trust.streamChecks([
        { correlationId: "slow", check: { ...check, target: "slow" } },
        { correlationId: "fast", check },
      ]),
    );
    expect(answers.map(({ correlationId }) => correlationId)).to.deep.equal(["fast", "slow"]);
  });

  it("answers a bad question with its status and goes on", async () => {
    await using server = await startFakeServer({
      trust: {
        check: async (_, question, call) => {
          if (question.target === "broken") throw new Error("cause");
          return decide(question, call);
        },
      },
    });
    const answers = await all(
      server.connection.trust.streamChecks([
        { correlationId: "a" },
        { correlationId: "b", check: { action: "", target: "t" } },
        { correlationId: "c", check: { ...check, target: "broken" } },
        { correlationId: "d", check },
      ]),
    );
    const outcomes = new Map(answers.map(({ correlationId, outcome }) => [correlationId, outcome]));
    const codes = ["a", "b", "c", "d"].map((id) => {
      const outcome = outcomes.get(id);
      return outcome?.$case === "error" ? outcome.value.code : outcome?.$case;
    });
    expect(codes).to.deep.equal([Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT, Code.INTERNAL, "decision"]);
    const named = outcomes.get("b");
    if (named?.$case !== "error") throw new Error("expected an error");
    expect(SigilError.fromStatus(named.value).fieldViolations[0]?.field).to.equal("check.action");
  });

  it("stops reading while 64 are under way", async () => {
    const gate = Promise.withResolvers<void>();
    let started = 0;
    await using server = await startFakeServer({
      trust: {
        check: async (_, question, call) => {
          started += 1;
          await gate.promise;
          return decide(question, call);
        },
      },
    });
    const questions = Array.from({ length: 500 }, (_, index) => ({ correlationId: String(index), check }));
    const answers = all(server.connection.trust.streamChecks(questions));
    while (started < streamInFlightMax) await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(started).to.equal(streamInFlightMax);
    gate.resolve();
    expect((await answers).length).to.equal(500);
  });

  it("gives a question that is never answered up at the deadline, and only that one", async () => {
    await using server = await startFakeServer({
      rpc: { deadlines: { deadlineMsDefault: 1000, deadlineMsMax: 1000 } },
      trust: {
        check: (_, question, call) =>
          question.target === "hang" ? new Promise(() => {}) : Promise.resolve(decide(question, call)),
      },
    });
    const answers = await all(
      server.connection.trust.streamChecks([
        { correlationId: "hang", check: { ...check, target: "hang" } },
        { correlationId: "ok", check },
      ]),
    );
    const [ok, hung] = answers;
    expect([ok?.correlationId, ok?.outcome?.$case]).to.deep.equal(["ok", "decision"]);
    expect(hung?.outcome?.$case === "error" && hung.outcome.value.code).to.equal(Code.DEADLINE_EXCEEDED);
  });

  it("ends at once for a caller whose credentials do not hold", async () => {
    await using server = await startFakeServer({
      rpc: { identify: async () => fail({ kind: "unauthenticated", reason: "TOKEN_SIGNATURE", rule: "no" }) },
    });
    const error = await failure(server.connection.trust.streamChecks([{ check }]));
    expect([error.code, error.reason]).to.deep.equal([Code.UNAUTHENTICATED, "TOKEN_SIGNATURE"]);
  });

  it("asks again who the caller is for every question", async () => {
    let revoked = false;
    await using server = await startFakeServer({
      rpc: {
        identify: async () =>
          revoked
            ? fail({ kind: "unauthenticated", reason: "PRINCIPAL_REVOKED", rule: "gone" })
            : { principal: "p", tenant: "t", level: "guest", credential: "token", peer: "" },
      },
    });
    const answered = Promise.withResolvers<void>();
    async function* questions() {
      yield { correlationId: "before", check };
      await answered.promise;
      revoked = true;
      yield { correlationId: "after", check };
    }
    const outcomes: (string | undefined)[] = [];
    for await (const { outcome } of server.connection.trust.streamChecks(questions())) {
      outcomes.push(outcome?.$case);
      answered.resolve();
    }
    expect(outcomes).to.deep.equal(["decision", "error"]);
  });

  it("finishes what is under way and then ends with UNAVAILABLE when the server stops", async () => {
    const reached = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    await using server = await startFakeServer({
      drainMs: 3000,
      trust: {
        check: async (_, question, call) => {
          reached.resolve();
          await gate.promise;
          return decide(question, call);
        },
      },
    });
    const open = Promise.withResolvers<void>();
    async function* questions() {
      yield { correlationId: "1", check };
      await open.promise;
    }
    const received: string[] = [];
    const ended = (async () => {
      for await (const { correlationId } of server.connection.trust.streamChecks(questions())) {
        received.push(correlationId);
      }
    })().catch(SigilError.from);
    await reached.promise;
    const closing = server.close();
    gate.resolve();
    const error = await ended;
    open.resolve();
    await closing;
    expect(received).to.deep.equal(["1"]);
    expect(error instanceof SigilError && error.code).to.equal(Code.UNAVAILABLE);
    expect(server.underWay.count).to.equal(0);
  });

  it("leaves nothing under way when the caller goes away", async () => {
    await using server = await startFakeServer({ trust: { check: () => new Promise(() => {}) } });
    const leaving = new AbortController();
    const answers = failure(server.connection.trust.streamChecks([{ check }], { signal: leaving.signal }));
    while (server.underWay.count === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    leaving.abort();
    await answers;
    while (server.underWay.count > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(server.calls.at(-1)?.code).to.equal(Code.CANCELLED);
  });
});
