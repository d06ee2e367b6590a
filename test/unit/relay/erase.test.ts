/** Erasing a tenant from what relays published: what is gone, what stays, and what a crash leaves. */
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { appendLeaves, emptyFrontier, rootOf } from "../../../src/core/merkle/tree.ts";
import { fromHex, parseHash, toHex } from "../../../src/core/bytes.ts";
import type { Destination } from "../../../src/relay/destination.ts";
import { filesDestination } from "../../../src/relay/files.ts";
import { natsDestination } from "../../../src/relay/nats.ts";
import { natsMissing, startNats, type Nats } from "../../contract/nats-server.ts";
import { readFileMessages, readStreamMessages } from "../../contract/relay-messages.ts";
import {
  createRelayLedger,
  expectWhole,
  killAfter,
  startRelay,
  until,
  untilCaughtUp,
  type RelayLedger,
  type SeenRelay,
  type SeenMessage,
} from "../../contract/relay-world.ts";
import { canary, canaries, filesHolding } from "../../e2e/erased-world.ts";

/** More steps than an erasure takes. */
const stepsMax = 60;

/** Records of "acme", each with the canary in it, among those of a tenant whose name begins alike. */
const createMixedLedger = (turns = 6): RelayLedger => {
  const source = createRelayLedger();
  for (let turn = 0; turn < turns; turn += 1) {
    source.add(1, { tenant: "acme-2" });
    source.add(2, { tenant: "acme", id: `${canary}/${turn}` }, 300);
  }
  source.add(1, { tenant: "acme-2" });
  return source;
};

const found = 12;

/** As the ledger does. */
const eraseAcme = (source: RelayLedger): void => {
  for (const { position, record } of source.items)
    if (record?.body.tenant === "acme") source.erase(Number(position));
};

/** What a consumer rebuilds from the leaves alone. */
const rootOfLeaves = (leaves: readonly string[]): string =>
  toHex(
    rootOf(
      appendLeaves(
        emptyFrontier,
        leaves.map((leaf) => parseHash(fromHex(leaf))),
      ).frontier,
    ),
  );

const expectRoot = (messages: readonly SeenMessage[], source: RelayLedger): void => {
  expect(rootOfLeaves(messages.map(({ sigilleaf }) => String(sigilleaf)))).to.equal(
    rootOfLeaves(source.items.map(({ leaf }) => toHex(leaf))),
  );
};

const publishAll = async (
  source: RelayLedger,
  destination: Destination,
  cursorPath: string,
): Promise<void> => {
  await using seen = await startRelay({ source, destination, cursorPath });
  await untilCaughtUp(seen, { source });
};

/** What a killed process leaves open is closed at the end. */
const buried = ({ relay }: SeenRelay, bury: () => void): AsyncDisposable => ({
  [Symbol.asyncDispose]: async () => {
    const closed = relay.close();
    bury();
    await closed;
  },
});

const openFiles = async () => {
  const root = await mkdtemp(join(tmpdir(), "sigil-relay-"));
  const directory = join(root, "events");
  return {
    root,
    directory,
    cursorPath: join(root, "cursor.json"),
    destination: (onStep?: (step: string) => Promise<void>, below = directory) =>
      filesDestination({
        directory: below,
        fileBytesMax: 3000,
        fileAgeMsMax: 3_600_000,
        nowMs: Date.now,
        ...(onStep === undefined ? {} : { onStep }),
      }),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true }),
  };
};

