/**
 * PostgreSQL filled from a golden ledger, indexes included: verified as every projection is; the same rows, tree and
 * heads without verification; and COPY alone, of bytes that were made beforehand. A ledger of its own each round, so
 * that no cache helps.
 */
import { once } from "node:events";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { verifyOwnOnce } from "@sigil/core/keys";
import { appendLeaves, emptyFrontier } from "@sigil/core/merkle";
import { projectionBatchRecordsMax } from "../src/limits.ts";
import type { Place } from "../src/projections/consumer.ts";
import { formatCopy } from "../src/projections/postgres/copy-format.ts";
import { openPostgresProjection } from "../src/projections/postgres/projection.ts";
import { createIndexes, createSchema, quoted } from "../src/projections/postgres/schema.ts";
import { project } from "../src/projections/project.ts";
import { rowsOf } from "../src/projections/rows.ts";
import { appendedNames, appendedTables } from "../src/projections/tables.ts";
import { generateLedger, type GoldenLedger } from "../test/contract/golden-ledger.ts";
import { goldenSource, messagesOf } from "../test/contract/golden-source.ts";
import { startPostgres } from "../test/contract/postgres.ts";
import { connectTo } from "../test/contract/projection.ts";
import { describeRates, inTurns, type FeedScale } from "./feed-scale.ts";

const sizeOf = ({ places }: GoldenLedger): bigint => BigInt(places.length);

const placesOf = (ledger: GoldenLedger): readonly Place[] =>
  messagesOf(ledger, { size: sizeOf(ledger) }).flatMap(({ position, envelope }) => {
    const place = ledger.places[Number(position)];
    if (place === undefined) return [];
    const { leaf, hash, body } = place;
    return [{ position, leaf, record: envelope === undefined ? undefined : { envelope, hash, body } }];
  });

const batchesOf = (ledger: GoldenLedger): readonly (readonly Place[])[] => {
  const places = placesOf(ledger);
  const count = Math.ceil(places.length / projectionBatchRecordsMax);
  return Array.from({ length: count }, (_, at) =>
    places.slice(at * projectionBatchRecordsMax, (at + 1) * projectionBatchRecordsMax),
  );
};

const openStore = (client: pg.Client, { genesis }: GoldenLedger) =>
  openPostgresProjection(client, { name: "bench", genesis, mode: "rebuild", readers: [] });

type Fill = (client: pg.Client, ledger: GoldenLedger) => Promise<number>;

const rebuild: Fill = async (client, ledger) => {
  const size = sizeOf(ledger);
  const startMs = performance.now();
  await project({
    genesis: ledger.genesis,
    verify: verifyOwnOnce,
    lanes: "one",
    source: goldenSource(ledger, { size, batchMessages: 256 }),
    store: await openStore(client, ledger),
    size,
    sourceSize: async () => size,
    onCaughtUp: "end",
    signal: new AbortController().signal,
  });
  return performance.now() - startMs;
};

const withoutVerification: Fill = async (client, ledger) => {
  const batches = batchesOf(ledger);
  const startMs = performance.now();
  const store = await openStore(client, ledger);
  let frontier = emptyFrontier;
  for (const places of batches) {
    const from = frontier.size;
    ({ frontier } = appendLeaves(
      frontier,
      places.map(({ leaf }) => leaf),
    ));
    const progress = { next: frontier.size, lanes: new Map(), frontier };
    await store.apply({ places, from, progress, checkpoint: undefined });
  }
  await store.publish();
  return performance.now() - startMs;
};

const copyAlone: Fill = async (client, ledger) => {
  const schema = "copied";
  const batches = batchesOf(ledger).map((places) => {
    const rows = rowsOf(places);
    return appendedNames.map((name) => ({ name, bytes: formatCopy(appendedTables[name], rows[name]) }));
  });
  await client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
  await client.query("SET synchronous_commit TO off");
  const startMs = performance.now();
  for (const statement of createSchema(schema)) await client.query(statement);
  for (const tables of batches) {
    await client.query("BEGIN");
    for (const { name, bytes } of tables) {
      const columns = Object.keys(appendedTables[name].columns).map(quoted).join(", ");
      const stream = client.query(copyFrom(`COPY ${schema}.${name} (${columns}) FROM STDIN (FORMAT binary)`));
      stream.end(bytes);
      await once(stream, "finish");
    }
    await client.query("COMMIT");
  }
  for (const statement of createIndexes(schema)) await client.query(statement);
  return performance.now() - startMs;
};

const fills = {
  rebuild,
  "without verification": withoutVerification,
  "COPY alone": copyAlone,
} as const satisfies Readonly<Record<string, Fill>>;

export const measureRebuild = async ({ rounds, records }: FeedScale): Promise<readonly string[]> => {
  await using postgres = await startPostgres({ settings: ["fsync = on", "log_statement = none"] });
  let made = { round: -1, ledger: await generateLedger({ seed: 1, count: records }) };
  const loads = ["rebuild", "without verification", "COPY alone"] as const;
  const rates = await inTurns(loads, rounds, async (load, round) => {
    if (made.round !== round) {
      made = { round, ledger: await generateLedger({ seed: 100 + round, count: records }) };
    }
    const client = await connectTo(postgres.address());
    try {
      return (records * 1000) / (await fills[load](client, made.ledger));
    } finally {
      await client.end();
    }
  });
  return describeRates(rates, "records", loads);
};
