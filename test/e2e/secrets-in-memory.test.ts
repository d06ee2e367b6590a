/** What a dump of a serving process shows of the keys: one copy of each, OpenSSL's own, and no text of any. Linux. */
import { expect } from "chai";
import { spawn } from "node:child_process";
import { createSecretKey } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, open, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "mocha";
import { localKek } from "../../src/keys/wrap.ts";
import { readAnyWrappedFile } from "../../src/keys/wrapped-file.ts";
import { freePorts, sigilHere } from "./command.ts";

const mainPath = join(import.meta.dirname, "../../src/main.ts");
/** Regions beyond are reserved addresses that nothing was written to. */
const regionBytesMax = 2 ** 28;

let cwd: string;
before(async () => {
  process.umask(0o077);
  cwd = await mkdtemp(join(tmpdir(), "sigil-memory-"));
  await sigilHere(["init", "--data", "data", "--dev", "--kek", "file:kek"], { cwd });
});
after(() => rm(cwd, { recursive: true }));

/** The process as soon as its log says that it serves. */
const startServing = async () => {
  const child = spawn(process.execPath, [mainPath, "serve", "--data", "data", ...freePorts], {
    cwd,
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
  }).timeout(60_000);
});