describe("erasing a tenant from the files of a relay", () => {
  it("leaves what a relay would publish of the ledger now, in the files that were there", async () => {
    await using place = await openFiles();
    const source = createMixedLedger();
    await publishAll(source, place.destination(), place.cursorPath);
    const names = (await readdir(place.directory)).sort();
    expect(names).to.have.length.above(1);
    expect(await filesHolding(place.directory, canaries)).to.have.length.above(0);
    eraseAcme(source);
    await using seen = await startRelay({
      source,
      destination: place.destination(),
      cursorPath: place.cursorPath,
    });
    const report = await seen.relay.erase({ tenant: "acme", action: "erase" });
    expect(report).to.include({ outcome: "erased", found, left: 0, generation: 1, error: null });
    expect(report.cannot.join()).to.contain("backups");
    expect((await readdir(place.directory)).sort()).to.deep.equal(names);
    expect(await filesHolding(place.directory, canaries)).to.deep.equal([]);
    const messages = await readFileMessages(place.directory);
    expectWhole(messages, source.items);
    expectRoot(messages, source);
    const fresh = join(place.root, "fresh");
    await publishAll(source, place.destination(undefined, fresh), join(place.root, "fresh.json"));
    expect(messages.map((one) => JSON.stringify(one))).to.deep.equal(
      (await readFileMessages(fresh)).map((one) => JSON.stringify(one)),
    );
    source.add(3);
    await untilCaughtUp(seen, { source });
    expectWhole(await readFileMessages(place.directory), source.items);
    expect(await seen.relay.erase({ tenant: "acme", action: "erase" })).to.include({ outcome: "erased" });
    expect(await seen.relay.erase({ tenant: "other", action: "erase" })).to.include({ outcome: "clean" });
  });

  it("keeps modes, and touches no file without an event of the tenant", async () => {
    await using place = await openFiles();
    const source = createRelayLedger();
    source.add(14, { tenant: "beta" });
    await publishAll(source, place.destination(), place.cursorPath);
    source.add(7, { tenant: "acme" });
    await publishAll(source, place.destination(), place.cursorPath);
    const names = (await readdir(place.directory)).sort();
    for (const name of names) await chmod(join(place.directory, name), 0o640);
    const inodes = async () =>
      Promise.all(names.map(async (name) => (await stat(join(place.directory, name))).ino));
    const before = await inodes();
    const holding = await filesHolding(place.directory, [Buffer.from('"subject":"acme/')]);
    expect(holding).to.have.length.above(0).and.below(names.length);
    eraseAcme(source);
    await using seen = await startRelay({
      source,
      destination: place.destination(),
      cursorPath: place.cursorPath,
    });
    await seen.relay.erase({ tenant: "acme", action: "erase" });
    const changed = (await inodes()).flatMap((inode, at) => (inode === before[at] ? [] : [names[at]]));
    expect(changed).to.deep.equal([...holding].sort());
    for (const name of names)
      expect((await stat(join(place.directory, name))).mode & 0o777, name).to.equal(0o640);
  });

  it("counts in a dry run and changes nothing", async () => {
    await using place = await openFiles();
    const source = createMixedLedger();
    await publishAll(source, place.destination(), place.cursorPath);
    eraseAcme(source);
    const before = await readFileMessages(place.directory);
    await using seen = await startRelay({
      source,
      destination: place.destination(),
      cursorPath: place.cursorPath,
    });
    const report = await seen.relay.erase({ tenant: "acme", action: "count" });
    expect(report).to.include({ outcome: "left", found, left: found });
    expect(await readFileMessages(place.directory)).to.deep.equal(before);
  });

  it("refuses a line that no relay wrote, and leaves the file as it is", async () => {
    await using place = await openFiles();
    const source = createMixedLedger();
    await publishAll(source, place.destination(), place.cursorPath);
    eraseAcme(source);
    const name = (await readdir(place.directory)).sort()[0] ?? "";
    const path = join(place.directory, name);
    const text = `${await readFile(path, "utf8")}${canary}\n`;
    await writeFile(path, text);
    await using seen = await startRelay({
      source,
      destination: place.destination(),
      cursorPath: place.cursorPath,
    });
    const report = await seen.relay.erase({ tenant: "acme", action: "erase" });
    expect(report.outcome).to.equal("failed");
    expect(report.error)
      .to.match(/^refused: .* is no event of a relay/)
      .and.not.contain(canary);
    expect(await readFile(path, "utf8")).to.equal(text);
  });

  it("leaves whole files, positions and links when it is killed between any two steps, and finishes then", async () => {
    let kills = 0;
    for (let steps = 1; steps <= stepsMax; steps += 1) {
      await using place = await openFiles();
      const source = createMixedLedger();
      await publishAll(source, place.destination(), place.cursorPath);
      eraseAcme(source);
      const { onStep, died, bury } = killAfter(steps);
      const killed = await startRelay({
        source,
        destination: place.destination(onStep),
        cursorPath: place.cursorPath,
      });
      await using _ = buried(killed, bury);
      const end = await Promise.race([died, killed.relay.erase({ tenant: "acme", action: "erase" })]);
      const between = await readFileMessages(place.directory);
      expectWhole(between, source.items);
      expectRoot(between, source);
      if (typeof end !== "string") {
        expect(kills).to.be.above(7);
        return;
      }
      kills += 1;
      await using seen = await startRelay({
        source,
        destination: place.destination(),
        cursorPath: place.cursorPath,
      });
      await untilCaughtUp(seen, { source });
      // Nothing that an erasure did not finish is left beside the files.
      expect((await readdir(place.directory)).filter((name) => !name.endsWith(".jsonl"))).to.deep.equal([]);
      const report = await seen.relay.erase({ tenant: "acme", action: "erase" });
      expect(report).to.include({ left: 0, error: null });
      expect(await filesHolding(place.directory, canaries), `killed ${end}`).to.deep.equal([]);
      expectWhole(await readFileMessages(place.directory), source.items);
    }
    expect.fail("more steps than were tried");
  });
});

