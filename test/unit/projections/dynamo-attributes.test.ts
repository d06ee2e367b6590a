/** JSON and rows as items of DynamoDB: what it cannot hold, its limits by its own documentation, and the same back. */
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient, GetCommand, PutCommand } from "@aws-sdk/lib-dynamodb";
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { sha256 } from "../../../src/core/hash.ts";
import { ProjectionFault } from "../../../src/projections/fault.ts";
import {
  attributeBytes,
  cellRule,
  formatTree,
  parseTree,
  readNumber,
} from "../../../src/projections/dynamo/attributes.ts";
import { placeItems, rowsOfItems, type Item } from "../../../src/projections/dynamo/item.ts";
import { appendedNames, type Row } from "../../../src/projections/tables.ts";
import type { Rows } from "../../../src/projections/rows.ts";
import { itemFault, type Attribute } from "../../contract/strict-dynamo.ts";

type Wire = Readonly<Record<string, Attribute>>;

/** Through the SDK, as it would be on the wire: what is put, and what is got of the same bytes. */
const throughWire = async (items: readonly Item[]) => {
  let wire: Wire = {};
  const client = new DynamoDBClient({
    region: "eu-central-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
    requestHandler: {
      handle: async ({
        headers,
        body,
      }: {
        readonly headers: Record<string, string>;
        readonly body: Uint8Array | string;
      }) => {
        const isPut = headers["x-amz-target"]?.endsWith(".PutItem") === true;
        if (isPut) wire = (JSON.parse(Buffer.from(body).toString()) as { readonly Item: Wire }).Item;
        const answer = new Blob([JSON.stringify(isPut ? {} : { Item: wire })]);
        return { response: { statusCode: 200, headers: {}, body: answer.stream() } };
      },
      updateHttpClientConfig: () => {},
      httpHandlerConfigs: () => ({}),
    },
  });
  const documents = DynamoDBDocumentClient.from(client, {
    marshallOptions: { allowImpreciseNumbers: true },
    unmarshallOptions: { wrapNumbers: readNumber },
  });
  const [got, wires]: [Item[], Wire[]] = [[], []];
  for (const item of items) {
    await documents.send(new PutCommand({ TableName: "t", Item: item }));
    wires.push(wire);
    got.push((await documents.send(new GetCommand({ TableName: "t", Key: {} }))).Item as Item);
  }
  return { got, wires };
};

const plain = (tree: unknown): unknown => {
  if (tree instanceof Map) {
    return Object.fromEntries([...tree].map(([key, value]) => [String(key), plain(value)]));
  }
  return Array.isArray(tree) ? tree.map(plain) : tree;
};

const rowsWith = (row: Row, more: Partial<Rows> = {}): Rows => ({
  ...(Object.fromEntries(appendedNames.map((name) => [name, []])) as unknown as Rows),
  record_versions: [
    {
      position: 900n,
      leaf: sha256(new Uint8Array(0)),
      erased: false,
      tenant: "acme",
      space: "user",
      id: "notes/1",
      kind: "config",
      schema_version: 1,
      at: 1_700_000_000_000,
      hash: sha256(new Uint8Array(1)),
      prev: null,
      payload: "null",
      nul_replaced: false,
      witnesses: 0,
      envelope: new Uint8Array([1]),
      ...row,
    },
  ],
  ...more,
});

