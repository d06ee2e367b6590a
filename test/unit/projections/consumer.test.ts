/** What a consumer of the feed takes, what it passes over, and what stops it with both positions. */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { cborEncode } from "../../../src/core/cbor/cbor.ts";
import { formatDisclosures, type Disclosures } from "../../../src/core/record/commitment.ts";
import { verifyOwn } from "../../../src/core/keys/verify.ts";
import { rootOf } from "../../../src/core/merkle/tree.ts";
import { parseCheckpoint } from "../../../src/core/merkle/checkpoint.ts";
import { parseNote } from "../../../src/core/merkle/note.ts";
import { leafHash } from "../../../src/core/merkle/hash.ts";
import { walkKeys } from "../../../src/core/verify/key-walk.ts";
import { leafOf } from "../../../src/core/verify/record.ts";
import {
  noProgress,
  resumeConsumer,
  takeBatch,
  type Consumer,
  type ConsumerOptions,
  type Place,
} from "../../../src/projections/consumer.ts";
import { ProjectionFault, type ProjectionError } from "../../../src/projections/fault.ts";
import type { LaneBatch, LaneMessage } from "../../../src/projections/message.ts";
import { addRows, noDigests } from "../../../src/projections/digest.ts";
import { rowsOf } from "../../../src/projections/rows.ts";
import { createRandom } from "../../campaigns/oracle.ts";
import { generateLedger, type GoldenLedger } from "../../contract/golden-ledger.ts";
import { goldenSource, messagesOf, type SourceOptions } from "../../contract/golden-source.ts";

const size = 400n;
let ledger: GoldenLedger;
let options: ConsumerOptions;

const started = (): Consumer => resumeConsumer(noProgress, undefined);

const takeAll = async (
  batches: AsyncIterable<LaneBatch> | Iterable<LaneBatch>,
  from = started(),
  changes: Partial<ConsumerOptions> = {},
) => {
  let consumer = from;
  const [places, checked]: [Place[], bigint[]] = [[], []];
  for await (const batch of batches) {
    const taken = await takeBatch(consumer, batch, { ...options, ...changes });
    ({ consumer } = taken);
    places.push(...taken.places);
    if (taken.checkpoint !== undefined) checked.push(taken.checkpoint.size);
  }
  return { consumer, places, checked };
};

const read = (changes: Partial<SourceOptions> = {}): AsyncIterable<LaneBatch> =>
  goldenSource(ledger, { size, ...changes }).after(new Map(), { signal: new AbortController().signal });

const faultOf = async (work: Promise<unknown>): Promise<ProjectionError> => {
  try {
    await work;
  } catch (error) {
    if (error instanceof ProjectionFault) return error.error;
    throw error;
  }
  return expect.fail("it was taken");
};

const digestOf = (places: readonly Place[]) => addRows(noDigests, rowsOf(places));

const at = (position: bigint, change: (message: LaneMessage) => LaneMessage | undefined) => ({
  tamper: (message: LaneMessage) => (message.position === position ? change(message) : message),
});

/** A position whose record may be changed without anything else being about it. */
const plain = (): bigint =>
  BigInt(ledger.places.findIndex(({ body }, index) => index > 50 && body.tenant === "acme"));

