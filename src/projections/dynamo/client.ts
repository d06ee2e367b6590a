/**
 * Requests to DynamoDB: every read is consistent, every write conditional. Credentials come from the chain of the SDK
 * (environment, profile, role), read again as they expire, and stand in no address, no error and no log. What DynamoDB
 * throttles is asked again, with exponential backoff and jitter, for `dynamoThrottledMsMax`; what the network loses, by
 * the SDK. Source: Amazon DynamoDB API reference, error handling and quotas.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import {
  CreateTableCommand,
  DeleteTableCommand,
  DescribeTableCommand,
  DynamoDBClient,
  DynamoDBServiceException,
  ListTablesCommand,
  ResourceInUseException,
  ResourceNotFoundException,
  TransactionCanceledException,
  type CreateTableCommandInput,
} from "@aws-sdk/client-dynamodb";
import {
  BatchGetCommand,
  DynamoDBDocumentClient,
  GetCommand,
  QueryCommand,
  ScanCommand,
  TransactWriteCommand,
  type TransactWriteCommandInput,
} from "@aws-sdk/lib-dynamodb";
import {
  dynamoBackoffMsMax,
  dynamoBackoffMsMin,
  dynamoRequestMs,
  dynamoThrottledMsMax,
  projectionStatementMs,
} from "../../limits.ts";
import { failProjection, guardedBy } from "../fault.ts";
import type { DynamoAddress } from "./address.ts";
import { readNumber } from "./attributes.ts";
import type { Item, ItemKey } from "./item.ts";

export type Write = NonNullable<TransactWriteCommandInput["TransactItems"]>[number];

/** What `BatchGetItem` takes. */
const keysMax = 100;

const throttles =
  /Throttl|ThroughputExceeded|RequestLimitExceeded|TransactionConflict|TransactionInProgress|LimitExceeded/;

/** Of a transaction that was cancelled, by its writes: "None" for those that were not the reason. */
const reasonsOf = (cause: unknown): readonly string[] =>
  cause instanceof TransactionCanceledException
    ? (cause.CancellationReasons ?? []).map(({ Code }) => Code ?? "None")
    : [];

const isThrottled = (cause: unknown): boolean => {
  const reasons = reasonsOf(cause).filter((code) => code !== "None");
  if (reasons.length > 0) return reasons.every((code) => throttles.test(code));
  return cause instanceof DynamoDBServiceException && throttles.test(cause.name);
};

/** Which of a transaction's writes found another item than they expected; -1 for none. */
export const failedCondition = (cause: unknown): number =>
  reasonsOf(cause).findIndex((code) => code === "ConditionalCheckFailed");

/** A message may print a value: of what DynamoDB refuses as invalid only that is told. */
const ruleOf = (cause: unknown): string => {
  if (cause instanceof TransactionCanceledException) {
    return `a transaction was cancelled: ${[...new Set(reasonsOf(cause))].join(", ")}`;
  }
  if (!(cause instanceof Error)) return "unknown failure";
  if (cause instanceof SyntaxError) return "what answers there is not DynamoDB, or refuses before it asks";
  return cause.name === "ValidationException" ? "it refused a request as invalid" : cause.message;
};

/** Of an answer that the SDK could not read. */
const statusOf = (cause: object): string => {
  const metadata = "$metadata" in cause ? cause.$metadata : undefined;
  if (typeof metadata !== "object" || metadata === null || !("httpStatusCode" in metadata))
    return "no status";
  return typeof metadata.httpStatusCode === "number" ? `HTTP ${metadata.httpStatusCode}` : "no status";
};

const codeOf = (cause: unknown): string => {
  if (cause instanceof DynamoDBServiceException) return cause.name;
  if (cause instanceof SyntaxError) return statusOf(cause);
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (typeof code === "string") return code;
  return cause instanceof Error ? cause.name : "no code";
};

/** @throws ProjectionFault: databaseFailed, for whatever `work` throws beside faults of a projection. */
export const guarded = guardedBy((cause) => ({ code: codeOf(cause), rule: ruleOf(cause) }));

/** In [0, 1), for jitter. */
export type Random = () => number;

/** How long one waits before asking for the nth time, from 1: full jitter below an exponential bound. */
const backoffMs = (attempt: number, random: Random): number =>
  random() * Math.min(dynamoBackoffMsMax, dynamoBackoffMsMin * 2 ** Math.min(attempt, 20));

const keySchema = [
  { AttributeName: "pk", KeyType: "HASH" },
  { AttributeName: "sk", KeyType: "RANGE" },
] as const;

