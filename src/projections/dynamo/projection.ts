/**
 * A projection in DynamoDB. A batch is as many transactions as it needs: places in order and never over another one,
 * newest versions over older positions only, and the cursor in the last. Each is conditional on the cursor that was
 * expected and on its holder, so a consumer that was overtaken, however long it hung, writes nothing any more. What a
 * crash leaves above the cursor goes when the projection is opened, newest versions apart, which are not counted twice.
 */
import { equalBytes } from "@sigil/core/bytes";
import { dynamoTransactionBytesMax, dynamoTransactionWritesMax } from "../../limits.ts";
import { noProgress, type Place } from "../consumer.ts";
import { failProjection } from "../fault.ts";
import { formatPeaks, parsePeaks } from "../peaks.ts";
import { placeId } from "../place-documents.ts";
import { erasuresIn, headName, headsOf, rowsOf, type ErasureOrder } from "../rows.ts";
import type { ErasedRows, Gathered, ProjectionStore, Resumed, StoreOptions } from "../store.ts";
import type { Row } from "../tables.ts";
import { withheldBy } from "../withheld.ts";
import { attributeBytes } from "./attributes.ts";
import { failedCondition, guarded, type Dynamo, type Write } from "./client.ts";
import {
  cursorKey,
  eraseItem,
  headItem,
  headKey,
  headRow,
  isPlaceItem,
  placeItems,
  recordsKey,
  signpostItem,
  signpostKinds,
  signpostsKey,
  tenantKey,
  type Item,
  type ItemKey,
} from "./item.ts";
import { documentAt, erasuresOf, placeItemsIn, signpostsIn } from "./places.ts";
import { DynamoPlace, type Cursor } from "./tables.ts";
import { WriterLease } from "./writer.ts";

export type DynamoStoreOptions = StoreOptions & {
  /** What its tables begin with. */
  readonly name: string;
  /** Of a writer that was killed: `projectionLeaseMs` unless told. */
  readonly leaseMs?: number;
};

/** Its cursor stands before anybody looks for it: a build without one is damaged. @returns the build that is filled. */
const prepare = async (
  place: DynamoPlace,
  { mode, genesis }: StoreOptions,
  holder: string,
): Promise<number> => {
  const { filling, rebuilding = 0 } = await place.builds();
  if (mode === "resume" && filling !== undefined) return filling;
  const build = Math.max(filling ?? 0, rebuilding) + 1;
  if (mode === "rebuild") await place.dropBuildsBeside(filling);
  const table = place.table(build);
  await place.dynamo.createTable(table, "indexed");
  const cursor = {
    ...cursorKey,
    genesis,
    next: 0,
    peaks: new Uint8Array(0),
    lanes: [],
    erased_places: 0,
    updated_at: Date.now(),
  };
  if ((await place.cursor(build)) === undefined) {
    await place.dynamo.write([{ Put: { TableName: table, Item: cursor } }]);
  }
  await place.begin(build, mode === "resume" ? "filling" : "rebuilding", holder);
  return build;
};

/** Whether an order takes it. */
const isErasedBy =
  ({ tenant, position }: ErasureOrder) =>
  (place: Place): boolean =>
    place.record?.body.tenant === tenant && place.position < position;

/** Records whose tenant's erasure is ordered in the same batch are erased before they are written. */
const eraseWithin = (places: readonly Place[], orders: readonly ErasureOrder[]): readonly Place[] =>
  places.map((place) =>
    orders.some((order) => isErasedBy(order)(place))
      ? { position: place.position, leaf: place.leaf, record: undefined }
      : place,
  );

const isErased = ({ record }: Place): boolean => record === undefined;

/** In order, as many together as a transaction takes beside the cursor. */
const transactionsOf = (writes: readonly Write[]): readonly (readonly Write[])[] => {
  const groups: Write[][] = [];
  let bytes = 0;
  for (const write of writes) {
    const size = attributeBytes(write);
    const group = groups.at(-1);
    if (
      group === undefined ||
      group.length >= dynamoTransactionWritesMax ||
      bytes + size > dynamoTransactionBytesMax
    ) {
      groups.push([write]);
      bytes = size;
    } else {
      group.push(write);
      bytes += size;
    }
  }
  return groups;
};

