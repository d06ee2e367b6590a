/**
 * What stands at a position: `u8 length ‖ tenant ‖ sealed`. The tenant says whose key opens the rest, and is itself
 * authenticated by the seal. This file seals envelopes with their tenant's newest data key and counts the seals, so
 * that a key is replaced long before random nonces could meet; opens them with whatever key made them.
 * Source: docs/spec/ledger.md §6.
 */
import { concatBytes, utf8Decode, utf8Encode } from "@sigil/core/bytes";
import { fail, SigilFault, type SigilError } from "../../errors.ts";
import { sealsPerKeyMax } from "../../limits.ts";
import { randomBytes } from "../../crypto/random.ts";
import { openRecord, sealedKeyVersion, sealRecord, sealNonceBytes, type DataKey } from "../../crypto/seal.ts";
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

type Counted = {
  readonly prefix: Uint8Array;
  readonly dataKey: DataKey;
  readonly first: bigint | undefined;
  seals: number;
  changed: boolean;
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
   * Makes sure that the tenant has a key that seals: the newest there ever was, or its first one.
   * @throws keyUnavailable when a version that has sealed is gone: another one in its place would not be the tenant's;
   * erased.
   */
  async ready(tenant: string): Promise<void> {
    refuseErased(this.#erasureOf(tenant));
    if (!this.isReady(tenant)) await this.#load(tenant);
  }

  isReady(tenant: string): boolean {
    return this.#newest.has(tenant);
  }

  /** At once when the tenant is ready and its key good for another seal. */
  seal(envelope: Uint8Array, position: bigint, tenant: string): Uint8Array | Promise<Uint8Array> {
    const counted = this.#newest.get(tenant);
    if (counted === undefined || counted.seals >= this.#sealsMax) {
      return this.#sealWithNext(envelope, position, tenant);
    }
    if (counted.seals === 0)
      this.#newest.set(tenant, { ...counted, first: position, seals: 1, changed: true });
    else {
      counted.seals += 1;
      counted.changed = true;
    }
    return sealRecord(envelope, {
      ...counted.dataKey,
      prefix: counted.prefix,
      origin: this.#origin,
      position,
      tenant,
      nonce: randomBytes(sealNonceBytes),
    });
  }

  async #sealWithNext(envelope: Uint8Array, position: bigint, tenant: string): Promise<Uint8Array> {
    if (this.isReady(tenant)) await this.rotate(tenant, position);
    else await this.#load(tenant);
    return this.seal(envelope, position, tenant);
  }

  /**
   * From now on another version seals; those before it only open. Nothing may be being sealed meanwhile.
   * @param position the next that will be sealed. @returns the new version's count, for the store.
   */
  async rotate(tenant: string, position: bigint): Promise<SealCount> {
    const { prefix } = this.#newest.get(tenant) ?? (await this.#load(tenant));
    // On disk when it is here: a crash after this line leaves a version that has sealed nothing and is taken next.
    const dataKey = await this.#keys.rotate(tenant);
    this.#newest.set(tenant, { prefix, dataKey, first: position, seals: 0, changed: true });
    return { tenant, version: dataKey.keyVersion, seals: 0, first: position };
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

  /** Counts that changed since the last call, for the batch. */
  *counts(): Iterable<SealCount> {
    for (const [tenant, counted] of this.#newest) {
      if (!counted.changed) continue;
      counted.changed = false;
      yield { tenant, version: counted.dataKey.keyVersion, seals: counted.seals, first: counted.first };
    }
  }

  async #load(tenant: string): Promise<Counted> {
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
      changed: false,
    };
    this.#newest.set(tenant, counted);
    return counted;
  }
}
