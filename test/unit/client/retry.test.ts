/** What the client repeats, what it never does, and what ends the waiting. */
import { Metadata, status as Code, type ServiceError } from "@grpc/grpc-js";
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import {
  connect,
  GetActiveModelResponse,
  SigilError,
  WriteRecordResponse,
  type ConnectOptions,
} from "@sigil/client";
import { ErrorInfo, RetryInfo } from "@sigil/proto/google/rpc/error_details";
import { Status } from "@sigil/proto/google/rpc/status";
import { backOffMs, parseRetry, planRetry, RetryBudget } from "../../../clients/typescript/src/retry/plan.ts";
import { decisionFor, settle, startServer } from "./server.ts";

const failure = (code: number, delaySeconds?: number): Partial<ServiceError> => {
  const metadata = new Metadata();
  const packed = (name: string, value: Uint8Array) => ({
    typeUrl: `type.googleapis.com/google.rpc.${name}`,
    value,
  });
  const details = [packed("ErrorInfo", ErrorInfo.encode(ErrorInfo.fromPartial({ reason: "TEST" })).finish())];
  if (delaySeconds !== undefined) {
    const retryDelay = {
      seconds: BigInt(Math.floor(delaySeconds)),
      nanos: Math.round((delaySeconds % 1) * 1e9),
    };
    details.push(packed("RetryInfo", RetryInfo.encode({ retryDelay }).finish()));
  }
  const status = Status.encode({ code, message: "not now", details }).finish();
  metadata.set("grpc-status-details-bin", Buffer.from(status));
  return { code, details: "not now", metadata };
};

const question = { action: "read", target: "public/docs" };

/** A server that fails the first calls of each method, and what it saw of them. */
const failing = async (failures: readonly Partial<ServiceError>[]) => {
  const keys: string[] = [];
  const calls: string[] = [];
  const answering =
    <Answer>(name: string, answerOf: () => Answer) =>
    (
      { request }: { readonly request: object },
      answer: (error: Partial<ServiceError> | null, value?: Answer) => void,
    ): void => {
      keys.push("idempotencyKey" in request ? String(request.idempotencyKey) : "");
      calls.push(name);
      const error = failures[calls.length - 1];
      if (error === undefined) answer(null, answerOf());
      else answer(error);
    };
  const behaviour = {
    check: answering("check", () => decisionFor("read")),
    batchCheck: answering("batchCheck", () => ({
      results: [{ outcome: { $case: "decision", value: decisionFor("read") } }],
      sharedProof: undefined,
    })),
    writeRecord: answering("writeRecord", () =>
      WriteRecordResponse.fromPartial({ record: { id: "note/1" } }),
    ),
    getActiveModel: answering("getActiveModel", () => GetActiveModelResponse.fromPartial({})),
    attestProposal: answering("attestProposal", () => ({})),
    withdrawProposal: answering("withdrawProposal", () => ({})),
  };
  const server = await startServer(behaviour as never);
  return { server, keys, calls };
};

const quick = { firstDelayMs: 1, delayMsMax: 5 };
const open = (target: string, options: Partial<ConnectOptions> = {}) =>
  connect({ target, tls: "insecure", retry: quick, ...options });

const failureOf = async (work: Promise<unknown>): Promise<SigilError> => {
  const outcome = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (outcome instanceof SigilError) return outcome;
  throw new Error("expected a SigilError");
};

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const away = failure(Code.UNAVAILABLE);

describe("a call that fails while the server is away", () => {
  it("is repeated with one key, which each question has of its own", async () => {
    const { server, keys, calls } = await failing([away, away]);
    await using _ = server;
    using sigil = open(server.target);
    expect(await sigil.trust.check(question)).to.include({ allowed: true });
    await sigil.trust.batchCheck({ checks: [question] });
    await sigil.canon.writeRecord({ id: "note/1", kind: "note" });
    expect(calls).to.deep.equal(["check", "check", "check", "batchCheck", "writeRecord"]);
    expect(keys.every((key) => uuid.test(key))).to.equal(true);
    expect(new Set(keys.slice(0, 3)).size).to.equal(1);
    expect(new Set(keys.slice(2)).size).to.equal(3);
  });

  it("keeps the key that its caller gave", async () => {
    const { server, keys } = await failing([away]);
    await using _ = server;
    using sigil = open(server.target);
    await sigil.trust.check({ ...question, idempotencyKey: "mine" });
    expect(keys).to.deep.equal(["mine", "mine"]);
  });

  it("is repeated without a key where it only reads", async () => {
    const { server, calls } = await failing([away]);
    await using _ = server;
    using sigil = open(server.target);
    await sigil.trust.getActiveModel({});
    expect(calls).to.have.length(2);
  });

  it("is sent once where a second one could do something else", async () => {
    const { server, calls } = await failing([away, away]);
    await using _ = server;
    using sigil = open(server.target);
    expect(await failureOf(sigil.canon.attestProposal({ id: "proposal/1" }))).to.include({
      codeName: "UNAVAILABLE",
    });
    expect(await failureOf(sigil.canon.withdrawProposal({ id: "proposal/1" }))).to.include({
      codeName: "UNAVAILABLE",
    });
    expect(calls).to.deep.equal(["attestProposal", "withdrawProposal"]);
  });

  it("is sent once, without a key, when nothing is to be repeated", async () => {
    const { server, keys } = await failing([away]);
    await using _ = server;
    using sigil = open(server.target, { retry: "none" });
    expect(await failureOf(sigil.trust.check(question))).to.include({ codeName: "UNAVAILABLE" });
    expect(keys).to.deep.equal([""]);
  });

  it("gives up after as many calls as it may make", async () => {
    const { server, calls } = await failing(Array.from({ length: 9 }, () => away));
    await using _ = server;
    using sigil = open(server.target, { retry: { ...quick, attemptsMax: 3 } });
    expect(await failureOf(sigil.trust.check(question))).to.include({
      codeName: "UNAVAILABLE",
      reason: "TEST",
    });
    expect(calls).to.have.length(3);
  });

  it("is no longer repeated once most calls of the connection fail", async () => {
    const { server, calls } = await failing(Array.from({ length: 99 }, () => away));
    await using _ = server;
    using sigil = open(server.target);
    for (let each = 0; each < 10; each += 1) await failureOf(sigil.trust.check(question));
    expect(calls).to.have.length(5 + 9);
  });
});

