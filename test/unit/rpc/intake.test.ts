/** What callers send: bounded in bytes a connection, expanded only for whoever is still there, never sent back. */
import { createRequire } from "node:module";
import { connect as connectTcp } from "node:net";
import { mock } from "node:test";
import zlib from "node:zlib";
import { trustV1 } from "@sigil/client";
import { expect } from "chai";
import { describe, it } from "mocha";
import { expansionsMax } from "../../../src/limits.ts";
import { expand } from "../../../src/rpc/bounds/expand.ts";
import { assertInsides, assertInstalledInsides, type CallStatus } from "../../../src/rpc/bounds/insides.ts";
import { bomb, call, finish, frame, open } from "../../campaigns/starve/wire.ts";
import { startFakeServer } from "./fake-server.ts";

const { TrustServiceService: Trust, CheckRequest, StreamChecksRequest, StreamChecksResponse } = trustV1;

const bytes = 3_900_000;
const large = CheckRequest.encode(
  CheckRequest.fromPartial({ action: "read", target: "a", session: "x".repeat(bytes) }),
).finish();

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1));
};

type Decompress = (message: Buffer, encoding: string) => Promise<Buffer>;
type Interceptors = {
  readonly BaseServerInterceptingCall: { readonly prototype: { readonly decompressMessage: Decompress } };
};

/** What grpc-js does by itself. */
const decompressAsGrpcJs = (message: Buffer, encoding: string, bytesMax: number): Promise<Buffer> => {
  const load = createRequire(import.meta.url);
  const { BaseServerInterceptingCall } = load("@grpc/grpc-js/build/src/server-interceptors") as Interceptors;
  const { decompressMessage } = BaseServerInterceptingCall.prototype;
  return decompressMessage.call({ maxReceiveMessageSize: bytesMax }, frame(message), encoding);
};

/** The bytes, or code and details of the status. */
const outcomeOf = async (made: Promise<Buffer>): Promise<string> => {
  try {
    return (await made).toString("base64");
  } catch (error) {
    const { code, details } = error as CallStatus;
    return `${code} ${details}`;
  }
};

