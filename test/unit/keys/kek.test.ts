/** Where the key-encryption key comes from, and what is refused. */
import { expect } from "chai";
import { createSecretKey, randomBytes, scryptSync } from "node:crypto";
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "mocha";
import { utf8Encode } from "../../../src/core/bytes.ts";
import {
  createKek,
  createKekFile,
  formatKekSource,
  isKekOf,
  loadKek,
  parseKekSource,
  type KekInputs,
  type KekReference,
} from "../../../src/crypto/kek.ts";
import type { SharedAccess } from "../../../src/crypto/files/file-access.ts";
import { localKek } from "../../../src/crypto/wrapping/wrap.ts";
import { expectFault } from "./expect-fault.ts";

const none: KekInputs = { env: {}, askPassphrase: () => Promise.resolve(new Uint8Array()) };
const withEnv = (value: string): KekInputs => ({ ...none, env: { SIGIL_KEK: value } });
const withPassphrase = (text: string): KekInputs => ({
  ...none,
  askPassphrase: () => Promise.resolve(utf8Encode(text)),
});
const base64 = (bytes: number): string => randomBytes(bytes).toString("base64");

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "sigil-kek-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

const describeSource = (
  name: string,
  source: string,
  inputs: () => Promise<readonly [KekInputs, KekInputs]>,
): void => {
  it(`loads the same key again from ${name}, and knows a wrong one`, async () => {
    const [right, wrong] = await inputs();
    const text = source.replace("DIR", directory);
    const { kek, reference } = await createKek(parseKekSource(text), right);
    const stored = JSON.parse(JSON.stringify(reference)) as KekReference;
    const again = await loadKek(stored, right);
    expect(await again.unwrap("x", await kek.wrap("x", Uint8Array.of(7)))).to.deep.equal(Uint8Array.of(7));
    if (name === "a file") {
      await rm(join(directory, "kek"));
      await createKekFile(join(directory, "kek"));
    }
    const { error } = await expectFault(() => loadKek(stored, wrong));
    expect(error).to.deep.equal({ kind: "wrongKeyEncryptionKey", source: text });
  });
};

