/**
 * Server streams over made-up services: backpressure, who may go on, a bad end, a vanished caller, a stopping server.
 */
import { expect } from "chai";
import { describe, it } from "mocha";
import { status as Code } from "@grpc/grpc-js";
import { SigilError, type StreamRecordsResponse, type WatchResponse } from "@sigil/client";
import type { WalkContext } from "../../../src/canon/domain.ts";
import type { ExportedRecord, WatchEvent } from "../../../src/canon/domain.ts";
import { anonymous, type Caller } from "../../../src/identity/caller.ts";
import { fail } from "../../../src/errors.ts";
import { startFakeServer } from "./fake-server.ts";
import { recordAt } from "./made-records.ts";

const caller: Caller = {
  ...anonymous,
  principal: "p",
  tenant: "acme",
  level: "observer",
  credential: "token",
};

const exported = (position: number, envelope?: Uint8Array): ExportedRecord => ({
  record: recordAt(BigInt(position), { n: position }, envelope),
  ledgerSize: 100n,
});

async function* many(count: number): AsyncGenerator<ExportedRecord> {
  for (let position = 1; position <= count; position += 1) yield exported(position);
}

const beat: WatchEvent = { kind: "heartbeat", checkpoint: "c", timeMs: 1, next: 5n };

type Ended = { readonly received: number; readonly error: SigilError | undefined };

const endOf = async (messages: AsyncIterable<StreamRecordsResponse | WatchResponse>): Promise<Ended> => {
  let received = 0;
  try {
    for await (const _ of messages) received += 1;
  } catch (error) {
    return { received, error: SigilError.from(error) };
  }
  return { received, error: undefined };
};

const pause = (delayMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delayMs));

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await pause(5);
};