describe("what ends a call that could be repeated", () => {
  const codes = Object.values(Code).filter(
    (code): code is Code => typeof code === "number" && code !== Code.OK,
  );
  for (const code of codes.filter((each) => each !== Code.UNAVAILABLE)) {
    it(`is ${Code[code]}`, async () => {
      const { server, calls } = await failing([failure(code)]);
      await using _ = server;
      using sigil = open(server.target);
      expect(await failureOf(sigil.trust.check(question))).to.include({ codeName: Code[code] });
      expect(calls).to.have.length(1);
    });
  }

  it("is a delay that the deadline does not leave room for, and its error comes at once", async () => {
    const { server, calls } = await failing([failure(Code.RESOURCE_EXHAUSTED, 3600)]);
    await using _ = server;
    using sigil = open(server.target);
    const error = await failureOf(sigil.trust.check(question));
    expect(error).to.include({ codeName: "RESOURCE_EXHAUSTED", retryDelayMs: 3_600_000 });
    expect(calls).to.have.length(1);
  });

  it("is no delay that the deadline does leave room for, and it is waited", async () => {
    const { server, calls } = await failing([failure(Code.RESOURCE_EXHAUSTED, 0.2)]);
    await using _ = server;
    using sigil = open(server.target, { deadlineMs: 60_000 });
    const before = performance.now();
    await sigil.trust.check(question);
    // Timers may fire a millisecond early.
    expect(performance.now() - before).to.be.greaterThan(198);
    expect(calls).to.have.length(2);
  });

  it("is its caller's signal, between two calls as well", async () => {
    const { server, calls } = await failing([failure(Code.UNAVAILABLE, 3600)]);
    await using _ = server;
    using sigil = open(server.target, { deadlineMs: 7_200_000 });
    const stop = new AbortController();
    const failed = failureOf(sigil.trust.check(question, { signal: stop.signal }));
    while (calls.length === 0) await settle(1);
    await settle();
    stop.abort();
    expect(await failed).to.include({ codeName: "CANCELLED" });
    expect(calls).to.have.length(1);
  });

  it("is the end of its connection", async () => {
    const { server, calls } = await failing([failure(Code.UNAVAILABLE, 3600)]);
    await using _ = server;
    const sigil = open(server.target, { deadlineMs: 7_200_000 });
    const failed = failureOf(sigil.trust.check(question));
    while (calls.length === 0) await settle(1);
    await settle();
    sigil.close();
    expect(await failed).to.include({ codeName: "UNAVAILABLE" });
    expect(calls).to.have.length(1);
  });
});

describe("the plan of repeats", () => {
  it("waits within its bounds, never less than asked, never past the deadline", () => {
    const whole = (max: number) => fc.integer({ min: 1, max });
    fc.assert(
      fc.property(
        fc.record({ firstDelayMs: whole(1_000), delayMsMax: whole(10_000), attemptsMax: whole(9) }),
        whole(12),
        fc.option(fc.integer({ min: 0, max: 20_000 }), { nil: undefined }),
        whole(20_000),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (options, made, retryDelayMs, remainingMs, random) => {
          const error = new SigilError(Code.UNAVAILABLE, "", { retryDelayMs });
          const plan = planRetry(options, { error, made, remainingMs, random });
          if (plan.kind === "giveUp") return;
          expect(made).to.be.below(options.attemptsMax);
          expect(plan.afterMs).to.be.below(remainingMs);
          expect(plan.afterMs).to.be.at.least(retryDelayMs ?? 0);
          expect(plan.afterMs).to.be.at.most(Math.max(retryDelayMs ?? 0, options.delayMsMax));
        },
      ),
    );
  });

  it("doubles from the first delay to the largest", () => {
    const steps = [0, 1, 2, 3, 4, 5].map((doublings) => backOffMs(parseRetry({}), doublings, 0.999_999, 0));
    expect(steps.map(Math.round)).to.deep.equal([100, 200, 400, 800, 1600, 2000]);
  });

  it("refuses options that are no numbers of calls and milliseconds", () => {
    for (const wrong of [{ attemptsMax: 0 }, { firstDelayMs: 0.5 }, { delayMsMax: Number.NaN }]) {
      const [name] = Object.keys(wrong);
      expect(() => connect({ target: "127.0.0.1:1", tls: "insecure", retry: wrong })).to.throw(
        RangeError,
        `retry.${name ?? ""} must`,
      );
    }
  });

  it("has a budget that successes refill", () => {
    const budget = new RetryBudget();
    while (budget.failed());
    for (let each = 0; each < 10; each += 1) budget.succeeded();
    expect(budget.failed()).to.equal(false);
    for (let each = 0; each < 30; each += 1) budget.succeeded();
    expect(budget.failed()).to.equal(true);
  });
});
