/** What a dump of a serving process shows of the keys: one copy of each, OpenSSL's own, and no text of any. Linux. */
import { expect } from "chai";
import { spawn } from "node:child_process";
import { createSecretKey, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "mocha";
import type { PKCS11 } from "pkcs11js";
import { CK } from "../../src/crypto/pkcs11/module.ts";
import { localKek } from "../../src/crypto/wrapping/wrap.ts";
import { readAnyWrappedFile } from "../../src/crypto/wrapping/wrapped-file.ts";
import { skipWithoutToken, useSoftHsm } from "../contract/softhsm.ts";
import { freePorts, sigilHere } from "./command.ts";

const mainPath = join(import.meta.dirname, "../../src/main.ts");
/** Regions beyond are reserved addresses that nothing was written to. */
const regionBytesMax = 2 ** 28;

let cwd: string;
before(async () => {
  cwd = await mkdtemp(join(tmpdir(), "sigil-memory-"));
  await sigilHere(["init", "--data", "data", "--dev", "--kek", "file:kek"], { cwd });
});
after(() => rm(cwd, { recursive: true }));

/** The process as soon as its log says that it serves. */
const startServing = async (data = "data", env: Readonly<Record<string, string>> = {}) => {
  const child = spawn(process.execPath, [mainPath, "serve", "--data", data, ...freePorts], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout })) if (line.includes('"serving"')) break;
  return child;
};

/** How often each of the secrets stands in the memory of a process. */
const countInMemory = async (
  pid: number,
  secrets: Readonly<Record<string, Buffer>>,
): Promise<Record<string, number>> => {
  const counts = Object.fromEntries(Object.keys(secrets).map((name) => [name, 0]));
  await using memory = await open(`/proc/${pid}/mem`, "r");
  for (const line of (await readFile(`/proc/${pid}/maps`, "latin1")).split("\n")) {
    const [, from = "", to = ""] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
    const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
    if (!(end - start <= regionBytesMax)) continue;
    const region = Buffer.alloc(end - start);
    await memory.read(region, 0, region.length, start).catch(() => undefined);
    for (const [name, secret] of Object.entries(secrets)) {
      for (let at = region.indexOf(secret); at >= 0; at = region.indexOf(secret, at + 1)) {
        counts[name] = (counts[name] ?? 0) + 1;
      }
    }
  }
  return counts;
};

/** A key that the test knows, which one that a token makes never is. */
const putAesKey = (library: string, pin: string, key: Buffer): void => {
  const { PKCS11: Library } = createRequire(import.meta.url)("pkcs11js") as {
    readonly PKCS11: new () => PKCS11;
  };
  const token = new Library();
  token.load(library);
  token.C_Initialize();
  const slot = token
    .C_GetSlotList(true)
    .find((each) => token.C_GetTokenInfo(each).label.startsWith("one")) as Buffer;
  const session = token.C_OpenSession(slot, CK.CKF_SERIAL_SESSION | CK.CKF_RW_SESSION);
  token.C_Login(session, CK.CKU_USER, pin);
  token.C_CreateObject(session, [
    { type: CK.CKA_CLASS, value: CK.CKO_SECRET_KEY },
    { type: CK.CKA_KEY_TYPE, value: CK.CKK_AES },
    { type: CK.CKA_TOKEN, value: true },
    { type: CK.CKA_PRIVATE, value: true },
    { type: CK.CKA_SENSITIVE, value: true },
    { type: CK.CKA_EXTRACTABLE, value: false },
    { type: CK.CKA_ENCRYPT, value: true },
    { type: CK.CKA_DECRYPT, value: true },
    { type: CK.CKA_LABEL, value: "kek" },
    { type: 0x11, value: key },
  ]);
  token.C_Finalize();
};

describe("the memory of a serving process", () => {
  it("holds each key once, and no text of the key-encryption key", async function () {
    if (process.platform !== "linux") this.skip();
    const text = (await readFile(join(cwd, "kek"), "latin1")).trim();
    const key = Buffer.from(text, "base64");
    const kek = localKek(createSecretKey(key));
    const keys = join(cwd, "data", "keys");
    const recordKey = (await readdir(keys)).find((name) => name.startsWith("record-")) ?? "";
    const signing = await readAnyWrappedFile(join(keys, recordKey), kek);
    const data = await readAnyWrappedFile(join(keys, "data", "system-1.json"), kek);
    const child = await startServing();
    try {
      const counts = await countInMemory(child.pid ?? 0, {
        key,
        text: Buffer.from(text, "latin1"),
        wideText: Buffer.from(text, "utf16le"),
        seed: Buffer.from(signing.secret.subarray(-32)),
        privateKey: Buffer.from(signing.secret),
        data: Buffer.from(data.secret),
      });
      expect(counts).to.deep.equal({ key: 1, text: 0, wideText: 0, seed: 1, privateKey: 0, data: 1 });
    } finally {
      child.kill("SIGTERM");
      await once(child, "close");
    }
  });

  it("holds no key-encryption key that is on a token", async function () {
    if (process.platform !== "linux") this.skip();
    skipWithoutToken(this);
    const pin = "canary-pin-0b7e52c9";
    const hsm = await useSoftHsm({ tokens: { one: pin } });
    try {
      const key = randomBytes(32);
      await writeFile(join(cwd, "pin"), pin, { mode: 0o600 });
      putAesKey(hsm.library, pin, key);
      const kek = `pkcs11:token=one;object=kek?pin-source=file:${join(cwd, "pin")}`;
      const env = { SIGIL_PKCS11_MODULE: hsm.library };
      const made = await sigilHere(["init", "--data", "there", "--dev", "--kek", kek], { cwd, env });
      expect(made.exitCode, made.problems).to.equal(0);
      expect(made.output).to.not.include("(new)");
      const child = await startServing("there", { ...hsm.env });
      try {
        const counts = await countInMemory(child.pid ?? 0, {
          key,
          text: Buffer.from(key.toString("base64"), "latin1"),
        });
        expect(counts).to.deep.equal({ key: 0, text: 0 });
      } finally {
        child.kill("SIGTERM");
        await once(child, "close");
      }
    } finally {
      await hsm.remove();
    }
  });
});
