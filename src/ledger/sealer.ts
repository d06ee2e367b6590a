/**
 * What stands at a position: `u8 length ‖ tenant ‖ sealed`. The tenant says whose key opens the rest, and is itself
 * authenticated by the seal. This file seals envelopes with their tenant's newest data key and counts the seals, so
 * that a key is replaced long before random nonces could meet; opens them with whatever key made them.
 * Source: docs/spec/ledger.md §6.
 */
import { concatBytes, readU64be, utf8Decode, utf8Encode } from "../record/bytes.ts";
import { fail, SigilFault, type SigilError } from "../record/errors.ts";
import { sealsPerKeyMax } from "../record/limits.ts";
import { randomBytes } from "../keys/random.ts";
import { openRecord, sealedKeyVersion, sealRecord, sealNonceBytes, type DataKey } from "../keys/seal.ts";
import type { Store } from "../storage/store.ts";
import { sealCountKey } from "./keyspace.ts";

/** Where tenants' data keys come from; the custody of the deployment. */
export interface DataKeys {
  /** The newest version, made durable before it is returned when the tenant has none. */
  readonly current: (tenant: string) => Promise<DataKey>;
  /** A new version, made durable before it is returned. */
  readonly rotate: (tenant: string) => Promise<DataKey>;
  /** @throws keyUnavailable when there is no such version. */
  readonly at: (tenant: string, version: number) => Promise<DataKey>;
}

export type Opened = { readonly tenant: string; readonly envelope: Uint8Array };

type Counted = { readonly prefix: Uint8Array; readonly dataKey: DataKey; seals: number; changed: boolean };

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

  constructor(options: {
    readonly origin: string;
    readonly keys: DataKeys;
    readonly store: () => Store;
    readonly sealsMax?: number;
  }) {
    this.#origin = options.origin;
    this.#keys = options.keys;
    this.#store = options.store;
    this.#sealsMax = options.sealsMax ?? sealsPerKeyMax;
  }

  async seal(envelope: Uint8Array, position: bigint, tenant: string): Promise<Uint8Array> {
    const counted = this.#newest.get(tenant) ?? (await this.#load(tenant));
    if (counted.seals >= this.#sealsMax) {
      const dataKey = await this.#keys.rotate(tenant);
      this.#newest.set(tenant, { ...counted, dataKey, seals: 0, changed: true });
      return this.seal(envelope, position, tenant);
    }
    counted.seals += 1;
    counted.changed = true;
    return sealRecord(envelope, {
      ...counted.dataKey,
      prefix: counted.prefix,
      origin: this.#origin,
      position,
      tenant,
      nonce: randomBytes(sealNonceBytes),
    });
  }

  /** Opens what stands at a position. @throws recordCorrupt at step "seal" when it does not hold. */
  async open(stored: Uint8Array, position: bigint): Promise<Opened> {
    const refuse = (cause?: unknown): never =>
      fail(
        { kind: "recordCorrupt", position, step: "seal", rule: "the sealed value does not authenticate" },
        { cause },
      );
    const tenantEnd = 1 + (stored[0] ?? 0);
    const sealed = stored.subarray(tenantEnd);
    if (sealed.length === 0) return refuse();
    const tenant = tenantOf(stored) ?? refuse();
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
  *counts(): Iterable<{ readonly tenant: string; readonly version: number; readonly seals: number }> {
    for (const [tenant, counted] of this.#newest) {
      if (!counted.changed) continue;
      counted.changed = false;
      yield { tenant, version: counted.dataKey.keyVersion, seals: counted.seals };
    }
  }

  async #load(tenant: string): Promise<Counted> {
    const dataKey = await this.#keys.current(tenant);
    const bytes = await this.#store().get(sealCountKey(tenant, dataKey.keyVersion));
    const name = utf8Encode(tenant);
    const prefix = concatBytes(Uint8Array.of(name.length), name);
    const counted = {
      prefix,
      dataKey,
      seals: bytes === undefined ? 0 : Number(readU64be(bytes)),
      changed: false,
    };
    this.#newest.set(tenant, counted);
    return counted;
  }
}
