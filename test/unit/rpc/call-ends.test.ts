/** How calls end, as the log and the metrics have it, bidirectional streams first: a broken one is never OK. */
import { EventEmitter } from "node:events";
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import { setTimeout as pause } from "node:timers/promises";
import { expect } from "chai";
import { describe, it } from "mocha";
import { Metadata, status as Code } from "@grpc/grpc-js";
import { ProposeModuleResponse } from "../../../generated/src/sigil/module/v1/module.ts";
import { CheckRequest, StreamChecksRequest } from "../../../generated/src/sigil/trust/v1/trust.ts";
import type { ExportedRecord } from "../../../src/canon/domain.ts";
import { Call, callersTime } from "../../../src/rpc/call/call.ts";
import type { RpcEnvironment } from "../../../src/rpc/call/environment.ts";
import { Pacing } from "../../../src/rpc/call/pacing.ts";
import { CallsUnderWay } from "../../../src/rpc/call/underway.ts";
import type { TrustService } from "../../../src/trust/service.ts";
import { decide, startFakeServer, uploadPath, type FakeServer } from "./fake-server.ts";
import { recordAt } from "./made-records.ts";

const path = "/sigil.trust.v1.TrustService/StreamChecks";

const framed = (bytes: Uint8Array): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
};

const check = { action: "read", target: "public/docs" };

const question = (): Buffer => {
  return framed(
    StreamChecksRequest.encode(StreamChecksRequest.fromPartial({ correlationId: "1", check })).finish(),
  );
};

type Caller = { readonly session: ClientHttp2Session; readonly stream: ClientHttp2Stream };

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await pause(5);
};

const open = (
  server: FakeServer,
  headers: Readonly<Record<string, string>> = {},
  windowBytes = 65_535,
): Caller => {
  const session = connect(`http://${server.target}`, { settings: { initialWindowSize: windowBytes } });
  session.on("error", () => {});
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  stream.on("error", () => {});
  return { session, stream };
};

/** The only end of the only call: its code in the metrics and in the log. */
const ended = async (server: FakeServer): Promise<readonly (string | number | undefined)[]> => {
  await until(() => server.calls.length > 0 && server.underWay.count === 0);
  // Whatever else would come comes in the turns after.
  await pause(20);
  expect(server.calls.length).to.equal(1);
  expect(server.bounds.streams.taken).to.equal(0);
  const lines = server.lines.filter(({ fields }) => "rpc" in fields && "code" in fields);
  return [server.calls[0]?.code, ...lines.map(({ fields }) => (fields as { code: string }).code)];
};

const withoutError = "resets it without an error";

const readAll = async (requests: AsyncIterable<unknown>, seen = (): void => {}): Promise<void> => {
  for await (const _ of requests) seen();
};

type Check = TrustService["check"];
const hanging: Check = () => new Promise(() => {});
const deciding: Check = async (_, asked, call) => decide(asked, call);

const resets: Readonly<Record<string, (caller: Caller) => void>> = {
  "resets it": ({ stream }) => stream.close(constants.NGHTTP2_CANCEL),
  [withoutError]: ({ stream }) => stream.close(constants.NGHTTP2_NO_ERROR),
  "loses its connection": ({ session }) => session.destroy(),
  "has its socket destroyed": ({ session }) => session.socket.destroy(),
};

