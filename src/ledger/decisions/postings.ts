/**
 * Postings of one segment: for each term the ordinals of the decisions that have it, relative to the segment's first,
 * sorted by term and then ordinal, split into values of about 8 KiB. A fence holds the first posting of each value, so
 * that finding a term reads one value. Within a value: term u32be ‖ count ‖ first ordinal ‖ deltas, the last three as
 * LEB128. Pure.
 */
import { fail } from "../../errors.ts";
import { postingsBytesMax } from "../../limits.ts";
import type { DecisionEntry } from "./rows.ts";

/** First posting of each value of a segment, and the total number of postings. */
export type Fence = {
  readonly postings: number;
  readonly terms: Uint32Array;
  readonly ordinals: Uint32Array;
};

const malformed = (): never =>
  fail({ kind: "ledgerCorrupt", position: 0n, rule: "postings of the decision index are malformed" });

const fenceEntryBytes = 8;

export const formatFence = ({ postings, terms, ordinals }: Fence): Uint8Array => {
  const bytes = new Uint8Array(4 + fenceEntryBytes * terms.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, postings);
  for (const [index, term] of terms.entries()) {
    view.setUint32(4 + fenceEntryBytes * index, term);
    view.setUint32(8 + fenceEntryBytes * index, ordinals[index] ?? 0);
  }
  return bytes;
};

/** @throws ledgerCorrupt. */
export const parseFence = (bytes: Uint8Array): Fence => {
  if (bytes.length < 4 || (bytes.length - 4) % fenceEntryBytes !== 0) return malformed();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = (bytes.length - 4) / fenceEntryBytes;
  const at = (offset: number) => (_: unknown, index: number) =>
    view.getUint32(offset + fenceEntryBytes * index);
  return {
    postings: view.getUint32(0),
    terms: Uint32Array.from({ length: count }, at(4)),
    ordinals: Uint32Array.from({ length: count }, at(8)),
  };
};

/** Index of the first value whose first posting is past (term, ordinal). */
const valueAfter = ({ terms, ordinals }: Fence, term: number, ordinal: number): number => {
  let [low, high] = [0, terms.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const found = terms[middle] as number;
    if (found < term || (found === term && (ordinals[middle] as number) <= ordinal)) low = middle + 1;
    else high = middle;
  }
  return low;
};

/** Index of the only value that can hold (term, ordinal). */
export const valueOf = (fence: Fence, term: number, ordinal: number): number =>
  Math.max(0, valueAfter(fence, term, ordinal) - 1);

/** Range of values that may hold ordinals of the term: `first` inclusive, `end` exclusive. */
export const valuesOf = (fence: Fence, term: number): { readonly first: number; readonly end: number } => ({
  first: valueOf(fence, term, -1),
  end: valueAfter(fence, term, 0xffff_ffff),
});

/** Splits sorted postings into values. */
export class PostingsWriter {
  readonly #onValue: (bytes: Uint8Array) => void;
  readonly #bytes = new Uint8Array(postingsBytesMax + 64);
  readonly #terms: number[] = [];
  readonly #ordinals: number[] = [];
  /** The group being written: a term and its ordinals in this value. */
  #term = -1;
  #group: number[] = [];
  #groupBytes = 0;
  #used = 0;
  #postings = 0;

  constructor(onValue: (bytes: Uint8Array) => void) {
    this.#onValue = onValue;
  }

  /** Call in order of term, then ordinal. */
  add(term: number, ordinal: number): void {
    if (term !== this.#term) {
      this.#endGroup();
      this.#term = term;
    }
    // A varint takes at most five bytes; a group begins with a term, a count and a first ordinal.
    if (this.#used + this.#groupBytes + 16 > postingsBytesMax) {
      this.#endGroup();
      this.#endValue();
    }
    if (this.#used === 0 && this.#group.length === 0) {
      this.#terms.push(term);
      this.#ordinals.push(ordinal);
    }
    this.#groupBytes +=
      this.#group.length === 0 ? 16 : lengthOf(ordinal - (this.#group[this.#group.length - 1] as number));
    this.#group.push(ordinal);
    this.#postings += 1;
  }

