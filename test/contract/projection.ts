/** A projection of a golden ledger in a PostgreSQL of tests: filled, followed, looked at. */
import type pg from "pg";
import { verifyOwn } from "../../src/core/keys/verify.ts";
import type { ConsumerOptions } from "../../src/projections/consumer.ts";
import { compareWithLedger, type Comparison } from "../../src/projections/compare.ts";
import type { Digests } from "../../src/projections/digest.ts";
import { connectPostgres, parsePostgresAddress } from "../../src/projections/postgres/connect.ts";
import { openPostgresProjection, type PostgresOptions } from "../../src/projections/postgres/projection.ts";
import { digestStored, withStoredRows } from "../../src/projections/postgres/stored-rows.ts";
import { project, type ProjectOptions } from "../../src/projections/project.ts";
import type { ProjectionStore } from "../../src/projections/store.ts";
import type { GoldenLedger } from "./golden-ledger.ts";
import { goldenSource, type SourceOptions } from "./golden-source.ts";

export const connectTo = async (address: string, password?: string): Promise<pg.Client> => {
  const parsed = parsePostgresAddress(address);
  if (parsed.kind === "refused") throw new Error(parsed.rule);
  return connectPostgres(parsed.address, password);
};

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

export type Filling = Partial<ProjectOptions> & {
  readonly address: string;
  readonly ledger: GoldenLedger;
  readonly from?: Partial<SourceOptions>;
  readonly postgres?: Partial<PostgresOptions>;
  readonly wrap?: (store: ProjectionStore) => ProjectionStore;
};

/** On a connection of its own, up to a size of the ledger: its whole size unless told. */
export const fill = async ({
  address,
  ledger,
  from,
  postgres,
  wrap = bound,
  ...changes
}: Filling): Promise<void> => {
  const size = from?.size ?? BigInt(ledger.places.length);
  const client = await connectTo(address);
  try {
    const store = await openPostgresProjection(client, {
      name: "sigil",
      genesis: ledger.genesis,
      mode: "resume",
      readers: [],
      ...postgres,
    });
    await project({
      ...optionsOf(ledger),
      source: goldenSource(ledger, { ...from, size }),
      store: wrap(store),
      size,
      sourceSize: async () => size,
      onCaughtUp: "end",
      signal: new AbortController().signal,
      ...changes,
    });
  } finally {
    await client.end();
  }
};

const withClient = async <T>(address: string, work: (client: pg.Client) => Promise<T>): Promise<T> => {
  const client = await connectTo(address);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
};

export const digestOf = (address: string, name = "sigil"): Promise<Digests> =>
  withClient(address, (client) => withStoredRows(client, name, digestStored));

export const compare = (address: string, ledger: GoldenLedger): Promise<Comparison> =>
  withClient(address, (client) =>
    withStoredRows(client, "sigil", (stored) =>
      compareWithLedger(goldenSource(ledger, { size: BigInt(ledger.places.length) }), stored, {
        ...optionsOf(ledger),
        sourceSize: async () => BigInt(ledger.places.length),
        signal: new AbortController().signal,
      }),
    ),
  );

export const query = async (address: string, text: string): Promise<readonly Record<string, unknown>[]> =>
  withClient(address, async (client) => (await client.query<Record<string, unknown>>(text)).rows);
