/** The one suite that every destination of a relay passes, against the real thing. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { decodeDisclosed, formatDisclosures } from "../../src/core/record/commitment.ts";
import type { Destination } from "../../src/relay/destination.ts";
import type { RelayOptions } from "../../src/relay/relay-options.ts";
import {
  createRelayLedger,
  dataOf,
  expectWhole,
  holdsCanary,
  killAfter,
  relayDisclosures,
  startRelay,
  until,
  untilCaughtUp,
  type DestinationPlace,
  type SeenMessage,
} from "./relay-world.ts";

/** More steps than publishing two batches takes, of relay and destination together. */
const stepsMax = 44;

/** What a killed process leaves open, its system closes. */
const leaving = (destination: Destination, left: AsyncDisposableStack): Destination => ({
  ...destination,
  open: async (signal, again) => {
    const open = await destination.open(signal, again);
    left.defer(() => open[Symbol.asyncDispose]());
    return {
      limits: open.limits,
      ...(open.laneOf === undefined ? {} : { laneOf: open.laneOf }),
      ...(open.lanes === undefined ? {} : { lanes: open.lanes }),
      [Symbol.asyncDispose]: async () => {},
      publish: open.publish.bind(open),
      lastPublished: open.lastPublished.bind(open),
    };
  },
});

/** Claims of a destination that can tell what it holds. */
const testHolding = (open: () => Promise<DestinationPlace>): void => {
  it("goes on from what the destination holds when its cursor is lost", async () => {
    await using place = await open();
    const source = createRelayLedger();
    source.add(9);
    const options = { source, destination: place.destination(), cursorPath: place.cursorPath };
    await using before = await startRelay(options);
    await untilCaughtUp(before, { source });
    await before.relay.close();
    source.add(9);
    await using seen = await startRelay({ ...options, cursorPath: `${place.cursorPath}.other` });
    await untilCaughtUp(seen, { source });
    expectWhole(await place.messages(), source.items);
    expect(seen.relay.status.published).to.equal(9n);
  });

  it("notices that what was acknowledged is gone, and publishes it again", async () => {
    await using place = await open();
    const source = createRelayLedger();
    source.add(9);
    const options = { source, destination: place.destination(), cursorPath: place.cursorPath };
    await using before = await startRelay(options);
    await untilCaughtUp(before, { source });
    await before.relay.close();
    await place.wipe();
    source.add(2);
    await using seen = await startRelay(options);
    await untilCaughtUp(seen, { source });
    expect(seen.lost).to.deep.equal([[0n, 9n]]);
    expectWhole(await place.messages(), source.items);
  });

  it("publishes an older copy of the ledger after a reset, above the generations there, without its cursor", async () => {
    await using place = await open();
    const [source, older] = [createRelayLedger(), createRelayLedger()];
    source.add(9);
    older.add(6);
    const options = { source, destination: place.destination(), cursorPath: place.cursorPath };
    await using before = await startRelay(options);
    await untilCaughtUp(before, { source });
    await before.relay.reset(0n);
    await untilCaughtUp(before, { source });
    await before.relay.close();
    const restored = { ...options, source: older, cursorPath: `${place.cursorPath}.other` };
    await using seen = await startRelay(restored);
    await until(() => seen.errors.length > 0, "an error");
    expect(seen.errors[0]?.rule).to.contain("position 8 was published").and.to.contain("reset the relay");
    await seen.relay.reset(0n);
    await untilCaughtUp(seen, { source: older });
    expect(seen.relay.status).to.include({ generation: 3, published: 6n });
    expectWhole(await place.messages(), older.items, 3);
  });

  it("does not go on where another ledger published", async () => {
    await using place = await open();
    const [source, foreign] = [createRelayLedger(), createRelayLedger()];
    foreign.add(4, { tenant: "elsewhere" }, 50);
    source.add(9);
    const options = { destination: place.destination(), cursorPath: place.cursorPath };
    await using before = await startRelay({ ...options, source: foreign });
    await untilCaughtUp(before, { source: foreign });
    await before.relay.close();
    await using seen = await startRelay({ ...options, source });
    await until(() => seen.errors.length > 0, "an error");
    expect(seen.errors[0]?.kind).to.equal("refused");
    expect(seen.errors[0]?.rule).to.contain("position 3").and.to.contain("another record");
    expectWhole(await place.messages(), foreign.items);
  });
};

/**
 * @param title names the destination.
 * @param reports what it holds: its newest message, or nothing, so that the cursor decides alone.
 */
