/** An export that goes on by itself: after the last record, at one size of the ledger, a bounded number of times. */
import { status as Code, type ServerWritableStream } from "@grpc/grpc-js";
import { expect } from "chai";
import { describe, it } from "mocha";
import { connect, SigilError, StreamRecordsResponse, type StreamRecordsRequest } from "@sigil/client";
import { startServer } from "./server.ts";

type Call = ServerWritableStream<StreamRecordsRequest, StreamRecordsResponse>;

const record = (id: string, ledgerSize = 9n): StreamRecordsResponse =>
  StreamRecordsResponse.fromPartial({ record: { record: { id } }, ledgerSize });

const breakBy =
  (code: number) =>
  (call: Call): void =>
    void call.emit("error", { code, details: "broken" });
const end = (call: Call): void => {
  call.end();
};

const sending =
  (messages: readonly StreamRecordsResponse[], finish: (call: Call) => void) =>
  (call: Call): void => {
    for (const message of messages) call.write(message);
    finish(call);
  };

type Seen = {
  readonly ids: readonly string[];
  readonly asked: readonly StreamRecordsRequest[];
  readonly breaks: number;
  readonly error: unknown;
};

/** Plays streams one after the other, the last one again and again. */
const exported = async (
  streams: readonly ((call: Call) => void)[],
  request: Partial<StreamRecordsRequest> = {},
): Promise<Seen> => {
  const asked: StreamRecordsRequest[] = [];
  await using server = await startServer({
    streamRecords: (call) => {
      asked.push(call.request);
      streams[Math.min(asked.length, streams.length) - 1]?.(call);
    },
  });
  using sigil = connect({ target: server.target, tls: "insecure" });
  const ids: string[] = [];
  let [breaks, error]: [number, unknown] = [0, undefined];
  try {
    for await (const { record: each } of sigil.records(request, { onInterrupted: () => (breaks += 1) }))
      ids.push(each?.record?.id ?? "");
  } catch (thrown) {
    error = thrown;
  }
  return { ids, asked, breaks, error };
};

describe("an export that goes on by itself", function () {
  this.timeout(60_000);

  for (const code of [Code.UNAVAILABLE, Code.INTERNAL, Code.CANCELLED, Code.UNAUTHENTICATED]) {
    it(`goes on after ${Code[code]} in the middle, after its last record and at its size, and ends`, async () => {
      const { ids, asked, breaks, error } = await exported([
        sending([record("a"), record("b")], breakBy(code)),
        sending([record("c")], breakBy(code)),
        sending([record("d")], end),
      ]);
      expect(error).to.equal(undefined);
      expect(ids).to.deep.equal(["a", "b", "c", "d"]);
      expect(breaks).to.equal(2);
      expect(asked.map(({ afterId }) => afterId)).to.deep.equal(["", "b", "c"]);
      expect(asked.map(({ ledgerSize }) => ledgerSize)).to.deep.equal([0n, 9n, 9n]);
    });
  }

  it("begins where it is told to, and ends of nothing", async () => {
    const { ids, asked, error } = await exported([sending([], end)], { afterId: "k", ledgerSize: 5n });
    expect({ ids, error }).to.deep.equal({ ids: [], error: undefined });
    expect(asked.map(({ afterId, ledgerSize }) => [afterId, ledgerSize])).to.deep.equal([["k", 5n]]);
  });

  const contradictions: readonly (readonly [string, readonly StreamRecordsResponse[]])[] = [
    ["gives a record twice", [record("b")]],
    ["goes back", [record("a")]],
    ["is of another size", [record("c", 10n)]],
    ["holds no record", [StreamRecordsResponse.fromPartial({ ledgerSize: 9n })]],
  ];
  for (const [what, messages] of contradictions) {
    it(`ends with an error where the stream after a break ${what}`, async () => {
      const { ids, asked, error } = await exported([
        sending([record("b")], breakBy(Code.UNAVAILABLE)),
        sending(messages, end),
      ]);
      expect(ids).to.deep.equal(["b"]);
      expect(asked).to.have.length(2);
      expect(error).to.be.instanceOf(SigilError).and.include({ reason: "REPLY_CONTRADICTORY" });
    });
  }

  it("ends with what no repeat would change, also in the middle", async () => {
    for (const code of [Code.PERMISSION_DENIED, Code.DATA_LOSS, Code.OUT_OF_RANGE]) {
      const { ids, asked, error } = await exported([sending([record("a")], breakBy(code))]);
      expect(ids).to.deep.equal(["a"]);
      expect(asked).to.have.length(1);
      expect(error).to.be.instanceOf(SigilError).and.include({ code });
    }
  });

  it("gives up after so many streams that gave nothing, by the last one's error", async () => {
    const { ids, asked, error } = await exported([
      sending([record("a")], breakBy(Code.UNAVAILABLE)),
      breakBy(Code.UNAVAILABLE),
    ]);
    expect(ids).to.deep.equal(["a"]);
    // One that gave a record, and after it as many breaks in a row as are borne.
    expect(asked).to.have.length(9);
    expect(error).to.be.instanceOf(SigilError).and.include({ code: Code.UNAVAILABLE });
  });
});
