/** A relay's files on a disk that fills up, a real one: a small tmpfs. Nothing is lost, and nothing is torn. */
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { filesDestination } from "../../src/relay/files.ts";
import { readFileMessages } from "../contract/relay-messages.ts";
import { createRelayLedger, expectWhole, startRelay, until, untilCaughtUp } from "../contract/relay-world.ts";

const diskBytes = 1 << 20;

describe("a relay to files on a disk that is full (a small tmpfs)", () => {
  let disk = "";
  let refused: string | undefined;
  before(async () => {
    disk = await mkdtemp(join(tmpdir(), "sigil-relay-full-"));
    const options = `size=${diskBytes},mode=0700`;
    const { status, stderr, error } = spawnSync("mount", ["-t", "tmpfs", "-o", options, "sigil-test", disk]);
    if (status !== 0) refused = error?.message ?? stderr.toString().trim();
  });
  after(async () => {
    if (refused === undefined) spawnSync("umount", [disk]);
    await rm(disk, { recursive: true, force: true });
  });

  it("waits until there is room, and then has every record once, in whole lines", async function () {
    if (refused !== undefined) {
      console.log(`      skipped, a tmpfs cannot be mounted here: ${refused}`);
      return this.skip();
    }
    const ballast = join(disk, "ballast");
    await writeFile(ballast, Buffer.alloc(diskBytes - (64 << 10)));
    const directory = join(disk, "events");
    const source = createRelayLedger();
    source.add(40, {}, 3000);
    const elsewhere = await mkdtemp(join(tmpdir(), "sigil-relay-"));
    const destination = filesDestination({
      directory,
      fileBytesMax: 32 << 10,
      fileAgeMsMax: 3_600_000,
      nowMs: Date.now,
    });
    {
      await using seen = await startRelay({
        source,
        destination,
        cursorPath: join(elsewhere, "cursor.json"),
      });
      await until(() => seen.relay.status.error?.rule.includes("ENOSPC") === true, "a full disk");
      expect(seen.relay.status).to.deep.include({ state: "waiting" });
      expect(seen.relay.status.error?.kind).to.equal("retryable");
      await rm(ballast);
      await untilCaughtUp(seen, { source });
      expect(seen.lost).to.deep.equal([]);
    }
    const ended = (await readdir(directory)).filter((name) => name !== "events.jsonl").sort();
    expect(ended).to.have.length.above(1);
    expectWhole(await readFileMessages(directory), source.items);
    await rm(elsewhere, { recursive: true });
  });
});
