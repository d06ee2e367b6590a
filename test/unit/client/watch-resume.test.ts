/** A watch that goes on by itself: over what passes, from the last position, nothing twice, to an error that stays. */
import { status as Code, type ServerWritableStream } from "@grpc/grpc-js";
import { expect } from "chai";
import { describe, it } from "mocha";
import { connect, SigilError, WatchResponse, type WatchOptions, type WatchRequest } from "@sigil/client";
import { startServer } from "./server.ts";

type Call = ServerWritableStream<WatchRequest, WatchResponse>;

const record = (position: bigint): WatchResponse =>
  WatchResponse.fromPartial({
    event: { $case: "record", value: { record: { position } } },
    nextPosition: position + 1n,
  });
const heartbeat = (nextPosition: bigint): WatchResponse =>
  WatchResponse.fromPartial({ event: { $case: "heartbeat", value: {} }, nextPosition });

const fail = (call: Call, code: number): void => void call.emit("error", { code, details: "broken" });

/** A server whose streams are played one after the other; the last one again and again. */
const playing = async (...streams: readonly ((call: Call) => void)[]) => {
  const from: (bigint | undefined)[] = [];
  const server = await startServer({
    watch: (call) => {
      from.push(call.request.fromPosition);
      streams[Math.min(from.length, streams.length) - 1]?.(call);
    },
  });
  return { server, from };
};

/** Positions of records until `enough`, then the loop is left. */
const read = async (
  target: string,
  enough: number,
  request: Partial<WatchRequest> = { fromPosition: 0n },
  options: WatchOptions = {},
): Promise<readonly bigint[]> => {
  using sigil = connect({ target, tls: "insecure" });
  const seen: bigint[] = [];
  for await (const { event } of sigil.watch(request, options)) {
    if (event?.$case === "record") seen.push(event.value.record?.position ?? -1n);
    if (seen.length >= enough) break;
  }
  return seen;
};

const errorOf = async (work: Promise<unknown>): Promise<SigilError> => {
  const error = await work.catch((thrown: unknown) => thrown);
  if (error instanceof SigilError) return error;
  throw new Error("expected a SigilError");
};

const sending =
  (messages: readonly WatchResponse[], end: (call: Call) => void = () => {}) =>
  (call: Call): void => {
    for (const message of messages) call.write(message);
    end(call);
  };

const codes = Object.values(Code).filter(
  (code): code is Code => typeof code === "number" && code !== Code.OK,
);
const breaks = [
  Code.UNAVAILABLE,
  Code.ABORTED,
  Code.CANCELLED,
  Code.INTERNAL,
  Code.UNKNOWN,
  Code.DEADLINE_EXCEEDED,
  Code.UNAUTHENTICATED,
  Code.RESOURCE_EXHAUSTED,
];

describe("a watch that goes on by itself", () => {
  for (const code of breaks) {
    it(`goes on after ${Code[code]} in the middle, and nothing comes twice`, async () => {
      const { server, from } = await playing(
        sending([heartbeat(0n), record(0n), record(3n)], (call) => fail(call, code)),
        // A server that repeats what it sent before, and goes back.
        sending([heartbeat(2n), record(0n), record(3n), heartbeat(4n), record(3n), record(7n), record(8n)]),
      );
      await using _ = server;
      const told: string[] = [];
      const seen = await read(server.target, 4, undefined, {
        onInterrupted: ({ codeName }) => told.push(codeName),
      });
      expect(seen).to.deep.equal([0n, 3n, 7n, 8n]);
      expect(from).to.deep.equal([0n, 4n]);
      expect(told).to.deep.equal([Code[code]]);
    });
  }

  it("goes on when the server ends the stream", async () => {
    const { server, from } = await playing(
      sending([record(0n)], (call) => call.end()),
      sending([record(1n)], (call) => call.end()),
      sending([record(2n)]),
    );
    await using _ = server;
    expect(await read(server.target, 3)).to.deep.equal([0n, 1n, 2n]);
    expect(from).to.deep.equal([0n, 1n, 2n]);
  });

  it("goes on at a server that was started again", async () => {
    const first = await playing(sending([record(0n)]));
    const { target, port } = first.server;
    using sigil = connect({ target, tls: "insecure" });
    const events = sigil.watch({ fromPosition: 0n });
    expect((await events.next()).value?.nextPosition).to.equal(1n);
    await first.server[Symbol.asyncDispose]();
    const rest = events.next();
    await using _ = await startServer({ watch: sending([record(1n)]) }, undefined, port);
    expect((await rest).value?.nextPosition).to.equal(2n);
    await events.return();
  });

  it("that begins now goes on where it came to", async () => {
    const { server, from } = await playing(
      sending([heartbeat(9n)], (call) => fail(call, Code.UNAVAILABLE)),
      sending([heartbeat(9n), record(9n)]),
    );
    await using _ = server;
    expect(await read(server.target, 1, {})).to.deep.equal([9n]);
    expect(from).to.deep.equal([undefined, 9n]);
  });

  for (const code of codes.filter((each) => !breaks.includes(each))) {
    it(`ends with ${Code[code]}, also in the middle`, async () => {
      const { server, from } = await playing(sending([record(0n)], (call) => fail(call, code)));
      await using _ = server;
      expect(await errorOf(read(server.target, 2))).to.include({ codeName: Code[code] });
      expect(from).to.have.length(1);
    });
  }

  for (const code of codes.filter((each) => ![Code.UNAVAILABLE, Code.ABORTED].includes(each))) {
    it(`does not begin after ${Code[code]}`, async () => {
      const { server, from } = await playing((call) => fail(call, code));
      await using _ = server;
      expect(await errorOf(read(server.target, 1))).to.include({ codeName: Code[code] });
      expect(from).to.have.length(1);
    });
  }

  it("ends by its signal, and with its connection, also while it waits", async () => {
    for (const how of ["signal", "close"] as const) {
      const { server } = await playing((call) => fail(call, Code.UNAVAILABLE));
      await using _ = server;
      using sigil = connect({ target: server.target, tls: "insecure" });
      const stop = new AbortController();
      const interrupted = new Promise<void>((resolve) => {
        const watching = sigil.watch(
          { fromPosition: 0n },
          { signal: stop.signal, onInterrupted: () => resolve() },
        );
        ended = errorOf(watching.next());
      });
      await interrupted;
      if (how === "signal") stop.abort();
      else sigil.close();
      expect(await ended).to.include({ codeName: how === "signal" ? "CANCELLED" : "UNAVAILABLE" });
    }
  });

  let ended: Promise<SigilError>;

  it("counts three heartbeats of silence as a break", async () => {
    const { server, from } = await playing(sending([record(0n)]), sending([record(1n)]));
    await using _ = server;
    const request = { fromPosition: 0n, heartbeatSeconds: 1 };
    expect(await read(server.target, 2, request)).to.deep.equal([0n, 1n]);
    expect(from).to.deep.equal([0n, 1n]);
  });
});
