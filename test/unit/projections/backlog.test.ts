/** Messages in fewer batches: all of them, in order, bounded, and failures after what came before. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { projectionBatchRecordsMax } from "../../../src/limits.ts";
import { gatherBatches } from "../../../src/projections/backlog.ts";
import type { LaneBatch } from "../../../src/projections/message.ts";

const batch = (position: bigint, checkpoint?: string): LaneBatch => ({
  messages: [{ lane: "l", position, prev: null, leaf: new Uint8Array(32) }],
  ...(checkpoint === undefined ? {} : { checkpoint }),
});

describe("batches gathered while others are worked on", () => {
  it("hold every message once and in order, with the newest checkpoint", async () => {
    const source = async function* () {
      for (let position = 0n; position < 1000n; position += 1n) yield batch(position, `note ${position}`);
    };
    const [positions, notes]: [bigint[], (string | undefined)[]] = [[], []];
    for await (const { messages, checkpoint } of gatherBatches(source())) {
      positions.push(...messages.map(({ position }) => position));
      notes.push(checkpoint);
      expect(checkpoint).to.equal(`note ${positions.at(-1)}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(positions).to.deep.equal(Array.from({ length: 1000 }, (_, at) => BigInt(at)));
    expect(notes.length).to.be.lessThan(1000);
  });

  it("are read no further ahead than the bound", async () => {
    let read = 0;
    const source = async function* () {
      for (;;) {
        read += 1;
        yield batch(BigInt(read));
      }
    };
    const gathered = gatherBatches(source());
    const first = await gathered.next();
    for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    const taken = first.done === true ? 0 : first.value.messages.length;
    expect(read - taken).to.equal(projectionBatchRecordsMax + 1);
    await gathered.return(undefined);
  });

  it("give what came before a failure, then the failure", async () => {
    const source = async function* () {
      yield batch(0n);
      yield batch(1n);
      throw new Error("gone");
    };
    const positions: bigint[] = [];
    const reading = (async () => {
      for await (const { messages } of gatherBatches(source())) {
        positions.push(...messages.map(({ position }) => position));
      }
    })();
    expect(await reading.catch((error: Error) => error.message)).to.equal("gone");
    expect(positions).to.deep.equal([0n, 1n]);
  });
});
