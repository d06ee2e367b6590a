/** Signing in a thread: the same bytes as OpenSSL, many keys side by side, and what comes of a thread that dies. */
import { createPrivateKey, generateKeyPairSync, sign as opensslSign, verify } from "node:crypto";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { expect } from "chai";
import { beforeEach, describe, it } from "mocha";
import { createPromptSigner, createSigner, createThreadSigner } from "../../../src/crypto/signing/sign.ts";
import type { SigningRequest } from "../../../src/crypto/signing/signing-messages.ts";
import { ringMessageBytesMax, SigningRing } from "../../../src/crypto/signing/signing-ring.ts";
import { endSigningThread, startSigningThread } from "../../../src/crypto/signing/signing-thread.ts";

const newKey = () => generateKeyPairSync("ed25519").privateKey;
const messageOf = (bytes: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, index) => index % 251);

/** The program of the thread, with the test in the place of the event loop. */
const startWorker = async () => {
  const ring = new SigningRing();
  const program = new URL("../../../src/crypto/signing/signing-worker.ts", import.meta.url);
  const worker = new Worker(program, { workerData: ring.memory });
  await once(worker, "message");
  return {
    tell: (request: SigningRequest): void => worker.postMessage(request, []),
    sign: async (key: number, message: Uint8Array): Promise<Uint8Array> => {
      expect(ring.put(key, message)).to.equal(true);
      const failed = once(worker, "error").then(([error]) => Promise.reject(error as Error));
      ring.wake();
      await Promise.race([ring.more(), failed]);
      const signatures: Uint8Array[] = [];
      ring.take((signature) => signatures.push(signature.slice()));
      expect(signatures).to.have.lengthOf(1);
      return signatures[0]!;
    },
    [Symbol.asyncDispose]: async (): Promise<void> => void (await worker.terminate()),
  };
};

const messageOfRefusal = (asked: Promise<unknown>): Promise<string> =>
  asked.then(
    () => "it signed",
    (error: unknown) => String(error),
  );

