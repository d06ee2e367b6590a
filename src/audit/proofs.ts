/** Proofs over the ledger's trees of any size, with their signed checkpoints. They hold hashes, no record's content. */
import { toHex, type Hash, type PublicKey } from "@sigil/core/bytes";
import { fail, invalidField } from "../errors.ts";
import { readsAcross, type CallContext, type Caller } from "../identity/caller.ts";
import { isGranted } from "../identity/feed-reach.ts";
import { checkpointKeyOf, type VerifiedRecord } from "../ledger/read/examine.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import type { Included, SignedTree } from "../ledger/read/signed-trees.ts";
import type { Disclosures } from "@sigil/core/record";
import { gatherEvidence } from "./bundle.ts";
import type { AuditedChain, ChainName } from "./evidence.ts";

/** Which checkpoint: sizes in records. */
export type CheckpointName =
  | { readonly kind: "newest" }
  | { readonly kind: "exact"; readonly size: bigint }
  /** That of the commit with which the ledger reached the size. */
  | { readonly kind: "reaching"; readonly size: bigint }
  /** The newest that the deployment's policy accepts, with its cosignatures, of at least so many records. */
  | { readonly kind: "cosigned"; readonly size: bigint };

/** A checkpoint with cosignatures. */
type CosignedTree = Pick<SignedTree, "checkpoint" | "size" | "root">;

/** The newest that the deployment's policy accepts; undefined until there is one. */
export type Cosigned = () => CosignedTree | undefined;

/** Whose leaf: a decision and a hash only for who may see the record. */
export type LeafName =
  | { readonly kind: "position"; readonly position: bigint }
  | ({ readonly kind: "decision" } & ChainName)
  | { readonly kind: "hash"; readonly hash: Hash };

export type InclusionProof = Included & {
  readonly position: bigint;
  readonly tree: SignedTree;
  /** Empty unless it was asked for. */
  readonly receipt: Uint8Array;
};

/** A record to prove to a reader who has nothing else. */
export type EvidenceName = Exclude<LeafName, { readonly kind: "position" }>;

/** Which checkpoint of an evidence file. */
export type EvidenceTree =
  /** The newest that is cosigned and holds the record; where there is none, the newest. */
  | { readonly kind: "best" }
  | { readonly kind: "exact"; readonly size: bigint }
  | { readonly kind: "cosigned" };

/** Which tree, 0 for the newest; and whether a COSE receipt is wanted. */
export type InclusionQuery = { readonly size: bigint; readonly receipt: boolean };

export type ConsistencyProof = { readonly proof: readonly Hash[]; readonly tree: SignedTree };

/** Paths computed between two turns of other callers. */
const provedAtOnce = 32;

/** The path of each record, and the checkpoint that all lead to. */
export type RecordedProofs = { readonly checkpoint: string; readonly proofs: readonly (readonly Hash[])[] };

type Paced = Pick<CallContext, "pace" | "signal">;

export type ProofService = {
  /**
   * @throws sizeOutOfRange, checkpointUnsigned, ledgerCorrupt, as do the others; notServing if none is cosigned yet,
   * invalidField if none can be.
   */
  readonly checkpoint: (
    name: CheckpointName,
  ) => Promise<
    CosignedTree & Pick<SignedTree, "signedMs"> & { readonly origin: string; readonly publicKey: PublicKey }
  >;
  /** @throws also leafOutOfRange, notFound, tenantForbidden, erased, recordCorrupt. */
  readonly proveInclusion: (caller: Caller, leaf: LeafName, query: InclusionQuery) => Promise<InclusionProof>;
  /**
   * Records of one commit in its tree, for whoever is answered about them. @param positions ascending, at least one.
   * @throws ledgerCorrupt, sizeOutOfRange.
   */
  readonly proveRecorded: (positions: readonly bigint[], call: Paced) => Promise<RecordedProofs>;
  /**
   * The evidence file of a record that the caller is answered about, by the checkpoint of its commit, with what
   * `disclosed` keeps of what opens its commitments. @throws as `evidence`.
   */
  readonly recordedEvidence: (
    caller: Caller,
    position: bigint,
    disclosed: (all: Disclosures) => Disclosures,
    call: Paced,
  ) => Promise<Uint8Array>;
  /** @returns an evidence file. @throws as proveInclusion; also notServing, invalidField, cancelled. */
  readonly evidence: (
    caller: Caller,
    name: EvidenceName,
    tree: EvidenceTree,
    call: Paced,
  ) => Promise<Uint8Array>;
  /** @param newSize 0 for the newest tree. @throws also invalidField. */
  readonly proveConsistency: (oldSize: bigint, newSize: bigint) => Promise<ConsistencyProof>;
};

