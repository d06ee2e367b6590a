/** The order of appends and how they share a write, with signing and writing in the test's hands. */
import { expect } from "chai";
import { describe, it } from "mocha";
import {
  appendQueueRecordsMax,
  groupBytesMax,
  groupRecordsMax,
  signNowRecordsMax,
} from "../../../src/limits.ts";
import type { SigilError } from "../../../src/errors.ts";
import type { Appended, SignedUnit, UnitOutcome } from "../../../src/ledger/append/commit.ts";
import { prepareRecord, type PreparedRecord, type SignedRecord } from "../../../src/ledger/append/prepare.ts";
import { BatchFailed, Sequencer } from "../../../src/ledger/append/sequencer.ts";
import { faultOf, userBody } from "../../contract/memory-ledger.ts";

const record = prepareRecord(userBody("r"));
const recordOf = (bytes: number): PreparedRecord => ({ ...record, bodyBytes: new Uint8Array(bytes) });
const unitOf = (records: number) => ({ records: Array.from({ length: records }, () => record) });

/** A sequencer whose writes wait until the test lets them go. */
const createBench = (signNow?: (prepared: PreparedRecord) => SignedRecord | undefined) => {
  const groups: (readonly SignedUnit[])[] = [];
  const gates: PromiseWithResolvers<SigilError | undefined>[] = [];
  const events: string[] = [];
  let signing = 0;
  let position = 0n;
  let failNextSigning = false;
  let heldSigning = 0;
  const held = Promise.withResolvers<void>();
  const sequencer = new Sequencer({
    sign: async (prepared) => {
      signing += 1;
      events.push(`sign ${groups.length}`);
      if (failNextSigning) throw new Error("no key");
      if (signing === heldSigning) await held.promise;
      return prepared as SignedRecord;
    },
    ...(signNow === undefined ? {} : { signNow }),
    commit: async (units) => {
      groups.push(units);
      events.push(`write ${groups.length}`);
      const gate = Promise.withResolvers<SigilError | undefined>();
      gates.push(gate);
      const error = await gate.promise;
      if (error !== undefined) throw new BatchFailed(error);
      return units.map((unit): UnitOutcome => {
        const appended: Appended[] = unit.records.map(({ hash, envelope }, index) => ({
          position: position + BigInt(index),
          hash,
          envelope,
          version: 1n,
        }));
        position += BigInt(unit.records.length);
        return { kind: "accepted", appended };
      });
    },
  });
  const turn = async (): Promise<void> => {
    for (let step = 0; step < 5; step += 1) await new Promise<void>((resolve) => setImmediate(resolve));
  };
  return {
    sequencer,
    groups,
    events,
    turn,
    sizes: (): readonly number[] =>
      groups.map((units) => units.reduce((sum, unit) => sum + unit.records.length, 0)),
    signed: () => signing,
    /** The n-th record, from one, is signed only once `signHeld` was called. */
    holdSigning: (nth: number): void => void (heldSigning = nth),
    signHeld: (): void => held.resolve(),
    failSigning: (fails: boolean): void => void (failNextSigning = fails),
    /** Lets the n-th write end. */
    release: async (group: number, error?: SigilError): Promise<void> => {
      gates[group]?.resolve(error);
      await turn();
    },
  };
};

