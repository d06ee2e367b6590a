/**
 * The storage contract on LevelDB, through `level`. Source: classic-level 3. One process at a time: LevelDB locks the
 * directory. Never calls `repair()`: it may drop records.
 */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { Level } from "level";
import { fail } from "../errors.ts";
import {
  checkBatch,
  damagedFilesRule,
  type KeyRange,
  type RangeOptions,
  type ReadOptions,
  type Store,
  type StoreEntry,
  type StoreOp,
  type StoreSnapshot,
} from "./store.ts";

type Step = "open" | "get" | "range" | "commit" | "purge" | "flush" | "snapshot" | "close";
/** A method of `level` under Node that its types omit, because browsers lack it. */
type Compacting = { readonly compactRange: (start: Uint8Array, end: Uint8Array) => Promise<void> };
type Database = Level<Uint8Array, Uint8Array> & Compacting;
type DatabaseSnapshot = ReturnType<Database["snapshot"]>;

/** Block cache: tree nodes, indexes and recent records. */
const cacheBytes = 32 << 20;
/**
 * Fewer, larger flushes than with the default of 4 MiB; at most two buffers, and log replay at open takes under a
 * second.
 */
const writeBufferBytes = 16 << 20;
/**
 * Size of a table file, LevelDB's least. Open tables are memory-mapped and pages once read stay resident: a full scan,
 * such as a backup, holds up to this size times `openFilesMax`.
 */
const tableFileBytes = 1 << 20;
/** Open files: LevelDB's minimum, ten for itself and 64 tables. Reopening one takes tens of microseconds. */
const openFilesMax = 74;
/** Entries fetched per thread pool call; one call costs about as much as fifty entries. */
const rangeChunkEntries = 256;
/** Bytes fetched per call: bounds what one slow reader holds. */
const rangeChunkBytes = 512 << 10;

/** As a suffix sorts after every key: keys are shorter. */
const beyondKeys = new Uint8Array(1024).fill(0xff);

/** Sorts before every key: compacting it only flushes the memtable. */
const beforeKeys = Uint8Array.of(0);
/** LevelDB flushes a memtable to one of its first three levels. */
const flushLevels = 3;

/** LevelDB's own log files. */
const databaseLogs = ["LOG", "LOG.old"];

const closedCodes: ReadonlySet<string> = new Set([
  "LEVEL_DATABASE_NOT_OPEN",
  "LEVEL_ITERATOR_NOT_OPEN",
  "LEVEL_SNAPSHOT_NOT_OPEN",
  "LEVEL_STATUS_LOCKED",
]);

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";

/** A rule without paths: LevelDB's messages name files, and errors may reach callers. */
const ruleOf = (error: unknown): string => {
  const code = codeOf(error);
  const message = error instanceof Error ? error.message : "";
  if (closedCodes.has(code)) return "the store or snapshot is closed";
  if (code === "LEVEL_CORRUPTION") return damagedFilesRule;
  if (/no space left/i.test(message)) return "no space left on the device";
  if (/quota exceeded/i.test(message)) return "disk quota exceeded";
  if (/permission denied/i.test(message)) return "permission denied";
  if (/read-only file system/i.test(message)) return "read-only file system";
  if (/too many open files/i.test(message)) return "too many open files";
  if (/does not exist \(create_if_missing/.test(message)) return "there is no database here";
  if (code === "LEVEL_IO_ERROR") return "input/output error";
  return code === "" ? "unexpected error" : code;
};

const failStep = (step: Step, error: unknown): never =>
  fail({ kind: "storeFailed", step, rule: ruleOf(error) }, { cause: error });

/** LevelDB returns Buffers, whose `slice` shares memory; the contract requires plain Uint8Arrays. */
const plain = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength);

const plainOrAbsent = (bytes: Uint8Array | undefined): Uint8Array | undefined =>
  bytes === undefined ? undefined : plain(bytes);

class LevelSnapshot implements StoreSnapshot {
  readonly token: DatabaseSnapshot;
  constructor(token: DatabaseSnapshot) {
    this.token = token;
  }
  async close(): Promise<void> {
    await this.token.close();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

class LevelStore implements Store {
  readonly #database: Database;
  readonly #path: string;

  constructor(database: Database, path: string) {
    this.#database = database;
    this.#path = path;
  }

  async get(key: Uint8Array, options: ReadOptions = {}): Promise<Uint8Array | undefined> {
    try {
      return plainOrAbsent(await this.#database.get(key, this.#tokenOf(options)));
    } catch (error) {
      return failStep("get", error);
    }
  }

  async getMany(
    keys: readonly Uint8Array[],
    options: ReadOptions = {},
  ): Promise<readonly (Uint8Array | undefined)[]> {
    try {
      const values: readonly (Uint8Array | undefined)[] = await this.#database.getMany(
        [...keys],
        this.#tokenOf(options),
      );
      return values.map(plainOrAbsent);
    } catch (error) {
      return failStep("get", error);
    }
  }

  async *range(options: RangeOptions): AsyncGenerator<StoreEntry> {
    const { gte, lt, reverse = false, limit } = options;
    try {
      const iterator = this.#database.iterator({
        gte,
        lt,
        reverse,
        limit: limit ?? -1,
        highWaterMarkBytes: rangeChunkBytes,
        ...this.#tokenOf(options),
      });
      try {
        for (;;) {
          const chunk = await iterator.nextv(rangeChunkEntries);
          if (chunk.length === 0) return;
          for (const [key, value] of chunk) yield [plain(key), plain(value)];
        }
      } finally {
        await iterator.close();
      }
    } catch (error) {
      failStep("range", error);
    }
  }

