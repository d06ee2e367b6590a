/**
 * Idempotency keys: a repeat with the same key and body gets the first answer for 24 hours, another body is refused. An
 * entry is written in the batch of the records it stands for, so that both exist or neither; where there are none,
 * alone. Entries hold keyed digests, positions and errors only, under a keyed digest of the whole, so that an answer
 * cannot be exchanged for another. Two calls with one key at the same moment: the second waits for the first.
 * Source: docs/spec/ledger.md §6.
 */
import { cborDecode, cborEncode, type CborValue } from "@sigil/core/cbor";
import { concatBytes, equalBytes, readU64be, toHex, utf8Encode } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import { idempotencyTtlMs } from "../../limits.ts";
import type { Store, StoreOp } from "../../storage/store.ts";
import { refuseErased, type Erasure } from "../layout/erasure.ts";
import type { BlindTags } from "../layout/indexes.ts";
import { expiryKey, familyRange, idempotencyKey } from "../layout/keyspace.ts";

/** Whose key it is: keys are private to a caller and an RPC. */
export type IdempotencyScope = {
  readonly tenant: string;
  readonly caller: string;
  readonly rpc: string;
  readonly key: string;
};

/** The right to answer for a key. Release it whatever happens; releasing after the commit wakes those who wait. */
export type HeldClaim = {
  readonly kind: "held";
  /** What the batch must hold so that a repeat finds `outcome`. */
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
 * `isTenant` says whose entry it may be: the name is not believed before the digest was checked with that tenant's key.
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

/** Expired entries removed with one commit. */
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
  /** How often the store was reopened. */
  #generation = 0;

  constructor(options: {
    readonly store: () => Store;
    readonly tags: BlindTags;
    readonly nowMs: () => number;
    /** That no entry is missing: asked before a key is called free. */
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
   * After a reopening: a write that was indeterminate may have been found again, so a key that was free before is
   * free no more until it is looked up anew.
   */
  forget(): void {
    this.#generation += 1;
  }

  /**
   * Looks the key up and takes it when it is free. The tenant's index key must be loaded.
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
          // The caller's tenant, which may be none of the records': there may be no record.
          refuseErased(this.#erasureOf(tenant));
          // An expiry is written once: a clock that was set back may name the moment at which the entry before expired.
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

  /** Entries that have expired, at most `sweepEntriesMax`; looks once a minute while it finds few. */
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
      // A key used again after its expiry has a younger entry of its own, which stays.
      return entry !== undefined && expiredBy(entry, nowMs) ? { key, entryKey: entryKeys[index] } : { key };
    });
  }
}

/** The key of an expiry that has come, and that of its entry unless that is a younger one. */
export type ExpiredEntry = { readonly key: Uint8Array; readonly entryKey?: Uint8Array | undefined };

/**
 * An expired key that is used again has its new entry in the batch: that stays, or the key would answer its next repeat
 * anew.
 */
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

/** Whose an entry says it is, and when it may go; its digest is not looked at. Undefined when it is damaged. */
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

/** When the entry may go, in a key that `expiryKey` made. */
export const expiryOf = (key: Uint8Array): number => Number(readU64be(key, 1));

/** Damaged entries stay: they block their key and `fsck` names them. */
const expiredBy = (stored: Uint8Array, nowMs: number): boolean => {
  try {
    return (cborDecode(stored.subarray(digestBytes)) as IdempotencyEntry).expires <= nowMs;
  } catch {
    return false;
  }
};
