/**
 * The replay test: a golden ledger of a seed goes through a broker into a projection, by consumers that are killed with
 * SIGKILL on the way, while the broker gets it late, some of it twice, and is killed itself; then the projection is
 * dropped and replayed from position 0. The digests of every place, tenant and column are equal, to each other and to
 * the ledger's own. Exit code 0 only then.
 * `npm run campaign:replay -- --count 500 --seed 7 --kills 20 --pairs kafka:postgres,nats:mongo`.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { toHex } from "../../src/core/bytes.ts";
import { columnsDigest, rootDigest, type Digests } from "../../src/projections/digest.ts";
import { eventsOf } from "../contract/golden-events.ts";
import { generateLedger } from "../contract/golden-ledger.ts";
import { readOptions } from "./options.ts";
import { createRandom } from "./oracle.ts";
import { replayBrokers, type ReplayBroker, type StartedBroker } from "./replay-brokers.ts";
import { replayDatabases, type ReplayDatabase, type ReplayPlace } from "./replay-databases.ts";

/** Every broker into every database. Files are no broker: they are asked for by name. */
const everyPair = Object.keys(replayBrokers)
  .filter((broker) => broker !== "files")
  .flatMap((broker) => Object.keys(replayDatabases).map((database) => `${broker}:${database}`))
  .join(",");

const usage = `campaign:replay [--count N] [--seed S] [--kills K] [--pairs BROKER:DATABASE,…]
brokers: ${Object.keys(replayBrokers).join(", ")}
databases: ${Object.keys(replayDatabases).join(", ")}`;
const { values, refuse } = readOptions(
  usage,
  "--count 500 --seed 7 --kills 20 --pairs kafka:postgres,nats:mongo",
  {
    // FerretDB, which stands for MongoDB, reads everything for most questions.
    count: { type: "string", default: "500" },
    seed: { type: "string", default: "1" },
    kills: { type: "string", default: "20" },
    pairs: { type: "string", default: everyPair },
  },
);
const [count, seed, kills] = [Number(values.count), Number(values.seed), Number(values.kills)];
const pairs = values.pairs.split(",").map((name) => {
  const [broker, database] = name.split(":").map((part) => part.trim());
  return { name, broker: replayBrokers[broker ?? ""], database: replayDatabases[database ?? ""] };
});
const isKnown = pairs.every(({ broker, database }) => broker !== undefined && database !== undefined);
if (![count, seed, kills].every(Number.isSafeInteger) || count < 100 || kills < 0 || !isKnown) refuse();

