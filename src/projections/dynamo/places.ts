/** Reading places in order: buckets beside each other at once, a page at a time. */
import { dynamoReadsMax } from "../../limits.ts";
import { placeId, type Fields } from "../place-documents.ts";
import { countErasures, type Erasures } from "../withheld.ts";
import type { Dynamo } from "./client.ts";
import {
  bucketKey,
  bucketPlaces,
  documentsOf,
  payloadOf,
  signpostsKey,
  type Item,
  type signpostKinds,
} from "./item.ts";

type Range = { readonly from: bigint; readonly to: bigint };

const itemsOf = async (pages: AsyncIterable<readonly Item[]>): Promise<readonly Item[]> => {
  const items: Item[] = [];
  for await (const page of pages) items.push(...page);
  return items;
};

/**
 * Items of places from `from` up to `to`, in order, buckets of a few at once.
 * @param of what of them, and whose: everything unless told.
 */
export async function* placeItemsIn(
  dynamo: Dynamo,
  table: string,
  { from, to }: Range,
  of?: { readonly attributes: readonly string[]; readonly tenant: string },
): AsyncGenerator<readonly Item[]> {
  const end = to === 0n ? 0n : (to - 1n) / bucketPlaces + 1n;
  for (let first = from / bucketPlaces; first < end && from < to; first += BigInt(dynamoReadsMax)) {
    const count = Math.min(dynamoReadsMax, Number(end - first));
    const buckets = Array.from({ length: count }, (_, at) => bucketKey(first + BigInt(at)));
    const range = { from: placeId(from), to: placeId(to), ...(of === undefined ? {} : { only: of }) };
    const found = await Promise.all(buckets.map((bucket) => itemsOf(dynamo.query(table, bucket, range))));
    for (const items of found) yield items;
  }
}

export type Signpost = { readonly kind: string; readonly position: bigint };

/** In the order of their kinds and positions. */
export const signpostsIn = async (
  dynamo: Dynamo,
  table: string,
  kinds: readonly (typeof signpostKinds)[number][],
): Promise<readonly Signpost[]> => {
  const found = await Promise.all(
    kinds.map(async (kind) =>
      // "$" is what follows "#".
      (await itemsOf(dynamo.query(table, signpostsKey, { from: `${kind}#`, to: `${kind}$` }))).map(
        ({ position }) => ({ kind, position: BigInt(position as number) }),
      ),
    ),
  );
  return found.flat();
};

/** A place as it is stored; undefined where there is none. */
export const documentAt = async (
  dynamo: Dynamo,
  table: string,
  position: bigint,
): Promise<Fields | undefined> => {
  const items: Item[] = [];
  const range = { from: position, to: position + 1n };
  for await (const found of placeItemsIn(dynamo, table, range)) items.push(...found);
  return documentsOf(items)[0];
};

/** What was erased, and what the ledger says of it: for `withheldBy`. @param erased places that are. */
export const erasuresOf = async (dynamo: Dynamo, table: string, erased: bigint): Promise<Erasures> => {
  const payloadsOf = async (kind: "erasure" | "erased"): Promise<readonly unknown[]> => {
    const payloads: unknown[] = [];
    for (const { position } of await signpostsIn(dynamo, table, [kind])) {
      payloads.push(payloadOf((await documentAt(dynamo, table, position)) ?? {}));
    }
    return payloads;
  };
  return countErasures({ erased, orders: await payloadsOf("erasure"), reports: await payloadsOf("erased") });
};
