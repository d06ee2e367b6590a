/** `#crypto` without OpenSSL: the same hashes, and the same foreign signatures accepted and refused as under Node. */
import { createHash, createPrivateKey, generateKeyPairSync, sign } from "node:crypto";
import { Point } from "@noble/ed25519";
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { concatBytes, parsePublicKey, type PublicKey } from "../../../src/core/bytes.ts";
import * as openssl from "../../../src/core/crypto/openssl.ts";
import * as portable from "../../../src/core/crypto/portable.ts";
import type { Verify } from "../../../src/core/crypto/strict.ts";

const order = 2n ** 252n + 27742317777372353535851937790883648493n;
const littleEndian = (value: bigint): Uint8Array =>
  Uint8Array.from({ length: 32 }, (_, index) => Number((value >> BigInt(8 * index)) & 0xffn));
const readLittleEndian = (bytes: Uint8Array): bigint =>
  bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);

/** A point of order 8, from a vector of the small-order points of the curve. */
const torsion = Point.fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", true);

const isAccepted = async (
  verifiers: readonly Verify[],
  key: PublicKey,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> => {
  for (const verify of verifiers) if (!(await verify(key, message, signature))) return false;
  return true;
};

const expectSame = async (key: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean> => {
  const publicKey = parsePublicKey(key);
  const under = await isAccepted(openssl.foreignVerifiers, publicKey, message, signature);
  expect(await isAccepted(portable.foreignVerifiers, publicKey, message, signature)).to.equal(under);
  return under;
};

const newKey = () => {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const { x = "" } = publicKey.export({ format: "jwk" });
  return { privateKey, publicKey: new Uint8Array(Buffer.from(x, "base64url")) };
};

describe("#crypto without OpenSSL", () => {
  it("hashes as OpenSSL does", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(portable.sha256(bytes)).to.deep.equal(openssl.sha256(bytes));
      }),
    );
  });

  it("accepts a good signature, and refuses it with any byte flipped, its S raised or its length another", async () => {
    const { privateKey, publicKey } = newKey();
    const message = new TextEncoder().encode("a message");
    const signature = new Uint8Array(sign(null, message, privateKey));
    expect(await expectSame(publicKey, message, signature)).to.equal(true);
    for (let index = 0; index < signature.length; index += 7) {
      const flipped = signature.with(index, (signature[index] ?? 0) ^ 1);
      expect(await expectSame(publicKey, message, flipped), `byte ${index}`).to.equal(false);
    }
    const s = readLittleEndian(signature.subarray(32));
    const raised = concatBytes(signature.subarray(0, 32), littleEndian(s + order));
    expect(await expectSame(publicKey, message, raised)).to.equal(false);
    expect(await expectSame(publicKey, message, signature.subarray(1))).to.equal(false);
    expect(await expectSame(publicKey, new Uint8Array(0), signature)).to.equal(false);
  });

  it("refuses what a key or an R of small order, or with a part of it, would let through", async () => {
    // Under a key of small order, R = the identity and S = 0 satisfy the equation for every eighth message or so.
    const identity = Point.ZERO.toBytes();
    const zero = new Uint8Array(32);
    for (const [key, r] of [
      [torsion.toBytes(), identity],
      [torsion.double().toBytes(), identity],
      [identity, identity],
      [identity, torsion.toBytes()],
    ] as const) {
      for (let at = 0; at < 16; at += 1) {
        expect(await expectSame(key, Uint8Array.of(at), concatBytes(r, zero))).to.equal(false);
      }
    }
    // R with a part of small order added: the cofactored equation holds, the strict one does not.
    const { privateKey, publicKey } = newKey();
    const seed = createPrivateKey(privateKey.export({ format: "pem", type: "pkcs8" }));
    const digest = createHash("sha512")
      .update(Buffer.from(seed.export({ format: "jwk" }).d ?? "", "base64url"))
      .digest();
    const scalar = readLittleEndian(
      Uint8Array.from(digest.subarray(0, 32), (byte, at) =>
        at === 0 ? byte & 248 : at === 31 ? (byte & 127) | 64 : byte,
      ),
    );
    const message = new TextEncoder().encode("mixed");
    const mixed = Point.BASE.multiply(7n).add(torsion).toBytes();
    const k =
      readLittleEndian(createHash("sha512").update(mixed).update(publicKey).update(message).digest()) % order;
    const signature = concatBytes(mixed, littleEndian((7n + k * scalar) % order));
    expect(await expectSame(publicKey, message, signature)).to.equal(false);
  });
});
