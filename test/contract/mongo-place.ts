/** A MongoDB of tests as the suite of projections has it. */
import { MongoClient, type Db, type Document } from "mongodb";
import { parseMongoAddress } from "../../src/projections/mongo/connect.ts";
import { mongoDatabase } from "../../src/projections/mongo/database.ts";
import type { ProjectionDatabase } from "../../src/projections/database.ts";
import { startProxy } from "./cutting-proxy.ts";
import { startMongo } from "./mongo-server.ts";
import type { ProjectionPlace, ProjectionServer } from "./projection-suite.ts";

/**
 * Of a killed writer, and until a server counts as lost: short, since tests cut many; and not so short that renewals
 * are most of what the server is asked.
 */
const [leaseMs, connectMs] = [2000, 500];

export const mongoAt = (address: string): ProjectionDatabase => {
  const parsed = parseMongoAddress(address);
  if (parsed.kind === "refused") throw new Error(parsed.rule);
  return mongoDatabase(parsed.address, undefined, { name: "sigil", leaseMs, connectMs });
};

export type MongoTestPlace = ProjectionPlace & { readonly db: Db };

export type MongoTestServer = ProjectionServer & {
  readonly client: MongoClient;
  readonly address: (database: string) => string;
};

const placeIn = (db: Db, database: ProjectionDatabase, cut: () => void): MongoTestPlace => {
  const own = db.collection<Document & { readonly _id: string }>("sigil");
  const current = () => own.findOne({ _id: "current" });
  const versions = async () => db.collection(String((await current())?.["record_versions"]));
  const heads = async () => db.collection(String((await current())?.["records"]));
  const cursorId = async () =>
    `v1_b${String(((await current())?.["v1"] as Document | undefined)?.["filling"])}`;
  const change = async (filter: Document, fields: Document): Promise<void> =>
    void (await (await versions()).updateMany(filter, fields));
  return {
    db,
    database,
    cut: async () => cut(),
    drop: async () => void (await db.dropDatabase()),
    next: async () => {
      const cursor = await own.findOne({ _id: await cursorId() }, { useBigInt64: true });
      return (cursor?.["next"] as bigint | undefined) ?? 0n;
    },
    shown: async () => BigInt(await (await versions()).countDocuments()),
    holding: async (tenantPrefix) => {
      const found: string[] = [];
      for (const collection of [await versions(), await heads()]) {
        const one = await collection.findOne({ tenant: { $regex: `^${tenantPrefix}` } });
        if (one !== null) found.push(collection.collectionName);
      }
      return found;
    },
    changes: [
      [
        "a verdict",
        "decisions",
        () => change({ "decision.verdict": "deny" }, { $set: { "decision.verdict": "allow" } }),
      ],
      [
        "a feature",
        "decisions",
        () =>
          change({ "decision.feature_rate": { $gte: 0 } }, { $set: { "decision.feature_rate": 0.123456 } }),
      ],
      ["no runs", "module_runs", () => change({ kind: "module_run" }, { $unset: { module_run: "" } })],
      ["a payload", "record_versions", () => change({ kind: "config" }, { $set: { payload: 1 } })],
      [
        "passed off as erased",
        "record_versions",
        () => change({ position: 100 }, { $set: { erased: true }, $unset: { envelope: "" } }),
      ],
      [
        "a count",
        "records",
        async () => void (await (await heads()).updateMany({ tenant: "beta" }, { $inc: { versions: 1 } })),
      ],
      [
        "a newest version less",
        "records",
        async () => void (await (await heads()).deleteOne({ tenant: "beta" })),
      ],
      [
        "a newest version more",
        "records",
        async () =>
          void (await (
            await heads()
          ).insertOne({ tenant: "zeta", space: "user", id: "x", position: 1n, versions: 1n })),
      ],
      [
        "a place past the end",
        "record_versions",
        async () => void (await (await versions()).insertOne({ _id: "00000000000000099999" } as Document)),
      ],
      [
        "a link less",
        "links",
        () => change({ "links.0.label": { $exists: true } }, { $unset: { links: "" } }),
      ],
      [
        "the tree",
        "cursor",
        async () =>
          void (await own.updateOne({ _id: await cursorId() }, { $set: { peaks: Buffer.alloc(0) } })),
      ],
      [
        "a statement",
        "attestations",
        () => change({ "attestation.witness": "w2" }, { $set: { "attestation.statement": Buffer.alloc(0) } }),
      ],
    ],
    hold: async () => {
      const until = new Date(Date.now() + 60_000);
      await own.insertOne({ _id: "writer", holder: "another", until });
      return { release: async () => void (await own.deleteOne({ _id: "writer" })) };
    },
    expire: async () => void (await own.deleteOne({ _id: "writer" })),
    moveCursor: async () => void (await own.updateOne({ _id: await cursorId() }, { $inc: { next: 1 } })),
    leftovers: async () => {
      const document = await current();
      const read = ["sigil", String(document?.["record_versions"]), String(document?.["records"])];
      const names = (await db.listCollections({}, { nameOnly: true }).toArray()).map(({ name }) => name);
      const cursors = await own.find({ genesis: { $exists: true } }).toArray();
      const others = cursors.map(({ _id }) => _id);
      const id = await cursorId();
      return [...names.filter((name) => !read.includes(name)), ...others.filter((other) => other !== id)];
    },
  };
};

export const startMongoServer = async (): Promise<MongoTestServer> => {
  const mongo = await startMongo();
  const proxy = await startProxy(mongo.port);
  const client = await new MongoClient(`mongodb://127.0.0.1:${mongo.port}/`).connect();
  let databases = 0;
  const address = (database: string): string => `mongodb://127.0.0.1:${proxy.port}/${database}`;
  return {
    client,
    proxy,
    address,
    place: async (of) => {
      databases += 1;
      const db = client.db(`d${databases}`);
      if (of !== undefined) {
        const from = (of as MongoTestPlace).db;
        for (const { name } of await from.listCollections({}, { nameOnly: true }).toArray()) {
          const documents = await from.collection(name).find({}, { promoteValues: false }).toArray();
          if (documents.length > 0) await db.collection(name).insertMany(documents);
        }
      }
      return placeIn(db, mongoAt(address(db.databaseName)), proxy.cut);
    },
    [Symbol.asyncDispose]: async () => {
      await client.close();
      await proxy[Symbol.asyncDispose]();
      await mongo[Symbol.asyncDispose]();
    },
  };
};
