/**
 * A projection in MongoDB. It needs no transactions: places first, then newest versions, each written only over an
 * older position, then what erasures take, and the cursor last. What a crash leaves above the cursor goes when the
 * projection is opened, newest versions apart, which are not written a second time; so the same batches, cut anywhere,
 * come to the same documents. Every write is acknowledged by a majority, from its journal.
 */
import { Long, type Collection, type MongoClient } from "mongodb";
import { equalBytes } from "@sigil/core/bytes";
import { noProgress } from "../consumer.ts";
import { failProjection } from "../fault.ts";
import { formatPeaks, parsePeaks } from "../peaks.ts";
import { erasuresIn, headName, headsOf, rowsOf, type ErasureOrder } from "../rows.ts";
import type { ErasedRows, Gathered, ProjectionStore, Resumed, StoreOptions } from "../store.ts";
import { withheldBy } from "../withheld.ts";
import { guarded } from "./connect.ts";
import {
  erasedFields,
  headDocument,
  headIndexes,
  headRow,
  mongoDocuments,
  placeIndexes,
  type IndexKeys,
} from "./document.ts";
import { placeId } from "../place-documents.ts";
import { MongoPlace, type CursorDocument, type TextDocument } from "./names.ts";
import { erasuresOf } from "./withheld.ts";
import { isDuplicate, WriterLease } from "./writer.ts";

export type MongoOptions = StoreOptions & {
  readonly database: string;
  /** Of its collections. */
  readonly name: string;
  /** Of a writer that was killed: `projectionLeaseMs` unless told. */
  readonly leaseMs?: number;
};

const nothingErased = Object.fromEntries(erasedFields.map((name) => [name, "" as const]));

/** Its cursor stands before anybody looks for it: a build without one is damaged. @returns the build that is filled. */
const prepare = async (place: MongoPlace, { mode, genesis }: StoreOptions): Promise<number> => {
  const { filling, rebuilding = 0 } = await place.builds();
  if (mode === "resume" && filling !== undefined) return filling;
  const build = Math.max(filling ?? 0, rebuilding) + 1;
  if (mode === "rebuild") await place.dropBuildsBeside(filling);
  const cursor = {
    genesis: Buffer.from(genesis),
    next: 0n,
    peaks: Buffer.alloc(0),
    lanes: [],
    updated_at: new Date(),
  };
  await place.cursors.updateOne({ _id: place.cursorId(build) }, { $setOnInsert: cursor }, { upsert: true });
  await place.begin(build, mode === "resume" ? "filling" : "rebuilding");
  return build;
};

/** Those that are missing: FerretDB breaks off where one is made twice. */
const createIndexes = async (
  collection: Collection<TextDocument>,
  keys: readonly IndexKeys[],
): Promise<void> => {
  const named = keys.map((key) => ({ key, name: `${Object.keys(key).join("_1_")}_1` }));
  const known = new Set((await collection.indexes()).map(({ name }) => name));
  const missing = named.filter(({ name }) => !known.has(name));
  if (missing.length > 0) await collection.createIndexes(missing);
};

class MongoProjection implements ProjectionStore {
  readonly #place: MongoPlace;
  readonly #options: MongoOptions;
  readonly #lease: WriterLease;
  readonly #build: number;
  readonly #versions: Collection<TextDocument>;
  readonly #heads: Collection<TextDocument>;

  constructor(
    place: MongoPlace,
    options: MongoOptions,
    { lease, build }: { readonly lease: WriterLease; readonly build: number },
  ) {
    this.#place = place;
    this.#options = options;
    this.#lease = lease;
    this.#build = build;
    this.#versions = place.versions(build);
    this.#heads = place.heads(build);
  }

