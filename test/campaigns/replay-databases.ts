/** Where the consumers of `campaign:replay` put what they read. A database is a row here: real, started for it. */
import type { Comparison } from "../../src/projections/compare.ts";
import type { Digests } from "../../src/projections/digest.ts";
import type { GoldenLedger } from "../contract/golden-ledger.ts";
import { postgresMissing, startPostgres } from "../contract/postgres.ts";
import { startDynamoServer, type DynamoTestPlace } from "../contract/dynamo-place.ts";
import { dynamoMissing } from "../contract/dynamo-server.ts";
import { startMongoServer, type MongoTestPlace } from "../contract/mongo-place.ts";
import { mongoMissing } from "../contract/mongo-server.ts";
import {
  compare,
  compareDatabase,
  digestDatabase,
  digestOf,
  fill,
  fillDatabase,
  query,
} from "../contract/projection.ts";

export type ReplayDatabase = {
  /** Why it is not here. */
  readonly missing: string | undefined;
  readonly start: () => Promise<StartedDatabase>;
};

type StartedDatabase = AsyncDisposable & {
  /** An empty place for a projection. */
  readonly place: (name: string) => Promise<ReplayPlace>;
};

export type ReplayPlace = {
  /** `sigil project …` up to and with its `--to`. */
  readonly words: readonly string[];
  /** Whether a consumer is at work. */
  readonly isInUse: () => Promise<boolean>;
  /** The cursor; 0 where there is none. */
  readonly next: () => Promise<bigint>;
  readonly digest: () => Promise<Digests>;
  readonly compare: (ledger: GoldenLedger) => Promise<Comparison>;
  /** In this process, from messages that are repeated and late. */
  readonly fillLate: (ledger: GoldenLedger, random: () => number) => Promise<void>;
  /** Everything of the projection goes. */
  readonly drop: () => Promise<void>;
};

const consumers =
  "SELECT 1 FROM pg_stat_activity WHERE application_name = 'sigil project' AND pid <> pg_backend_pid() AND datname = current_database()";

const startPostgresPlaces = async (): Promise<StartedDatabase> => {
  const postgres = await startPostgres({ settings: ["log_statement = none"] });
  return {
    place: async (name) => {
      await query(postgres.address(), `CREATE DATABASE ${name}`);
      const address = postgres.address(name);
      return {
        words: ["project", "postgres", "--to", address],
        isInUse: async () => (await query(address, consumers)).length > 0,
        next: async () => {
          const rows = await query(address, "SELECT next FROM sigil_v1.cursor").catch(() => []);
          return (rows[0]?.["next"] as bigint | undefined) ?? 0n;
        },
        digest: () => digestOf(address),
        compare: (ledger) => compare(address, ledger),
        fillLate: (ledger, random) => fill({ address, ledger, from: { random } }),
        drop: async () => void (await query(address, "DROP SCHEMA sigil, sigil_v1 CASCADE")),
      };
    },
    [Symbol.asyncDispose]: () => postgres[Symbol.asyncDispose](),
  };
};

const startMongoPlaces = async (): Promise<StartedDatabase> => {
  const server = await startMongoServer();
  return {
    place: async () => {
      const { database, db, next, drop } = (await server.place()) as MongoTestPlace;
      const writers = db.collection<{ readonly _id: string; readonly until: Date }>("sigil");
      return {
        words: ["project", "mongo", "--to", server.address(db.databaseName)],
        isInUse: async () => (await writers.findOne({ _id: "writer", until: { $gt: new Date() } })) !== null,
        next,
        digest: () => digestDatabase(database),
        compare: (ledger) => compareDatabase(database, ledger),
        fillLate: (ledger, random) => fillDatabase(database, { ledger, from: { random } }),
        drop,
      };
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
};

const startDynamoPlaces = async (): Promise<StartedDatabase> => {
  const server = await startDynamoServer();
  return {
    place: async () => {
      const { database, name, next, drop, lease } = (await server.place()) as DynamoTestPlace;
      let seen: string | undefined;
      return {
        words: ["project", "dynamo", "--to", server.address(name)],
        // A killed one's lease stays, and is renewed no more.
        isInUse: async () => {
          const before = seen;
          seen = await lease();
          return before !== undefined && seen !== undefined && seen !== before;
        },
        next,
        digest: () => digestDatabase(database),
        compare: (ledger) => compareDatabase(database, ledger),
        fillLate: (ledger, random) => fillDatabase(database, { ledger, from: { random } }),
        drop,
      };
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
};

export const replayDatabases: Readonly<Record<string, ReplayDatabase>> = {
  dynamo: { missing: dynamoMissing, start: startDynamoPlaces },
  mongo: { missing: mongoMissing, start: startMongoPlaces },
  postgres: { missing: postgresMissing, start: startPostgresPlaces },
};