const turnsOfLoop = async (turns: number): Promise<void> => {
  for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

const mib = 1 << 20;

describe("what callers send", () => {
  it("holds no more than a connection's share, and answers every call of a burst of gzip", async () => {
    await using server = await startFakeServer({ config: { intake_bytes_per_connection_max: 8 * mib } });
    const { budget } = server.bounds.intake;
    const session = await open(server.target);
    const compressed = bomb(large);
    let answered = 0;
    const answers = Array.from({ length: 16 }, () => {
      const stream = call(session, Trust.check.path, { encoding: "gzip" });
      stream.end(compressed);
      return finish(stream).finally(() => (answered += 1));
    });
    let [most, line] = [0, 0];
    await until(() => {
      most = Math.max(most, budget.bytesUsed);
      line = Math.max(line, budget.waiting);
      return answered === answers.length;
    });
    session.destroy();
    expect(new Set(await Promise.all(answers))).to.deep.equal(new Set(["3"]));
    expect(most)
      .to.be.above(0)
      .and.at.most(8 * mib);
    expect(line).to.be.above(0);
  });

  it("expands nothing for callers who have left, all at once", async () => {
    await using server = await startFakeServer({
      config: { intake_bytes_per_connection_max: 4 * mib },
    });
    const expansions = mock.method(zlib, "gunzip");
    const { budget } = server.bounds.intake;
    const [host = "", port = ""] = server.target.split(":");
    const socket = connectTcp(Number(port), host);
    const session = await open(server.target, socket);
    // Takes the whole share, and never ends.
    call(session, Trust.check.path).write(frame(new Uint8Array(4 * mib - 10)).subarray(0, 20_000));
    await until(() => budget.bytesUsed > 0);
    const compressed = bomb(
      CheckRequest.encode(
        CheckRequest.fromPartial({ action: "read", target: "a", input: Buffer.alloc(250_000) }),
      ).finish(),
    );
    for (let sent = 0; sent < 50; sent += 1)
      call(session, Trust.check.path, { encoding: "gzip" }).end(compressed);
    await until(() => budget.waiting === 50);
    // Cut, so that all of them are gone in one moment.
    socket.destroy();
    await until(() => budget.waiting === 0 && budget.bytesUsed === 0);
    // What was granted on the way out would begin in the turns that follow.
    for (let turns = 0; turns < 20; turns += 1) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(expansions.mock.callCount()).to.equal(0);
    expansions.mock.restore();
    expect(await server.connection.trust.check({ action: "read", target: "a" })).to.have.property("verdict");
  });

  it("decompresses one message of a connection at a time, and few in all, each as one job", async () => {
    await using server = await startFakeServer({});
    const { gunzip } = zlib;
    const held: (() => void)[] = [];
    const jobs = mock.method(zlib, "gunzip", (...given: Parameters<typeof gunzip>) => {
      held.push(() => gunzip(...given));
    });
    using _ = { [Symbol.dispose]: () => jobs.mock.restore() };
    const compressed = bomb(large);
    const sessions = await Promise.all(Array.from({ length: expansionsMax + 1 }, () => open(server.target)));
    const answers = sessions.flatMap((session) =>
      Array.from({ length: 3 }, () => {
        const stream = call(session, Trust.check.path, { encoding: "gzip" });
        stream.end(compressed);
        return finish(stream);
      }),
    );
    const { expansions } = server.bounds.intake;
    for (let done = 0; done < answers.length; done += 1) {
      const left = answers.length - done;
      await until(() => held.length + done >= Math.min(expansionsMax, left) + done);
      await turnsOfLoop(20);
      expect(held.length).to.be.at.most(expansionsMax);
      if (done === 0) expect(expansions.waiting).to.equal(answers.length - expansionsMax);
      held.shift()?.();
    }
    await Promise.all(answers);
    expect(jobs.mock.callCount()).to.equal(answers.length);
    for (const session of sessions) session.destroy();
  });

  it("decompresses to what grpc-js does: the same bytes, or the same status", async () => {
    const bytesMax = 100_000;
    const text = Buffer.alloc(90_000, "text ");
    const gzipped = zlib.gzipSync(text);
    const lying = (bytes: number): Buffer => {
      const lies = Buffer.from(gzipped);
      lies.writeUInt32LE(bytes, lies.length - 4);
      return lies;
    };
    const messages = {
      text: gzipped,
      "nothing in it": zlib.gzipSync(""),
      "no bytes": Buffer.alloc(0),
      "one byte": Buffer.of(0x1f),
      "cut off": gzipped.subarray(0, -9),
      "no gzip": Buffer.alloc(100, 7),
      "two members": Buffer.concat([zlib.gzipSync("one"), zlib.gzipSync("two")]),
      "trailing garbage": Buffer.concat([gzipped, Buffer.alloc(20, 7)]),
      "the largest": zlib.gzipSync(Buffer.alloc(bytesMax, 1)),
      "one byte more": zlib.gzipSync(Buffer.alloc(bytesMax + 1, 1)),
      "much more": zlib.gzipSync(Buffer.alloc(5_000_000)),
      "a size that is too small": lying(5),
      "a size that is too large": lying(2 ** 32 - 1),
      deflated: zlib.deflateSync(text),
      "deflated, much more": zlib.deflateSync(Buffer.alloc(5_000_000)),
    };
    for (const [name, message] of Object.entries(messages)) {
      for (const encoding of ["gzip", "deflate"] as const) {
        const given = await outcomeOf(expand(message, encoding, bytesMax));
        const wanted = await outcomeOf(decompressAsGrpcJs(message, encoding, bytesMax));
        expect(given, `${name}, ${encoding}`).to.equal(wanted);
      }
    }
  });

  it("holds no more of a small message than of its bytes, whatever size the sender names", async () => {
    // What follows the compressed data is ignored, but the size is looked for in the last four bytes.
    const lies = Buffer.concat([zlib.gzipSync("short"), Buffer.of(0, 0, 0x40, 0)]);
    expect((await expand(lies, "gzip", 8 * mib)).buffer.byteLength).to.be.below(mib);
  });

  it("gives the room of a message back when it is answered, on a stream that stays", async () => {
    await using server = await startFakeServer({ config: { intake_bytes_per_connection_max: 4 * mib } });
    const session = await open(server.target);
    const stream = call(session, Trust.streamChecks.path, { encoding: "gzip" });
    const message = bomb(
      StreamChecksRequest.encode(
        StreamChecksRequest.fromPartial({
          correlationId: "x".repeat(bytes),
          check: { action: "read", target: "a" },
        }),
      ).finish(),
    );
    let read = Buffer.alloc(0);
    stream.on("data", (chunk: Buffer) => (read = Buffer.concat([read, chunk])));
    for (let sent = 0; sent < 8; sent += 1) stream.write(message);
    stream.end();
    await new Promise((resolve) => stream.once("close", resolve));
    session.destroy();
    let answers = 0;
    for (let offset = 0; offset < read.length; answers += 1) {
      const length = read.readUInt32BE(offset + 1);
      const answer = StreamChecksResponse.decode(read.subarray(offset + 5, offset + 5 + length));
      expect(answer.correlationId, "what breaks its rule is not sent back").to.equal("");
      expect(answer.outcome?.$case).to.equal("error");
      offset += 5 + length;
    }
    expect(answers).to.equal(8);
    expect(read.length).to.be.below(8 * 1024);
    expect(server.bounds.intake.budget.bytesUsed).to.equal(0);
  });

  it("repeats nothing that it does not know: method, encoding, timeout", async () => {
    await using server = await startFakeServer({});
    const session = await open(server.target);
    const secret = "canary".repeat(100);
    const check = frame(
      CheckRequest.encode(CheckRequest.fromPartial({ action: "read", target: "a" })).finish(),
    );
    const gzipped = Buffer.from(check);
    gzipped.writeUInt8(1, 0);
    const asked = [
      { path: `/${secret}/Check`, headers: {}, message: check },
      { path: Trust.check.path, headers: { "grpc-encoding": secret }, message: gzipped },
      { path: Trust.check.path, headers: { "grpc-timeout": secret }, message: check },
    ];
    for (const { path, headers, message } of asked) {
      const stream = session.request({
        ":method": "POST",
        ":path": path,
        "content-type": "application/grpc",
        te: "trailers",
        ...headers,
      });
      let heard = "";
      stream.on("response", (response) => (heard += JSON.stringify(response)));
      stream.on("trailers", (trailers) => (heard += JSON.stringify(trailers)));
      stream.end(message);
      await finish(stream);
      expect(heard).to.include("grpc-status").and.not.include("canary");
    }
    session.destroy();
  });

  it("refuses to start on a grpc-js that is made another way inside", () => {
    assertInstalledInsides();
    const made = {
      handleDataFrame: Object.assign(() => {}, {
        toString: () => "this.decoder.write( this.decompressAndMaybePush(",
      }),
      decompressAndMaybePush: Object.assign(() => {}, { toString: () => "this.decompressMessage(" }),
      decompressMessage: () => {},
      sendStatus: () => {},
    };
    const withMethods = (prototype: Readonly<Record<string, unknown>>) => (): void =>
      assertInsides({ BaseServerInterceptingCall: { prototype } });
    withMethods(made)();
    for (const name of Object.keys(made))
      expect(withMethods({ ...made, [name]: undefined }), name).to.throw();
    expect(withMethods({ ...made, decompressAndMaybePush: () => {} })).to.throw(/another way/);
    expect(withMethods({ ...made, handleDataFrame: () => {} })).to.throw(/another way/);
    expect(() => assertInsides({})).to.throw(/elsewhere/);
  });
});
