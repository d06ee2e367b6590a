/**
 * What stands at a position: `u8 length ‖ tenant ‖ sealed`. The tenant says whose key opens the rest, and is itself
 * authenticated by the seal. This file seals envelopes with their tenant's newest data key and counts the seals, so
 * that a key is replaced long before random nonces could meet; opens them with whatever key made them.
 * Source: docs/spec/ledger.md §6.
 */
import { concatBytes, utf8Decode, utf8Encode } from "@sigil/core/bytes";
import { assert, fail, SigilFault, type SigilError } from "../../errors.ts";
import { sealsPerKeyMax } from "../../limits.ts";
import { openRecord, sealedKeyVersion, sealRecord, type DataKey } from "../../crypto/seal.ts";
import type { Store } from "../../storage/store.ts";
import { refuseErased, type Erasure } from "../layout/erasure.ts";
import { newestCount, type SealCount } from "./seal-counts.ts";

/** Where tenants' data keys come from; the custody of the deployment. */
export interface DataKeys {
  /** The version that seals; 0 while the tenant has none. */
  readonly newest: (tenant: string) => number;
  /** A new version, made durable before it is returned. */
  readonly rotate: (tenant: string) => Promise<DataKey>;
  /** @throws keyUnavailable when there is no such version. */
  readonly at: (tenant: string, version: number) => Promise<DataKey>;
  /** Every version, wherever it lies. Nothing that they sealed can be opened afterwards. */
  readonly destroy: (tenant: string) => Promise<void>;
}

export type Opened = { readonly tenant: string; readonly envelope: Uint8Array };

/** A tenant's key that seals, and how often it has. */
type Counted = {
  readonly prefix: Uint8Array;
  readonly dataKey: DataKey;
  readonly first: bigint | undefined;
  readonly seals: number;
};

type Staged = Omit<Counted, "seals"> & { seals: number };

/** The seals of one batch. Changes nothing: the sealer takes the counts when the batch is about to be written. */
export type StagedSeals = {
  /** The tenant must be ready for it. */
  readonly seal: (envelope: Uint8Array, position: bigint, tenant: string) => Uint8Array;
  readonly counts: () => readonly SealCount[];
};

/** What `open` takes as the stored value's own fault. */
const valueFaults: ReadonlySet<SigilError["kind"]> = new Set([
  "recordCorrupt",
  "malformedRecord",
  "malformedCbor",
  "invalidField",
  "keyUnavailable",
]);

/** The tenant a stored value names, before anything about it is believed. */
const tenantOf = (stored: Uint8Array): string | undefined => {
  try {
    return utf8Decode(stored.subarray(1, 1 + (stored[0] ?? 0)));
  } catch {
    return undefined;
  }
};

export class Sealer {
  readonly #origin: string;
  readonly #keys: DataKeys;
  readonly #store: () => Store;
  readonly #newest = new Map<string, Counted>();
  readonly #loading = new Map<string, Promise<Counted>>();
  readonly #sealsMax: number;
  readonly #erasureOf: (tenant: string) => Erasure | undefined;

  constructor(options: {
    readonly origin: string;
    readonly keys: DataKeys;
    readonly store: () => Store;
    readonly sealsMax?: number;
    /** Tenants that are neither sealed for nor opened. */
    readonly erasureOf?: (tenant: string) => Erasure | undefined;
  }) {
    this.#origin = options.origin;
    this.#keys = options.keys;
    this.#store = options.store;
    this.#sealsMax = options.sealsMax ?? sealsPerKeyMax;
    this.#erasureOf = options.erasureOf ?? (() => undefined);
  }

