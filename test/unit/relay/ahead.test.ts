/** A relay encodes one batch ahead of the one that is being acknowledged: not more, and publishes none of it before. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { expect } from "chai";
import { describe, it } from "mocha";
import type { Destination } from "../../../src/relay/destination.ts";
import { createRelayLedger, startRelay, until, untilCaughtUp } from "../../contract/relay-world.ts";

/** Acknowledges a batch when it is told to, and keeps nothing. */
const createHeld = () => {
  const [prepared, published, acknowledged]: [bigint[], bigint[], bigint[]] = [[], [], []];
  let held = Promise.withResolvers<void>();
  const destination: Destination = {
    describe: () => "held",
    open: async () => ({
      limits: { messageBytesMax: 10_000, batchEventsMax: 100, batchBytesMax: 1_000_000 },
      lastPublished: async () => ({ kind: "unknown" }),
      prepare: (events) => void prepared.push(...events.map(({ position }) => position)),
      publish: async (events) => {
        const positions = events.map(({ position }) => position);
        published.push(...positions);
        await held.promise;
        acknowledged.push(...positions);
      },
      [Symbol.asyncDispose]: async () => {},
    }),
  };
  const next = (): void => {
    const { resolve } = held;
    held = Promise.withResolvers();
    resolve();
  };
  const fail = (): void => {
    const { reject } = held;
    held = Promise.withResolvers();
    reject(new Error("broken off"));
  };
  return { destination, prepared, published, acknowledged, next, fail };
};

const withCursor = async (use: (cursorPath: string) => Promise<void>): Promise<void> => {
  const root = await mkdtemp(join(tmpdir(), "sigil-relay-"));
  await use(join(root, "cursor.json"));
  await rm(root, { recursive: true });
};

/** Records of a batch of the test's ledger. */
const batch = 7;

describe("a relay ahead of its destination", () => {
  it("has encoded the next batch while one is being acknowledged, and no more, and published none of it", () =>
    withCursor(async (cursorPath) => {
      const source = createRelayLedger();
      source.add(5 * batch);
      const { destination, prepared, published, acknowledged, next } = createHeld();
      await using seen = await startRelay({ source, destination, cursorPath });
      for (let taken = 1; taken <= 5; taken += 1) {
        const ahead = Math.min(taken + 1, 5) * batch;
        await until(() => prepared.length === ahead && published.length === taken * batch, `batch ${taken}`);
        for (let turns = 0; turns < 20; turns += 1) await turn();
        expect([prepared.length, published.length]).to.deep.equal([ahead, taken * batch]);
        expect(acknowledged).to.have.length((taken - 1) * batch);
        expect(seen.relay.status.next).to.equal(BigInt((taken - 1) * batch));
        next();
      }
      await untilCaughtUp(seen, { source });
      expect(acknowledged).to.deep.equal(source.items.map(({ position }) => position));
    }));

  it("notices a batch that fails while there is no next one, and publishes it and what follows again", () =>
    withCursor(async (cursorPath) => {
      const source = createRelayLedger();
      source.add(2 * batch);
      const { destination, published, acknowledged, next, fail } = createHeld();
      await using seen = await startRelay({ source, destination, cursorPath });
      await until(() => published.length === batch, "the first");
      next();
      await until(() => published.length === 2 * batch, "the second");
      fail();
      await until(() => seen.errors.length === 1 && published.length === 3 * batch, "the second again");
      expect(published.slice(-batch)[0]).to.equal(BigInt(batch));
      next();
      await untilCaughtUp(seen, { source });
      expect(acknowledged).to.deep.equal(source.items.map(({ position }) => position));
    }));

  it("moves no cursor after a reset by what was in flight", () =>
    withCursor(async (cursorPath) => {
      const source = createRelayLedger();
      source.add(3 * batch);
      const { destination, published, next } = createHeld();
      await using seen = await startRelay({ source, destination, cursorPath });
      await until(() => published.length === batch, "the first");
      const reset = seen.relay.reset(0n);
      for (let turns = 0; turns < 20; turns += 1) await turn();
      next();
      await reset;
      expect(seen.relay.status).to.include({ generation: 2, next: 0n });
      await until(() => published.length === 2 * batch, "the first again");
      expect(published.slice(-batch)[0]).to.equal(0n);
      next();
    }));
});
