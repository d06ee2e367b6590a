/** When a projection is published: counting what is withheld reads every row, so it is not done for each batch. */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { verifyOwn } from "../../../src/core/keys/verify.ts";
import { noProgress } from "../../../src/projections/consumer.ts";
import { failProjection, ProjectionFault } from "../../../src/projections/fault.ts";
import { project } from "../../../src/projections/project.ts";
import { generateLedger, type GoldenLedger } from "../../contract/golden-ledger.ts";
import { goldenSource } from "../../contract/golden-source.ts";

/** What `project` says with a source that has so many places and such checkpoints. */
describe("a projection that ends when it has caught up", () => {
  it("is not shown before a checkpoint holds what it has, whatever the source strips", async () => {
    const ledger = await generateLedger({ seed: 44, count: 300 });
    const size = BigInt(ledger.places.length);
    const run = async (isCheckpointed: boolean, checkpoint?: string) => {
      const seen = { published: false, next: 0n };
      const options = { genesis: ledger.genesis, verify: verifyOwn, lanes: "one" } as const;
      const done = project({
        ...options,
        source: goldenSource(ledger, { size, isCheckpointed }),
        store: {
          resume: async () => ({ progress: noProgress, keyRecords: [], checkpoint }),
          apply: async ({ progress }) => {
            seen.next = progress.next;
            return [];
          },
          publish: async () => {
            seen.published = true;
          },
        },
        size,
        sourceSize: async () => size,
        onCaughtUp: "end",
        signal: new AbortController().signal,
      });
      const error = await done.then(
        () => undefined,
        (cause: unknown) => (cause instanceof ProjectionFault ? cause.error : expect.fail(String(cause))),
      );
      return { ...seen, error };
    };
    expect(await run(true)).to.deep.equal({ published: true, next: size, error: undefined });
    const stripped = { kind: "unchecked", size, checked: 0n };
    expect(await run(false)).to.deep.equal({ published: false, next: size, error: stripped });
    const older = ledger.checkpoints.get(200n) ?? expect.fail("none");
    expect((await run(false, older)).error).to.deep.equal({ ...stripped, checked: 200n });
  });
});

describe("a projection that follows", () => {
  let ledger: GoldenLedger;

  before(async () => {
    ledger = await generateLedger({ seed: 43, count: 400 });
  });

  it("asks again whether something is withheld with each report of an erasure, and for nothing else", async () => {
    const size = BigInt(ledger.places.length);
    const published: bigint[] = [];
    const reports: bigint[] = [];
    let next = 0n;
    await project({
      genesis: ledger.genesis,
      verify: verifyOwn,
      lanes: "one",
      source: {
        // Each batch is stored before the next one comes: none are gathered.
        after: async function* (lanes, { signal }) {
          for await (const batch of goldenSource(ledger, { size, batchMessages: 10 }).after(lanes, {
            signal,
          })) {
            yield batch;
            const last = batch.messages.at(-1)?.position ?? 0n;
            while (next <= last && !signal.aborted) await new Promise((resolve) => setImmediate(resolve));
          }
        },
      },
      store: {
        resume: async () => ({ progress: noProgress, keyRecords: [], checkpoint: undefined }),
        apply: async ({ places, progress }) => {
          ({ next } = progress);
          const isReport = places.some(
            ({ record }) => record?.body.kind === "erased" && record.body.space === "system",
          );
          if (isReport) reports.push(next);
          return [];
        },
        publish: async () => {
          published.push(next);
          failProjection({ kind: "withheld", erased: 1n, reported: 0n });
        },
      },
      size: 0n,
      sourceSize: async () => size,
      onCaughtUp: "follow",
      signal: new AbortController().signal,
    });
    expect(next).to.equal(size);
    expect(reports).to.have.length(2);
    expect(published).to.deep.equal([0n, ...reports]);
  });
});
