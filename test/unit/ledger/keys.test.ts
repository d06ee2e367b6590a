/** Keys over the life of a ledger: data keys that wear out, signing keys that follow each other. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { formatSigningKey } from "../../../src/core/record/kinds.ts";
import { randomBytes } from "../../../src/crypto/random.ts";
import { sealedKeyVersion, sealNonceBytes } from "../../../src/crypto/seal.ts";
import { recordKey, sealCountKey } from "../../../src/ledger/layout/keyspace.ts";
import { prepareRecord, signRecord } from "../../../src/ledger/append/prepare.ts";
import { Sealer } from "../../../src/ledger/sealing/sealer.ts";
import { openMemoryStore } from "../../../src/storage/memory.ts";
import { parseHash, u64be, type PublicKey } from "../../../src/core/bytes.ts";
import { keyState, type KeyEntry } from "../../../src/core/keys/ring.ts";
import { verifyOwn } from "../../../src/core/keys/verify.ts";
import { runFsck } from "../../../src/ledger/fsck/fsck.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import { verifyCheckpoint } from "../../../src/core/merkle/checkpoint.ts";
import { sealOne } from "../../contract/sealing.ts";
import {
  copyWorld,
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
      const sealed = await sealOne(sealer, Uint8Array.of(1, 2, 3), position, "acme");
      versions.push(versionOf(sealed));
      const opened = await sealer.open(sealed, position);
      expect(opened).to.deep.equal({
        tenant: "acme",
        envelope: Uint8Array.of(1, 2, 3),
        disclosures: {},
      });
    }
    expect(versions).to.deep.equal([1, 1, 1, 2, 2, 2, 3, 3]);
    expect(versionOf(await sealOne(sealer, Uint8Array.of(1), 9n, "other"))).to.equal(1);
    const next = sealer.stage(() => randomBytes(sealNonceBytes));
    for (const tenant of ["acme", "other", "other"]) next.seal({ envelope: Uint8Array.of(1) }, 10n, tenant);
    expect(next.counts()).to.deep.equal([
      { tenant: "acme", version: 3, seals: 3, first: 6n },
      { tenant: "other", version: 1, seals: 3, first: 9n },
    ]);
    expect(sealer.isReady("acme", 1), "what is only staged is not counted").to.equal(true);
    sealer.take(next.counts());
    expect([sealer.isReady("acme", 1), sealer.isReady("acme", 0)]).to.deep.equal([false, true]);
  });

  it("takes a key that is good for a whole batch, and makes one key for all who ask at once", async () => {
    const custody = memoryDataKeys();
    const rotate = async (tenant: string) => {
      await new Promise((resolve) => setImmediate(resolve));
      return custody.rotate(tenant);
    };
    const keys = { ...custody, rotate };
    const store = await openMemoryStore();
    const sealer = new Sealer({ origin: "o", keys, store: () => store, sealsMax: 3 });
    await Promise.all([sealer.ready("acme"), sealer.ready("acme", 2), sealer.ready("acme")]);
    expect(keys.newest("acme")).to.equal(1);
    await sealOne(sealer, Uint8Array.of(1), 0n, "acme");
    await sealer.ready("acme", 2);
    expect(keys.newest("acme")).to.equal(1);
    await sealer.ready("acme", 3);
    const seals = sealer.stage(() => randomBytes(sealNonceBytes));
    const sealed = [1n, 2n, 3n].map((position) =>
      versionOf(seals.seal({ envelope: Uint8Array.of(1) }, position, "acme")),
    );
    expect(sealed).to.deep.equal([2, 2, 2]);
    expect(seals.counts()).to.deep.equal([{ tenant: "acme", version: 2, seals: 3, first: 1n }]);
  });

  it("is not ready for a tenant that was erased while its key was loaded", async () => {
    const store = await openMemoryStore();
    const keys = memoryDataKeys();
    let isErased = false;
    const erasure = { tenant: "acme", position: 1n, hash: parseHash(new Uint8Array(32)), reported: false };
    const erasureOf = () => (isErased ? erasure : undefined);
    const sealer = new Sealer({ origin: "o", keys, store: () => store, erasureOf });
    const loading = sealer.ready("acme");
    isErased = true;
    sealer.forget("acme");
    expect(await faultOf(loading)).to.include({ kind: "erased" });
    expect(keys.newest("acme")).to.equal(1);
    expect(sealer.isReady("acme")).to.equal(false);
    expect(await faultOf(sealer.ready("acme"))).to.include({ kind: "erased" });
  });

  it("goes on counting where the store says it was", async () => {
    const store = await openMemoryStore();
    const keys = memoryDataKeys();
    await keys.rotate("acme");
    await store.commit([{ kind: "put", key: sealCountKey("acme", 1), value: u64be(2n) }]);
    const sealer = new Sealer({ origin: "o", keys, store: () => store, sealsMax: 3 });
    const versions: number[] = [];
    for (const position of [0n, 1n]) {
      versions.push(versionOf(await sealOne(sealer, Uint8Array.of(1), position, "acme")));
    }
    expect(versions).to.deep.equal([1, 2]);
  });

  it("calls a value of a key that never was damaged, and trouble with the keys themselves not", async () => {
    const store = await openMemoryStore();
    const keys = memoryDataKeys();
    const sealer = new Sealer({ origin: "o", keys, store: () => store });
    const sealed = await sealOne(sealer, Uint8Array.of(1), 0n, "acme");
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

const recordKeys = (ledger: Ledger): readonly KeyEntry[] =>
  ledger.reader.ring.entries.filter(({ role }) => role === "record");

/** Every record of the ledger, by the position it stands at: "ok", or the step that does not hold. */
const verdicts = async (ledger: Ledger): Promise<readonly string[]> => {
  const found: string[] = [];
  for (let position = 0n; position < ledger.reader.size; position += 1n) {
    const { steps } = await ledger.reader.examine(position);
    found.push(steps.find(({ outcome }) => outcome === "failed")?.name ?? "ok");
  }
  return found;
};

