/** The key ring out of records alone: what a stranger accepts, and every way to be lied to. */
import { generateKeyPairSync } from "node:crypto";
import { expect } from "chai";
import { describe, it } from "mocha";
import { parseHash, toBase64Url, type Hash } from "../../../src/core/bytes.ts";
import type { CborMap } from "../../../src/core/cbor/cbor.ts";
import { formatKeyRetirement, formatSigningKey } from "../../../src/core/record/kinds.ts";
import type { RecordBody } from "../../../src/core/record/record.ts";
import {
  applyKeyRecord,
  isKeyRecord,
  keyRetirementId,
  signingKeyId,
} from "../../../src/core/keys/key-records.ts";
import { walkKeys, type KeyRecord } from "../../../src/core/verify/key-walk.ts";
import {
  findSigner,
  keyState,
  newestKey,
  officeHolder,
  retireKey,
  type KeyRing,
  type Ed25519Role,
} from "../../../src/core/keys/ring.ts";
import { createSigner, type Signer } from "../../../src/crypto/signing/sign.ts";
import { verifyForeign } from "../../../src/core/keys/verify.ts";
import { prepareRecord, signRecord } from "../../../src/ledger/append/prepare.ts";
import { expectFault } from "./expect-fault.ts";
import { createWorld, openWorld, systemBody } from "../../contract/memory-ledger.ts";

const origin = "ledger.test";
const newSigner = (): Signer => createSigner(generateKeyPairSync("ed25519").privateKey);

const envelopeOf = async (body: RecordBody, signer: Signer, name = origin): Promise<Uint8Array> => {
  const prepared = prepareRecord(body);
  return (await signRecord(prepared, { signer, origin: name })).envelope;
};

const announcing = (
  signer: Signer,
  position: bigint,
  {
    role = "record",
    serial = 2,
    changes = {},
  }: { role?: Ed25519Role; serial?: number; changes?: object } = {},
): RecordBody => {
  const payload: CborMap = formatSigningKey({ role, publicKey: signer.publicKey, validFrom: position + 1n });
  return systemBody("signing_key", signingKeyId(role, serial), { ...payload, ...changes });
};

const retiring = (signer: Signer, from: bigint, role: Ed25519Role = "record"): RecordBody =>
  systemBody(
    "key_retirement",
    keyRetirementId(signer.thumbprint),
    formatKeyRetirement({ role, publicKey: signer.publicKey, from }),
  );

type Story = {
  readonly genesis: Hash;
  readonly first: KeyRecord;
  readonly old: Signer;
  readonly other: Signer;
};

/** The genesis record of a ledger, and its two keys. */
const begin = async (): Promise<Story> => {
  const world = await createWorld();
  await using ledger = await openWorld(world);
  const [first] = await ledger.reader.keyRecords();
  const { genesis, recordSigner: old, checkpointSigner: other } = world.options;
  return { genesis, first: first as KeyRecord, old, other };
};

const ringOf = async ({ genesis, first }: Story, ...later: readonly KeyRecord[]): Promise<KeyRing> =>
  (await walkKeys(genesis, [first, ...later], { verify: verifyForeign })).ring;

const refusalOf = async (story: Story, ...later: readonly KeyRecord[]): Promise<string> => {
  const { error } = await expectFault(() => ringOf(story, ...later));
  return error.kind === "recordCorrupt" ? `${error.position} ${error.step}: ${error.rule}` : error.kind;
};

