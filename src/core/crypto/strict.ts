/**
 * Strict RFC 8032 Ed25519 verification in JavaScript, by noble: canonical points, neither the key nor R of small order.
 * Pure. Of a key that signs again and again the multiples are kept, which takes three quarters of the time away: at
 * most `keyTablesMax` tables of 512 points. Source: docs/spec/record.md §3; SBS 2020, "Taming the many EdDSAs".
 */
import { Point, verifyAsync } from "@noble/ed25519";
import { sha512 } from "@noble/hashes/sha2.js";
import { concatBytes, fromHex, toHex, type PublicKey } from "../bytes.ts";
import { keyTablesMax } from "../limits.ts";
import { KeyTable } from "./key-table.ts";

export type Verify = (publicKey: PublicKey, message: Uint8Array, signature: Uint8Array) => Promise<boolean>;

export const signatureBytes = 64;
const pointBytes = 32;
/** Accepted signatures of one key before it gets a table: whoever signs once never pays for it. */
const tableDueAt = 4;

/** The points whose order divides the cofactor, as they are encoded canonically. */
const smallOrder: ReadonlySet<string> = new Set([
  `01${"00".repeat(31)}`,
  `ec${"ff".repeat(30)}7f`,
  "00".repeat(32),
  `${"00".repeat(31)}80`,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]);

const hasStrictR = (signature: Uint8Array): boolean =>
  signature.length === signatureBytes && !smallOrder.has(toHex(signature.subarray(0, pointBytes)));

/** Library and OpenSSL differ on an R of small order, by version: whoever signs never makes one. */
export const verifyAnew: Verify = async (publicKey, message, signature) =>
  hasStrictR(signature) && (await verifyAsync(signature, message, publicKey, { zip215: false }));

/** Order of the group that the base point generates. */
const order = Point.CURVE().n;

const littleEndian = (bytes: Uint8Array): bigint => BigInt(`0x${toHex(bytes.toReversed())}`);

/** S·B, unless S is not reduced or R no canonical point: then no signature. */
const readSignature = (signature: Uint8Array): { readonly r: Point; readonly sb: Point } | undefined => {
  try {
    const s = littleEndian(signature.subarray(pointBytes));
    return {
      r: Point.fromBytes(signature.subarray(0, pointBytes), false),
      sb: Point.BASE.multiply(s, false),
    };
  } catch {
    return undefined;
  }
};

/** noble's own steps in its own arithmetic: [8](R + [k]A − [S]B) is the identity. Only [k]A comes from the table. */
export const verifyByTable =
  (table: KeyTable): Verify =>
  async (publicKey, message, signature) => {
    // Synchronous up to its answer, so that nobody changes the bytes meanwhile.
    const read = hasStrictR(signature) ? readSignature(signature) : undefined;
    if (read === undefined) return false;
    const signed = concatBytes(signature.subarray(0, pointBytes), publicKey, message);
    const k = littleEndian(sha512(signed)) % order;
    return read.r.add(table.times(k)).subtract(read.sb).clearCofactor().is0();
  };

type Known = { readonly accepted: number; readonly verify: Verify };

/** By key in hex, the least recently accepted first. */
const known = new Map<string, Known>();

/** From the name and not from the caller's bytes, which may have changed since noble accepted the key. */
const noteAccepted = (name: string): void => {
  const { accepted, verify } = known.get(name) ?? { accepted: 0, verify: verifyAnew };
  const isDue = accepted + 1 === tableDueAt;
  known.delete(name);
  known.set(name, {
    accepted: accepted + 1,
    verify: isDue ? verifyByTable(KeyTable.of(fromHex(name))) : verify,
  });
  if (known.size <= keyTablesMax) return;
  const [oldest = name] = known.keys();
  known.delete(oldest);
};

/** By noble anew, and once a key's signatures were accepted a few times, which costs as much as a table, by that. */
export const verifyStrict: Verify = async (publicKey, message, signature) => {
  const name = toHex(publicKey);
  const { verify } = known.get(name) ?? { verify: verifyAnew };
  const isAccepted = await verify(publicKey, message, signature);
  if (isAccepted) noteAccepted(name);
  return isAccepted;
};
