/** The wrapper of unary handlers over made-up services: whatever a handler does, the call ends once. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { status as Code, type Metadata } from "@grpc/grpc-js";
import { RecordProof, SigilError } from "@sigil/client";
import { fail } from "../../../src/errors.ts";
import { callsPerTurn } from "../../../src/limits.ts";
import { decide, startFakeServer } from "./fake-server.ts";

const question = { action: "read", target: "public/docs" };

const failure = async (call: Promise<unknown>): Promise<SigilError> => {
  try {
    await call;
  } catch (error) {
    return SigilError.from(error);
  }
  throw new Error("the call succeeded");
};

const never = (): Promise<never> => new Promise(() => {});

describe("unary calls", () => {
  const misbehaving: Readonly<Record<string, () => Promise<never>>> = {
    throws: () => {
      throw new Error("secret cause");
    },
    rejects: () => Promise.reject(new Error("secret cause")),
    "rejects with nothing": () => Promise.reject(),
  };
  for (const [name, check] of Object.entries(misbehaving)) {
    it(`answers INTERNAL with an incident id, and lives, when a service ${name}`, async () => {
      let broken = true;
      await using server = await startFakeServer({
        trust: { check: async (_, asked, call) => (broken ? check() : decide(asked, call)) },
      });
      const error = await failure(server.connection.trust.check(question));
      expect(error.code).to.equal(Code.INTERNAL);
      expect(error.message).not.to.contain("secret cause");
      const incident = error.facts["incident"];
      expect(error.message).to.contain(`incident ${incident}`);
      expect(server.lines.find(({ message }) => message === "unexpected error")?.fields).to.include({
        incident,
      });
      broken = false;
      expect((await server.connection.trust.check(question)).auditId).to.equal("decision");
    });
  }

  it("answers an error when identity fails, and never asks the service", async () => {
    let asked = false;
    await using server = await startFakeServer({
      rpc: {
        identify: async () => fail({ kind: "unauthenticated", reason: "TOKEN_EXPIRED", rule: "it is over" }),
      },
      trust: {
        check: async (_, asking, call) => {
          asked = true;
          return decide(asking, call);
        },
      },
    });
    const error = await failure(server.connection.trust.check(question));
    expect([error.code, error.reason, asked]).to.deep.equal([Code.UNAUTHENTICATED, "TOKEN_EXPIRED", false]);
  });

  it("answers PERMISSION_DENIED with the level needed", async () => {
    await using server = await startFakeServer({
      rpc: { authorize: (_, rpc) => fail({ kind: "levelTooLow", rpc, needed: "root", actual: "guest" }) },
    });
    const error = await failure(server.connection.trust.check(question));
    expect(error.code).to.equal(Code.PERMISSION_DENIED);
    expect(error.facts).to.include({ needed: "root", actual: "guest" });
  });

  it("never begins a call whose caller left before its turn came", async () => {
    const [first, last] = ["first", "last"];
    const asked: string[] = [];
    const left = new AbortController();
    await using server = await startFakeServer({
      trust: {
        check: async (_, question, call) => {
          asked.push(question.session);
          if (question.session === first) left.abort();
          return decide(question, call);
        },
      },
    });
    const { trust } = server.connection;
    await trust.check(question);
    const others = Array.from({ length: 40 * callsPerTurn }, (_, index) =>
      trust.check({ ...question, session: index === 0 ? first : "other" }),
    );
    const gone = failure(trust.check({ ...question, session: last }, { signal: left.signal }));
    expect((await gone).code).to.equal(Code.CANCELLED);
    await Promise.all(others);
    expect(asked).to.include(first).and.not.to.include(last);
  });

  it("cuts a call without a deadline at the default and says so to the service", async () => {
    let deadlineMs = 0;
    let signal: AbortSignal | undefined;
    await using server = await startFakeServer({
      rpc: { deadlines: { deadlineMsDefault: 50, deadlineMsMax: 80 } },
      trust: {
        check: (_, __, call) => {
          ({ deadlineMs, signal } = call);
          return never();
        },
      },
    });
    const error = await failure(
      new Promise((_, reject) => {
        server.connection.stubs.trust.check(
          {
            ...question,
            subject: "",
            session: "",
            input: new Uint8Array(0),
            keepInput: false,
            disclose: false,
            proof: RecordProof.RECORD_PROOF_UNSPECIFIED,
            idempotencyKey: "",
          },
          (cause: unknown) => reject(cause),
        );
      }),
    );
    expect(error.code).to.equal(Code.DEADLINE_EXCEEDED);
    expect(error.requestId).to.equal("id-1");
    expect(deadlineMs).to.equal(50);
    expect(signal?.aborted).to.equal(true);
  });

  it("cuts a deadline above the maximum to the maximum", async () => {
    await using server = await startFakeServer({
      rpc: { deadlines: { deadlineMsDefault: 50, deadlineMsMax: 80 } },
      trust: { check: never },
    });
    const startMs = performance.now();
    // Ten minutes: a call that is not cut to 80 ms outlasts this test.
    const error = await failure(server.connection.trust.check(question, { deadlineMs: 600_000 }));
    expect(error.code).to.equal(Code.DEADLINE_EXCEEDED);
    expect(performance.now() - startMs).to.be.at.least(70);
  });

  it("keeps a shorter deadline of the caller's", async () => {
    let deadlineMs = 0;
    await using server = await startFakeServer({
      trust: {
        check: async (_, asked, call) => {
          ({ deadlineMs } = call);
          return decide(asked, call);
        },
      },
    });
    await server.connection.trust.check(question, { deadlineMs: 400 });
    expect(deadlineMs).to.be.within(1, 400);
  });

  it("tells the service when the caller cancels", async () => {
    const reached = Promise.withResolvers<AbortSignal>();
    await using server = await startFakeServer({
      trust: {
        check: (_, __, { signal }) => {
          reached.resolve(signal);
          return never();
        },
      },
    });
    const leaving = new AbortController();
    const answer = failure(server.connection.trust.check(question, { signal: leaving.signal }));
    const signal = await reached.promise;
    const told = new Promise((resolve) => signal.addEventListener("abort", resolve));
    leaving.abort();
    await told;
    expect((await answer).code).to.equal(Code.CANCELLED);
    expect(server.calls.at(-1)?.code).to.equal(Code.CANCELLED);
  });

  it("does not tell a service that has answered that it was cancelled", async () => {
    let signal: AbortSignal | undefined;
    await using server = await startFakeServer({
      trust: {
        check: async (_, asked, call) => {
          ({ signal } = call);
          return decide(asked, call);
        },
      },
    });
    await server.connection.trust.check(question);
    expect(signal?.aborted).to.equal(false);
    expect(server.calls).to.deep.equal([{ path: "/sigil.trust.v1.TrustService/Check", code: Code.OK }]);
  });

  it("gives a sane request id back in the trailers and hands it to the record with the trace", async () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let seen: object = {};
    await using server = await startFakeServer({
      trust: {
        check: async (_, asked, call) => {
          seen = call.metadata;
          return decide(asked, call);
        },
      },
    });
    let trailers: Metadata | undefined;
    const metadata = { "x-request-id": "order-17", traceparent };
    await server.connection.trust.check(question, { metadata, onTrailers: (given) => (trailers = given) });
    expect(trailers?.get("x-request-id")).to.deep.equal(["order-17"]);
    expect(seen).to.deep.equal({ request_id: "order-17", traceparent });
  });

  it("answers INVALID_ARGUMENT to bytes that are no message", async () => {
    await using server = await startFakeServer({});
    const { stubs } = server.connection;
    const error = await failure(
      new Promise((_, reject) => {
        stubs.trust.makeUnaryRequest(
          "/sigil.trust.v1.TrustService/Check",
          () => Buffer.from([0x0a, 0xff]),
          (bytes) => bytes,
          {},
          (cause: unknown) => reject(cause),
        );
      }),
    );
    expect(error.code).to.equal(Code.INVALID_ARGUMENT);
    expect(error.requestId).to.equal("id-1");
  });

  it("fails an item of a batch alone, in its place, naming the field", async () => {
    await using server = await startFakeServer({});
    const { results } = await server.connection.trust.batchCheck({
      checks: [question, { action: "no spaces", target: "t" }, { action: "write", target: "t" }],
    });
    expect(results.map(({ outcome }) => outcome?.$case)).to.deep.equal(["decision", "error", "decision"]);
    const second = results[1]?.outcome;
    if (second?.$case !== "error") throw new Error("expected an error");
    const [violation] = SigilError.fromStatus(second.value).fieldViolations;
    expect(violation?.field).to.equal("checks[1].action");
  });

  it("fails a batch as a whole when it is empty, too long, or its items have keys", async () => {
    await using server = await startFakeServer({});
    const { trust } = server.connection;
    const many = Array.from({ length: 1001 }, () => question);
    const fields: (string | undefined)[] = [];
    for (const request of [
      { checks: [] },
      { checks: many },
      { checks: [question, { ...question, idempotencyKey: "k" }] },
      { checks: [question], idempotencyKey: "k".repeat(129) },
    ]) {
      fields.push((await failure(trust.batchCheck(request))).fieldViolations[0]?.field);
    }
    expect(fields).to.deep.equal(["checks", "checks", "checks[1].idempotency_key", "idempotency_key"]);
  });

  it("denies what a service left unanswered in a batch", async () => {
    await using server = await startFakeServer({ trust: { batchCheck: async () => [] } });
    const { results } = await server.connection.trust.batchCheck({ checks: [question] });
    expect(results.map(({ outcome }) => outcome?.$case)).to.deep.equal(["error"]);
  });
});