export const testDestination = (
  title: string,
  open: () => Promise<DestinationPlace>,
  reports: "newest" | "nothing" = "newest",
): void => {
  describe(`a relay to ${title}`, () => {
    it("publishes every record in ledger order, each linked to the one before it", async () => {
      await using place = await open();
      const source = createRelayLedger();
      source.add(20);
      await using seen = await startRelay({
        source,
        destination: place.destination(),
        cursorPath: place.cursorPath,
      });
      await untilCaughtUp(seen, { source });
      source.add(3, { tenant: "other" });
      await untilCaughtUp(seen, { source });
      const messages = await place.messages();
      expectWhole(messages, source.items);
      const newest = messages.find(({ sigilposition }) => sigilposition === "22");
      const note = Buffer.from(String(newest?.["sigilcheckpoint"]), "base64").toString();
      expect(note).to.equal(`${source.origin}\n23\n`);
      expect(seen.relay.status).to.include({ published: 23n, lag: 0n, lagMs: 0, state: "running" });
    });

    if (reports === "newest") testHolding(open);

    it("publishes erased records without data, and from a reset on everything again as a new generation", async () => {
      await using place = await open();
      const source = createRelayLedger();
      source.add(9);
      const options = { source, destination: place.destination(), cursorPath: place.cursorPath };
      await using seen = await startRelay(options);
      await untilCaughtUp(seen, { source });
      source.erase(3);
      source.erase(8);
      await seen.relay.reset(0n);
      await untilCaughtUp(seen, { source });
      const messages = await place.messages();
      expectWhole(messages, source.items, 1);
      expectWhole(messages, source.items, 2);
      const [erased] = messages.filter(
        (one) => one["sigilgeneration"] === "2" && one["sigilposition"] === "3",
      );
      expect(erased).to.include({ type: "sigil.erased.v1" });
      expect(erased).not.to.have.any.keys("data", "data_base64", "datacontenttype", "subject", "time");
      await seen.relay.close();
      // The newest record is erased: its leaf is what the next start compares.
      await using next = await startRelay(options);
      await untilCaughtUp(next, { source });
      expect(next.errors).to.deep.equal([]);
    });

    it("publishes what opens commitments where it is told to, beside the same envelopes, and nothing of it elsewhere", async () => {
      const publish = async (event: RelayOptions["event"]) => {
        await using place = await open();
        const source = createRelayLedger();
        source.add(9);
        // One of them is larger than a message of a broker.
        for (const [position, bytes] of [
          [2, 60],
          [5, (1 << 20) - 600],
          [8, 60],
        ] as const)
          source.disclose(position, relayDisclosures(bytes));
        const destination = place.destination();
        await using seen = await startRelay({ source, destination, cursorPath: place.cursorPath, event });
        await untilCaughtUp(seen, { source });
        const messages = await place.messages();
        expectWhole(messages, source.items);
        const at = (position: number): SeenMessage =>
          messages.find((one) => one["sigilposition"] === String(position)) ?? expect.fail("not there");
        return { source, messages, at };
      };
      const full = { typePrefix: "sigil", data: "full", format: "envelope" } as const;
      const told = await publish({ ...full, disclosures: "included" });
      for (const position of [2, 8]) {
        const { envelope, disclosures } = decodeDisclosed(dataOf(told.at(position)));
        const { record } = told.source.items[position] ?? expect.fail("not there");
        expect(Buffer.from(envelope).equals(record?.envelope ?? Buffer.alloc(0))).to.equal(true);
        expect(disclosures).to.deep.equal(formatDisclosures(record?.disclosures ?? {}));
      }
      // Whole or by reference: never the envelope alone, as if there had been nothing to disclose.
      const isByReference = "dataref" in told.at(5);
      expect(told.messages.filter(holdsCanary)).to.have.length(isByReference ? 2 : 3);
      expect("datacontenttype" in told.at(5)).to.equal(!isByReference);
      const plain = { ...full, disclosures: "withheld" } as const;
      for (const event of [
        plain,
        { ...plain, format: "json" },
        { ...plain, data: "metadata" },
        { ...plain, data: "metadata", format: "json" },
      ] as const) {
        const { messages, source } = await publish(event);
        expect(messages.filter(holdsCanary), JSON.stringify(event)).to.deep.equal([]);
        if (event !== plain) continue;
        for (const [position, { record }] of source.items.entries()) {
          const message = messages.find((one) => one["sigilposition"] === String(position)) ?? {};
          expect(Buffer.from(dataOf(message)).equals(record?.envelope ?? Buffer.alloc(0))).to.equal(true);
        }
      }
    });

    it("publishes nothing while it is paused, also after a restart", async () => {
      await using place = await open();
      const source = createRelayLedger();
      source.add(2);
      const options = { source, destination: place.destination(), cursorPath: place.cursorPath };
      await using first = await startRelay(options);
      await untilCaughtUp(first, { source });
      await first.relay.pause();
      source.add(2);
      await first.relay.close();
      await using seen = await startRelay(options);
      await until(() => seen.relay.status.state === "paused", "paused");
      expect(await place.messages()).to.have.length(2);
      expect(seen.relay.status.lag).to.equal(2n);
      await seen.relay.resume();
      await untilCaughtUp(seen, { source });
      expectWhole(await place.messages(), source.items);
    });

    it("loses, repeats and reorders nothing when it is killed between any two steps", async () => {
      for (let steps = 1; steps <= stepsMax; steps += 1) {
        await using place = await open();
        const source = createRelayLedger();
        source.add(10);
        const { onStep, died } = killAfter(steps);
        await using left = new AsyncDisposableStack();
        const destination = leaving(place.destination(onStep), left);
        const killed = await startRelay({ source, destination, cursorPath: place.cursorPath, onStep });
        const end = await Promise.race([died, untilCaughtUp(killed, { source }).then(() => "no step")]);
        if (end === "no step") await killed.relay.close();
        source.add(5);
        await using seen = await startRelay({
          source,
          destination: place.destination(),
          cursorPath: place.cursorPath,
        });
        await untilCaughtUp(seen, { source });
        expectWhole(await place.messages(), source.items);
        expect(seen.lost, `killed at step ${steps}, ${end}`).to.deep.equal([]);
      }
    });
  });
};
