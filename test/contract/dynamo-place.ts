/** A DynamoDB of tests as the suite of projections has it. */
import { DeleteTableCommand, DynamoDBClient, ListTablesCommand } from "@aws-sdk/client-dynamodb";
import {
  BatchWriteCommand,
  DeleteCommand,
  DynamoDBDocumentClient,
  GetCommand,
  PutCommand,
  ScanCommand,
} from "@aws-sdk/lib-dynamodb";
import type { ProjectionDatabase } from "../../src/projections/database.ts";
import { parseDynamoAddress } from "../../src/projections/dynamo/address.ts";
import { readNumber } from "../../src/projections/dynamo/attributes.ts";
import { Dynamo, type DynamoOptions } from "../../src/projections/dynamo/client.ts";
import { dynamoDatabase } from "../../src/projections/dynamo/database.ts";
import { startProxy } from "./cutting-proxy.ts";
import { startDynamo } from "./dynamo-server.ts";
import type { ProjectionPlace, ProjectionServer } from "./projection-suite.ts";
import { startStrictDynamo, type StrictDynamo } from "./strict-dynamo.ts";

/**
 * Of a killed writer: short, since tests kill many, and not so short that renewals are most of what Moto is asked; and
 * of one request, which Moto may take long for.
 */
const [leaseMs, requestMs] = [2000, 60_000];

export const dynamoAt = (address: string, options: DynamoOptions = {}): ProjectionDatabase => {
  const parsed = parseDynamoAddress(address);
  if (parsed.kind === "refused") throw new Error(parsed.rule);
  return dynamoDatabase(parsed.address, { leaseMs, requestMs, ...options });
};

type Item = Readonly<Record<string, unknown>>;

export type DynamoTestPlace = ProjectionPlace & {
  readonly name: string;
  /** The table that is filled. */
  readonly table: () => Promise<string>;
  readonly items: () => Promise<readonly Item[]>;
  /** What its writer's lease says now: another text each time that it is renewed; undefined without one. */
  readonly lease: () => Promise<string | undefined>;
};

export type DynamoTestServer = ProjectionServer & {
  readonly documents: DynamoDBDocumentClient;
  readonly strict: StrictDynamo;
  readonly address: (name: string) => string;
};

const region = "eu-central-1";

const tablesOf = async (client: DynamoDBClient, name: string): Promise<readonly string[]> => {
  const found: string[] = [];
  let start: string | undefined;
  do {
    const page = await client.send(new ListTablesCommand({ ExclusiveStartTableName: start }));
    found.push(...(page.TableNames ?? []));
    start = page.LastEvaluatedTableName;
  } while (start !== undefined);
  return found.filter((table) => table === name || table.startsWith(`${name}_v`));
};

const scan = async (documents: DynamoDBDocumentClient, table: string): Promise<readonly Item[]> => {
  const found: Item[] = [];
  let start: Record<string, unknown> | undefined;
  do {
    const page = await documents.send(new ScanCommand({ TableName: table, ExclusiveStartKey: start }));
    found.push(...(page.Items ?? []));
    start = page.LastEvaluatedKey;
  } while (start !== undefined);
  return found;
};

const isPlace = ({ sk }: Item): boolean => /^\d{20}$/.test(String(sk));
const isHead = ({ pk }: Item): boolean => String(pk).startsWith("records#");

