/** The LevelDB adapter: the contract, and what only a directory can do. */
import { expect } from "chai";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Level } from "level";
import { afterEach, beforeEach, describe, it } from "mocha";
import { SigilFault } from "../../../src/errors.ts";
import { openLevelStore } from "../../../src/storage/level.ts";
import { describeStore } from "../../contract/store.ts";

const createDirectory = (): Promise<string> => mkdtemp(join(tmpdir(), "sigil-store-"));

describeStore("LevelDB", async () => {
  const directory = await createDirectory();
  return {
    open: () => openLevelStore(join(directory, "db")),
    remove: () => rm(directory, { recursive: true }),
  };
});

const faultOf = async (work: () => Promise<unknown>): Promise<SigilFault> => {
  try {
    await work();
  } catch (error) {
    if (error instanceof SigilFault) return error;
    throw error;
  }
  throw new Error("expected a SigilFault");
};

/** Files that hold a text. */
const filesHolding = async (path: string, text: string): Promise<readonly string[]> => {
  const found: string[] = [];
  for (const name of await readdir(path)) {
    if ((await readFile(join(path, name))).includes(text)) found.push(name);
  }
  return found;
};

describe("LevelDB directories", () => {
  let directory: string;
  let path: string;
  beforeEach(async () => {
    directory = await createDirectory();
    path = join(directory, "db");
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  it("names the directory when another process holds it", async () => {
    const script = `
      import { openLevelStore } from ${JSON.stringify(new URL("../../../src/storage/level.ts", import.meta.url).href)};
      await openLevelStore(process.argv[1]);
      process.stdout.write("held");
      process.stdin.resume();
    `;
    const holder = spawn(process.execPath, ["--input-type=module", "-e", script, path]);
    const ended = once(holder, "exit");
    try {
      await once(holder.stdout, "data");
      const { error } = await faultOf(() => openLevelStore(path));
      expect(error).to.deep.equal({ kind: "storeLocked", path });
    } finally {
      holder.stdin.end();
      await ended;
    }
    await (await openLevelStore(path)).close();
  });

  it("makes its directory for the owner alone", async () => {
    await (await openLevelStore(path)).close();
    expect((await stat(path)).mode & 0o777).to.equal(0o700);
  });

  it("refuses a missing database when told to, and makes nothing", async () => {
    const { error } = await faultOf(() => openLevelStore(path, { onMissing: "fail" }));
    expect(error).to.deep.equal({ kind: "storeFailed", step: "open", rule: "there is no database here" });
  });

  it("reports damaged files without naming them, and keeps the cause for the log", async () => {
    await (await openLevelStore(path)).close();
    await writeFile(join(path, "CURRENT"), "MANIFEST-999999\n");
    const fault = await faultOf(() => openLevelStore(path));
    expect(fault.error).to.include({ kind: "storeFailed", step: "open" });
    expect(fault.message).to.not.contain(directory);
    expect(fault.cause).to.be.instanceOf(Error);
  });

  it("asks for every batch to be synced, since a power cut cannot be tried here", async () => {
    const asked: unknown[] = [];
    const own = Object.getOwnPropertyDescriptor(Level.prototype, "batch");
    type Chained = { write: (options?: unknown) => Promise<void> };
    const inherited: { readonly batch: () => Chained } = Object.getPrototypeOf(Level.prototype);
    Level.prototype.batch = function (this: unknown) {
      const chained = Reflect.apply(inherited.batch, this, []);
      const write = chained.write.bind(chained);
      chained.write = (options) => {
        asked.push(options);
        return write(options);
      };
      return chained;
    } as unknown as typeof Level.prototype.batch;
    try {
      await using store = await openLevelStore(path);
      await store.commit([{ kind: "put", key: Uint8Array.of(1), value: Uint8Array.of(2) }]);
      await store.commit([{ kind: "delete", key: Uint8Array.of(1) }]);
    } finally {
      if (own === undefined) Reflect.deleteProperty(Level.prototype, "batch");
      else Object.defineProperty(Level.prototype, "batch", own);
    }
    expect(asked).to.deep.equal([{ sync: true }, { sync: true }]);
  });

  it("keeps a committed batch when the process is killed right after", async () => {
    const script = `
      import { openLevelStore } from ${JSON.stringify(new URL("../../../src/storage/level.ts", import.meta.url).href)};
      const store = await openLevelStore(process.argv[1]);
      await store.commit([{ kind: "put", key: Uint8Array.of(1), value: Uint8Array.of(2) }]);
      process.kill(process.pid, "SIGKILL");
    `;
    const victim = spawn(process.execPath, ["--input-type=module", "-e", script, path]);
    await once(victim, "exit");
    await using store = await openLevelStore(path);
    expect(await store.get(Uint8Array.of(1))).to.deep.equal(Uint8Array.of(2));
  });

  it("hold a deleted key in no file once it was purged, whoever was still reading it", async () => {
    const key = (index: number) => new TextEncoder().encode(`canary/${index}`);
    const all = { gte: new TextEncoder().encode("canary/"), lt: new TextEncoder().encode("canary0") };
    const value = new Uint8Array(100);
    for (let turn = 0; turn < 3; turn += 1) {
      const store = await openLevelStore(path);
      for (let from = 0; from < 3000; from += 500) {
        await store.commit(
          Array.from({ length: 500 }, (_, index) => ({ kind: "put", key: key(from + index), value })),
        );
      }
      await store.commit([{ kind: "put", key: Uint8Array.of(0xee, turn), value }]);
      await store.close();
    }
    const store = await openLevelStore(path);
    const snapshot = store.snapshot();
    const reading = store.range(all)[Symbol.asyncIterator]();
    await reading.next();
    await store.commit(Array.from({ length: 3000 }, (_, index) => ({ kind: "delete", key: key(index) })));
    expect(await filesHolding(path, "canary/")).to.not.deep.equal([]);
    await store.purge([all], async () => {});
    await snapshot.close();
    const again = await openLevelStore(path);
    expect(await filesHolding(path, "canary/")).to.deep.equal([]);
    expect(await again.get(Uint8Array.of(0xee, 2))).to.deep.equal(value);
    await again.close();
  });
});
