/** Canon through the client: records with promises, exports and watches as loops, and payloads that lose nothing. */
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { describe, it } from "mocha";
import {
  CanonServiceService,
  connect,
  LevelOfAccess,
  principalRecord,
  SigilError,
  WitnessServiceService,
} from "@sigil/client";
import { settle, startServer } from "./server.ts";

const failureOf = async (stream: AsyncIterable<unknown>): Promise<SigilError> => {
  try {
    for await (const _ of stream);
  } catch (error) {
    if (error instanceof SigilError) return error;
    throw error;
  }
  throw new Error("expected a SigilError");
};

describe("canon and witness", () => {
  it("have a method for every RPC, with the RPC's name", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure" });
    expect(Object.keys(sigil.canon)).to.have.members(Object.keys(CanonServiceService));
    expect(Object.keys(sigil.witness)).to.have.members(Object.keys(WitnessServiceService));
  });

  it("call what they are named after", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure" });
    const calls = [...Object.entries(sigil.canon), ...Object.entries(sigil.witness)];
    for (const [name, method] of calls) {
      if (name === "writeRecord" || name === "streamRecords") continue;
      const answer: unknown = (method as (request: object) => unknown)({});
      const isStream = Symbol.asyncIterator in (answer as object);
      const error = isStream
        ? await failureOf(answer as AsyncIterable<unknown>)
        : await (answer as Promise<unknown>).catch(SigilError.from);
      expect((error as SigilError).codeName, name).to.equal("UNIMPLEMENTED");
    }
  });

  it("send a payload given as an object", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure", signer: { token: () => "t" } });
    const value = { a: [1, null, { b: "c" }], left: undefined };
    const { record, version } = await sigil.canon.writeRecord({
      id: "note/1",
      kind: "note",
      content: { $case: "payload", value },
    });
    expect([record?.payloadJson, version]).to.deep.equal(['{"a":[1,null,{"b":"c"}]}', 1n]);
    expect(server.seen.metadata[0]?.get("authorization")).to.deep.equal(["Bearer t"]);
  });

  it("refuse an object that would lose something on the way, before it is sent", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure" });
    const lossy: readonly (readonly [unknown, string])[] = [
      [JSON.parse('{"a":{"__proto__":1}}'), "payload.a"],
      [{ a: [new Date(0)] }, "payload.a[0]"],
      [{ a: new Uint8Array(2) }, "payload.a"],
      [{ a: 1n }, "payload.a"],
      [{ a: [undefined] }, "payload.a[0]"],
      [new Map([["a", 1]]), "payload"],
    ];
    for (const [value, path] of lossy) {
      const content = { $case: "payload", value: value as Record<string, unknown> } as const;
      const refused = await sigil.canon.writeRecord({ content }).catch((error: unknown) => error);
      expect(refused).to.be.instanceOf(TypeError);
      expect((refused as TypeError).message).to.match(new RegExp(`^${path.replaceAll(/[[\]]/g, "\\$&")} `));
      const batch = sigil.canon.batchWriteRecords({ writes: [{}, { content }] });
      const refusedBatch = (await batch.catch((error: unknown) => error)) as TypeError;
      expect(refusedBatch.message).to.contain(`writes[1].${path} `);
    }
    expect(server.seen.metadata).to.deep.equal([]);
  });
});

describe("streamRecords", () => {
  it("yields every record in order, with a token", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure", signer: { token: () => "t" } });
    const versions: (bigint | undefined)[] = [];
    for await (const { record } of sigil.canon.streamRecords({ afterId: "500" })) {
      versions.push(record?.version);
    }
    expect(versions).to.deep.equal(Array.from({ length: 500 }, (_, index) => BigInt(index + 1)));
    expect(server.seen.metadata[0]?.get("authorization")).to.deep.equal(["Bearer t"]);
  });

  it("takes records no faster than it is asked for them", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure" });
    const kind = "x".repeat(100_000);
    const records = sigil.canon.streamRecords({ afterId: "10000", filter: { kind } });
    await records.next();
    await settle(100);
    const streamedEarly = server.seen.streamed;
    await settle(100);
    expect(server.seen.streamed).to.equal(streamedEarly);
    expect(streamedEarly).to.be.lessThan(400);
    await records.return();
  });

  it("cancels the call when the loop is left", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure" });
    for await (const _ of sigil.canon.streamRecords({ afterId: "100000" })) break;
    await settle();
    expect(server.seen.cancelled).to.equal(1);
  });

  it("throws the server's status after what came before it", async () => {
    await using server = await startServer({
      watch: (call) => {
        call.write({ event: undefined, nextPosition: 1n, proof: undefined });
        call.emit("error", { code: Code.UNAUTHENTICATED, details: "expired" });
      },
    });
    using sigil = connect({ target: server.target, tls: "insecure" });
    const received: bigint[] = [];
    const watch = async () => {
      for await (const { nextPosition } of sigil.canon.watch({})) received.push(nextPosition);
    };
    const error = await watch().catch(SigilError.from);
    expect([error?.codeName, received]).to.deep.equal(["UNAUTHENTICATED", [1n]]);
  });

  it("ends by its signal and by its deadline, and has none unless told", async () => {
    await using server = await startServer({ watch: () => {} });
    using sigil = connect({ target: server.target, tls: "insecure", deadlineMs: 20 });
    const controller = new AbortController();
    const watch = failureOf(sigil.canon.watch({}, { signal: controller.signal }));
    setTimeout(() => controller.abort(), 80);
    expect((await watch).codeName).to.equal("CANCELLED");
    const timed = failureOf(sigil.canon.watch({}, { deadlineMs: 30 }));
    expect((await timed).codeName).to.equal("DEADLINE_EXCEEDED");
    expect((await failureOf(sigil.canon.watch({}, { signal: controller.signal }))).codeName).to.equal(
      "CANCELLED",
    );
  });
});

describe("the record of a principal", () => {
  it("is made of no key, level or id that none could be", () => {
    const principal = {
      id: "svc",
      publicKeys: [new Uint8Array(32)],
      level: LevelOfAccess.LEVEL_OF_ACCESS_OPERATOR,
      tenant: "acme",
    };
    expect(principalRecord(principal).id).to.equal("principal/svc");
    for (const [changes, rule] of [
      [{ publicKeys: [new Uint8Array(32), new Uint8Array(31)] }, "publicKeys must be of 32 bytes each"],
      [{ level: LevelOfAccess.LEVEL_OF_ACCESS_UNSPECIFIED }, "level must be a level of access"],
      [{ id: "a/../b" }, "id must have no"],
    ] as const) {
      expect(() => principalRecord({ ...principal, ...changes }), rule).to.throw(TypeError, rule);
    }
  });
});
