/**
 * A proxy in front of Moto with the limits of DynamoDB that Moto lacks, by its documentation and not by our code; and
 * which throttles, as DynamoDB does. Source: Amazon DynamoDB developer guide, quotas and naming rules.
 */
import { once } from "node:events";
import { createServer, request as ask, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Attribute = Readonly<Record<string, unknown>>;
type Attributes = Readonly<Record<string, Attribute>>;

const decimal = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

/** At most 38 digits, and 0 or of a magnitude from 1e-130 to 9.99…e125. */
const numberFault = (text: string): string | undefined => {
  const [, whole = "", part = "", exponent = "0"] = decimal.exec(text) ?? [];
  if (whole === "") return `${text} is no number`;
  const digits = `${whole}${part}`.replace(/^0+/, "");
  const significant = digits.replace(/0+$/, "");
  if (significant.length > 38) return `${text} has more than 38 digits`;
  if (significant === "") return text.startsWith("-") ? "zero has no sign" : undefined;
  const magnitude = digits.length - part.length + Number(exponent) - 1;
  return magnitude < -130 || magnitude > 125 ? `${text} is out of range` : undefined;
};

const numberBytes = (text: string): number => Math.ceil(text.replace(/[^\d]/g, "").length / 2) + 2;

/** @returns bytes as they are counted. @throws what is wrong. */
const measure = (attribute: Attribute, depth: number): number => {
  if (depth > 32) throw new Error("nested deeper than 32 levels");
  const [[type, value] = ["", undefined]] = Object.entries(attribute);
  switch (type) {
    case "S":
      return Buffer.byteLength(String(value));
    case "B":
      return Buffer.from(String(value), "base64").length;
    case "N": {
      const fault = numberFault(String(value));
      if (fault !== undefined) throw new Error(fault);
      return numberBytes(String(value));
    }
    case "BOOL":
    case "NULL":
      return 1;
    case "L":
      return (value as readonly Attribute[]).reduce((sum, item) => sum + 1 + measure(item, depth + 1), 3);
    case "M":
      return 3 + measureMap(value as Attributes, depth + 1);
    default:
      throw new Error(`type ${type} is not written by a projection`);
  }
};

const measureMap = (attributes: Attributes, depth: number): number =>
  Object.entries(attributes).reduce((sum, [name, attribute]) => {
    if (name === "") throw new Error("an empty attribute name");
    if (Buffer.byteLength(name) > 65_535) throw new Error("an attribute name of more than 64 KB");
    return sum + 1 + Buffer.byteLength(name) + measure(attribute, depth);
  }, 0);

const keyBytesMax = { pk: 2048, gsi1pk: 2048, gsi2pk: 2048, sk: 1024, gsi1sk: 1024, gsi2sk: 1024 };

const measureItem = (item: Attributes): number => {
  for (const [name, bytesMax] of Object.entries(keyBytesMax)) {
    const attribute = item[name];
    if (attribute === undefined) continue;
    const text = attribute["S"];
    const bytes = typeof text === "string" ? Buffer.byteLength(text) : 0;
    if (bytes === 0 || bytes > bytesMax) throw new Error(`key ${name} has ${bytes} bytes`);
  }
  const bytes = measureMap(item, 0);
  if (bytes > 400 << 10) throw new Error("Item size has exceeded the maximum allowed size");
  return bytes;
};

/** @returns what DynamoDB would refuse an item for, as it is on the wire. */
export const itemFault = (item: Attributes): string | undefined => {
  try {
    measureItem(item);
    return undefined;
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause);
  }
};

type Body = Readonly<Record<string, unknown>>;
type Operation = {
  readonly Item?: Attributes;
  readonly Key?: Attributes;
  readonly ExpressionAttributeValues?: Attributes;
};

const operationBytes = ({ Item, Key = {}, ExpressionAttributeValues = {} }: Operation): number => {
  // An update sets what its values say, one attribute each.
  for (const value of Object.values(ExpressionAttributeValues)) measure(value, 0);
  return Item === undefined ? measureItem(Key) + measureMap(ExpressionAttributeValues, 0) : measureItem(Item);
};

