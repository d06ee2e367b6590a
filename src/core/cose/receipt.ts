/**
 * COSE receipts of inclusion, RFC 9942 with RFC9162_SHA256: a COSE_Sign1 whose detached payload is the tree's root and
 * whose unprotected header holds the path to it. Pure; nothing is verified here. Source: docs/spec/ledger.md §3. A
 * receipt has exactly one encoding.
 */
import { equalBytes, parseHash, parseSignature, parseThumbprint } from "../bytes.ts";
import type { Hash, Signature, Thumbprint } from "../bytes.ts";
import type { CborValue, HeaderMap, HeaderValue } from "../cbor/cbor.ts";
import { majorArray, majorTag } from "../cbor/major.ts";
import { cborDecode, cborDecodeHeader, cborEncode, cborEncodeHeader } from "../cbor/cbor.ts";
import { CborReader } from "../cbor/decode.ts";
import { encodeWith } from "../cbor/encode.ts";
import { fail } from "../errors.ts";
import { treeSizeMax } from "../limits.ts";
import {
  algEdDsa,
  asHeaderMap,
  claimIssuer,
  claimSubject,
  decodeNested,
  headerAlg,
  headerClaims,
  headerKid,
  tagSign1,
} from "./header.ts";

/** Who signed the root, and of which tree: the signature covers both. */
export interface ReceiptHeader {
  /** Of the checkpoint key. */
  readonly kid: Thumbprint;
  readonly origin: string;
  /** `checkpoint/<size>`: one signature for a root, whatever leads to it. */
  readonly subject: string;
}

/** Not signed: it leads to the root, or does not. */
export interface ReceiptPath {
  readonly treeSize: bigint;
  readonly leafIndex: bigint;
  /** From the leaf's sibling to the root's child. */
  readonly proof: readonly Hash[];
}

export interface Receipt extends ReceiptHeader, ReceiptPath {
  /** As signed. */
  readonly protectedBytes: Uint8Array;
  readonly signature: Signature;
}

const headerVds = 395;
const headerVdp = 396;
const rfc9162Sha256 = 1;
const inclusionProofs = -1;
const pathMax = 64;
const simpleNull = 0xf6;

const malformed = (rule: string, cause?: unknown): never =>
  fail({ kind: "malformedCose", rule: `receipt: ${rule}` }, { cause });

/** The subject of a receipt for a tree of this size. */
export const receiptSubject = (treeSize: bigint): string => `checkpoint/${treeSize}`;

export const encodeReceiptHeader = ({ kid, origin, subject }: ReceiptHeader): Uint8Array =>
  cborEncodeHeader(
    new Map<number, HeaderValue>([
      [headerAlg, algEdDsa],
      [headerKid, kid],
      [
        headerClaims,
        new Map([
          [claimIssuer, origin],
          [claimSubject, subject],
        ]),
      ],
      [headerVds, rfc9162Sha256],
    ]),
  );

const encodePath = ({ treeSize, leafIndex, proof }: ReceiptPath): HeaderMap =>
  new Map([[headerVdp, new Map([[inclusionProofs, [cborEncode([treeSize, leafIndex, proof])]]])]]);

/** @throws malformedCose if it would not parse back, as a tree of one leaf would not: it has no path. */
export const encodeReceipt = (
  parts: ReceiptPath & { readonly protectedBytes: Uint8Array; readonly signature: Uint8Array },
): Uint8Array => {
  const bytes = encodeWith((writer) => {
    writer.head(majorTag, tagSign1);
    writer.head(majorArray, 4);
    writer.bytes(parts.protectedBytes);
    writer.headerValue(encodePath(parts));
    writer.value(null);
    writer.bytes(parts.signature);
  });
  parseReceipt(bytes);
  return bytes;
};

const parseHeader = (protectedBytes: Uint8Array): ReceiptHeader => {
  const decoded = decodeNested("protected header", () => cborDecodeHeader(protectedBytes), malformed);
  const header = asHeaderMap(decoded, 4);
  if (header?.get(headerAlg) !== algEdDsa) malformed("alg must be EdDSA (-8)");
  if (header?.get(headerVds) !== rfc9162Sha256) malformed("the tree must be RFC9162_SHA256 (395: 1)");
  const kid = header?.get(headerKid);
  if (!(kid instanceof Uint8Array) || kid.length !== 32) return malformed("kid must be 32 bytes");
  const claims = asHeaderMap(header?.get(headerClaims), 2);
  const [origin, subject] = [claims?.get(claimIssuer), claims?.get(claimSubject)];
  if (typeof origin !== "string" || typeof subject !== "string" || origin === "") {
    return malformed("CWT claims must be issuer and subject");
  }
  return { kid: parseThumbprint(kid), origin, subject };
};

const uint64 = (value: CborValue | undefined, rule: string): bigint => {
  const count = typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
  return typeof count === "bigint" && count >= 0n && count <= treeSizeMax ? count : malformed(rule);
};

const parsePath = (unprotected: HeaderValue): ReceiptPath => {
  const rule = "must hold one inclusion proof (396: {-1: [proof]}) and nothing else";
  const proofs = asHeaderMap(asHeaderMap(unprotected, 1)?.get(headerVdp), 1)?.get(inclusionProofs);
  const [bytes] = Array.isArray(proofs) && proofs.length === 1 ? (proofs as readonly HeaderValue[]) : [];
  if (!(bytes instanceof Uint8Array)) return malformed(rule);
  const parts = decodeNested("inclusion proof", () => cborDecode(bytes), malformed);
  if (!Array.isArray(parts) || parts.length !== 3)
    return malformed("an inclusion proof is an array of three");
  const [size, index, path] = parts as readonly CborValue[];
  const treeSize = uint64(size, "the tree's size must be a uint64");
  const leafIndex = uint64(index, "the leaf's index must be a uint64");
  const isPath = Array.isArray(path) && path.length > 0 && path.length <= pathMax;
  if (!isPath) return malformed(`the path must have 1 to ${pathMax} hashes`);
  const proof = (path as readonly CborValue[]).map((hash) =>
    hash instanceof Uint8Array && hash.length === 32 ? parseHash(hash) : malformed("a hash must be 32 bytes"),
  );
  return { treeSize, leafIndex, proof };
};

/** Strict: `encodeReceipt` of the result gives the bytes. @throws malformedCose, malformedCbor. */
export const parseReceipt = (bytes: Uint8Array): Receipt => {
  const reader = new CborReader(bytes, "headerKeys");
  const part = (rule: string): Uint8Array => {
    const range = reader.byteRange() ?? malformed(rule);
    return Uint8Array.from(bytes.subarray(range.start, range.end));
  };
  if (!reader.take((majorTag << 5) | tagSign1)) malformed("must begin with tag 18");
  if (!reader.take((majorArray << 5) | 4)) malformed("must be an array of four");
  const protectedBytes = part("protected header must be a byte string");
  const path = parsePath(reader.value() as HeaderValue);
  if (!reader.take(simpleNull)) malformed("the payload is detached: it must be null");
  const signature = part("signature must be a byte string");
  if (signature.length !== 64) malformed("signature must be 64 bytes");
  reader.done();
  const header = parseHeader(protectedBytes);
  if (!equalBytes(encodeReceiptHeader(header), protectedBytes))
    malformed("protected header has other labels");
  return { ...header, ...path, protectedBytes, signature: parseSignature(signature) };
};
