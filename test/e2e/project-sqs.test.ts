/**
 * The replay test over a queue: a golden ledger through a relay and a FIFO queue of SQS into PostgreSQL, by consumers
 * that are killed on the way. A queue keeps nothing that was consumed, so "from position 0 again" is the relay's reset:
 * it publishes everything under a new generation.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository } from "../../scripts/run.ts";
import { toHex } from "../../src/core/bytes.ts";
import type { SqsGroups } from "../../src/relay/sqs/group.ts";
import { sqsDestination } from "../../src/relay/sqs/sqs.ts";
import { feedOf } from "../contract/golden-feed.ts";
import { appendEvents } from "../contract/golden-files.ts";
import { generateLedger, type GoldenLedger } from "../contract/golden-ledger.ts";
import { skipWithoutPostgres, startPostgres, type Postgres } from "../contract/postgres.ts";
import { compare, digestOf, fill, query } from "../contract/projection.ts";
import { startRelay, until, untilCaughtUp } from "../contract/relay-world.ts";
import {
  createQueue,
  drainQueue,
  sqsMissing,
  sqsRegion,
  startSqs,
  type SqsServer,
} from "../contract/sqs-server.ts";
import { startSqsProxy } from "../contract/sqs-proxy.ts";
import { sigilHere, type Ended } from "./command.ts";

describe("a projection of a relay's queue in SQS", function () {
  this.slow(20_000);
  let postgres: Postgres;
  let sqs: SqsServer;
  let ledger: GoldenLedger;

  before(async function () {
    skipWithoutPostgres(this);
    if (sqsMissing !== undefined) {
      console.log(`      ${sqsMissing}`);
      this.skip();
    }
    [postgres, sqs] = [await startPostgres(), await startSqs()];
    ledger = await generateLedger({ seed: 37, count: 120 });
    for (const name of ["queued", "grouped", "killed", "behind", "direct"])
      await query(postgres.address(), `CREATE DATABASE ${name}`);
    await fill({ address: postgres.address("direct"), ledger });
  });

  after(async () => {
    await sqs?.[Symbol.asyncDispose]();
    await postgres?.[Symbol.asyncDispose]();
  });

  const startRelayTo = async (
    queue: string,
    directory: string,
    groups: SqsGroups,
    size = ledger.places.length,
  ) => {
    const source = feedOf({ ...ledger, places: ledger.places.slice(0, size) });
    const destination = sqsDestination({
      queue,
      region: sqsRegion,
      endpoint: sqs.url,
      owner: "",
      groups,
      onMissing: "create",
    });
    const seen = await startRelay({ source, destination, cursorPath: join(directory, "cursor.json") });
    await untilCaughtUp(seen, { source });
    return { seen, source };
  };

  const wordsFor = (database: string, queue: string, ...more: readonly string[]): readonly string[] => [
    "project",
    "postgres",
    "--from",
    `sqs://${sqsRegion}/${queue}`,
    "--sqs-endpoint",
    sqs.url,
    "--genesis",
    toHex(ledger.genesis),
    "--to",
    postgres.address(database),
    ...more,
  ];

  const project = (database: string, queue: string, ...more: readonly string[]): Promise<Ended> =>
    sigilHere(wordsFor(database, queue, ...more), { cwd: process.cwd() });

  it("is the ledger, and again after a reset, with what the queue still had of before", async () => {
    const directory = await mkdtemp(join(tmpdir(), "sigil-relay-"));
    const queue = "whole.fifo";
    const { seen, source } = await startRelayTo(queue, directory, "feed");
    await using _ = seen;
    const first = await project("queued", queue, "--once", "--json");
    expect(first.exitCode, first.problems).to.equal(0);
    expect(JSON.parse(first.output)).to.deep.equal({
      next: String(ledger.places.length),
      projected: true,
      caught_up: true,
    });
    const expected = await digestOf(postgres.address("direct"));
    expect(await digestOf(postgres.address("queued"))).to.deep.equal(expected);
    expect((await compare(postgres.address("queued"), ledger)).difference).to.equal(undefined);
    // What was consumed is gone, whatever is done to the database.
    await query(postgres.address("queued"), "DROP SCHEMA sigil, sigil_v1 CASCADE");
    expect(await drainQueue(sqs.url, queue)).to.deep.equal([]);
    await seen.relay.reset(90n);
    await untilCaughtUp(seen, { source });
    await seen.relay.reset(0n);
    await untilCaughtUp(seen, { source });
    const leftovers = await project("queued", queue, "--once");
    expect(leftovers.problems).to.contain("sigil relay reset --to 0").and.to.contain("--generation");
    expect(leftovers.exitCode).to.equal(1);
    const again = await project("queued", queue, "--generation", "3", "--rebuild");
    expect(again.exitCode, again.problems).to.equal(0);
    expect(await digestOf(postgres.address("queued"))).to.deep.equal(expected);
    expect(await drainQueue(sqs.url, queue)).to.deep.equal([]);
    await rm(directory, { recursive: true });
  });

  it("with a group for each id is the ledger again, whatever of before a reset comes first", async () => {
    const directory = await mkdtemp(join(tmpdir(), "sigil-relay-"));
    const queue = "groups.fifo";
    const { seen, source } = await startRelayTo(queue, directory, "record");
    await using _ = seen;
    await drainQueue(sqs.url, queue);
    for (const position of [90n, 0n]) {
      await seen.relay.reset(position);
      await untilCaughtUp(seen, { source });
    }
    const again = await project("grouped", queue, "--once", "--json");
    expect(again.exitCode, again.problems).to.equal(0);
    expect(await digestOf(postgres.address("grouped"))).to.deep.equal(
      await digestOf(postgres.address("direct")),
    );
    expect(await drainQueue(sqs.url, queue)).to.deep.equal([]);
    await rm(directory, { recursive: true });
  });

  it("is the ledger though its consumer is killed again and again", async () => {
    const directory = await mkdtemp(join(tmpdir(), "sigil-relay-"));
    const queue = "killed.fifo";
    // What a killed consumer had comes again this soon.
    await createQueue(sqs.url, queue, { VisibilityTimeout: "3" });
    const { seen } = await startRelayTo(queue, directory, "record");
    await seen.relay.close();
    const nextOf = async (): Promise<bigint> => {
      const rows = await query(postgres.address("killed"), "SELECT next FROM sigil_v1.cursor").catch(
        () => [],
      );
      return (rows[0]?.["next"] as bigint | undefined) ?? 0n;
    };
    await using proxy = await startSqsProxy(sqs.url);
    // In a second the queue gives ten messages: no consumer gets to the end before it is killed.
    let [left, givenMs] = [0, 0];
    proxy.failRequest = (action) => {
      if (action !== "ReceiveMessage") return undefined;
      left -= 1;
      return left < 0 ? [503, "ServiceUnavailable"] : undefined;
    };
    const isPast = async (before: bigint): Promise<boolean> => {
      if (performance.now() - givenMs > 1000) [left, givenMs] = [1, performance.now()];
      return (await nextOf()) > before;
    };
    const words = [join(repository, "src/main.ts"), ...wordsFor("killed", queue)].map((word) =>
      word === sqs.url ? proxy.url : word,
    );
    for (let kills = 0; kills < 3; kills += 1) {
      const before = await nextOf();
      const child = spawn(process.execPath, words, { stdio: "ignore" });
      const ended = once(child, "exit");
      await until(async () => child.exitCode !== null || (await isPast(before)), "rows stored");
      child.kill("SIGKILL");
      await ended;
      expect(child.signalCode).to.equal("SIGKILL");
      expect(Number(await nextOf())).to.be.lessThan(ledger.places.length);
      await pause(1);
    }
    const last = await project("killed", queue, "--once", "--json");
    expect(last.exitCode, last.problems).to.equal(0);
    expect(await digestOf(postgres.address("killed"))).to.deep.equal(
      await digestOf(postgres.address("direct")),
    );
    expect(await drainQueue(sqs.url, queue)).to.deep.equal([]);
    await rm(directory, { recursive: true });
  });

  it("lacks without a word what the queue lost after it had acknowledged it, and a comparison says how much", async () => {
    const directory = await mkdtemp(join(tmpdir(), "sigil-relay-"));
    const queue = "lost.fifo";
    const first = Number([...ledger.checkpoints.keys()].findLast((size) => size < ledger.places.length));
    const early = await startRelayTo(queue, directory, "record", first);
    await early.seen.relay.close();
    expect((await project("behind", queue, "--once")).exitCode).to.equal(0);
    const { seen, source } = await startRelayTo(queue, directory, "record");
    await using _ = seen;
    const lost = await drainQueue(sqs.url, queue);
    expect(lost).to.have.length(ledger.places.length - first);
    const again = await project("behind", queue, "--once");
    expect(again.output, again.problems).to.contain(`up to date at ${first} records`);
    expect(seen.relay.status).to.include({ state: "running", next: source.size(), lag: 0n });
    expect(seen.lost).to.deep.equal([]);
    await appendEvents(directory, ledger, [0, ledger.places.length]);
    const fromFiles = wordsFor("behind", queue, "--check").map((word) =>
      word.startsWith("sqs://") ? `file:${directory}` : word,
    );
    const checked = await sigilHere(fromFiles, { cwd: process.cwd() });
    expect(checked.output)
      .to.match(/^EQUAL/)
      .and.to.contain(`${lost.length} records, from position ${first} on`);
    await rm(directory, { recursive: true });
  });

  it("is compared with a source that keeps what was read, and says so", async () => {
    const refused = await project("direct", "whole.fifo", "--check");
    expect(refused.problems).to.contain("--check");
    expect(refused.exitCode).to.equal(2);
  });
});
