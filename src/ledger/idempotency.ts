/**
 * Idempotency keys: a repeat with the same key and body gets the first answer for 24 hours, another body is refused.
 * An entry is written in the batch of the records it stands for, so that both exist or neither. Entries hold keyed
 * digests and positions only. Two calls with one key at the same moment: the second waits for the first.
 */
import { cborDecode, cborEncode, type CborValue } from "../record/cbor.ts";
import { equalBytes, toHex } from "../record/bytes.ts";
import { fail } from "../record/errors.ts";
import { idempotencyTtlMs } from "../record/limits.ts";
import type { Store, StoreOp } from "../storage/store.ts";
import type { BlindTags } from "./indexes.ts";
import { expiryKey, familyRange, idempotencyKey } from "./keyspace.ts";

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
  readonly ops: (outcome: CborValue, nowMs: number) => readonly StoreOp[];
  readonly release: () => void;
};

export type Claim = { readonly kind: "replay"; readonly outcome: CborValue } | HeldClaim;

type Entry = { readonly body: Uint8Array; readonly expires: number; readonly outcome: CborValue };

const blindBytes = 16;
/** Expired entries removed with one commit. */
const sweepEntriesMax = 500;
const sweepEveryMs = 60_000;

export class IdempotencyKeys {
  readonly #store: () => Store;
  readonly #tags: BlindTags;
  readonly #waiting = new Map<string, Promise<void>>();
  #sweptMs = 0;

  constructor(store: () => Store, tags: BlindTags) {
    this.#store = store;
    this.#tags = tags;
  }

  /**
   * Looks the key up and takes it when it is free. The tenant's index key must be loaded.
   * @throws idempotencyConflict when the key was used with another body.
   */
  async claim(scope: IdempotencyScope, body: Uint8Array, nowMs: number): Promise<Claim> {
    const blind = this.#tags
      .digest(scope.tenant, `idempotency\0${scope.caller}\0${scope.rpc}\0${scope.key}`)
      .subarray(0, blindBytes);
    const bodyDigest = this.#tags.digest(scope.tenant, body);
    const name = toHex(blind);
    for (let other = this.#waiting.get(name); other !== undefined; other = this.#waiting.get(name)) {
      await other;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.set(name, promise);
    const release = (): void => {
      if (this.#waiting.get(name) === promise) this.#waiting.delete(name);
      resolve();
    };
    try {
      const found = await this.#find(blind, nowMs);
      if (found === undefined) {
        return { kind: "held", release, ops: (outcome, ms) => this.#ops(blind, bodyDigest, outcome, ms) };
      }
      release();
      if (!equalBytes(found.body, bodyDigest)) return fail({ kind: "idempotencyConflict", key: scope.key });
      return { kind: "replay", outcome: found.outcome };
    } catch (error) {
      release();
      throw error;
    }
  }

  async #find(blind: Uint8Array, nowMs: number): Promise<Entry | undefined> {
    const bytes = await this.#store().get(idempotencyKey(blind));
    if (bytes === undefined) return undefined;
    const entry = cborDecode(bytes) as Entry;
    return entry.expires > nowMs ? entry : undefined;
  }

  #ops(blind: Uint8Array, body: Uint8Array, outcome: CborValue, nowMs: number): readonly StoreOp[] {
    const expires = nowMs + idempotencyTtlMs;
    return [
      { kind: "put", key: idempotencyKey(blind), value: cborEncode({ body, expires, outcome }) },
      { kind: "put", key: expiryKey(expires, blind), value: new Uint8Array(0) },
    ];
  }

  /** Deletions of entries that have expired, for the next batch; looks at most once a minute. */
  async sweep(nowMs: number): Promise<readonly StoreOp[]> {
    if (nowMs - this.#sweptMs < sweepEveryMs) return [];
    this.#sweptMs = nowMs;
    const ops: StoreOp[] = [];
    const range = {
      gte: familyRange("e").gte,
      lt: expiryKey(nowMs, new Uint8Array(0)),
      limit: sweepEntriesMax,
    };
    for await (const [key] of this.#store().range(range)) {
      const blind = key.subarray(9);
      ops.push({ kind: "delete", key });
      const bytes = await this.#store().get(idempotencyKey(blind));
      // A key used again after its expiry has a younger entry of its own, which stays.
      if (bytes !== undefined && (cborDecode(bytes) as Entry).expires <= nowMs) {
        ops.push({ kind: "delete", key: idempotencyKey(blind) });
      }
    }
    return ops;
  }
}
