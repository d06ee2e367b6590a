/**
 * Rows as items of one table with two indexes. A place, its links and what is too long for one item stand beside each
 * other:
 *
 *   pk place#7      sk 00000000000000000900                    place 900, in the eighth bucket of 128
 *   pk place#7      sk 00000000000000000900#envelope#0000      a piece of its envelope
 *   pk place#7      sk 00000000000000000900#link#0000          its first link
 *   pk records#acme sk user/notes/1                            a newest version
 *   pk tenants      sk acme                                    below which position nothing of the tenant stands
 *   pk system       sk erasure#00000000000000000900            where records about keys and erasures are
 *
 * Index gsi1: `tenant#kind#shard`, by time. Index gsi2: a hash, with the record that has it and the links to it.
 * Source: docs/spec/projections.md §3.2.
 */
import { concatBytes, toHex, utf8Decode, utf8Encode } from "@sigil/core/bytes";
import { failProjection } from "../fault.ts";
import { placeDocuments, placeId, rowsOfPlaces, toFields, toRow, type Fields } from "../place-documents.ts";
import type { Rows } from "../rows.ts";
import { heads, type Row } from "../tables.ts";
import { attributeBytes, cellRule, formatTree, parseTree } from "./attributes.ts";

export type Item = Fields & { readonly pk: string; readonly sk: string };
export type ItemKey = { readonly pk: string; readonly sk: string };

/** Of places beside each other: a bucket is read in one request, and consecutive ones lie on other partitions. */
export const bucketPlaces = 128n;
/** Of one tenant's records of one kind: each takes what a partition does, 1,000 write units a second. */
const kindShards = 8n;
/** Of an envelope or of a payload's JSON in the place's own item. */
const inlineBytesMax = 64 << 10;
const pieceBytes = 256 << 10;
/** What DynamoDB takes. */
const itemBytesMax = 400 << 10;

const cutAttributes = ["envelope", "payload"] as const;
const serial = (at: number): string => String(at).padStart(4, "0");

export const bucketKey = (bucket: bigint): string => `place#${bucket}`;

const placeKey = (position: bigint): ItemKey => ({
  pk: bucketKey(position / bucketPlaces),
  sk: placeId(position),
});

/** In 16 digits of milliseconds, so that text sorts as times do. */
const timeKey = (at: unknown, position: bigint): string =>
  `${String(at).padStart(16, "0")}#${placeId(position)}`;

const indexKeys = (row: Row, position: bigint): Fields => ({
  gsi1pk: `${String(row["tenant"])}#${String(row["kind"])}#${position % kindShards}`,
  gsi1sk: timeKey(row["at"], position),
  gsi2pk: toHex(row["hash"] as Uint8Array),
  gsi2sk: placeId(position),
});

/** Bytes that an item does not take, and what stands in their place. */
const bytesToCut = (name: (typeof cutAttributes)[number], row: Row): Uint8Array | undefined => {
  const cell = row[name];
  const bytes = typeof cell === "string" ? utf8Encode(cell) : cell;
  return bytes instanceof Uint8Array && bytes.length > inlineBytesMax ? bytes : undefined;
};

const erasedItem = (position: bigint, leaf: unknown): Item => ({
  ...placeKey(position),
  position,
  leaf,
  erased: true,
});

/** What is left of a place whose tenant was erased. */
export const eraseItem = (item: Item): Item =>
  erasedItem(BigInt(item["position"] as number | bigint), item["leaf"]);

const itemsOf = (row: Row, document: Fields): readonly Item[] => {
  const position = row["position"] as bigint;
  if (row["erased"] === true) return [erasedItem(position, row["leaf"])];
  const key = placeKey(position);
  const tenant = row["tenant"];
  const { links = [], ...fields } = document;
  const pieces = cutAttributes.flatMap((name) => {
    const bytes = bytesToCut(name, row);
    return bytes === undefined ? [] : [{ name, bytes, count: Math.ceil(bytes.length / pieceBytes) }];
  });
  const place = {
    ...key,
    ...Object.fromEntries(
      Object.entries(fields).filter(([field]) => !pieces.some(({ name }) => name === field)),
    ),
    ...Object.fromEntries(pieces.map(({ name, count }) => [`${name}_pieces`, count])),
    ...indexKeys(row, position),
  };
  const bytes = attributeBytes(place);
  if (bytes > itemBytesMax) {
    const rule = `its columns take ${bytes} bytes, and an item of DynamoDB has 400 KB`;
    failProjection({ kind: "unstorable", position, rule });
  }
  return [
    place,
    ...(links as readonly Fields[]).map((link, at) => ({
      pk: key.pk,
      sk: `${key.sk}#link#${serial(at)}`,
      tenant,
      ...link,
      gsi2pk: toHex(link["target"] as Uint8Array),
      gsi2sk: `${key.sk}#${serial(at)}`,
    })),
    ...pieces.flatMap(({ name, bytes, count }) =>
      Array.from({ length: count }, (_, at) => ({
        pk: key.pk,
        sk: `${key.sk}#${name}#${serial(at)}`,
        tenant,
        bytes: bytes.subarray(at * pieceBytes, (at + 1) * pieceBytes),
      })),
    ),
  ];
};

