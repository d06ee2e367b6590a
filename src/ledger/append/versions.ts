/**
 * Assigns version numbers within one commit: the newest versions loaded from the store, plus those added by earlier
 * units of the batch. A refused unit leaves no trace. Decisions and module runs have fresh ids by construction and are
 * not looked up.
 */
import { equalBytes, type Hash } from "@sigil/core/bytes";
import { assert, SigilFault, type SigilError } from "../../errors.ts";
import type { RecordBody } from "@sigil/core/record";
import type { Store } from "../../storage/store.ts";
import type { Head } from "../layout/indexes.ts";
import { readHead } from "../layout/lookup.ts";

type KnownHead = Head & { readonly hash: Hash };

/** A record that needs a version number. */
export type Versioned = { readonly body: RecordBody; readonly hash: Hash };

export type VersionsOutcome =
  /** `accept` makes the heads visible to later units. */
  | { readonly kind: "accepted"; readonly heads: readonly Head[]; readonly accept: () => void }
  | { readonly kind: "refused"; readonly error: SigilError };

/** By id name: its newest version, undefined if the id is new, or the error that reading it gave. */
export type LoadedHeads = ReadonlyMap<string, KnownHead | SigilError | undefined>;

/** Whether the predecessor record is damaged, which affects only its id, not the store. */
const isDamage = (error: SigilError): boolean =>
  error.kind === "recordCorrupt" || error.kind === "ledgerCorrupt";

/** Kinds that only the server writes, each under a fresh random id, so that no lookup is needed. */
const freshKinds: ReadonlySet<string> = new Set(["frozen_chain", "module_run"]);

/** Whether the record's id must be looked up before it is written. */
export const isVersioned = ({ kind }: Pick<RecordBody, "kind">): boolean => !freshKinds.has(kind);

const firstVersion = ({ id, prev }: RecordBody, position: bigint): Head | SigilError =>
  prev === null ? { position, version: 1n } : { kind: "staleVersion", id, version: 0n };

const nameOf = ({ tenant, space, id }: RecordBody): string => `${tenant}\0${space}\0${id}`;

const loadHead = async (
  { tenant, space, id }: RecordBody,
  store: Store,
  readHash: (position: bigint) => Promise<Hash>,
): Promise<KnownHead | SigilError | undefined> => {
  try {
    const head = await readHead(store, tenant, space, id);
    return head && { ...head, hash: await readHash(head.position) };
  } catch (error) {
    if (error instanceof SigilFault && isDamage(error.error)) return error.error;
    throw error;
  }
};

/** Reads the newest version of each record's id, once per id, sequentially. */
export const loadHeads = async (
  records: Iterable<Pick<Versioned, "body">>,
  store: Store,
  readHash: (position: bigint) => Promise<Hash>,
): Promise<LoadedHeads> => {
  const heads = new Map<string, KnownHead | SigilError | undefined>();
  for (const { body } of records) {
    if (!isVersioned(body)) continue;
    const name = nameOf(body);
    if (!heads.has(name)) heads.set(name, await loadHead(body, store, readHash));
  }
  return heads;
};

export class Versions {
  readonly #loaded: LoadedHeads;
  /** Heads added by earlier units. */
  readonly #added = new Map<string, KnownHead>();

  /** @param loaded must cover every id that a unit may write. */
  constructor(loaded: LoadedHeads) {
    this.#loaded = loaded;
  }

  /** The versions of one unit's records at `first`, `first + 1`, …, or why the unit is refused. */
  plan(records: readonly Versioned[], first: bigint): VersionsOutcome {
    const added = new Map<string, KnownHead>();
    const heads: Head[] = [];
    for (const record of records) {
      const position = first + BigInt(heads.length);
      const head = isVersioned(record.body)
        ? this.#next(record, position, added)
        : firstVersion(record.body, position);
      if ("kind" in head) return { kind: "refused", error: head };
      heads.push(head);
    }
    const accept = (): void => {
      for (const [name, head] of added) this.#added.set(name, head);
    };
    return { kind: "accepted", heads, accept };
  }

  #next({ body, hash }: Versioned, position: bigint, added: Map<string, KnownHead>): Head | SigilError {
    const { id, prev } = body;
    const name = nameOf(body);
    const before = added.get(name) ?? this.#added.get(name) ?? this.#load(name);
    if (before !== undefined && "kind" in before) return before;
    const follows = before === undefined ? prev === null : prev !== null && equalBytes(prev, before.hash);
    if (!follows) return { kind: "staleVersion", id, version: before?.version ?? 0n };
    const head = { position, version: (before?.version ?? 0n) + 1n };
    added.set(name, { ...head, hash });
    return head;
  }

  #load(name: string): KnownHead | SigilError | undefined {
    assert(this.#loaded.has(name), "an id's newest version is looked up before a commit");
    return this.#loaded.get(name);
  }
}
