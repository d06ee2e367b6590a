/** Wrapped keys, and the hash the server uses. */
import { expect } from "chai";
import { createSecretKey, randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, it } from "mocha";
import { toHex } from "../../../src/record/bytes.ts";
import { portableSha256 } from "../../../src/record/hash.ts";
import { opensslSha256 } from "../../../src/keys/sha256.ts";
import { unwrapKey, wrapKey } from "../../../src/keys/wrap.ts";
import { expectFault } from "./expect-fault.ts";

const kek = createSecretKey(randomBytes(32));
const secret = Uint8Array.from(randomBytes(32));

describe("wrapping", () => {
  it("gives the secret back, and another wrapping each time", () => {
    const wrapped = wrapKey(kek, "data/acme/1", secret);
    expect(unwrapKey(kek, "data/acme/1", wrapped)).to.deep.equal(secret);
    expect(toHex(wrapKey(kek, "data/acme/1", secret))).to.not.equal(toHex(wrapped));
  });

  it("refuses another purpose, another key, a flipped bit and every shortening", async () => {
    const wrapped = wrapKey(kek, "data/acme/1", secret);
    const refused = async (work: () => unknown): Promise<void> => {
      const fault = await expectFault(work);
      expect(fault.error.kind).to.equal("keyUnavailable");
      expect(fault.message).to.not.contain(toHex(secret));
    };
    await refused(() => unwrapKey(kek, "data/acme/2", wrapped));
    await refused(() => unwrapKey(createSecretKey(randomBytes(32)), "data/acme/1", wrapped));
    for (let bit = 0; bit < wrapped.length * 8; bit += 1) {
      const flipped = Uint8Array.from(wrapped);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      await refused(() => unwrapKey(kek, "data/acme/1", flipped));
    }
    for (let length = 0; length < wrapped.length; length += 1) {
      await refused(() => unwrapKey(kek, "data/acme/1", wrapped.subarray(0, length)));
    }
  });
});

describe("OpenSSL's SHA-256", () => {
  it("equals the portable one", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (data) => {
        expect(opensslSha256(data)).to.deep.equal(portableSha256(data));
      }),
    );
  });

  it("answers plain bytes of its own", () => {
    const digest = opensslSha256(Uint8Array.of(1));
    expect(Object.getPrototypeOf(digest)).to.equal(Uint8Array.prototype);
    expect(digest.buffer.byteLength).to.equal(32);
  });
});
