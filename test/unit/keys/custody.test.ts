/** Private keys on disk: made whole, opened only by the right key, for the right purpose, with the right mode. */
import { expect } from "chai";
import { createSecretKey, randomBytes } from "node:crypto";
import { chmod, copyFile, mkdtemp, readdir, readFile, rm, stat, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "mocha";
import { createCustody, openCustody, type Custody } from "../../../src/crypto/custody.ts";
import { localKek } from "../../../src/crypto/wrapping/wrap.ts";
import { verifyMldsa44InScript } from "../../../src/core/crypto/mldsa44.ts";
import { verifyOwn } from "../../../src/core/keys/verify.ts";
import { toBase64Url } from "../../../src/core/bytes.ts";
import { expectFault } from "./expect-fault.ts";

const kek = localKek(createSecretKey(randomBytes(32)));
const message = Uint8Array.of(1, 2, 3);

let parent: string;
let directory: string;
let custody: Custody;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "sigil-custody-"));
  directory = join(parent, "keys");
  custody = await createCustody(directory, kek);
});
afterEach(async () => {
  await rm(parent, { recursive: true });
});

const keyFile = (...names: readonly string[]): string => join(directory, ...names);
const kindOf = async (work: () => unknown): Promise<string> => (await expectFault(work)).error.kind;

describe("signing keys on disk", () => {
  it("are made one after the other, each under the next number, and found by their public key", async () => {
    const first = custody.signingKeys.newest("record");
    const made = await Promise.all([1, 2].map(() => custody.signingKeys.create("record")));
    expect((await readdir(directory)).filter((name) => name.startsWith("record"))).to.have.members([
      "record-1.json",
      "record-2.json",
      "record-3.json",
    ]);
    const { signingKeys } = await openCustody(directory, kek);
    for (const { publicKey } of [first, ...made]) {
      const signer = await signingKeys.open("record", publicKey);
      expect(await verifyOwn(publicKey, message, await signer.sign(message))).to.equal(true);
    }
    expect(signingKeys.newest("record").publicKey).to.deep.equal(made[1]?.publicKey);
  });

  it("of ML-DSA-44 lie in files like the others: found, taken for no other role, destroyed when they have ended", async () => {
    const { mldsa44 } = custody.signingKeys;
    const made = [await mldsa44?.create(), await mldsa44?.create()];
    const [old, next] = made;
    if (old === undefined || next === undefined) throw new Error("files take keys of ML-DSA-44");
    const { signingKeys } = await openCustody(directory, kek);
    for (const { publicKey, thumbprint } of [old, next]) {
      const signer = await signingKeys.mldsa44?.open(publicKey);
      if (signer === undefined) throw new Error("there is no such key");
      expect(signer.thumbprint).to.deep.equal(thumbprint);
      expect(await verifyMldsa44InScript(publicKey, message, await signer.sign(message))).to.equal(true);
    }
    const text = await readFile(keyFile("checkpoint_mldsa44-1.json"), "utf8");
    expect(JSON.parse(text)).to.include({
      purpose: "signing/checkpoint_mldsa44/1",
      public_key: `ml-dsa-44:${toBase64Url(old.publicKey)}`,
    });
    await signingKeys.discard([old.publicKey]);
    const { error } = await expectFault(() => signingKeys.mldsa44?.open(old.publicKey));
    expect(error).to.deep.equal({
      kind: "keyUnavailable",
      rule: `the file of the checkpoint_mldsa44 key ${toBase64Url(old.thumbprint)} is missing`,
    });
    // Under the name of another role the file is refused, whatever is in it.
    await copyFile(keyFile("checkpoint_mldsa44-2.json"), keyFile("checkpoint-2.json"));
    expect(await kindOf(() => openCustody(directory, kek))).to.equal("keyUnavailable");
  });

  it("are destroyed when they have ended, and then are missing by name", async () => {
    const { signingKeys } = custody;
    const { publicKey, thumbprint } = signingKeys.newest("record");
    await signingKeys.create("record");
    await signingKeys.discard([publicKey]);
    await signingKeys.discard([publicKey]);
    expect((await readdir(directory)).toSorted()).to.deep.equal([
      "checkpoint-1.json",
      "data",
      "record-2.json",
    ]);
    const { error } = await expectFault(() => signingKeys.open("record", publicKey));
    expect(error).to.deep.include({ kind: "keyUnavailable" });
    expect(error).to.have.property("rule").that.contains(toBase64Url(thumbprint));
    // A key of one role is none of the other.
    const other = signingKeys.newest("checkpoint").publicKey;
    expect(await kindOf(() => signingKeys.open("record", other))).to.equal("keyUnavailable");
  });

  it("that a crash left half made or half destroyed are cleared away, and nothing else is", async () => {
    await writeFile(keyFile("record-2.json.new"), "half", { mode: 0o600 });
    await writeFile(keyFile("mine.json.new"), "half", { mode: 0o600 });
    const { signingKeys } = await openCustody(directory, kek);
    expect(await readdir(directory)).to.include("record-2.json.new");
    await signingKeys.discard([]);
    expect((await readdir(directory)).toSorted()).to.deep.equal([
      "checkpoint-1.json",
      "data",
      "mine.json.new",
      "record-1.json",
    ]);
  });

  it("that another process made meanwhile are found, and never overwritten", async () => {
    const late = await openCustody(directory, kek);
    const made = await custody.signingKeys.create("record");
    expect(await late.signingKeys.open("record", made.publicKey)).to.have.property("publicKey");
    await custody.signingKeys.create("record");
    const next = await late.signingKeys.create("record");
    expect(await readdir(directory)).to.include("record-4.json");
    expect(next.publicKey).to.not.deep.equal(made.publicKey);
  });
});