describe("JSON as attributes of DynamoDB", () => {
  it("spells keys and numbers that it has no room for, and no others", () => {
    const cases: readonly (readonly [string, unknown])[] = [
      ['{"a":1,"a.b":"x","$é":null}', { a: 1, "a.b": "x", $é: null }],
      ['{"":1}', { "%": 1 }],
      ['{"%":1,"50%":2}', { "%25": 1, "50%25": 2 }],
      ['{"%number":"1"}', { "%25number": "1" }],
      ['{"__proto__":1}', { "%5F_proto__": 1 }],
      ['{"%5F_proto__":1}', { "%255F_proto__": 1 }],
      ['{"constructor":{"name":"Set"}}', { constructor: { name: "Set" } }],
      ["[[1],[[]]]", [[1], [[]]]],
      ["5e-324", { "%number": "5e-324" }],
      ["1.7976931348623157e+308", { "%number": "1.7976931348623157e+308" }],
      ["1e-130", 1e-130],
      ["9e-131", { "%number": "9e-131" }],
      ["9.99e+125", 9.99e125],
      ["1e+126", { "%number": "1e+126" }],
      ["-0.1", -0.1],
      ['""', ""],
      ['"9223372036854775807"', "9223372036854775807"],
    ];
    for (const [json, tree] of cases) {
      expect(plain(formatTree(json)), json).to.deep.equal(tree);
      expect(parseTree(plain(formatTree(json)))).to.equal(json);
    }
  });

  it("keeps int64 and the sign of zero, and what is no number", () => {
    const { toValue, toCell } = cellRule;
    expect(toValue("bigint", 2n ** 63n - 1n)).to.equal(2n ** 63n - 1n);
    expect(readNumber(String(2n ** 63n - 1n))).to.equal(2n ** 63n - 1n);
    for (const number of [-0, 5e-324, -1.5, NaN, Infinity, -Infinity]) {
      const back = toCell("z", "double precision", toValue("double precision", number));
      expect(Object.is(back, number), String(number)).to.equal(true);
    }
  });

  it("gives any JSON back as it was, and writes none that DynamoDB refuses", async () => {
    const key = fc.oneof(
      fc.string({ unit: "grapheme", maxLength: 6 }),
      fc.string({ unit: fc.constantFrom("%", "2", "5", "F"), maxLength: 5 }),
      fc.constantFrom("", "%", "%number", "%json", "__proto__", "constructor", "toString", "%5F_proto__"),
    );
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.string({ unit: "grapheme" }),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.integer(),
        fc.maxSafeInteger(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie("value")),
        fc.dictionary(key, tie("value"), { noNullPrototype: false }),
      ),
    }));
    await fc.assert(
      fc.asyncProperty(value, async (any) => {
        const json = JSON.stringify(any).replaceAll("\\u0000", "\u2400");
        const item = { pk: "p", sk: "s", payload: formatTree(json) };
        const { got, wires } = await throughWire([item]);
        expect(itemFault(wires[0] ?? {})).to.equal(undefined);
        expect(JSON.parse(parseTree(got[0]?.["payload"]))).to.deep.equal(JSON.parse(json));
      }),
      { numRuns: 300 },
    );
  });

  it("reads what the rule never writes as something that no record says", () => {
    expect(parseTree({ n: new Uint8Array(1) })).to.equal('{"n":{"%dynamo":"object"}}');
    expect(parseTree({ n: new Set(["a"]) })).to.equal('{"n":{"%dynamo":"object"}}');
  });
});

describe("a place as items of DynamoDB", () => {
  const large = (entry: unknown, count: number): string =>
    JSON.stringify(Array.from({ length: count }, () => entry));

  it("is cut into items of less than 400 KB, and whole again", async () => {
    const payloads = [
      "null",
      large([], 8000),
      large("\u{1f9ff}", 4000),
      large("é%", 200_000),
      large({ "%%%%%": "x" }, 2500),
      JSON.stringify("x".repeat(1_400_000)),
    ];
    for (const payload of payloads) {
      for (const envelopeBytes of [1, 65_536, 65_537, 1_100_000]) {
        const rows = rowsWith({ payload, envelope: new Uint8Array(envelopeBytes).fill(7) });
        const items = placeItems(rows);
        const { got, wires } = await throughWire(items);
        for (const wire of wires) expect(itemFault(wire)).to.equal(undefined);
        expect(rowsOfItems(got)).to.deep.equal(rows);
      }
    }
  });

  it("is refused where its columns pass an item, with its position", () => {
    const rows = rowsWith({}, { proposals: [{ position: 900n, reason: "x".repeat(500_000) }] });
    let fault: unknown;
    try {
      placeItems(rows);
    } catch (error) {
      fault = error instanceof ProjectionFault ? error.error : error;
    }
    expect(fault).to.include({ kind: "unstorable", position: 900n });
  });

  it("counts bytes as DynamoDB does, or more", async () => {
    const items = placeItems(rowsWith({ payload: large({ a: [1.5, "é", null, true] }, 500) }));
    const { wires } = await throughWire(items);
    for (const [at, item] of items.entries()) {
      const counted = attributeBytes(item);
      expect(counted).to.be.greaterThan(JSON.stringify(wires[at]).length / 4);
    }
  });

  it("stands beside its neighbours, in the order of positions, and spread over partitions", () => {
    const key = (position: bigint): string => {
      const [{ pk, sk } = { pk: "", sk: "" }] = placeItems(rowsWith({ position }));
      return `${pk} ${sk}`;
    };
    expect(key(0n)).to.equal("place#0 00000000000000000000");
    expect(key(127n)).to.equal("place#0 00000000000000000127");
    expect(key(128n)).to.equal("place#1 00000000000000000128");
    const [place] = placeItems(rowsWith({}));
    expect(place).to.include({
      gsi1pk: "acme#config#4",
      gsi1sk: "0001700000000000#00000000000000000900",
      gsi2sk: "00000000000000000900",
    });
  });
});