/** What an index says of an item: what questions ask for, and never the envelope. */
const indexOf = (name: string, attributes: readonly string[]) => ({
  IndexName: name,
  KeySchema: [
    { AttributeName: `${name}pk`, KeyType: "HASH" as const },
    { AttributeName: `${name}sk`, KeyType: "RANGE" as const },
  ],
  Projection: { ProjectionType: "INCLUDE" as const, NonKeyAttributes: [...attributes] },
});

const indexed = ["position", "tenant", "space", "id", "kind", "at"];
const ofKinds = ["hash", "decision", "proposal", "proposal_ending", "attestation", "module_run"];

const plainTable = {
  KeySchema: [...keySchema],
  BillingMode: "PAY_PER_REQUEST",
  AttributeDefinitions: ["pk", "sk"].map((name) => ({ AttributeName: name, AttributeType: "S" as const })),
} satisfies Omit<CreateTableCommandInput, "TableName">;

const indexedTable = {
  ...plainTable,
  AttributeDefinitions: ["pk", "sk", "gsi1pk", "gsi1sk", "gsi2pk", "gsi2sk"].map((name) => ({
    AttributeName: name,
    AttributeType: "S" as const,
  })),
  GlobalSecondaryIndexes: [indexOf("gsi1", [...indexed, ...ofKinds]), indexOf("gsi2", [...indexed, "label"])],
} satisfies Omit<CreateTableCommandInput, "TableName">;

export type DynamoOptions = {
  /** `dynamoRequestMs` unless told. */
  readonly requestMs?: number;
  /** `dynamoThrottledMsMax` unless told. */
  readonly throttledMs?: number;
  readonly random?: Random;
};

export class Dynamo implements Disposable {
  readonly #client: DynamoDBClient;
  readonly #documents: DynamoDBDocumentClient;
  readonly #throttledMs: number;
  readonly #random: Random;

