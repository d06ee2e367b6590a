/**
 * RFC 6962 §2.1 as its text has it: recursive, from all the leaves, every time. Deliberately dumb, and on purpose
 * without a line of `src/core/merkle`: the second opinion that the real one is held to.
 */
import { hash } from "node:crypto";
import { parseHash } from "../../../src/core/bytes.ts";
import type { Hash } from "../../../src/core/bytes.ts";

const sha256 = (data: Uint8Array): Hash => parseHash(hash("sha256", data, "buffer"));

/** Entry number i of the sample trees: SHA-256 of i in ASCII decimal. */
export const sampleEntry = (index: number): Uint8Array => sha256(Buffer.from(String(index)));

export const sampleEntries = (count: number): readonly Uint8Array[] =>
  Array.from({ length: count }, (_, index) => sampleEntry(index));

const half = (count: number): number => {
  let power = 1;
  while (power * 2 < count) power *= 2;
  return power;
};

export const naiveLeaf = (entry: Uint8Array): Hash => sha256(Buffer.concat([Buffer.of(0), entry]));

export const naiveRoot = (entries: readonly Uint8Array[]): Hash => {
  const [first] = entries;
  if (first === undefined) return sha256(new Uint8Array(0));
  if (entries.length === 1) return naiveLeaf(first);
  const middle = half(entries.length);
  const children = [naiveRoot(entries.slice(0, middle)), naiveRoot(entries.slice(middle))];
  return sha256(Buffer.concat([Buffer.of(1), ...children]));
};

/** PATH(m, D[n]) */
export const naiveInclusion = (leaf: number, entries: readonly Uint8Array[]): readonly Hash[] => {
  if (entries.length <= 1) return [];
  const middle = half(entries.length);
  const [left, right] = [entries.slice(0, middle), entries.slice(middle)];
  return leaf < middle
    ? [...naiveInclusion(leaf, left), naiveRoot(right)]
    : [...naiveInclusion(leaf - middle, right), naiveRoot(left)];
};

/** SUBPROOF(m, D[n], b) */
const subproof = (old: number, entries: readonly Uint8Array[], known: boolean): readonly Hash[] => {
  if (old === entries.length) return known ? [] : [naiveRoot(entries)];
  const middle = half(entries.length);
  const [left, right] = [entries.slice(0, middle), entries.slice(middle)];
  return old <= middle
    ? [...subproof(old, left, known), naiveRoot(right)]
    : [...subproof(old - middle, right, false), naiveRoot(left)];
};

/** PROOF(m, D[n]), and empty for m = 0. */
export const naiveConsistency = (old: number, entries: readonly Uint8Array[]): readonly Hash[] =>
  old === 0 ? [] : subproof(old, entries, true);
