/** Wrapped keys, and the hash the server uses. */
import { expect } from "chai";
import { createSecretKey, randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, it } from "mocha";
import { portableSha256 } from "../../../src/record/hash.ts";
import { opensslSha256 } from "../../../src/keys/sha256.ts";
import { localKek } from "../../../src/keys/wrap.ts";
import { kekContract } from "../../contract/kek.ts";

const newKek = () => localKek(createSecretKey(randomBytes(32)));

kekContract("held by the process", async () => ({
  kek: newKek(),
  other: newKek(),
  remove: () => Promise.resolve(),
}));

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
