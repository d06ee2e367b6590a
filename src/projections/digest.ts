/**
 * What a projection comes to, in a few hashes: over (position, leaf, state) of every place, whole and by tenant; over
 * the columns of each table; the root of the Merkle tree. The leaf is computed from the envelope's bytes where they are
 * held. Two projections of one ledger at one size are equal when these are. Pure. Source: docs/spec/projections.md §4.
 */
import { concatBytes, u64be, type Hash } from "@sigil/core/bytes";
import { cborEncode, type CborValue } from "@sigil/core/cbor";
import { sha256 } from "@sigil/core/hash";
import { appendLeaves, emptyFrontier, rootOf, type Frontier } from "@sigil/core/merkle";
import { leafOf } from "@sigil/core/verify";
import type { Rows } from "./rows.ts";
import { appendedNames, appendedTables, type Cell, type ColumnType, type Row, type Table } from "./tables.ts";

const nothing: Hash = new Uint8Array(32) as Hash;

export type TenantDigest = { readonly records: bigint; readonly digest: Hash };

export type Digests = {
  readonly frontier: Frontier;
  /** Places with a record, which the others are without since their tenant was erased. */
  readonly held: bigint;
  readonly places: Hash;
  readonly tenants: ReadonlyMap<string, TenantDigest>;
  readonly tables: ReadonlyMap<string, { readonly rows: bigint; readonly digest: Hash }>;
};

export const noDigests: Digests = {
  frontier: emptyFrontier,
  held: 0n,
  places: nothing,
  tenants: new Map(),
  tables: new Map(),
};

const sortKeys = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, entry]) => [key, sortKeys(entry)] as const);
  return Object.fromEntries(entries.sort(([one], [two]) => (one < two ? -1 : 1)));
};

/**
 * A cell as it compares: a database keeps the keys of `jsonb` in an order of its own, and numbers in its own spelling.
 */
const canonicalCell = (type: ColumnType, cell: Cell): CborValue =>
  type === "jsonb" && typeof cell === "string" ? JSON.stringify(sortKeys(JSON.parse(cell))) : cell;

export const canonicalRow = ({ columns }: Table, row: Row): readonly CborValue[] =>
  Object.entries(columns).map(([name, type]) => canonicalCell(type, row[name] ?? null));

const bytesOf = (cell: Cell | undefined): Uint8Array =>
  cell instanceof Uint8Array ? cell : new Uint8Array(0);

type State = {
  readonly position: bigint;
  readonly leaf: Hash;
  readonly isHeld: boolean;
  readonly tenant: string;
};

const stateOf = (row: Row): State => {
  const { position, envelope, leaf, tenant } = row;
  const isHeld = envelope instanceof Uint8Array;
  return {
    position: position as bigint,
    leaf: (isHeld ? leafOf(envelope) : bytesOf(leaf)) as Hash,
    isHeld,
    tenant: typeof tenant === "string" ? tenant : "",
  };
};

/** H(digest ‖ position ‖ leaf ‖ state), the state a byte: 1 held, 0 erased. */
const addState = (digest: Hash, { position, leaf, isHeld }: State): Hash =>
  sha256(concatBytes(digest, u64be(position), leaf, Uint8Array.of(isHeld ? 1 : 0)));

/** H(digest ‖ canonical CBOR of the row's cells). */
const addCells = (digest: Hash, cells: readonly CborValue[]): Hash =>
  sha256(concatBytes(digest, cborEncode(cells)));

/** @param rows of positions after those that the digests have, in order. */
export const addRows = (before: Digests, rows: Rows): Digests => {
  const states = rows.record_versions.map(stateOf);
  const tenants = new Map(before.tenants);
  let [places, held] = [before.places, before.held];
  for (const state of states) {
    places = addState(places, state);
    if (!state.isHeld) continue;
    held += 1n;
    const { records, digest } = tenants.get(state.tenant) ?? { records: 0n, digest: nothing };
    tenants.set(state.tenant, { records: records + 1n, digest: addState(digest, state) });
  }
  const tables = new Map(before.tables);
  for (const name of appendedNames) {
    const known = tables.get(name) ?? { rows: 0n, digest: nothing };
    const digest = rows[name].reduce(
      (sum, row) => addCells(sum, canonicalRow(appendedTables[name], row)),
      known.digest,
    );
    tables.set(name, { rows: known.rows + BigInt(rows[name].length), digest });
  }
  const leaves = states.map(({ leaf }) => leaf);
  const { frontier } = appendLeaves(before.frontier, leaves);
  return { frontier, held, places, tenants, tables };
};

/** Of all columns of all tables. */
export const columnsDigest = ({ tables }: Digests): Hash =>
  sha256(concatBytes(...appendedNames.map((name) => tables.get(name)?.digest ?? nothing)));

export const rootDigest = ({ frontier }: Digests): Hash => rootOf(frontier);
