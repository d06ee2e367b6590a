/**
 * Whoever can write to the directory and has no key: every entry of every index deleted, put back to what it was
 * before, or doubled, one at a time. Each is noticed when the ledger is opened or by the read that would have used it;
 * a read that answers gives what it gives of the ledger nobody touched.
 */
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { formatErasure } from "../../../src/core/record/kinds.ts";
import { concatBytes, toHex, u64be, utf8Encode } from "../../../src/core/bytes.ts";
import { runFsck } from "../../../src/ledger/fsck/fsck.ts";
import { erasingKey, families, summaryKey, type Family } from "../../../src/ledger/layout/keyspace.ts";
import type { StoreOp } from "../../../src/storage/store.ts";
import { createFaultyStore } from "../../contract/faulty-store.ts";
import {
  copyWorld,
  createWorld,
  decisionBody,
  faultOf,
  openWorld,
  systemBody,
  userBody,
  withStore,
} from "../../contract/memory-ledger.ts";
import { removeStored } from "../../contract/tamper.ts";
import {
  type Built,
  build,
  type Read,
  readsOf,
  answerOf,
  attack,
  isBulk,
  isErased,
  put,
  besides,
  isRebuilding,
  isChange,
} from "./changed-world.ts";

describe("an index that was changed by somebody without a key", () => {
  let built: Built;
  let reads: readonly Read[];
  const sound: unknown[] = [];

  before(async () => {
    built = await build();
    reads = readsOf(built.hashes);
    const ledger = await openWorld(await copyWorld(built.world));
    for (const [, read] of reads) sound.push(await answerOf(read, ledger));
    await ledger.close();
    expect((await runFsck(built.world.options)).problems).to.deep.equal([]);
    expect(sound).to.not.include("damage");
  });

  const entriesOf = (family: Family) =>
    built.world.backing.entries.filter(
      ([key, value]) => key[0] === family.charCodeAt(0) && !isBulk(family, key, value),
    );

  const requireNoticed = async (
    name: string,
    ops: readonly StoreOp[],
    mustBeSeen: boolean,
  ): Promise<void> => {
    const { at, wrong } = await attack(built.world, ops, sound, reads);
    expect(wrong, `${name}: noticed ${at}, answers otherwise`).to.deep.equal([]);
    if (mustBeSeen) expect(at, name).to.not.equal("nowhere");
  };

  for (const family of families) {
    if (family === "x" || family === "y") continue;

    it(`answers nothing wrong when any entry of "${family}" is deleted`, async () => {
      const entries = entriesOf(family);
      expect(entries.length).to.be.greaterThan(0);
      for (const [key] of entries) {
        // An old group's entry is read by nobody but a backup, which is among the reads.
        await requireNoticed(`${family} ${toHex(key)}`, [{ kind: "delete", key }], true);
      }
    });

    it(`answers nothing wrong when any entry of "${family}" is put back`, async () => {
      for (const [key, value] of entriesOf(family)) {
        for (const older of built.past.get(toHex(key)) ?? []) {
          if (toHex(older) === toHex(value)) continue;
          await requireNoticed(`${family} ${toHex(key)}`, [put(key, older)], true);
        }
      }
    });

    it(`answers nothing wrong when any entry of "${family}" is doubled`, async () => {
      const entries = entriesOf(family);
      for (const [index, [key, value]] of entries.entries()) {
        await requireNoticed(`${family} ${toHex(key)} beside`, [put(besides(key), value)], false);
        const other = entries[(index + 1) % entries.length]?.[1] ?? value;
        if (toHex(other) === toHex(value)) continue;
        await requireNoticed(`${family} ${toHex(key)} over`, [put(key, other)], !isErased(family, key));
      }
    });
  }

  const keyOf = (family: Family, ...parts: string[]): Uint8Array =>
    built.world.backing.entries.find(
      ([key]) =>
        key[0] === family.charCodeAt(0) &&
        parts.every((part) => Buffer.from(key).includes(Buffer.from(part))),
    )?.[0] ?? expect.fail(`there is no such entry of "${family}"`);
  const remove = (key: Uint8Array): StoreOp => ({ kind: "delete", key });
  const olderOf = (key: Uint8Array): Uint8Array =>
    built.past.get(toHex(key))?.at(-2) ?? expect.fail("it never was another");

  /** Everything that names the last version of an id, as it was before that version. */
  const forget = (tenant: string, space: string, id: string, at: bigint) => {
    const head = keyOf("i", `${tenant}\0${space}\0${id}`);
    const version = keyOf("v", `${tenant}\0${space}\0${id}\0\0\0\0\0\0\0\0\u0002`);
    const hash = built.hashes[Number(at) - 1] ?? expect.fail("there is no such record");
    return {
      head: put(head, olderOf(head)),
      version: remove(version),
      place: remove(concatBytes(utf8Encode(`w${tenant}\0`), u64be(at))),
      hash: remove(concatBytes(utf8Encode("h"), hash)),
    };
  };

  it("refuses to start when everything that revokes a principal is forgotten at once", async () => {
    const { head, version, place, hash } = forget("system", "system", "principal/ann", 255n);
    const summaries = [...built.past].filter(([name]) => name.startsWith(toHex(utf8Encode("m"))));
    const older = summaries.flatMap(([name, values]) =>
      values.map((value) => put(Uint8Array.from(Buffer.from(name, "hex")), value)),
    );
    const attacks = [
      [head],
      [head, version],
      [head, version, place],
      [head, version, place, hash],
      ...older.map((summary) => [head, version, place, hash, summary]),
    ];
    for (const ops of attacks.filter((each) => each.length < 5 || isChange(built.world, each))) {
      const { at } = await attack(built.world, ops, sound, reads);
      expect(at).to.equal("start");
    }
  });

  it("refuses the summary of another history of the same size and counts", async () => {
    const [left, right] = [await copyWorld(built.world), await copyWorld(built.world)];
    for (const [world, id] of [
      [left, "left"],
      [right, "right"],
    ] as const) {
      const ledger = await openWorld(world);
      await ledger.append([decisionBody(id)]);
      await ledger.close();
    }
    const summaries = right.backing.entries.filter(([key]) => key[0] === summaryKey[0]);
    await withStore(left, (store) => store.commit(summaries.map(([key, value]) => put(key, value))));
    expect(await faultOf(openWorld(left))).to.include({ kind: "ledgerCorrupt" });
    await (await openWorld(right)).close();
  });

  it("answers nothing of a tenant whose record is forgotten by every index at once", async () => {
    const { head, version, place, hash } = forget("acme", "user", "twice", 253n);
    for (const ops of [
      [head, version],
      [head, version, place],
      [head, version, place, hash],
    ]) {
      const { at, wrong } = await attack(built.world, ops, sound, reads);
      expect([at, wrong]).to.deep.equal(["read", []]);
    }
  });

  it("refuses to start when the mark of an erasure under way is taken away, or put where none is", async () => {
    const world = await createWorld();
    const failed = Promise.withResolvers<void>();
    const ledger = await openWorld(world, {
      openStore: async () => {
        const store = await world.options.openStore();
        return createFaultyStore(store, { operation: "purge", nth: 1, when: "before", then: "fails" });
      },
      observe: { onFault: () => failed.resolve() },
    });
    await ledger.append([userBody("gone", 1, { tenant: "doomed" })]);
    const order = formatErasure({ tenant: "doomed", reason: "asked" });
    await ledger.append([systemBody("erasure", "erasure/doomed", order)]);
    await failed.promise;
    await ledger.close();
    const isMarked = world.backing.entries.some(([key]) => toHex(key) === toHex(erasingKey("doomed")));
    expect(isMarked).to.equal(true);
    for (const op of [remove(erasingKey("doomed")), put(erasingKey("acme"), new Uint8Array(0))]) {
      const copy = await copyWorld(world);
      await withStore(copy, (store) => store.commit([op]));
      expect(await faultOf(openWorld(copy))).to.include({ kind: "ledgerCorrupt" });
    }
    // As it was left, it is finished.
    await (await openWorld(world)).close();
    expect(world.backing.entries.some(([key]) => key[0] === 0x79)).to.equal(false);
  });

  it("calls no idempotency key free when all of them are gone, and the inspection says so", async () => {
    const ops = [...entriesOf("k"), ...entriesOf("e")].map(([key]) => remove(key));
    const { at, wrong } = await attack(built.world, ops, sound, reads);
    expect([at, wrong]).to.deep.equal(["read", []]);
    const copy = await copyWorld(built.world);
    await withStore(copy, (store) => store.commit(ops));
    const report = await runFsck(copy.options);
    expect(report.problems.map(({ step }) => step)).to.deep.equal(["idempotency"]);
    // What is gone cannot be built again: a rebuild says so once, and serves with what is left.
    const rebuilt = await runFsck(copy.options, { rebuildIndexes: true });
    expect(rebuilt.problems.map(({ step }) => step)).to.deep.equal(["rebuild"]);
    expect((await runFsck(copy.options)).ok).to.equal(true);
    await (await openWorld(copy)).close();
  });

  it("is built anew over a damaged decision, and not over what may be a governed record", async () => {
    const [decision, governed] = [5n, 255n];
    for (const [position, summary, ok] of [
      [decision, "kept", true],
      [governed, "kept", false],
      [decision, "gone", false],
      [governed, "gone", false],
    ] as const) {
      const copy = await copyWorld(built.world);
      await withStore(copy, async (store) => {
        await removeStored(store, position);
        if (summary === "gone") await store.commit([remove(summaryKey)]);
      });
      await runFsck(copy.options, { rebuildIndexes: true });
      const fault = await faultOf(openWorld(copy).then((ledger) => ledger.close()));
      // The tail is looked at in any case; what matters is what is refused for good.
      expect(await isRebuilding(copy), `${position} ${summary}`).to.equal(!ok);
      expect(fault?.kind).to.equal("ledgerCorrupt");
    }
  });

  it("raises a count of seals that was put back to the seals there are", async () => {
    const copy = await copyWorld(built.world);
    const key = keyOf("s", "acme\0\0\0\0\0\0\0\0\u0001");
    await withStore(copy, (store) => store.commit([put(key, u64be(3n))]));
    expect((await faultOf(openWorld(copy)))?.kind).to.equal("ledgerCorrupt");
    await runFsck(copy.options, { rebuildIndexes: true });
    expect(await runFsck(copy.options)).to.include({ ok: true });
    await using ledger = await openWorld(copy);
    expect((await ledger.reader.dataKeys({ tenant: "acme", limit: 1 }))[0]?.seals).to.equal(255);
  });
});