describe("key-encryption key", () => {
  describeSource("a file", "file:DIR/kek", async () => {
    await createKekFile(join(directory, "kek"));
    return [none, none];
  });
  describeSource("the environment", "env:SIGIL_KEK", async () => [withEnv(base64(32)), withEnv(base64(32))]);
  describeSource("a passphrase", "passphrase", async () => [withPassphrase("one"), withPassphrase("two")]);

  it("parses and formats its sources, and refuses others", async () => {
    for (const text of ["file:/etc/sigil/kek", "env:SIGIL_KEK", "passphrase"]) {
      expect(formatKekSource(parseKekSource(text))).to.equal(text);
    }
    for (const text of [
      "",
      "file:",
      "env:",
      "env:a-b",
      "env:A=B",
      "Passphrase",
      "kms:x",
      "passphrase:secret",
    ]) {
      expect((await expectFault(() => parseKekSource(text))).error).to.include({
        kind: "invalidConfig",
        key: "kek",
      });
    }
  });

  it("refuses a file that others may read and says which command mends it", async () => {
    const path = join(directory, "it's a kek");
    await createKekFile(path);
    expect((await stat(path)).mode & 0o777).to.equal(0o600);
    for (const mode of [0o644, 0o604, 0o666, 0o601]) {
      await chmod(path, mode);
      const { error } = await expectFault(() => createKek({ kind: "file", path }, none));
      const fix = `chmod 600 '${path.replace("'", String.raw`'\''`)}'`;
      expect(error).to.deep.equal({ kind: "looseMode", path, mode: `0${mode.toString(8)}`, fix });
    }
    await chmod(path, 0o400);
    await createKek({ kind: "file", path }, none);
  });

  it("takes a file that a group of the process may read, and says so", async () => {
    const path = join(directory, "mounted");
    await createKekFile(path);
    const heard: SharedAccess[] = [];
    const inputs = { ...none, onShared: (shared: SharedAccess) => void heard.push(shared) };
    await createKek({ kind: "file", path }, inputs);
    expect(heard).to.deep.equal([]);
    await chmod(path, 0o440);
    await createKek({ kind: "file", path }, inputs);
    expect(heard).to.deep.equal([{ path, gid: (await stat(path)).gid, entries: 1 }]);
  });

  it("refuses anything but 32 bytes in base64, and says nothing of what it found", async () => {
    const path = join(directory, "kek");
    for (const text of [
      "",
      "canary-not-base64!",
      base64(31),
      base64(33),
      base64(32).replace(/=$/, ""),
      `A${base64(32)}`,
    ]) {
      await rm(path, { force: true });
      await writeFile(path, text, { mode: 0o600 });
      for (const work of [
        () => createKek({ kind: "file", path }, none),
        () => createKek({ kind: "env", name: "SIGIL_KEK" }, withEnv(text)),
      ]) {
        const fault = await expectFault(work);
        expect(fault.error).to.include({ kind: "invalidConfig", key: "kek" });
        if (text !== "") expect(fault.message).to.not.contain(text);
        expect(fault.cause).to.equal(undefined);
      }
    }
  });

  it("reads base64 as Node does, whatever the bytes and with blanks around it, and no other spelling of it", async () => {
    const [source, path] = [{ kind: "env", name: "SIGIL_KEK" } as const, join(directory, "kek")];
    for (let count = 0; count < 200; count += 1) {
      const key = randomBytes(32).fill(count, 0, count % 33);
      const text = key.toString("base64");
      const { kek } = await createKek(source, withEnv(` ${text}\r\n`));
      const wrapped = await localKek(createSecretKey(key)).wrap("x", Uint8Array.of(count));
      expect(await kek.unwrap("x", wrapped), text).to.deep.equal(Uint8Array.of(count));
    }
    const zero = Buffer.alloc(32).toString("base64");
    for (const text of [
      zero.replace("A=", "B="),
      zero.replace("=", "A"),
      zero.replace("A", "-"),
      `${zero}=`,
    ]) {
      await writeFile(path, text, { mode: 0o600 });
      for (const from of [source, { kind: "file", path } as const]) {
        expect((await expectFault(() => createKek(from, withEnv(text)))).error.kind).to.equal(
          "invalidConfig",
        );
      }
    }
  });

  it("refuses a missing variable, a missing file, a directory and an empty passphrase", async () => {
    const missing = { kind: "file", path: join(directory, "none") } as const;
    expect((await expectFault(() => createKek({ kind: "env", name: "NONE" }, none))).error.kind).to.equal(
      "invalidConfig",
    );
    expect((await expectFault(() => createKek(missing, none))).error.kind).to.equal("notFound");
    expect((await expectFault(() => createKek({ kind: "file", path: directory }, none))).error.kind).to.equal(
      "notFound",
    );
    expect((await expectFault(() => createKek({ kind: "passphrase" }, none))).error.kind).to.equal(
      "invalidConfig",
    );
  });

  it("zeroes the passphrase it was given and stores neither it nor the key", async () => {
    const passphrase = utf8Encode("correct horse");
    const { reference } = await createKek(
      { kind: "passphrase" },
      { ...none, askPassphrase: () => Promise.resolve(passphrase) },
    );
    expect(passphrase.every((byte) => byte === 0)).to.equal(true);
    const salt = Buffer.from(reference.salt ?? "", "base64");
    const key = scryptSync("correct horse", salt, 32, { N: 2 ** 17, r: 8, p: 1, maxmem: 192 << 20 });
    const opened = await localKek(createSecretKey(key)).unwrap(
      "verifier",
      Buffer.from(reference.verifier, "base64"),
    );
    expect(opened.every((byte) => byte === 0)).to.equal(true);
    expect(JSON.stringify(reference)).to.not.contain(key.toString("base64"));
  });

  it("derives the passphrase key with a salt of its own each time", async () => {
    const first = await createKek({ kind: "passphrase" }, withPassphrase("same"));
    const second = await createKek({ kind: "passphrase" }, withPassphrase("same"));
    expect(await isKekOf(first.kek, first.reference)).to.equal(true);
    expect(await isKekOf(first.kek, second.reference)).to.equal(false);
    const crossed = { ...first.reference, salt: second.reference.salt };
    expect((await expectFault(() => loadKek(crossed, withPassphrase("same")))).error.kind).to.equal(
      "wrongKeyEncryptionKey",
    );
  });

  it("never overwrites a key file", async () => {
    const path = join(directory, "kek");
    await createKekFile(path);
    const before = await readFile(path);
    expect((await expectFault(() => createKekFile(path))).error.kind).to.equal("usage");
    expect(await readFile(path)).to.deep.equal(before);
  });
});
