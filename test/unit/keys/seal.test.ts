/** Sealed records open where they were put, whole, and nowhere else. */
import { expect } from "chai";
import { createDecipheriv, createSecretKey, randomBytes } from "node:crypto";
import { describe, it } from "mocha";
import { concatBytes, utf8Encode } from "../../../src/core/bytes.ts";
import { openRecord, sealedKeyVersion, sealRecord, type SealPlace } from "../../../src/crypto/seal.ts";
import { expectFault } from "./expect-fault.ts";

const rawKey = randomBytes(32);
const place: SealPlace = {
  dataKey: createSecretKey(rawKey),
  keyVersion: 3,
  origin: "sigil.example/one",
  position: 5_000_000_000n,
  tenant: "acme",
  form: 1,
};
const nonce = Uint8Array.from({ length: 12 }, (_, index) => index);
const envelope = utf8Encode("an envelope of some length");
const sealed = sealRecord(envelope, { ...place, nonce });

const seal = { kind: "recordCorrupt", step: "seal" };

describe("sealing", () => {
  it("opens to the same bytes, also when empty", () => {
    expect(openRecord(sealed, place)).to.deep.equal(envelope);
    const empty = sealRecord(new Uint8Array(), { ...place, nonce });
    expect(openRecord(empty, place)).to.deep.equal(new Uint8Array());
  });

  it("lays out version, nonce, ciphertext and tag, with the place as canonical CBOR beside them", () => {
    expect(sealed.subarray(0, 4)).to.deep.equal(Uint8Array.of(0, 0, 0, 3));
    expect(sealed.subarray(4, 16)).to.deep.equal(nonce);
    expect(sealed.length).to.equal(4 + 12 + envelope.length + 16);
    expect(sealedKeyVersion(sealed, 0n)).to.equal(3);
    // Written by hand from RFC 8949: array of 5, three texts, a 64-bit and a small integer.
    const text = (value: string): Uint8Array =>
      concatBytes(Uint8Array.of(0x60 + value.length), utf8Encode(value));
    const additional = concatBytes(
      Uint8Array.of(0x85),
      text("sigil/seal/v1"),
      text("sigil.example/one"),
      Uint8Array.of(0x1b, 0, 0, 0, 1, 0x2a, 0x05, 0xf2, 0x00),
      text("acme"),
      Uint8Array.of(3),
    );
    const opening = createDecipheriv("aes-256-gcm", rawKey, nonce);
    opening.setAAD(additional);
    opening.setAuthTag(sealed.subarray(-16));
    const opened = Buffer.concat([opening.update(sealed.subarray(16, -16)), opening.final()]);
    expect(Uint8Array.from(opened)).to.deep.equal(envelope);
  });

  it("refuses a flip of any single bit", async () => {
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const flipped = Uint8Array.from(sealed);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const { error } = await expectFault(() => openRecord(flipped, place));
      expect(error, `bit ${bit}`).to.include({ ...seal, position: place.position });
    }
  });

  it("refuses every shortening and a byte too many", async () => {
    for (let length = 0; length < sealed.length; length += 1) {
      const { error } = await expectFault(() => openRecord(sealed.subarray(0, length), place));
      expect(error).to.include(seal);
    }
    const longer = concatBytes(sealed, Uint8Array.of(0));
    expect((await expectFault(() => openRecord(longer, place))).error).to.include(seal);
  });

  const elsewhere: Readonly<Record<string, Partial<SealPlace>>> = {
    "another position": { position: place.position + 1n },
    "another tenant": { tenant: "acm" },
    "another deployment": { origin: "sigil.example/two" },
    "another key version": { keyVersion: 4 },
    "another data key": { dataKey: createSecretKey(randomBytes(32)) },
  };
  for (const [name, change] of Object.entries(elsewhere)) {
    it(`refuses a value moved to ${name}`, async () => {
      expect((await expectFault(() => openRecord(sealed, { ...place, ...change }))).error).to.include(seal);
    });
  }

  it("refuses a value whose version was rewritten to that of another key", async () => {
    const renamed = Uint8Array.from(sealed);
    renamed[3] = 4;
    const { error } = await expectFault(() => openRecord(renamed, { ...place, keyVersion: 4 }));
    expect(error).to.include(seal);
  });

  it("refuses a split between origin and tenant that spells the same text", async () => {
    const one = sealRecord(envelope, { ...place, origin: "ab", tenant: "c", nonce });
    const moved = { ...place, origin: "a", tenant: "bc" };
    expect((await expectFault(() => openRecord(one, moved))).error).to.include(seal);
  });
});
