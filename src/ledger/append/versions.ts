/**
 * Which version a record becomes of its id, within one commit: what the store knew when it was asked, and on top of it
 * what the units before it in the batch add. A unit that is refused leaves nothing behind. Decisions and runs of
 * modules have fresh ids by construction and are not looked up.
 */
import { equalBytes, type Hash } from "@sigil/core/bytes";
import { assert, SigilFault, type SigilError } from "../../errors.ts";
import type { RecordBody } from "@sigil/core/record";
import type { Store } from "../../storage/store.ts";
import type { Head } from "../layout/indexes.ts";
import { readHead } from "../layout/lookup.ts";

type KnownHead = Head & { readonly hash: Hash };

/** A record that wants a version. */
export type Versioned = { readonly body: RecordBody; readonly hash: Hash };

export type VersionsOutcome =
  /** `accept` makes the heads known to the units that follow. */
  | { readonly kind: "accepted"; readonly heads: readonly Head[]; readonly accept: () => void }
  | { readonly kind: "refused"; readonly error: SigilError };

/** By name of an id: its newest version, undefined where there is none; or why that cannot be told. */
export type LoadedHeads = ReadonlyMap<string, KnownHead | SigilError | undefined>;

/** Damage of the one record that a version would follow is no fault of the store: only its id is affected. */
const isDamage = (error: SigilError): boolean =>
  error.kind === "recordCorrupt" || error.kind === "ledgerCorrupt";

/** Written by the server alone, each under a random id of its own: nothing is looked up, and nothing waited for. */
const freshKinds: ReadonlySet<string> = new Set(["frozen_chain", "module_run"]);

/** Whether what the store says of the record's id counts when it is written. */
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

/** What the store knows of the ids of these records, each looked up once, one after the other. */
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
  /** Added by the units before. */
  readonly #added = new Map<string, KnownHead>();

  /** @param loaded of every id that a unit may write. */
  constructor(loaded: LoadedHeads) {
    this.#loaded = loaded;
  }

  /** The versions of one unit's records at `first`, `first + 1`, …, or why the unit cannot be. */
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
