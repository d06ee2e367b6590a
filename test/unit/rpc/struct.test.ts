/** Structs on their way through the real transport: every entry arrives or is refused. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { SigilError, WriteRecordRequest, WriteRecordResponse } from "@sigil/client";
import type { Write } from "../../../src/canon/domain.ts";
import { startFakeServer } from "./fake-server.ts";
import { recordAt } from "./made-records.ts";

type Entry = readonly [key: string, value: (writer: BinaryWriter) => BinaryWriter];

const number = (value: number) => (writer: BinaryWriter) => writer.uint32(17).double(value);
const text = (value: string) => (writer: BinaryWriter) => writer.uint32(26).string(value);
const none = (writer: BinaryWriter) => writer;
const struct =
  (...entries: readonly Entry[]) =>
  (writer: BinaryWriter) =>
    writer.uint32(42).bytes(structOf(entries));
const list =
  (...items: readonly Entry[1][]) =>
  (writer: BinaryWriter) => {
    const values = new BinaryWriter();
    for (const item of items) values.uint32(10).bytes(item(new BinaryWriter()).finish());
    return writer.uint32(50).bytes(values.finish());
  };

const structOf = (entries: readonly Entry[]): Uint8Array => {
  const writer = new BinaryWriter();
  for (const [key, value] of entries) {
    const entry = new BinaryWriter().uint32(10).string(key);
    entry.uint32(18).bytes(value(new BinaryWriter()).finish());
    writer.uint32(10).bytes(entry.finish());
  }
  return writer.finish();
};

const requestOf = (payload: Uint8Array): Uint8Array =>
  new BinaryWriter()
    .raw(WriteRecordRequest.encode(WriteRecordRequest.fromPartial({ id: "n", kind: "note" })).finish())
    .uint32(50)
    .bytes(payload)
    .finish();

const batchOf = (...writes: readonly Uint8Array[]): Uint8Array => {
  const writer = new BinaryWriter();
  for (const write of writes) writer.uint32(10).bytes(write);
  return writer.finish();
};

/** Sends the bytes as they are. @returns what the service was given, or the error. */
const sent = async (rpc: "WriteRecord" | "BatchWriteRecords", bytes: Uint8Array) => {
  const given: Write[] = [];
  const written = { ...recordAt(1n), auditId: "", replayed: false };
  await using server = await startFakeServer({
    records: {
      write: async (_, write) => {
        given.push(write);
        return written;
      },
      batchWrite: async (_, writes) => {
        given.push(...writes);
        return writes.map(() => written);
      },
    },
  });
  const error = await new Promise<SigilError | undefined>((resolve) => {
    server.connection.stubs.canon.makeUnaryRequest(
      `/sigil.canon.v1.CanonService/${rpc}`,
      () => Buffer.from(bytes),
      (answer) => (rpc === "WriteRecord" ? WriteRecordResponse.decode(answer) : answer),
      {},
      (thrown) => resolve(thrown === null ? undefined : SigilError.from(thrown)),
    );
  });
  const payloads = given.map(({ content }) => (content.kind === "payload" ? content.payload : null));
  return { payloads, violation: error?.fieldViolations[0], error };
};

const refused = async (...entries: readonly Entry[]): Promise<readonly [string, string]> => {
  const { payloads, violation } = await sent("WriteRecord", requestOf(structOf(entries)));
  expect(payloads).to.deep.equal([]);
  return [violation?.field ?? "", violation?.description ?? ""];
};