describe("the sequencer", () => {
  it("takes a lone unit without waiting for a timer", async () => {
    const bench = createBench();
    const answer = bench.sequencer.append(unitOf(1));
    await new Promise<void>((resolve) => setImmediate(resolve));
    await bench.turn();
    expect(bench.sizes()).to.deep.equal([1]);
    await bench.release(0);
    expect((await answer)[0]?.position).to.equal(0n);
  });

  it("signs a few in the turn that writes them, and leaves more to the thread", async () => {
    const bench = createBench((prepared) => prepared as SignedRecord);
    const few = Array.from({ length: signNowRecordsMax }, () => bench.sequencer.append(unitOf(1)));
    await new Promise<void>((resolve) => setImmediate(resolve));
    expect(bench.sizes()).to.deep.equal([signNowRecordsMax]);
    expect(bench.signed()).to.equal(0);
    await bench.release(0);
    await Promise.all(few);
    const more = bench.sequencer.append(unitOf(signNowRecordsMax + 1));
    await bench.turn();
    expect(bench.signed()).to.equal(signNowRecordsMax + 1);
    await bench.release(1);
    await more;
  });

  it("leaves to the thread what cannot be signed at once, and keeps the order", async () => {
    const bench = createBench((prepared) => (prepared === record ? (prepared as SignedRecord) : undefined));
    bench.holdSigning(1);
    const slow = bench.sequencer.append({ records: [recordOf(1)] });
    await new Promise<void>((resolve) => setImmediate(resolve));
    const prompt = bench.sequencer.append(unitOf(1));
    await bench.turn();
    expect(bench.sizes()).to.deep.equal([]);
    bench.signHeld();
    await bench.turn();
    await bench.release(0);
    await bench.release(1);
    expect((await Promise.all([slow, prompt])).map(([first]) => first?.position)).to.deep.equal([0n, 1n]);
  });

  it("gives calls that arrived together one write, and answers in their order", async () => {
    const bench = createBench();
    const order: number[] = [];
    const calls = [0, 1, 2].map((call) =>
      bench.sequencer.append(unitOf(1)).then((appended) => {
        order.push(call);
        return appended[0]?.position;
      }),
    );
    await bench.turn();
    expect(bench.sizes()).to.deep.equal([3]);
    await bench.release(0);
    expect(await Promise.all(calls)).to.deep.equal([0n, 1n, 2n]);
    expect(order).to.deep.equal([0, 1, 2]);
  });

  it("lets a small batch wait one turn for what is being signed, and not longer", async () => {
    const bench = createBench();
    const turnOfLoop = () => new Promise<void>((resolve) => setImmediate(resolve));
    bench.holdSigning(2);
    const calls = [1, 2].map(() => bench.sequencer.append(unitOf(1)));
    await turnOfLoop();
    await turnOfLoop();
    expect(bench.sizes(), "while the other may yet be signed").to.deep.equal([]);
    await bench.turn();
    expect(bench.sizes(), "and no longer").to.deep.equal([1]);
    bench.signHeld();
    await bench.turn();
    await bench.release(0);
    await bench.release(1);
    await Promise.all(calls);
    expect(bench.sizes()).to.deep.equal([1, 1]);
  });

  it("puts no more than 256 records into a batch", async () => {
    const bench = createBench();
    const calls = Array.from({ length: 4 * groupRecordsMax }, () => bench.sequencer.append(unitOf(1)));
    await bench.turn();
    for (let group = 0; group < 6; group += 1) await bench.release(group);
    await Promise.all(calls);
    expect(bench.sizes().slice(0, 3)).to.deep.equal([groupRecordsMax, groupRecordsMax, groupRecordsMax]);
  });

  it("writes a burst in halves, so that its callers do not stay in step", async () => {
    const bench = createBench();
    const calls = Array.from({ length: 80 }, () => bench.sequencer.append(unitOf(1)));
    await bench.turn();
    for (const group of [0, 1]) await bench.release(group);
    await Promise.all(calls);
    expect(bench.sizes()).to.deep.equal([40, 40]);
  });

  it("does not split what is too little to be worth a second sync", async () => {
    const bench = createBench();
    const calls = Array.from({ length: 32 }, () => bench.sequencer.append(unitOf(1)));
    await bench.turn();
    await bench.release(0);
    await Promise.all(calls);
    expect(bench.sizes()).to.deep.equal([32]);
  });

  it("puts no more than 1 MiB into a group", async () => {
    const bench = createBench();
    const records = [recordOf(groupBytesMax / 2)];
    const calls = Array.from({ length: 3 }, () => bench.sequencer.append({ records }));
    await bench.turn();
    await bench.release(0);
    await bench.release(1);
    await Promise.all(calls);
    expect(bench.sizes()).to.deep.equal([2, 1]);
  });

  it("takes a unit of 1,000 alone and whole", async () => {
    const bench = createBench();
    const calls = [
      bench.sequencer.append(unitOf(1)),
      bench.sequencer.append(unitOf(1000)),
      bench.sequencer.append(unitOf(1)),
    ];
    await bench.turn();
    for (const group of [0, 1, 2]) await bench.release(group);
    await Promise.all(calls);
    expect(bench.sizes()).to.deep.equal([1, 1000, 1]);
  });

  it("signs the next group while the one before it is being written, and writes one at a time", async () => {
    const bench = createBench();
    const first = bench.sequencer.append(unitOf(1));
    await bench.turn();
    const second = bench.sequencer.append(unitOf(2));
    await bench.turn();
    expect(bench.events).to.deep.equal(["sign 0", "write 1", "sign 1", "sign 1"]);
    await bench.release(0);
    await first;
    expect(bench.events.at(-1)).to.equal("write 2");
    await bench.release(1);
    await second;
  });

  it("refuses what does not fit into the queue, and takes it again once there is room", async () => {
    const bench = createBench();
    const blocking = bench.sequencer.append(unitOf(1));
    await bench.turn();
    // One batch is being written; what is signed and waits for it to end counts as much as what is not signed yet.
    const waiting = Array.from({ length: appendQueueRecordsMax / 1024 }, () =>
      bench.sequencer.append(unitOf(1024)),
    );
    expect(bench.sequencer.gauge.queuedRecords).to.equal(appendQueueRecordsMax);
    const refused = await faultOf(bench.sequencer.append(unitOf(1)));
    expect(refused).to.include({ kind: "queueFull", limit: appendQueueRecordsMax });
    for (let group = 0; group < 10; group += 1) await bench.release(group);
    await Promise.all([blocking, ...waiting]);
    expect(bench.sequencer.gauge).to.deep.equal({ queuedRecords: 0, queuedBytes: 0 });
  });

  it("counts a unit without a record as one record", async () => {
    const bench = createBench();
    const blocking = bench.sequencer.append(unitOf(1));
    await bench.turn();
    const waiting = Array.from({ length: appendQueueRecordsMax }, () => bench.sequencer.append(unitOf(0)));
    expect(bench.sequencer.gauge.queuedRecords).to.equal(appendQueueRecordsMax);
    expect(await faultOf(bench.sequencer.append(unitOf(0)))).to.include({ kind: "queueFull" });
    for (let group = 0; group <= appendQueueRecordsMax / groupRecordsMax; group += 1) {
      await bench.release(group);
      expect(bench.groups[group + 1]?.length ?? 0).to.be.at.most(groupRecordsMax);
    }
    for (let group = 0; group < bench.groups.length; group += 1) await bench.release(group);
    await Promise.all([blocking, ...waiting]);
    expect(bench.sequencer.gauge).to.deep.equal({ queuedRecords: 0, queuedBytes: 0 });
  });

  it("drops a cancelled call that has not been sequenced", async () => {
    const bench = createBench();
    const blocking = bench.sequencer.append(unitOf(1));
    await bench.turn();
    const signed = bench.sequencer.append(unitOf(1));
    await bench.turn();
    const abort = new AbortController();
    const dropped = faultOf(bench.sequencer.append({ ...unitOf(5), signal: abort.signal }));
    const kept = bench.sequencer.append(unitOf(2));
    abort.abort();
    for (const group of [0, 1, 2]) await bench.release(group);
    expect(await dropped).to.deep.equal({ kind: "cancelled" });
    await Promise.all([blocking, signed, kept]);
    expect(bench.sizes()).to.deep.equal([1, 1, 2]);
  });

  it("drops a call that is cancelled once it is signed, while it waits for the disk", async () => {
    const bench = createBench();
    const blocking = bench.sequencer.append(unitOf(1));
    await bench.turn();
    const abort = new AbortController();
    const dropped = faultOf(bench.sequencer.append({ ...unitOf(5), signal: abort.signal }));
    await bench.turn();
    const kept = bench.sequencer.append(unitOf(2));
    abort.abort();
    for (const group of [0, 1]) await bench.release(group);
    expect(await dropped).to.deep.equal({ kind: "cancelled" });
    await Promise.all([blocking, kept]);
    expect(bench.sizes()).to.deep.equal([1, 2]);
    expect(bench.sequencer.gauge).to.deep.equal({ queuedRecords: 0, queuedBytes: 0 });
  });

  it("keeps a call that is cancelled after it has been sequenced", async () => {
    const bench = createBench();
    const abort = new AbortController();
    const kept = bench.sequencer.append({ ...unitOf(1), signal: abort.signal });
    await bench.turn();
    abort.abort();
    await bench.release(0);
    expect((await kept)[0]?.position).to.equal(0n);
  });

  it("refuses a call that was cancelled before it came", async () => {
    const bench = createBench();
    const refused = bench.sequencer.append({ ...unitOf(1), signal: AbortSignal.abort() });
    expect(await faultOf(refused)).to.deep.equal({ kind: "cancelled" });
    await bench.turn();
    expect(bench.sizes()).to.deep.equal([]);
  });

  it("fails only the group that could not be signed", async () => {
    const bench = createBench();
    bench.failSigning(true);
    const failed = faultOf(bench.sequencer.append(unitOf(1)));
    await bench.turn();
    bench.failSigning(false);
    expect(await failed).to.include({ kind: "notServing" });
    const next = bench.sequencer.append(unitOf(1));
    await bench.turn();
    await bench.release(0);
    expect((await next)[0]?.position).to.equal(0n);
  });

  it("answers a whole group with what its write failed with, and refuses the signed one behind it", async () => {
    const bench = createBench();
    const writing = [bench.sequencer.append(unitOf(1)), bench.sequencer.append(unitOf(1))].map(faultOf);
    await bench.turn();
    const signed = faultOf(bench.sequencer.append(unitOf(1)));
    await bench.turn();
    const waiting = faultOf(bench.sequencer.append(unitOf(1)));
    bench.sequencer.stop({ kind: "notServing", rule: "stopped" });
    await bench.release(0, { kind: "indeterminate", rule: "disk" });
    expect((await Promise.all(writing)).map((error) => error?.kind)).to.deep.equal([
      "indeterminate",
      "indeterminate",
    ]);
    expect((await signed)?.kind).to.equal("notServing");
    expect((await waiting)?.kind).to.equal("notServing");
    expect(bench.groups.length).to.equal(1);
  });

  it("answers what waits and refuses what comes when it is finished", async () => {
    const bench = createBench();
    const waiting = bench.sequencer.append(unitOf(1));
    const finished = bench.sequencer.finish({ kind: "notServing", rule: "closing" });
    expect(await faultOf(bench.sequencer.append(unitOf(1)))).to.include({ kind: "notServing" });
    await bench.turn();
    await bench.release(0);
    await finished;
    expect((await waiting)[0]?.position).to.equal(0n);
  });
});
