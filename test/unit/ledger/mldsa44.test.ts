/** The ML-DSA-44 line of checkpoints that leave as proofs: where it stands, by which key; commits do without. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { checkpointSigner, newestKey, type KeyRing } from "../../../src/core/keys/ring.ts";
import { verifyOwn } from "../../../src/core/keys/verify.ts";
import { parseNote, subtreeLines, verifyCheckpoint } from "../../../src/core/merkle/index.ts";
import { walkKeys } from "../../../src/core/verify/key-walk.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import { runFsck } from "../../../src/ledger/fsck/fsck.ts";
import { parseGroup } from "../../../src/ledger/layout/group.ts";
import { familyRange, positionOf } from "../../../src/ledger/layout/keyspace.ts";
import { openMemoryStore } from "../../../src/storage/memory.ts";
import { createWorld, faultOf, openWorld, userBody, type World } from "../../contract/memory-ledger.ts";

const role = "checkpoint_mldsa44";
const signed = { mldsa44: true } as const;

/** How many lines of the ML-DSA-44 key of its size a checkpoint has, all lines verified by the ring. */
const linesAt = async (ring: KeyRing, note: string, size: bigint): Promise<number> => {
  const keys = checkpointSigner(ring, size);
  if (keys.kind === "refused") throw new Error(keys.rule);
  const { entry, mldsa44Key } = keys;
  const origin = "ledger.test";
  await verifyCheckpoint(note, { origin, publicKey: entry.publicKey, verify: verifyOwn, mldsa44Key });
  return mldsa44Key === undefined ? 0 : subtreeLines(parseNote(note), origin, mldsa44Key).length;
};

/** Of the checkpoint at a size, as a proof would take it: lines that verify, and all there are. */
const linesOf = async ({ reader }: Ledger, size: bigint): Promise<readonly [number, number]> => {
  const { checkpoint } = await reader.trees.withMldsa44(await reader.trees.at(size));
  return [await linesAt(reader.ring, checkpoint, size), parseNote(checkpoint).signatures.length];
};

/** With another signature in its last line. */
const broken = (note: string): string => note.replace(/.{4}(.{4}\n)$/, "AAAA$1");

const storedNotes = async (world: World): Promise<readonly string[]> => {
  await using store = await openMemoryStore(world.backing);
  const notes: string[] = [];
  for await (const [key, value] of store.range(familyRange("b"))) {
    notes.push(parseGroup(positionOf(key), value).checkpoint);
  }
  return notes;
};

