/** The strict verifier that keeps a key's multiples: it answers what noble answers. */
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { Point } from "@noble/ed25519";
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { concatBytes, parsePublicKey, toHex, type PublicKey } from "../../../src/core/bytes.ts";
import { KeyTable } from "../../../src/core/crypto/key-table.ts";
import { verifyAnew, verifyByTable, verifyStrict } from "../../../src/core/crypto/strict.ts";

const order = Point.CURVE().n;
const littleEndian = (value: bigint): Uint8Array =>
  Uint8Array.from({ length: 32 }, (_, index) => Number((value >> BigInt(8 * index)) & 0xffn));
const readLittleEndian = (bytes: Uint8Array): bigint => BigInt(`0x${toHex(bytes.toReversed())}`);
const newKey = () => {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = parsePublicKey(new Uint8Array(publicKey.export({ format: "der", type: "spki" }).subarray(-32)));
  const signed = (message: Uint8Array): Uint8Array => new Uint8Array(sign(null, message, privateKey));
  return { publicKey: raw, signed };
};

/** A point of order 8, and from it every point of small order. */
const torsion = Point.fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", true);
const smallOrder = Array.from({ length: 8 }, (_, times) => {
  let sum = Point.ZERO;
  for (let time = 0; time < times; time += 1) sum = sum.add(torsion);
  return sum;
});

/** S = r + H(R, A, M)·a by hand, over any R and any A of which a is known up to small order. */
const handmade = (message: Uint8Array, extraR: Point, extraA: Point, r = 987_654_321n) => {
  const a = 123_456_789n;
  const publicKey = parsePublicKey(Point.BASE.multiply(a).add(extraA).toBytes());
  const point = (r === 0n ? extraR : Point.BASE.multiply(r).add(extraR)).toBytes();
  const hash = createHash("sha512")
    .update(concatBytes(point, publicKey, message))
    .digest();
  const s = (r + (readLittleEndian(new Uint8Array(hash)) % order) * a) % order;
  return { publicKey, signature: concatBytes(point, littleEndian(s)) };
};

const expectSame = async (
  publicKey: PublicKey,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> => {
  const anew = await verifyAnew(publicKey, message, signature);
  const byTable = await verifyByTable(KeyTable.of(publicKey))(publicKey, message, signature);
  expect(byTable, toHex(signature)).to.equal(anew);
  return anew;
};

const message = new TextEncoder().encode("a message");

describe("strict verification by a table", () => {
  it("multiplies as noble does, by every scalar below the order", () => {
    const point = Point.BASE.multiply(31_337n);
    const table = KeyTable.of(point.toBytes());
    const edges = [1n, 7n, 8n, 9n, 15n, 16n, 136n, 2n ** 252n - 1n, 2n ** 252n, order - 2n, order - 1n];
    const allEights = BigInt(`0x8${"8".repeat(61)}`);
    for (const scalar of [...edges, allEights, allEights + 1n])
      expect(table.times(scalar).equals(point.multiply(scalar, false)), `${scalar}`).to.equal(true);
    expect(table.times(0n).is0()).to.equal(true);
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: order - 1n }), (scalar) =>
        table.times(scalar).equals(point.multiply(scalar, false)),
      ),
      { numRuns: 60 },
    );
    expect(() => table.times(2n ** 256n)).to.throw(RangeError);
  });

  it("accepts what noble accepts, and refuses a flip of any bit, a raised S and another length", async () => {
    const { publicKey, signed } = newKey();
    const signature = signed(message);
    expect(await expectSame(publicKey, message, signature)).to.equal(true);
    const verify = verifyByTable(KeyTable.of(publicKey));
    for (let bit = 0; bit < 512; bit += 5) {
      const at = bit >> 3;
      const flipped = signature.with(at, (signature[at] ?? 0) ^ (1 << (bit & 7)));
      expect(await verify(publicKey, message, flipped), `bit ${bit}`).to.equal(false);
    }
    const raised = littleEndian(readLittleEndian(signature.subarray(32)) + order);
    expect(await expectSame(publicKey, message, concatBytes(signature.subarray(0, 32), raised))).to.equal(
      false,
    );
    expect(await expectSame(publicKey, message, signature.subarray(1))).to.equal(false);
    expect(await expectSame(publicKey, message.with(0, 0), signature)).to.equal(false);
    expect(await expectSame(publicKey, message, new Uint8Array(64))).to.equal(false);
  });

  it("answers as noble where a part of small order is in R, in the key, or in both", async () => {
    const outcomes = new Set<boolean>();
    for (const extraR of smallOrder) {
      for (const extraA of smallOrder) {
        const { publicKey, signature } = handmade(message, extraR, extraA);
        outcomes.add(await expectSame(publicKey, message, signature));
      }
    }
    // The cofactor takes it out of either: that such a signature does not count is OpenSSL's word.
    expect([...outcomes]).to.deep.equal([true]);
  });

  it("answers as noble where R is no canonical point, or one of small order", async () => {
    const { publicKey } = newKey();
    const prime = 2n ** 255n - 19n;
    const encodings = [prime, prime + 1n, 2n ** 255n - 1n, 2n].map(littleEndian);
    for (const r of [...encodings, ...smallOrder.map((point) => point.toBytes())])
      expect(await expectSame(publicKey, message, concatBytes(r, littleEndian(5n)))).to.equal(false);
    // Its equation holds, by the cofactor.
    for (const point of smallOrder) {
      const forged = handmade(message, point, Point.ZERO, 0n);
      expect(await expectSame(forged.publicKey, message, forged.signature)).to.equal(false);
    }
  });

  it("makes no table of a point of small order, nor of what is no point", () => {
    for (const point of smallOrder) expect(() => KeyTable.of(point.toBytes())).to.throw();
    expect(() => KeyTable.of(littleEndian(2n))).to.throw();
    expect(() => KeyTable.of(littleEndian(2n ** 255n - 18n))).to.throw();
  });

  it("goes on refusing and accepting once a key has its table, whatever its caller's bytes become", async () => {
    const [one, other] = [newKey(), newKey()];
    for (let time = 0; time < 12; time += 1) {
      const [said, bytes] = [Uint8Array.of(time), Uint8Array.from(one.publicKey)];
      const verifying = verifyStrict(bytes as PublicKey, said, one.signed(said));
      bytes.set(other.publicKey);
      expect(await verifying, `${time}`).to.equal(true);
      expect(await verifyStrict(one.publicKey, said, other.signed(said)), `${time}`).to.equal(false);
      expect(await verifyStrict(other.publicKey, said, one.signed(said)), `${time}`).to.equal(false);
      expect(await verifyStrict(one.publicKey, Uint8Array.of(time, 1), one.signed(said))).to.equal(false);
    }
  });

  it("answers for more keys than it keeps tables of", async () => {
    const keys = Array.from({ length: 70 }, newKey);
    for (let time = 0; time < 5; time += 1) {
      for (const { publicKey, signed } of keys)
        expect(await verifyStrict(publicKey, message, signed(message))).to.equal(true);
    }
  }).timeout(60_000);
});
