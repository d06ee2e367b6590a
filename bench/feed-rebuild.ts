/**
 * A database filled from a golden ledger, indexes included: verified as every projection is; the same rows, tree and
 * heads without verification; and into PostgreSQL COPY alone, of bytes that were made beforehand. A ledger of its own
 * each round, so that no cache helps.
 */
import { once } from "node:events";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { verifyOwnOnce } from "@sigil/core/keys";
import { appendLeaves, emptyFrontier } from "@sigil/core/merkle";
import { projectionBatchRecordsMax } from "../src/limits.ts";
import type { Place } from "../src/projections/consumer.ts";
import type { ProjectionDatabase } from "../src/projections/database.ts";
import { formatCopy } from "../src/projections/postgres/copy-format.ts";
import { createIndexes, createSchema, quoted } from "../src/projections/postgres/schema.ts";
import { project } from "../src/projections/project.ts";
import { rowsOf } from "../src/projections/rows.ts";
import { appendedNames, appendedTables } from "../src/projections/tables.ts";
import { startDynamoServer } from "../test/contract/dynamo-place.ts";
import { generateLedger, type GoldenLedger } from "../test/contract/golden-ledger.ts";
import { goldenSource, messagesOf } from "../test/contract/golden-source.ts";
import { startMongoServer } from "../test/contract/mongo-place.ts";
import { startPostgres } from "../test/contract/postgres.ts";
import { connectTo, postgresAt } from "../test/contract/projection.ts";
import type { ProjectionServer } from "../test/contract/projection-suite.ts";
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

/** @returns milliseconds. */
type Fill = (database: ProjectionDatabase, ledger: GoldenLedger) => Promise<number>;

const rebuild: Fill = async (database, ledger) => {
  const size = sizeOf(ledger);
  const startMs = performance.now();
  await database.withStore({ genesis: ledger.genesis, mode: "rebuild" }, (store) =>
    project({
      genesis: ledger.genesis,
      verify: verifyOwnOnce,
      lanes: "one",
      source: goldenSource(ledger, { size, batchMessages: 256 }),
      store,
      size,
      sourceSize: async () => size,
      onCaughtUp: "end",
      signal: new AbortController().signal,
    }),
  );
  return performance.now() - startMs;
};

const withoutVerification: Fill = async (database, ledger) => {
  const batches = batchesOf(ledger);
  const startMs = performance.now();
  await database.withStore({ genesis: ledger.genesis, mode: "rebuild" }, async (store) => {
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
  });
  return performance.now() - startMs;
};

const copyAlone = async (client: pg.Client, ledger: GoldenLedger): Promise<number> => {
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

/** One ledger a round, for all loads of it. */
const ledgersOf = (count: number) => {
  let made: { readonly round: number; readonly ledger: GoldenLedger } | undefined;
  return async (round: number): Promise<GoldenLedger> => {
    if (made?.round !== round) made = { round, ledger: await generateLedger({ seed: 100 + round, count }) };
    return made.ledger;
  };
};

export const measureRebuild = async ({ rounds, records }: FeedScale): Promise<readonly string[]> => {
  await using postgres = await startPostgres({ settings: ["fsync = on", "log_statement = none"] });
  const database = postgresAt(postgres.address(), { name: "bench" });
  const client = await connectTo(postgres.address());
  const ledgerOf = ledgersOf(records);
  const fills = {
    rebuild: (ledger: GoldenLedger) => rebuild(database, ledger),
    "without verification": (ledger: GoldenLedger) => withoutVerification(database, ledger),
    "COPY alone": (ledger: GoldenLedger) => copyAlone(client, ledger),
  };
  const loads = ["rebuild", "without verification", "COPY alone"] as const;
  try {
    const rates = await inTurns(
      loads,
      rounds,
      async (load, round) => (records * 1000) / (await fills[load](await ledgerOf(round))),
    );
    return describeRates(rates, "records", loads);
  } finally {
    await client.end();
  }
};

/** Of servers that speak a protocol in tests, and are slow. */
const measureRebuildAt =
  (start: () => Promise<ProjectionServer>) =>
  async ({ rounds, records }: FeedScale): Promise<readonly string[]> => {
    await using server = await start();
    const count = Math.max(100, records / 10);
    const ledgerOf = ledgersOf(count);
    const fills = { rebuild, "without verification": withoutVerification };
    const loads = ["rebuild", "without verification"] as const;
    const rates = await inTurns(loads, rounds, async (load, round) => {
      const place = await server.place();
      const tookMs = await fills[load](place.database, await ledgerOf(round));
      await place.drop();
      return (count * 1000) / tookMs;
    });
    return describeRates(rates, "records", loads);
  };

export const measureMongoRebuild = measureRebuildAt(startMongoServer);
export const measureDynamoRebuild = measureRebuildAt(startDynamoServer);