describe("a signing key", () => {
  it("that its predecessor announced signs from its position on, and the predecessor no more", async () => {
    const world = await createWorld();
    const ledger = await openWorld(world);
    const old = world.options.recordSigner.publicKey;
    const announced = await ledger.rotateKey("record");
    expect(announced).to.include({ role: "record", validFrom: 2n, validTo: null, retiredFrom: null });
    await ledger.append([userBody("a")]);
    const signedBy = async (position: bigint) => (await ledger.reader.readAt(position)).signedBy.publicKey;
    expect(await signedBy(1n)).to.deep.equal(old);
    expect(await signedBy(2n)).to.deep.equal(announced.publicKey);
    const [record] = await ledger.reader.keyRecords().then((records) => records.slice(-1));
    expect(record?.position).to.equal(1n);
    expect((await ledger.reader.readAt(1n)).body).to.include({
      kind: "signing_key",
      id: "signing_key/record/2",
    });
    // The checkpoint over an announcement of its own key is the last that the old key signs.
    const checkpoint = await ledger.rotateKey("checkpoint");
    const over = (publicKey: PublicKey) =>
      verifyCheckpoint(ledger.reader.checkpoint.note, {
        origin: "ledger.test",
        publicKey,
        verify: verifyOwn,
      });
    expect((await over(world.options.checkpointSigner.publicKey)).size).to.equal(4n);
    await ledger.append([userBody("b")]);
    expect((await over(checkpoint.publicKey)).size).to.equal(5n);
    expect(new Set(await verdicts(ledger))).to.deep.equal(new Set(["ok"]));
    await ledger.close();
    expect(await runFsck(world.options)).to.include({ ok: true, size: 5n });
    expect(world.options.signingKeys).to.have.property("held").with.length(2);
    await using again = await openWorld(world);
    expect(again.reader.ring).to.deep.equal(ledger.reader.ring);
    await again.append([userBody("c")]);
    expect(new Set(await verdicts(again))).to.deep.equal(new Set(["ok"]));
  });

  it("changes between two groups: nothing waits in vain, nothing is signed by the wrong one", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const writing = Array.from({ length: 300 }, async (_, index) => {
      await new Promise((resolve) => setTimeout(resolve, index / 4));
      return ledger.append([userBody(`a${index}`)]);
    });
    for (let turn = 0; turn < 5; turn += 1) {
      await Promise.all([ledger.rotateKey("record"), ledger.rotateKey("checkpoint")]);
    }
    expect(await Promise.all(writing)).to.have.length(300);
    expect(recordKeys(ledger)).to.have.length(6);
    expect(new Set(await verdicts(ledger))).to.deep.equal(new Set(["ok"]));
    await ledger.close();
    expect(await runFsck(world.options)).to.include({ ok: true, size: 311n });
  });

  it("is replaced only when it is the one that was expected", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const { thumbprint } = world.options.recordSigner;
    await ledger.rotateKey("record", thumbprint);
    expect(await faultOf(ledger.rotateKey("record", thumbprint))).to.include({ kind: "keyReplaced" });
    expect(
      await Promise.all(
        [1, 2].map(() => faultOf(ledger.rotateKey("checkpoint", world.options.checkpointSigner.thumbprint))),
      ).then((faults) => faults.map((fault) => fault?.kind)),
    ).to.have.members([undefined, "keyReplaced"]);
    expect(ledger.reader.size).to.equal(3n);
  });

  it("that custody has lost is named, and nothing is served", async () => {
    const world = await createWorld();
    const ledger = await openWorld(world);
    await ledger.rotateKey("record");
    await ledger.close();
    const { recordSigner, checkpointSigner } = world.options;
    expect(await faultOf(openWorld(world, { recordSigner, checkpointSigner }))).to.include({
      kind: "keyUnavailable",
    });
  });

  it("is announced by the ledger alone", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const { publicKey } = newSigner();
    const payload = formatSigningKey({ role: "record", publicKey, validFrom: 2n });
    let thrown: unknown;
    await ledger
      .append([systemBody("signing_key", "signing_key/record/2", payload)])
      .catch((error: unknown) => (thrown = error));
    expect(thrown).to.be.instanceOf(Error);
    expect(ledger.reader.size).to.equal(1n);
  });
});

