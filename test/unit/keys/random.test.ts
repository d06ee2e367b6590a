/** The pool of random bytes: nothing is handed out twice, nothing stays behind. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { createRandomPool, randomBytes } from "../../../src/crypto/random.ts";

describe("the pool of random bytes", () => {
  it("hands out each byte once, across fillings", () => {
    let counter = 0;
    const draw = createRandomPool((pool) => {
      for (let index = 0; index < pool.length; index += 4) {
        new DataView(pool.buffer).setUint32(index, (counter += 1));
      }
    });
    const seen = new Set<number>();
    for (let turn = 0; turn < 5000; turn += 1) {
      const bytes = draw(12);
      for (let index = 0; index < 12; index += 4) {
        const value = new DataView(bytes.buffer).getUint32(index);
        expect(value).to.be.greaterThan(0);
        expect(seen.has(value)).to.equal(false);
        seen.add(value);
      }
    }
  });

  it("erases behind itself what it handed out", () => {
    let held: Uint8Array = new Uint8Array(0);
    const draw = createRandomPool((pool) => {
      held = pool;
      pool.fill(7);
    });
    const drawn = draw(16);
    expect(drawn).to.deep.equal(new Uint8Array(16).fill(7));
    expect(held.subarray(0, 16)).to.deep.equal(new Uint8Array(16));
    expect(held[16]).to.equal(7);
  });

  it("fails rather than hand out what a failing source left", () => {
    const draw = createRandomPool(() => {
      throw new Error("no randomness");
    });
    expect(() => draw(12)).to.throw("no randomness");
    expect(() => draw(12)).to.throw("no randomness");
  });

  it("gives nonces that do not repeat", () => {
    const nonces = new Set(Array.from({ length: 20_000 }, () => randomBytes(12).toString()));
    expect(nonces.size).to.equal(20_000);
  });
});
