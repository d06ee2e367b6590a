/** The one suite that every key-encryption key passes, whoever works its cipher. */
import { expect } from "chai";
import { randomBytes } from "node:crypto";
import { after, before, describe, it } from "mocha";
import { toHex } from "../../src/core/bytes.ts";
import type { Kek } from "../../src/crypto/wrapping/wrap.ts";
import { expectFault } from "../unit/keys/expect-fault.ts";

export type KekPair = { readonly kek: Kek; readonly other: Kek; readonly remove: () => Promise<void> };

const secret = Uint8Array.from(randomBytes(32));
const purpose = "data/acme/1";

export const kekContract = (name: string, makePair: () => Promise<KekPair>): void => {
  describe(`a key-encryption key: ${name}`, () => {
    let pair: KekPair;
    before(async () => {
      pair = await makePair();
    });
    after(() => pair.remove());

    const refused = async (kek: Kek, named: string, wrapped: Uint8Array): Promise<void> => {
      const fault = await expectFault(() => kek.unwrap(named, wrapped));
      expect(fault.error.kind).to.equal("keyUnavailable");
      expect(fault.message).to.not.contain(toHex(secret));
    };

    it("gives a secret of any length back, and another wrapping each time", async () => {
      for (const length of [1, 31, 32, 48, 83, 4096]) {
        const given = Uint8Array.from(randomBytes(length));
        const before = toHex(given);
        const wrapped = await pair.kek.wrap(purpose, given);
        expect(toHex(await pair.kek.unwrap(purpose, wrapped))).to.equal(before);
        expect(toHex(await pair.kek.wrap(purpose, given))).to.not.equal(toHex(wrapped));
        expect(wrapped.length).to.equal(12 + length + 16);
        expect(toHex(given), "the caller's own").to.equal(before);
      }
    });

    it("does many at once without mixing them up", async () => {
      const all = Array.from({ length: 40 }, (_, index) => index);
      const wrapped = await Promise.all(
        all.map((index) => pair.kek.wrap(`data/acme/${index}`, new Uint8Array(32).fill(index))),
      );
      const opened = await Promise.all(
        wrapped.map((each, index) => pair.kek.unwrap(`data/acme/${index}`, each)),
      );
      for (const index of all) expect(opened[index]).to.deep.equal(new Uint8Array(32).fill(index));
    });

    it("refuses another purpose, another key, a flipped bit and every shortening", async () => {
      const wrapped = await pair.kek.wrap(purpose, secret);
      await refused(pair.kek, "data/acme/2", wrapped);
      await refused(pair.other, purpose, wrapped);
      for (let bit = 0; bit < wrapped.length * 8; bit += 1) {
        const flipped = Uint8Array.from(wrapped);
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        await refused(pair.kek, purpose, flipped);
      }
      for (let length = 0; length < wrapped.length; length += 1) {
        await refused(pair.kek, purpose, wrapped.subarray(0, length));
      }
      expect(await pair.kek.unwrap(purpose, wrapped)).to.deep.equal(secret);
    });
  });
};