describe("a stored record", () => {
  it("signed by an attacker, by a key outside its positions or by a key of another role is refused", async () => {
    const world = await createWorld();
    const { dataKeys, origin, recordSigner, checkpointSigner, signingKeys } = world.options;
    let store = await openMemoryStore();
    const openStore = async () => (store = await world.options.openStore());
    await using ledger = await openWorld(world, { openStore });
    await ledger.append([userBody("a")]);
    const { publicKey } = await ledger.rotateKey("record");
    const next = await signingKeys.open("record", publicKey);
    await ledger.append([userBody("b")]);
    const attacker = newSigner();
    for (const [position, signer, step, rule] of [
      [3n, attacker, "key", /outside the key ring/],
      [3n, { ...attacker, thumbprint: next.thumbprint }, "signature", /does not verify/],
      [3n, recordSigner, "key", /valid up to position 2/],
      [3n, checkpointSigner, "key", /needs a record key/],
      [1n, { ...attacker, thumbprint: recordSigner.thumbprint }, "signature", /does not verify/],
      [1n, next, "key", /valid from position 3/],
    ] as const) {
      const key = recordKey(position);
      const whole = (await store.get(key)) ?? new Uint8Array(0);
      const { body } = await ledger.reader.readAt(position);
      const { envelope } = await signRecord(prepareRecord(body), { signer, origin });
      const sealer = new Sealer({ origin, keys: dataKeys, store: () => store });
      await store.commit([{ kind: "put", key, value: await sealOne(sealer, envelope, position, "acme") }]);
      const fault = await faultOf(ledger.reader.readAt(position));
      expect(fault).to.include({ kind: "recordCorrupt", step }).and.have.property("rule").that.matches(rule);
      const copy = await copyWorld(world);
      const { problems } = await runFsck(copy.options);
      const found = problems.filter((problem) => problem.position === position).map(({ step }) => step);
      expect(found).to.include(step);
      await store.commit([{ kind: "put", key, value: whole }]);
    }
    expect(new Set(await verdicts(ledger))).to.deep.equal(new Set(["ok"]));
  });
});