const startedMs = performance.now();
const say = (text: string): void =>
  console.log(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(7)} s  ${text}`);
const random = createRandom(seed);
const below = (bound: number): number => Math.floor(random() * bound);
const mainPath = join(import.meta.dirname, "../../src/main.ts");

const ledger = await generateLedger({ seed, count });
const size = ledger.places.length;
say(`${size} records, genesis ${toHex(ledger.genesis)}`);

/** More than a broker takes to start again. */
const publishTriesMax = 1000;

/** After a failure the whole batch again: what of it arrived is unknown. */
const publishSurely = async (broker: StartedBroker, range: readonly [number, number]): Promise<number> => {
  const events = eventsOf(ledger, range, broker.lanes);
  for (let failures = 0; ; failures += 1) {
    try {
      await broker.publish(events, random);
      return failures;
    } catch (cause) {
      if (failures >= publishTriesMax) throw cause;
      await delay(100);
    }
  }
};

/** In as many batches as consumers are killed, and more; of the batch before some again. Killed now and then. */
const publishAll = async (broker: StartedBroker, isDone: () => boolean): Promise<void> => {
  const batchMax = Math.ceil(size / Math.max(1, kills) / 2) + 1;
  let [repeated, failed, disturbed] = [0, 0, 0];
  for (let from = 0; from < size;) {
    const to = Math.min(size, from + 1 + below(batchMax));
    const again = random() < 0.3 ? Math.min(from, below(50)) : 0;
    const publishing = publishSurely(broker, [from - again, to]);
    if (random() < 0.1) {
      await broker.disturb();
      disturbed += 1;
    }
    failed += await publishing;
    [from, repeated] = [to, repeated + again];
    if (!isDone()) await delay(below(600));
  }
  say(
    `published, ${repeated} of them twice; the broker killed ${disturbed} times, ${failed} batches tried again`,
  );
};

type Ended = {
  /** Null if it was killed. */
  readonly exitCode: number | null;
  readonly problems: string;
};

/** @param untilKill resolves when it is to be killed; ends early when the consumer has. */
const run = async (
  { words }: ReplayPlace,
  broker: StartedBroker,
  more: readonly string[],
  untilKill?: (hasEnded: () => boolean) => Promise<void>,
): Promise<Ended> => {
  const all = [...words, ...broker.words, "--genesis", toHex(ledger.genesis), ...more];
  const child = spawn(process.execPath, [mainPath, ...all], { stdio: ["ignore", "ignore", "pipe"] });
  let problems = "";
  child.stderr.on("data", (part: Buffer) => (problems = (problems + part.toString()).slice(-2000)));
  const closed = once(child, "close");
  await untilKill?.(() => child.exitCode !== null);
  if (untilKill !== undefined) child.kill("SIGKILL");
  await closed;
  return { exitCode: child.exitCode, problems };
};

/** Every other consumer once it has stored so much, if there is as much; the others at any moment. */
const untilKilled =
  ({ isInUse, next }: ReplayPlace, isStoring: boolean) =>
  async (hasEnded: () => boolean): Promise<void> => {
    const enough = (await next()) + BigInt(below(size / kills));
    while (!hasEnded() && !(await isInUse())) await delay(20);
    for (let looks = 0; isStoring && looks < 100 && !hasEnded(); looks += 1) {
      if ((await next()) > enough) break;
      await delay(50);
    }
    await delay(below(1000));
  };

const endWell = async (place: ReplayPlace, broker: StartedBroker): Promise<void> => {
  const { exitCode, problems } = await run(place, broker, ["--once"]);
  if (exitCode !== 0) throw new Error(`a consumer that was not killed ended with ${exitCode}: ${problems}`);
};

/** While there is no stream yet, or its broker is down, a consumer ends by itself: that is no kill. */
const killConsumers = async (place: ReplayPlace, broker: StartedBroker): Promise<void> => {
  for (let [killed, tries] = [0, 0]; killed < kills; tries += 1) {
    const { exitCode, problems } = await run(place, broker, [], untilKilled(place, killed % 2 === 1));
    if (exitCode === 1 || tries > 20 * kills)
      throw new Error(`a consumer ended with ${exitCode}: ${problems}`);
    if (exitCode !== null) continue;
    killed += 1;
    say(`killed at ${await place.next()}`);
  }
};

const digestText = (digests: Digests): string =>
  [rootDigest(digests), digests.places, columnsDigest(digests)].map(toHex).join(" ");

/** @returns what is wrong. */
const replay = async (
  startBroker: ReplayBroker["start"],
  startDatabase: ReplayDatabase["start"],
): Promise<readonly string[]> => {
  const wrongs: string[] = [];
  await using broker = await startBroker();
  await using database = await startDatabase();
  const [place, other] = [await database.place("killed"), await database.place("late")];
  let isDone = false;
  const publishing = publishAll(broker, () => isDone);
  await Promise.all([publishing, killConsumers(place, broker).finally(() => (isDone = true))]);
  await endWell(place, broker);
  const killed = digestText(await place.digest());
  say(`with kills   ${killed}`);

  await other.fillLate(ledger, random);
  const late = digestText(await other.digest());
  say(`out of order ${late}`);

  await place.drop();
  await broker.republish?.(eventsOf(ledger, [0, size], broker.lanes));
  const beforeMs = performance.now();
  await endWell(place, broker);
  const tookMs = performance.now() - beforeMs;
  const replayed = digestText(await place.digest());
  say(`replayed     ${replayed}, ${Math.round((size * 1000) / tookMs)} records a second`);

  const { difference, ledger: ours } = await place.compare(ledger);
  if (difference !== undefined) wrongs.push(`${difference.table} differs: ${difference.rule}`);
  say(`the ledger   ${digestText(ours)}`);
  if (new Set([killed, late, replayed, digestText(ours)]).size !== 1) wrongs.push("the digests differ");
  return wrongs;
};

for (const { name, broker, database } of pairs) {
  if (broker === undefined || database === undefined) continue;
  const missing = broker.missing ?? database.missing;
  say(`${name}${missing === undefined ? "" : `: ${missing}`}`);
  const wrongs = missing === undefined ? await replay(broker.start, database.start) : [];
  for (const wrong of wrongs) console.error(`${name}: ${wrong}`);
  if (missing === undefined) say(wrongs.length === 0 ? "equal" : "NOT EQUAL");
  if (wrongs.length > 0) process.exitCode = 1;
}
