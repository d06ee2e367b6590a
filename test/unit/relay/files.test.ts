/** Files as a destination: whole lines, gapless over rotation and restart, whatever a crash left. */
import { appendFile, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { filesDestination, type FilesOptions } from "../../../src/relay/files.ts";
import {
  createRelayLedger,
  expectWhole,
  startRelay,
  untilCaughtUp,
  type DestinationPlace,
} from "../../contract/relay-world.ts";
import { readFileMessages } from "../../contract/relay-messages.ts";
import { testDestination } from "../../contract/relay-destination.ts";

const current = "events.jsonl";

type FilesPlace = DestinationPlace & { readonly directory: string };

const openPlace = async (options: Partial<FilesOptions> = {}): Promise<FilesPlace> => {
  const root = await mkdtemp(join(tmpdir(), "sigil-relay-"));
  const directory = join(root, "events");
  return {
    directory,
    cursorPath: join(root, "state", "cursor.json"),
    destination: (onStep) =>
      filesDestination({
        directory,
        fileBytesMax: 2500,
        fileAgeMsMax: 3_600_000,
        nowMs: Date.now,
        ...(onStep === undefined ? {} : { onStep }),
        ...options,
      }),
    messages: () => readFileMessages(directory),
    wipe: () => rm(directory, { recursive: true }),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true }),
  };
};

testDestination("files", () => openPlace());

const publish = async (place: FilesPlace, source = createRelayLedger(), count = 5) => {
  source.add(count);
  await using seen = await startRelay({
    source,
    destination: place.destination(),
    cursorPath: place.cursorPath,
  });
  await untilCaughtUp(seen, { source });
  return { source, lost: seen.lost };
};

describe("the files of a relay", () => {
  it("are their owner's alone, and named so that they sort as their events do", async () => {
    await using place = await openPlace({ fileBytesMax: 1 });
    // Whatever the process's umask allows.
    const umask = process.umask(0);
    const { source } = await publish(place, undefined, 20).finally(() => process.umask(umask));
    const names = (await readdir(place.directory)).sort();
    expect(names).to.have.length(3);
    expect(names[0]).to.equal("events-000000001-00000000000000000000-00000000000000000006.jsonl");
    for (const name of [".", ...names]) {
      const { mode } = await stat(join(place.directory, name));
      expect(mode & 0o077, name).to.equal(0);
    }
    expectWhole(await place.messages(), source.items);
  });

  it("end when they are old, and at a new generation", async () => {
    let now = 1_700_000_000_000;
    await using place = await openPlace({ fileBytesMax: 1 << 20, fileAgeMsMax: 1000, nowMs: () => now });
    const source = createRelayLedger();
    await using seen = await startRelay({
      source,
      destination: place.destination(),
      cursorPath: place.cursorPath,
    });
    source.add(1);
    await untilCaughtUp(seen, { source });
    source.add(1);
    await untilCaughtUp(seen, { source });
    expect(await readdir(place.directory)).to.have.length(1);
    now += 1000;
    source.add(1);
    await untilCaughtUp(seen, { source });
    expect(await readdir(place.directory)).to.have.length(2);
    await seen.relay.reset(1n);
    await untilCaughtUp(seen, { source });
    expect(await readdir(place.directory)).to.have.length(3);
    expectWhole(await place.messages(), source.items.slice(1), 2);
  });

  it("lose a torn last line at the next start, and get it again", async () => {
    for (const torn of ['{"specversion":"1.0"', "\0\0\0\0", "\0\0\n\0", "{}\n", "not JSON\n{"]) {
      await using place = await openPlace();
      const { source } = await publish(place);
      await appendFile(join(place.directory, current), torn);
      await publish(place, source);
      expectWhole(await place.messages(), source.items);
    }
  });

  it("say that acknowledged lines were cut off, and get them again", async () => {
    await using place = await openPlace();
    const { source } = await publish(place);
    const path = join(place.directory, current);
    await truncate(path, (await stat(path)).size - 10);
    const { lost } = await publish(place, source, 0);
    expect(lost).to.deep.equal([[4n, 5n]]);
    expectWhole(await place.messages(), source.items);
  });

  it("go on after the newest one that is ended, where a crash left no current one or an empty one", async () => {
    for (const isEmpty of [true, false]) {
      await using place = await openPlace({ fileBytesMax: 1 });
      const { source } = await publish(place, undefined, 12);
      const last = await readFile(join(place.directory, current), "utf8");
      const name = "events-000000001-00000000000000000007-00000000000000000011.jsonl";
      await writeFile(join(place.directory, name), last);
      if (isEmpty) await truncate(join(place.directory, current));
      else await rm(join(place.directory, current));
      const { lost } = await publish(place, source, 3);
      expect(lost).to.deep.equal([]);
      expectWhole(await place.messages(), source.items);
    }
  });

  it("hold JSON as JSON and envelopes in base64", async () => {
    await using place = await openPlace();
    const source = createRelayLedger();
    source.add(1);
    const options = { source, destination: place.destination(), cursorPath: place.cursorPath };
    await using first = await startRelay(options);
    await untilCaughtUp(first, { source });
    await first.relay.close();
    source.add(1);
    await using second = await startRelay({
      ...options,
      event: { typePrefix: "sigil", data: "full", format: "json", disclosures: "withheld" },
    });
    await untilCaughtUp(second, { source });
    const [envelope, json] = await place.messages();
    expect(
      Buffer.from(String(envelope?.["data_base64"]), "base64").equals(
        source.items[0]?.record?.envelope ?? Buffer.alloc(0),
      ),
    ).to.equal(true);
    expect(json?.["data"]).to.deep.include({ kind: "user_data", payload: { n: 1 } });
  });
});