describe("a retired key", () => {
  it("is rotated first when it is in use, and all that it signed stands", async () => {
    const world = await createWorld();
    const ledger = await openWorld(world);
    await ledger.append([userBody("a"), userBody("b")]);
    const retired = await ledger.retireKey(world.options.recordSigner.thumbprint);
    expect(retired).to.include({ validFrom: 0n, validTo: 3n, retiredFrom: 4n });
    expect(recordKeys(ledger).map(keyState)).to.deep.equal(["retired", "active"]);
    expect(await verdicts(ledger)).to.deep.equal(["ok", "ok", "ok", "ok", "ok"]);
    await ledger.close();
    expect(await runFsck(world.options)).to.include({ ok: true, size: 5n });
    await using again = await openWorld(world);
    expect(again.reader.ring).to.deep.equal(ledger.reader.ring);
  });

  it("is believed below the position alone; the key that it announced is not harmed", async () => {
    const world = await createWorld();
    const ledger = await openWorld(world);
    for (const id of ["a", "b", "c"]) await ledger.append([userBody(id)]);
    const { thumbprint } = world.options.recordSigner;
    await ledger.retireKey(thumbprint, 3n);
    await ledger.append([userBody("d")]);
    const expected = ["ok", "ok", "ok", "key", "key", "ok", "ok"];
    expect(await verdicts(ledger)).to.deep.equal(expected);
    expect(await faultOf(ledger.reader.readAt(3n))).to.include({
      kind: "recordCorrupt",
      rule: "signed by a key that was valid up to position 2",
    });
    // Later it turns out to have been stolen earlier.
    await ledger.retireKey(thumbprint, 2n);
    expect((await verdicts(ledger)).slice(0, 4)).to.deep.equal(["ok", "ok", "key", "key"]);
    expect(await faultOf(ledger.retireKey(thumbprint, 3n))).to.include({ kind: "malformedKey" });
    await ledger.close();
    await using again = await openWorld(world);
    expect(again.reader.ring).to.deep.equal(ledger.reader.ring);
    await again.close();
    expect(await runFsck(world.options)).to.include({ ok: true, size: 8n });
  });

  it("of checkpoints leaves the anchor what it was", async () => {
    const world = await createWorld();
    const ledger = await openWorld(world);
    await ledger.append([userBody("a"), userBody("b")]);
    const note = ledger.reader.checkpoint.note;
    await ledger.retireKey(world.options.checkpointSigner.thumbprint, 1n);
    await ledger.close();
    // As a crash before the anchor followed would leave it.
    await world.anchor.write(note);
    await using again = await openWorld(world);
    expect(again.reader.size).to.equal(5n);
  });

  it("is refused for a position that is none, and for a key that is nobody's", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const { thumbprint } = world.options.recordSigner;
    expect(await faultOf(ledger.retireKey(thumbprint, 2n))).to.include({ kind: "sizeOutOfRange" });
    expect(await faultOf(ledger.retireKey(thumbprint, 0n))).to.include({ kind: "malformedKey" });
    expect(await faultOf(ledger.retireKey(newSigner().thumbprint))).to.include({ kind: "notFound" });
    expect(ledger.reader.size).to.equal(1n);
    expect(recordKeys(ledger)).to.have.length(1);
  });
});
