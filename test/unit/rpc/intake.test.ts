/** What callers send: bounded in bytes a connection, expanded only for whoever is still there, never sent back. */
import { createRequire } from "node:module";
import { connect as connectTcp } from "node:net";
import { mock } from "node:test";
import type zlib from "node:zlib";
import { trustV1 } from "@sigil/client";
import { expect } from "chai";
import { describe, it } from "mocha";
import { assertInsides, assertInstalledInsides } from "../../../src/rpc/bounds/insides.ts";
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

/** The one that grpc-js calls. */
const loadZlib = createRequire(import.meta.url);

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
    const expansions = mock.method(loadZlib("node:zlib") as typeof zlib, "createGunzip");
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
