/** What a start refuses: a ledger with a hole, a surplus, a changed end, another tree, or behind its anchor. */
import { sha256 } from "@sigil/core/hash";
import { expect } from "chai";
import { before, describe, it } from "mocha";
import type { SigilError } from "../../../src/errors.ts";
import { signCheckpoint } from "../../../src/core/merkle/checkpoint.ts";
import { formatGroup, parseGroup } from "../../../src/ledger/layout/group.ts";
import {
  familyRange,
  groupKey,
  positionOf,
  rebuildingKey,
  recordKey,
  tileKey,
} from "../../../src/ledger/layout/keyspace.ts";
import { memoryAnchor } from "../../../src/ledger/append/anchor.ts";
import type { Store } from "../../../src/storage/store.ts";
import {
  copyWorld,
  createWorld,
  faultOf,
  newSigner,
  openWorld,
  userBody,
  withStore,
  type World,
} from "../../contract/memory-ledger.ts";
import { flipsOf, readStored, removeStored, replaceStored, swapStored } from "../../contract/tamper.ts";

/** Genesis, a group of 299, a group of 1 and a group of 5. */
const build = async (): Promise<World> => {
  const world = await createWorld();
  const ledger = await openWorld(world);
  for (const [group, count] of [299, 1, 5].entries()) {
    await ledger.append(Array.from({ length: count }, (_, index) => userBody(`g${group}-${index}`)));
  }
  await ledger.close();
  return world;
};
const size = 305n + 1n;

const lastGroup = async (store: Store) => {
  for await (const [key, value] of store.range({ ...familyRange("b"), reverse: true, limit: 1 })) {
    return parseGroup(positionOf(key), value);
  }
  throw new Error("there is no group");
};

const refusal = async (world: World): Promise<SigilError> => {
  const fault = await faultOf(openWorld(world).then((ledger) => ledger.close()));
  if (fault === undefined) throw new Error("the ledger opened");
  // Whatever was refused released the store again.
  await withStore(world, async () => {});
  return fault;
};

