/**
 * The stored value of a position: `u8 form and length ‖ tenant ‖ sealed`. The tenant selects the key for the rest; it
 * and the form, bits 7 and 6 of the first byte, are authenticated by the seal. A sealed value is an envelope, or (form
 * 2) the canonical array of an envelope and what was disclosed of its record, or (form 3) both condensed. Seals with
 * the tenant's newest data key and counts the seals, so that a key is rotated long before random nonces may collide;
 * opens with the version that sealed. Source: docs/spec/ledger.md §6.
 */
import { concatBytes, utf8Decode, utf8Encode } from "@sigil/core/bytes";
import type { CborValue } from "@sigil/core/cbor";
import { decodeDisclosed, encodeDisclosed, type Disclosures } from "@sigil/core/record";
import { assert, fail, SigilFault, type SigilError } from "../../errors.ts";
import { sealsPerKeyMax } from "../../limits.ts";
import { openRecord, sealedKeyVersion, sealRecord, type DataKey, type SealPlace } from "../../crypto/seal.ts";
import type { Store } from "../../storage/store.ts";
import { condense } from "./condense.ts";
import { expand } from "./expand.ts";
import { refuseErased, type Erasure } from "../layout/erasure.ts";
import { newestCount, type SealCount } from "./seal-counts.ts";

/** Source of tenants' data keys: the deployment's custody. */
export interface DataKeys {
  /** The newest version, which seals; 0 if the tenant has none. */
  readonly newest: (tenant: string) => number;
  /** Creates a version, durable before it is returned. */
  readonly rotate: (tenant: string) => Promise<DataKey>;
  /** @throws keyUnavailable if there is no such version. */
  readonly at: (tenant: string, version: number) => Promise<DataKey>;
  /** Destroys every version. Nothing they sealed can be opened afterwards. */
  readonly destroy: (tenant: string) => Promise<void>;
}

export type Opened = {
  readonly tenant: string;
  readonly envelope: Uint8Array;
  /** What was disclosed of the record, as a canonical map; not yet checked against the record. */
  readonly disclosures: CborValue;
};

/** Bits 7 and 6 of a stored value's first byte; the others are the tenant's length. */
const formBits: Readonly<Record<SealPlace["form"], number>> = { 1: 0, 2: 0x80, 3: 0x40 };
const tenantLengthBits = 0x3f;
const tenantLength = (stored: Uint8Array): number => (stored[0] ?? 0) & tenantLengthBits;

/** Undefined for bits that stand for none. */
const formOf = (stored: Uint8Array): SealPlace["form"] | undefined => {
  const bits = (stored[0] ?? 0) & ~tenantLengthBits;
  return bits === 0 ? 1 : bits === formBits[2] ? 2 : bits === formBits[3] ? 3 : undefined;
};

/** What is sealed for a position. */
export type Sealable = { readonly envelope: Uint8Array; readonly disclosures?: Disclosures | undefined };

/** A tenant's sealing key and its seal count. */
type Counted = {
  readonly prefixes: Prefixes;
  readonly dataKey: DataKey;
  readonly first: bigint | undefined;
  readonly seals: number;
};

type Staged = Omit<Counted, "seals"> & { seals: number };

/** The seals of one batch. Without side effects: `take` applies the counts when the batch is about to be written. */
export type StagedSeals = {
  /** `ready` must have been called for the tenant. */
  readonly seal: (record: Sealable, position: bigint, tenant: string) => Uint8Array;
  readonly counts: () => readonly SealCount[];
};

/** Errors that `open` reports as damage of the stored value. */
const valueFaults: ReadonlySet<SigilError["kind"]> = new Set([
  "recordCorrupt",
  "malformedRecord",
  "malformedCbor",
  "invalidField",
  "keyUnavailable",
]);

/** The tenant that an unauthenticated stored value names. */
const tenantOf = (stored: Uint8Array): string | undefined => {
  try {
    return utf8Decode(stored.subarray(1, 1 + tenantLength(stored)));
  } catch {
    return undefined;
  }
};

