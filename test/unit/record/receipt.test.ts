/** COSE receipts and tlog-proofs: one encoding each, and nothing believed that does not lead to a signed root. */
import { generateKeyPairSync } from "node:crypto";
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { parseHash, toHex, utf8Encode, type Hash } from "../../../src/core/bytes.ts";
import { cborEncode, cborEncodeHeader, type HeaderValue } from "../../../src/core/cbor/cbor.ts";
import { encodeWith } from "../../../src/core/cbor/encode.ts";
import { coseKeyThumbprint, toBeSigned } from "../../../src/core/cose/cose.ts";
import {
  encodeReceipt,
  encodeReceiptHeader,
  parseReceipt,
  receiptSubject,
} from "../../../src/core/cose/receipt.ts";
import { Fault } from "../../../src/core/errors.ts";
import { sha256 } from "../../../src/core/hash.ts";
import { verifyOwn } from "../../../src/core/keys/verify.ts";
import { signCheckpoint } from "../../../src/core/merkle/checkpoint.ts";
import { formatTlogProof, parseTlogProof } from "../../../src/core/merkle/tlog-proof.ts";
import { verifyReceipt, verifyTlogProof } from "../../../src/core/verify/receipt.ts";
import { createSigner } from "../../../src/crypto/signing/sign.ts";
import { naiveInclusion, naiveRoot } from "../merkle/naive-tree.ts";

const origin = "ledger.test/receipts";
const signer = createSigner(generateKeyPairSync("ed25519").privateKey);
const { publicKey, thumbprint: kid } = signer;
const log = { origin, publicKey, verify: verifyOwn };

const entries = Array.from({ length: 11 }, (_, index) => sha256(utf8Encode(`envelope ${index}`)));
const rootAt = (size: bigint): Hash => naiveRoot(entries.slice(0, Number(size)));

const ruleOf = async (work: () => unknown): Promise<string> => {
  try {
    await work();
  } catch (error) {
    if (error instanceof Fault) return error.message;
    throw error;
  }
  return "accepted";
};

const pathIn = (treeSize: bigint, leafIndex: bigint): readonly Hash[] =>
  naiveInclusion(Number(leafIndex), entries.slice(0, Number(treeSize)));

const receiptFor = async (treeSize: bigint, leafIndex: bigint): Promise<Uint8Array> => {
  const protectedBytes = encodeReceiptHeader({ kid, origin, subject: receiptSubject(treeSize) });
  const root = rootAt(treeSize);
  const signature = await signer.sign(toBeSigned(protectedBytes, root));
  const proof = pathIn(treeSize, leafIndex);
  return encodeReceipt({ protectedBytes, signature, treeSize, leafIndex, proof });
};

const entryAt = (index: bigint): Hash => entries[Number(index)] as Hash;