describe("a start", () => {
  let whole: World;
  before(async () => {
    whole = await build();
  });

  const damaged = async (damage: (store: Store) => Promise<void>): Promise<SigilError> => {
    const world = await copyWorld(whole);
    await withStore(world, damage);
    return refusal(world);
  };

  it("opens the ledger nobody touched", async () => {
    await using ledger = await openWorld(await copyWorld(whole));
    expect(ledger.reader.size).to.equal(size);
  });

  it("refuses a gap in the tail, naming the position", async () => {
    const error = await damaged((store) => removeStored(store, 290n));
    expect(error).to.include({ kind: "ledgerCorrupt", position: 290n });
  });

  it("refuses a missing last record", async () => {
    expect(await damaged((store) => removeStored(store, size - 1n))).to.include({
      kind: "ledgerCorrupt",
      position: size - 1n,
    });
  });

  it("refuses a record past the last checkpoint", async () => {
    const error = await damaged(async (store) => replaceStored(store, size, await readStored(store, 1n)));
    expect(error).to.deep.equal({
      kind: "ledgerCorrupt",
      position: size,
      rule: "a record lies past the last checkpoint",
    });
  });

  it("refuses a last group whose records were exchanged or changed", async () => {
    expect(await damaged((store) => swapStored(store, size - 1n, size - 2n))).to.include({
      kind: "recordCorrupt",
      step: "seal",
    });
    const error = await damaged(async (store) => {
      const flips = [...flipsOf(await readStored(store, size - 1n))];
      const last = flips.at(-1);
      if (last !== undefined) await replaceStored(store, size - 1n, last.bytes);
    });
    expect(error).to.include({ kind: "recordCorrupt", position: size - 1n });
  });

  it("refuses another well-sealed record at the end, with the position", async () => {
    // Someone who has the keys, and this disk as it was one record ago.
    const { dataKeys, indexKey, recordSigner, checkpointSigner, origin } = whole.options;
    const fork = await createWorld({ dataKeys, indexKey, recordSigner, checkpointSigner, origin });
    const ledger = await openWorld(fork);
    await ledger.append(Array.from({ length: 305 }, (_, index) => userBody(`other-${index}`)));
    await ledger.close();
    const other = await withStore(fork, (store) => readStored(store, size - 1n));
    expect(await damaged((store) => replaceStored(store, size - 1n, other))).to.deep.equal({
      kind: "ledgerCorrupt",
      position: size - 1n,
      rule: "the record is not the one the tree holds",
    });
  });

  it("refuses a last group whose entry holds other leaves, or another group's", async () => {
    const changed = await damaged(async (store) => {
      const group = await lastGroup(store);
      const leaves = [...group.leaves].reverse();
      await store.commit([
        { kind: "put", key: groupKey(group.firstPosition), value: formatGroup({ ...group, leaves }) },
      ]);
    });
    expect(changed).to.include({ kind: "ledgerCorrupt" });
    const swapped = await damaged(async (store) => {
      const last = await lastGroup(store);
      const earlier = await store.get(groupKey(300n));
      if (earlier === undefined) throw new Error("group 300 is missing");
      await store.commit([{ kind: "put", key: groupKey(last.firstPosition), value: earlier }]);
    });
    expect(swapped).to.include({ kind: "ledgerCorrupt" });
    const garbage = await damaged((store) =>
      store.commit([{ kind: "put", key: groupKey(301n), value: Uint8Array.of(0xff) }]),
    );
    expect(garbage).to.include({ kind: "ledgerCorrupt", rule: "the group entry is malformed" });
  });

  it("refuses a checkpoint signed by a stranger, and one over another tree", async () => {
    const resigned = (root: "same" | "other", signer = whole.options.checkpointSigner) =>
      damaged(async (store) => {
        const group = await lastGroup(store);
        const ledger = await openWorld(await copyWorld(whole));
        const real = ledger.reader.checkpoint.root;
        await ledger.close();
        const checkpoint = await signCheckpoint(
          {
            origin: whole.options.origin,
            size,
            root: root === "same" ? real : sha256(real),
          },
          signer,
        );
        await store.commit([
          { kind: "put", key: groupKey(group.firstPosition), value: formatGroup({ ...group, checkpoint }) },
        ]);
      });
    expect(await resigned("same", newSigner())).to.include({ kind: "ledgerCorrupt", position: size });
    expect(await resigned("other")).to.include({
      kind: "ledgerCorrupt",
      rule: "the tree does not give its checkpoint's root",
    });
  });

  it("refuses a tile that is missing or changed", async () => {
    const missing = await damaged((store) => store.commit([{ kind: "delete", key: tileKey(1, 0n) }]));
    expect(missing).to.include({ kind: "ledgerCorrupt" });
    const changed = await damaged((store) =>
      store.commit([{ kind: "put", key: tileKey(1, 0n), value: new Uint8Array(32) }]),
    );
    expect(changed).to.include({ kind: "ledgerCorrupt" });
  });

  it("refuses a half rebuilt index", async () => {
    const error = await damaged((store) =>
      store.commit([{ kind: "put", key: rebuildingKey, value: new Uint8Array(0) }]),
    );
    expect(error).to.include({ kind: "ledgerCorrupt" });
  });

  it("refuses keys of another shape", async () => {
    const error = await damaged((store) =>
      store.commit([
        { kind: "put", key: Uint8Array.of(...recordKey(size - 1n), 1), value: new Uint8Array(1) },
      ]),
    );
    expect(error).to.include({ kind: "ledgerCorrupt", rule: "a key of the store is malformed" });
  });

  it("refuses another genesis record", async () => {
    const other = await createWorld();
    const world = await copyWorld(whole);
    const fault = await faultOf(openWorld(world, { genesis: other.options.genesis }));
    expect(fault).to.include({ kind: "ledgerCorrupt", position: 0n });
  });

  it("refuses signing keys that the ledger never announced", async () => {
    for (const keys of [{ recordSigner: newSigner() }, { checkpointSigner: newSigner() }]) {
      const fault = await faultOf(openWorld(await copyWorld(whole), keys));
      expect(fault).to.include({ kind: "keyUnavailable" });
    }
  });
});

