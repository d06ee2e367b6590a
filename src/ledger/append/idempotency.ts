/**
 * Idempotency keys: for 24 hours a repeat with the same key and body gets the first answer; a different body is
 * refused. An entry is written in the batch of its records, so that both exist or neither; an entry without records is
 * written alone. Entries hold keyed digests, positions and errors only, and are authenticated by a keyed digest, so
 * that answers cannot be swapped. Of two concurrent calls with one key the second waits for the first. Source:
 * docs/spec/ledger.md §6.
 */
import { cborDecode, cborEncode, type CborValue } from "@sigil/core/cbor";
import { concatBytes, equalBytes, readU64be, toHex, utf8Encode } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import { idempotencyTtlMs } from "../../limits.ts";
import type { Store, StoreOp } from "../../storage/store.ts";
import { refuseErased, type Erasure } from "../layout/erasure.ts";
import type { BlindTags } from "../layout/indexes.ts";
import { expiryKey, familyRange, idempotencyKey } from "../layout/keyspace.ts";

/** The scope of a key: keys are private to a caller and an RPC. */
export type IdempotencyScope = {
  readonly tenant: string;
  readonly caller: string;
  readonly rpc: string;
  readonly key: string;
};

/** A mutex on a key. Always release it; release after the commit wakes the waiting calls. */
export type HeldClaim = {
  readonly kind: "held";
  /** Operations for the batch, so that a repeat finds `outcome`. */
  readonly ops: (outcome: CborValue) => readonly StoreOp[];
  readonly release: () => void;
};

export type Claim = { readonly kind: "replay"; readonly outcome: CborValue } | HeldClaim;

export type IdempotencyEntry = {
  readonly tenant: string;
  readonly body: Uint8Array;
  readonly expires: number;
  readonly outcome: CborValue;
};

const blindBytes = 16;
const digestBytes = 32;
const entryLabel = utf8Encode("idempotency-entry\0");

const entryDigest = (tags: BlindTags, tenant: string, blind: Uint8Array, entry: Uint8Array): Uint8Array =>
  tags.digest(tenant, concatBytes(entryLabel, blind, entry));

/** The tenant's index key must be loaded. */
const formatEntry = (tags: BlindTags, blind: Uint8Array, entry: IdempotencyEntry): Uint8Array => {
  const bytes = cborEncode({ ...entry });
  return concatBytes(entryDigest(tags, entry.tenant, blind, bytes), bytes);
};

const damaged = (cause?: unknown): never =>
  fail({ kind: "ledgerCorrupt", position: 0n, rule: "an idempotency entry is damaged" }, { cause });

/**
 * `isTenant` says which tenant the entry may name: the name is untrusted until the digest is checked with that tenant's
 * key.
 * @throws ledgerCorrupt unless this deployment wrote exactly this entry for this key.
 */
export const parseEntry = async (
  tags: BlindTags,
  blind: Uint8Array,
  stored: Uint8Array,
  isTenant: (tenant: string) => boolean,
): Promise<IdempotencyEntry> => {
  const bytes = stored.subarray(digestBytes);
  let entry: IdempotencyEntry;
  try {
    entry = cborDecode(bytes) as IdempotencyEntry;
    if (typeof entry?.tenant !== "string" || typeof entry.expires !== "number") return damaged();
    if (!(entry.body instanceof Uint8Array) || !isTenant(entry.tenant)) return damaged();
  } catch (cause) {
    return damaged(cause);
  }
  await tags.ensure(entry.tenant);
  const digest = entryDigest(tags, entry.tenant, blind, bytes);
  return equalBytes(digest, stored.subarray(0, digestBytes)) ? entry : damaged();
};

/** Maximum expired entries removed with one commit. */
const sweepEntriesMax = 500;
const sweepEveryMs = 60_000;

export class IdempotencyKeys {
  readonly #store: () => Store;
  readonly #tags: BlindTags;
  readonly #nowMs: () => number;
  readonly #complete: () => Promise<void> | undefined;
  readonly #erasureOf: (tenant: string) => Erasure | undefined;
  readonly #waiting = new Map<string, Promise<void>>();
  #sweptMs = Number.NEGATIVE_INFINITY;
  /** Number of times that the store was reopened. */
  #generation = 0;

  constructor(options: {
    readonly store: () => Store;
    readonly tags: BlindTags;
    readonly nowMs: () => number;
    /** Checks that no entry is missing, before a key is reported free. Undefined if already checked. */
    readonly complete: () => Promise<void> | undefined;
    readonly erasureOf: (tenant: string) => Erasure | undefined;
  }) {
    this.#store = options.store;
    this.#tags = options.tags;
    this.#nowMs = options.nowMs;
    this.#complete = options.complete;
    this.#erasureOf = options.erasureOf;
  }

  /**
   * Called after the store was reopened: an indeterminate write may turn out to be durable, so keys known to be free
   * are looked up again.
   */
  forget(): void {
    this.#generation += 1;
  }

