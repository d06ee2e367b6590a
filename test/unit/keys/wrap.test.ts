/** Wrapped keys, and the hash the server uses. */
import { sha256 } from "@sigil/core/hash";
import { expect } from "chai";
import { createSecretKey, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, it } from "mocha";
import { rewrapKeys } from "../../../src/crypto/rewrap.ts";
import { localKek, type Kek } from "../../../src/crypto/wrapping/wrap.ts";
import { createWrappedFile, readWrappedFile } from "../../../src/crypto/wrapping/wrapped-file.ts";
import { kekContract } from "../../contract/kek.ts";
import { expectFault } from "./expect-fault.ts";

const newKek = () => localKek(createSecretKey(randomBytes(32)));

kekContract("held by the process", async () => ({
  kek: newKek(),
  other: newKek(),
  remove: () => Promise.resolve(),
}));

describe("keys on their way under another key-encryption key", () => {
  it("are taken only where the new file gives the very key back", async () => {
    const directory = await mkdtemp(join(tmpdir(), "sigil-rewrap-"));
    try {
      const [oldKek, kek] = [newKek(), newKek()];
      const from = join(directory, "keys");
      const [purpose, secret] = ["data/acme/1", Uint8Array.from(randomBytes(32))];
      await mkdir(from, { mode: 0o700 });
      await createWrappedFile(join(from, "acme-1.json"), oldKek, { purpose, secret, publicKeyText: null });
      const spoiled = (spoil: (key: Uint8Array) => Uint8Array): Kek => ({
        ...kek,
        unwrap: async (...asked) => spoil(await kek.unwrap(...asked)),
      });
      const spoils = [
        (key: Uint8Array) => key.map((byte, index) => (index === 31 ? byte ^ 1 : byte)),
        (key: Uint8Array) => key.slice(1),
      ];
      for (const [index, spoil] of spoils.entries()) {
        const move = { from, to: join(directory, `spoiled-${index}`), oldKek, newKek: spoiled(spoil) };
        const { error } = await expectFault(() => rewrapKeys(move));
        expect(error).to.include({ kind: "keyUnavailable" });
        expect(JSON.stringify(error)).to.contain("reads back otherwise");
      }
      const to = join(directory, "moved");
      expect(await rewrapKeys({ from, to, oldKek, newKek: kek })).to.equal(1);
      const moved = await readWrappedFile(join(to, "acme-1.json"), kek, purpose);
      expect(moved.secret).to.deep.equal(secret);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

describe("OpenSSL's SHA-256", () => {
  it("equals the portable one", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (data) => {
        expect(sha256(data)).to.deep.equal(sha256(data));
      }),
    );
  });

  it("answers plain bytes of its own", () => {
    const digest = sha256(Uint8Array.of(1));
    expect(Object.getPrototypeOf(digest)).to.equal(Uint8Array.prototype);
    expect(digest.buffer.byteLength).to.equal(32);
  });
});