/** @returns what DynamoDB would refuse it for. */
const faultOf = (action: string, body: Body): string | undefined => {
  try {
    if (action === "TransactWriteItems") {
      const writes = body["TransactItems"] as readonly Readonly<Record<string, Operation>>[];
      if (writes.length > 100) return "more than 100 items in a transaction";
      const operations = writes.flatMap((write) => Object.values(write));
      const bytes = operations.reduce((sum, operation) => sum + operationBytes(operation), 0);
      if (bytes > 4 << 20) return "more than 4 MB in a transaction";
      const keys = operations.map(({ Item, Key }) => {
        const { pk, sk } = (Item ?? Key) as Attributes;
        return JSON.stringify([pk, sk]);
      });
      if (new Set(keys).size !== keys.length) return "multiple operations on one item";
    }
    if (action === "BatchGetItem") {
      const tables = Object.values(
        body["RequestItems"] as Readonly<Record<string, { readonly Keys: unknown[] }>>,
      );
      if (tables.reduce((sum, { Keys }) => sum + Keys.length, 0) > 100) return "more than 100 keys";
    }
    return undefined;
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause);
  }
};

export type Throttle =
  /** A request is refused. */
  | { readonly kind: "refused"; readonly code: string }
  /** A transaction is cancelled for one of its items. */
  | { readonly kind: "cancelled"; readonly code: string }
  /** Of a batch of keys all but the first are left out. */
  | { readonly kind: "unprocessed" };

export type StrictDynamo = AsyncDisposable & {
  readonly port: number;
  /** Asked before each request. */
  throttle: ((action: string) => Throttle | undefined) | undefined;
  /** Requests that came, by action. */
  readonly counts: Map<string, number>;
  /** What DynamoDB would have refused. */
  readonly faults: string[];
};

const readBody = async (request: IncomingMessage): Promise<Buffer> => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
};

const refuse = (response: ServerResponse, code: string, more: Body = {}): void => {
  const space =
    code === "ThrottlingException" ? "com.amazon.coral.availability" : "com.amazonaws.dynamodb.v20120810";
  response.writeHead(400, { "content-type": "application/x-amz-json-1.0" });
  response.end(JSON.stringify({ __type: `${space}#${code}`, message: code, ...more }));
};

export const startStrictDynamo = async (port: number): Promise<StrictDynamo> => {
  const sockets = new Set<IncomingMessage["socket"]>();
  const forward = (incoming: IncomingMessage, response: ServerResponse, body: Buffer): void => {
    const { method, url, headers } = incoming;
    const asked = ask({ host: "127.0.0.1", port, method, path: url, headers }, (answered) => {
      response.writeHead(answered.statusCode ?? 500, answered.headers);
      answered.pipe(response);
      answered.once("error", () => response.destroy());
    });
    asked.once("error", () => response.destroy());
    response.once("close", () => asked.destroy());
    asked.end(body);
  };
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const bytes = await readBody(request);
    const action = String(request.headers["x-amz-target"]).replace(/^.*\./, "");
    const body = JSON.parse(bytes.toString() || "{}") as Body;
    strict.counts.set(action, (strict.counts.get(action) ?? 0) + 1);
    const fault = faultOf(action, body);
    if (fault !== undefined) {
      strict.faults.push(`${action}: ${fault}`);
      return refuse(response, "ValidationException", { message: fault });
    }
    const throttled = strict.throttle?.(action);
    if (throttled?.kind === "refused") return refuse(response, throttled.code);
    if (throttled?.kind === "cancelled" && action === "TransactWriteItems") {
      const writes = body["TransactItems"] as readonly unknown[];
      const reasons = writes.map((_, at) => ({ Code: at === 0 ? throttled.code : "None" }));
      return refuse(response, "TransactionCanceledException", { CancellationReasons: reasons });
    }
    if (throttled?.kind === "unprocessed" && action === "BatchGetItem") {
      response.writeHead(200, { "content-type": "application/x-amz-json-1.0" });
      response.end(JSON.stringify({ Responses: {}, UnprocessedKeys: body["RequestItems"] }));
      return;
    }
    forward(request, response, bytes);
  };
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const strict: StrictDynamo = {
    port: (server.address() as AddressInfo).port,
    throttle: undefined,
    counts: new Map(),
    faults: [],
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
  return strict;
};