export const createProofService = (
  ledger: LedgerReader,
  get: (caller: Caller, name: ChainName) => Promise<AuditedChain>,
  cosigned: Cosigned | undefined,
): ProofService => {
  const { trees } = ledger;

  const treeOf = async (size: bigint): Promise<SignedTree> => (size === 0n ? trees.newest : trees.at(size));

  const cosignedOf = (size: bigint): CosignedTree & { readonly signedMs: undefined } => {
    if (cosigned === undefined) return invalidField("cosigned", "needs witnesses, and this server has none");
    const found = cosigned();
    if (size > trees.newest.size) fail({ kind: "sizeOutOfRange", size, treeSize: trees.newest.size });
    if (found !== undefined && found.size >= size) return { ...found, signedMs: undefined };
    return fail({ kind: "notServing", rule: `no checkpoint of size ${size} or more is cosigned yet` });
  };

  const recordOfHash = async (caller: Caller, hash: Hash): Promise<VerifiedRecord> => {
    const record = await ledger.readHash(hash);
    const isOwn = record?.body.space === "system" || record?.body.tenant === caller.tenant;
    const isSeen = isOwn || readsAcross(caller) || isGranted(caller, record?.body);
    // Another tenant's record is not said to exist.
    if (record === undefined || !isSeen) {
      return fail({ kind: "notFound", what: "record", id: toHex(hash) });
    }
    return record;
  };

  const named = async (
    caller: Caller,
    name: EvidenceName,
  ): Promise<Pick<VerifiedRecord, "position" | "body" | "disclosures">> =>
    name.kind === "hash" ? recordOfHash(caller, name.hash) : (await get(caller, name)).record;

  const positionOf = async (caller: Caller, leaf: LeafName): Promise<bigint> => {
    if (leaf.kind === "position") return leaf.position;
    return (await named(caller, leaf)).position;
  };

  /** The newest cosigned tree that holds a position, with its cosignatures. */
  const cosignedTree = async (size: bigint): Promise<SignedTree> => {
    const found = cosignedOf(size);
    return { ...(await trees.at(found.size)), checkpoint: found.checkpoint };
  };

  /** As of a commit that is no longer in memory. */
  const readingFrom = (tree: SignedTree) => ({
    checkpoint: tree.checkpoint,
    prove: async (position: bigint) => (await trees.included(tree, position)).proof,
  });

  const mayReadOf =
    (caller: Caller) =>
    (tenant: string): boolean =>
      tenant === caller.tenant || readsAcross(caller);

  const evidenceTree = async (asked: EvidenceTree, position: bigint): Promise<SignedTree> => {
    if (asked.kind === "exact") return trees.at(asked.size);
    const isCosigned = (cosigned?.()?.size ?? 0n) > position;
    return asked.kind === "cosigned" || isCosigned ? cosignedTree(position + 1n) : trees.newest;
  };

  const checkpointOf = async (name: CheckpointName): Promise<CosignedTree & Pick<SignedTree, "signedMs">> => {
    switch (name.kind) {
      case "newest":
        return trees.newest;
      case "exact":
        return trees.at(name.size);
      case "reaching":
        return trees.reaching(name.size);
      case "cosigned":
        return cosignedOf(name.size);
    }
  };

  return {
    checkpoint: async (name) => {
      const tree = await trees.withMldsa44(await checkpointOf(name));
      return { ...tree, origin: ledger.origin, publicKey: checkpointKeyOf(ledger.ring, tree.size).publicKey };
    },
    proveInclusion: async (caller, leaf, query) => {
      const position = await positionOf(caller, leaf);
      const tree = await treeOf(query.size);
      const included = await trees.included(tree, position);
      const receipt = query.receipt ? await trees.receipt(tree, position, included.proof) : new Uint8Array(0);
      return { ...included, position, tree: await trees.withMldsa44(tree), receipt };
    },
    evidence: async (caller, name, asked, call) => {
      const record = await named(caller, name);
      const tree = await trees.withMldsa44(await evidenceTree(asked, record.position));
      return gatherEvidence(ledger, record, tree, { mayRead: mayReadOf(caller), call });
    },
    proveRecorded: async (positions, { pace, signal }) => {
      const last = positions.at(-1) ?? 0n;
      const { checkpoint, prove } = trees.recorded(last) ?? readingFrom(await trees.reaching(last + 1n));
      const proofs: (readonly Hash[])[] = [];
      for (const position of positions) {
        proofs.push(await prove(position));
        if (proofs.length % provedAtOnce === 0) await pace?.pause();
        if (signal.aborted) fail({ kind: "cancelled" });
      }
      return { checkpoint, proofs };
    },
    recordedEvidence: async (caller, position, disclosed, call) => {
      const record = await ledger.readAt(position);
      const tree = await trees.reaching(position + 1n);
      const shown = { ...record, disclosures: disclosed(record.disclosures) };
      return gatherEvidence(ledger, shown, tree, { mayRead: mayReadOf(caller), call });
    },
    proveConsistency: async (oldSize, newSize) => {
      if (newSize !== 0n && newSize < oldSize) invalidField("new_size", "must not be below old_size");
      const tree = await treeOf(newSize);
      return { proof: await trees.extending(tree, oldSize), tree: await trees.withMldsa44(tree) };
    },
  };
};
