/** Keys over the life of a ledger: data keys that wear out, signing keys that follow each other. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { formatSigningKey } from "../../../src/record/kinds.ts";
import { sealedKeyVersion } from "../../../src/keys/seal.ts";
import { sealCountKey } from "../../../src/ledger/keyspace.ts";
import { Sealer } from "../../../src/ledger/sealer.ts";
import { openMemoryStore } from "../../../src/storage/memory.ts";
import { u64be } from "../../../src/record/bytes.ts";
import { runFsck } from "../../../src/ledger/fsck.ts";
import {
  createWorld,
  faultOf,
  memoryDataKeys,
  newSigner,
  openWorld,
  systemBody,
  userBody,
} from "../../contract/memory-ledger.ts";

const versionOf = (stored: Uint8Array): number => sealedKeyVersion(stored.subarray(1 + (stored[0] ?? 0)), 0n);

describe("the sealer", () => {
  it("takes a new data key when the old one has made its last seal, tenant by tenant", async () => {
    const store = await openMemoryStore();
    const keys = memoryDataKeys();
    const sealer = new Sealer({ origin: "o", keys, store: () => store, sealsMax: 3 });
    const versions: number[] = [];
    for (let position = 0n; position < 8n; position += 1n) {
      const sealed = await sealer.seal(Uint8Array.of(1, 2, 3), position, "acme");
      versions.push(versionOf(sealed));
      const opened = await sealer.open(sealed, position);
      expect(opened).to.deep.equal({ tenant: "acme", envelope: Uint8Array.of(1, 2, 3) });
    }
    expect(versions).to.deep.equal([1, 1, 1, 2, 2, 2, 3, 3]);
    expect(versionOf(await sealer.seal(Uint8Array.of(1), 9n, "other"))).to.equal(1);
    expect([...sealer.counts()]).to.deep.equal([
      { tenant: "acme", version: 3, seals: 2 },
      { tenant: "other", version: 1, seals: 1 },
    ]);
  });

  it("goes on counting where the store says it was", async () => {
    const store = await openMemoryStore();
    const keys = memoryDataKeys();
    await keys.current("acme");
    await store.commit([{ kind: "put", key: sealCountKey("acme", 1), value: u64be(2n) }]);
    const sealer = new Sealer({ origin: "o", keys, store: () => store, sealsMax: 3 });
    const versions: number[] = [];
    for (const position of [0n, 1n]) {
      versions.push(versionOf(await sealer.seal(Uint8Array.of(1), position, "acme")));
    }
    expect(versions).to.deep.equal([1, 2]);
  });

  it("calls a value of a key that never was damaged, and trouble with the keys themselves not", async () => {
    const store = await openMemoryStore();
    const keys = memoryDataKeys();
    const sealer = new Sealer({ origin: "o", keys, store: () => store });
    const sealed = await sealer.seal(Uint8Array.of(1), 0n, "acme");
    sealed[8] = (sealed[8] ?? 0) ^ 1;
    expect(await faultOf(sealer.open(sealed, 0n))).to.include({ kind: "recordCorrupt", step: "seal" });
    for (const stored of [new Uint8Array(0), Uint8Array.of(200), Uint8Array.of(2, 0xff, 0xff, 1)]) {
      expect(await faultOf(sealer.open(stored, 0n))).to.include({ kind: "recordCorrupt", step: "seal" });
    }
    const at = (): never => {
      throw new Error("too many open files");
    };
    const troubled = new Sealer({ origin: "o", keys: { ...keys, at }, store: () => store });
    let thrown: unknown;
    await troubled.open(sealed, 0n).catch((error: unknown) => (thrown = error));
    expect(thrown).to.be.instanceOf(Error).with.property("message", "too many open files");
  });
});

describe("a signing key", () => {
  it("that its predecessor announced signs from its position on, and the predecessor no more", async () => {
    const world = await createWorld();
    const [recordSigner, checkpointSigner] = [newSigner(), newSigner()];
    const before = await openWorld(world);
    const announce = (role: "record" | "checkpoint", signer = recordSigner) =>
      systemBody(
        "signing_key",
        `signing_key/${role}-2`,
        formatSigningKey({ role, publicKey: signer.publicKey, validFrom: 3n }),
      );
    await before.append([announce("record"), announce("checkpoint", checkpointSigner)]);
    await before.close();
    expect(await faultOf(openWorld(world))).to.include({ kind: "keyUnavailable" });

    const changed = { recordSigner, checkpointSigner };
    const after = await openWorld(world, changed);
    await after.append([userBody("a")]);
    const signedBy = async (position: bigint) => (await after.readAt(position)).signedBy.publicKey;
    expect(await signedBy(3n)).to.deep.equal(recordSigner.publicKey);
    expect(await signedBy(2n)).to.deep.equal(world.options.recordSigner.publicKey);
    const { steps } = await after.examine(1n);
    expect(steps.map(({ outcome }) => outcome)).to.deep.equal(steps.map(() => "passed"));
    await after.close();
    expect(await runFsck({ ...world.options, ...changed })).to.include({ ok: true, size: 4n });
  });
});
