/** Key files of people and services, and the printable public key. */
import { expect } from "chai";
import { generateKeyPairSync } from "node:crypto";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "mocha";
import {
  createKeyFile,
  formatPublicKey,
  parsePublicKeyText,
  readKeyFile,
} from "../../../src/crypto/signing/keyfile.ts";
import { parsePublicKey, toBase64, toBase64Url } from "../../../src/core/bytes.ts";
import { createSigner } from "../../../src/crypto/signing/sign.ts";
import { verifyForeign } from "../../../src/core/keys/verify.ts";
import { expectFault } from "./expect-fault.ts";

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "sigil-keyfile-"));
  path = join(directory, "alice.key");
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

describe("key files", () => {
  it("are made 0600 as PKCS#8 PEM, and read back to the same key", async () => {
    const made = await createKeyFile(path);
    expect((await stat(path)).mode & 0o777).to.equal(0o600);
    expect(await readFile(path, "utf8")).to.match(/^-----BEGIN PRIVATE KEY-----\n/);
    expect(await readdir(directory)).to.deep.equal(["alice.key"]);
    const read = await readKeyFile(path);
    expect(read.publicKey).to.deep.equal(made.publicKey);
    const signature = await createSigner(read.privateKey).sign(Uint8Array.of(1));
    expect(await verifyForeign(made.publicKey, Uint8Array.of(1), signature)).to.equal(true);
  });

  it("are never overwritten", async () => {
    await createKeyFile(path);
    const before = await readFile(path);
    expect((await expectFault(() => createKeyFile(path))).error.kind).to.equal("usage");
    expect(await readFile(path)).to.deep.equal(before);
  });

  it("are refused when others may read them, when missing, and where no directory is", async () => {
    await createKeyFile(path);
    await chmod(path, 0o644);
    const { error } = await expectFault(() => readKeyFile(path));
    expect(error).to.deep.equal({ kind: "looseMode", path, mode: "0644", fix: `chmod 600 ${path}` });
    expect((await expectFault(() => readKeyFile(`${path}x`))).error.kind).to.equal("notFound");
    expect((await expectFault(() => createKeyFile(join(directory, "no", "key")))).error.kind).to.equal(
      "usage",
    );
  });

  it("are refused when they hold something else, without a word of what it was", async () => {
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const contents = [
      "",
      "canary",
      rsa.privateKey.export({ format: "pem", type: "pkcs8" }),
      generateKeyPairSync("x25519").privateKey.export({ format: "pem", type: "pkcs8" }),
      generateKeyPairSync("ed25519").publicKey.export({ format: "pem", type: "spki" }),
    ];
    for (const content of contents) {
      await writeFile(path, content, { mode: 0o600 });
      const fault = await expectFault(() => readKeyFile(path));
      expect(fault.error.kind).to.equal("malformedKey");
      expect(fault.message).to.not.contain("canary");
      expect(fault.cause).to.equal(undefined);
    }
    await writeFile(path, "x".repeat(17 << 10));
    expect((await expectFault(() => readKeyFile(path))).error.kind).to.equal("tooLarge");
  });
});

describe("printed public keys", () => {
  const { publicKey } = createSigner(generateKeyPairSync("ed25519").privateKey);

  it("are ed25519: and base64url, and parse back", () => {
    const text = formatPublicKey(publicKey);
    expect(text).to.match(/^ed25519:[A-Za-z0-9_-]{43}$/);
    expect(parsePublicKeyText(text)).to.deep.equal(publicKey);
  });

  it("are refused in any other spelling, and when not fit to be enrolled", async () => {
    const texts = [
      "",
      toBase64Url(publicKey),
      `ED25519:${toBase64Url(publicKey)}`,
      `ed25519:${toBase64(publicKey)}`,
      `ed25519:${toBase64Url(publicKey)} `,
      `ed25519:${toBase64Url(publicKey.subarray(1))}`,
      formatPublicKey(parsePublicKey(new Uint8Array(32))),
    ];
    for (const text of texts) {
      expect((await expectFault(() => parsePublicKeyText(text))).error.kind, text).to.equal("malformedKey");
    }
  });
});
