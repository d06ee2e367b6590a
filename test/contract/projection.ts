/** A projection of a golden ledger in a database of tests: filled, followed, looked at. */
import type pg from "pg";
import { verifyOwn } from "../../src/core/keys/verify.ts";
import type { ConsumerOptions } from "../../src/projections/consumer.ts";
import { compareWithLedger, digestStored, type Comparison } from "../../src/projections/compare.ts";
import type { ProjectionDatabase } from "../../src/projections/database.ts";
import type { Digests } from "../../src/projections/digest.ts";
import { connectPostgres, parsePostgresAddress } from "../../src/projections/postgres/connect.ts";
import { postgresDatabase, type PostgresUse } from "../../src/projections/postgres/database.ts";
import type { PostgresOptions } from "../../src/projections/postgres/projection.ts";
import { project, type ProjectOptions } from "../../src/projections/project.ts";
import type { ProjectionStore, StoreOptions } from "../../src/projections/store.ts";
import type { GoldenLedger } from "./golden-ledger.ts";
import { goldenSource, type SourceOptions } from "./golden-source.ts";

const optionsOf = ({ genesis }: GoldenLedger): ConsumerOptions => ({
  genesis,
  verify: verifyOwn,
  lanes: "one",
});

/** Its methods without the object they are on, to be replaced one by one. */
export const bound = (store: ProjectionStore): ProjectionStore => ({
  resume: () => store.resume(),
  apply: (gathered) => store.apply(gathered),
  publish: () => store.publish(),
});

type FillingOptions = Partial<ProjectOptions> & {
  readonly ledger: GoldenLedger;
  readonly from?: Partial<SourceOptions>;
  readonly wrap?: (store: ProjectionStore) => ProjectionStore;
};

/** Up to a size of the ledger: its whole size unless told. */
export const fillDatabase = async (
  database: ProjectionDatabase,
  {
    ledger,
    from,
    wrap = bound,
    opening,
    ...changes
  }: FillingOptions & { readonly opening?: Partial<StoreOptions> },
): Promise<void> => {
  const size = from?.size ?? BigInt(ledger.places.length);
  await database.withStore({ genesis: ledger.genesis, mode: "resume", ...opening }, (store) =>
    project({
      ...optionsOf(ledger),
      source: goldenSource(ledger, { ...from, size }),
      store: wrap(store),
      size,
      sourceSize: async () => size,
      onCaughtUp: "end",
      signal: new AbortController().signal,
      ...changes,
    }),
  );
};

export const digestDatabase = (database: ProjectionDatabase): Promise<Digests> =>
  database.withStoredRows(digestStored);

export const compareDatabase = (database: ProjectionDatabase, ledger: GoldenLedger): Promise<Comparison> =>
  database.withStoredRows((stored) =>
    compareWithLedger(goldenSource(ledger, { size: BigInt(ledger.places.length) }), stored, {
      ...optionsOf(ledger),
      sourceSize: async () => BigInt(ledger.places.length),
      signal: new AbortController().signal,
    }),
  );

const parse = (address: string) => {
  const parsed = parsePostgresAddress(address);
  if (parsed.kind === "refused") throw new Error(parsed.rule);
  return parsed.address;
};

export const connectTo = (address: string, password?: string): Promise<pg.Client> =>
  connectPostgres(parse(address), password);

/** A PostgreSQL by its address. */
export const postgresAt = (
  address: string,
  { name = "sigil", readers = [], ...use }: Partial<PostgresUse> = {},
): ProjectionDatabase => postgresDatabase(parse(address), undefined, { name, readers, ...use });

export type Filling = FillingOptions & {
  readonly address: string;
  readonly postgres?: Partial<PostgresOptions>;
};

export const fill = ({ address, postgres = {}, ...options }: Filling): Promise<void> =>
  fillDatabase(postgresAt(address, postgres), { ...options, opening: postgres });

export const digestOf = (address: string, name = "sigil"): Promise<Digests> =>
  digestDatabase(postgresAt(address, { name }));

export const compare = (address: string, ledger: GoldenLedger): Promise<Comparison> =>
  compareDatabase(postgresAt(address), ledger);

export const query = async (address: string, text: string): Promise<readonly Record<string, unknown>[]> => {
  const client = await connectTo(address);
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
};