describe("custody", () => {
  it("makes two signing keys, each its own, and opens them again", async () => {
    const record = custody.signingKeys.newest("record");
    const checkpoint = custody.signingKeys.newest("checkpoint");
    expect(record.publicKey).to.not.deep.equal(checkpoint.publicKey);
    const again = (await openCustody(directory, kek)).signingKeys.newest("record");
    expect(again.publicKey).to.deep.equal(record.publicKey);
    expect(again.thumbprint).to.deep.equal(record.thumbprint);
    expect(await verifyOwn(record.publicKey, message, await again.sign(message))).to.equal(true);
    expect(await verifyOwn(checkpoint.publicKey, message, await again.sign(message))).to.equal(false);
  });

  it("keeps every file 0600 and every directory 0700, and leaves nothing unfinished", async () => {
    await custody.dataKeys.current("acme");
    expect((await readdir(directory)).toSorted()).to.deep.equal([
      "checkpoint-1.json",
      "data",
      "record-1.json",
    ]);
    expect(await readdir(keyFile("data"))).to.deep.equal(["acme-1.json"]);
    for (const path of [directory, keyFile("data")]) expect((await stat(path)).mode & 0o777).to.equal(0o700);
    for (const path of [keyFile("record-1.json"), keyFile("data", "acme-1.json")]) {
      expect((await stat(path)).mode & 0o777).to.equal(0o600);
    }
  });

  it("refuses a looser mode of any file or directory at open, naming the command", async () => {
    await custody.dataKeys.current("acme");
    const places = [
      [directory, 0o755, "0755", "700"],
      [keyFile("data"), 0o701, "0701", "700"],
      [keyFile("record-1.json"), 0o644, "0644", "600"],
      [keyFile("data", "acme-1.json"), 0o626, "0626", "600"],
    ] as const;
    for (const [path, mode, shown, wanted] of places) {
      await chmod(path, mode);
      const { error } = await expectFault(() => openCustody(directory, kek));
      expect(error).to.deep.equal({ kind: "looseMode", path, mode: shown, fix: `chmod ${wanted} ${path}` });
      await chmod(path, wanted === "700" ? 0o700 : 0o600);
    }
    await openCustody(directory, kek);
  });

  it("refuses to be made where it exists", async () => {
    expect(await kindOf(() => createCustody(directory, kek))).to.equal("usage");
  });

  it("opens nothing with another key-encryption key", async () => {
    expect(await kindOf(() => openCustody(directory, localKek(createSecretKey(randomBytes(32)))))).to.equal(
      "keyUnavailable",
    );
  });

  it("refuses a flipped byte anywhere in a wrapped key", async () => {
    const path = keyFile("record-1.json");
    const file = JSON.parse(await readFile(path, "utf8")) as { wrapped: string };
    const wrapped = Buffer.from(file.wrapped, "base64");
    for (let index = 0; index < wrapped.length; index += 1) {
      const flipped = Buffer.from(wrapped);
      flipped[index] = (flipped[index] ?? 0) ^ 0x10;
      await writeFile(path, JSON.stringify({ ...file, wrapped: flipped.toString("base64") }));
      expect(await kindOf(() => openCustody(directory, kek)), `byte ${index}`).to.equal("keyUnavailable");
    }
  });

  it("refuses a key file put under another name, also when its stated purpose is rewritten", async () => {
    await copyFile(keyFile("checkpoint-1.json"), keyFile("record-1.json"));
    expect(await kindOf(() => openCustody(directory, kek))).to.equal("keyUnavailable");
    const text = await readFile(keyFile("checkpoint-1.json"), "utf8");
    await writeFile(keyFile("record-1.json"), text.replace("signing/checkpoint/1", "signing/record/1"));
    const { error } = await expectFault(() => openCustody(directory, kek));
    expect(error).to.deep.include({ kind: "keyUnavailable" });
    expect(error).to.have.property("rule").that.contains("authentication tag");
  });

  it("refuses files that are not key files, lack the public key they belong to, or are of a newer format", async () => {
    const path = keyFile("record-1.json");
    const text = await readFile(path, "utf8");
    const other = custody.signingKeys.newest("checkpoint").publicKey;
    const cases: readonly (readonly [string, string])[] = [
      ["", "keyUnavailable"],
      ["[]", "keyUnavailable"],
      ["null", "keyUnavailable"],
      [text.replace('"wrapped": "', '"wrapped": "*'), "keyUnavailable"],
      [
        text.replace(
          /"public_key": "[^"]*"/,
          `"public_key": "ed25519:${Buffer.from(other).toString("base64url")}"`,
        ),
        "keyUnavailable",
      ],
      [text.replace('"format": 1', '"format": 2'), "newerFormat"],
    ];
    for (const [content, kind] of cases) {
      await writeFile(path, content);
      expect(await kindOf(() => openCustody(directory, kek)), content).to.equal(kind);
    }
    await unlink(path);
    expect(await kindOf(() => openCustody(directory, kek))).to.equal("keyUnavailable");
  });
});