describe("COSE receipts", () => {
  it("verify for every leaf of every tree, and for no other entry", async () => {
    for (let treeSize = 2n; treeSize <= 11n; treeSize += 1n) {
      for (let leafIndex = 0n; leafIndex < treeSize; leafIndex += 1n) {
        const receipt = await receiptFor(treeSize, leafIndex);
        const root = rootAt(treeSize);
        expect(await verifyReceipt(receipt, entryAt(leafIndex), log)).to.deep.equal({
          leafIndex,
          treeSize,
          root,
        });
        const other = entryAt((leafIndex + 1n) % treeSize);
        expect(await ruleOf(() => verifyReceipt(receipt, other, log))).to.match(/signature must verify/);
        const { protectedBytes, signature, proof } = parseReceipt(receipt);
        const again = encodeReceipt({ protectedBytes, signature, treeSize, leafIndex, proof });
        expect(toHex(again)).to.equal(toHex(receipt));
      }
    }
  });

  it("with any byte changed, cut or added are refused", async () => {
    const receipt = await receiptFor(11n, 6n);
    const refusedAt: number[] = [];
    for (const [at, byte] of receipt.entries()) {
      for (const bit of [1, 0x80]) {
        const rule = await ruleOf(() => verifyReceipt(receipt.with(at, byte ^ bit), entryAt(6n), log));
        if (rule === "accepted") refusedAt.push(at);
      }
      const cut = await ruleOf(() => verifyReceipt(receipt.slice(0, at), entryAt(6n), log));
      if (cut === "accepted") refusedAt.push(at);
    }
    expect(refusedAt).to.deep.equal([]);
    const longer = new Uint8Array([...receipt, 0]);
    expect(await ruleOf(() => verifyReceipt(longer, entryAt(6n), log))).to.not.equal("accepted");
  });

  it("of another log, another key, or a tree other than the signed one are refused by that rule", async () => {
    const receipt = await receiptFor(8n, 3n);
    const strange = createSigner(generateKeyPairSync("ed25519").privateKey);
    const verify = (trusted: Partial<typeof log>): Promise<string> =>
      ruleOf(() => verifyReceipt(receipt, entryAt(3n), { ...log, ...trusted }));
    expect(await verify({ origin: "other" })).to.match(/origin must be the one expected/);
    expect(await verify({ publicKey: strange.publicKey })).to.match(/must be signed by the log's key/);
    const { protectedBytes, signature, proof } = parseReceipt(receipt);
    // The same leaf and path in a tree of seven have another length, in one of eight the subject says so.
    const moved = encodeReceipt({ protectedBytes, signature, treeSize: 7n, leafIndex: 3n, proof });
    expect(await ruleOf(() => verifyReceipt(moved, entryAt(3n), log))).to.match(/path must be of the tree/);
  });

  describe("in another form", () => {
    let [signature, proof]: [Uint8Array, readonly Hash[]] = [new Uint8Array(64), []];
    const labels = (): [number, HeaderValue][] => [
      [1, -8],
      [4, kid],
      [
        15,
        new Map<number, HeaderValue>([
          [1, origin],
          [2, receiptSubject(11n)],
        ]),
      ],
      [395, 1],
    ];
    const written = (
      header: readonly (readonly [number, HeaderValue])[],
      unprotected: HeaderValue,
      payload: Uint8Array | null = null,
    ): Uint8Array =>
      encodeWith((writer) => {
        writer.head(6, 18);
        writer.head(4, 4);
        writer.bytes(cborEncodeHeader(new Map(header)));
        writer.headerValue(unprotected);
        writer.value(payload);
        writer.bytes(signature);
      });
    const proofs = (...list: readonly Uint8Array[]): HeaderValue => new Map([[396, new Map([[-1, list]])]]);
    const one = (): Uint8Array => cborEncode([11n, 6n, proof]);

    before(async () => ({ signature, proof } = parseReceipt(await receiptFor(11n, 6n))));

    const table: readonly (readonly [string, () => Uint8Array, RegExp])[] = [
      ["no alg", () => written(labels().slice(1), proofs(one())), /alg must be/],
      ["another alg", () => written([[1, -7], ...labels().slice(1)], proofs(one())), /alg must be/],
      ["another tree", () => written([...labels().slice(0, 3), [395, 2]], proofs(one())), /RFC9162_SHA256/],
      [
        "a short kid",
        () => written([[1, -8], [4, kid.slice(1)], ...labels().slice(2)], proofs(one())),
        /kid/,
      ],
      ["a label more", () => written([...labels(), [3, "text/plain"]], proofs(one())), /receipt: /],
      ["claims that are text", () => written(labels().with(2, [15, "x"]), proofs(one())), /CWT claims/],
      ["no proof", () => written(labels(), proofs()), /one inclusion proof/],
      ["two proofs", () => written(labels(), proofs(one(), one())), /one inclusion proof/],
      ["an empty header", () => written(labels(), new Map()), /one inclusion proof/],
      ["an attached payload", () => written(labels(), proofs(one()), new Uint8Array(32)), /detached/],
      ["no path", () => written(labels(), proofs(cborEncode([1, 0, []]))), /1 to 64 hashes/],
      ["a long path", () => written(labels(), proofs(cborEncode([1, 0, Array(65).fill(kid)]))), /1 to 64/],
      ["a short hash", () => written(labels(), proofs(cborEncode([2, 0, [kid.slice(1)]]))), /32 bytes/],
      [
        "a negative size",
        () => written(labels(), proofs(cborEncode([-1, 0, [kid]]))),
        /size must be a uint64/,
      ],
      [
        "a negative index",
        () => written(labels(), proofs(cborEncode([2, -1, [kid]]))),
        /index must be a uint64/,
      ],
      ["a proof of two", () => written(labels(), proofs(cborEncode([2, [kid]]))), /array of three/],
    ];
    for (const [name, make, rule] of table) {
      it(`refuses ${name}`, async () => expect(await ruleOf(() => parseReceipt(make()))).to.match(rule));
    }

    it("accepts what the table's parts make whole", async () => {
      const whole = written(labels(), proofs(one()));
      expect(await verifyReceipt(whole, entryAt(6n), log)).to.include({ leafIndex: 6n });
    });
  });
});

describe("tlog-proofs", () => {
  const proofFor = async (size: bigint, leafIndex: bigint): Promise<string> => {
    const root = rootAt(size);
    const checkpoint = await signCheckpoint({ origin, size, root }, signer);
    return formatTlogProof({ leafIndex, proof: pathIn(size, leafIndex), checkpoint });
  };

  it("verify for every leaf of every tree, and for no other entry", async () => {
    for (let size = 1n; size <= 11n; size += 1n) {
      for (let leafIndex = 0n; leafIndex < size; leafIndex += 1n) {
        const text = await proofFor(size, leafIndex);
        expect(await verifyTlogProof(text, entryAt(leafIndex), log)).to.include({
          leafIndex,
          treeSize: size,
        });
        const other = parseHash(sha256(utf8Encode("no entry")));
        expect(await ruleOf(() => verifyTlogProof(text, other, log))).to.match(/must lead to the root/);
        expect(formatTlogProof(parseTlogProof(text))).to.equal(text);
      }
    }
  });

  it("have one form", async () => {
    const text = await proofFor(11n, 6n);
    const lines = text.split("\n");
    const table: readonly (readonly [string, string, RegExp])[] = [
      ["another header", text.replace("@v1", "@v2"), /must begin with/],
      ["no index", lines.toSpliced(1, 1).join("\n"), /must name the index/],
      ["a leading zero", text.replace("index 6", "index 06"), /must name the index/],
      ["a large index", text.replace("index 6", `index ${2n ** 64n}`), /uint64/],
      ["a line that is no hash", lines.with(2, "AAAA").join("\n"), /32 bytes/],
      ["a line that is no base64", lines.with(2, "!").join("\n"), /32 bytes/],
      ["no checkpoint", text.slice(0, text.indexOf("\n\n")), /empty line/],
      ["a checkpoint without signatures", text.slice(0, text.indexOf("\n\u2014")), /./],
      [
        "a long path",
        lines.toSpliced(2, 0, ...Array<string>(65).fill(lines[2] ?? "")).join("\n"),
        /at most 64/,
      ],
      ["extra after the index", lines.toSpliced(2, 0, "extra AAAA").join("\n"), /32 bytes/],
      ["extra that is no base64", lines.toSpliced(1, 0, "extra !").join("\n"), /extra data/],
    ];
    for (const [name, changed, rule] of table) {
      expect(await ruleOf(() => parseTlogProof(changed)), name).to.match(rule);
    }
    const extra = utf8Encode("trust me");
    const more = formatTlogProof({ ...parseTlogProof(text), extra });
    expect(parseTlogProof(more)).to.deep.equal({ ...parseTlogProof(text), extra });
    expect(await verifyTlogProof(more, entryAt(6n), log)).to.include({ leafIndex: 6n });
  });

  it("of another log or key are refused", async () => {
    const text = await proofFor(11n, 6n);
    const strange = createSigner(generateKeyPairSync("ed25519").privateKey);
    const refused = (trusted: Partial<typeof log>): Promise<string> =>
      ruleOf(() => verifyTlogProof(text, entryAt(6n), { ...log, ...trusted }));
    expect(await refused({ origin: "other" })).to.match(/origin/);
    expect(await refused({ publicKey: strange.publicKey })).to.match(/log's key/);
    expect(toHex(coseKeyThumbprint(publicKey))).to.equal(toHex(kid));
  });
});
