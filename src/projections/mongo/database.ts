/** A projection in MongoDB as any command has it: each use on connections of its own. */
import type { ProjectionDatabase } from "../database.ts";
import { connectMongo, describeMongoAddress, type MongoAddress } from "./connect.ts";
import { withMongoProjection, type MongoOptions } from "./projection.ts";
import { withStoredDocuments } from "./stored-documents.ts";

/** @param password undefined where the server asks for none. */
export const mongoDatabase = (
  address: MongoAddress,
  password: string | undefined,
  {
    name,
    leaseMs,
    connectMs,
  }: Pick<MongoOptions, "name" | "leaseMs"> & {
    /** `projectionConnectMs` unless told. */
    readonly connectMs?: number;
  },
): ProjectionDatabase => {
  const { database } = address;
  const lease = leaseMs === undefined ? {} : { leaseMs };
  return {
    description: describeMongoAddress(address),
    withStore: async (options, work) => {
      await using client = await connectMongo(address, password, connectMs);
      return await withMongoProjection(client, { ...options, ...lease, database, name }, work);
    },
    withStoredRows: async (work) => {
      await using client = await connectMongo(address, password, connectMs);
      return await withStoredDocuments(client, { database, name }, work);
    },
  };
};
