/** A projection in PostgreSQL as any command has it: each use on a connection of its own. */
import type { ProjectionDatabase } from "../database.ts";
import { connectPostgres, describeAddress, type PostgresAddress } from "./connect.ts";
import { openPostgresProjection, type PostgresOptions } from "./projection.ts";
import { withStoredRows } from "./stored-rows.ts";

export type PostgresUse = Pick<PostgresOptions, "name" | "readers"> & {
  /** Until a server that does not answer is given up; by default longer than any statement may take. */
  readonly silentMs?: number;
};

/** @param password undefined where the server asks for none. */
export const postgresDatabase = (
  address: PostgresAddress,
  password: string | undefined,
  { name, readers, silentMs }: PostgresUse,
): ProjectionDatabase => {
  const withClient = async <T>(
    work: (client: Awaited<ReturnType<typeof connectPostgres>>) => Promise<T>,
  ): Promise<T> => {
    const client = await connectPostgres(address, password, silentMs);
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  };
  return {
    description: describeAddress(address),
    withStore: (options, work) =>
      withClient(async (client) => work(await openPostgresProjection(client, { ...options, name, readers }))),
    withStoredRows: (work) => withClient((client) => withStoredRows(client, name, work)),
  };
};