  /**
   * Looks the key up and claims it if it is free. The tenant's index key must be loaded.
   * @throws idempotencyConflict when the key was used with another body; ledgerCorrupt when entries are missing.
   */
  async claim(scope: IdempotencyScope, body: Uint8Array): Promise<Claim> {
    const { tenant } = scope;
    const blind = this.#tags
      .digest(tenant, `idempotency\0${scope.caller}\0${scope.rpc}\0${scope.key}`)
      .subarray(0, blindBytes);
    const bodyDigest = this.#tags.digest(tenant, body);
    const name = toHex(blind);
    for (let other = this.#waiting.get(name); other !== undefined; other = this.#waiting.get(name)) {
      await other;
    }
    const generation = this.#generation;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.set(name, promise);
    const release = (): void => {
      if (this.#waiting.get(name) === promise) this.#waiting.delete(name);
      resolve();
    };
    try {
      const found = await this.#find(tenant, blind);
      if (found === undefined || found.expires <= this.#nowMs()) {
        await this.#complete();
        const ops = (outcome: CborValue): readonly StoreOp[] => {
          if (generation !== this.#generation) {
            fail({ kind: "notServing", rule: "the ledger checked itself meanwhile; repeat the call" });
          }
          // The caller's tenant is checked separately: it need not be the tenant of any record, and there may be no
          // records.
          refuseErased(this.#erasureOf(tenant));
          // Expiry keys are unique: with a clock that was set back, the new expiry could equal that of the previous
          // entry.
          const until = this.#nowMs() + idempotencyTtlMs;
          const expires = until + (until === found?.expires ? 1 : 0);
          return this.#ops(blind, { tenant, body: bodyDigest, expires, outcome });
        };
        return { kind: "held", release, ops };
      }
      release();
      if (!equalBytes(found.body, bodyDigest)) return fail({ kind: "idempotencyConflict", key: scope.key });
      return { kind: "replay", outcome: found.outcome };
    } catch (error) {
      release();
      throw error;
    }
  }

  async #find(tenant: string, blind: Uint8Array): Promise<IdempotencyEntry | undefined> {
    const bytes = await this.#store().get(idempotencyKey(blind));
    return bytes === undefined ? undefined : parseEntry(this.#tags, blind, bytes, (name) => name === tenant);
  }

  #ops(blind: Uint8Array, entry: IdempotencyEntry): readonly StoreOp[] {
    return [
      { kind: "put", key: idempotencyKey(blind), value: formatEntry(this.#tags, blind, entry) },
      { kind: "put", key: expiryKey(entry.expires, blind), value: new Uint8Array(0) },
    ];
  }

  /** Expired entries, at most `sweepEntriesMax`. Scans once a minute unless the last scan was full. */
  async expired(): Promise<readonly ExpiredEntry[]> {
    const nowMs = this.#nowMs();
    if (nowMs - this.#sweptMs < sweepEveryMs) return [];
    const range = {
      gte: familyRange("e").gte,
      lt: expiryKey(nowMs + 1, new Uint8Array(0)),
      limit: sweepEntriesMax,
    };
    const due: Uint8Array[] = [];
    for await (const [key] of this.#store().range(range)) due.push(key);
    if (due.length < sweepEntriesMax) this.#sweptMs = nowMs;
    if (due.length === 0) return [];
    const entryKeys = due.map((key) => idempotencyKey(blindOf(key)));
    const entries = await this.#store().getMany(entryKeys);
    return due.map((key, index) => {
      const entry = entries[index];
      // A key reused after its expiry has a newer entry, which stays.
      return entry !== undefined && expiredBy(entry, nowMs) ? { key, entryKey: entryKeys[index] } : { key };
    });
  }
}

/** The key of a passed expiry, and the key of its entry unless that entry is newer. */
export type ExpiredEntry = { readonly key: Uint8Array; readonly entryKey?: Uint8Array | undefined };

/** If the batch holds a new entry for an expired key, that entry stays, or the key's next repeat would run again. */
export const deleteExpired = (
  expired: readonly ExpiredEntry[],
  batch: readonly StoreOp[],
): readonly StoreOp[] => {
  if (expired.length === 0) return [];
  const renewed = new Set(batch.flatMap(({ kind, key }) => (kind === "put" ? [toHex(key)] : [])));
  return expired.flatMap(({ key, entryKey }) => {
    const gone: StoreOp = { kind: "delete", key };
    const stays = entryKey === undefined || renewed.has(toHex(entryKey));
    return stays ? [gone] : [gone, { kind: "delete", key: entryKey }];
  });
};

/** The tenant and expiry that an entry names, without checking its digest. Undefined if it is damaged. */
export const tenantOfEntry = (
  stored: Uint8Array,
): Pick<IdempotencyEntry, "tenant" | "expires"> | undefined => {
  try {
    const { tenant, expires } = cborDecode(stored.subarray(digestBytes)) as IdempotencyEntry;
    return typeof tenant === "string" && typeof expires === "number" ? { tenant, expires } : undefined;
  } catch {
    return undefined;
  }
};

/** The blind key in a key that `expiryKey` made. */
export const blindOf = (key: Uint8Array): Uint8Array => key.subarray(9);

/** The expiry, in Unix milliseconds, in a key that `expiryKey` made. */
export const expiryOf = (key: Uint8Array): number => Number(readU64be(key, 1));

/** Damaged entries stay: they block their key and `fsck` names them. */
const expiredBy = (stored: Uint8Array, nowMs: number): boolean => {
  try {
    return (cborDecode(stored.subarray(digestBytes)) as IdempotencyEntry).expires <= nowMs;
  } catch {
    return false;
  }
};
