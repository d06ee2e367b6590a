/** Threads answer as the calling thread does, and what they did not answer is not accepted. */
import { expect } from "chai";
import { generateKeyPairSync, sign } from "node:crypto";
import { describe, it } from "mocha";
import { parseSignature } from "../../../src/core/bytes.ts";
import { verifyForeign } from "../../../src/core/keys/verify.ts";
import { openForeignThreads } from "../../../src/crypto/foreign-threads.ts";
import { rawPublicKey } from "../../../src/crypto/signing/sign.ts";

const { privateKey } = generateKeyPairSync("ed25519");
const publicKey = rawPublicKey(privateKey);
const messages = Array.from({ length: 12 }, (_, index) => new Uint8Array(40 + index).fill(index));
const signed = messages.map((message) => parseSignature(sign(null, message, privateKey)));
/** The identity as R, and S = 0: OpenSSL alone decides by the equation, the strict implementation refuses. */
const smallOrder = parseSignature(Uint8Array.of(1, ...new Uint8Array(63)));

describe("foreign signatures in threads", () => {
  it("are answered as in the calling thread, each by its own signature", async () => {
    await using threads = openForeignThreads({ from: 0 });
    const asked = messages.flatMap((message, index) => [
      { message, signature: signed[index] ?? smallOrder },
      { message, signature: signed[(index + 1) % signed.length] ?? smallOrder },
      { message: message.subarray(1), signature: signed[index] ?? smallOrder },
      { message, signature: smallOrder },
    ]);
    const answers = await Promise.all(
      asked.map(({ message, signature }) => threads.verify(publicKey, message, signature)),
    );
    const alone = await Promise.all(
      asked.map(({ message, signature }) => verifyForeign(publicKey, message, signature)),
    );
    expect(answers).to.deep.equal(alone);
    expect(answers.filter(Boolean).length).to.equal(messages.length);
  });

  it("are refused by an error once a thread has ended", async () => {
    const threads = openForeignThreads({ from: 0 });
    const [message = new Uint8Array(0), signature = smallOrder] = [messages[0], signed[0]];
    expect(await threads.verify(publicKey, message, signature)).to.equal(true);
    await threads[Symbol.asyncDispose]();
    const failure = await threads.verify(publicKey, message, signature).catch((error: unknown) => error);
    expect(failure).to.be.instanceOf(Error).with.property("message").match(/ended/);
  });

  it("are verified here while they are few", async () => {
    const threads = openForeignThreads({ from: 1 });
    await threads[Symbol.asyncDispose]();
    const [message = new Uint8Array(0), signature = smallOrder] = [messages[0], signed[0]];
    expect(await threads.verify(publicKey, message, signature)).to.equal(true);
  });
});
