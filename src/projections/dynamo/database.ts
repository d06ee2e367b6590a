/** A projection in DynamoDB as any command has it: each use with a client of its own. */
import type { ProjectionDatabase } from "../database.ts";
import { describeDynamoAddress, type DynamoAddress } from "./address.ts";
import { Dynamo, type DynamoOptions } from "./client.ts";
import { withDynamoProjection, type DynamoStoreOptions } from "./projection.ts";
import { withStoredItems } from "./stored-items.ts";

export const dynamoDatabase = (
  address: DynamoAddress,
  { leaseMs, ...options }: DynamoOptions & Pick<DynamoStoreOptions, "leaseMs"> = {},
): ProjectionDatabase => {
  const settings = { name: address.name, ...(leaseMs === undefined ? {} : { leaseMs }) };
  return {
    description: describeDynamoAddress(address),
    withStore: async (opening, work) => {
      using dynamo = new Dynamo(address, options);
      return await withDynamoProjection(dynamo, { ...opening, ...settings }, work);
    },
    withStoredRows: async (work) => {
      using dynamo = new Dynamo(address, options);
      return await withStoredItems(dynamo, settings, work);
    },
  };
};
