/** Files of a relay as a source: what is rotated while they are read, and what cannot be read. */
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, before, beforeEach, describe, it } from "mocha";
import { verifyOwn } from "../../../src/core/keys/verify.ts";
import { noProgress, resumeConsumer, takeBatch, type Consumer } from "../../../src/projections/consumer.ts";
import { ProjectionFault, type ProjectionError } from "../../../src/projections/fault.ts";
import type { RelayEvent } from "../../../src/relay/event.ts";
import { dropAndRelink, exchange, withoutCheckpoints } from "../../contract/hostile-lane.ts";
import { fileSize, fileSource } from "../../../src/cli/project/file-source.ts";
import { eventsOf } from "../../contract/golden-events.ts";
import { appendEvents, appendLines, rotateEvents } from "../../contract/golden-files.ts";
import { generateLedger, type GoldenLedger } from "../../contract/golden-ledger.ts";

describe("the files of a relay as a source", () => {
  let ledger: GoldenLedger;
  let directory: string;

  before(async () => {
    ledger = await generateLedger({ seed: 41, count: 400 });
  });

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "sigil-files-"));
  });

  afterEach(() => rm(directory, { recursive: true }));

  it("has every position in order when a file is rotated while older ones are read", async () => {
    await appendEvents(directory, ledger, [0, 300]);
    await rotateEvents(directory, [0, 300]);
    await appendEvents(directory, ledger, [300, 350]);
    const stopping = new AbortController();
    const positions: bigint[] = [];
    for await (const { messages } of fileSource(directory).after(new Map(), stopping)) {
      // The first batch ends within the older file.
      if (positions.length === 0) {
        await rotateEvents(directory, [300, 350]);
        await appendEvents(directory, ledger, [350, 400]);
      }
      positions.push(...messages.map(({ position }) => position));
      if (positions.at(-1) === 399n) stopping.abort();
    }
    expect(positions).to.deep.equal(Array.from({ length: 400 }, (_, at) => BigInt(at)));
  });

  /** From files with these events, as a projection takes them. */
  const takeFiles = async (events: readonly RelayEvent[]): Promise<Consumer> => {
    await appendLines(directory, events);
    const options = { genesis: ledger.genesis, verify: verifyOwn, lanes: "one" } as const;
    let consumer = resumeConsumer(noProgress, undefined);
    const stopping = new AbortController();
    for await (const batch of fileSource(directory).after(new Map(), stopping)) {
      ({ consumer } = await takeBatch(consumer, batch, options));
      if (consumer.next >= BigInt(events.length)) stopping.abort();
    }
    return consumer;
  };

  const refusalOf = async (events: readonly RelayEvent[]): Promise<ProjectionError> => {
    try {
      await takeFiles(events);
    } catch (error) {
      if (error instanceof ProjectionFault) return error.error;
      throw error;
    }
    return expect.fail("it was taken");
  };

  it("brings the checkpoints of a relay, whose root stops what no link and no signature tells", async () => {
    // Between two rotations of keys, whose positions would tell too.
    const events = [...eventsOf(ledger, [0, 100]), ...eventsOf(ledger, [100, 190])];
    const attacks = [dropAndRelink(events, 92n), exchange(events, [92, 93])];
    for (const attacked of attacks) {
      const fault = await refusalOf(attacked);
      expect(fault).to.include({ kind: "rootDiffers", size: 100n });
      await rm(join(directory, "events.jsonl"));
      // Nothing else tells.
      expect((await takeFiles(withoutCheckpoints(attacked))).checked).to.equal(0n);
      await rm(join(directory, "events.jsonl"));
    }
    expect((await takeFiles(events)).checked).to.equal(100n);
  });

  it("says which file it cannot open, and takes one that is missing for empty", async () => {
    expect(await fileSize(directory)).to.equal(0n);
    const path = join(directory, "events.jsonl");
    // ELOOP, for every user; EACCES is none for root.
    await symlink(path, path);
    const refused = await fileSize(directory).catch((error: Error) => error.message);
    expect(refused).to.contain(`--from: ${path} cannot be read: ELOOP`);
  });
});