/** The tenant and its length, by the form of what follows. */
type Prefixes = Readonly<Record<SealPlace["form"], Uint8Array>>;

const prefixesOf = (tenant: string): Prefixes => {
  const name = utf8Encode(tenant);
  const prefix = (form: SealPlace["form"]): Uint8Array =>
    concatBytes(Uint8Array.of(name.length | formBits[form]), name);
  return { 1: prefix(1), 2: prefix(2), 3: prefix(3) };
};

/** The tenant and data key version that a stored value names, not authenticated; undefined if it is cut short. */
export const keyNamed = (
  stored: Uint8Array,
  position: bigint,
): { readonly tenant: string; readonly keyVersion: number } | undefined => {
  const tenant = tenantOf(stored);
  if (tenant === undefined) return undefined;
  try {
    return { tenant, keyVersion: sealedKeyVersion(sealedPart(stored), position) };
  } catch {
    return undefined;
  }
};

/** The beginning of a stored value, up to its data key version: equal in all values of one key and form. */
export const keyHead = (stored: Uint8Array): Uint8Array => stored.subarray(0, 1 + tenantLength(stored) + 4);

const refuseValue = (position: bigint, cause?: unknown): never =>
  fail(
    { kind: "recordCorrupt", position, step: "seal", rule: "the sealed value does not authenticate" },
    { cause },
  );

/** Opens a stored value by its tenant's key. @throws recordCorrupt, malformedRecord, malformedCbor. */
export const openStored = (stored: Uint8Array, { position, ...place }: Omit<SealPlace, "form">): Opened => {
  const form = formOf(stored) ?? refuseValue(position);
  const opened = openRecord(sealedPart(stored), { ...place, position, form });
  const { origin, tenant } = place;
  switch (form) {
    case 1:
      return { tenant, envelope: opened, disclosures: {} };
    case 2:
      return { tenant, ...decodeDisclosed(opened) };
    case 3:
      return { tenant, ...expand(opened, { origin, tenant }) };
  }
};

