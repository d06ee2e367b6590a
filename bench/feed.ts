/**
 * `npm run bench:feed`: the relay and the projection beside what bounds them, in rounds that take turns, and what a
 * destination that is down costs those who ask. Ratios are within a round. NATS, Kafka and PostgreSQL are started for
 * it, NATS and PostgreSQL with their syncs on; without them it says what it leaves out.
 *
 *   --rounds N      5 unless told
 *   --records N     of the golden ledger that is relayed and projected; 5000 unless told
 *   --run-ms N      how long each load of checks runs in a round; 3000 unless told
 *   --directory D   where scratch ledgers go, a real disk; the system's temporary directory unless told
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { kafkaMissing } from "../test/contract/kafka-server.ts";
import { natsMissing } from "../test/contract/nats-server.ts";
import { postgresMissing } from "../test/contract/postgres.ts";
import { measureOutage } from "./feed-checks.ts";
import { measureLag } from "./feed-lag.ts";
import { measurePublishing } from "./feed-publish.ts";
import { measureKafka } from "./feed-publish-kafka.ts";
import { measureRebuild } from "./feed-rebuild.ts";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    records: { type: "string", default: "5000" },
    "run-ms": { type: "string", default: "3000" },
    directory: { type: "string", default: tmpdir() },
  },
});
const [rounds, records, runMs] = [options.rounds, options.records, options["run-ms"]].map(Number);
if (![rounds, records, runMs].every((one) => Number.isSafeInteger(one) && Number(one) > 0)) {
  console.error("bench:feed: --rounds, --records and --run-ms are whole numbers above 0");
  process.exit(2);
}

const directory = await mkdtemp(join(options.directory, "sigil-feed-"));
const scale = { rounds: Number(rounds), records: Number(records), runMs: Number(runMs), directory };
const parts = [
  { name: "publishing to NATS", missing: natsMissing, measure: measurePublishing },
  { name: "publishing to Kafka", missing: kafkaMissing, measure: measureKafka },
  { name: "filling PostgreSQL", missing: postgresMissing, measure: measureRebuild },
  { name: "lag from check to row", missing: natsMissing ?? postgresMissing, measure: measureLag },
  { name: "checks while the destination is down", missing: undefined, measure: measureOutage },
];
try {
  for (const { name, missing, measure } of parts) {
    console.error(name);
    const lines = missing === undefined ? await measure(scale) : [missing];
    console.log(`${name}\n${lines.map((line) => `  ${line}`).join("\n")}`);
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
