/**
 * Decisions of a tenant by their ordinal: 0, 1, 2, … in the order of the ledger. The newest are in tail values, one per
 * commit, with all their terms; the others in immutable values of `decisionRowsMax` rows. Pure.
 */
import { fail } from "../../errors.ts";
import { decisionRowsMax } from "../../limits.ts";

/** A decision's position, time, and the terms of its caller and subject. */
export type DecisionRow = {
  readonly position: number;
  readonly ts: number;
  readonly subject: number;
  readonly caller: number;
};

/** A row with every term the decision can be found by, including those of subject and caller. */
export type DecisionEntry = DecisionRow & { readonly terms: readonly number[] };

const rowBytes = 24;
/** Fixed part of an entry, before its terms: a row and the number of terms. */
const entryBytes = rowBytes + 1;
const clockBytes = 16;

/** Values above 2^53 are never written; a damaged value that reads so is caught by later comparisons. */
const readU64 = (view: DataView, offset: number): number =>
  view.getUint32(offset) * 2 ** 32 + view.getUint32(offset + 4);

const writeU64 = (view: DataView, offset: number, value: number): void => {
  view.setUint32(offset, Math.floor(value / 2 ** 32));
  view.setUint32(offset + 4, value % 2 ** 32);
};

const writeRow = (view: DataView, offset: number, row: DecisionRow): void => {
  writeU64(view, offset, row.position);
  writeU64(view, offset + 8, row.ts);
  view.setUint32(offset + 16, row.subject);
  view.setUint32(offset + 20, row.caller);
};

const readRow = (view: DataView, offset: number): DecisionRow => ({
  position: readU64(view, offset),
  ts: readU64(view, offset + 8),
  subject: view.getUint32(offset + 16),
  caller: view.getUint32(offset + 20),
});

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const malformed = (rule: string): never => fail({ kind: "ledgerCorrupt", position: 0n, rule });

export const formatTail = (entries: readonly DecisionEntry[]): Uint8Array => {
  const size = entries.reduce((sum, { terms }) => sum + entryBytes + 4 * terms.length, 0);
  const bytes = new Uint8Array(size);
  const view = viewOf(bytes);
  let at = 0;
  for (const entry of entries) {
    writeRow(view, at, entry);
    view.setUint8(at + rowBytes, entry.terms.length);
    at += entryBytes;
    for (const term of entry.terms) {
      view.setUint32(at, term);
      at += 4;
    }
  }
  return bytes;
};

/** @throws ledgerCorrupt. */
export const parseTail = (bytes: Uint8Array): readonly DecisionEntry[] => {
  const view = viewOf(bytes);
  const entries: DecisionEntry[] = [];
  let at = 0;
  while (at < bytes.length) {
    const count = at + entryBytes > bytes.length ? bytes.length : view.getUint8(at + rowBytes);
    if (at + entryBytes + 4 * count > bytes.length)
      return malformed("a tail of the decision index is malformed");
    const terms: number[] = [];
    for (let index = 0; index < count; index += 1) terms.push(view.getUint32(at + entryBytes + 4 * index));
    entries.push({ ...readRow(view, at), terms });
    at += entryBytes + 4 * count;
  }
  return entries;
};

/**
 * Bound on time disorder up to some decision. Clocks step back, so times are not sorted, but none is more than
 * `latenessMs` below the maximum before it.
 */
export type Clock = { readonly latestMs: number; readonly latenessMs: number };
export const noTime: Clock = { latestMs: 0, latenessMs: 0 };
export const clockAfter = ({ latestMs, latenessMs }: Clock, ts: number): Clock => ({
  latestMs: Math.max(latestMs, ts),
  latenessMs: Math.max(latenessMs, latestMs - ts),
});

/** One value of rows, and the clock after its last row. */
export type Rows = {
  readonly clock: Clock;
  /** @param index 0 to `decisionRowsMax` − 1. */
  readonly at: (index: number) => DecisionRow;
  readonly positionAt: (index: number) => number;
};

export const formatRows = (rows: readonly DecisionRow[], clock: Clock): Uint8Array => {
  const bytes = new Uint8Array(clockBytes + rowBytes * rows.length);
  const view = viewOf(bytes);
  writeU64(view, 0, clock.latestMs);
  writeU64(view, 8, clock.latenessMs);
  for (const [index, row] of rows.entries()) writeRow(view, clockBytes + rowBytes * index, row);
  return bytes;
};

/** @throws ledgerCorrupt. */
export const parseRows = (bytes: Uint8Array): Rows => {
  if (bytes.length !== clockBytes + rowBytes * decisionRowsMax) {
    return malformed("rows of the decision index are malformed");
  }
  const view = viewOf(bytes);
  return {
    clock: { latestMs: readU64(view, 0), latenessMs: readU64(view, 8) },
    at: (index) => readRow(view, clockBytes + rowBytes * index),
    positionAt: (index) => readU64(view, clockBytes + rowBytes * index),
  };
};