class DynamoProjection implements ProjectionStore {
  readonly #place: DynamoPlace;
  readonly #options: DynamoStoreOptions;
  readonly #holder: string;
  readonly #build: number;
  readonly #dynamo: Dynamo;
  readonly #table: string;
  /** Tenants whose items stand. */
  readonly #tenants = new Set<string>();

  constructor(
    place: DynamoPlace,
    options: DynamoStoreOptions,
    { holder, build }: { readonly holder: string; readonly build: number },
  ) {
    this.#place = place;
    this.#options = options;
    this.#holder = holder;
    this.#build = build;
    this.#dynamo = place.dynamo;
    this.#table = place.table(build);
  }

  /** From now on nobody else's writes succeed; what a crash left above the cursor goes. */
  async takeOver(): Promise<void> {
    await this.#cursor();
    await this.#dynamo.write([
      {
        Update: {
          TableName: this.#table,
          Key: cursorKey,
          UpdateExpression: "SET #holder = :holder",
          ExpressionAttributeNames: { "#holder": "holder" },
          ExpressionAttributeValues: { ":holder": this.#holder },
        },
      },
    ]);
    const cursor = await this.#cursor();
    if (cursor.reaching === undefined) return;
    const [from, to] = [BigInt(cursor.next), BigInt(cursor.reaching)];
    const left: ItemKey[] = [];
    for await (const items of placeItemsIn(this.#dynamo, this.#table, { from, to })) left.push(...items);
    for (const { kind, position } of await signpostsIn(this.#dynamo, this.#table, signpostKinds)) {
      if (position >= from) left.push({ pk: signpostsKey, sk: `${kind}#${placeId(position)}` });
    }
    await this.#writeBelow(
      from,
      to,
      left.map((key) => this.#delete(key)),
    );
  }

  resume(): Promise<Resumed> {
    return guarded(async () => {
      const { genesis, next, peaks, lanes, checkpoint } = await this.#cursor();
      if (!equalBytes(genesis, this.#options.genesis)) {
        failProjection({
          kind: "otherLedger",
          rule: "it was filled from a ledger of another genesis record",
        });
      }
      const size = BigInt(next);
      if (size === 0n) return { progress: noProgress, keyRecords: [], checkpoint: undefined };
      const found = await signpostsIn(this.#dynamo, this.#table, [
        "genesis",
        "signing_key",
        "key_retirement",
      ]);
      const keyRecords = found
        .map(({ position }) => position)
        .sort((one, two) => (one < two ? -1 : 1))
        .map(async (position) => {
          const document = await documentAt(this.#dynamo, this.#table, position);
          const envelope = document?.["envelope"];
          if (envelope instanceof Uint8Array) return { position, envelope };
          const rule = `it lacks the record at position ${position}: rebuild it`;
          return failProjection({ kind: "projectionDamaged", rule });
        });
      return {
        progress: {
          next: size,
          lanes: new Map(lanes.map(({ lane, position }) => [lane, { position: BigInt(position) }])),
          frontier: parsePeaks(size, peaks),
        },
        keyRecords: await Promise.all(keyRecords),
        checkpoint,
      };
    });
  }

  apply(gathered: Gathered): Promise<readonly ErasedRows[]> {
    const { from } = gathered;
    const orders = erasuresIn(gathered.places);
    const places = eraseWithin(gathered.places, orders);
    const rows = rowsOf(places);
    const added = placeItems(rows);
    return guarded(async () => {
      const signposts = rows.record_versions.flatMap((row) => signpostItem(row) ?? []);
      const writes = [
        ...this.#tenantWrites(rows.record_versions),
        ...[...added, ...signposts].map((item) => this.#insert(item)),
        ...(await this.#headWrites(places)),
      ];
      const to = gathered.progress.next > from ? gathered.progress.next : from;
      const groups = transactionsOf(writes);
      const last = orders.length === 0 ? (groups.at(-1) ?? []) : [];
      for (const group of orders.length === 0 ? groups.slice(0, -1) : groups) {
        await this.#write(from, group, this.#reach(from, to));
      }
      const erased: ErasedRows[] = [];
      for (const order of orders) {
        const within = gathered.places.filter(isErasedBy(order)).length;
        const records = (await this.#erase(order, { from, to, places })) + BigInt(within);
        erased.push({ tenant: order.tenant, records });
      }
      await this.#write(from, last, this.#moveCursor(gathered, places.filter(isErased).length));
      return erased;
    });
  }

  publish(): Promise<void> {
    return guarded(async () => {
      const cursor = await this.#cursor();
      if (cursor.holder !== this.#holder) failProjection({ kind: "consumerRunning" });
      const erasures = await erasuresOf(this.#dynamo, this.#table, BigInt(cursor.erased_places));
      const withheld = withheldBy(erasures);
      if (withheld !== undefined) failProjection({ kind: "withheld", ...withheld });
      await this.#place.show(this.#build, this.#holder);
      if (this.#options.mode === "rebuild") await this.#place.dropBuildsBeside(this.#build);
    });
  }

  async #cursor(): Promise<Cursor> {
    const cursor = await this.#place.cursor(this.#build);
    return cursor ?? failProjection({ kind: "projectionDamaged", rule: "it has no cursor: rebuild it" });
  }

  /** @throws ProjectionFault: consumerRunning, cursorMoved, where another one writes. */
  async #write(from: bigint, writes: readonly Write[], cursor: Write): Promise<void> {
    try {
      await this.#dynamo.write([cursor, ...writes]);
    } catch (cause) {
      if (failedCondition(cause) < 0) throw cause;
      const { holder, next } = await this.#cursor();
      const found = BigInt(next);
      if (holder === this.#holder && found !== from) {
        failProjection({ kind: "cursorMoved", expected: from, found }, { cause });
      }
      // Or what was to be inserted is there already: this one's own went when it was opened.
      failProjection({ kind: "consumerRunning" }, { cause });
    }
  }

  async #writeBelow(from: bigint, to: bigint, writes: readonly Write[]): Promise<void> {
    for (const group of transactionsOf(writes)) await this.#write(from, group, this.#reach(from, to));
  }

  #insert(item: Item): Write {
    return {
      Put: { TableName: this.#table, Item: item, ConditionExpression: "attribute_not_exists(pk)" },
    };
  }

  #delete({ pk, sk }: ItemKey): Write {
    return { Delete: { TableName: this.#table, Key: { pk, sk } } };
  }

  /** From where an erasure has to look. */
  #tenantWrites(rows: readonly Row[]): readonly Write[] {
    const writes: Write[] = [];
    for (const { tenant, position } of rows) {
      if (typeof tenant !== "string" || this.#tenants.has(tenant)) continue;
      this.#tenants.add(tenant);
      writes.push({
        Update: {
          TableName: this.#table,
          Key: tenantKey(tenant),
          UpdateExpression: "SET #first = if_not_exists(#first, :first)",
          ExpressionAttributeNames: { "#first": "first" },
          ExpressionAttributeValues: { ":first": position },
        },
      });
    }
    return writes;
  }

  async #headWrites(places: readonly Place[]): Promise<readonly Write[]> {
    const touched = headsOf(places);
    const found = await this.#dynamo.getMany(this.#table, touched.map(headKey));
    const before = new Map(found.map(headRow).map((row) => [headName(row), row]));
    return headsOf(places, before).map((row) => ({
      Put: {
        TableName: this.#table,
        Item: headItem(row),
        ConditionExpression: "attribute_not_exists(pk) OR #position < :position",
        ExpressionAttributeNames: { "#position": "position" },
        ExpressionAttributeValues: { ":position": row["position"] },
      },
    }));
  }

  /** Only position and leaf stay, as in the ledger. @returns how many records it took that stood below the batch. */
  async #erase(
    { tenant, position }: ErasureOrder,
    { from, to, places }: { readonly from: bigint; readonly to: bigint; readonly places: readonly Place[] },
  ): Promise<bigint> {
    const known = await this.#dynamo.get(this.#table, tenantKey(tenant));
    if (known === undefined) return 0n;
    let records = 0n;
    const below = { from: BigInt(known["first"] as number), to: position };
    const of = { attributes: ["pk", "sk", "position", "leaf"], tenant };
    for await (const items of placeItemsIn(this.#dynamo, this.#table, below, of)) {
      for (let at = 0; at < items.length; at += dynamoTransactionWritesMax) {
        const some = items.slice(at, at + dynamoTransactionWritesMax);
        const count = some.filter(isPlaceItem).length;
        const writes = some.map((item) =>
          isPlaceItem(item) ? { Put: { TableName: this.#table, Item: eraseItem(item) } } : this.#delete(item),
        );
        await this.#write(from, writes, this.#reach(from, to, count));
        records += BigInt(count);
      }
    }
    const gone: ItemKey[] = [];
    for await (const items of this.#dynamo.query(this.#table, recordsKey(tenant))) {
      gone.push(...items.filter((item) => BigInt(item["position"] as number) < position));
    }
    const again = places.find(({ record }) => record?.body.tenant === tenant);
    if (again === undefined) {
      gone.push(tenantKey(tenant));
      this.#tenants.delete(tenant);
    }
    await this.#writeBelow(
      from,
      to,
      gone.map((key) => this.#delete(key)),
    );
    return records;
  }

  /** The cursor stays while a batch is written, and says how far what a crash leaves may reach. */
  #reach(from: bigint, to: bigint, erased = 0): Write {
    return this.#update(from, {
      set: "#reaching = :reaching, #erased = #erased + :erased",
      names: { "#reaching": "reaching", "#erased": "erased_places" },
      values: { ":reaching": to, ":erased": erased },
    });
  }

  #moveCursor({ from, progress, checkpoint }: Gathered, erased: number): Write {
    const { next, lanes, frontier } = progress;
    const fields = {
      next,
      peaks: formatPeaks(frontier),
      lanes: [...lanes].map(([lane, { position }]) => ({ lane, position })),
      ...(checkpoint === undefined ? {} : { checkpoint }),
      updated_at: Date.now(),
    };
    const names = Object.keys(fields);
    return this.#update(from, {
      set: [...names.map((name) => `#${name} = :${name}`), "#erased = #erased + :erased"].join(", "),
      remove: "#reaching",
      names: {
        ...Object.fromEntries(names.map((name) => [`#${name}`, name])),
        "#erased": "erased_places",
        "#reaching": "reaching",
      },
      values: {
        ...Object.fromEntries(Object.entries(fields).map(([name, value]) => [`:${name}`, value])),
        ":erased": erased,
      },
    });
  }

  #update(
    from: bigint,
    {
      set,
      remove,
      names,
      values,
    }: {
      readonly set: string;
      readonly remove?: string;
      readonly names: Readonly<Record<string, string>>;
      readonly values: Readonly<Record<string, unknown>>;
    },
  ): Write {
    return {
      Update: {
        TableName: this.#table,
        Key: cursorKey,
        UpdateExpression: `SET ${set}${remove === undefined ? "" : ` REMOVE ${remove}`}`,
        ConditionExpression: "#next = :from AND #holder = :holder",
        ExpressionAttributeNames: { "#next": "next", "#holder": "holder", ...names },
        ExpressionAttributeValues: { ":from": from, ":holder": this.#holder, ...values },
      },
    };
  }
}

/** @throws ProjectionFault: consumerRunning, databaseFailed; what `work` throws. */
export const withDynamoProjection = async <T>(
  dynamo: Dynamo,
  options: DynamoStoreOptions,
  work: (store: ProjectionStore) => Promise<T>,
): Promise<T> => {
  const place = new DynamoPlace(dynamo, options.name);
  await guarded(() => dynamo.createTable(options.name, "plain"));
  await using lease = await guarded(() => WriterLease.take(place, options));
  const { holder } = lease;
  const store = await guarded(async () => {
    const build = await prepare(place, options, holder);
    const opened = new DynamoProjection(place, options, { holder, build });
    await opened.takeOver();
    return opened;
  });
  return await work(store);
};