/** The sealed part of a stored value, which is not authenticated. */
export const sealedPart = (stored: Uint8Array): Uint8Array => stored.subarray(1 + tenantLength(stored));

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
    /** Returns the erasure of a tenant, for which nothing is sealed or opened. */
    readonly erasureOf?: (tenant: string) => Erasure | undefined;
  }) {
    this.#origin = options.origin;
    this.#keys = options.keys;
    this.#store = options.store;
    this.#sealsMax = options.sealsMax ?? sealsPerKeyMax;
    this.#erasureOf = options.erasureOf ?? (() => undefined);
  }

  /**
   * Loads the tenant's sealing key: the newest version, or a first one; rotates if fewer than `seals` seals remain.
   * @throws keyUnavailable if a version that has sealed is gone, since a replacement could not open its records;
   * erased.
   */
  async ready(tenant: string, seals = 0): Promise<void> {
    refuseErased(this.#erasureOf(tenant));
    if (!this.#newest.has(tenant)) await this.#load(tenant);
    // No key is created for a tenant that was erased meanwhile.
    refuseErased(this.#erasureOf(tenant));
    if (!this.isReady(tenant, seals)) await this.rotate(tenant);
  }

  isReady(tenant: string, seals = 0): boolean {
    const counted = this.#newest.get(tenant);
    // A load that began before the tenant was erased may end after it.
    if (counted === undefined || this.#erasureOf(tenant) !== undefined) return false;
    return counted.seals + seals <= this.#sealsMax;
  }

  /** @param nonce returns 12 random bytes. */
  stage(nonce: () => Uint8Array): StagedSeals {
    const origin = this.#origin;
    const staged = new Map<string, Staged>();
    return {
      seal: ({ envelope, disclosures }, position, tenant) => {
        let counted = staged.get(tenant);
        if (counted === undefined) {
          const known = this.#newest.get(tenant);
          assert(known !== undefined, "a tenant's data key is loaded before a commit");
          counted = { ...known, first: known.seals === 0 ? position : known.first };
          staged.set(tenant, counted);
        }
        counted.seals += 1;
        const { prefixes, dataKey } = counted;
        const { dataKey: key, keyVersion } = dataKey;
        const sealAs = (form: SealPlace["form"], plaintext: Uint8Array): Uint8Array =>
          sealRecord(plaintext, {
            dataKey: key,
            keyVersion,
            origin,
            position,
            tenant,
            form,
            nonce: nonce(),
            prefix: prefixes[form],
          });
        if (disclosures === undefined) return sealAs(1, envelope);
        const condensed = condense(envelope, disclosures, { origin, tenant });
        return condensed === undefined
          ? sealAs(2, encodeDisclosed(envelope, disclosures))
          : sealAs(3, condensed);
      },
      counts: () =>
        [...staged].map(([tenant, { dataKey, seals, first }]) => {
          return { tenant, version: dataKey.keyVersion, seals, first };
        }),
    };
  }

  /** Applies a batch's counts before it is written, since a failed write may still be durable. */
  take(counts: readonly SealCount[]): void {
    for (const { tenant, version, seals, first } of counts) {
      const counted = this.#newest.get(tenant);
      if (counted?.dataKey.keyVersion === version) this.#newest.set(tenant, { ...counted, seals, first });
    }
  }

  /**
   * Creates the next version, which seals from now on. Call while nothing is being sealed.
   * @param first the next position to be sealed, if known. @returns the new version's count, to be stored.
   */
  async rotate(tenant: string, first?: bigint): Promise<SealCount> {
    const { prefixes } = this.#newest.get(tenant) ?? (await this.#load(tenant));
    // Durable at this point: a crash after this line leaves an unused version, which becomes the sealing one.
    const dataKey = await this.#keys.rotate(tenant);
    this.#newest.set(tenant, { prefixes, dataKey, first, seals: 0 });
    return { tenant, version: dataKey.keyVersion, seals: 0, first };
  }

  /** The tenant that a stored value without a key claims. */
  keylessTenant(stored: Uint8Array): string | undefined {
    const tenant = tenantOf(stored);
    return tenant === undefined || this.#keys.newest(tenant) > 0 ? undefined : tenant;
  }

  /** Drops the tenant's key and count from memory. */
  forget(tenant: string): void {
    this.#newest.delete(tenant);
  }

  /** Opens the stored value of a position. @throws recordCorrupt at step "seal" if it does not authenticate; erased. */
  open(stored: Uint8Array, position: bigint): Promise<Opened> {
    return this.#open(stored, position, this.#erasureOf);
  }

  /** As `open`, but also for a tenant being erased whose keys still exist. */
  openDoomed(stored: Uint8Array, position: bigint): Promise<Opened> {
    return this.#open(stored, position, () => undefined);
  }

  async #open(
    stored: Uint8Array,
    position: bigint,
    erasureOf: (tenant: string) => Erasure | undefined,
  ): Promise<Opened> {
    const sealed = sealedPart(stored);
    if (sealed.length === 0) return refuseValue(position);
    const tenant = tenantOf(stored) ?? refuseValue(position);
    refuseErased(erasureOf(tenant));
    try {
      const dataKey = await this.#keys.at(tenant, sealedKeyVersion(sealed, position));
      return openStored(stored, { ...dataKey, origin: this.#origin, position, tenant });
    } catch (cause) {
      // A tenant or version that never existed is damage of the value; an error with the key files is not.
      if (cause instanceof SigilFault && valueFaults.has(cause.error.kind))
        return refuseValue(position, cause);
      throw cause;
    }
  }

  /** Shared by concurrent callers: a second read could reset the count. */
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
    const isKnown = known?.version === version;
    const counted = {
      prefixes: prefixesOf(tenant),
      dataKey,
      first: isKnown ? known.first : undefined,
      seals: isKnown ? known.seals : 0,
    };
    this.#newest.set(tenant, counted);
    return counted;
  }
}