describe("a payload that is a Struct", () => {
  it("arrives as it was sent, whatever its keys are called", async () => {
    const payload = structOf([
      ["__proto__", struct(["polluted", number(1)])],
      ["constructor", text("\u{feff}c")],
      ["", text("empty")],
      ["many", list(number(1.5), text(""), (writer) => writer.uint32(8).int32(0), list(), struct())],
      ["yes", (writer) => writer.uint32(32).bool(true)],
      ["zero", number(-0)],
      ["most", number(Number.MAX_SAFE_INTEGER)],
    ]);
    const { payloads, error } = await sent("WriteRecord", requestOf(payload));
    expect(error).to.equal(undefined);
    const [map] = payloads as [Record<string, unknown>];
    expect(Object.getPrototypeOf(map)).to.equal(null);
    expect(Object.keys(map)).to.deep.equal(["__proto__", "constructor", "", "many", "yes", "zero", "most"]);
    expect(JSON.stringify(map)).to.equal(
      '{"__proto__":{"polluted":1},"constructor":"\u{feff}c","":"empty","many":[1.5,"",null,[],{}],"yes":true,"zero":0,"most":9007199254740991}',
    );
    expect(Object.is(map["zero"], 0)).to.equal(true);
    expect(({} as { polluted?: number }).polluted).to.equal(undefined);
  });

  it("is refused for a number that a double does not hold, by its pointer", async () => {
    for (const value of [2 ** 53, -(2 ** 53), 1e300, Number.NaN, Infinity]) {
      expect(await refused(["a", list(number(0), number(value))])).to.deep.equal([
        "payload",
        'at "/a/1" must be a number within ±(2^53−1)',
      ]);
    }
  });

  it("is refused for what a plain object would lose", async () => {
    expect(await refused(["a", none])).to.deep.equal(["payload", 'at "/a" must be one value of one kind']);
    expect(await refused(["a", list(none)])).to.deep.equal([
      "payload",
      'at "/a/0" must be one value of one kind',
    ]);
    expect(await refused(["a", number(1)], ["a", number(1)])).to.deep.equal([
      "payload",
      'at "/a" is a key that occurs twice',
    ]);
    const both = (writer: BinaryWriter) => text("x")(number(1)(writer));
    expect(await refused(["a", both])).to.deep.equal(["payload", 'at "/a" must be one value of one kind']);
  });

  it("is refused when it is deeper or wider than a record", async () => {
    let deep: Entry[1] = list();
    for (let depth = 0; depth < 14; depth += 1) deep = list(deep);
    const ok = await sent("WriteRecord", requestOf(structOf([["d", deep]])));
    expect(ok.error).to.equal(undefined);
    expect((await refused(["d", list(deep)]))[1]).to.contain("deeper than 16");
    const wide = Array.from({ length: 4097 }, () => number(1));
    expect((await refused(["w", list(...wide)]))[1]).to.contain('at "/w" must have at most 4096');
  });

  it("is read in every write of a batch, and named with its index", async () => {
    const good = requestOf(structOf([["__proto__", number(1)]]));
    const { payloads } = await sent(
      "BatchWriteRecords",
      batchOf(...[1, 2].map((n) => withId(good, `n/${n}`))),
    );
    expect(payloads.map((payload) => JSON.stringify(payload))).to.deep.equal([
      '{"__proto__":1}',
      '{"__proto__":1}',
    ]);
    const bad = requestOf(structOf([["a", number(2 ** 60)]]));
    const { violation } = await sent("BatchWriteRecords", batchOf(good, withId(bad, "n/2")));
    expect(violation?.field).to.equal("writes[1].payload");
  });

  it("is refused when it is sent twice: protobuf would merge the two", async () => {
    const twice = new BinaryWriter().raw(requestOf(structOf([["a", number(1)]])));
    twice.uint32(50).bytes(structOf([["b", number(1)]]));
    expect((await sent("WriteRecord", twice.finish())).violation?.field).to.equal("payload");
  });
});

/** The same request with another id: of a field given twice the last counts. */
const withId = (request: Uint8Array, id: string): Uint8Array =>
  new BinaryWriter().raw(request).uint32(10).string(id).finish();

describe("text in a request", () => {
  it("is refused when it is no UTF-8, not mended", async () => {
    const request = requestOf(structOf([]));
    const bad = new BinaryWriter()
      .raw(request)
      .uint32(34)
      .bytes(new Uint8Array([0x22, 0xff, 0x22]))
      .finish();
    const { error, payloads } = await sent("WriteRecord", bad);
    expect([error?.codeName, payloads.length]).to.deep.equal(["INVALID_ARGUMENT", 0]);
    const key = structOf([["a", number(1)]]);
    key[key.indexOf(0x61)] = 0xff;
    expect((await sent("WriteRecord", requestOf(key))).error?.codeName).to.equal("INVALID_ARGUMENT");
  });
});
