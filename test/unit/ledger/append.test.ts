/** What an append promises: dense positions, versions that follow each other, all or none, read back verified. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { fail } from "../../../src/errors.ts";
import type { Hash } from "../../../src/core/bytes.ts";
import type { CommittedRecord } from "../../../src/ledger/ledger.ts";
import { recordKey } from "../../../src/ledger/layout/keyspace.ts";
import {
  createWorld,
  decisionBody,
  faultOf,
  openWorld,
  userBody,
  withStore,
} from "../../contract/memory-ledger.ts";
import { flipsOf, readStored, renameTenant, replaceStored, swapStored } from "../../contract/tamper.ts";

describe("an append", () => {
  it("gives every record the next position, without a gap, whoever appends at the same time", async () => {
    await using ledger = await openWorld(await createWorld());
    const units = await Promise.all(
      Array.from({ length: 120 }, (_, index) =>
        ledger.append(Array.from({ length: 1 + (index % 4) }, (_, each) => userBody(`u${index}-${each}`))),
      ),
    );
    const positions = units.flat().map(({ position }) => position);
    expect(positions).to.deep.equal(positions.map((_, index) => BigInt(index + 1)));
    expect(ledger.reader.size).to.equal(BigInt(positions.length + 1));
    for (const unit of units) {
      for (const { position, hash } of unit)
        expect((await ledger.reader.readAt(position)).hash).to.deep.equal(hash);
    }
  });

  it("chains versions, within one group too, and refuses what does not follow", async () => {
    await using ledger = await openWorld(await createWorld());
    const [first] = await ledger.append([userBody("a", 1)]);
    const together = await Promise.all([
      ledger.append([userBody("a", 2, { prev: first?.hash as Hash })]),
      faultOf(ledger.append([userBody("a", 3, { prev: first?.hash as Hash })])),
      faultOf(ledger.append([userBody("a", 4)])),
      ledger.append([userBody("b", 1)]),
    ]);
    expect(together[0][0]?.version).to.equal(2n);
    expect(together[1]).to.deep.equal({ kind: "staleVersion", id: "a", version: 2n });
    expect(together[2]).to.deep.equal({ kind: "staleVersion", id: "a", version: 2n });
    expect(together[3][0]?.version).to.equal(1n);
    expect(ledger.reader.size).to.equal(4n);
    expect((await ledger.reader.readId("acme", "user", "a"))?.body.payload).to.equal(2);
  });

  it("refuses a unit whole: what its earlier records would have added binds nobody", async () => {
    await using ledger = await openWorld(await createWorld());
    const [base] = await ledger.append([userBody("taken", 1)]);
    const [refused, accepted] = await Promise.all([
      faultOf(ledger.append([userBody("fresh", "lost"), userBody("taken", 2)])),
      ledger.append([userBody("fresh", "kept")]),
    ]);
    expect(refused).to.deep.equal({ kind: "staleVersion", id: "taken", version: 1n });
    expect(accepted[0]).to.include({ position: (base?.position ?? 0n) + 1n, version: 1n });
    expect((await ledger.reader.readId("acme", "user", "fresh"))?.body.payload).to.equal("kept");
  });

  it("refuses only the unit whose further entries cannot be made", async () => {
    await using ledger = await openWorld(await createWorld());
    const extraOps = (): never => fail({ kind: "notServing", rule: "planned" });
    const [refused, accepted] = await Promise.all([
      faultOf(ledger.append([userBody("x")], { extraOps })),
      ledger.append([userBody("x")]),
    ]);
    expect(refused).to.include({ kind: "notServing" });
    expect(accepted[0]?.version).to.equal(1n);
    expect(ledger.status.kind).to.equal("serving");
  });

  it("shows every group to its listeners before it answers, and survives one that throws", async () => {
    const faults: unknown[] = [];
    const world = await createWorld();
    await using ledger = await openWorld(world, { observe: { onFault: (cause) => faults.push(cause) } });
    const seen: CommittedRecord[] = [];
    ledger.feed.subscribe(() => {
      throw new Error("a broken listener");
    });
    ledger.feed.subscribe((records) => seen.push(...records));
    const [appended] = await ledger.append([userBody("a")]);
    expect(seen.map(({ position, body }) => [position, body.id])).to.deep.equal([[appended?.position, "a"]]);
    expect(faults).to.have.lengthOf(1);
    expect(ledger.status.kind).to.equal("serving");
  });

  it("is refused once the ledger is closing, while what waited is answered", async () => {
    const ledger = await openWorld(await createWorld());
    const waiting = ledger.append([userBody("a")]);
    const closed = ledger.close();
    expect(await faultOf(ledger.append([userBody("b")]))).to.include({ kind: "notServing" });
    expect((await waiting)[0]?.position).to.equal(1n);
    await closed;
    await ledger.close();
    expect(ledger.status.kind).to.equal("closed");
  });

  it("finds the same records, checkpoint and root after a reopening", async () => {
    const world = await createWorld();
    const before = await openWorld(world);
    const appended = await before.append([userBody("a"), decisionBody("d")]);
    const { note, root } = before.reader.checkpoint;
    await before.close();
    await using after = await openWorld(world);
    expect(after.reader.checkpoint).to.deep.equal({ note, size: 3n, root });
    for (const { position, hash } of appended)
      expect((await after.reader.readAt(position)).hash).to.deep.equal(hash);
  });
});

describe("a stored record", () => {
  it("is refused with any one of its bytes changed, at the step of the seal", async () => {
    const world = await createWorld();
    const ledger = await openWorld(world);
    const [target] = await ledger.append([userBody("a")]);
    await ledger.append(Array.from({ length: 300 }, (_, index) => userBody(`later-${index}`)));
    await ledger.close();
    const position = target?.position ?? 0n;
    const whole = await withStore(world, (store) => readStored(store, position));
    // The disk is changed under an open ledger: its own writes go through the same backing.
    let store = undefined as Awaited<ReturnType<typeof world.options.openStore>> | undefined;
    await using open = await openWorld(world, {
      openStore: async () => (store = await world.options.openStore()),
    });
    for (const { offset, bytes } of flipsOf(whole)) {
      if (store !== undefined) await replaceStored(store, position, bytes);
      const fault = await faultOf(open.reader.readAt(position));
      expect(fault, `byte ${offset}`).to.include({ kind: "recordCorrupt", position, step: "seal" });
    }
    if (store === undefined) throw new Error("the store was not opened");
    await replaceStored(store, position, renameTenant(whole, "other"));
    expect(await faultOf(open.reader.readAt(position))).to.include({ kind: "recordCorrupt", step: "seal" });
    await replaceStored(store, position, whole);
    await swapStored(store, position, position + 1n);
    for (const at of [position, position + 1n]) {
      expect(await faultOf(open.reader.readAt(at))).to.include({ kind: "recordCorrupt", step: "seal" });
    }
    await swapStored(store, position, position + 1n);
    expect((await open.reader.readAt(position)).body.id).to.equal("a");
  });

  it("that is damaged refuses new versions of its own id and nothing else", async () => {
    const world = await createWorld();
    let store = undefined as Awaited<ReturnType<typeof world.options.openStore>> | undefined;
    await using ledger = await openWorld(world, {
      openStore: async () => (store = await world.options.openStore()),
    });
    const [first] = await ledger.append([userBody("a")]);
    await store?.commit([{ kind: "put", key: recordKey(1n), value: Uint8Array.of(1, 2, 3) }]);
    const refused = faultOf(ledger.append([userBody("a", 2, { prev: first?.hash as Hash })]));
    const accepted = ledger.append([userBody("b")]);
    expect(await refused).to.include({ kind: "recordCorrupt", position: 1n });
    expect((await accepted)[0]?.position).to.equal(2n);
    expect(ledger.status.kind).to.equal("serving");
  });
});