describe("server streams", () => {
  it("send every message in order, count the call and leave nothing under way", async () => {
    await using server = await startFakeServer({ records: { stream: () => many(300) } });
    const versions: bigint[] = [];
    for await (const { record, ledgerSize } of server.connection.canon.streamRecords({})) {
      expect(ledgerSize).to.equal(100n);
      versions.push(record?.version ?? 0n);
    }
    expect(versions).to.deep.equal(Array.from({ length: 300 }, (_, index) => BigInt(index + 1)));
    expect(server.calls).to.deep.equal([
      { path: "/sigil.canon.v1.CanonService/StreamRecords", code: Code.OK },
    ]);
    expect(server.underWay.count).to.equal(0);
  });

  it("take no message while the caller does not read", async () => {
    let taken = 0;
    let live = 0;
    let liveMost = 0;
    const large = new Uint8Array(64 << 10);
    async function* endless(): AsyncGenerator<ExportedRecord> {
      for (;;) {
        taken += 1;
        live += 1;
        liveMost = Math.max(liveMost, live);
        // Lets the event loop turn, so that a stream that takes without end is seen to.
        await pause(0);
        yield exported(taken, large);
        // Asked for the next one: the last has left for the socket.
        live -= 1;
      }
    }
    await using server = await startFakeServer({ records: { stream: endless } });
    const messages = server.connection.canon.streamRecords({});
    await messages.next();
    // Until nothing has been taken for so many turns of the event loop that both sides share, or far too much was.
    for (let [seen, quiet] = [0, 0]; quiet < 100 && taken < 100; quiet += 1) {
      await pause(5);
      if (taken !== seen) [seen, quiet] = [taken, 0];
    }
    // What the client's own buffer and the connection's windows take, and no more.
    expect(taken).to.be.lessThan(100);
    expect(liveMost).to.equal(1);
    await messages.return();
    await until(() => server.underWay.count === 0);
  });

  it("end with the status of what is thrown between messages, after those before it", async () => {
    async function* breaking(): AsyncGenerator<ExportedRecord> {
      yield* many(2);
      fail({ kind: "recordCorrupt", position: 3n, step: "hash", rule: "differs" });
    }
    await using server = await startFakeServer({ records: { stream: breaking } });
    const { received, error } = await endOf(server.connection.canon.streamRecords({}));
    expect([received, error?.code, error?.reason]).to.deep.equal([2, Code.DATA_LOSS, "RECORD_CORRUPT"]);
    expect(error?.facts["position"]).to.equal("3");
    expect(server.underWay.count).to.equal(0);
  });

  it("hide what is not in the union behind an incident", async () => {
    await using server = await startFakeServer({
      records: {
        stream: () => {
          throw new Error("hunter2");
        },
      },
    });
    const { error } = await endOf(server.connection.canon.streamRecords({}));
    expect([error?.code, error?.reason]).to.deep.equal([Code.INTERNAL, "INTERNAL"]);
    expect(error?.message).not.to.contain("hunter2");
  });

  it("refuse a field before the first message, by name", async () => {
    await using server = await startFakeServer({});
    const { received, error } = await endOf(server.connection.canon.streamRecords({ afterId: "a//b" }));
    expect([received, error?.code]).to.deep.equal([0, Code.INVALID_ARGUMENT]);
    expect(error?.fieldViolations[0]?.field).to.equal("after_id");
  });

  it("end before the first message for a caller who may not", async () => {
    let isAsked = false;
    await using server = await startFakeServer({
      rpc: { authorize: (_, rpc) => fail({ kind: "levelTooLow", rpc, needed: "observer", actual: "guest" }) },
      records: {
        stream: () => {
          isAsked = true;
          return many(1);
        },
      },
    });
    const { received, error } = await endOf(server.connection.canon.streamRecords({}));
    expect([received, error?.code, isAsked]).to.deep.equal([0, Code.PERMISSION_DENIED, false]);
  });

  /** A watch during which the caller becomes somebody else. */
  const changing = async (changed: () => Caller): Promise<Ended & { readonly isClosed: boolean }> => {
    let isChanged = false;
    let isClosed = false;
    const seen = Promise.withResolvers<void>();
    async function* events(): AsyncGenerator<WatchEvent> {
      try {
        yield beat;
        await seen.promise;
        isChanged = true;
        for (;;) yield beat;
      } finally {
        isClosed = true;
      }
    }
    await using server = await startFakeServer({
      rpc: { identify: async () => (isChanged ? changed() : caller) },
      records: { watch: events },
    });
    const messages = server.connection.canon.watch({});
    await messages.next();
    seen.resolve();
    const ended = await endOf(messages);
    await until(() => server.underWay.count === 0);
    return { ...ended, isClosed };
  };

  it("send nothing more once the token has expired or the principal is revoked", async () => {
    const gone = await changing(() =>
      fail({ kind: "unauthenticated", reason: "TOKEN_EXPIRED", rule: "expired" }),
    );
    expect([gone.received, gone.error?.reason, gone.isClosed]).to.deep.equal([0, "TOKEN_EXPIRED", true]);
  });

  it("send nothing more once the principal has another level or tenant", async () => {
    for (const change of [{ level: "guest" }, { tenant: "other" }, { principal: "q" }] as const) {
      const { received, error } = await changing(() => ({ ...caller, ...change }));
      expect([received, error?.code], JSON.stringify(change)).to.deep.equal([0, Code.UNAUTHENTICATED]);
    }
  });

  /** A watch that beats once and then waits for its signal. */
  const waiting = (state: { isAborted: boolean; isClosed: boolean }) =>
    async function* (_: unknown, __: unknown, { signal }: WalkContext): AsyncGenerator<WatchEvent> {
      try {
        yield beat;
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
        state.isAborted = true;
      } finally {
        state.isClosed = true;
      }
    };

  it("abort and close their source when the caller goes away", async () => {
    const state = { isAborted: false, isClosed: false };
    await using server = await startFakeServer({ records: { watch: waiting(state) } });
    for await (const _ of server.connection.canon.watch({})) break;
    await until(() => state.isClosed);
    await until(() => server.underWay.count === 0);
    expect(state.isAborted).to.equal(true);
    expect(server.calls.at(-1)?.code).to.equal(Code.CANCELLED);
  });

  it("are over for the server when the caller goes away, even if their source never answers", async () => {
    await using server = await startFakeServer({
      records: {
        watch: () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }),
      },
    });
    const leaving = new AbortController();
    const ended = endOf(server.connection.canon.watch({}, { signal: leaving.signal }));
    await until(() => server.underWay.count === 1);
    leaving.abort();
    await ended;
    await until(() => server.underWay.count === 0);
  });

  it("end at the caller's deadline, and live on past the default one", async () => {
    const state = { isAborted: false, isClosed: false };
    // The server's clock is ahead, so that it is the server that finds the deadline passed and not the caller.
    const nowMs = (): number => Date.now() + 2000;
    await using server = await startFakeServer({
      rpc: { deadlines: { deadlineMsDefault: 10, deadlineMsMax: 20 }, nowMs },
      records: { watch: waiting(state) },
    });
    const startMs = performance.now();
    const { received, error } = await endOf(server.connection.canon.watch({}, { deadlineMs: 2300 }));
    expect(performance.now() - startMs).to.be.greaterThan(140);
    expect([received, error?.code]).to.deep.equal([1, Code.DEADLINE_EXCEEDED]);
    await until(() => server.underWay.count === 0);
    expect(server.calls.at(-1)?.code).to.equal(Code.DEADLINE_EXCEEDED);
    expect(state.isAborted).to.equal(true);
  });

  it("end with UNAVAILABLE when the server stops, and hold up no stop", async () => {
    const state = { isAborted: false, isClosed: false };
    // A stop that takes what it has for calls outlasts this test.
    await using server = await startFakeServer({ drainMs: 600_000, records: { watch: waiting(state) } });
    const messages = server.connection.canon.watch({});
    expect((await messages.next()).done).to.equal(false);
    await server.close();
    const { received, error } = await endOf(messages);
    expect([received, error?.code, error?.reason]).to.deep.equal([0, Code.UNAVAILABLE, "NOT_SERVING"]);
    expect([state.isAborted, server.underWay.count]).to.deep.equal([true, 0]);
  });

  it("answer a request that is no protobuf like any bad field", async () => {
    await using server = await startFakeServer({});
    const call = server.connection.stubs.canon.makeServerStreamRequest(
      "/sigil.canon.v1.CanonService/Watch",
      () => Buffer.from([0x0a, 0xff]),
      (bytes) => bytes,
      {},
    );
    const error = await new Promise<SigilError>((resolve) => {
      call.on("error", (thrown) => resolve(SigilError.from(thrown)));
      call.on("data", () => {});
    });
    expect([error.code, error.reason]).to.deep.equal([Code.INVALID_ARGUMENT, "INVALID_FIELD"]);
  });
});
