/** Threads read most records of an inspection, and what they say of none of them differs from what the walk finds. */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { runFsck, type FsckOptions, type FsckReport } from "../../../src/ledger/fsck/fsck.ts";
import { BlindTags } from "../../../src/ledger/layout/indexes.ts";
import { Sealer } from "../../../src/ledger/sealing/sealer.ts";
import { Findings } from "../../../src/ledger/walk/findings.ts";
import { Keyless } from "../../../src/ledger/walk/keyless.ts";
import { Readers } from "../../../src/ledger/walk/readers.ts";
import { Walk } from "../../../src/ledger/walk/walk.ts";
import {
  copyWorld,
  createWorld,
  decisionBody,
  newSigner,
  openWorld,
  userBody,
  withStore,
  type World,
} from "../../contract/memory-ledger.ts";
import { flipsOf, readStored, renameTenant, replaceStored, swapStored } from "../../contract/tamper.ts";
import { buildInspected, damageCopy, inspectedSize, summaryOf } from "./inspected-world.ts";

const byThreads: FsckOptions = { threads: 2, threadRecords: 16 };

describe("fsck with threads", () => {
  let whole: World;
  before(async () => {
    whole = (await buildInspected()).world;
  });

  /** @returns the report, after it was found to be the same with threads as without. */
  const inspect = async (options: World["options"]): Promise<FsckReport> => {
    const alone = await runFsck(options, { threads: 0 });
    expect(await runFsck(options, byThreads)).to.deep.equal(alone);
    return alone;
  };

  /** How often the walk looked for the data key of a record. */
  const keysAskedFor = async (world: World, fsck: FsckOptions): Promise<number> => {
    let asked = 0;
    const { dataKeys } = world.options;
    const counting = {
      ...dataKeys,
      at: (tenant: string, version: number) => {
        asked += 1;
        return dataKeys.at(tenant, version);
      },
    };
    expect(await runFsck({ ...world.options, dataKeys: counting }, fsck)).to.include({ ok: true });
    return asked;
  };

  it("opens next to no decision itself", async () => {
    expect(await keysAskedFor(whole, { threads: 0 })).to.be.at.least(Number(inspectedSize));
    expect(await keysAskedFor(whole, byThreads)).to.be.lessThan(60);
  });

  it("finds nothing in a sound ledger, and reports the same progress", async () => {
    const seen = { alone: [] as unknown[], together: [] as unknown[] };
    const { options } = whole;
    await runFsck(options, { threads: 0, onProgress: (each) => seen.alone.push(each) });
    const report = await runFsck(options, { ...byThreads, onProgress: (each) => seen.together.push(each) });
    expect(report).to.include({ ok: true, total: 0, size: inspectedSize });
    expect(seen.together).to.deep.equal(seen.alone);
  });

  it("names the position of any one flipped byte of a record", async () => {
    const stored = await withStore(whole, (store) => readStored(store, 200n));
    for (const flip of [...flipsOf(stored)].filter((_, index) => index % 211 === 0 || index < 6)) {
      const { options } = await damageCopy(whole, (store) => replaceStored(store, 200n, flip.bytes));
      expect(summaryOf(await inspect(options)), `byte ${flip.offset}`).to.deep.equal([[200n, "seal"]]);
    }
  });

  it("lists several damaged records by position, and nothing that is sound", async () => {
    const { options } = await damageCopy(whole, async (store) => {
      await swapStored(store, 210n, 220n);
      await replaceStored(store, 7n, renameTenant(await readStored(store, 7n), "umbrella"));
    });
    expect(summaryOf(await inspect(options))).to.deep.equal([
      [7n, "seal"],
      [210n, "seal"],
      [220n, "seal"],
    ]);
  });

  it("sees a record whose key is right and whose signature is not", async () => {
    const real = newSigner();
    let spoiled = false;
    const recordSigner = {
      ...real,
      sign: (message: Uint8Array) => real.sign(spoiled ? message.subarray(1) : message),
    };
    const world = await createWorld({ recordSigner });
    const ledger = await openWorld(world);
    const many = (from: number) => Array.from({ length: 120 }, (_, at) => decisionBody(`d${from + at}`));
    await ledger.append(many(0));
    spoiled = true;
    await ledger.append([decisionBody("bad"), userBody("bad")]);
    spoiled = false;
    await ledger.append(many(120));
    await ledger.close();
    expect(summaryOf(await inspect(world.options))).to.deep.equal([
      [121n, "signature"],
      [122n, "signature"],
    ]);
  });

  it("sees well-sealed records that are signed by a stranger, however many", async () => {
    const { checkpointSigner, dataKeys, indexKey, genesis } = whole.options;
    const world = await copyWorld(whole);
    const forger = await createWorld({ checkpointSigner, dataKeys, indexKey });
    const ledger = await openWorld(forger);
    await ledger.append(Array.from({ length: 250 }, (_, at) => decisionBody(`forged-${at}`)));
    await ledger.close();
    const positions = [100n, 200n, 240n];
    for (const position of positions) {
      const forged = await withStore(forger, (store) => readStored(store, position));
      await withStore(world, (store) => replaceStored(store, position, forged));
    }
    const report = await inspect({ ...world.options, genesis });
    const signed = summaryOf(report).filter(([, step]) => step === "key");
    expect(signed).to.deep.equal(positions.map((position) => [position, "key"]));
  });

  it("believes a key up to its retirement, and no further", async () => {
    const many = (from: number) => Array.from({ length: 100 }, (_, at) => decisionBody(`d${from + at}`));
    const world = await createWorld();
    const { recordSigner, checkpointSigner, dataKeys, indexKey } = world.options;
    // Its key was never retired: the same key signs, and the same data key seals, the same position.
    const other = await createWorld({ recordSigner, checkpointSigner, dataKeys, indexKey });
    for (const [each, rotates] of [[world, true] as const, [other, false] as const]) {
      const ledger = await openWorld(each);
      await ledger.append(many(0));
      if (rotates) await ledger.rotateKey("record");
      await ledger.append(many(100));
      await ledger.close();
    }
    expect(await inspect(world.options)).to.include({ ok: true });
    const late = await withStore(other, (store) => readStored(store, 180n));
    await withStore(world, (store) => replaceStored(store, 180n, late));
    expect(summaryOf(await inspect(world.options))).to.deep.include([180n, "key"]);
  });

  it("finds another genesis record, and an empty store", async () => {
    const world = await copyWorld(whole);
    const other = await createWorld();
    const report = await inspect({ ...world.options, genesis: other.options.genesis });
    expect(report.first).to.include({ position: 0n, step: "genesis" });
    world.backing.entries = [];
    expect(await inspect(world.options)).to.include({ ok: false, size: 0n });
  });

  it("gives every projection back byte for byte", async () => {
    const world = await copyWorld(whole);
    const entries = (): readonly string[] =>
      world.backing.entries.map((entry) =>
        entry.map((bytes) => Buffer.from(bytes).toString("hex")).join(" "),
      );
    const before = entries();
    expect(await runFsck(world.options, { ...byThreads, rebuildIndexes: true })).to.include({ ok: true });
    expect(entries()).to.deep.equal(before);
  });

  it("reads every record itself once its threads have ended", async () => {
    const { origin, genesis, dataKeys, indexKey } = whole.options;
    await withStore(whole, async (store) => {
      const tags = new BlindTags(indexKey);
      const readers = new Readers({ origin, dataKeys, tags, threads: 2, batchRecords: 16 });
      await readers[Symbol.asyncDispose]();
      const findings = new Findings();
      const sealer = new Sealer({ origin, keys: dataKeys, store: () => store });
      const keyless = new Keyless();
      const walk = new Walk({
        store,
        sealer,
        origin,
        genesis,
        findings,
        keyless,
        signal: undefined,
        readers,
      });
      let records = 0;
      for await (const group of walk.run()) records += group.records.length;
      await findings.settle();
      expect([records, findings.total]).to.deep.equal([Number(inspectedSize), 0]);
    });
  });

  it("ends its threads when it is cancelled", async () => {
    const cancelled = runFsck(whole.options, { ...byThreads, signal: AbortSignal.abort() });
    const fault = await cancelled.then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(fault).to.have.nested.property("error.kind", "cancelled");
  });
});
