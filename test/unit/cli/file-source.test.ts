/** Files of a relay as a source: what is rotated while they are read, and what cannot be read. */
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, before, beforeEach, describe, it } from "mocha";
import { fileSize, fileSource } from "../../../src/cli/project/file-source.ts";
import { appendEvents, rotateEvents } from "../../contract/golden-files.ts";
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

  it("says which file it cannot open, and takes one that is missing for empty", async () => {
    expect(await fileSize(directory)).to.equal(0n);
    const path = join(directory, "events.jsonl");
    // ELOOP, for every user; EACCES is none for root.
    await symlink(path, path);
    const refused = await fileSize(directory).catch((error: Error) => error.message);
    expect(refused).to.contain(`--from: ${path} cannot be read: ELOOP`);
  });
});
