/**
 * kill −9 of a relay between random steps, on one destination: afterwards every record is there, in order, each linked
 * to the one before, none twice. To files, and to NATS, Kafka and SQS where they are installed; of a ledger at hand, as
 * in a server, and of a server's over gRPC, as in a process of its own.
 * `npm run campaign:relay -- --count 100 --seed 7`. Exit code 0 only when nothing was lost, repeated or reordered.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { toHex } from "../../src/core/bytes.ts";
import type { FeedItem } from "../../src/core/record/feed.ts";
import { readTopicMessages } from "../contract/kafka-messages.ts";
import { kafkaMissing, startKafka, type Kafka } from "../contract/kafka-server.ts";
import { natsMissing, startNats, type Nats } from "../contract/nats-server.ts";
import { readFileMessages, readStreamMessages } from "../contract/relay-messages.ts";
import { createRelayLedger, expectWhole, type SeenMessage } from "../contract/relay-world.ts";
import { drainQueue, sqsMissing, startSqs, type SqsServer } from "../contract/sqs-server.ts";
import { Council, json, newKey } from "../e2e/council.ts";
import { readOptions } from "./options.ts";
import { createRandom } from "./oracle.ts";

const { values, refuse } = readOptions(
  "campaign:relay [--count N] [--seed S] [--source both|hand|server]",
  "--count 100 --seed 7",
  {
    count: { type: "string", default: "100" },
    seed: { type: "string", default: "1" },
    source: { type: "string", default: "both" },
  },
);
const [count, seed] = [Number(values.count), Number(values.seed)];
const sources = values.source === "both" ? ["hand", "server"] : [values.source];
const areKnown = sources.every((source) => source === "hand" || source === "server");
if (!Number.isInteger(count) || count < 1 || !Number.isInteger(seed) || !areKnown) refuse();

const worker = join(import.meta.dirname, "relay-worker.ts");
const addedMax = 20;

/** @returns whether it was killed before it had published everything. */
const runWorker = async (words: readonly string[]): Promise<boolean> => {
  const child = spawn(process.execPath, [worker, ...words], { stdio: ["ignore", "inherit", "inherit"] });
  await once(child, "exit");
  if (child.signalCode === null && child.exitCode !== 0)
    throw new Error(`the relay ended with ${child.exitCode}`);
  return child.signalCode === "SIGKILL";
};

type Place = {
  readonly name: string;
  /** What the worker is told of it. */
  readonly words: readonly string[];
  readonly messages: () => Promise<readonly SeenMessage[]>;
};

/** What is published. */
type Published = {
  readonly grow: (records: number) => Promise<void>;
  readonly size: () => number;
  /** What the worker is told of a server; none for a ledger that it makes up. */
  readonly words: readonly string[];
  /** More steps than an attempt has: with two batches, or with one of everything that has come. */
  readonly stepsMax: number;
  readonly items: () => Promise<readonly FeedItem[]>;
};

const madeUp = (): Published => {
  const ledger = createRelayLedger();
  return {
    grow: async (records) => ledger.add(records),
    size: () => ledger.items.length,
    words: [],
    stepsMax: 40,
    items: async () => ledger.items,
  };
};

const ofServer = async (council: Council, keyPath: string): Promise<Published> => {
  const { server } = council.served;
  const { reader } = server.ledger;
  const genesis = toHex((await reader.readAt(0n)).hash);
  return {
    grow: async (records) => {
      for (let one = 0; one < records; one += 1)
        await council.as("guest").trust.check({ action: "read", target: "public/docs" });
    },
    size: () => Number(reader.size),
    words: [server.target, reader.origin, genesis, keyPath],
    stepsMax: 20,
    items: async () => {
      const positions = Array.from({ length: Number(reader.size) }, (_, at) => BigInt(at));
      const leaves = await reader.tree.leaves(positions);
      return leaves.map((leaf, at) => ({ position: BigInt(at), leaf, record: undefined }));
    },
  };
};

