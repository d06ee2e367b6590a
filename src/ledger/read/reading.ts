/**
 * Reads the ledger: every record is verified before it is returned, every index entry is only a hint. Each read uses
 * the open store and the acknowledged state.
 */
import { openRecord, readRecord, type KeyRecord } from "@sigil/core/verify";
import { equalBytes, type Hash } from "@sigil/core/bytes";
import { fail, SigilFault } from "../../errors.ts";
import { type RecordBody } from "@sigil/core/record";
import type { KeyRing } from "@sigil/core/keys";
import type { Store } from "../../storage/store.ts";
import type { Completeness } from "./completeness.ts";
import { listDataKeys, type DataKeyListing, type LivingDataKey } from "../sealing/data-key-life.ts";
import type { Erasures } from "../erase/erasures.ts";
import { examineRecord, requireVerified, type Examination, type VerifiedRecord } from "./examine.ts";
import { DecisionSearch, type DecisionSlice, type DecisionWalk } from "../decisions/search.ts";
import type { DecisionIndex } from "../decisions/decision-index.ts";
import { exportLedger, type LedgerExport } from "../copy/export.ts";
import { parseGroup } from "../layout/group.ts";
import type { BlindTags, Head } from "../layout/indexes.ts";
import { readKeyRecords } from "./keyring.ts";
import { groupKey, recordKey } from "../layout/keyspace.ts";
import {
  readHead,
  readHeads,
  readPositionOfHash,
  walkRecords,
  type HeadScan,
  type RecordWalk,
  type WalkedPosition,
} from "../layout/lookup.ts";
import type { LedgerOptions } from "../append/options.ts";
import { readRecent, type RecentDecisions, type RecentEnd, type TakeRecent } from "../decisions/recent.ts";
import type { Sealer } from "../sealing/sealer.ts";
import { unlessDamaged } from "../layout/damaged.ts";
import { sizeOf } from "../append/state.ts";
import { SignedTrees, type SignedTree, type SigningMoment } from "./signed-trees.ts";
import { Tiles } from "./tiles.ts";
import type { TreeReader } from "../layout/tree.ts";
import {
  readHistory,
  readVersionAt,
  readVersionBelow,
  readVersions,
  type HistoryWalk,
  type ListedVersion,
  type VersionListing,
} from "../layout/version-index.ts";

/** The source of a reader. */
export type ReadSource = {
  readonly now: () => SigningMoment;
  readonly sealer: Sealer;
  readonly tree: TreeReader;
  readonly tags: BlindTags;
  readonly erasures: Erasures;
  readonly decisions: DecisionIndex;
  readonly completeness: Completeness;
  readonly options: Pick<LedgerOptions, "origin" | "genesis" | "dataKeys" | "nowMs" | "observe">;
};

const notIndexed = (position: bigint): never => {
  const rule = "the record is not the one its index names";
  return fail({ kind: "recordCorrupt", position, step: "index", rule });
};

const labelled = (position: bigint, cause: unknown): never => {
  const rule = "the record says that it is an erased tenant's";
  return fail({ kind: "recordCorrupt", position, step: "seal", rule }, { cause });
};

export class LedgerReader {
  readonly #source: ReadSource;
  /** Signed trees of any size. */
  readonly trees: SignedTrees;
  /** What the trees are made of. */
  readonly tiles: Tiles;

  constructor(source: ReadSource) {
    this.#source = source;
    const { now, tree, options } = source;
    this.trees = new SignedTrees({ now, tree, origin: options.origin, nowMs: options.nowMs });
    const { sealer, erasures } = source;
    const store = (): Store => now().store;
    this.tiles = new Tiles({ store, sealer, trees: this.trees, erasureOf: erasures.of });
  }

