/**
 * kill −9 of a relay between random steps, on one destination: afterwards every record is there, in order, each linked
 * to the one before, none twice. To files, and to NATS where it is installed.
 * `npm run campaign:relay -- --count 100 --seed 7`. Exit code 0 only when nothing was lost, repeated or reordered.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { natsMissing, startNats } from "../contract/nats-server.ts";
import { readFileMessages, readStreamMessages } from "../contract/relay-messages.ts";
import { createRelayLedger, expectWhole, type SeenMessage } from "../contract/relay-world.ts";
import { createRandom } from "./oracle.ts";

const { values } = parseArgs({
  options: { count: { type: "string", default: "100" }, seed: { type: "string", default: "1" } },
});
const [count, seed] = [Number(values.count), Number(values.seed)];
if (!Number.isInteger(count) || count < 1 || !Number.isInteger(seed)) {
  console.error("usage: campaign:relay [--count N] [--seed S]");
  process.exit(2);
}

const worker = join(import.meta.dirname, "relay-worker.ts");
/** More than an attempt with two batches has. */
const stepsMax = 40;
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

const attack = async ({ name, words, messages }: Place, kills: number): Promise<string | undefined> => {
  const random = createRandom(seed);
  const below = (bound: number): number => Math.floor(random() * bound);
  let [size, killed] = [0, 0];
  while (killed < kills) {
    size += below(addedMax);
    if (await runWorker([...words, String(size), String(1 + below(stepsMax))])) killed += 1;
  }
  await runWorker([...words, String(size), "0"]);
  const ledger = createRelayLedger();
  ledger.add(size);
  try {
    expectWhole(await messages(), ledger.items);
  } catch (error) {
    return `${name}: ${error instanceof Error ? error.message : String(error)}`;
  }
  console.log(`${name}: ${killed} kills, ${size} records, each once and in order`);
  return undefined;
};

const startedMs = performance.now();
const root = await mkdtemp(join(tmpdir(), "sigil-relay-kill-"));
const wrongs: string[] = [];
const tell = (wrong: string | undefined): void => {
  if (wrong !== undefined) wrongs.push(wrong);
};

const directory = join(root, "events");
const toFiles = ["files", directory, join(root, "files.json")];
tell(await attack({ name: "files", words: toFiles, messages: () => readFileMessages(directory) }, count));
if (natsMissing === undefined) {
  await using nats = await startNats();
  const toNats = ["nats", nats.url, join(root, "nats.json")];
  tell(
    await attack({ name: "NATS", words: toNats, messages: () => readStreamMessages(nats.url, "S") }, count),
  );
} else console.log(`NATS ${natsMissing}`);

for (const wrong of wrongs) console.error(wrong);
const seconds = Math.round((performance.now() - startedMs) / 1000);
console.log(`${wrongs.length} wrong, seed ${seed}, ${seconds} s`);
await rm(root, { recursive: true });
process.exitCode = wrongs.length === 0 ? 0 : 1;
