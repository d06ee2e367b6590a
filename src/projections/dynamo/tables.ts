/**
 * Where things lie. All of a projection named `sigil` is in tables of one account and region:
 *
 *   sigil          what is read, and who writes
 *   sigil_v1_b3    the third build: places, links, newest versions and its cursor
 *
 * A build is filled once from position 0. A rebuild, or another version of the schema, is a build beside the one that
 * is read, and one item says which that is.
 */
import { failProjection } from "../fault.ts";
import { failedCondition, type Dynamo, type Write } from "./client.ts";
import { cursorKey, type Item, type ItemKey } from "./item.ts";

const schemaVersion = 1;
const versionName = `v${schemaVersion}` as const;

const currentKey: ItemKey = { pk: "projection", sk: "current" };
export const writerKey: ItemKey = { pk: "projection", sk: "writer" };

/** Numbers of builds of this version of the schema. */
export type Builds = {
  /** The one that a consumer goes on with. */
  readonly filling?: number;
  /** The newest rebuild, until it takes the place of the other. */
  readonly rebuilding?: number;
};

export type Cursor = Item & {
  readonly genesis: Uint8Array;
  readonly next: number | bigint;
  readonly peaks: Uint8Array;
  readonly lanes: readonly { readonly lane: string; readonly position: number | bigint }[];
  readonly checkpoint?: string;
  /** Places that are erased, below `next` and in no other state. */
  readonly erased_places: number | bigint;
  /** While a batch is written: above every place of it. */
  readonly reaching?: number | bigint;
  /** Who was the last to open it for writing: every write is conditional on it. */
  readonly holder?: string;
};

/** The tables of one projection. */
export class DynamoPlace {
  readonly dynamo: Dynamo;
  readonly name: string;

  constructor(dynamo: Dynamo, name: string) {
    this.dynamo = dynamo;
    this.name = name;
  }

  table(build: number): string {
    return `${this.name}_${versionName}_b${build}`;
  }

  async builds(): Promise<Builds> {
    return (await this.#current())?.[versionName] ?? {};
  }

  async cursor(build: number): Promise<Cursor | undefined> {
    return (await this.dynamo.get(this.table(build), cursorKey)) as Cursor | undefined;
  }

  /** From now on a consumer fills this one. @param holder of the lease: another one's write is refused. */
  async begin(build: number, as: keyof Builds, holder: string): Promise<void> {
    const builds = { ...(await this.builds()), [as]: build };
    await this.#put({ ...(await this.#current()), ...currentKey, [versionName]: builds }, holder);
  }

  /** From now on people read this one, and consumers go on with it. */
  async show(build: number, holder: string): Promise<void> {
    const shown = { version: schemaVersion, table: this.table(build), [versionName]: { filling: build } };
    await this.#put({ ...(await this.#current()), ...currentKey, ...shown }, holder);
  }

  /** Every build goes but one, and the one that people read: also what a rebuild left that was broken off. */
  async dropBuildsBeside(build: number | undefined): Promise<void> {
    const kept = [build === undefined ? undefined : this.table(build), (await this.#current())?.["table"]];
    const builds = await this.dynamo.tables(`${this.name}_v`);
    const isBuild = (table: string): boolean => /^v\d+_b\d+$/.test(table.slice(this.name.length + 1));
    for (const table of builds) {
      if (isBuild(table) && !kept.includes(table)) await this.dynamo.deleteTable(table);
    }
  }

  #current(): Promise<Item | undefined> {
    return this.dynamo.get(this.name, currentKey);
  }

  async #put(item: Item, holder: string): Promise<void> {
    const isOurs: Write = {
      ConditionCheck: {
        TableName: this.name,
        Key: writerKey,
        ConditionExpression: "#holder = :holder",
        ExpressionAttributeNames: { "#holder": "holder" },
        ExpressionAttributeValues: { ":holder": holder },
      },
    };
    try {
      await this.dynamo.write([isOurs, { Put: { TableName: this.name, Item: item } }]);
    } catch (cause) {
      if (failedCondition(cause) >= 0) failProjection({ kind: "consumerRunning" }, { cause });
      throw cause;
    }
  }
}