describe("a consumer of the feed", () => {
  before(async () => {
    ledger = await generateLedger({ seed: 7, count: Number(size) });
    options = { genesis: ledger.genesis, verify: verifyOwn, lanes: "one" };
  });

  it("takes every place once, in order, and has the root of each checkpoint", async () => {
    const { consumer, places, checked } = await takeAll(read());
    expect(places.map(({ position }) => position)).to.deep.equal(
      Array.from({ length: Number(size) }, (_, index) => BigInt(index)),
    );
    expect(checked.at(-1)).to.equal(size);
    const note = ledger.checkpoints.get(size) ?? "";
    expect(rootOf(consumer.frontier)).to.deep.equal(parseCheckpoint(parseNote(note).text).root);
  });

  it("takes records with what opens their commitments, and keeps nothing of it", async () => {
    const withheld = (await takeAll(read())).places;
    let opened = 0;
    const { places } = await takeAll(
      read({
        isDisclosed: true,
        tamper: (message) => {
          if (message.disclosures !== undefined) opened += 1;
          return message;
        },
      }),
    );
    expect(opened).to.be.above(50);
    expect(places).to.deep.equal(withheld);
  });

  it("stops at disclosures that are not what the record commits to, before anything is taken of the batch", async () => {
    const disclosed = ledger.places.flatMap(({ disclosures }, index) =>
      disclosures === undefined || index < 50 ? [] : [{ position: BigInt(index), disclosures }],
    );
    const [one, other] = disclosed.slice(-2);
    if (one === undefined || other === undefined) return expect.fail("nothing is disclosed");
    const { position } = one;
    const { input } = one.disclosures;
    if (input === undefined) return expect.fail("no input");
    const wrong: Readonly<Record<string, readonly [bigint, Disclosures]>> = {
      "another record's": [position, other.disclosures],
      "another salt": [position, { input: { ...input, salt: new Uint8Array(32) } }],
      "another value": [position, { input: { ...input, value: [new Uint8Array(32), 1] } }],
      "bytes that were not asked": [position, { input: { ...input, raw: new Uint8Array(1) } }],
      "another path": [position, { output: input }],
      "a record that commits to nothing": [plain(), one.disclosures],
    };
    for (const [name, [at, disclosures]] of Object.entries(wrong)) {
      const tamper = (message: LaneMessage): LaneMessage =>
        message.position === at
          ? { ...message, disclosures: cborEncode(formatDisclosures(disclosures)) }
          : message;
      const fault = await faultOf(takeAll(read({ tamper })));
      expect(fault, name).to.include({ kind: "recordRefused", position: at, step: "schema" });
    }
    const garbled = { tamper: (message: LaneMessage) => ({ ...message, disclosures: Buffer.from("a2") }) };
    expect(await faultOf(takeAll(read(garbled)))).to.include({ kind: "recordRefused", step: "schema" });
  });

  it("gives the same places whatever is repeated and late", async () => {
    const expected = digestOf((await takeAll(read())).places);
    for (const seed of [1, 2, 3]) {
      const { places } = await takeAll(read({ random: createRandom(seed) }));
      expect(digestOf(places)).to.deep.equal(expected);
    }
  });

  it("goes on from its cursors with the keys walked anew", async () => {
    const whole = await takeAll(read());
    const messages = messagesOf(ledger, { size });
    const first = await takeAll([{ messages: messages.slice(0, 150) }]);
    const { next, lanes, frontier } = first.consumer;
    const keyRecords = ledger.places.flatMap(({ body, envelope }, index) =>
      index < 150 && ["genesis", "signing_key"].includes(body.kind)
        ? [{ position: BigInt(index), envelope }]
        : [],
    );
    expect(keyRecords.length).to.be.greaterThan(1);
    const keys = await walkKeys(ledger.genesis, keyRecords, { verify: verifyOwn });
    const rest = await takeAll(read(), resumeConsumer({ next, lanes, frontier }, keys));
    expect(digestOf([...first.places, ...rest.places])).to.deep.equal(digestOf(whole.places));
    expect(rest.checked.at(-1)).to.equal(size);
  });

  it("stops where several lanes lack a place that their source says it has brought", async () => {
    const several = { lanes: "several" as const };
    const laneOf = (position: bigint): string => String(position % 3n);
    const messages = messagesOf(ledger, {
      size,
      laneOf,
      tamper: (one) => (one.position === 5n ? undefined : one),
    });
    const first = messages.slice(0, 20);
    const waiting = await takeAll([{ messages: first }], started(), several);
    expect(waiting.consumer.next).to.equal(5n);
    const settled = takeAll([{ messages: [], settled: 15n }], waiting.consumer, several);
    expect(await faultOf(settled)).to.deep.equal({ kind: "positionMissing", expected: 5n, found: 6n });
    const early = await takeAll([{ messages: [], settled: 5n }], waiting.consumer, several);
    expect(early.consumer.next).to.equal(5n);
  });

  it("puts several lanes together, and holds the cursor of each at what was taken", async () => {
    const laneOf = (position: bigint): string => `p${position % 3n}`;
    const messages = messagesOf(ledger, { size: 30n, laneOf });
    const later = messages.filter(({ lane }) => lane !== "p0");
    const first = messages.filter(({ lane }) => lane === "p0");
    const several = { lanes: "several" as const };
    const held = await takeAll([{ messages: later }], started(), several);
    expect(held.places).to.deep.equal([]);
    expect(held.consumer.lanes).to.deep.equal(new Map());
    const both = await takeAll([{ messages: first.slice(0, 5) }], held.consumer, several);
    expect(both.consumer.next).to.equal(15n);
    expect(both.consumer.lanes).to.deep.equal(
      new Map([
        ["p0", { position: 12n }],
        ["p1", { position: 13n }],
        ["p2", { position: 14n }],
      ]),
    );
  });

  it("stops at a missing link with both positions", async () => {
    const messages = messagesOf(ledger, { size });
    const dropped = messages.filter(({ position }) => position !== 60n);
    expect(await faultOf(takeAll([{ messages: dropped }]))).to.deep.equal({
      kind: "linkMissing",
      lane: "ledger",
      position: 61n,
      prev: 60n,
      taken: 59n,
    });
  });

  it("stops where two messages of a lane are exchanged", async () => {
    const messages = [...messagesOf(ledger, { size: 50n })];
    const [one, two] = [messages[20], messages[21]];
    if (one === undefined || two === undefined) return expect.fail("too few");
    messages.splice(20, 2, two, one);
    expect((await faultOf(takeAll([{ messages }]))).kind).to.equal("linkMissing");
  });

  it("sees a place that was dropped and linked anew", async () => {
    expect(await faultOf(takeAll(read(at(60n, () => undefined))))).to.deep.equal({
      kind: "positionMissing",
      expected: 60n,
      found: 61n,
    });
  });

  it("sees by the root that a place was replaced by an erased one of another leaf", async () => {
    const other = leafHash(new Uint8Array(32));
    const fault = await faultOf(
      takeAll(read(at(plain(), ({ lane, position, prev }) => ({ lane, position, prev, leaf: other })))),
    );
    expect(fault.kind).to.equal("rootDiffers");
  });

  it("takes no record that was changed, is signed by nobody's key, or stands elsewhere", async () => {
    const position = plain();
    const flipped = at(position, (message) => {
      const envelope = Uint8Array.from(message.envelope ?? []);
      envelope[envelope.length - 40] = (envelope[envelope.length - 40] ?? 0) ^ 1;
      return { ...message, envelope };
    });
    expect(await faultOf(takeAll(read(flipped)))).to.include({
      kind: "recordRefused",
      position,
      step: "inclusion",
    });
    const unsigned = at(position, (message) => {
      const envelope = Uint8Array.from(message.envelope ?? []);
      // An envelope without attestations ends in the signature and an empty list.
      envelope[envelope.length - 10] = (envelope[envelope.length - 10] ?? 0) ^ 1;
      return { ...message, envelope, leaf: leafOf(envelope) };
    });
    expect(await faultOf(takeAll(read(unsigned)))).to.include({
      kind: "recordRefused",
      position,
      step: "signature",
    });
    const foreign = await generateLedger({ seed: 8, count: 100 });
    const { envelope, leaf } = foreign.places[50] ?? expect.fail("too few");
    const strange = at(position, (message) => ({ ...message, envelope, leaf }));
    expect(await faultOf(takeAll(read(strange)))).to.include({
      kind: "recordRefused",
      position,
      step: "key",
    });
    const earlier = ledger.places[Number(position) - 1] ?? expect.fail("too few");
    const moved = at(position, (message) => ({
      ...message,
      envelope: earlier.envelope,
      leaf: earlier.leaf,
    }));
    expect((await faultOf(takeAll(read(moved)))).kind).to.equal("rootDiffers");
  });

  it("takes no ledger of another genesis record, and no checkpoint of another key", async () => {
    const foreign = await generateLedger({ seed: 8, count: 100 });
    const other = { genesis: foreign.genesis };
    expect(await faultOf(takeAll(read(), started(), other))).to.include({
      kind: "recordRefused",
      step: "genesis",
    });
    const messages = messagesOf(ledger, { size: 100n });
    const checkpoint = [...foreign.checkpoints].find(([at]) => at <= 100n)?.[1] ?? "";
    expect((await faultOf(takeAll([{ messages, checkpoint }]))).kind).to.equal("checkpointRefused");
  });

  it("compares a checkpoint that came early once its size is reached", async () => {
    const [checkedSize, checkpoint] = [...ledger.checkpoints].find(([at]) => at > 20n) ?? expect.fail("none");
    const messages = messagesOf(ledger, { size });
    const early = await takeAll([{ messages: messages.slice(0, 10), checkpoint }]);
    expect(early.checked).to.deep.equal([]);
    const later = await takeAll([{ messages: messages.slice(10) }], early.consumer);
    expect(later.checked).to.deep.equal([checkedSize]);
  });

  it("compares the largest of the checkpoints that came with messages, and keeps the next", async () => {
    const sizes = [...ledger.checkpoints.keys()].sort((one, two) => Number(one - two));
    const messages = messagesOf(ledger, { size }).map((message) => {
      const checkpoint = ledger.checkpoints.get(message.position + 1n);
      return checkpoint === undefined ? message : { ...message, checkpoint };
    });
    const early = sizes.find((at) => at > 250n) ?? expect.fail("none");
    let compared = 0;
    const { consumer, checked } = await takeAll([{ messages: messages.slice(0, 250) }], started(), {
      verify: (...given) => {
        compared += 1;
        return verifyOwn(...given);
      },
    });
    const last = sizes.findLast((at) => at <= 250n);
    expect(checked).to.deep.equal([last]);
    expect(compared).to.be.at.most(251);
    const [one, two] = [early, size].map((at) => ({ checkpoint: ledger.checkpoints.get(at) ?? "" }));
    const waiting = await takeAll(
      [
        { messages: [], ...two },
        { messages: [], ...one },
      ],
      consumer,
    );
    expect(waiting.consumer.due).to.equal(one?.checkpoint);
    expect((await takeAll([{ messages: messages.slice(250) }], waiting.consumer)).consumer.checked).to.equal(
      size,
    );
  });

  it("compares the largest of the checkpoints that came with messages that waited for another lane", async () => {
    const isLate = (position: bigint): boolean => position % 3n === 0n;
    const [small = 0n, large = 0n] = [...ledger.checkpoints.keys()]
      .filter((at) => at > 1n && !isLate(at - 1n))
      .sort((one, two) => Number(one - two));
    expect(small < large).to.equal(true);
    const messages = messagesOf(ledger, {
      size: large,
      laneOf: (position) => (isLate(position) ? "late" : "early"),
    }).map((message) => {
      const at = message.position + 1n;
      const checkpoint = at === small || at === large ? ledger.checkpoints.get(at) : undefined;
      return checkpoint === undefined ? message : { ...message, checkpoint };
    });
    const { early = [], late = [] } = Object.groupBy(messages, ({ lane }) => lane as "early" | "late");
    const { consumer } = await takeAll([{ messages: early }, { messages: late }], started(), {
      lanes: "several",
    });
    expect([consumer.next, consumer.checked]).to.deep.equal([large, large]);
  });

  it("is where it was after a batch that it did not take", async () => {
    const messages = messagesOf(ledger, { size });
    const { consumer } = await takeAll([{ messages: messages.slice(0, 40) }]);
    const before = { ...consumer };
    await faultOf(takeAll([{ messages: messages.slice(50) }], consumer));
    expect(consumer).to.deep.equal(before);
    expect((await takeAll([{ messages: messages.slice(40) }], consumer)).consumer.next).to.equal(size);
  });
});