const attack = async (
  { name, words, messages }: Place,
  published: Published,
  kills: number,
): Promise<string | undefined> => {
  const random = createRandom(seed);
  const below = (bound: number): number => Math.floor(random() * bound);
  const run = (step: number): Promise<boolean> =>
    runWorker([...words, String(published.size()), String(step), ...published.words]);
  let killed = 0;
  while (killed < kills) {
    await published.grow(below(addedMax));
    if (await run(1 + below(published.stepsMax))) killed += 1;
  }
  await run(0);
  const items = await published.items();
  try {
    const seen = await messages();
    expectWhole(seen, items);
    expect(seen.map(({ sigilleaf }) => sigilleaf)).to.deep.equal(items.map(({ leaf }) => toHex(leaf)));
  } catch (error) {
    return `${name}: ${error instanceof Error ? error.message : String(error)}`;
  }
  console.log(`${name}: ${killed} kills, ${items.length} records, each once and in order`);
  return undefined;
};

const startedMs = performance.now();
const root = await mkdtemp(join(tmpdir(), "sigil-relay-kill-"));
const wrongs: string[] = [];
const tell = (wrong: string | undefined): void => {
  if (wrong !== undefined) wrongs.push(wrong);
};

const files = (name: string): Place => {
  const directory = join(root, name);
  const words = ["files", directory, join(root, `${name}.json`)];
  return { name, words, messages: () => readFileMessages(directory) };
};

const toNats = (name: string, { url }: Nats): Place => ({
  name,
  words: ["nats", url, join(root, `${name}.json`)],
  messages: () => readStreamMessages(url, "S"),
});

/** In ledger order, as the others come. */
const byPosition = (one: SeenMessage, other: SeenMessage): number =>
  Number(one["sigilposition"]) - Number(other["sigilposition"]);

const toKafka = (name: string, { server }: Kafka): Place => ({
  name,
  words: ["kafka", server, join(root, `${name}.json`)],
  messages: async () => (await readTopicMessages(server, "s")).toSorted(byPosition),
});

/** What a cursor that was not written yet repeats, the queue drops within five minutes, and a consumer afterwards. */
const toSqs = (name: string, { url }: SqsServer): Place => ({
  name,
  words: ["sqs", url, join(root, `${name}.json`)],
  messages: async () => {
    const taken = await drainQueue(url, "s.fifo");
    const firsts = new Map(taken.toReversed().map((one) => [one["sqsDeduplication"], one]));
    return [...firsts.values()].map((one) => ({ ...one, lane: one["sqsGroup"] })).toSorted(byPosition);
  },
});

const attackAll = async (how: string, publishes: () => Promise<Published>): Promise<void> => {
  tell(await attack(files(`files${how}`), await publishes(), count));
  if (natsMissing !== undefined) console.log(`NATS ${natsMissing}`);
  else {
    await using nats = await startNats();
    tell(await attack(toNats(`NATS${how}`, nats), await publishes(), count));
  }
  if (kafkaMissing !== undefined) console.log(`Kafka ${kafkaMissing}`);
  else {
    await using kafka = await startKafka();
    tell(await attack(toKafka(`Kafka${how}`, kafka), await publishes(), count));
  }
  if (sqsMissing !== undefined) return console.log(`SQS ${sqsMissing}`);
  await using sqs = await startSqs();
  tell(await attack(toSqs(`SQS${how}`, sqs), await publishes(), count));
};

const attackServer = async (): Promise<void> => {
  const key = newKey();
  const keyPath = join(root, "feed.pem");
  await writeFile(keyPath, key.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  const also = [{ id: "feed", loa: "observer", tenant: "relays", keys: [key] }] as const;
  await using council = await Council.open({ also });
  const granted = json({ tenants: ["*"], kinds: ["*"], spaces: ["*"] });
  await council.approve(await council.propose({ id: "feed_grant/feed", content: granted }), "ann", "ben");
  await attackAll(", over gRPC", () => ofServer(council, keyPath));
};

if (sources.includes("hand")) await attackAll("", async () => madeUp());
if (sources.includes("server")) await attackServer();

for (const wrong of wrongs) console.error(wrong);
const seconds = Math.round((performance.now() - startedMs) / 1000);
console.log(`${wrongs.length} wrong, seed ${seed}, ${seconds} s`);
await rm(root, { recursive: true });
process.exitCode = wrongs.length === 0 ? 0 : 1;