describe("the anchor", () => {
  let whole: World;
  before(async () => {
    whole = await build();
  });
  const older = async (world: World): Promise<World> => {
    const copy = await copyWorld(world);
    const ledger = await openWorld(world);
    await ledger.append([userBody(`later-${ledger.reader.size}`)]);
    await ledger.close();
    return { ...copy, anchor: world.anchor, options: { ...copy.options, anchor: world.anchor } };
  };

  it("refuses a database that is older than it, with the two sizes", async () => {
    const world = await copyWorld(whole);
    const behind = await older(world);
    expect(await refusal(behind)).to.deep.equal({
      kind: "ledgerBehindAnchor",
      size,
      anchorSize: size + 1n,
    });
  });

  it("refuses an empty database, with the two sizes", async () => {
    const world = await copyWorld(whole);
    world.backing.entries = [];
    expect(await refusal(world)).to.deep.equal({ kind: "ledgerBehindAnchor", size: 0n, anchorSize: size });
  });

  it("may be behind the database, and is brought up to it", async () => {
    const world = await copyWorld(whole);
    const old = (await world.anchor.read()) ?? "";
    const ledger = await openWorld(world);
    await ledger.append([userBody("later")]);
    await ledger.close();
    await world.anchor.write(old);
    await using again = await openWorld(world);
    expect(again.reader.size).to.equal(size + 1n);
    expect(await world.anchor.read()).to.equal(again.reader.checkpoint.note);
  });

  it("that is missing is refused, with what to run", async () => {
    const world = await copyWorld(whole);
    const anchor = memoryAnchor();
    const error = await refusal({ ...world, options: { ...world.options, anchor } });
    expect(error).to.include({ kind: "ledgerCorrupt" });
    expect("rule" in error ? error.rule : "").to.match(/fsck/);
  });

  it("that is forged is refused", async () => {
    const world = await copyWorld(whole);
    const { origin } = whole.options;
    const root = sha256(new Uint8Array(1));
    const byStranger = await signCheckpoint({ origin, size: 1n, root }, newSigner());
    await world.anchor.write(byStranger);
    expect(await refusal(world)).to.include({ kind: "ledgerCorrupt" });
    const ahead = await signCheckpoint({ origin, size: size + 9n, root }, newSigner());
    await world.anchor.write(ahead);
    expect(await refusal(world)).to.include({ kind: "ledgerCorrupt" });
    await world.anchor.write("not a note");
    expect(await refusal(world)).to.include({ kind: "ledgerCorrupt" });
  });

  it("over another history of the same keys is refused", async () => {
    const world = await copyWorld(whole);
    const { origin, checkpointSigner } = whole.options;
    const root = sha256(new Uint8Array(1));
    await world.anchor.write(await signCheckpoint({ origin, size: 300n, root }, checkpointSigner));
    expect(await refusal(world)).to.include({ kind: "ledgerCorrupt", position: 300n });
  });

  it("is never ahead of the database and at most 1,000 records behind it", async () => {
    const lags: bigint[] = [];
    const world = await createWorld();
    const ledger = await openWorld(world);
    ledger.feed.subscribe(() => {
      void world.anchor.read().then((note) => {
        lags.push(ledger.reader.size - BigInt(note?.split("\n")[1] ?? "0"));
      });
    });
    for (let round = 0; round < 5; round += 1) {
      const bodies = Array.from({ length: 700 }, (_, index) => userBody(`r${round}-${index}`));
      await ledger.append(bodies);
    }
    await ledger.close();
    expect(lags).to.have.lengthOf(5);
    expect(lags.every((lag) => lag >= 0n && lag <= 1000n)).to.equal(true);
    expect(await world.anchor.read()).to.equal(ledger.reader.checkpoint.note);
  });
});