describe("the signing thread", () => {
  // Before it is ready OpenSSL stands in, and nothing would be tested.
  beforeEach(async () => expect(await startSigningThread()).to.equal(true));

  it("gives the bytes that OpenSSL gives, for messages of every length around a block", async () => {
    const key = newKey();
    const signer = createThreadSigner(key);
    const messages = [0, 1, 63, 64, 65, 111, 112, 127, 128, 129, 1000, 70_000].map(messageOf);
    const signatures = await Promise.all(messages.map(signer.sign));
    for (const [index, message] of messages.entries()) {
      expect(Buffer.from(signatures[index] ?? [])).to.deep.equal(opensslSign(null, message, key));
    }
  });

  it("signs what fills the ring and more, the longest it takes and one byte longer", async () => {
    const key = newKey();
    const signer = createThreadSigner(key);
    const lengths = [ringMessageBytesMax, ringMessageBytesMax + 1];
    const messages = Array.from({ length: 40 }, (_, index) =>
      messageOf((lengths[index % 2] ?? 0) - (index >> 1)),
    );
    const signatures = await Promise.all(messages.map(signer.sign));
    for (const [index, message] of messages.entries()) {
      expect(Buffer.from(signatures[index] ?? [])).to.deep.equal(opensslSign(null, message, key));
    }
  });

  it("signs what the caller gave, whatever becomes of the caller's memory", async () => {
    const key = newKey();
    const signer = createThreadSigner(key);
    const memory = messageOf(500);
    const asked = Array.from({ length: 3000 }, () => signer.sign(memory));
    memory.fill(0xff);
    for (const signature of await Promise.all(asked)) {
      expect(verify(null, messageOf(500), key, signature)).to.equal(true);
    }
  });

  it("signs what was asked for in one turn with the key it was asked for", async () => {
    const signers = [newKey(), newKey(), newKey()].map((key) => ({ key, signer: createThreadSigner(key) }));
    const asked = Array.from({ length: 60 }, (_, index) => ({
      message: messageOf(index),
      ...signers[index % 3]!,
    }));
    const signatures = await Promise.all(asked.map(({ signer, message }) => signer.sign(message)));
    for (const [index, { key, message }] of asked.entries()) {
      expect(Buffer.from(signatures[index] ?? [])).to.deep.equal(opensslSign(null, message, key));
    }
  });

  it("signs on the event loop too what OpenSSL signs, after it was told to forget as well", async () => {
    const key = newKey();
    const { signNow, forget } = createThreadSigner(key);
    await import("../../../src/crypto/signing/sodium.ts");
    await new Promise((resolve) => setImmediate(resolve));
    for (const forgets of [false, true, true]) {
      if (forgets) forget?.();
      const message = messageOf(300);
      const signature = signNow?.(message);
      message.fill(0);
      expect(Buffer.from(signature ?? [])).to.deep.equal(opensslSign(null, messageOf(300), key));
    }
  });

  it("signs as the signer that works at once does", async () => {
    const key = newKey();
    const message = messageOf(300);
    expect(await createThreadSigner(key).sign(message)).to.deep.equal(await createSigner(key).sign(message));
  });

  it("signs at once what OpenSSL signs, before libsodium is there, with it, and after it was told to forget", async () => {
    const key = newKey();
    const signer = createPromptSigner(key);
    const expected = opensslSign(null, messageOf(300), key);
    const message = messageOf(300);
    const first = signer.sign(message);
    message.fill(0);
    expect(Buffer.from(await first)).to.deep.equal(expected);
    await import("../../../src/crypto/signing/sodium.ts");
    await new Promise((resolve) => setImmediate(resolve));
    for (const forgets of [false, true, true]) {
      if (forgets) signer.forget?.();
      const again = messageOf(300);
      const signing = signer.sign(again);
      again.fill(0);
      expect(Buffer.from(await signing)).to.deep.equal(expected);
    }
  });

  it("loses nothing of what it was asked for when it ends, and is replaced", async () => {
    const key = newKey();
    const signer = createThreadSigner(key);
    await signer.sign(messageOf(1));
    // Sent at the end of the turn, and more than it can sign before it is told to end.
    const asked = Promise.all(Array.from({ length: 5000 }, () => signer.sign(messageOf(2))));
    await Promise.resolve();
    void endSigningThread();
    for (const signature of await asked) expect(verify(null, messageOf(2), key, signature)).to.equal(true);
    expect(await startSigningThread()).to.equal(true);
    expect(verify(null, messageOf(3), key, await signer.sign(messageOf(3)))).to.equal(true);
  });

  it("keeps no process from ending, whenever in the thread's start that is", async () => {
    const program = fileURLToPath(new URL("short-lived.ts", import.meta.url));
    const delaysMs = Array.from({ length: 24 }, (_, index) => 30 + 3 * index);
    const run = promisify(execFile);
    for (let index = 0; index < delaysMs.length; index += 3) {
      const together = delaysMs.slice(index, index + 3);
      await Promise.all(
        together.map((delayMs) => run(process.execPath, [program, String(delayMs)], { timeout: 10_000 })),
      );
    }
  });

  it("signs again after it was told to forget, as the key is handed over anew", async () => {
    const key = newKey();
    const signer = createThreadSigner(key);
    await signer.sign(messageOf(1));
    signer.forget?.();
    expect(verify(null, messageOf(2), key, await signer.sign(messageOf(2)))).to.equal(true);
  });

  it("signs with no key that it was not given", async () => {
    await using worker = await startWorker();
    const refusal = await messageOfRefusal(worker.sign(0, Uint8Array.of(1)));
    expect(refusal).to.contain("a key is made known before it signs");
  });

  it("signs with no key that it has forgotten", async () => {
    await using worker = await startWorker();
    worker.tell({ kind: "key", key: 0, seed: new Uint8Array(32) });
    expect(await worker.sign(0, Uint8Array.of(1))).to.have.lengthOf(64);
    worker.tell({ kind: "forget", key: 0 });
    const refusal = await messageOfRefusal(worker.sign(0, Uint8Array.of(1)));
    expect(refusal).to.contain("a key is made known before it signs");
  });

  it("zeroes the seed that it was sent", async () => {
    await using worker = await startWorker();
    const shared = new Uint8Array(new SharedArrayBuffer(32)).fill(9);
    worker.tell({ kind: "key", key: 0, seed: shared });
    const message = Uint8Array.of(1, 2, 3);
    const signature = await worker.sign(0, message);
    const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.alloc(32, 9)]);
    const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    expect(Buffer.from(signature)).to.deep.equal(opensslSign(null, message, key));
    expect([...shared]).to.deep.equal(Array.from({ length: 32 }, () => 0));
  });
});
