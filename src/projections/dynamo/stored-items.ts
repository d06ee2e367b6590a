/**
 * What is stored, read back exactly as it was written: for digests and for the comparison with the ledger. Reads alone,
 * of the table itself and never of its indexes, which follow later. There is no snapshot: what is below the cursor
 * changes by an erasure and by nothing else, and what is above it counts only where no consumer is writing. What does
 * not follow from single places is compared by scanning the table, `dynamoHeadsMax` ids at a time.
 */
import { hash as digest } from "node:crypto";
import { equalBytes } from "@sigil/core/bytes";
import { dynamoHeadsMax } from "../../limits.ts";
import type { Difference, StoredRows } from "../compare.ts";
import { canonicalRow, type Digests } from "../digest.ts";
import { failProjection } from "../fault.ts";
import { formatPeaks } from "../peaks.ts";
import { placeId } from "../place-documents.ts";
import { headName } from "../rows.ts";
import { heads, type Row } from "../tables.ts";
import { withheldBy } from "../withheld.ts";
import { guarded, type Dynamo } from "./client.ts";
import {
  bucketKey,
  bucketPlaces,
  headRow,
  isPlaceItem,
  rowsOfItems,
  signpostItem,
  signpostsKey,
  tenantKey,
  type Item,
  type ItemKey,
} from "./item.ts";
import { erasuresOf, placeItemsIn } from "./places.ts";
import { DynamoPlace, type Cursor } from "./tables.ts";
import { hasWriter } from "./writer.ts";

type Stored = {
  readonly place: DynamoPlace;
  readonly table: string;
  readonly cursor: Cursor;
  readonly leaseMs: number | undefined;
};

const wanted = ["pk", "sk", "erased", "first", "at", ...Object.keys(heads.columns)];

const differs = (table: string, rule: string, position?: unknown): Difference => ({
  table,
  position: typeof position === "bigint" ? position : undefined,
  rule,
});

const isEqual = (one: Row, two: Row): boolean => {
  const [ours, theirs] = [canonicalRow(heads, one), canonicalRow(heads, two)];
  return ours.every((cell, at) => {
    const other = theirs[at];
    return cell instanceof Uint8Array && other instanceof Uint8Array
      ? equalBytes(cell, other)
      : cell === other;
  });
};

/** What one version adds to the newest one: in whatever order versions come. */
const addVersion = (before: Row | undefined, version: Row): Row => {
  const { at = null, kind, position = null } = version;
  const one = { ...version, versions: 1, is_ended: kind === "tombstone", first_at: at, last_at: at };
  if (before === undefined) return { ...one, first: position };
  const isNewer = (position as bigint) > (before["position"] as bigint);
  const isOlder = (position as bigint) < (before["first"] as bigint);
  return {
    ...(isNewer ? one : before),
    versions: Number(before["versions"]) + 1,
    first_at: isOlder ? at : before["first_at"],
    first: isOlder ? position : before["first"],
  } as Row;
};

const isPlace = ({ pk }: ItemKey): boolean => pk.startsWith("place#");

/** Of which part of the ids, of so many parts. */
const partOf = (name: string, parts: number): number =>
  Number.parseInt(digest("sha256", name, "hex").slice(0, 8), 16) % parts;

type Scanned = {
  heads: number;
  erased: bigint;
  stray: ItemKey | undefined;
  /** The newest version by the places, and as it is stored. */
  readonly expected: Map<string, Row>;
  readonly found: Map<string, Row>;
  /** The first position of every tenant by the places, and as it is stored. */
  readonly firsts: Map<string, bigint>;
  readonly tenants: Map<string, bigint>;
  readonly missing: Map<string, bigint>;
  readonly signposts: Set<string>;
};

const addPlace = (scanned: Scanned, item: Item, isOfPart: (name: string) => boolean): void => {
  if (item["erased"] === true) {
    scanned.erased += 1n;
    return;
  }
  const row = headRow(item);
  const { tenant, position } = row;
  if (typeof position !== "bigint" || typeof tenant !== "string") return;
  const first = scanned.firsts.get(tenant);
  if (first === undefined || position < first) scanned.firsts.set(tenant, position);
  const signpost = signpostItem(row);
  if (signpost !== undefined) scanned.missing.set(signpost.sk, position);
  const name = headName(row);
  if (row["kind"] === "frozen_chain" || !isOfPart(name)) return;
  scanned.expected.set(name, addVersion(scanned.expected.get(name), { ...row, at: Number(item["at"]) }));
};

