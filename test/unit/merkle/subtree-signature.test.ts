/**
 * The log's ML-DSA-44 line: the bytes under it, vectors that another implementation signed, and the two verifiers of
 * this one, which must agree on every change.
 */
import { createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { describe, it } from "mocha";
import {
  concatBytes,
  fromBase64,
  fromHex,
  parseHash,
  parseMldsa44PublicKey,
  parseMldsa44Signature,
  parsePublicKey,
  toBase64,
  toBase64Url,
  toHex,
  utf8Encode,
  type Mldsa44PublicKey,
} from "../../../src/core/bytes.ts";
import { verifyMldsa44InScript } from "../../../src/core/crypto/mldsa44.ts";
import { verifyMldsa44 } from "../../../src/core/crypto/openssl.ts";
import { mldsa44KeyThumbprint } from "../../../src/core/cose/cose.ts";
import { sha256 } from "../../../src/core/hash.ts";
import { verifyForeign } from "../../../src/core/keys/verify.ts";
import { parseCheckpoint, verifyCheckpoint } from "../../../src/core/merkle/checkpoint.ts";
import { formatNote, mldsa44KeyId, parseNote } from "../../../src/core/merkle/note.ts";
import { signSubtree, subtreeLines, subtreeMessage } from "../../../src/core/merkle/subtree-signature.ts";
import { createMldsa44Signer } from "../../../src/crypto/signing/sign.ts";
import { expectFault } from "../keys/expect-fault.ts";

type Vector = { readonly name: string; readonly note: string; readonly lines: number; readonly rule: string };
const vectors = JSON.parse(readFileSync(new URL("../../vectors/mldsa44.json", import.meta.url), "utf8")) as {
  readonly origin: string;
  readonly publicKey: string;
  readonly mldsa44Key: string;
  readonly keyId: string;
  readonly accept: readonly Vector[];
  readonly refuse: readonly Vector[];
};

const { origin } = vectors;
const mldsa44Key = parseMldsa44PublicKey(fromHex(vectors.mldsa44Key));
const log = { origin, publicKey: parsePublicKey(fromHex(vectors.publicKey)), verify: verifyForeign };
const rulesOf = async (note: string, key: Mldsa44PublicKey | undefined): Promise<unknown> =>
  (await expectFault(() => verifyCheckpoint(note, { ...log, mldsa44Key: key }))).error;

/** The only line of the key in the first vector, and the tree that it is over. */
const [first] = vectors.accept as readonly [Vector];
const firstNote = parseNote(first.note);
const head = parseCheckpoint(firstNote.text);
const [firstLine] = subtreeLines(firstNote, origin, mldsa44Key);
if (firstLine === undefined) throw new Error("the first vector has no line of the key");
const blob = firstLine.signature;

/** OpenSSL alone, by a key that it parsed itself. */
const verifyByOpenssl = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean => {
  const jwk = { kty: "AKP", alg: "ML-DSA-44", pub: toBase64Url(publicKey) };
  return verify(null, message, createPublicKey({ key: jwk, format: "jwk" }), signature);
};

describe("an ML-DSA-44 line", () => {
  it("is over the bytes that C2SP tlog-cosignature lays out, field by field", () => {
    const root = parseHash(new Uint8Array(32).fill(0xab));
    const message = subtreeMessage({ origin: "log.example/é", size: 2n ** 40n + 7n, root }, 1_679_315_147n);
    const label = "737562747265652f76310a00";
    const name = "0e6c6f672e6578616d706c652fc3a9";
    const [time, start, end] = ["00000000641850cb", "0000000000000000", "0000010000000007"];
    expect(toHex(message)).to.equal(label + name + time + name + start + end + "ab".repeat(32));
    const long = { origin: "x".repeat(256), size: 1n, root };
    expect(() => subtreeMessage(long, 0n)).to.throw("an origin under ML-DSA-44 has at most 255 bytes");
    expect(subtreeMessage({ ...long, origin: "x".repeat(255) }, 0n)).to.have.length(12 + 2 * 256 + 24 + 32);
  });

  it("has a key id of type 6, and its key the COSE thumbprint of an AKP key", () => {
    expect(toHex(mldsa44KeyId(origin, mldsa44Key))).to.equal(vectors.keyId);
    const preimage = concatBytes(utf8Encode(`${origin}\n`), Uint8Array.of(6), mldsa44Key);
    expect(toHex(sha256(preimage).subarray(0, 4))).to.equal(vectors.keyId);
    // {1: 7, 3: -48, -1: 1,312 bytes}, in the order of the encoded keys.
    const cose = concatBytes(fromHex("a3010703382f20590520"), mldsa44Key);
    expect(toHex(mldsa44KeyThumbprint(mldsa44Key))).to.equal(toHex(sha256(cose)));
  });

  for (const { name, note, lines } of vectors.accept) {
    it(`is accepted as another implementation signed it: ${name}`, async () => {
      expect(await verifyCheckpoint(note, { ...log, mldsa44Key })).to.deep.equal(
        parseCheckpoint(parseNote(note).text),
      );
      expect(subtreeLines(parseNote(note), origin, mldsa44Key)).to.have.length(lines);
      expect(formatNote(parseNote(note))).to.equal(note);
    });
  }

  for (const { name, note, rule } of vectors.refuse) {
    it(`is refused: ${name}; and ignored by who does not know the key`, async () => {
      expect(await rulesOf(note, mldsa44Key)).to.deep.equal({ kind: "malformedCheckpoint", rule });
      await verifyCheckpoint(note, log);
    });
  }

  it("does not stand in the place of the Ed25519 signature", async () => {
    const alone = formatNote({ text: firstNote.text, signatures: [firstLine] });
    expect(await rulesOf(alone, mldsa44Key)).to.deep.include({ rule: "must be signed by the log's key" });
  });

  const flipped = (bytes: Uint8Array, at: number): Uint8Array =>
    bytes.with(at, (bytes[at] ?? 0) ^ (1 << (at % 8)));

  it("is refused with any one byte changed, of the signature and of its time", async () => {
    const message = subtreeMessage(head, 0n);
    const signature = blob.subarray(8);
    const accepted: number[] = [];
    for (let at = 0; at < signature.length; at += 1) {
      const changed = parseMldsa44Signature(flipped(signature, at));
      if (await verifyMldsa44(mldsa44Key, message, changed)) accepted.push(at);
    }
    expect(accepted).to.deep.equal([]);
    const others = firstNote.signatures.filter((line) => line !== firstLine);
    for (let at = 0; at < 8; at += 1) {
      const changed = { ...firstLine, signature: flipped(blob, at) };
      const note = formatNote({ text: firstNote.text, signatures: [...others, changed] });
      expect(await rulesOf(note, mldsa44Key), `byte ${at}`).to.include({ kind: "malformedCheckpoint" });
    }
  }).timeout(60_000);

  it("is refused alike by OpenSSL and in JavaScript, with a byte of it changed", async () => {
    const message = subtreeMessage(head, 0n);
    const signature = blob.subarray(8);
    const answers = async (signed: Uint8Array) => [
      verifyByOpenssl(mldsa44Key, message, signed),
      await verifyMldsa44InScript(mldsa44Key, message, parseMldsa44Signature(signed)),
    ];
    expect(await answers(signature)).to.deep.equal([true, true]);
    // The last 84 bytes are the hint, whose encoding is checked by itself; of the others every 23rd.
    for (let at = 0; at < signature.length; at += at < 2336 ? 23 : 1) {
      expect(await answers(flipped(signature, at)), `byte ${at}`).to.deep.equal([false, false]);
    }
  }).timeout(60_000);

  it("holds for its key and its message alone", async () => {
    const message = subtreeMessage(head, 0n);
    const signature = parseMldsa44Signature(blob.subarray(8));
    expect(await verifyMldsa44(mldsa44Key, message, signature)).to.equal(true);
    expect(await verifyMldsa44(mldsa44Key, message.with(0, 0), signature)).to.equal(false);
    expect(await verifyMldsa44(parseMldsa44PublicKey(mldsa44Key.with(9, 1)), message, signature)).to.equal(
      false,
    );
  });

  it("is signed by the server's key so that OpenSSL and JavaScript accept it, without a time", async () => {
    const { privateKey } = generateKeyPairSync("ml-dsa-44");
    const signer = createMldsa44Signer(privateKey);
    const line = await signSubtree(head, signer);
    expect(line).to.deep.include({ name: origin, keyId: mldsa44KeyId(origin, signer.publicKey) });
    expect(toHex(line.signature.subarray(0, 8))).to.equal("0".repeat(16));
    const signature = line.signature.subarray(8);
    const message = subtreeMessage(head, 0n);
    expect(verifyByOpenssl(signer.publicKey, message, signature)).to.equal(true);
    expect(await verifyMldsa44InScript(signer.publicKey, message, parseMldsa44Signature(signature))).to.equal(
      true,
    );
    const note = formatNote({ text: firstNote.text, signatures: [...firstNote.signatures, line] });
    await verifyCheckpoint(note, { ...log, mldsa44Key: signer.publicKey });
    // OpenSSL's own signature over the same bytes is another one, as it is randomized, and verifies too.
    const again = sign(null, message, privateKey);
    expect(toBase64(again)).to.not.equal(toBase64(signature));
    expect(await verifyMldsa44(signer.publicKey, message, parseMldsa44Signature(again))).to.equal(true);
  });

  it("is made by no other key than one of ML-DSA-44", () => {
    for (const { privateKey } of [generateKeyPairSync("ed25519"), generateKeyPairSync("ml-dsa-65")]) {
      expect(() => createMldsa44Signer(privateKey)).to.throw("must be an ML-DSA-44 private key");
    }
    const { publicKey } = generateKeyPairSync("ml-dsa-44");
    expect(() => createMldsa44Signer(publicKey)).to.throw("must be an ML-DSA-44 private key");
    expect(fromBase64(toBase64(mldsa44Key))).to.have.length(1312);
  });
});