/** Of each place, in order: its own item first. @throws ProjectionFault: unstorable. */
export const placeItems = (rows: Rows): readonly Item[] => {
  const documents = placeDocuments(rows, cellRule);
  return rows.record_versions.flatMap((row, at) => itemsOf(row, documents[at] ?? {}));
};

/** Whether it is a place's own item. */
export const isPlaceItem = ({ sk }: ItemKey): boolean => /^\d{20}$/.test(sk);

/** A place with what stands beside it. */
const documentOf = (place: Fields, beside: readonly Item[]): Fields => {
  const of = (name: string): readonly Item[] => beside.filter(({ sk }) => sk.split("#")[1] === name);
  const document: Record<string, unknown> = { ...place };
  const links = of("link");
  if (links.length > 0) document["links"] = links;
  for (const name of cutAttributes) {
    const pieces = of(name);
    // Where there are fewer than there were the bytes are others, which a comparison finds.
    if (pieces.length === 0) continue;
    const bytes = concatBytes(
      ...pieces.map((piece) => (piece["bytes"] instanceof Uint8Array ? piece["bytes"] : new Uint8Array(0))),
    );
    document[name] = name === "payload" ? formatCutTree(bytes) : bytes;
  }
  return document;
};

/** JSON that was cut is text again, where it is text. */
const formatCutTree = (bytes: Uint8Array): unknown => {
  try {
    return formatTree(utf8Decode(bytes));
  } catch {
    return bytes;
  }
};

/** One document a place. @param items in the order of their keys. */
export const documentsOf = (items: readonly Item[]): readonly Fields[] => {
  const documents: Fields[] = [];
  for (let at = 0; at < items.length;) {
    const place = items[at];
    if (place === undefined) break;
    const own = placeIdOf(place);
    let end = at + 1;
    while (end < items.length && placeIdOf(items[end] as Item) === own) end += 1;
    documents.push(
      isPlaceItem(place)
        ? documentOf(place, items.slice(at + 1, end))
        : // Without its place: nothing that the ledger gives.
          documentOf({ position: BigInt(own) }, items.slice(at, end)),
    );
    at = end;
  }
  return documents;
};

const placeIdOf = ({ sk }: ItemKey): string => sk.slice(0, 20);

/** The rows that items were made of, each table in its order. @param items in the order of their keys. */
export const rowsOfItems = (items: readonly Item[]): Rows => rowsOfPlaces(documentsOf(items), cellRule);

export const recordsKey = (tenant: string): string => `records#${tenant}`;

export const headKey = ({ tenant, space, id }: Row): ItemKey => ({
  pk: recordsKey(String(tenant)),
  sk: `${String(space)}/${String(id)}`,
});

export const headItem = (row: Row): Item => ({ ...headKey(row), ...toFields(heads, row, cellRule) });

export const headRow = (item: Fields): Row => toRow(heads, item, cellRule);

export const tenantKey = (tenant: string): ItemKey => ({ pk: "tenants", sk: tenant });

export const cursorKey: ItemKey = { pk: "cursor", sk: "cursor" };

/** What a consumer needs to find again: records about keys and erasures of the ledger itself. */
export const signpostKinds = ["genesis", "signing_key", "key_retirement", "erasure", "erased"] as const;

export const signpostsKey = "system";

/** @returns undefined for a record of another kind. */
export const signpostItem = (row: Row): Item | undefined => {
  const { kind, space, position } = row;
  const isSignpost = space === "system" && signpostKinds.some((each) => each === kind);
  if (!isSignpost) return undefined;
  return { pk: signpostsKey, sk: `${String(kind)}#${placeId(position as bigint)}`, position };
};

/** A payload as the view has it. */
export const payloadOf = (document: Fields): unknown => JSON.parse(parseTree(document["payload"]));