  get size(): bigint {
    return sizeOf(this.#source.now().state);
  }

  get origin(): string {
    return this.#source.options.origin;
  }

  get ring(): KeyRing {
    return this.#source.now().ring;
  }

  /** The newest signed checkpoint, as one consistent view. */
  get checkpoint(): { readonly note: string; readonly size: bigint; readonly root: Hash } {
    const { state } = this.#source.now();
    return { note: state.checkpoint, size: sizeOf(state), root: state.root };
  }

  /** Genesis, announcements and retirements in ledger order, verified: the input of a key walk. */
  async keyRecords(): Promise<readonly KeyRecord[]> {
    const { store } = this.#source.now();
    const { sealer, options } = this.#source;
    const { genesis } = options;
    return (await readKeyRecords({ store, sealer, genesis })).records;
  }

  /** Data keys that have sealed or were created by rotation. */
  dataKeys(listing: DataKeyListing): Promise<readonly LivingDataKey[]> {
    const { store } = this.#source.now();
    const { options } = this.#source;
    return listDataKeys(listing, { keys: options.dataKeys, store });
  }

  /** @throws erased if a quorum has ordered the tenant's erasure. */
  refuseErased(tenant: string): void {
    this.#source.erasures.refuse(tenant);
  }

  /** Whether a quorum has ordered the tenant's erasure. */
  isErased(tenant: string): boolean {
    return this.#source.erasures.of(tenant) !== undefined;
  }

  /**
   * For reads about another tenant: a misspelt name must not look like a tenant without records.
   * @throws notFound if the tenant never had a record; erased.
   */
  requireTenant(tenant: string): void {
    this.refuseErased(tenant);
    if (this.#source.now().summary.tallyOf(tenant) === undefined) {
      fail({ kind: "notFound", what: "record of tenant", id: tenant });
    }
  }

  /**
   * @param tenant expected by the index: a stored value that names an erased tenant instead is damage, not an erased
   * record.
   * @throws recordCorrupt naming the step that failed; erased.
   */
  async readAt(position: bigint, tenant?: string): Promise<VerifiedRecord> {
    try {
      return requireVerified(await this.#examine(position, "serving", tenant));
    } catch (error) {
      if (error instanceof SigilFault && error.error.kind === "recordCorrupt") {
        this.#source.options.observe?.onVerifyFailure?.(error.error);
      }
      throw error;
    }
  }

  /** Reads a record authenticated only by its seal, for counting, never for answers. @throws recordCorrupt. */
  async peekAt(position: bigint): Promise<RecordBody> {
    const { store } = this.#source.now();
    const { sealer, options } = this.#source;
    const stored = await store.get(recordKey(position));
    if (stored === undefined) {
      const rule = "no record is stored at this position";
      return fail({ kind: "recordCorrupt", position, step: "seal", rule });
    }
    const { tenant, envelope } = await sealer.open(stored, position);
    return readRecord(openRecord(position, envelope), { origin: options.origin, tenant });
  }

  /** Number of records in the first commit, which the genesis hash covers. @throws ledgerCorrupt. */
  async genesisSize(): Promise<bigint> {
    const bytes = await this.#source.now().store.get(groupKey(0n));
    if (bytes === undefined) {
      return fail({ kind: "ledgerCorrupt", position: 0n, rule: "the first group's entry is missing" });
    }
    return BigInt(parseGroup(0n, bytes).leaves.length);
  }

  /** Runs every verification step, including the checkpoint's signature. @throws erased. */
  examine(position: bigint, tenant?: string): Promise<Examination> {
    return this.#examine(position, "full", tenant);
  }

  /** The tree as it is now. */
  get tree(): SignedTree {
    return this.trees.newest;
  }

  /** The newest version of an id (decisions excluded). @throws erased, as does every read of a tenant's records. */
  async head(tenant: string, space: string, id: string): Promise<Head | undefined> {
    return readHead(await this.#storeFor(tenant), tenant, space, id);
  }

  /**
   * The position of the decision with this id, or of an unreadable record that may be it. @throws erased,
   * ledgerCorrupt.
   */
  async decisionAt(tenant: string, id: string): Promise<bigint | undefined> {
    let unreadable: bigint | undefined;
    for await (const position of this.#searching(tenant, (search) => search.positionsOf(id))) {
      const body = await unlessDamaged(() => this.peekAt(position));
      if (body === undefined) unreadable ??= position;
      else if (body.id === id && body.tenant === tenant) return position;
    }
    return unreadable;
  }

  /** Newest versions of the ids with this prefix, in id order; decisions excluded. */
  async *heads(tenant: string, space: string, idPrefix: string, scan: HeadScan = {}): AsyncIterable<Head> {
    yield* readHeads(await this.#storeFor(tenant), tenant, space, idPrefix, scan);
  }

  /** Ids with this prefix (decisions excluded), each with its newest version below the listing's size, in id order. */
  async *versions(listing: VersionListing): AsyncIterable<ListedVersion> {
    const { tags } = this.#source;
    if (listing.kind !== undefined) await tags.ensure(listing.tenant);
    yield* readVersions(await this.#storeFor(listing.tenant), tags, listing);
  }

  /** The position of one version of an id (decisions excluded). */
  async versionAt(tenant: string, space: string, id: string, version: bigint): Promise<bigint | undefined> {
    return readVersionAt(await this.#storeFor(tenant), { tenant, space }, id, version);
  }

  /** The newest version of an id (decisions excluded) in the ledger's first `size` records. */
  async versionBelow(tenant: string, space: string, id: string, size: bigint): Promise<Head | undefined> {
    return readVersionBelow(await this.#storeFor(tenant), { tenant, space }, id, size);
  }

  /** Versions of an id (decisions excluded). */
  async *history(walk: HistoryWalk): AsyncIterable<Head> {
    yield* readHistory(await this.#storeFor(walk.tenant), walk);
  }

  /** Positions of a tenant's records (decisions excluded), ascending; with a kind, may include false positives. */
  async *records(walk: RecordWalk): AsyncIterable<WalkedPosition> {
    const { tags } = this.#source;
    if (walk.kind !== undefined) await tags.ensure(walk.tenant);
    yield* walkRecords(await this.#storeFor(walk.tenant), tags, walk);
  }

  /** The newest version of an id, verified. @throws recordCorrupt, also if the index names another record. */
  async readId(tenant: string, space: string, id: string): Promise<VerifiedRecord | undefined> {
    const head = await this.head(tenant, space, id);
    if (head === undefined) return undefined;
    const record = await this.readAt(head.position, tenant);
    const { body } = record;
    const isNamed = body.tenant === tenant && body.space === space && body.id === id;
    return isNamed ? record : notIndexed(head.position);
  }

  /**
   * The record with a hash, verified. @throws recordCorrupt, also if the index names another record; ledgerCorrupt if
   * not found and the hash index is incomplete; erased.
   */
  async readHash(hash: Hash): Promise<VerifiedRecord | undefined> {
    const { store } = this.#source.now();
    const { completeness } = this.#source;
    const position = await readPositionOfHash(store, hash);
    if (position === undefined) {
      await completeness.hashes();
      return undefined;
    }
    const record = await this.#readIndexed(position);
    return equalBytes(record.hash, hash) ? record : notIndexed(position);
  }

  /**
   * Hashes of erased records leave the index before the erasure is reported: an indexed one that claims so later is
   * damage.
   */
  async #readIndexed(position: bigint): Promise<VerifiedRecord> {
    try {
      return await this.readAt(position);
    } catch (error) {
      if (!(error instanceof SigilFault) || error.error.kind !== "erased") throw error;
      const isReported = this.#source.erasures.of(error.error.tenant)?.reported === true;
      return isReported ? labelled(position, error) : Promise.reject(error);
    }
  }

  /** Positions of decisions in order, in slices; may include false positives. @throws erased, ledgerCorrupt. */
  decisions(walk: DecisionWalk): AsyncIterable<DecisionSlice> {
    return this.#searching(walk.tenant, (search) => search.walk(walk));
  }

  /** Times and subjects of the newest decisions; see `recent.ts`. */
  recentDecisions(which: RecentDecisions, take: TakeRecent): Promise<RecentEnd> {
    const { store } = this.#source.now();
    const { decisions } = this.#source;
    return readRecent({ store, decisions, isErased: (tenant) => this.isErased(tenant) }, which, take);
  }

  /** The tag of a principal in `recentDecisions`; undefined while the tenant's index key is not loaded. */
  principalTag(tenant: string, id: string): number | undefined {
    return this.#source.decisions.principalTerm(tenant, id);
  }

  /**
   * Exports all underivable entries from a size on, from a snapshot; the caller must dispose of it.
   * @throws sizeOutOfRange, invalidField if no group ends there.
   */
  async export(fromSize: bigint): Promise<LedgerExport> {
    const { erasures } = this.#source;
    await erasures.settled();
    const { store } = this.#source.now();
    const { sealer } = this.#source;
    const [signal, ring] = [erasures.copying, (): KeyRing => this.#source.now().ring];
    return exportLedger(fromSize, { store, sealer, ring, signal });
  }

  /** MAC for tokens issued by this deployment, 32 bytes. */
  async authenticate(tenant: string, bytes: Uint8Array): Promise<Uint8Array> {
    const { tags } = this.#source;
    await tags.ensure(tenant);
    return tags.digest(tenant, bytes);
  }

  async #examine(position: bigint, depth: "serving" | "full", tenant?: string): Promise<Examination> {
    const { store, ring, state } = this.#source.now();
    const { sealer, tree, options } = this.#source;
    const { origin } = options;
    try {
      return await examineRecord(position, { store, sealer, tree, ring, state, origin, depth });
    } catch (error) {
      const isOthers =
        error instanceof SigilFault && error.error.kind === "erased" && error.error.tenant !== tenant;
      if (!isOthers || tenant === undefined) throw error;
      return labelled(position, error);
    }
  }

  /**
   * The store, once the tenant's indexes (decisions excluded) are known to be complete. @throws erased, ledgerCorrupt.
   */
  async #storeFor(tenant: string): Promise<Store> {
    const { erasures, completeness } = this.#source;
    erasures.refuse(tenant);
    await completeness.versions(tenant);
    return this.#source.now().store;
  }

  /** Runs a search over one snapshot of a tenant's decision index. */
  async *#searching<Item>(
    tenant: string,
    walk: (search: DecisionSearch) => AsyncIterable<Item>,
  ): AsyncGenerator<Item> {
    this.refuseErased(tenant);
    const moment = await this.#source.decisions.view(tenant);
    this.refuseErased(tenant);
    const { store } = this.#source.now();
    await using snapshot = store.snapshot();
    yield* walk(new DecisionSearch(moment, store, snapshot));
  }
}
