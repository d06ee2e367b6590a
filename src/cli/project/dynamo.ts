/** `sigil project dynamo`: which tables. */
import { parseDynamoAddress } from "../../projections/dynamo/address.ts";
import { dynamoDatabase } from "../../projections/dynamo/database.ts";
import { required, usage } from "../terminal/command.ts";
import { projectCommand } from "./command.ts";

export const projectDynamo = projectCommand({
  name: "dynamo",
  about:
    "Fill a table of DynamoDB from the feed, and follow it. Every record is verified by keys that follow from the genesis\n" +
    "hash, and the tree by every checkpoint. The item current of the table that --to names says which table to read.\n" +
    "Credentials come from the environment, a profile or a role, as for every tool of AWS. Ctrl-C ends it; started again\n" +
    "it goes on where it was. From a server it takes Root of tenant system, or a feed grant for everything.",
  to: {
    value: "URL",
    about: "The tables: dynamodb://REGION/TABLE, with ?endpoint=http://127.0.0.1:8000 for another server.",
  },
  flags: {},
  example: {
    local: "'dynamodb://eu-central-1/audit?endpoint=http://127.0.0.1:8000'",
    remote: "dynamodb://eu-central-1/audit",
  },
  read: async (given) => {
    const parsed = parseDynamoAddress(required(given, "to", "dynamodb://REGION/TABLE"));
    return parsed.kind === "refused" ? usage(`--to ${parsed.rule}`) : dynamoDatabase(parsed.address);
  },
});
