/**
 * The reading side of the ledger: every record is verified before it is handed out, every index entry is a hint.
 * Sees one view at a time: the store that is open, and the state that is acknowledged.
 */
import type { Hash } from "../record/bytes.ts";
import { fail, SigilFault } from "../record/errors.ts";
import { decodeEnvelope, parseRecordStatement, type RecordBody } from "../record/record.ts";
import { proveConsistency, proveInclusion } from "../merkle/proof.ts";
import type { KeyRing } from "../keys/ring.ts";
import type { Store } from "../storage/store.ts";
import { examineRecord, requireVerified, type Examination, type VerifiedRecord } from "./examine.ts";
import { exportLedger, type LedgerExport } from "./export.ts";
import { parseGroup } from "./group.ts";
import type { BlindTags, Head } from "./indexes.ts";
import { groupKey, recordKey } from "./keyspace.ts";
import {
  readHead,
  readHeads,
  readPositionOfHash,
  walkDecisions,
  walkRecords,
  type DecisionWalk,
  type HeadScan,
  type RecordWalk,
  type WalkedPosition,
} from "./lookup.ts";
import type { LedgerOptions } from "./options.ts";
import type { Sealer } from "./sealer.ts";
import { sizeOf, type LedgerState } from "./state.ts";
import type { TreeReader } from "./tree.ts";
import {
  readHistory,
  readVersionAt,
  readVersionBelow,
  readVersions,
  type HistoryWalk,
  type ListedVersion,
  type VersionListing,
} from "./version-index.ts";

/** What reading needs at this moment. */
export type LedgerView = {
  readonly store: Store;
  readonly state: LedgerState;
  readonly ring: KeyRing;
  readonly sealer: Sealer;
  readonly tree: TreeReader;
  readonly tags: BlindTags;
  readonly options: LedgerOptions;
};

/** A proof, and the signed checkpoint of the tree it leads to. */
export type TreeProof = { readonly checkpoint: string; readonly hashes: readonly Hash[] };

export abstract class ReadableLedger {
  protected abstract view(): LedgerView;

