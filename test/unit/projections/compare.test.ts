/** A comparison ends whatever its source does: one that waits for more, is shorter, or fails on the way. */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { verifyOwn } from "../../../src/core/keys/verify.ts";
import { compareWithLedger, type Comparison, type StoredRows } from "../../../src/projections/compare.ts";
import {
  noProgress,
  resumeConsumer,
  takeBatch,
  type ConsumerOptions,
  type Place,
} from "../../../src/projections/consumer.ts";
import type { LaneSource } from "../../../src/projections/message.ts";
import { rowsOf } from "../../../src/projections/rows.ts";
import { generateLedger, type GoldenLedger } from "../../contract/golden-ledger.ts";
import { goldenSource, messagesOf } from "../../contract/golden-source.ts";

const stored = 200n;

describe("a comparison with the ledger", () => {
  let ledger: GoldenLedger;
  let places: readonly Place[];
  let options: ConsumerOptions;

  before(async () => {
    ledger = await generateLedger({ seed: 42, count: 250 });
    options = { genesis: ledger.genesis, verify: verifyOwn, lanes: "one" };
    const messages = messagesOf(ledger, { size: stored });
    ({ places } = await takeBatch(resumeConsumer(noProgress, undefined), { messages }, options));
  });

  /** Of a projection that is what the ledger gives below `stored`. */
  const rows = (changes: Partial<StoredRows> = {}): StoredRows => ({
    next: stored,
    read: async (from, to) => rowsOf(places.slice(Number(from), Number(to))),
    inspect: async () => undefined,
    ...changes,
  });

  /** Has what stands below `size`, waits for more, and counts how often it has ended. */
  const waiting = (size: bigint) => {
    const counted = { ended: 0 };
    const source: LaneSource = {
      after: async function* (lanes, { signal }) {
        yield* goldenSource(ledger, {
          size: stored,
          tamper: (message) => (message.position < size ? message : undefined),
          isCheckpointed: false,
        }).after(lanes, { signal });
        if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
        counted.ended += 1;
      },
    };
    return { source, counted };
  };

  const compare = (
    source: LaneSource,
    size: bigint,
    changes: Partial<StoredRows> = {},
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Comparison> =>
    compareWithLedger(source, rows(changes), { ...options, sourceSize: async () => size, signal });

  it("ends at what is stored, or where a source that is shorter ends, and names that", async () => {
    const equal = waiting(stored);
    expect(await compare(equal.source, 250n)).to.include({ difference: undefined, behind: 50n });
    const shorter = waiting(stored - 50n);
    const { difference, behind } = await compare(shorter.source, stored - 50n);
    expect(behind).to.equal(0n);
    expect(difference).to.deep.equal({
      table: "record_versions",
      position: 150n,
      rule: "the source ends here, and the projection holds 200 places",
    });
    expect((await compare(waiting(0n).source, 0n)).difference?.position).to.equal(0n);
  });

  it("takes an interruption for no difference", async () => {
    const interrupted = new AbortController();
    const read: StoredRows["read"] = (...range) => {
      interrupted.abort(new Error("interrupted"));
      return rows({}).read(...range);
    };
    const { source } = waiting(100n);
    const ended = await compare(source, stored, { read }, interrupted.signal).catch(
      (error: Error) => error.message,
    );
    expect(ended).to.equal("interrupted");
  });

  it("leaves its source when the database fails", async () => {
    const { source, counted } = waiting(stored);
    const failed = await compare(source, stored, {
      read: () => Promise.reject(new Error("the database failed")),
    }).catch((error: Error) => error.message);
    expect(failed).to.equal("the database failed");
    await new Promise((resolve) => setImmediate(resolve));
    expect(counted.ended).to.equal(1);
  });
});