  /** @returns the fence of what was written. */
  end(): Fence {
    this.#endGroup();
    this.#endValue();
    return {
      postings: this.#postings,
      terms: Uint32Array.from(this.#terms),
      ordinals: Uint32Array.from(this.#ordinals),
    };
  }

  #endGroup(): void {
    const group = this.#group;
    if (group.length === 0) return;
    const bytes = this.#bytes;
    const term = this.#term;
    bytes[this.#used] = term >>> 24;
    bytes[this.#used + 1] = term >>> 16;
    bytes[this.#used + 2] = term >>> 8;
    bytes[this.#used + 3] = term;
    this.#used += 4;
    this.#write(group.length);
    let before = 0;
    for (const ordinal of group) {
      this.#write(ordinal - before);
      before = ordinal;
    }
    this.#group = [];
    this.#groupBytes = 0;
  }

  #endValue(): void {
    if (this.#used === 0) return;
    this.#onValue(this.#bytes.slice(0, this.#used));
    this.#used = 0;
  }

  #write(value: number): void {
    let left = value;
    while (left > 0x7f) {
      this.#bytes[this.#used] = (left & 0x7f) | 0x80;
      this.#used += 1;
      left >>>= 7;
    }
    this.#bytes[this.#used] = left;
    this.#used += 1;
  }
}

const lengthOf = (value: number): number =>
  value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5;

/** Iterates over a value's postings. @throws ledgerCorrupt. */
export class PostingsReader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #left = 0;
  term = 0;
  ordinal = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Moves to the next posting. @returns false at the end. */
  next(): boolean {
    if (this.#left === 0) {
      const [at, bytes] = [this.#at, this.#bytes];
      if (at === bytes.length) return false;
      if (at + 4 > bytes.length) return malformed();
      this.term =
        (((bytes[at] as number) << 24) |
          ((bytes[at + 1] as number) << 16) |
          ((bytes[at + 2] as number) << 8) |
          (bytes[at + 3] as number)) >>>
        0;
      this.#at = at + 4;
      this.#left = this.#read();
      this.ordinal = 0;
      if (this.#left === 0) return malformed();
    }
    this.ordinal += this.#read();
    this.#left -= 1;
    return true;
  }

  #read(): number {
    let [value, shift] = [0, 0];
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined || shift > 28) return malformed();
      this.#at += 1;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
      shift += 7;
    }
  }
}

/** Ordinals of a term in one value, ascending. @throws ledgerCorrupt. */
export const ordinalsIn = (value: Uint8Array, term: number): readonly number[] => {
  const ordinals: number[] = [];
  const reader = new PostingsReader(value);
  while (reader.next()) {
    if (reader.term === term) ordinals.push(reader.ordinal);
    else if (reader.term > term) break;
  }
  return ordinals;
};

/** Ordinals below this fit into one double with their term, so that sorting numbers sorts postings. */
const ordinalsMax = 2 ** 16;

/** Writes the postings of consecutive decisions, the first with ordinal 0. At most 65,536. */
export const writePostings = (
  entries: readonly DecisionEntry[],
  onValue: (bytes: Uint8Array) => void,
): Fence => {
  const postings = new Float64Array(entries.reduce((sum, { terms }) => sum + terms.length, 0));
  let count = 0;
  for (const [ordinal, { terms }] of entries.entries()) {
    for (const term of terms) {
      postings[count] = term * ordinalsMax + ordinal;
      count += 1;
    }
  }
  postings.sort();
  const writer = new PostingsWriter(onValue);
  for (const posting of postings) writer.add(Math.floor(posting / ordinalsMax), posting % ordinalsMax);
  return writer.end();
};
