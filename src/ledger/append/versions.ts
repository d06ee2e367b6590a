/**
 * Which version a record becomes of its id, within one commit: what the store knows, and on top of it what the units
 * before it in the group add. A unit that is refused leaves nothing behind. Decisions and runs
 * of modules have fresh ids by construction and are not looked up.
 */
import { equalBytes, type Hash } from "@sigil/core/bytes";
import { SigilFault, type SigilError } from "../../errors.ts";
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

type Known = Map<string, KnownHead | undefined>;

/** Damage of the one record that a version would follow is no fault of the store: only its id is affected. */
const isDamage = (error: SigilError): boolean =>
  error.kind === "recordCorrupt" || error.kind === "ledgerCorrupt";

/** Written by the server alone, each under a random id of its own: nothing is looked up, and nothing waited for. */
const freshKinds: ReadonlySet<string> = new Set(["frozen_chain", "module_run"]);

/** Whether what the store says of the record's id counts when it is written. */
export const isVersioned = ({ kind }: Pick<RecordBody, "kind">): boolean => !freshKinds.has(kind);

const firstVersion = ({ id, prev }: RecordBody, position: bigint): Head | SigilError =>
  prev === null ? { position, version: 1n } : { kind: "staleVersion", id, version: 0n };

const nothing = (): void => {};

const planFresh = (records: readonly Versioned[], first: bigint): VersionsOutcome => {
  const heads: Head[] = [];
  for (const { body } of records) {
    const head = firstVersion(body, first + BigInt(heads.length));
    if ("kind" in head) return { kind: "refused", error: head };
    heads.push(head);
  }
  return { kind: "accepted", heads, accept: nothing };
};

export class Versions {
  readonly #store: Store;
  readonly #readHash: (position: bigint) => Promise<Hash>;
  readonly #known: Known = new Map();

  constructor(store: Store, readHash: (position: bigint) => Promise<Hash>) {
    this.#store = store;
    this.#readHash = readHash;
  }

  /** The versions of one unit's records at `first`, `first + 1`, …, or why the unit cannot be. At once when all are fresh. */
  plan(records: readonly Versioned[], first: bigint): VersionsOutcome | Promise<VersionsOutcome> {
    return records.every(({ body }) => !isVersioned(body))
      ? planFresh(records, first)
      : this.#plan(records, first);
  }

  async #plan(records: readonly Versioned[], first: bigint): Promise<VersionsOutcome> {
    const added: Known = new Map();
    const heads: Head[] = [];
    for (const record of records) {
      const position = first + BigInt(heads.length);
      try {
        const head = isVersioned(record.body)
          ? await this.#next(record, position, added)
          : firstVersion(record.body, position);
        if ("kind" in head) return { kind: "refused", error: head };
        heads.push(head);
      } catch (error) {
        if (error instanceof SigilFault && isDamage(error.error))
          return { kind: "refused", error: error.error };
        throw error;
      }
    }
    const accept = (): void => {
      for (const [name, head] of added) this.#known.set(name, head);
    };
    return { kind: "accepted", heads, accept };
  }

  async #next({ body, hash }: Versioned, position: bigint, added: Known): Promise<Head | SigilError> {
    const { tenant, space, id, prev } = body;
    const name = `${tenant}\0${space}\0${id}`;
    const before = added.get(name) ?? (await this.#load(name, body));
    const follows = before === undefined ? prev === null : prev !== null && equalBytes(prev, before.hash);
    if (!follows) return { kind: "staleVersion", id, version: before?.version ?? 0n };
    const head = { position, version: (before?.version ?? 0n) + 1n };
    added.set(name, { ...head, hash });
    return head;
  }

  async #load(name: string, { tenant, space, id }: RecordBody): Promise<KnownHead | undefined> {
    if (this.#known.has(name)) return this.#known.get(name);
    const head = await readHead(this.#store, tenant, space, id);
    const known = head && { ...head, hash: await this.#readHash(head.position) };
    this.#known.set(name, known);
    return known;
  }
}
