/**
 * Indexes in the store, derived from records: position by hash; for a decision its entry in the decision index; for
 * every other record the newest version of its id, its entry among the versions of its id and among its tenant's
 * records. One function derives them from a record, so that commit, check and rebuild agree by construction.
 *
 * Indexes hold no field values: each filterable value is replaced by a keyed tag of four bytes. Tags may give false
 * positives; the decrypted and verified record decides.
 */
import { createHmac } from "node:crypto";
import { readU64be, u64be, writeU64be, type Hash } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import type { RecordBody } from "@sigil/core/record";
import type { StoreOp } from "../../storage/store.ts";
import { canonKey, hashKey, headKey, versionKey } from "./keyspace.ts";

const tagBytes = 4;
/** Cached tags; actions and principals repeat. */
const tagsMax = 20_000;

/** Keyed tags of one deployment. A tenant's index key is loaded once, by `ensure`, before its tags are asked for. */
export class BlindTags {
  readonly #load: (tenant: string) => Promise<Uint8Array>;
  readonly #keys = new Map<string, Uint8Array>();
  /** By tenant, field, value. */
  #known = new Map<string, Map<string, Map<string, Uint8Array>>>();
  #knownCount = 0;

  constructor(load: (tenant: string) => Promise<Uint8Array>) {
    this.#load = load;
  }

  async ensure(tenant: string): Promise<void> {
    if (!this.isReady(tenant)) this.#keys.set(tenant, await this.#load(tenant));
  }

  /** True once `ensure` has loaded the tenant's key. */
  isReady(tenant: string): boolean {
    return this.#keys.has(tenant);
  }

  /** Drops the tenant's index key and cached tags. */
  forget(tenant: string): void {
    this.#keys.get(tenant)?.fill(0);
    this.#keys.delete(tenant);
    for (const name of this.#known.keys()) if (name.startsWith(`${tenant}\0`)) this.#known.delete(name);
  }

  tag(tenant: string, field: string, value: string): Uint8Array {
    const known = this.#known.get(tenant)?.get(field)?.get(value);
    if (known !== undefined) return known;
    const tag = this.digest(tenant, `${field}\0${value}`).subarray(0, tagBytes);
    if (this.#knownCount >= tagsMax) {
      this.#known = new Map();
      this.#knownCount = 0;
    }
    let fields = this.#known.get(tenant);
    if (fields === undefined) this.#known.set(tenant, (fields = new Map()));
    let values = fields.get(field);
    if (values === undefined) fields.set(field, (values = new Map()));
    values.set(value, tag);
    this.#knownCount += 1;
    return tag;
  }

  /** HMAC-SHA256 under the tenant's index key, 32 bytes. */
  digest(tenant: string, text: string | Uint8Array): Uint8Array {
    // Loaded by `ensure`; missing only if the tenant was erased in between.
    const key =
      this.#keys.get(tenant) ?? fail({ kind: "keyUnavailable", rule: `no index key of tenant "${tenant}"` });
    return new Uint8Array(createHmac("sha256", key).update(text).digest());
  }
}

export type Head = { readonly position: bigint; readonly version: bigint };

export const formatHead = (head: Head): Uint8Array => {
  const bytes = new Uint8Array(16);
  writeU64be(bytes, 0, head.position);
  writeU64be(bytes, 8, head.version);
  return bytes;
};

/** @throws ledgerCorrupt unless it is sixteen bytes. */
export const parseHead = (bytes: Uint8Array): Head => {
  if (bytes.length !== 16) {
    fail({ kind: "ledgerCorrupt", position: 0n, rule: "an entry of the id index is malformed" });
  }
  return { position: readU64be(bytes, 0), version: readU64be(bytes, 8) };
};

/** The kind under which a record is listed: a tombstone is listed with the records it ends. */
const listedKind = ({ kind, payload }: RecordBody): string => {
  if (kind !== "tombstone" || payload === null || typeof payload !== "object") return kind;
  const ended = (payload as { readonly kind?: unknown }).kind;
  return typeof ended === "string" ? ended : kind;
};

export const kindTag = (tags: BlindTags, tenant: string, kind: string): Uint8Array =>
  tags.tag(tenant, "kind", kind);

/** A version entry: its position and its kind's tag. */
const versionEntryBytes = 8 + tagBytes;

const formatVersion = (position: bigint, tag: Uint8Array): Uint8Array => {
  const entry = new Uint8Array(versionEntryBytes);
  writeU64be(entry, 0, position);
  entry.set(tag, 8);
  return entry;
};

/** @throws ledgerCorrupt unless it is twelve bytes. */
export const parseVersion = (
  bytes: Uint8Array,
): { readonly position: bigint; readonly kindTag: Uint8Array } => {
  if (bytes.length !== versionEntryBytes) {
    fail({ kind: "ledgerCorrupt", position: 0n, rule: "an entry of the version index is malformed" });
  }
  return { position: readU64be(bytes, 0), kindTag: bytes.subarray(8) };
};

/** Decisions have an index of their own (decisions/), also by id. */
export const isDecision = ({ kind }: Pick<RecordBody, "kind">): boolean => kind === "frozen_chain";

/** The only index entry of a decision besides those of its own index. */
export const hashOp = (hash: Hash, position: bigint): StoreOp & { readonly kind: "put" } => ({
  kind: "put",
  key: hashKey(hash),
  value: u64be(position),
});

/** Index entries derived from one record. `version` is its version number, from 1. */
export const indexOps = (
  tags: BlindTags,
  body: RecordBody,
  hash: Hash,
  { position, version }: Head,
): readonly StoreOp[] => {
  const ofHash = hashOp(hash, position);
  if (isDecision(body)) return [ofHash];
  const { tenant, space, id } = body;
  const tag = kindTag(tags, tenant, listedKind(body));
  return [
    ofHash,
    { kind: "put", key: headKey(tenant, space, id), value: formatHead({ position, version }) },
    { kind: "put", key: versionKey(tenant, space, id, version), value: formatVersion(position, tag) },
    { kind: "put", key: canonKey(tenant, position), value: tag },
  ];
};