  constructor(
    { region, endpoint }: DynamoAddress,
    {
      requestMs = dynamoRequestMs,
      throttledMs = dynamoThrottledMsMax,
      random = Math.random,
    }: DynamoOptions = {},
  ) {
    this.#client = new DynamoDBClient({
      region,
      ...(endpoint === undefined ? {} : { endpoint }),
      requestHandler: {
        connectionTimeout: requestMs,
        requestTimeout: requestMs,
        throwOnRequestTimeout: true,
      },
    });
    this.#documents = DynamoDBDocumentClient.from(this.#client, {
      // The shortest decimal of a double is read as that double.
      marshallOptions: { allowImpreciseNumbers: true },
      unmarshallOptions: { wrapNumbers: readNumber },
    });
    this.#throttledMs = throttledMs;
    this.#random = random;
  }

  [Symbol.dispose](): void {
    this.#documents.destroy();
    this.#client.destroy();
  }

  async get(table: string, key: ItemKey): Promise<Item | undefined> {
    const command = () =>
      this.#documents.send(new GetCommand({ TableName: table, Key: key, ConsistentRead: true }));
    return (await this.#patiently(command)).Item as Item | undefined;
  }

  /** In no order. Keys that DynamoDB left out are asked for again. */
  async getMany(table: string, keys: readonly ItemKey[]): Promise<readonly Item[]> {
    const found: Item[] = [];
    for (let at = 0; at < keys.length; at += keysMax) {
      let left: Record<string, unknown>[] = keys.slice(at, at + keysMax).map((key) => ({ ...key }));
      const endMs = performance.now() + this.#throttledMs;
      for (let attempt = 1; left.length > 0; attempt += 1) {
        const request = { [table]: { Keys: left, ConsistentRead: true } };
        const { Responses, UnprocessedKeys } = await this.#patiently(() =>
          this.#documents.send(new BatchGetCommand({ RequestItems: request })),
        );
        found.push(...((Responses?.[table] ?? []) as Item[]));
        left = UnprocessedKeys?.[table]?.Keys ?? [];
        if (left.length === 0) break;
        if (performance.now() > endMs) {
          const rule = "it left keys unprocessed for too long: raise the table's throughput";
          failProjection({ kind: "databaseFailed", code: "UnprocessedKeys", rule });
        }
        await pause(backoffMs(attempt, this.#random));
      }
    }
    return found;
  }

  /** In the order of `sk`, within a range of it: `from` included, `to` not. A page at a time. */
  async *query(
    table: string,
    pk: string,
    { from = "\0", to, only }: { readonly from?: string; readonly to?: string; readonly only?: Only } = {},
  ): AsyncGenerator<readonly Item[]> {
    const { names, values, ...selected } = selectionOf(only);
    // DynamoDB has one condition on a sort key, and BETWEEN includes its end, which no other key has.
    const isRanged = to !== undefined;
    const input = {
      TableName: table,
      ConsistentRead: true,
      KeyConditionExpression: isRanged
        ? "#pk = :pk AND #sk BETWEEN :from AND :to"
        : "#pk = :pk AND #sk >= :from",
      ExpressionAttributeNames: { ...names, "#pk": "pk", "#sk": "sk" },
      ExpressionAttributeValues: { ...values, ":pk": pk, ":from": from, ...(isRanged ? { ":to": to } : {}) },
      ...selected,
    };
    let start: Record<string, unknown> | undefined;
    do {
      const page = await this.#patiently(() =>
        this.#documents.send(new QueryCommand({ ...input, ExclusiveStartKey: start })),
      );
      yield ((page.Items ?? []) as Item[]).filter(({ sk }) => sk !== to);
      start = page.LastEvaluatedKey;
    } while (start !== undefined);
  }

  /** Every item, in no order. A page at a time. */
  async *scan(table: string, attributes: readonly string[]): AsyncGenerator<readonly Item[]> {
    const { names, ...selected } = selectionOf({ attributes });
    let start: Record<string, unknown> | undefined;
    do {
      const page = await this.#patiently(() =>
        this.#documents.send(
          new ScanCommand({
            TableName: table,
            ConsistentRead: true,
            ExpressionAttributeNames: names,
            ...selected,
            ExclusiveStartKey: start,
          }),
        ),
      );
      yield (page.Items ?? []) as Item[];
      start = page.LastEvaluatedKey;
    } while (start !== undefined);
  }

  /** All or none; what is repeated after a lost answer is done once. @param writes 100 at most, of 4 MB. */
  async write(writes: readonly Write[]): Promise<void> {
    const input = { TransactItems: [...writes], ClientRequestToken: randomUUID() };
    await this.#patiently(() => this.#documents.send(new TransactWriteCommand(input)));
  }

  async hasTable(table: string): Promise<boolean> {
    return (await this.#tableStatus(table)) !== undefined;
  }

  /** Takes writes afterwards. Idempotent. */
  async createTable(table: string, kind: "plain" | "indexed"): Promise<void> {
    if (!(await this.hasTable(table))) {
      const schema = kind === "plain" ? plainTable : indexedTable;
      await this.#unless(ResourceInUseException, () =>
        this.#client.send(new CreateTableCommand({ TableName: table, ...schema })),
      );
    }
    const endMs = performance.now() + projectionStatementMs;
    for (let attempt = 1; (await this.#tableStatus(table)) !== "ACTIVE"; attempt += 1) {
      if (performance.now() > endMs) {
        const rule = `the table ${table} takes no writes yet`;
        failProjection({ kind: "databaseFailed", code: "TableNotActive", rule });
      }
      await pause(backoffMs(attempt, this.#random));
    }
  }

  /** Idempotent. */
  async deleteTable(table: string): Promise<void> {
    await this.#unless(ResourceNotFoundException, () =>
      this.#client.send(new DeleteTableCommand({ TableName: table })),
    );
  }

  async tables(prefix: string): Promise<readonly string[]> {
    const found: string[] = [];
    let start: string | undefined;
    do {
      const page = await this.#patiently(() =>
        this.#client.send(new ListTablesCommand({ ExclusiveStartTableName: start })),
      );
      found.push(...(page.TableNames ?? []));
      start = page.LastEvaluatedTableName;
    } while (start !== undefined);
    return found.filter((name) => name.startsWith(prefix));
  }

  async #tableStatus(table: string): Promise<string | undefined> {
    const answer = await this.#unless(ResourceNotFoundException, () =>
      this.#client.send(new DescribeTableCommand({ TableName: table })),
    );
    return answer?.Table?.TableStatus;
  }

  async #unless<T>(expected: abstract new (...given: never[]) => Error, work: () => Promise<T>) {
    try {
      return await this.#patiently(work);
    } catch (error) {
      if (error instanceof expected) return undefined;
      throw error;
    }
  }

  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    const endMs = performance.now() + this.#throttledMs;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work();
      } catch (cause) {
        if (!isThrottled(cause) || performance.now() > endMs) throw cause;
        await pause(backoffMs(attempt, this.#random));
      }
    }
  }
}

/** What of the items is wanted. */
type Only = { readonly attributes: readonly string[]; readonly tenant?: string };

const selectionOf = (only: Only | undefined) => {
  if (only === undefined) return { names: {}, values: {} };
  const { attributes, tenant } = only;
  const names = Object.fromEntries(attributes.map((attribute) => [`#${attribute}`, attribute]));
  const selected = { names, ProjectionExpression: Object.keys(names).join(", ") };
  if (tenant === undefined) return { ...selected, values: {} };
  return {
    ...selected,
    names: { ...names, "#tenant": "tenant" },
    values: { ":tenant": tenant },
    FilterExpression: "#tenant = :tenant",
  };
};
