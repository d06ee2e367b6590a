/** Where a relay resumes, and what it knows of a generation that another cursor began. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { readCursor, writeCursor } from "../../../src/relay/cursor-file.ts";
import { headersOf, type RelayEvent } from "../../../src/relay/event.ts";
import { relayBody, relayItem } from "../../contract/relay-world.ts";
import type { Holding } from "../../../src/relay/destination.ts";
import { chunksOf, firstCursor, needsGeneration, planStart } from "../../../src/relay/plan.ts";

const heldAt = (generation: number): Holding => ({
  kind: "at",
  last: { position: 8n, leaf: "00", generation },
});

const nothingLeft = { isInPlace: false, found: 0, left: 0, newestGeneration: undefined, outOfReach: [] };

describe("batches of a relay", () => {
  const options = {
    origin: "ledger.test",
    typePrefix: "sigil",
    data: "full",
    format: "envelope",
    disclosures: "withheld",
  } as const;
  const items = Array.from({ length: 9 }, (_, at) => relayItem(relayBody(at), at));
  const limits = { messageBytesMax: 4000, batchEventsMax: 4, batchBytesMax: 20_000 };
  const noted = (changes: Partial<typeof limits>, checkpoint: string | undefined): readonly bigint[] =>
    chunksOf({ items, checkpoint }, firstCursor(0n), options, { limits: { ...limits, ...changes } })
      .flatMap(({ events }) => events)
      .filter(({ attributes }) => "sigilcheckpoint" in attributes)
      .map(({ position }) => position);

  it("have the checkpoint with the last event of each", () => {
    expect(noted({}, "a note\n")).to.deep.equal([3n, 7n, 8n]);
    expect(noted({}, undefined)).to.deep.equal([]);
  });

  it("stay within the destination's bounds, and go without it before they exceed one", () => {
    const note = "n".repeat(600);
    const sizeOf = (event: RelayEvent): number =>
      headersOf(event).reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0) +
      (event.data?.bytes.length ?? 0);
    for (let batchBytesMax = 1000; batchBytesMax < 5000; batchBytesMax += 37) {
      const within = { limits: { ...limits, batchBytesMax } };
      const chunks = chunksOf({ items, checkpoint: note }, firstCursor(0n), options, within);
      expect(chunks.flatMap(({ events }) => events).map(({ position }) => position)).to.deep.equal(
        items.map(({ position }) => position),
      );
      for (const { events } of chunks) {
        expect(events.reduce((sum, event) => sum + sizeOf(event), 0)).to.be.at.most(batchBytesMax);
      }
    }
    expect(noted({ messageBytesMax: 1000 }, note)).to.deep.equal([]);
  });
});

describe("the generation that a relay finds without its cursor", () => {
  it("counts as partial, so that no older one is removed before a whole one is there", async () => {
    const { cursor } = planStart(firstCursor(0n), heldAt(2), 0n);
    expect(cursor).to.include({ generation: 2, from: undefined, next: 9n, prev: 8n });
    const root = await mkdtemp(join(tmpdir(), "sigil-cursor-"));
    const path = join(root, "cursor.json");
    await writeCursor(path, cursor);
    const read = (await readCursor(path)) ?? expect.fail("no cursor");
    await rm(root, { recursive: true });
    expect(read).to.deep.equal(cursor);
    const { cursor: restarted } = planStart(read, heldAt(2), 0n);
    expect(needsGeneration(restarted, 0n, nothingLeft, "purge old")).to.equal(true);
    expect(needsGeneration(restarted, 0n, nothingLeft, "erase")).to.equal(false);
  });

  it("is whole where the cursor began it at the first position", () => {
    const { cursor } = planStart(firstCursor(0n), heldAt(1), 0n);
    expect(needsGeneration(cursor, 0n, nothingLeft, "purge old")).to.equal(false);
  });

  it("begins again at the first position once the destination has lost it", () => {
    const { cursor } = planStart(firstCursor(3n), heldAt(2), 3n);
    const start = planStart(cursor, { kind: "empty" }, 3n);
    expect(start.cursor).to.include({ generation: 2, from: 3n, next: 3n, prev: undefined });
    expect(start.lost).to.deep.equal({ from: 3n, until: 9n });
  });
});