describe("erasing a tenant from a destination that takes nothing back", () => {
  it("says so", async () => {
    await using place = await openFiles();
    const source = createMixedLedger();
    const files = place.destination();
    const destination: Destination = {
      ...files,
      open: async (signal, again) => {
        const open = await files.open(signal, again);
        return {
          limits: open.limits,
          lastPublished: () => open.lastPublished(),
          publish: (events, call) => open.publish(events, call),
          [Symbol.asyncDispose]: () => open[Symbol.asyncDispose](),
        };
      },
    };
    await using seen = await startRelay({ source, destination, cursorPath: place.cursorPath });
    await untilCaughtUp(seen, { source });
    const report = await seen.relay.erase({ tenant: "acme", action: "erase" });
    expect(report).to.include({ outcome: "unable", left: null });
    expect(report.cannot).to.have.length(1);
    await untilCaughtUp(seen, { source });
  });
});

describe(`erasing a tenant from NATS${natsMissing === undefined ? "" : ` (${natsMissing})`}`, function () {
  let nats: Nats;
  before(async function () {
    if (natsMissing !== undefined) return this.skip();
    nats = await startNats();
  });
  after(() => nats?.[Symbol.asyncDispose]());

  let made = 0;
  const openStream = async () => {
    const root = await mkdtemp(join(tmpdir(), "sigil-relay-"));
    made += 1;
    const stream = `E${made}`;
    return {
      stream,
      cursorPath: join(root, "cursor.json"),
      stored: join(nats.store, "jetstream", "$G", "streams", stream, "msgs"),
      messages: () => readStreamMessages(nats.url, stream),
      destination: (onStep?: (step: string) => Promise<void>) =>
        natsDestination({
          servers: [nats.url],
          stream,
          subjectPrefix: `p.${stream}`,
          replicas: 1,
          credentials: { kind: "none" },
          tls: null,
          ...(onStep === undefined ? {} : { onStep }),
        }),
      [Symbol.asyncDispose]: () => rm(root, { recursive: true }),
    };
  };

  it("begins a generation without its data, and deletes nothing unless older ones are to go", async () => {
    await using place = await openStream();
    const source = createMixedLedger();
    await using seen = await startRelay({
      source,
      destination: place.destination(),
      cursorPath: place.cursorPath,
    });
    await untilCaughtUp(seen, { source });
    await until(async () => (await filesHolding(place.stored, canaries)).length > 0, "stored");
    const before = await place.messages();
    eraseAcme(source);
    const counted = await seen.relay.erase({ tenant: "acme", action: "count" });
    expect(counted).to.include({ outcome: "left", found, left: found, generation: 1 });
    const report = await seen.relay.erase({ tenant: "acme", action: "erase" });
    expect(report).to.include({ outcome: "left", found, left: found, generation: 2 });
    expect(report.cannot[0]).to.contain("generations before 2").and.contain("--purge-old");
    await untilCaughtUp(seen, { source });
    const messages = await place.messages();
    expect(messages.slice(0, before.length)).to.deep.equal(before);
    expectWhole(messages, source.items, 2);
    // A second call begins no third one.
    const again = await seen.relay.erase({ tenant: "acme", action: "erase" });
    expect(again).to.include({ outcome: "left", generation: 2 });
  });

  it("overwrites its messages and removes older generations, so that offset 0 is a whole one", async () => {
    await using place = await openStream();
    const source = createMixedLedger();
    await using seen = await startRelay({
      source,
      destination: place.destination(),
      cursorPath: place.cursorPath,
    });
    await untilCaughtUp(seen, { source });
    await until(async () => (await filesHolding(place.stored, canaries)).length > 0, "stored");
    eraseAcme(source);
    await seen.relay.pause();
    const paused = await seen.relay.erase({ tenant: "acme", action: "purge old" });
    expect(paused.error).to.contain("refused: the relay is paused");
    expect(await place.messages()).to.have.length(source.items.length);
    await seen.relay.resume();
    const report = await seen.relay.erase({ tenant: "acme", action: "purge old" });
    expect(report).to.include({ outcome: "erased", found, left: 0, generation: 2, error: null });
    expect(await filesHolding(place.stored, canaries)).to.deep.equal([]);
    const messages = await place.messages();
    expect(messages).to.have.length(source.items.length);
    expectWhole(messages, source.items, 2);
    expectRoot(messages, source);
    source.add(2);
    await untilCaughtUp(seen, { source });
    expectWhole(await place.messages(), source.items, 2);
  });

  it("publishes everything again where the current generation began later, before older ones go", async () => {
    await using place = await openStream();
    const source = createMixedLedger();
    await using seen = await startRelay({
      source,
      destination: place.destination(),
      cursorPath: place.cursorPath,
    });
    await untilCaughtUp(seen, { source });
    eraseAcme(source);
    await seen.relay.reset(10n);
    await untilCaughtUp(seen, { source });
    const report = await seen.relay.erase({ tenant: "acme", action: "purge old" });
    expect(report).to.include({ outcome: "erased", generation: 3 });
    expectWhole(await place.messages(), source.items, 3);
    expect(await place.messages()).to.have.length(source.items.length);
  });

  it("leaves nothing in a lane of the tenant alone, and goes on there", async () => {
    await using place = await openStream();
    const source = createMixedLedger();
    const filter = { tenants: ["acme"], kinds: undefined, spaces: undefined };
    await using seen = await startRelay({
      source,
      filter,
      destination: place.destination(),
      cursorPath: place.cursorPath,
    });
    await untilCaughtUp(seen, { source });
    eraseAcme(source);
    const report = await seen.relay.erase({ tenant: "acme", action: "purge old" });
    expect(report).to.include({ outcome: "erased", found, left: 0 });
    expect(await place.messages()).to.deep.equal([]);
    await untilCaughtUp(seen, { source });
    expect(seen.errors).to.deep.equal([]);
  });

  it("goes on after a kill between any two steps, and every generation that is left at the end is whole", async () => {
    let kills = 0;
    for (let steps = 1; steps <= stepsMax; steps += 1) {
      await using place = await openStream();
      const source = createMixedLedger(2);
      await publishAll(source, place.destination(), place.cursorPath);
      eraseAcme(source);
      const { onStep, died, bury } = killAfter(steps);
      const killed = await startRelay({
        source,
        destination: place.destination(onStep),
        cursorPath: place.cursorPath,
      });
      await using _ = buried(killed, bury);
      const end = await Promise.race([died, killed.relay.erase({ tenant: "acme", action: "purge old" })]);
      if (typeof end !== "string") {
        expect(kills).to.be.above(15);
        return;
      }
      kills += 1;
      await using seen = await startRelay({
        source,
        destination: place.destination(),
        cursorPath: place.cursorPath,
      });
      const report = await seen.relay.erase({ tenant: "acme", action: "purge old" });
      expect(report, `killed ${end}`).to.include({ left: 0, error: null });
      const messages = await place.messages();
      const generation = report.generation;
      expect(messages, `killed ${end}`).to.have.length(source.items.length);
      expectWhole(messages, source.items, generation);
      expect(await filesHolding(place.stored, canaries)).to.deep.equal([]);
    }
    expect.fail("more steps than were tried");
  });
});