describe("data keys", () => {
  it("are made once on first use, even when asked for together, and found again", async () => {
    const [first, second] = await Promise.all([
      custody.dataKeys.current("acme"),
      custody.dataKeys.current("acme"),
    ]);
    expect(first.keyVersion).to.equal(1);
    expect(first.dataKey.equals(second.dataKey)).to.equal(true);
    const again = await (await openCustody(directory, kek)).dataKeys.current("acme");
    expect(again.dataKey.equals(first.dataKey)).to.equal(true);
  });

  it("are on disk before they are handed out", async () => {
    const key = await custody.dataKeys.current("acme");
    const opened = await (await openCustody(directory, kek)).dataKeys.at("acme", 1);
    expect(opened.dataKey.equals(key.dataKey)).to.equal(true);
  });

  it("rotate to the next version and keep the old ones", async () => {
    const first = await custody.dataKeys.current("acme");
    const [second, same] = await Promise.all([
      custody.dataKeys.rotate("acme"),
      custody.dataKeys.rotate("acme"),
    ]);
    expect([second.keyVersion, same.keyVersion]).to.deep.equal([2, 2]);
    const again = await openCustody(directory, kek);
    expect((await again.dataKeys.current("acme")).dataKey.equals(second.dataKey)).to.equal(true);
    expect((await again.dataKeys.at("acme", 1)).dataKey.equals(first.dataKey)).to.equal(true);
  });

  it("of tenants whose names look like versions stay apart", async () => {
    const one = await custody.dataKeys.current("a-1");
    const two = await custody.dataKeys.current("a");
    const again = await openCustody(directory, kek);
    expect((await again.dataKeys.current("a-1")).dataKey.equals(one.dataKey)).to.equal(true);
    expect((await again.dataKeys.current("a")).dataKey.equals(two.dataKey)).to.equal(true);
  });

  it("refuse one tenant's file under another's name", async () => {
    await custody.dataKeys.current("acme");
    await custody.dataKeys.current("beta");
    await copyFile(keyFile("data", "acme-1.json"), keyFile("data", "beta-1.json"));
    const again = await openCustody(directory, kek);
    expect(await kindOf(() => again.dataKeys.current("beta"))).to.equal("keyUnavailable");
  });

  it("are refused, not made anew, when a version is missing", async () => {
    await custody.dataKeys.current("acme");
    expect(await kindOf(() => custody.dataKeys.at("acme", 2))).to.equal("keyUnavailable");
    expect(await kindOf(() => custody.dataKeys.at("other", 1))).to.equal("keyUnavailable");
    expect(await readdir(keyFile("data"))).to.deep.equal(["acme-1.json"]);
  });

  it("are never made under a name that leaves the directory", async () => {
    for (const tenant of ["", "..", "../x", "a/b", "A", "a.b", "a\0", "a".repeat(64)]) {
      expect(await kindOf(() => custody.dataKeys.current(tenant)), tenant).to.equal("invalidField");
    }
  });

  it("finish what a crash left unfinished", async () => {
    await writeFile(keyFile("data", "acme-1.json.new"), "half", { mode: 0o600 });
    const again = await openCustody(directory, kek);
    expect((await again.dataKeys.current("acme")).keyVersion).to.equal(1);
    expect(await readdir(keyFile("data"))).to.deep.equal(["acme-1.json"]);
  });
});