  /** What a crash left above the cursor. */
  async sweep(): Promise<void> {
    await this.#versions.deleteMany({ _id: { $gte: placeId((await this.#cursor()).next) } });
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
      if (next === 0n) return { progress: noProgress, keyRecords: [], checkpoint: undefined };
      const keyRecords = await this.#versions
        .find(
          { space: "system", kind: { $in: ["genesis", "signing_key", "key_retirement"] } },
          { projection: { position: 1, envelope: 1 } },
        )
        .sort({ _id: 1 })
        .toArray();
      return {
        progress: {
          next,
          lanes: new Map(lanes.map(({ lane, position }) => [lane, { position }])),
          frontier: parsePeaks(next, peaks),
        },
        keyRecords: keyRecords.map((document) => ({
          position: document["position"] as bigint,
          envelope: document["envelope"] as Uint8Array,
        })),
        checkpoint,
      };
    });
  }

  apply(gathered: Gathered): Promise<readonly ErasedRows[]> {
    const { places, from } = gathered;
    const documents = mongoDocuments(rowsOf(places)) as readonly TextDocument[];
    return guarded(async () => {
      await this.#lease.require();
      await this.#requireCursor(from);
      await this.#orOvertaken(from, async () => {
        if (documents.length > 0) await this.#versions.insertMany([...documents], { ordered: true });
        await this.#writeHeads(gathered);
      });
      const erased: ErasedRows[] = [];
      for (const order of erasuresIn(places)) erased.push(await this.#erase(order));
      await this.#writeProgress(gathered);
      return erased;
    });
  }

  publish(): Promise<void> {
    return guarded(async () => {
      await this.#lease.require();
      const { next } = await this.#cursor();
      await createIndexes(this.#versions, placeIndexes);
      await createIndexes(this.#heads, headIndexes);
      const withheld = withheldBy(await erasuresOf(this.#versions, placeId(next)));
      if (withheld !== undefined) failProjection({ kind: "withheld", ...withheld });
      await this.#place.show(this.#build);
      if (this.#options.mode === "rebuild") await this.#place.dropBuildsBeside(this.#build);
    });
  }

  async #cursor(): Promise<CursorDocument> {
    const cursor = await this.#place.cursors.findOne({ _id: this.#place.cursorId(this.#build) });
    return cursor ?? failProjection({ kind: "projectionDamaged", rule: "it has no cursor: rebuild it" });
  }

  async #requireCursor(expected: bigint): Promise<void> {
    const { next: found } = await this.#cursor();
    if (found !== expected) failProjection({ kind: "cursorMoved", expected, found });
  }

  /** What is there already was written by another consumer: this one's own went when it was opened. */
  async #orOvertaken(from: bigint, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!isDuplicate(error)) throw error;
      await this.#requireCursor(from);
      failProjection({ kind: "consumerRunning" }, { cause: error });
    }
  }

  async #writeHeads({ places }: Gathered): Promise<void> {
    const touched = headsOf(places).map(headName);
    if (touched.length === 0) return;
    const found = await this.#heads.find({ _id: { $in: touched } }).toArray();
    const before = new Map(found.map((document) => [document._id, headRow(document)]));
    const rows = headsOf(places, before);
    const added = rows.filter((row) => !before.has(headName(row)));
    const replaced = rows.filter((row) => before.has(headName(row)));
    if (added.length > 0) await this.#heads.insertMany(added.map(headDocument) as TextDocument[]);
    if (replaced.length === 0) return;
    await this.#heads.bulkWrite(
      replaced.map((row) => ({
        replaceOne: {
          filter: { _id: headName(row), position: { $lt: row["position"] } },
          replacement: headDocument(row),
        },
      })),
      { ordered: false },
    );
  }

  /** Only position and leaf stay, as in the ledger. */
  async #erase({ tenant, position }: ErasureOrder): Promise<ErasedRows> {
    const below = { tenant, position: { $lt: Long.fromBigInt(position) } };
    await this.#heads.deleteMany(below);
    const { modifiedCount } = await this.#versions.updateMany(below, {
      $set: { erased: true },
      $unset: nothingErased,
    });
    return { tenant, records: BigInt(modifiedCount) };
  }

  async #writeProgress({ from, progress, checkpoint }: Gathered): Promise<void> {
    const { next, lanes, frontier } = progress;
    const { matchedCount } = await this.#place.cursors.updateOne(
      { _id: this.#place.cursorId(this.#build), next: from },
      {
        $set: {
          next,
          peaks: Buffer.from(formatPeaks(frontier)),
          lanes: [...lanes].map(([lane, { position }]) => ({ lane, position })),
          ...(checkpoint === undefined ? {} : { checkpoint }),
          updated_at: new Date(),
        },
      },
    );
    if (matchedCount !== 1) await this.#requireCursor(from);
  }
}

/** @throws ProjectionFault: consumerRunning, databaseFailed; what `work` throws. */
export const withMongoProjection = async <T>(
  client: MongoClient,
  options: MongoOptions,
  work: (store: ProjectionStore) => Promise<T>,
): Promise<T> => {
  const place = new MongoPlace(client.db(options.database), options.name);
  await using lease = await guarded(() => WriterLease.take(place, options));
  const store = await guarded(async () => {
    const opened = new MongoProjection(place, options, { lease, build: await prepare(place, options) });
    await opened.sweep();
    return opened;
  });
  return await work(store);
};