  /** @throws recordCorrupt naming the step that failed. */
  async readAt(position: bigint): Promise<VerifiedRecord> {
    try {
      return requireVerified(await this.#examine(position, "serving"));
    } catch (error) {
      if (error instanceof SigilFault && error.error.kind === "recordCorrupt") {
        this.view().options.observe?.onVerifyFailure?.(error.error);
      }
      throw error;
    }
  }

  /**
   * A record as its seal alone authenticates it, for what is only counted and never answered with.
   * @throws recordCorrupt, malformedCbor, malformedCose, malformedRecord.
   */
  async peekAt(position: bigint): Promise<RecordBody> {
    const { store, sealer } = this.view();
    const stored = await store.get(recordKey(position));
    if (stored === undefined) {
      const rule = "no record is stored at this position";
      return fail({ kind: "recordCorrupt", position, step: "seal", rule });
    }
    const { envelope } = await sealer.open(stored, position);
    return parseRecordStatement(decodeEnvelope(envelope).statement).body;
  }

  /** How many records the first commit holds: those that the genesis hash vouches for. @throws ledgerCorrupt. */
  async genesisSize(): Promise<bigint> {
    const bytes = await this.view().store.get(groupKey(0n));
    if (bytes === undefined) {
      return fail({ kind: "ledgerCorrupt", position: 0n, rule: "the first group's entry is missing" });
    }
    return BigInt(parseGroup(0n, bytes).leaves.length);
  }

  /** Every step of a record's verification, the checkpoint's signature among them. */
  examine(position: bigint): Promise<Examination> {
    return this.#examine(position, "full");
  }

  /** That a position is in the tree as it is now. @throws leafOutOfRange. */
  async proveInclusion(position: bigint): Promise<TreeProof> {
    const { state, tree, options } = this.view();
    const size = sizeOf(state);
    const hashes = await proveInclusion(position, size, tree.readHashes(state.tree), options.sha256);
    return { checkpoint: state.checkpoint, hashes };
  }

  /** That the tree as it is now begins with the tree of an older size. @throws sizeOutOfRange. */
  async proveConsistency(oldSize: bigint): Promise<TreeProof> {
    const { state, tree, options } = this.view();
    const size = sizeOf(state);
    const hashes = await proveConsistency(oldSize, size, tree.readHashes(state.tree), options.sha256);
    return { checkpoint: state.checkpoint, hashes };
  }

  /** The newest version of an id. */
  head(tenant: string, space: string, id: string): Promise<Head | undefined> {
    return readHead(this.view().store, tenant, space, id);
  }

  /** Newest versions of the ids that begin so, in id order, decisions among them. */
  heads(tenant: string, space: string, idPrefix: string, scan: HeadScan = {}): AsyncIterable<Head> {
    return readHeads(this.view().store, tenant, space, idPrefix, scan);
  }

  /** Ids that begin so, decisions left out, each with its newest version below the listing's size, in id order. */
  async *versions(listing: VersionListing): AsyncIterable<ListedVersion> {
    const { tags } = this.view();
    if (listing.kind !== undefined) await tags.ensure(listing.tenant);
    yield* readVersions(this.view().store, tags, listing);
  }

  /** The position of one version of an id that is no decision's. */
  versionAt(tenant: string, space: string, id: string, version: bigint): Promise<bigint | undefined> {
    return readVersionAt(this.view().store, { tenant, space }, id, version);
  }

  /** The newest version of an id, no decision's, that a ledger of `size` records has. */
  versionBelow(tenant: string, space: string, id: string, size: bigint): Promise<Head | undefined> {
    return readVersionBelow(this.view().store, { tenant, space }, id, size);
  }

  /** Versions of an id that is no decision's. */
  history(walk: HistoryWalk): AsyncIterable<Head> {
    return readHistory(this.view().store, walk);
  }

  /** Positions of a tenant's records other than decisions, ascending; with a kind, a few strangers among them. */
  async *records(walk: RecordWalk): AsyncIterable<WalkedPosition> {
    const { tags } = this.view();
    if (walk.kind !== undefined) await tags.ensure(walk.tenant);
    yield* walkRecords(this.view().store, tags, walk);
  }

  /** The newest version of an id, verified. @throws recordCorrupt, also when the index names another record. */
  async readId(tenant: string, space: string, id: string): Promise<VerifiedRecord | undefined> {
    const head = await this.head(tenant, space, id);
    if (head === undefined) return undefined;
    const record = await this.readAt(head.position);
    const { body } = record;
    if (body.tenant !== tenant || body.space !== space || body.id !== id) {
      const rule = "the record is not the one its index names";
      return fail({ kind: "recordCorrupt", position: head.position, step: "index", rule });
    }
    return record;
  }

  positionOfHash(hash: Hash): Promise<bigint | undefined> {
    return readPositionOfHash(this.view().store, hash);
  }

  /** Positions of decisions that may match, in order; a few strangers among them. */
  async *decisions(walk: DecisionWalk): AsyncIterable<WalkedPosition> {
    const { tags } = this.view();
    await tags.ensure(walk.tenant);
    yield* walkDecisions(this.view().store, tags, walk);
  }

  /**
   * Everything from a size on that cannot be derived, as it is now. Whoever takes it disposes of it.
   * @throws sizeOutOfRange, invalidField when no group ends there.
   */
  export(fromSize: bigint): Promise<LedgerExport> {
    const { store, sealer, options } = this.view();
    return exportLedger(fromSize, { store, sealer, ring: () => this.view().ring, sha256: options.sha256 });
  }

  /** Keyed digest for tokens that only this deployment can make, 32 bytes. */
  async authenticate(tenant: string, bytes: Uint8Array): Promise<Uint8Array> {
    const { tags } = this.view();
    await tags.ensure(tenant);
    return tags.digest(tenant, bytes);
  }

  #examine(position: bigint, depth: "serving" | "full"): Promise<Examination> {
    const { store, sealer, tree, ring, state, options } = this.view();
    const { origin, sha256 } = options;
    return examineRecord(position, { store, sealer, tree, ring, state, origin, sha256, depth });
  }
}
