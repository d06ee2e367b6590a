/** Which keys are fit to be enrolled, and which signatures count. */
import { expect } from "chai";
import { createHash, createPrivateKey, generateKeyPairSync } from "node:crypto";
import { Point } from "@noble/ed25519";
import { describe, it } from "mocha";
import {
  concatBytes,
  fromHex,
  parsePublicKey,
  parseSignature,
  toHex,
  type PublicKey,
  type Signature,
} from "../../../src/core/bytes.ts";
import { createSigner } from "../../../src/crypto/signing/sign.ts";
import { checkPublicKey, remembering, verifyByAll, verifyForeign } from "../../../src/core/keys/verify.ts";
import { foreignVerifiers, verifyOwn } from "../../../src/core/crypto/openssl.ts";
import { verifyStrict } from "../../../src/core/crypto/strict.ts";
import { expectFault } from "./expect-fault.ts";

const prime = 2n ** 255n - 19n;
const order = 2n ** 252n + 27742317777372353535851937790883648493n;

const littleEndian = (value: bigint): Uint8Array =>
  fromHex(value.toString(16).padStart(64, "0")).toReversed();
const readLittleEndian = (bytes: Uint8Array): bigint => BigInt(`0x${toHex(bytes.toReversed())}`);
/** y in 255 bits and the sign of x in the last. */
const encodePoint = (y: bigint, sign: 0 | 1): Uint8Array => littleEndian(y + (sign === 1 ? 2n ** 255n : 0n));

const order8y = [
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
].map((hex) => readLittleEndian(fromHex(hex)));

/** The eight points whose order divides the cofactor, as they are encoded canonically. */
const smallOrder: readonly (readonly [string, Uint8Array])[] = [
  ["order 1", encodePoint(1n, 0)],
  ["order 2", encodePoint(prime - 1n, 0)],
  ["order 4", encodePoint(0n, 0)],
  ["order 4, negative", encodePoint(0n, 1)],
  ...order8y.flatMap((y, index): readonly (readonly [string, Uint8Array])[] => [
    [`order 8, ${index}`, encodePoint(y, 0)],
    [`order 8, ${index}, negative`, encodePoint(y, 1)],
  ]),
];

const pair = generateKeyPairSync("ed25519");
const signer = createSigner(pair.privateKey);
const message = Uint8Array.of(1, 2, 3);

describe("checkPublicKey", () => {
  it("accepts the keys that key generation makes", () => {
    for (let round = 0; round < 20; round += 1) {
      const { publicKey } = createSigner(generateKeyPairSync("ed25519").privateKey);
      expect(checkPublicKey(publicKey)).to.deep.equal(publicKey);
    }
  });

  it("copies what it was given", () => {
    const raw = Uint8Array.from(signer.publicKey);
    const checked = checkPublicKey(raw);
    raw.fill(0);
    expect(checked).to.deep.equal(signer.publicKey);
  });

  it("knows eight distinct points of small order", () => {
    expect(new Set(smallOrder.map(([, raw]) => toHex(raw))).size).to.equal(8);
    for (const [, raw] of smallOrder)
      expect(Point.fromBytes(raw, false).clearCofactor().is0()).to.equal(true);
  });

  for (const [name, raw] of smallOrder) {
    it(`refuses the point of ${name}`, async () => {
      const { error } = await expectFault(() => checkPublicKey(raw));
      expect(error).to.deep.equal({ kind: "malformedKey", rule: "must not be a point of small order" });
    });
  }

  const canonicalRule = "must be the canonical encoding of a point on Ed25519";

  it("refuses every encoding with y from p to 2^255 − 1, in both signs", async () => {
    for (let y = prime; y < 2n ** 255n; y += 1n) {
      for (const sign of [0, 1] as const) {
        const { error } = await expectFault(() => checkPublicKey(encodePoint(y, sign)));
        expect(error, `${y - prime}`).to.deep.equal({ kind: "malformedKey", rule: canonicalRule });
      }
    }
  });

  it("refuses a negative zero", async () => {
    for (const y of [1n, prime - 1n]) {
      const { error } = await expectFault(() => checkPublicKey(encodePoint(y, 1)));
      expect(error).to.deep.equal({ kind: "malformedKey", rule: canonicalRule });
    }
  });

  it("refuses a y that is not on the curve", async () => {
    const { error } = await expectFault(() => checkPublicKey(encodePoint(2n, 0)));
    expect(error).to.deep.equal({ kind: "malformedKey", rule: canonicalRule });
  });

  it("refuses a good key with a part of small order added", async () => {
    for (const [name, raw] of smallOrder.slice(1)) {
      const mixed = Point.fromBytes(signer.publicKey).add(Point.fromBytes(raw)).toBytes();
      // Again, too: what is remembered are good keys.
      for (const time of ["first", "second"]) {
        const { error } = await expectFault(() => checkPublicKey(mixed));
        expect(error, `${name}, the ${time} time`).to.deep.equal({
          kind: "malformedKey",
          rule: "must lie in the group of prime order",
        });
      }
    }
  });

  it("refuses any other length", async () => {
    for (const length of [0, 31, 33, 64]) {
      const { error } = await expectFault(() => checkPublicKey(new Uint8Array(length)));
      expect(error.kind).to.equal("malformedKey");
    }
  });
});