const placeIn = (
  { client, documents }: { readonly client: DynamoDBClient; readonly documents: DynamoDBDocumentClient },
  name: string,
  database: ProjectionDatabase,
  cut: () => void,
): DynamoTestPlace => {
  const writer = { pk: "projection", sk: "writer" };
  const expire = async (): Promise<void> => {
    if (!(await tablesOf(client, name)).includes(name)) return;
    await documents.send(new DeleteCommand({ TableName: name, Key: writer }));
  };
  const current = async (): Promise<Item> => {
    const key = { pk: "projection", sk: "current" };
    return (await documents.send(new GetCommand({ TableName: name, Key: key }))).Item ?? {};
  };
  const table = async (): Promise<string> =>
    `${name}_v1_b${String(((await current())["v1"] as Item | undefined)?.["filling"])}`;
  const items = async (): Promise<readonly Item[]> => scan(documents, await table());
  const put = async (item: Item): Promise<void> =>
    void (await documents.send(new PutCommand({ TableName: await table(), Item: item })));
  const remove = async ({ pk, sk }: Item): Promise<void> =>
    void (await documents.send(new DeleteCommand({ TableName: await table(), Key: { pk, sk } })));
  const cursor = async (): Promise<Item | undefined> => {
    const key = { pk: "cursor", sk: "cursor" };
    return (await documents.send(new GetCommand({ TableName: await table(), Key: key }))).Item;
  };
  const change = async (isMeant: (item: Item) => boolean, changed: (item: Item) => Item): Promise<void> => {
    for (const item of (await items()).filter(isMeant)) await put(changed(item));
  };
  const changeKind = (field: string, isMeant: (row: Item) => boolean, changed: Item) =>
    change(
      (item) => item[field] !== undefined && isMeant(item[field] as Item),
      (item) => ({ ...item, [field]: { ...(item[field] as Item), ...changed } }),
    );
  const without = (item: Item, ...names: readonly string[]): Item =>
    Object.fromEntries(Object.entries(item).filter(([field]) => !names.includes(field)));
  return {
    name,
    table,
    items,
    lease: async () => {
      const { Item } = await documents
        .send(new GetCommand({ TableName: name, Key: writer }))
        .catch(() => ({ Item: undefined }));
      return Item === undefined ? undefined : JSON.stringify([Item["holder"], Item["count"]]);
    },
    database,
    cut: async () => cut(),
    drop: async () => {
      for (const each of await tablesOf(client, name)) {
        await client.send(new DeleteTableCommand({ TableName: each }));
      }
    },
    next: async () => {
      if (!(await tablesOf(client, name)).includes(await table().catch(() => ""))) return 0n;
      return BigInt(((await cursor())?.["next"] as number | undefined) ?? 0);
    },
    shown: async () => {
      const shown = String((await current())["table"]);
      return BigInt((await scan(documents, shown)).filter(isPlace).length);
    },
    holding: async (tenantPrefix) => {
      const holds = ({ pk, sk, tenant = "" }: Item): boolean =>
        String(tenant).startsWith(tenantPrefix) ||
        String(pk).startsWith(`records#${tenantPrefix}`) ||
        (pk === "tenants" && String(sk).startsWith(tenantPrefix));
      return (await items()).filter(holds).map(({ pk, sk }) => `${String(pk)} ${String(sk)}`);
    },
    changes: [
      [
        "a verdict",
        "decisions",
        () => changeKind("decision", (row) => row["verdict"] === "deny", { verdict: "allow" }),
      ],
      [
        "a feature",
        "decisions",
        () => changeKind("decision", (row) => row["feature_rate"] !== undefined, { feature_rate: 0.123456 }),
      ],
      [
        "no runs",
        "module_runs",
        () =>
          change(
            ({ kind }) => kind === "module_run",
            (item) => without(item, "module_run"),
          ),
      ],
      [
        "a payload",
        "record_versions",
        () =>
          change(
            ({ kind }) => kind === "config",
            (item) => ({ ...item, payload: 1 }),
          ),
      ],
      [
        "passed off as erased",
        "record_versions",
        () =>
          change(
            (item) => isPlace(item) && item["position"] === 100,
            (item) => ({ ...without(item, "envelope"), erased: true }),
          ),
      ],
      [
        "a count",
        "records",
        () =>
          change(
            (item) => isHead(item) && item["tenant"] === "beta",
            (item) => ({ ...item, versions: Number(item["versions"]) + 1 }),
          ),
      ],
      [
        "a newest version less",
        "records",
        async () => {
          const one = (await items()).find((item) => isHead(item) && item["tenant"] === "beta");
          if (one !== undefined) await remove(one);
        },
      ],
      [
        "a newest version more",
        "records",
        () =>
          put({
            pk: "records#zeta",
            sk: "user/x",
            tenant: "zeta",
            space: "user",
            id: "x",
            position: 1,
            versions: 1,
          }),
      ],
      [
        "a place past the end",
        "record_versions",
        () => put({ pk: "place#781", sk: "00000000000000099999", position: 99_999 }),
      ],
      [
        "an item of nobody",
        "record_versions",
        () => put({ pk: "place#1", sk: "00000000000000000001", position: 1 }),
      ],
      [
        "a link less",
        "links",
        async () => {
          const one = (await items()).find(({ sk }) => String(sk).includes("#link#"));
          if (one !== undefined) await remove(one);
        },
      ],
      ["the tree", "cursor", async () => put({ ...(await cursor()), peaks: new Uint8Array(0) })],
      [
        "a statement",
        "attestations",
        () => changeKind("attestation", (row) => row["witness"] === "w2", { statement: new Uint8Array(0) }),
      ],
      ["a tenant that no erasure would find", "tenants", () => remove({ pk: "tenants", sk: "acme" })],
      [
        "a key that no consumer would find",
        "system",
        async () => {
          const one = (await items()).find(
            ({ pk, sk }) => pk === "system" && String(sk).startsWith("signing_key"),
          );
          if (one !== undefined) await remove(one);
        },
      ],
    ],
    hold: async () => {
      await documents.send(
        new PutCommand({ TableName: name, Item: { ...writer, holder: "another", count: 1 } }),
      );
      return { release: expire };
    },
    expire,
    moveCursor: async () => {
      const now = await cursor();
      await put({ ...now, next: Number(now?.["next"]) + 1 });
    },
    leftovers: async () => {
      const read = [name, String((await current())["table"])];
      return (await tablesOf(client, name)).filter((each) => !read.includes(each));
    },
  };
};

