/** How much a page takes: always one record, never more than its reply may hold. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { RecordRoom } from "../../../src/canon/records/page-room.ts";
import { pageEnvelopeBytesMax, replyJsonCharactersMax } from "../../../src/limits.ts";

/** Four characters of JSON and a comma for each byte of CBOR, like nothing else. */
const record = (envelopeBytes: number, nulls = 0) =>
  ({
    record: {
      envelope: new Uint8Array(envelopeBytes),
      body: { payload: Array.from({ length: nulls }, () => null) },
    },
  }) as unknown as Parameters<RecordRoom["take"]>[0];

const takes = (room: RecordRoom, each: Parameters<RecordRoom["take"]>[0]): number => {
  let taken = 0;
  while (taken < 5000 && room.take(each)) taken += 1;
  return taken;
};

describe("the room of a page", () => {
  const full = { view: "full" } as const;
  const metadata = { view: "metadata" } as const;

  it("ends at the number of records that was asked for", () => {
    for (const size of [1, 50, 1000]) expect(takes(new RecordRoom(size, full), record(100))).to.equal(size);
  });

  it("ends before more envelopes than a reply holds", () => {
    const bytes = pageEnvelopeBytesMax / 4;
    for (const presentation of [full, metadata]) {
      expect(takes(new RecordRoom(1000, presentation), record(bytes))).to.equal(4);
      expect(takes(new RecordRoom(1000, presentation), record(bytes + 1))).to.equal(3);
    }
  });

  it("ends before more JSON than a reply holds, where payloads are sent", () => {
    // 60,000 nulls are 300,001 characters: five of them fit, six do not.
    expect(Math.floor(replyJsonCharactersMax / 300_001)).to.equal(5);
    expect(takes(new RecordRoom(1000, full), record(60_100, 60_000))).to.equal(5);
    expect(takes(new RecordRoom(1000, metadata), record(60_100, 60_000))).to.equal(13);
  });

  it("counts a view that is left out because of its length as the longest there is", () => {
    const room = new RecordRoom(1000, full);
    expect(room.take(record(400_000, 390_000))).to.equal(true);
    expect(room.take(record(100, 1))).to.equal(false);
  });

  it("always takes one record, and nothing after one that is too large", () => {
    const room = new RecordRoom(10, full);
    expect(room.take(record(1 << 20))).to.equal(true);
    expect(room.take(record(1))).to.equal(false);
  });
});