/** A signature made by hand: R = r·B + extra, S = r + H(R, A, M)·a. */
const handmade = (
  extra: Point,
  r = 987_654_321n,
): { readonly publicKey: PublicKey; readonly signature: Signature } => {
  const a = 123_456_789n;
  const publicKey = parsePublicKey(Point.BASE.multiply(a).toBytes());
  const point = (r === 0n ? extra : Point.BASE.multiply(r).add(extra)).toBytes();
  const digest = createHash("sha512")
    .update(concatBytes(point, publicKey, message))
    .digest();
  const s = (r + (readLittleEndian(digest) % order) * a) % order;
  return { publicKey, signature: parseSignature(concatBytes(point, littleEndian(s))) };
};

describe("verifying", () => {
  it("reproduces a vector of RFC 8032 §7.1 and accepts it both ways", async () => {
    const der = concatBytes(
      fromHex("302e020100300506032b657004220420"),
      fromHex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
    );
    const known = createSigner(createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" }));
    const signature = await known.sign(Uint8Array.of(0x72));
    expect(toHex(known.publicKey)).to.equal(
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    );
    expect(toHex(signature)).to.equal(
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da" +
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    );
    expect(await verifyOwn(known.publicKey, Uint8Array.of(0x72), signature)).to.equal(true);
    expect(await verifyForeign(known.publicKey, Uint8Array.of(0x72), signature)).to.equal(true);
  });

  it("refuses another message, another key and a flip of any byte", async () => {
    const signature = await signer.sign(message);
    const other = createSigner(generateKeyPairSync("ed25519").privateKey).publicKey;
    expect(await verifyOwn(signer.publicKey, Uint8Array.of(1, 2, 4), signature)).to.equal(false);
    expect(await verifyOwn(other, message, signature)).to.equal(false);
    for (let index = 0; index < 64; index += 1) {
      const flipped = Uint8Array.from(signature);
      flipped[index] = (flipped[index] ?? 0) ^ 1;
      expect(await verifyOwn(signer.publicKey, message, flipped), `byte ${index}`).to.equal(false);
      expect(await verifyForeign(signer.publicKey, message, flipped), `byte ${index}`).to.equal(false);
    }
  });

  it("answers false for a signature of another length", async () => {
    for (const length of [0, 63, 65]) {
      expect(await verifyOwn(signer.publicKey, message, new Uint8Array(length))).to.equal(false);
      expect(await verifyForeign(signer.publicKey, message, new Uint8Array(length))).to.equal(false);
    }
  });

  it("refuses a signature whose S was raised by the group order", async () => {
    const signature = await signer.sign(message);
    const raised = littleEndian(readLittleEndian(signature.subarray(32)) + order);
    const malleable = concatBytes(signature.subarray(0, 32), raised);
    expect(await verifyOwn(signer.publicKey, message, malleable)).to.equal(false);
    expect(await verifyForeign(signer.publicKey, message, malleable)).to.equal(false);
  });

  it("does not count a signature by a key of small order, however encoded, though its equation holds", async () => {
    const nonCanonical = [prime, prime + 1n].flatMap((y) => [encodePoint(y, 0), encodePoint(y, 1)]);
    const forged = concatBytes(Point.BASE.multiply(7n).toBytes(), littleEndian(7n));
    for (const raw of [...smallOrder.map(([, point]) => point), ...nonCanonical]) {
      expect(await verifyForeign(parsePublicKey(raw), message, forged), toHex(raw)).to.equal(false);
      expect(await verifyStrict(parsePublicKey(raw), message, forged), toHex(raw)).to.equal(false);
    }
  });

  it("does not count a signature whose R is of small order, whatever OpenSSL thinks of it", async () => {
    for (const [name, raw] of smallOrder) {
      const { publicKey, signature } = handmade(Point.fromBytes(raw), 0n);
      expect(await verifyStrict(publicKey, message, signature), name).to.equal(false);
      expect(await verifyForeign(publicKey, message, signature), name).to.equal(false);
    }
  });

  it("counts a foreign signature only when both implementations accept it", async () => {
    expect(foreignVerifiers).to.deep.equal([verifyOwn, verifyStrict]);
    const signature = await signer.sign(message);
    const yes = (): Promise<boolean> => Promise.resolve(true);
    const no = (): Promise<boolean> => Promise.resolve(false);
    const cases = [
      [[yes, yes], true],
      [[yes, no], false],
      [[no, yes], false],
      [[], false],
    ] as const;
    for (const [verifiers, wanted] of cases) {
      expect(await verifyByAll(verifiers)(signer.publicKey, message, signature)).to.equal(wanted);
    }
  });

  it("verifies accepted bytes once, any other bytes and refused ones each time", async () => {
    const signature = await signer.sign(message);
    const other = createSigner(generateKeyPairSync("ed25519").privateKey).publicKey;
    let asked = 0;
    const verify = remembering((...given) => ((asked += 1), verifyOwn(...given)));
    for (const [key, signed, wanted, times] of [
      [signer.publicKey, message, true, 1],
      [signer.publicKey, message, true, 1],
      [signer.publicKey, Uint8Array.of(1, 2, 4), false, 2],
      [signer.publicKey, Uint8Array.of(1, 2, 4), false, 3],
      [other, message, false, 4],
    ] as const) {
      expect([await verify(key, signed, signature), asked]).to.deep.equal([wanted, times]);
    }
    for (let index = 0; index < 64; index += 1) {
      const flipped = Uint8Array.from(signature);
      flipped[index] = (flipped[index] ?? 0) ^ 1;
      expect(await verify(signer.publicKey, message, flipped), `byte ${index}`).to.equal(false);
    }
  });

  it("remembers what was verified, not what its caller made of the bytes meanwhile", async () => {
    const [signature, changed] = [await signer.sign(message), Uint8Array.from(message)];
    const verify = remembering(verifyOwn);
    const verifying = verify(signer.publicKey, changed, signature);
    changed[0] = (changed[0] ?? 0) ^ 1;
    expect(await verifying).to.equal(true);
    expect(await verify(signer.publicKey, changed, signature)).to.equal(false);
    expect(await verify(signer.publicKey, message, signature)).to.equal(true);
  });

  it("does not count a foreign signature that only the strict implementation accepts", async () => {
    const plain = handmade(Point.ZERO);
    expect(await verifyForeign(plain.publicKey, message, plain.signature)).to.equal(true);
    const [, [, torsion] = []] = smallOrder;
    const mixed = handmade(Point.fromBytes(torsion ?? new Uint8Array()));
    expect(await verifyOwn(mixed.publicKey, message, mixed.signature)).to.equal(false);
    expect(await verifyStrict(mixed.publicKey, message, mixed.signature)).to.equal(true);
    expect(await verifyForeign(mixed.publicKey, message, mixed.signature)).to.equal(false);
  });
});