describe("the end of a stream of checks", () => {
  for (const [how, leave] of Object.entries(resets)) {
    // Node half-closes before it resets without an error: that stream is whole, and was answered.
    if (how !== withoutError)
      it(`is CANCELLED for a caller that ${how} before it asks`, async () => {
        let isOpen = false;
        await using server = await startFakeServer({
          rpc: { authorize: () => void (isOpen = true) },
        });
        const caller = open(server);
        await until(() => isOpen);
        await pause(20);
        leave(caller);
        expect(await ended(server)).to.deep.equal([Code.CANCELLED, "CANCELLED"]);
        caller.session.destroy();
      });

    it(`is CANCELLED for a caller that ${how} while it is asked`, async () => {
      for (const isHalfClosed of [false, true]) {
        const reached = Promise.withResolvers<void>();
        await using server = await startFakeServer({
          trust: {
            check: (...asked) => {
              reached.resolve();
              return hanging(...asked);
            },
          },
        });
        const caller = open(server);
        caller.stream.write(question());
        if (isHalfClosed) caller.stream.end();
        await reached.promise;
        leave(caller);
        expect(await ended(server), String(isHalfClosed)).to.deep.equal([Code.CANCELLED, "CANCELLED"]);
        caller.session.destroy();
      }
    });

    it(`is CANCELLED for a caller that ${how} with answers that it did not read`, async () => {
      for (const isHalfClosed of [false, true]) {
        const answered = Promise.withResolvers<void>();
        await using server = await startFakeServer({
          trust: {
            check: async (...asked) => {
              answered.resolve();
              return deciding(...asked);
            },
          },
        });
        const caller = open(server, {}, 0);
        caller.stream.write(question());
        if (isHalfClosed) caller.stream.end();
        await answered.promise;
        await pause(20);
        expect(server.calls).to.deep.equal([]);
        leave(caller);
        expect(await ended(server), String(isHalfClosed)).to.deep.equal([Code.CANCELLED, "CANCELLED"]);
        caller.session.destroy();
      }
    });
  }

  it("is DEADLINE_EXCEEDED at the caller's deadline, whoever watches it and whether or not it reads", async () => {
    for (const reads of [true, false]) {
      await using server = await startFakeServer({ trust: { check: hanging } });
      const caller = open(server, { "grpc-timeout": "80m" });
      if (reads) caller.stream.resume();
      caller.stream.end(question());
      expect(await ended(server), String(reads)).to.deep.equal([Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"]);
      caller.session.destroy();
    }
  });

  it("is DEADLINE_EXCEEDED with answers that were not read", async () => {
    await using server = await startFakeServer({});
    const caller = open(server, { "grpc-timeout": "300m" }, 0);
    caller.stream.end(question());
    expect(await ended(server)).to.deep.equal([Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"]);
    caller.session.destroy();
  });

  it("is INTERNAL when an answer cannot be sent", async () => {
    await using server = await startFakeServer({
      trust: {
        check: async (_, asked, call) => ({
          ...decide(asked, call),
          position: "7" as unknown as bigint,
        }),
      },
    });
    const caller = open(server);
    caller.stream.resume();
    caller.stream.end(question());
    expect(await ended(server)).to.deep.equal([Code.INTERNAL, "INTERNAL"]);
    caller.session.destroy();
  });

  it("is RESOURCE_EXHAUSTED when grpc-js refuses a message for its length", async () => {
    await using server = await startFakeServer({});
    const caller = open(server);
    caller.stream.resume();
    const head = Buffer.alloc(5);
    head.writeUInt32BE(2 ** 31, 1);
    caller.stream.write(head);
    expect(await ended(server)).to.deep.equal([Code.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"]);
    caller.session.destroy();
  });

  it("is INTERNAL when a handler throws where no message can say so", async () => {
    let isBroken = false;
    await using server = await startFakeServer({
      rpc: {
        newId: () => {
          if (isBroken) {
            isBroken = false;
            throw new Error("no more ids");
          }
          return "id";
        },
      },
      trust: {
        check: async () => {
          isBroken = true;
          throw new Error("cause");
        },
      },
    });
    const caller = open(server);
    caller.stream.resume();
    caller.stream.end(question());
    expect(await ended(server)).to.deep.equal([Code.INTERNAL, "INTERNAL"]);
    caller.session.destroy();
  });

  it("is OK when everything was answered", async () => {
    await using server = await startFakeServer({});
    const caller = open(server);
    caller.stream.resume();
    caller.stream.end(question());
    expect(await ended(server)).to.deep.equal([Code.OK, "OK"]);
    caller.session.destroy();
  });
});

describe("the end of other calls", () => {
  const answerless = { position: "7" as unknown as bigint };

  it("is INTERNAL for a unary call whose answer cannot be sent", async () => {
    await using server = await startFakeServer({
      trust: { check: async (_, asked, call) => ({ ...decide(asked, call), ...answerless }) },
    });
    const caller = open(server, { ":path": "/sigil.trust.v1.TrustService/Check" });
    caller.stream.resume();
    caller.stream.end(framed(CheckRequest.encode(CheckRequest.fromPartial(check)).finish()));
    expect(await ended(server)).to.deep.equal([Code.INTERNAL, "INTERNAL"]);
    caller.session.destroy();
  });

  it("is INTERNAL for a server stream whose message cannot be sent", async () => {
    async function* records(): AsyncGenerator<ExportedRecord> {
      yield { record: recordAt(1n, {}), ledgerSize: "7" as unknown as bigint };
    }
    await using server = await startFakeServer({ records: { stream: records } });
    const caller = open(server, { ":path": "/sigil.canon.v1.CanonService/StreamRecords" });
    caller.stream.resume();
    caller.stream.end(framed(new Uint8Array(0)));
    expect(await ended(server)).to.deep.equal([Code.INTERNAL, "INTERNAL"]);
    caller.session.destroy();
  });

  for (const [how, leave] of Object.entries(resets)) {
    if (how === withoutError) continue;
    it(`is CANCELLED for a caller that ${how} in the midst of an upload, which no handler takes for whole`, async () => {
      const reached = Promise.withResolvers<void>();
      let isWhole = false;
      await using server = await startFakeServer({
        upload: async (_, requests) => {
          await readAll(requests, reached.resolve);
          isWhole = true;
          return ProposeModuleResponse.fromPartial({});
        },
      });
      const caller = open(server, { ":path": uploadPath });
      caller.stream.write(framed(new Uint8Array(0)));
      await reached.promise;
      leave(caller);
      expect(await ended(server)).to.deep.equal([Code.CANCELLED, "CANCELLED"]);
      expect(isWhole).to.equal(false);
      caller.session.destroy();
    });
  }

  it("is OK for an upload that is whole", async () => {
    await using server = await startFakeServer({
      upload: async (_, requests) => {
        await readAll(requests);
        return ProposeModuleResponse.fromPartial({});
      },
    });
    const caller = open(server, { ":path": uploadPath });
    caller.stream.resume();
    caller.stream.end(framed(new Uint8Array(0)));
    expect(await ended(server)).to.deep.equal([Code.OK, "OK"]);
    caller.session.destroy();
  });

  /** A call that no transport made, with what was counted of it. */
  const madeUpCall = (refuse: () => void) => {
    const codes: number[] = [];
    const stream = { closed: false, destroyed: false, writableEnded: false };
    const madeUp = Object.assign(new EventEmitter(), {
      metadata: new Metadata(),
      getDeadline: () => Infinity,
      getPeer: () => "unknown",
      getAuthContext: () => ({}),
      call: { stream },
    });
    const rpc = {
      newId: () => "id",
      nowMs: Date.now,
      monotonicMs: () => 0,
      slowCallMs: 1,
      underWay: new CallsUnderWay(),
      pacing: new Pacing(() => 0),
      observer: { onCall: (_: string, code: number) => codes.push(code) },
      log: { debug: () => {}, info: () => {}, error: () => {}, isLevelEnabled: () => false },
    };
    const kind = { allowed: callersTime, refuse };
    const call = new Call(rpc as unknown as RpcEnvironment, path, madeUp, kind);
    return { call, madeUp, stream, codes, rpc };
  };

  it("is never OK once the stream is closed, between the reset and grpc-js's word of it", () => {
    const { call, madeUp, stream, codes, rpc } = madeUpCall(() => {});
    stream.closed = true;
    call.succeed(() => expect.fail("an answer was sent on a closed stream"));
    expect(codes).to.deep.equal([]);
    madeUp.emit("cancelled");
    expect([codes, rpc.underWay.count]).to.deep.equal([[Code.CANCELLED], 0]);
  });

  it("is INTERNAL when its error cannot be handed on, and throws at nobody", () => {
    const { call, codes, rpc } = madeUpCall(() => {
      throw new Error("the stream is gone");
    });
    call.fail(new Error("broken"));
    expect([codes, rpc.underWay.count]).to.deep.equal([[Code.INTERNAL], 0]);
    expect(call.signal.aborted).to.equal(true);
  });
});