describe("a walk of the keys", () => {
  it("follows each announcement to the next key, of both roles", async () => {
    const story = await begin();
    const [second, third, checkpoint] = [newSigner(), newSigner(), newSigner()];
    const ring = await ringOf(
      story,
      { position: 5n, envelope: await envelopeOf(announcing(second, 5n), story.old) },
      {
        position: 6n,
        envelope: await envelopeOf(announcing(checkpoint, 6n, { role: "checkpoint" }), second),
      },
      { position: 9n, envelope: await envelopeOf(announcing(third, 9n, { serial: 3 }), second) },
      { position: 12n, envelope: await envelopeOf(retiring(second, 8n), third) },
    );
    const table = ring.entries.map(({ role, validFrom, validTo, retiredFrom }) => [
      role,
      validFrom,
      validTo,
      retiredFrom,
    ]);
    expect(table).to.deep.equal([
      ["record", 0n, 5n, null],
      ["checkpoint", 0n, 6n, null],
      ["record", 6n, 7n, 8n],
      ["checkpoint", 7n, null, null],
      ["record", 10n, null, null],
    ]);
    expect(newestKey(ring, "record")?.publicKey).to.deep.equal(third.publicKey);
    expect(officeHolder(ring, "record", 8n)?.publicKey).to.deep.equal(second.publicKey);
    expect(findSigner(ring, "record", second.thumbprint, 7n).kind).to.equal("ok");
    expect(findSigner(ring, "record", second.thumbprint, 8n).kind).to.equal("refused");
  });

  it("refuses a record that an attacker signed anew with a key of its own, wherever it names that key", async () => {
    const story = await begin();
    const [attacker, second] = [newSigner(), newSigner()];
    const cases = [
      { position: 5n, envelope: await envelopeOf(announcing(second, 5n), attacker) },
      { position: 5n, envelope: await envelopeOf(announcing(attacker, 5n), attacker) },
    ];
    for (const record of cases) {
      expect(await refusalOf(story, record)).to.equal("5 key: signed by a key outside the key ring");
    }
    // The right key's name over the attacker's signature.
    const liar: Signer = { ...attacker, thumbprint: story.old.thumbprint };
    const forged = { position: 5n, envelope: await envelopeOf(announcing(attacker, 5n), liar) };
    expect(await refusalOf(story, forged)).to.equal("5 signature: the Ed25519 signature does not verify");
  });

  it("refuses the right key outside its positions, and a key of another role", async () => {
    const story = await begin();
    const [second, third] = [newSigner(), newSigner()];
    const announced = { position: 5n, envelope: await envelopeOf(announcing(second, 5n), story.old) };
    const late = announcing(third, 6n, { serial: 3 });
    const byOld = { position: 6n, envelope: await envelopeOf(late, story.old) };
    expect(await refusalOf(story, announced, byOld)).to.equal(
      "6 key: signed by a key that was valid up to position 5",
    );
    const byOther = { position: 5n, envelope: await envelopeOf(announcing(second, 5n), story.other) };
    expect(await refusalOf(story, byOther)).to.equal("5 key: signed by a checkpoint key, needs a record key");
  });

  it("refuses announcements and retirements that break a rule of theirs", async () => {
    const story = await begin();
    const second = newSigner();
    const cases: readonly (readonly [bigint, RecordBody, RegExp])[] = [
      [5n, announcing(second, 4n), /valid_from must be the position after/],
      [5n, announcing(second, 6n), /valid_from must be the position after/],
      [5n, announcing(second, 5n, { serial: 3 }), /id must be signing_key\/record\/2/],
      [5n, { ...announcing(second, 5n), prev: parseHash(new Uint8Array(32)) }, /prev must be null/],
      [5n, announcing(story.old, 5n), /already in the key ring/],
      [5n, announcing(story.other, 5n), /already in the key ring/],
      [5n, retiring(story.old, 3n), /is in use/],
      [5n, retiring(second, 3n), /is not in the key ring/],
      [5n, retiring(story.old, 6n), /must not lie past/],
      [5n, { ...retiring(story.old, 3n), id: "key_retirement/x" }, /id must be key_retirement/],
      [5n, systemBody("principal", "principal/x", principal), /says nothing about keys/],
    ];
    for (const [position, body, rule] of cases) {
      expect(await refusalOf(story, { position, envelope: await envelopeOf(body, story.old) })).to.match(
        rule,
      );
    }
  });

  it("refuses another genesis, another order and another origin", async () => {
    const story = await begin();
    const stranger = await begin();
    expect(await refusalOf({ ...story, genesis: stranger.genesis })).to.match(
      /^0 genesis: .* not the expected/,
    );
    const [second, third] = [newSigner(), newSigner()];
    const one = { position: 5n, envelope: await envelopeOf(announcing(second, 5n), story.old) };
    const two = { position: 9n, envelope: await envelopeOf(announcing(third, 9n, { serial: 3 }), second) };
    expect(await refusalOf(story, one, one)).to.equal("5 sequence: the records are not in ledger order");
    expect(await refusalOf(story, two, one)).to.match(/^9 key: signed by a key outside/);
    expect(await refusalOf({ ...story, first: one }, two)).to.match(/^0 genesis: the walk begins/);
    const elsewhere = await envelopeOf(announcing(second, 5n), story.old, "elsewhere.test");
    expect(await refusalOf(story, { position: 5n, envelope: elsewhere })).to.match(/another origin/);
  });

  it("names a retirement after the key it retires, and knows a record about keys by its kind and space", async () => {
    const { old } = await begin();
    expect(keyRetirementId(old.thumbprint)).to.equal(`key_retirement/${toBase64Url(old.thumbprint)}`);
    expect(isKeyRecord({ kind: "signing_key", space: "user" })).to.equal(false);
    expect(isKeyRecord({ kind: "principal", space: "system" })).to.equal(false);
    const ring = await ringOf(await begin());
    expect(applyKeyRecord(ring, 5n, systemBody("principal", "principal/x", principal))).to.equal(ring);
  });
});

const principal: CborMap = {
  public_keys: [newSigner().publicKey],
  loa: "guest",
  tenant: "acme",
  active: true,
};

describe("a key that is retired", () => {
  it("is believed up to the earlier of its end and its retirement, and never again for longer", async () => {
    const story = await begin();
    const second = newSigner();
    const announced = { position: 5n, envelope: await envelopeOf(announcing(second, 5n), story.old) };
    const ring = await ringOf(story, announced);
    const { publicKey } = story.old;
    const at = (from: bigint) => retireKey(ring, { role: "record", publicKey, from });
    expect(at(9n).entries[0]).to.include({ validTo: 5n, retiredFrom: 9n });
    expect(at(4n).entries[0]).to.include({ validTo: 3n, retiredFrom: 4n });
    expect(at(1n).entries[0]).to.include({ validTo: 0n, retiredFrom: 1n });
    expect(ring.entries.map(keyState)).to.deep.equal(["ended", "active", "active"]);
    expect(at(4n).entries.map(keyState)).to.deep.equal(["retired", "active", "active"]);
    for (const from of [4n, 5n]) {
      const again = () => retireKey(at(4n), { role: "record", publicKey, from });
      expect((await expectFault(again)).error.kind).to.equal("malformedKey");
    }
    for (const refused of [
      { role: "record", publicKey, from: 0n },
      { role: "checkpoint", publicKey, from: 4n },
      { role: "record", publicKey: second.publicKey, from: 9n },
      { role: "record", publicKey: newSigner().publicKey, from: 4n },
    ] as const) {
      expect((await expectFault(() => retireKey(ring, refused))).error.kind).to.equal("malformedKey");
    }
  });
});