/** Every item of the table; what is of a place that is not there, or of none, is a stray. */
const scanPart = async (
  { place: { dynamo }, table, cursor }: Stored,
  { part, parts }: { readonly part: number; readonly parts: number },
): Promise<Scanned> => {
  const scanned: Scanned = {
    heads: 0,
    erased: 0n,
    stray: undefined,
    expected: new Map(),
    found: new Map(),
    firsts: new Map(),
    tenants: new Map(),
    missing: new Map(),
    signposts: new Set(),
  };
  const end = placeId(BigInt(cursor.next));
  // Where there are more than fit, the first scan counts.
  const isOfPart = (name: string): boolean =>
    parts === 1 ? scanned.found.size <= dynamoHeadsMax : partOf(name, parts) === part;
  for await (const items of dynamo.scan(table, wanted)) {
    for (const item of items) {
      const { pk, sk } = item;
      if (isPlace(item)) {
        const bucket = /^\d{20}/.test(sk) ? bucketKey(BigInt(sk.slice(0, 20)) / bucketPlaces) : undefined;
        if (sk >= end || pk !== bucket) scanned.stray = item;
        else if (isPlaceItem(item)) addPlace(scanned, item, isOfPart);
      } else if (pk.startsWith("records#")) {
        const row = headRow(item);
        const name = headName(row);
        if (isOfPart(name)) scanned.found.set(name, row);
        scanned.heads += 1;
      } else if (pk === tenantKey("").pk) scanned.tenants.set(sk, BigInt(item["first"] as number));
      else if (pk === signpostsKey) scanned.signposts.add(sk);
      else if (pk !== "cursor") scanned.stray = item;
    }
  }
  return scanned;
};

const headDifference = ({ expected, found }: Scanned, next: bigint, isWritten: boolean) => {
  const rule = "the newest version is another one";
  for (const [name, row] of found) {
    const { position } = row;
    // Its version is above the cursor: the consumer's own.
    if (isWritten && typeof position === "bigint" && position >= next) continue;
    const want = expected.get(name);
    if (want === undefined || !isEqual(want, row)) return differs("records", rule, position);
  }
  for (const [name, row] of expected) {
    if (!found.has(name)) return differs("records", rule, row["position"]);
  }
  return undefined;
};

/** What consumers find records and tenants by. */
const findingDifference = ({ firsts, tenants, missing, signposts }: Scanned): Difference | undefined => {
  for (const [tenant, first] of firsts) {
    const known = tenants.get(tenant);
    if (known === undefined || known > first) {
      return differs("tenants", "an erasure would not find the tenant's first record", first);
    }
  }
  for (const [sk, position] of missing) {
    if (!signposts.has(sk))
      return differs("system", "a record about keys or erasures would not be found", position);
  }
  return undefined;
};

const inspect = async (stored: Stored, digests: Digests): Promise<Difference | undefined> => {
  const { place, table, cursor, leaseMs } = stored;
  const next = BigInt(cursor.next);
  if (!equalBytes(cursor.peaks, formatPeaks(digests.frontier))) {
    return differs("cursor", "its tree is not that of the places stored");
  }
  const isWritten = await hasWriter(place, leaseMs);
  for (let [part, parts] = [0, 1]; part < parts; part += 1) {
    const scanned = await scanPart(stored, { part, parts });
    if (parts === 1 && scanned.heads > dynamoHeadsMax) {
      parts = Math.ceil(scanned.heads / dynamoHeadsMax);
      part = -1;
      continue;
    }
    if (scanned.stray !== undefined && !isWritten) {
      const rule =
        "there is an item above the cursor, or of no place: a consumer was killed here and takes it away when it is started, or somebody added it";
      return differs("record_versions", rule);
    }
    if (part === 0 && !isWritten && scanned.erased !== BigInt(cursor.erased_places)) {
      const rule = `${scanned.erased} places are erased, and the cursor counts ${cursor.erased_places}`;
      return differs("record_versions", rule);
    }
    const difference = headDifference(scanned, next, isWritten) ?? findingDifference(scanned);
    if (difference !== undefined) return difference;
  }
  const withheld = withheldBy(await erasuresOf(place.dynamo, table, BigInt(cursor.erased_places)));
  if (withheld === undefined) return undefined;
  const rule = `${withheld.erased} places are erased, and the ledger's erasures account for ${withheld.reported}`;
  return differs("record_versions", rule);
};

const open = async (place: DynamoPlace, leaseMs: number | undefined): Promise<Stored> => {
  const { filling } = (await place.dynamo.hasTable(place.name)) ? await place.builds() : {};
  const cursor = filling === undefined ? undefined : await place.cursor(filling);
  if (filling === undefined || cursor === undefined) {
    const rule = `there is no projection ${place.name} here`;
    return failProjection({ kind: "databaseFailed", code: "no projection", rule });
  }
  return { place, table: place.table(filling), cursor, leaseMs };
};

/** @throws ProjectionFault: databaseFailed; what `work` throws. */
export const withStoredItems = async <T>(
  dynamo: Dynamo,
  { name, leaseMs }: { readonly name: string; readonly leaseMs?: number },
  work: (stored: StoredRows) => Promise<T>,
): Promise<T> => {
  const stored = await guarded(() => open(new DynamoPlace(dynamo, name), leaseMs));
  return work({
    next: BigInt(stored.cursor.next),
    read: (from, to) =>
      guarded(async () => {
        const items: Item[] = [];
        for await (const found of placeItemsIn(dynamo, stored.table, { from, to })) items.push(...found);
        return rowsOfItems(items);
      }),
    inspect: (digests) => guarded(() => inspect(stored, digests)),
  });
};