describe("a ledger that signs by ML-DSA-44", () => {
  it("announces a first key at its start, once, by the record key and as version 2", async () => {
    const world = await createWorld();
    for (const size of [2n, 2n]) {
      await using ledger = await openWorld(world, signed);
      expect(ledger.reader.size).to.equal(size);
      const { body, signedBy } = await ledger.reader.readAt(1n);
      expect(body).to.deep.include({ kind: "signing_key", schemaVersion: 2, prev: null });
      expect(body.id).to.equal("signing_key/checkpoint_mldsa44/1");
      expect(signedBy.role).to.equal("record");
      expect(newestKey(ledger.reader.ring, role)).to.include({ validFrom: 2n, validTo: null });
      // A stranger with the genesis hash derives the same ring.
      const records = await ledger.reader.keyRecords();
      const { ring } = await walkKeys(world.options.genesis, records, { verify: verifyOwn });
      expect(ring).to.deep.equal(ledger.reader.ring);
    }
    expect(await runFsck(world.options)).to.include({ ok: true, size: 2n });
  });

  it("adds the line to every checkpoint of the key's term, and to none before", async () => {
    await using ledger = await openWorld(await createWorld(), signed);
    await ledger.append([userBody("a"), userBody("b")]);
    await ledger.append([userBody("c")]);
    const lines = [];
    for (let size = 1n; size <= ledger.reader.size; size += 1n) lines.push(await linesOf(ledger, size));
    // The announcement is at position 1: its own checkpoint, of size 2, stands there too.
    expect(lines).to.deep.equal([
      [0, 1],
      [0, 1],
      [1, 2],
      [1, 2],
      [1, 2],
    ]);
  });

  it("signs a tree once, however many ask, and leaves what commits store as it was", async () => {
    const world = await createWorld();
    const ledger = await openWorld(world, signed);
    await ledger.append([userBody("a")]);
    const { trees } = ledger.reader;
    const asked = await Promise.all([1, 2, 3].map(() => trees.withMldsa44(trees.newest)));
    expect(new Set(asked.map(({ checkpoint }) => checkpoint)).size).to.equal(1);
    expect(trees.newest.checkpoint).to.not.equal(asked[0]?.checkpoint);
    await ledger.close();
    const notes = await storedNotes(world);
    expect(notes.map((note) => parseNote(note).signatures.length)).to.deep.equal([1, 1, 1]);
  });

  it("passes its key on: the old one signs nothing more, its sizes have the one line, all of it by the ring", async () => {
    const world = await createWorld();
    let ledger = await openWorld(world, signed);
    await ledger.append([userBody("a")]);
    const first = newestKey(ledger.reader.ring, role);
    expect(await linesOf(ledger, 3n)).to.deep.equal([1, 2]);
    const kept = (await ledger.reader.trees.withMldsa44(ledger.reader.trees.newest)).checkpoint;
    const next = await ledger.rotateKey(role, first?.thumbprint);
    await ledger.append([userBody("b")]);
    expect(next).to.include({ role, validFrom: 4n });
    for (const again of [false, true]) {
      if (again) {
        await ledger.close();
        ledger = await openWorld(world, signed);
      }
      expect(await linesOf(ledger, 3n)).to.deep.equal([0, 1]);
      expect(await linesOf(ledger, 4n)).to.deep.equal([0, 1]);
      expect(await linesOf(ledger, 5n)).to.deep.equal([1, 2]);
      // What was given away before still verifies.
      expect(await linesAt(ledger.reader.ring, kept, 3n)).to.equal(1);
    }
    const gone = await faultOf(
      world.options.signingKeys.mldsa44?.open(first?.publicKey as never) ?? Promise.resolve(),
    );
    expect(gone).to.include({ kind: "keyUnavailable" });
    expect(await faultOf(ledger.rotateKey(role, first?.thumbprint))).to.include({ kind: "keyReplaced" });
    await ledger.close();
    expect(await runFsck(world.options)).to.include({ ok: true, size: 5n });
  });

  it("no longer believes a retired key: its lines count as those of a stranger, and the checkpoint holds", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world, signed);
    await ledger.append([userBody("a")]);
    await ledger.append([userBody("b")]);
    const { checkpoint } = await ledger.reader.trees.withMldsa44(ledger.reader.trees.newest);
    const older = await ledger.reader.trees.withMldsa44(await ledger.reader.trees.at(3n));
    const { thumbprint } = newestKey(ledger.reader.ring, role) ?? expect.fail("there is no such key");
    const retired = await ledger.retireKey(thumbprint, 3n);
    expect(retired).to.include({ role, validTo: 2n, retiredFrom: 3n });
    const { ring } = ledger.reader;
    expect(await linesAt(ring, older.checkpoint, 3n)).to.equal(1);
    expect(await linesAt(ring, checkpoint, 4n)).to.equal(0);
    expect(await linesAt(ring, broken(checkpoint), 4n)).to.equal(0);
    expect(await faultOf(linesAt(ring, broken(older.checkpoint), 3n))).to.deep.equal({
      kind: "malformedCheckpoint",
      rule: "the ML-DSA-44 signature must verify",
    });
    const { body } = await ledger.reader.readAt(5n);
    expect(body).to.include({ kind: "key_retirement", schemaVersion: 2 });
  });

  it("opens without the option: no line is added, its key need not be there, and can be retired", async () => {
    const world = await createWorld();
    await (await openWorld(world, signed)).close();
    const { mldsa44, ...others } = world.options.signingKeys;
    await using ledger = await openWorld(world, { signingKeys: others });
    await ledger.append([userBody("a")]);
    expect(await linesOf(ledger, 3n)).to.deep.equal([0, 1]);
    expect(await faultOf(ledger.rotateKey(role))).to.deep.equal({
      kind: "keyUnavailable",
      rule: "ML-DSA-44 keys cannot be where the signing keys are",
    });
    await ledger.close();
    await using again = await openWorld(world);
    const { thumbprint } = newestKey(again.reader.ring, role) ?? expect.fail("there is no such key");
    expect(await again.retireKey(thumbprint)).to.include({ role, retiredFrom: 4n });
    await again.append([userBody("b")]);
    expect(await linesOf(again, again.reader.size)).to.deep.equal([0, 1]);
    await again.close();
    // Turned on again it goes on with the newest key.
    await using last = await openWorld(world, signed);
    expect(await linesOf(last, last.reader.size)).to.deep.equal([1, 2]);
    expect(mldsa44).to.not.equal(undefined);
  });

  it("does not start where its key is missing, nor with that of another ledger", async () => {
    const world = await createWorld();
    const other = await createWorld();
    for (const each of [world, other]) await (await openWorld(each, signed)).close();
    expect(await faultOf(openWorld(world, { ...signed, signingKeys: other.options.signingKeys }))).to.include(
      {
        kind: "keyUnavailable",
      },
    );
    const { mldsa44 } = other.options.signingKeys;
    const confused = {
      ...world.options.signingKeys,
      ...(mldsa44 && { mldsa44: { ...mldsa44, open: mldsa44.create } }),
    };
    expect(await faultOf(openWorld(world, { ...signed, signingKeys: confused }))).to.deep.equal({
      kind: "keyUnavailable",
      rule: "custody gave another key than the ledger's checkpoint_mldsa44 key",
    });
  });

  it("is asked for: without the option no such key can be made", async () => {
    await using ledger = await openWorld(await createWorld());
    expect(await faultOf(ledger.rotateKey(role))).to.deep.equal({ kind: "notFound", what: "key", id: role });
    expect(ledger.reader.size).to.equal(1n);
  });
});
