/** What a client believes of a record: every lie of a server that holds all of its own keys but one. */
import { sha256 } from "@sigil/core/hash";
import { generateKeyPairSync } from "node:crypto";
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { KeyWalk, ProofError, type RecordEvidence } from "@sigil/client";
import { cborDecode, cborEncode } from "../../../src/core/cbor/cbor.ts";
import { entryOf } from "../../../src/core/record/record.ts";
import { createSigner, type Signer } from "../../../src/crypto/signing/sign.ts";
import { prepareRecord, signRecord } from "../../../src/ledger/append/prepare.ts";
import { signCheckpoint } from "../../../src/core/merkle/checkpoint.ts";
import { leafHash, nodeHash } from "../../../src/core/merkle/hash.ts";
import { createWorld, openWorld, userBody, type World } from "../../contract/memory-ledger.ts";

describe("a client's walk", () => {
  let world: World;
  let origin = "";
  let walk: KeyWalk;
  let genesisEnvelope: Uint8Array;

  before(async () => {
    world = await createWorld();
    await using ledger = await openWorld(world);
    ({ origin } = ledger.reader);
    const records = await ledger.reader.keyRecords();
    genesisEnvelope = records[0]?.envelope ?? new Uint8Array(0);
    walk = await KeyWalk.of(
      world.options.genesis,
      records.map(({ position, envelope }) => ({ ledgerPosition: position, envelope })),
    );
  });

  const envelopeBy = async (signer: Signer, name = origin): Promise<Uint8Array> => {
    const prepared = prepareRecord(userBody("a"));
    return (await signRecord(prepared, { signer, origin: name })).envelope;
  };

  /** At position 1 of a tree of two, under a checkpoint: everything a server can make that has the keys. */
  const evidenceOf = async (
    envelope: Uint8Array,
    by = world.options.checkpointSigner,
  ): Promise<RecordEvidence> => {
    const [first, second] = [genesisEnvelope, envelope].map((each) => leafHash(entryOf(each)));
    if (first === undefined || second === undefined) throw new Error("two leaves");
    const checkpoint = await signCheckpoint({ origin, size: 2n, root: nodeHash(first, second) }, by);
    return { position: 1n, envelope, checkpoint, inclusionProof: [first] };
  };

  const refusalOf = (evidence: RecordEvidence): Promise<string> =>
    walk.verifyRecord(evidence).then(
      () => "it was believed",
      (error: unknown) => (error instanceof ProofError ? error.message : String(error)),
    );

  it("believes a record that holds", async () => {
    const record = await walk.verifyRecord(await evidenceOf(await envelopeBy(world.options.recordSigner)));
    expect(record).to.include({ position: 1n, kind: "user_data", id: userBody("a").id });
    expect(record.signedBy.publicKey).to.deep.equal(world.options.recordSigner.publicKey);
  });

  it("refuses one in the tree whose signature does not verify", async () => {
    const envelope = await envelopeBy(world.options.recordSigner);
    const [statement, attestations] = cborDecode(envelope) as readonly [Uint8Array, readonly Uint8Array[]];
    const altered = statement.with(statement.length - 5, (statement.at(-5) ?? 0) ^ 1);
    const evidence = await evidenceOf(cborEncode([altered, attestations]));
    expect(await refusalOf(evidence)).to.match(/record at position 1 fails signature/);
  });

  it("refuses one that another key signed, one of another role among them", async () => {
    const stranger = createSigner(generateKeyPairSync("ed25519").privateKey);
    expect(await refusalOf(await evidenceOf(await envelopeBy(stranger)))).to.match(/outside the key ring/);
    const { checkpointSigner } = world.options;
    const refused = await refusalOf(await evidenceOf(await envelopeBy(checkpointSigner)));
    expect(refused).to.match(/signed by a checkpoint key, needs a record key/);
  });

  it("refuses one of another origin, at another place or under another's checkpoint", async () => {
    const { recordSigner } = world.options;
    const evidence = await evidenceOf(await envelopeBy(recordSigner));
    expect(await refusalOf(await evidenceOf(await envelopeBy(recordSigner, "other.test")))).to.match(
      /origin/,
    );
    expect(await refusalOf({ ...evidence, position: 0n })).to.match(/record at position 0 fails inclusion/);
    expect(await refusalOf({ ...evidence, inclusionProof: [] })).to.match(
      /record at position 1 fails inclusion/,
    );
    const forged = await evidenceOf(await envelopeBy(recordSigner), recordSigner);
    expect(await refusalOf(forged)).to.match(/must be signed by the log's key/);
  });

  it("refuses checkpoints of a key that was retired, from there on, though it held the office", async () => {
    const other = await createWorld();
    await using ledger = await openWorld(other);
    const { checkpointSigner: first, genesis } = other.options;
    await ledger.rotateKey("checkpoint");
    await ledger.retireKey(first.thumbprint, 1n);
    const records = await ledger.reader.keyRecords();
    const later = await KeyWalk.of(
      genesis,
      records.map(({ position, envelope }) => ({ ledgerPosition: position, envelope })),
    );
    const signed = async (size: bigint): Promise<string> => {
      const root = sha256(Uint8Array.of(Number(size)));
      const note = await signCheckpoint({ origin: ledger.reader.origin, size, root }, first);
      return later.verifyCheckpoint(note).then(
        () => "believed",
        (error: unknown) => (error instanceof ProofError ? error.message : String(error)),
      );
    };
    expect(await signed(1n), "before").to.equal("believed");
    expect(await signed(2n), "in office, retired").to.match(
      /of size 2 is signed by a key that was valid up to/,
    );
    expect(await signed(3n), "its successor's").to.match(/must be signed by the log's key/);
    expect((await later.verifyCheckpoint(ledger.reader.checkpoint.note)).size).to.equal(ledger.reader.size);
  });
});