  async commit(batch: readonly StoreOp[]): Promise<void> {
    checkBatch(batch);
    try {
      // A chained batch copies entries directly; an array batch costs the event loop three times as much.
      await using chained = this.#database.batch();
      for (const op of batch) {
        if (op.kind === "put") chained.put(op.key, op.value);
        else chained.del(op.key);
      }
      await chained.write({ sync: true });
    } catch (error) {
      failStep("commit", error);
    }
  }

  async purge(ranges: readonly KeyRange[], beforeClosing: () => Promise<void>): Promise<void> {
    try {
      // First compaction while others still read and write; data visible to open iterators is kept until they close.
      await this.#compact(ranges);
      await beforeClosing();
      await this.#database.close();
      await this.#database.open();
      await this.#compact(ranges);
      await this.#movePointers();
    } catch (error) {
      await this.#database.close();
      failStep("purge", error);
    }
    await this.close();
    // LevelDB's log names keys of the tables it compacts. Opening writes a new manifest, which replaces the old one.
    for (const name of databaseLogs) await rm(join(this.#path, name), { force: true });
  }

  async #compact(ranges: readonly KeyRange[]): Promise<void> {
    for (const range of ranges) {
      await this.#span(range);
      await this.#database.compactRange(range.gte, range.lt);
    }
  }

  /**
   * Writes new entries at both ends of a range. A compaction rewrites a table only together with a newer overlapping
   * one, and tables written while a reader still held the deleted entries still contain them.
   */
  async #span({ gte, lt }: KeyRange): Promise<void> {
    const first = await this.#database.get(gte);
    const last = Uint8Array.of(...lt.subarray(0, -1), (lt.at(-1) ?? 0) - 1, ...beyondKeys);
    const ops =
      first === undefined ? this.#database.batch().del(gte) : this.#database.batch().put(gte, first);
    await (lt.at(-1) === 0 ? ops : ops.del(last)).write({ sync: true });
  }

  /**
   * The manifest stores, per level, the key at which its last compaction ended. Rewriting the first (oldest) entry,
   * which is on the lowest level, and compacting it down replaces those keys.
   */
  async #movePointers(): Promise<void> {
    for await (const [key, value] of this.#database.iterator({ limit: 1 })) {
      // Each lands one level above the previous one, the last on level 0.
      for (let times = 0; times < flushLevels; times += 1) {
        await this.#database.put(key, value, { sync: true });
        await this.#database.compactRange(beforeKeys, beforeKeys);
      }
      await this.#database.compactRange(key, key);
    }
  }

  async flush(): Promise<void> {
    try {
      await this.#database.compactRange(beforeKeys, beforeKeys);
    } catch (error) {
      failStep("flush", error);
    }
  }

  snapshot(): StoreSnapshot {
    try {
      return new LevelSnapshot(this.#database.snapshot());
    } catch (error) {
      return failStep("snapshot", error);
    }
  }

  async close(): Promise<void> {
    try {
      await this.#database.close();
    } catch (error) {
      failStep("close", error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #tokenOf(options: ReadOptions): { readonly snapshot?: DatabaseSnapshot } {
    if (options.snapshot === undefined) return {};
    if (options.snapshot instanceof LevelSnapshot) return { snapshot: options.snapshot.token };
    throw new TypeError("the snapshot belongs to another kind of store");
  }
}

/**
 * Opens the database in `path`, by default creating it (and its directory, 0700). LevelDB creates files by the
 * process's umask: `main.ts` sets 0077, and embedders must as well.
 * @throws storeLocked if a process (including this one) has it open; storeFailed with step "open" otherwise.
 */
export const openLevelStore = async (
  path: string,
  { onMissing }: { readonly onMissing: "create" | "fail" } = { onMissing: "create" },
): Promise<Store> => {
  try {
    if (onMissing === "create") await mkdir(path, { recursive: true, mode: 0o700 });
    const database = new Level<Uint8Array, Uint8Array>(path, {
      keyEncoding: "view",
      valueEncoding: "view",
      createIfMissing: onMissing === "create",
      // Sealed values and hashes do not compress.
      compression: false,
      cacheSize: cacheBytes,
      writeBufferSize: writeBufferBytes,
      maxFileSize: tableFileBytes,
      maxOpenFiles: openFilesMax,
    }) as Database;
    await database.open();
    return new LevelStore(database, path);
  } catch (error) {
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    if (codeOf(cause) === "LEVEL_LOCKED") fail({ kind: "storeLocked", path }, { cause });
    return failStep("open", cause);
  }
};
