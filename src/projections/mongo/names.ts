/**
 * Where things lie. All of a projection named `sigil` is in one database:
 *
 *   sigil                          what is read, the cursor of each build, and who writes
 *   sigil_v1_b3_record_versions    a document a place of the ledger, of the third build
 *   sigil_v1_b3_records            a document a newest version
 *
 * A build is filled once from position 0. A rebuild, or another version of the schema, is a build beside the one that
 * is read, and one document says which that is.
 */
import type { Collection, Db, Document } from "mongodb";

const schemaVersion = 1;
const versionName = `v${schemaVersion}` as const;

/** What collections begin with. */
export const mongoNameShape = /^[a-z_][a-z0-9_]{0,40}$/;

export type TextDocument = Document & { readonly _id: string };

/** In the collection that bears the projection's name. Readers look at this one. */
export type CurrentDocument = {
  readonly _id: "current";
  /** Of the schema, and the names of collections; undefined until a build has caught up. */
  readonly version?: number;
  readonly record_versions?: string;
  readonly records?: string;
  readonly [versionName]?: Builds;
};

export type Builds = {
  /** The one that a consumer goes on with. */
  readonly filling?: number;
  /** The newest rebuild, until it takes the place of the other. */
  readonly rebuilding?: number;
};

export type CursorDocument = {
  /** `v1_b3`. */
  readonly _id: string;
  readonly genesis: Uint8Array;
  readonly next: bigint;
  readonly peaks: Uint8Array;
  readonly lanes: readonly { readonly lane: string; readonly position: bigint }[];
  readonly checkpoint?: string;
  readonly updated_at: Date;
};

export type WriterDocument = { readonly _id: "writer"; readonly holder: string; readonly until: Date };

/** The collections of one projection. */
export class MongoPlace {
  readonly db: Db;
  readonly name: string;

  constructor(db: Db, name: string) {
    this.db = db;
    this.name = name;
  }

  get current(): Collection<CurrentDocument> {
    return this.db.collection<CurrentDocument>(this.name);
  }

  get cursors(): Collection<CursorDocument> {
    return this.db.collection<CursorDocument>(this.name);
  }

  get writers(): Collection<WriterDocument> {
    return this.db.collection<WriterDocument>(this.name);
  }

  versions(build: number): Collection<TextDocument> {
    return this.db.collection<TextDocument>(`${this.#buildsPrefix}${build}_record_versions`);
  }

  heads(build: number): Collection<TextDocument> {
    return this.db.collection<TextDocument>(`${this.#buildsPrefix}${build}_records`);
  }

  cursorId(build: number): string {
    return `${versionName}_b${build}`;
  }

  async builds(): Promise<Builds> {
    return (await this.current.findOne({ _id: "current" }))?.[versionName] ?? {};
  }

  /** From now on a consumer fills this one. */
  async begin(build: number, as: keyof Builds): Promise<void> {
    await this.current.updateOne(
      { _id: "current" },
      { $set: { [`${versionName}.${as}`]: build } },
      { upsert: true },
    );
  }

  /** From now on people read this one, and consumers go on with it. */
  async show(build: number): Promise<void> {
    await this.current.updateOne(
      { _id: "current" },
      {
        $set: {
          version: schemaVersion,
          record_versions: this.versions(build).collectionName,
          records: this.heads(build).collectionName,
          [`${versionName}.filling`]: build,
        },
        $unset: { [`${versionName}.rebuilding`]: "" },
      },
    );
  }

  /** Every build goes but one, and the one that people read: also what a rebuild left that was broken off. */
  async dropBuildsBeside(build: number | undefined): Promise<void> {
    const { record_versions: shown } = (await this.current.findOne({ _id: "current" })) ?? {};
    const kept = [build === undefined ? undefined : this.versions(build).collectionName, shown].flatMap(
      (versions) => (versions === undefined ? [] : [versions.replace(/_record_versions$/, "")]),
    );
    const isKept = (name: string): boolean =>
      kept.some((each) => name === each || name.startsWith(`${each}_`));
    for (const { name } of await this.db.listCollections({}, { nameOnly: true }).toArray()) {
      if (name.startsWith(`${this.name}_v`) && !isKept(name)) await this.db.collection(name).drop();
    }
    for (const { _id } of await this.cursors.find({ genesis: { $exists: true } }).toArray()) {
      if (!isKept(`${this.name}_${_id}`)) await this.cursors.deleteOne({ _id });
    }
  }

  get #buildsPrefix(): string {
    return `${this.name}_${versionName}_b`;
  }
}