  /**
   * Makes sure that the tenant has a key that seals: the newest there ever was, or its first one; another one when that
   * is not good for so many more seals.
   * @throws keyUnavailable when a version that has sealed is gone: another one in its place would not be the tenant's;
   * erased.
   */
  async ready(tenant: string, seals = 0): Promise<void> {
    refuseErased(this.#erasureOf(tenant));
    if (!this.#newest.has(tenant)) await this.#load(tenant);
    // Erased meanwhile: nobody makes a key for it any more.
    refuseErased(this.#erasureOf(tenant));
    if (!this.isReady(tenant, seals)) await this.rotate(tenant);
  }

  isReady(tenant: string, seals = 0): boolean {
    const counted = this.#newest.get(tenant);
    // A loading that began before the tenant was erased may end after it.
    if (counted === undefined || this.#erasureOf(tenant) !== undefined) return false;
    return counted.seals + seals <= this.#sealsMax;
  }

  /** @param nonce draws 12 random bytes. */
  stage(nonce: () => Uint8Array): StagedSeals {
    const origin = this.#origin;
    const staged = new Map<string, Staged>();
    return {
      seal: (envelope, position, tenant) => {
        let counted = staged.get(tenant);
        if (counted === undefined) {
          const known = this.#newest.get(tenant);
          assert(known !== undefined, "a tenant's data key is loaded before a commit");
          counted = { ...known, first: known.seals === 0 ? position : known.first };
          staged.set(tenant, counted);
        }
        counted.seals += 1;
        const { prefix, dataKey } = counted;
        return sealRecord(envelope, { ...dataKey, prefix, origin, position, tenant, nonce: nonce() });
      },
      counts: () =>
        [...staged].map(([tenant, { dataKey, seals, first }]) => {
          return { tenant, version: dataKey.keyVersion, seals, first };
        }),
    };
  }

  /** What a batch counts, before it is written: a write that fails may be kept all the same. */
  take(counts: readonly SealCount[]): void {
    for (const { tenant, version, seals, first } of counts) {
      const counted = this.#newest.get(tenant);
      if (counted?.dataKey.keyVersion === version) this.#newest.set(tenant, { ...counted, seals, first });
    }
  }

  /**
   * From now on another version seals; those before it only open. Nothing may be being sealed meanwhile.
   * @param first the next position that will be sealed, where that is known. @returns the new version's count, for the
   * store.
   */
  async rotate(tenant: string, first?: bigint): Promise<SealCount> {
    const { prefix } = this.#newest.get(tenant) ?? (await this.#load(tenant));
    // On disk when it is here: a crash after this line leaves a version that has sealed nothing and is taken next.
    const dataKey = await this.#keys.rotate(tenant);
    this.#newest.set(tenant, { prefix, dataKey, first, seals: 0 });
    return { tenant, version: dataKey.keyVersion, seals: 0, first };
  }

  /** The tenant of a stored value that no key is left of, as it says. */
  keylessTenant(stored: Uint8Array): string | undefined {
    const tenant = tenantOf(stored);
    return tenant === undefined || this.#keys.newest(tenant) > 0 ? undefined : tenant;
  }

  /** Forgets the tenant's key and count. */
  forget(tenant: string): void {
    this.#newest.delete(tenant);
  }

  /** Opens what stands at a position. @throws recordCorrupt at step "seal" when it does not hold; erased. */
  open(stored: Uint8Array, position: bigint): Promise<Opened> {
    return this.#open(stored, position, this.#erasureOf);
  }

  /** The same while a tenant is being erased and its keys are still there. */
  openDoomed(stored: Uint8Array, position: bigint): Promise<Opened> {
    return this.#open(stored, position, () => undefined);
  }

  async #open(
    stored: Uint8Array,
    position: bigint,
    erasureOf: (tenant: string) => Erasure | undefined,
  ): Promise<Opened> {
    const refuse = (cause?: unknown): never =>
      fail(
        { kind: "recordCorrupt", position, step: "seal", rule: "the sealed value does not authenticate" },
        { cause },
      );
    const tenantEnd = 1 + (stored[0] ?? 0);
    const sealed = stored.subarray(tenantEnd);
    if (sealed.length === 0) return refuse();
    const tenant = tenantOf(stored) ?? refuse();
    refuseErased(erasureOf(tenant));
    try {
      const dataKey = await this.#keys.at(tenant, sealedKeyVersion(sealed, position));
      return { tenant, envelope: openRecord(sealed, { ...dataKey, origin: this.#origin, position, tenant }) };
    } catch (cause) {
      // A tenant or version that never was is damage of the same value; trouble with the keys' files is not.
      if (cause instanceof SigilFault && valueFaults.has(cause.error.kind)) return refuse(cause);
      throw cause;
    }
  }

  /** Once for all who ask at once: a second reading could set the count back. */
  #load(tenant: string): Promise<Counted> {
    const underWay = this.#loading.get(tenant);
    if (underWay !== undefined) return underWay;
    const loading = this.#read(tenant).finally(() => this.#loading.delete(tenant));
    this.#loading.set(tenant, loading);
    return loading;
  }

  async #read(tenant: string): Promise<Counted> {
    const known = await newestCount(this.#store(), tenant);
    const version = Math.max(known?.version ?? 0, this.#keys.newest(tenant));
    const dataKey = version === 0 ? await this.#keys.rotate(tenant) : await this.#keys.at(tenant, version);
    const name = utf8Encode(tenant);
    const isKnown = known?.version === version;
    const counted = {
      prefix: concatBytes(Uint8Array.of(name.length), name),
      dataKey,
      first: isKnown ? known.first : undefined,
      seals: isKnown ? known.seals : 0,
    };
    this.#newest.set(tenant, counted);
    return counted;
  }
}
