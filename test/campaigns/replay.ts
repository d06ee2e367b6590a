/**
 * The replay test: a golden ledger of a seed becomes a relay's files, the files a projection in PostgreSQL, by
 * consumers that are killed with SIGKILL on the way; then it is dropped and replayed from position 0, and the digests
 * of every place, tenant and column are equal, to each other and to the ledger's own. Exit code 0 only then.
 * `npm run campaign:replay -- --count 20000 --seed 7 --kills 20`.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { toHex } from "../../src/core/bytes.ts";
import { columnsDigest, rootDigest, type Digests } from "../../src/projections/digest.ts";
import { appendEvents, rotateEvents } from "../contract/golden-files.ts";
import { generateLedger } from "../contract/golden-ledger.ts";
import { startPostgres } from "../contract/postgres.ts";
import { compare, digestOf, fill, query } from "../contract/projection.ts";
import { createRandom } from "./oracle.ts";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "20000" },
    seed: { type: "string", default: "1" },
    kills: { type: "string", default: "20" },
  },
});
const [count, seed, kills] = [Number(values.count), Number(values.seed), Number(values.kills)];
if (![count, seed, kills].every(Number.isSafeInteger) || count < 100 || kills < 0) {
  console.error("usage: campaign:replay [--count N] [--seed S] [--kills K]");
  process.exit(2);
}

const startedMs = performance.now();
const say = (text: string): void =>
  console.log(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(7)} s  ${text}`);
const random = createRandom(seed);
const mainPath = join(import.meta.dirname, "../../src/main.ts");

const ledger = await generateLedger({ seed, count });
say(`${ledger.places.length} records, genesis ${toHex(ledger.genesis)}`);
const directory = await mkdtemp(join(tmpdir(), "sigil-replay-"));
for (let from = 0; from < ledger.places.length; from += 5000) {
  const to = Math.min(from + 5000, ledger.places.length);
  await appendEvents(directory, ledger, [from, to]);
  if (to < ledger.places.length) await rotateEvents(directory, [from, to]);
}
await using postgres = await startPostgres({ settings: ["log_statement = none"] });
await query(postgres.address(), "CREATE DATABASE killed");
await query(postgres.address(), "CREATE DATABASE late");

const words = ["project", "postgres", "--from", `file:${directory}`, "--genesis", toHex(ledger.genesis)];
const connected = async (): Promise<boolean> => {
  const text = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'sigil project'";
  return (await query(postgres.address("killed"), `${text} AND pid <> pg_backend_pid()`)).length > 0;
};

/** @param killAfterMs counted from its connection to the database. */
const run = async (more: readonly string[], killAfterMs?: number): Promise<number | null> => {
  const child = spawn(process.execPath, [mainPath, ...words, ...more], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const closed = once(child, "close");
  if (killAfterMs !== undefined) {
    while (child.exitCode === null && !(await connected())) await delay(20);
    await delay(killAfterMs);
    child.kill("SIGKILL");
  }
  await closed;
  return child.exitCode;
};
const nextOf = async (): Promise<string> => {
  const rows = await query(postgres.address("killed"), "SELECT next FROM sigil_v1.cursor").catch(() => []);
  return String((rows[0]?.["next"] as bigint | undefined) ?? 0n);
};

const wrongs: string[] = [];
for (let kill = 0; kill < kills; kill += 1) {
  await run(["--to", postgres.address("killed")], random() * 1000);
  say(`killed at ${await nextOf()}`);
}
if ((await run(["--to", postgres.address("killed"), "--once"])) !== 0)
  wrongs.push("the last consumer did not end well");
const digestText = (digests: Digests): string =>
  [rootDigest(digests), digests.places, columnsDigest(digests)].map(toHex).join(" ");
const killed = digestText(await digestOf(postgres.address("killed")));
say(`with kills   ${killed}`);

await fill({ address: postgres.address("late"), ledger, from: { random } });
const late = digestText(await digestOf(postgres.address("late")));
say(`out of order ${late}`);

await query(postgres.address("killed"), "DROP SCHEMA sigil, sigil_v1 CASCADE");
const beforeMs = performance.now();
if ((await run(["--to", postgres.address("killed"), "--once"])) !== 0)
  wrongs.push("the replay did not end well");
const tookMs = performance.now() - beforeMs;
const replayed = digestText(await digestOf(postgres.address("killed")));
say(`replayed     ${replayed}, ${Math.round((ledger.places.length * 1000) / tookMs)} records a second`);

const { difference, ledger: ours } = await compare(postgres.address("killed"), ledger);
if (difference !== undefined) wrongs.push(`${difference.table} differs: ${difference.rule}`);
say(`the ledger   ${digestText(ours)}`);
if (new Set([killed, late, replayed, digestText(ours)]).size !== 1) wrongs.push("the digests differ");
await rm(directory, { recursive: true });
for (const wrong of wrongs) console.error(wrong);
console.log(wrongs.length === 0 ? "equal" : "NOT EQUAL");
process.exitCode = wrongs.length === 0 ? 0 : 1;
