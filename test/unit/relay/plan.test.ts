/** Where a relay resumes, and what it knows of a generation that another cursor began. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { readCursor, writeCursor } from "../../../src/relay/cursor-file.ts";
import type { Holding } from "../../../src/relay/destination.ts";
import { firstCursor, needsGeneration, planStart } from "../../../src/relay/plan.ts";

const heldAt = (generation: number): Holding => ({
  kind: "at",
  last: { position: 8n, leaf: "00", generation },
});

const nothingLeft = { isInPlace: false, found: 0, left: 0, newestGeneration: undefined, outOfReach: [] };

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
