/** A projection in PostgreSQL as any command has it: each use on a connection of its own. */
import type { ProjectionDatabase } from "../database.ts";
import { connectPostgres, describeAddress, type PostgresAddress } from "./connect.ts";
import { openPostgresProjection, type PostgresOptions } from "./projection.ts";
import { withStoredRows } from "./stored-rows.ts";

/** @param password undefined where the server asks for none. */
export const postgresDatabase = (
  address: PostgresAddress,
  password: string | undefined,
  { name, readers }: Pick<PostgresOptions, "name" | "readers">,
): ProjectionDatabase => {
  const withClient = async <T>(
    work: (client: Awaited<ReturnType<typeof connectPostgres>>) => Promise<T>,
  ): Promise<T> => {
    const client = await connectPostgres(address, password);
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
