/**
 * Long answers: so many bytes of one caller being made or unread, whoever waits holds nothing, and nobody holds others
 * up.
 */
import { auditV1, canonV1 } from "@sigil/client";
import { expect } from "chai";
import { describe, it } from "mocha";
import type { ExportedRecord, RecordPage } from "../../../src/canon/domain.ts";
import type { WalkContext } from "../../../src/canon/domain.ts";
import { anonymous, type Caller } from "../../../src/identity/caller.ts";
import { SigilFault } from "../../../src/errors.ts";
import { messageBytesMax, replyUnreadMsMax } from "../../../src/limits.ts";
import { Replies } from "../../../src/rpc/bounds/replies.ts";
import { call, finish, frame, open } from "../../campaigns/starve/wire.ts";
import { startFakeServer } from "./fake-server.ts";

const { CanonServiceService: Canon, ListRecordsRequest, StreamRecordsRequest } = canonV1;

const shareOfFour = 4 * messageBytesMax;
const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1));
};
const moment = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

const listing = frame(ListRecordsRequest.encode(ListRecordsRequest.fromPartial({})).finish());
const exporting = frame(StreamRecordsRequest.encode(StreamRecordsRequest.fromPartial({})).finish());

/** Handlers at work now, and the most that ever were. */
const gate = () => {
  const seen = { now: 0, most: 0, begun: 0 };
  const work = async (): Promise<void> => {
    seen.begun += 1;
    seen.now += 1;
    seen.most = Math.max(seen.most, seen.now);
    await moment();
    seen.now -= 1;
  };
  return { seen, work };
};

const emptyPage: RecordPage = { records: [], nextPageToken: "", ledgerSize: 0n };

describe("long answers", () => {
  it("are made for a caller as many at a time as its share holds", async () => {
    const { seen, work } = gate();
    await using server = await startFakeServer({
      config: { reply_bytes_per_caller_max: shareOfFour },
      records: {
        list: async () => {
          await work();
          return emptyPage;
        },
      },
    });
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => server.connection.canon.listRecords({})),
    );
    expect(answers).to.have.length(40);
    expect(seen.most).to.equal(4);
    await until(() => server.bounds.replies.budget.bytesUsed === 0);
  });

  it("are begun for none of those who leave while others' are being made", async () => {
    const { seen, work } = gate();
    await using server = await startFakeServer({
      config: { reply_bytes_per_caller_max: shareOfFour },
      records: {
        list: async () => {
          await work();
          return emptyPage;
        },
      },
    });
    const session = await open(server.target);
    for (let begun = 0; begun < 40; begun += 1) call(session, Canon.listRecords.path).end(listing);
    await until(() => seen.now === 4);
    session.destroy();
    const { budget } = server.bounds.replies;
    await until(() => budget.waiting === 0 && budget.bytesUsed === 0);
    expect(seen.most, "a place was given on while its holder still worked").to.equal(4);
    expect(seen.begun).to.be.below(40);
  });

  it("of streams are read ahead for no more than the share while nobody reads them", async () => {
    let reading = 0;
    async function* endless(_: unknown, __: unknown, { room }: WalkContext): AsyncGenerator<ExportedRecord> {
      for (;;) {
        await room?.enter();
        reading += 1;
        yield {
          record: {
            record: {
              envelope: new Uint8Array(1_000_000),
              body: {
                kind: "note",
                id: "a",
                tenant: "t",
                ts: 1,
                space: "user",
                schemaVersion: 1,
                payload: null,
                links: [],
                prev: null,
              },
              hash: new Uint8Array(32),
              statement: { signature: new Uint8Array(64) },
              signedBy: { publicKey: new Uint8Array(32) },
              disclosures: {},
              attestations: [],
              position: 1n,
            },
            version: 1n,
            tombstone: false,
          } as unknown as ExportedRecord["record"],
          ledgerSize: 1n,
        };
      }
    }
    await using server = await startFakeServer({
      config: { reply_bytes_per_caller_max: shareOfFour },
      records: { stream: endless },
    });
    const session = await open(server.target);
    const { budget } = server.bounds.replies;
    for (let begun = 0; begun < 40; begun += 1) call(session, Canon.streamRecords.path).end(exporting);
    await until(() => budget.waiting > 0 && reading > 0);
    let before = -1;
    while (before !== reading) {
      before = reading;
      for (let turns = 0; turns < 20; turns += 1) await moment();
    }
    // A message of one megabyte leaves room for others after it was made.
    expect(budget.bytesUsed).to.be.at.most(shareOfFour);
    expect(reading).to.be.below(40);
    session.destroy();
    await until(() => budget.waiting === 0 && budget.bytesUsed === 0);
  });

  it("leave no room behind where the call ends in the very moment that it gets some", async () => {
    const bounds = { messageBytesMax: 10, bytesMax: 10, bytesPerCallerMax: 10 };
    const replies = new Replies(bounds, () => 0);
    const leaving = new AbortController();
    const first = replies.roomOf(anonymous, 10, new AbortController().signal);
    const second = replies.roomOf(anonymous, 10, leaving.signal);
    await first.enter();
    const entering = second.enter();
    first.leave();
    leaving.abort(new Error("left"));
    await entering;
    expect([second.isHeld, replies.budget.bytesUsed, replies.budget.waiting]).to.deep.equal([false, 0, 0]);
  });

  it("unread for long are broken off when somebody waits for their room, and not before", async () => {
    let nowMs = 0;
    const replies = new Replies(
      { messageBytesMax, bytesMax: messageBytesMax, bytesPerCallerMax: messageBytesMax },
      () => nowMs,
    );
    const callerOf = (principal: string): Caller => ({ ...anonymous, principal, credential: "token" });
    const { signal } = new AbortController();
    const unread = replies.roomOf(callerOf("slow"), messageBytesMax, signal);
    await unread.enter();
    const faults: SigilFault[] = [];
    unread.sent({}, (fault) => faults.push(fault));
    nowMs += replyUnreadMsMax * 100;
    replies.lookAtUnread();
    expect(faults, "nobody waits").to.deep.equal([]);
    unread.read();
    unread.sent({}, (fault) => faults.push(fault));
    const waiting = replies.roomOf(callerOf("other"), messageBytesMax, signal).enter();
    nowMs += replyUnreadMsMax - 1;
    replies.lookAtUnread();
    expect(faults, "not for so long yet").to.deep.equal([]);
    nowMs += 1;
    replies.lookAtUnread();
    await waiting;
    expect(faults.map(({ error }) => error.kind === "overQuota" && error.reason)).to.deep.equal([
      "REPLY_UNREAD",
    ]);
  });

  it("do not wait where they are short", async () => {
    await using server = await startFakeServer({
      config: { reply_bytes_per_caller_max: 1 << 20 },
      records: { list: () => new Promise(() => {}) },
      audit: {
        checkpoint: () =>
          ({
            note: "n",
            origin: "o",
            size: 1n,
            root: new Uint8Array(32),
            publicKey: new Uint8Array(32),
          }) as never,
      },
    });
    const session = await open(server.target);
    for (let begun = 0; begun < 20; begun += 1) call(session, Canon.listRecords.path).end(listing);
    const { budget } = server.bounds.replies;
    await until(() => budget.waiting > 0);
    const checkpoint = call(session, auditV1.AuditServiceService.getCheckpoint.path);
    checkpoint.end(frame(new Uint8Array(0)));
    expect(await finish(checkpoint)).to.equal("0");
    session.destroy();
  });
});
