/** Which key was valid, for which role, at which position. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { parsePublicKey, parseThumbprint } from "../../../src/core/bytes.ts";
import {
  addKey,
  emptyRing,
  findSigner,
  newestKey,
  type KeyRing,
  type Ed25519Role,
} from "../../../src/core/keys/ring.ts";
import { expectFault } from "./expect-fault.ts";

const key = (name: number, role: Ed25519Role, validFrom: bigint) => ({
  role,
  publicKey: parsePublicKey(new Uint8Array(32).fill(name)),
  thumbprint: parseThumbprint(new Uint8Array(32).fill(name)),
  validFrom,
});
const kid = (name: number): Uint8Array => new Uint8Array(32).fill(name);

const ring = [key(1, "record", 0n), key(2, "checkpoint", 0n), key(3, "record", 100n)].reduce(
  (built, each) => addKey(built, each),
  emptyRing,
);

const answer = (role: Ed25519Role, name: number, position: bigint): string => {
  const outcome = findSigner(ring, role, kid(name), position);
  return outcome.kind === "ok" ? "ok" : outcome.rule;
};

describe("key ring", () => {
  it("finds a key for its role at its first and last position", () => {
    expect(answer("record", 1, 0n)).to.equal("ok");
    expect(answer("record", 1, 99n)).to.equal("ok");
    expect(answer("record", 3, 100n)).to.equal("ok");
    expect(answer("record", 3, 2n ** 60n)).to.equal("ok");
    expect(answer("checkpoint", 2, 100n)).to.equal("ok");
  });

  it("refuses a key in another role", () => {
    expect(answer("checkpoint", 1, 5n)).to.equal("signed by a record key, needs a checkpoint key");
    expect(answer("record", 2, 5n)).to.equal("signed by a checkpoint key, needs a record key");
  });

  it("refuses a key before its first and after its last position", () => {
    expect(answer("record", 3, 99n)).to.equal("signed by a key that is valid from position 100");
    expect(answer("record", 1, 100n)).to.equal("signed by a key that was valid up to position 99");
  });

  it("refuses a key it does not hold, and everything while empty", () => {
    expect(answer("record", 9, 5n)).to.equal("signed by a key outside the key ring");
    expect(findSigner(emptyRing, "record", kid(1), 0n).kind).to.equal("refused");
    expect(findSigner(ring, "record", kid(1).subarray(0, 31), 0n).kind).to.equal("refused");
  });

  it("refuses to hold a key twice, in one role or in two", async () => {
    for (const again of [key(1, "record", 200n), key(1, "checkpoint", 200n)]) {
      expect((await expectFault(() => addKey(ring, again))).error.kind).to.equal("malformedKey");
    }
  });

  it("refuses a successor that does not begin after the key before it", async () => {
    for (const validFrom of [0n, 99n, 100n]) {
      expect((await expectFault(() => addKey(ring, key(4, "record", validFrom)))).error.kind).to.equal(
        "malformedKey",
      );
    }
    expect(addKey(ring, key(4, "record", 101n)).entries).to.have.length(4);
  });

  it("is replaced, not edited", () => {
    const before = structuredClone(ring);
    addKey(ring, key(4, "record", 500n));
    expect(ring).to.deep.equal(before);
    expect(newestKey(ring, "record")?.validTo).to.equal(null);
  });

  it("has exactly one key a role at every position from the first key on", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 1, max: 50 }), { maxLength: 8 }),
        fc.integer({ min: 0, max: 60 }),
        (starts, at) => {
          const from = [0, ...starts.toSorted((a, b) => a - b)];
          const built = from.reduce<KeyRing>(
            (held, start, index) => addKey(held, key(index, "record", BigInt(start))),
            emptyRing,
          );
          const valid = from.filter(
            (_, index) => findSigner(built, "record", kid(index), BigInt(at)).kind === "ok",
          );
          expect(valid).to.have.length(1);
        },
      ),
    );
  });
});