const copyTable = async (
  { documents, dynamo }: { readonly documents: DynamoDBDocumentClient; readonly dynamo: Dynamo },
  from: string,
  to: string,
): Promise<void> => {
  await dynamo.createTable(to, "indexed");
  const items = await scan(documents, from);
  for (let at = 0; at < items.length; at += 25) {
    const some = items.slice(at, at + 25).map((item) => ({ PutRequest: { Item: item } }));
    await documents.send(new BatchWriteCommand({ RequestItems: { [to]: some } }));
  }
};

export const startDynamoServer = async (): Promise<DynamoTestServer> => {
  const dynamo = await startDynamo();
  const strict = await startStrictDynamo(dynamo.port);
  const proxy = await startProxy(strict.port);
  const client = new DynamoDBClient({ region, endpoint: dynamo.url });
  const documents = DynamoDBDocumentClient.from(client, {
    // A key may be "constructor".
    marshallOptions: { allowImpreciseNumbers: true, convertClassInstanceToMap: true },
    unmarshallOptions: { wrapNumbers: readNumber },
  });
  const direct = new Dynamo({ region, name: "", endpoint: dynamo.url });
  let places = 0;
  const address = (name: string): string =>
    `dynamodb://${region}/${name}?endpoint=http://127.0.0.1:${proxy.port}`;
  return {
    documents,
    strict,
    proxy,
    address,
    place: async (of) => {
      places += 1;
      const name = `d${String(places).padStart(4, "0")}`;
      const made = placeIn({ client, documents }, name, dynamoAt(address(name)), proxy.cut);
      if (of !== undefined) {
        const from = (of as DynamoTestPlace).name;
        for (const table of await tablesOf(client, from)) {
          await copyTable({ documents, dynamo: direct }, table, `${name}${table.slice(from.length)}`);
        }
        // It names tables.
        const key = { pk: "projection", sk: "current" };
        const { Item } = await documents.send(new GetCommand({ TableName: name, Key: key }));
        const shown = { ...Item, table: await made.table() };
        await documents.send(new PutCommand({ TableName: name, Item: shown }));
      }
      return made;
    },
    [Symbol.asyncDispose]: async () => {
      direct[Symbol.dispose]();
      documents.destroy();
      client.destroy();
      await proxy[Symbol.asyncDispose]();
      await strict[Symbol.asyncDispose]();
      await dynamo[Symbol.asyncDispose]();
    },
  };
};
