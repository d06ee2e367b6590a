/**
 * Loads what a commit's plan needs: its tenants' keys and decision indexes, the newest versions of its ids, and expired
 * idempotency entries. All reads and waits of a commit are here, so that planning is synchronous.
 */
import type { Hash } from "@sigil/core/bytes";
import { SigilFault, type SigilError } from "../../errors.ts";
import type { Store } from "../../storage/store.ts";
import type { DecisionIndex } from "../decisions/decision-index.ts";
import { isDecision, type BlindTags } from "../layout/indexes.ts";
import type { Sealer } from "../sealing/sealer.ts";
import type { ExpiredEntry } from "./idempotency.ts";
import type { SignedRecord } from "./prepare.ts";
import { loadHeads, type LoadedHeads } from "./versions.ts";

export type LoadSources = {
  readonly store: Store;
  readonly sealer: Sealer;
  readonly tags: BlindTags;
  readonly decisions: DecisionIndex;
  /** Hash of the verified record at a position. */
  readonly readHash: (position: bigint) => Promise<Hash>;
  readonly expired: () => Promise<readonly ExpiredEntry[]>;
};

/** Per tenant: why nothing can be written, and why no decision can be. */
export type TenantFaults = {
  readonly records: ReadonlyMap<string, SigilError>;
  readonly decisions: ReadonlyMap<string, SigilError>;
};

export type Loaded = {
  readonly faults: TenantFaults;
  readonly heads: LoadedHeads;
  readonly expired: readonly ExpiredEntry[];
};

type Units = readonly { readonly records: readonly SignedRecord[] }[];

/** What one commit writes for one tenant. */
type Need = { seals: number; decisions: boolean };

const needsOf = (units: Units): ReadonlyMap<string, Need> => {
  const needs = new Map<string, Need>();
  for (const { records } of units) {
    for (const { body } of records) {
      let need = needs.get(body.tenant);
      if (need === undefined) needs.set(body.tenant, (need = { seals: 0, decisions: false }));
      need.seals += 1;
      need.decisions ||= isDecision(body);
    }
  }
  return needs;
};

const tenantsFaults: ReadonlySet<SigilError["kind"]> = new Set(["keyUnavailable", "erased", "ledgerCorrupt"]);

/**
 * The error if nothing can be written for this tenant (erased, or its key or decision index is missing or damaged).
 * Such an error affects only this tenant; any other is thrown.
 */
const faultOf = async (load: () => Promise<void>): Promise<SigilError | undefined> => {
  try {
    await load();
    return undefined;
  } catch (error) {
    if (error instanceof SigilFault && tenantsFaults.has(error.error.kind)) return error.error;
    throw error;
  }
};

const hasKeys = ({ sealer, tags }: LoadSources, tenant: string, { seals }: Need): boolean =>
  sealer.isReady(tenant, seals) && tags.isReady(tenant);

const hasIndex = (sources: LoadSources, tenant: string, { decisions }: Need): boolean =>
  !decisions || sources.decisions.isReady(tenant);

/** Loads what one commit needs, until nothing is missing. */
export class CommitLoad {
  readonly #units: Units;
  readonly #sources: LoadSources;
  readonly #needs: ReadonlyMap<string, Need>;
  readonly #records = new Map<string, SigilError>();
  readonly #decisions = new Map<string, SigilError>();
  #read: Pick<Loaded, "heads" | "expired"> | undefined;

  constructor(units: Units, sources: LoadSources) {
    this.#units = units;
    this.#sources = sources;
    this.#needs = needsOf(units);
  }

  /**
   * Undefined while something is missing. Read it in the same turn as planning: an erasure may drop its tenant's keys
   * at any time before, and they are then requested again and refused.
   */
  get loaded(): Loaded | undefined {
    if (this.#read === undefined || this.#missing().length > 0) return undefined;
    return { ...this.#read, faults: { records: this.#records, decisions: this.#decisions } };
  }

  /** @throws storeFailed, and any error of reading a predecessor record except damage of that record. */
  async run(): Promise<void> {
    for (const [tenant, need] of this.#missing()) await this.#load(tenant, need);
    // Heads are read once every tenant is ready or faulted; those of faulted tenants are skipped.
    if (this.#read !== undefined || this.#missing().length > 0) return;
    const { store, readHash, expired } = this.#sources;
    const records = this.#units.flatMap((unit) => unit.records);
    const writable = records.filter(({ body }) => !this.#records.has(body.tenant));
    this.#read = { heads: await loadHeads(writable, store, readHash), expired: await expired() };
  }

  #missing(): readonly (readonly [string, Need])[] {
    return [...this.#needs].filter(([tenant, need]) => {
      if (this.#records.has(tenant)) return false;
      if (!hasKeys(this.#sources, tenant, need)) return true;
      return !this.#decisions.has(tenant) && !hasIndex(this.#sources, tenant, need);
    });
  }

  async #load(tenant: string, need: Need): Promise<void> {
    const { sealer, tags, decisions } = this.#sources;
    const keyFault = await faultOf(async () => {
      await sealer.ready(tenant, need.seals);
      await tags.ensure(tenant);
    });
    if (keyFault !== undefined) {
      this.#records.set(tenant, keyFault);
      return;
    }
    if (!need.decisions) return;
    const indexFault = await faultOf(() => decisions.ensure(tenant));
    if (indexFault !== undefined) this.#decisions.set(tenant, indexFault);
  }
}
