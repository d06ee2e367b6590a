/**
 * Signed trees of any size up to the newest. What is read from disk is proved to lead to the newest root, which this
 * process made or verified, before it is given away or signed. Source: docs/spec/ledger.md §4.
 */
import { equalBytes, type Hash, type Signature } from "@sigil/core/bytes";
import { encodeReceipt, encodeReceiptHeader, receiptSubject, toBeSigned } from "@sigil/core/cose";
import { tileHashesMax, tileHeight } from "@sigil/core/limits";
import { checkpointPosition, newestKey, officeHolder, verifyOwn } from "@sigil/core/keys";
import {
  checkConsistency,
  checkInclusion,
  foldRight,
  peaksOf,
  proveConsistency,
  foldTile,
  formatNote,
  parseNote,
  proveAppended,
  proveInclusion,
  signCheckpoint,
  signSubtree,
  tileOf,
  verifyCheckpoint,
  type NodeCoordinate,
  type NoteSignature,
  type ProofOutcome,
  type ReadHashes,
  type TileCoordinate,
} from "@sigil/core/merkle";
import type { Signer } from "../../crypto/signing/sign.ts";
import { fail, SigilFault } from "../../errors.ts";
import { Mutex } from "../../mutex.ts";
import type { Signers } from "../append/signers.ts";
import { sizeOf, type LedgerMoment, type LedgerState } from "../append/state.ts";
import { parseGroup } from "../layout/group.ts";
import { familyRange, groupKey, positionOf } from "../layout/keyspace.ts";
import type { TreeReader } from "../layout/tree.ts";
import { checkpointKeyOf } from "./examine.ts";

/** A moment, and the keys that sign its checkpoints. */
export type SigningMoment = LedgerMoment & { readonly signers: Omit<Signers, "record"> };

export type TreeSource = {
  readonly now: () => SigningMoment;
  readonly tree: TreeReader;
  readonly origin: string;
  readonly nowMs: () => number;
};

/** One signed tree, to which any number of proofs lead. */
export type SignedTree = {
  /** The signed note. */
  readonly checkpoint: string;
  readonly size: bigint;
  readonly root: Hash;
  /** When it was signed, if not with its commit. */
  readonly signedMs: number | undefined;
  /** Of 32 bytes each, from the leaf's sibling to the root. @throws leafOutOfRange. */
  readonly proveInclusion: (position: bigint) => Promise<readonly Hash[]>;
  /** That the tree begins with the tree of an older size. @throws sizeOutOfRange. */
  readonly proveConsistency: (oldSize: bigint) => Promise<readonly Hash[]>;
  /** Leaves as the tree holds them, of erased records too. */
  readonly leaves: (positions: readonly bigint[]) => Promise<readonly Hash[]>;
};

/** A leaf, and the hashes from its sibling to the root. */
export type Included = { readonly leafHash: Hash; readonly proof: readonly Hash[] };

type Root = Pick<SignedTree, "size" | "root">;

/** A receipt's header and signature: the same for every leaf of a tree. */
type SignedHeader = { readonly protectedBytes: Uint8Array; readonly signature: Signature };

/** The path of a record of the commit, from its leaf's sibling to the root. @throws leafOutOfRange. */
type Prove = (position: bigint) => readonly Hash[];

type RecentCommit = {
  readonly state: LedgerState;
  readonly leaves: readonly Hash[];
  /** Made when the first of its records is to be proved. */
  prove: Prove | undefined;
};

/** A commit is answered before so many others are, but for callers that are kept waiting. */
const recentCommitsMax = 64;
/** Trees whose further signatures are kept: of the newest, and of what auditors hold at the moment. */
const signedKeptMax = 64;

type StoredNote = { readonly checkpoint: string; readonly size: bigint };

const requireTrue = (position: bigint, outcome: ProofOutcome): void => {
  if (outcome.kind === "refused") {
    fail({ kind: "ledgerCorrupt", position, rule: `the tree on disk: ${outcome.rule}` });
  }
};

/** Reads the nodes that a tile's hashes give from those, and others as before. */
const readingFrom =
  (tile: TileCoordinate, hashes: readonly Hash[], readHashes: ReadHashes): ReadHashes =>
  async (nodes) => {
    const others = await readHashes(nodes);
    return others.map((other, order) => {
      const run = tileOf(nodes[order] as NodeCoordinate);
      const isHere =
        run.tile.level === tile.level && run.tile.index === tile.index && run.to <= hashes.length;
      return isHere ? foldTile(hashes.slice(run.from, run.to)) : other;
    });
  };

export class SignedTrees {
  readonly #source: TreeSource;
  /** One signature of a caller's at a time: commits wait for at most one, whatever signs. */
  readonly #signing = new Mutex();
  /** The newest commits, oldest first, without a gap. */
  readonly #recent: RecentCommit[] = [];
  /** By size, oldest first. */
  readonly #headers = new Map<bigint, Promise<SignedHeader>>();
  readonly #mldsa44Lines = new Map<bigint, Promise<NoteSignature>>();

  constructor(source: TreeSource) {
    this.#source = source;
  }

  /** The tree as it is now: what it proves stays the same while the ledger grows. */
  get newest(): SignedTree {
    const { state } = this.#source.now();
    const [size, { root, checkpoint }] = [sizeOf(state), state];
    return this.#treeOf(state, { checkpoint, size, root, signedMs: undefined });
  }

  /**
   * The tree as it was at a size above 0.
   * @throws sizeOutOfRange; checkpointUnsigned if no commit ended there and its key has a successor; ledgerCorrupt.
   */
  async at(size: bigint): Promise<SignedTree> {
    const moment = this.#source.now();
    const newestSize = sizeOf(moment.state);
    if (size > newestSize) fail({ kind: "sizeOutOfRange", size, treeSize: newestSize });
    if (size === newestSize) return this.newest;
    const root = await this.#rootAt(moment, size);
    const stored = await this.#storedNote(moment, size);
    if (stored.size !== size) {
      const signed = await this.#signNow({ size, root }, stored.size);
      return this.#treeOf(moment.state, { size, root, ...signed });
    }
    const { checkpoint } = stored;
    await this.#requireNote(moment, { size, root, checkpoint });
    return this.#treeOf(moment.state, { size, root, checkpoint, signedMs: undefined });
  }

  /** @throws sizeOutOfRange, ledgerCorrupt. */
  async rootAt(size: bigint): Promise<Hash> {
    const moment = this.#source.now();
    const newestSize = sizeOf(moment.state);
    return size > newestSize
      ? fail({ kind: "sizeOutOfRange", size, treeSize: newestSize })
      : this.#rootAt(moment, size);
  }

  /** Keeps what a commit made, for those who are answered about its records. */
  committed(state: LedgerState, leaves: readonly Hash[]): void {
    if (leaves.length === 0) return;
    this.#recent.push({ state, leaves, prove: undefined });
    if (this.#recent.length > recentCommitsMax) this.#recent.shift();
  }

  /**
   * The commit of a record, if it is one of the newest: its checkpoint, and paths of its records. Nothing is read, and
   * what stands to the left of its leaves is what this process signed.
   */
  recorded(position: bigint): (Pick<SignedTree, "checkpoint"> & { readonly prove: Prove }) | undefined {
    const at = this.#recent.findLastIndex(({ state }) => sizeOf(state) <= position) + 1;
    const [before, commit] = [this.#recent[at - 1], this.#recent[at]];
    if (before === undefined || commit === undefined) return undefined;
    commit.prove ??= proveAppended(before.state.tree.frontier, commit.leaves);
    return { checkpoint: commit.state.checkpoint, prove: commit.prove };
  }

  /** Forgets the trees of commits: after a reopening no memory may stand in for what is on disk. */
  forget(): void {
    this.#recent.length = 0;
  }

  /** The tree of the commit with which the ledger reached a size above 0. @throws sizeOutOfRange, ledgerCorrupt. */
  async reaching(size: bigint): Promise<SignedTree> {
    const recent = this.#recentReaching(size);
    if (recent !== undefined) return recent;
    const moment = this.#source.now();
    const newestSize = sizeOf(moment.state);
    if (size > newestSize) fail({ kind: "sizeOutOfRange", size, treeSize: newestSize });
    const stored = await this.#storedNote(moment, size);
    return this.at(stored.size < newestSize ? stored.size : newestSize);
  }

  /** Proves that a position is in one of the trees. @throws leafOutOfRange, ledgerCorrupt. */
  async included(tree: SignedTree, position: bigint): Promise<Included> {
    const proof = await tree.proveInclusion(position);
    const [leafHash] = (await tree.leaves([position])) as [Hash];
    const { size: treeSize, root } = tree;
    requireTrue(position, checkInclusion({ leafIndex: position, treeSize, leafHash, root, proof }));
    return { leafHash, proof };
  }

  /**
   * The hashes of a tile, of which there are `width` in the newest tree. All are proved, whoever keeps them for ever.
   * @throws ledgerCorrupt.
   */
  async tile(tile: TileCoordinate, width: number): Promise<readonly Hash[]> {
    const moment = this.#source.now();
    const readHashes = this.#source.tree.readHashes(moment.state.tree);
    const level = tile.level * tileHeight;
    const first = tile.index * BigInt(tileHashesMax);
    const hashes = await readHashes(
      Array.from({ length: width }, (_, slot) => ({ level, index: first + BigInt(slot) })),
    );
    // The tree that ends in the tile, before the last slot of a full one: its peaks, and what leads from it to the
    // newest, take every slot.
    const ending = first + BigInt(Math.min(width, tileHashesMax - 1));
    await this.#rootAt(moment, ending << BigInt(level), readingFrom(tile, hashes, readHashes));
    return hashes;
  }

  /** Proves that one of the trees begins with the tree of an older size. @throws sizeOutOfRange, ledgerCorrupt. */
  async extending(tree: SignedTree, oldSize: bigint): Promise<readonly Hash[]> {
    const proof = await tree.proveConsistency(oldSize);
    if (oldSize === 0n) return proof;
    const { state } = this.#source.now();
    const oldRoot = foldRight(await this.#source.tree.readHashes(state.tree)(peaksOf(oldSize)));
    const { size: newSize, root: newRoot } = tree;
    requireTrue(oldSize, checkConsistency({ oldSize, newSize, oldRoot, newRoot, proof }));
    return proof;
  }

  /**
   * A proof as a COSE receipt. A root is signed once, however many ask.
   * @throws checkpointUnsigned if the key of that size has a successor; leafOutOfRange for a tree of one leaf, in which
   * there is no path.
   */
  async receipt(tree: SignedTree, leafIndex: bigint, proof: readonly Hash[]): Promise<Uint8Array> {
    const { size: treeSize } = tree;
    if (treeSize < 2n) fail({ kind: "leafOutOfRange", leafIndex, treeSize });
    return encodeReceipt({ ...(await this.#signedHeader(tree)), treeSize, leafIndex, proof });
  }

  /** Of the commits in memory; of the oldest it is not known whether it was the first to reach the size. */
  #recentReaching(size: bigint): SignedTree | undefined {
    const after = this.#recent.findLastIndex(({ state }) => sizeOf(state) < size) + 1;
    const commit = after === 0 ? undefined : this.#recent[after];
    if (commit === undefined) return undefined;
    const { state } = commit;
    const { root, checkpoint } = state;
    return this.#treeOf(state, { checkpoint, size: sizeOf(state), root, signedMs: undefined });
  }

  /**
   * Adds the log's ML-DSA-44 line to a checkpoint, if the deployment signs by such a key and that size stands in its
   * term. A tree is signed once, however many ask. Commits do without: none waits for it, and none stores it.
   * @throws keyUnavailable.
   */
  async withMldsa44<Tree extends Root & Pick<SignedTree, "checkpoint">>(tree: Tree): Promise<Tree> {
    const { size, root } = tree;
    const { ring, signers } = this.#source.now();
    const { checkpoint_mldsa44: signer } = signers;
    const role = "checkpoint_mldsa44";
    if (
      signer === undefined ||
      newestKey(ring, role) !== officeHolder(ring, role, checkpointPosition(size))
    ) {
      return tree;
    }
    const { origin } = this.#source;
    const line = await this.#once(this.#mldsa44Lines, size, () =>
      signSubtree({ origin, size, root }, signer),
    );
    const { text, signatures } = parseNote(tree.checkpoint);
    return { ...tree, checkpoint: formatNote({ text, signatures: [...signatures, line] }) };
  }

  #treeOf(
    { tree }: LedgerMoment["state"],
    signed: Pick<SignedTree, "checkpoint" | "size" | "root" | "signedMs">,
  ): SignedTree {
    const readHashes = this.#source.tree.readHashes(tree);
    return {
      ...signed,
      proveInclusion: (position) => proveInclusion(position, signed.size, readHashes),
      proveConsistency: (oldSize) => proveConsistency(oldSize, signed.size, readHashes),
      leaves: (positions) => readHashes(positions.map((index) => ({ level: 0, index }))),
    };
  }

  /** Proved to be the root of the beginning of the newest tree. */
  async #rootAt(
    { state }: LedgerMoment,
    size: bigint,
    readHashes: ReadHashes = this.#source.tree.readHashes(state.tree),
  ): Promise<Hash> {
    const oldRoot = foldRight(await readHashes(peaksOf(size)));
    const [newSize, newRoot] = [sizeOf(state), state.root];
    const proof = await proveConsistency(size, newSize, readHashes);
    requireTrue(size, checkConsistency({ oldSize: size, newSize, oldRoot, newRoot, proof }));
    return oldRoot;
  }

  /** Of the commit that holds the last record of a tree of this size. */
  async #storedNote({ store }: LedgerMoment, size: bigint): Promise<StoredNote> {
    const range = { gte: familyRange("b").gte, lt: groupKey(size), reverse: true, limit: 1 };
    for await (const [key, value] of store.range(range)) {
      const { firstPosition, leaves, checkpoint } = parseGroup(positionOf(key), value);
      const end = firstPosition + BigInt(leaves.length);
      if (end >= size) return { checkpoint, size: end };
    }
    return fail({ kind: "ledgerCorrupt", position: size - 1n, rule: "the entry of its commit is missing" });
  }

  async #requireNote(
    { ring }: LedgerMoment,
    { size, root, checkpoint }: StoredNote & { readonly root: Hash },
  ): Promise<void> {
    const { origin } = this.#source;
    const { publicKey } = checkpointKeyOf(ring, size);
    const rule = "the stored checkpoint is not over the tree";
    try {
      const read = await verifyCheckpoint(checkpoint, { origin, publicKey, verify: verifyOwn });
      if (read.size === size && equalBytes(read.root, root)) return;
    } catch (cause) {
      if (!(cause instanceof SigilFault)) throw cause;
      fail({ kind: "ledgerCorrupt", position: size, rule }, { cause });
    }
    fail({ kind: "ledgerCorrupt", position: size, rule });
  }

  /** @param storedSize the next size that has a checkpoint. */
  #signNow(
    { size, root }: Root,
    storedSize: bigint,
  ): Promise<{ readonly checkpoint: string; readonly signedMs: number }> {
    const { origin, nowMs } = this.#source;
    return this.#signing.run(async () => {
      const signer = this.#signerOf(size, storedSize);
      return { checkpoint: await signCheckpoint({ origin, size, root }, signer), signedMs: nowMs() };
    });
  }

  #signedHeader({ size, root }: Root): Promise<SignedHeader> {
    const { origin } = this.#source;
    return this.#once(this.#headers, size, async () => {
      const { thumbprint: kid, sign } = this.#signerOf(size);
      const protectedBytes = encodeReceiptHeader({ kid, origin, subject: receiptSubject(size) });
      return { protectedBytes, signature: await sign(toBeSigned(protectedBytes, root)) };
    });
  }

  /** What was signed of a tree, or is now. */
  #once<Signed>(
    kept: Map<bigint, Promise<Signed>>,
    size: bigint,
    sign: () => Promise<Signed>,
  ): Promise<Signed> {
    const known = kept.get(size);
    if (known !== undefined) return known;
    const signing = this.#signing.run(sign);
    for (const oldest of kept.keys()) {
      if (kept.size < signedKeptMax) break;
      kept.delete(oldest);
    }
    kept.set(size, signing);
    signing.catch(() => kept.delete(size));
    return signing;
  }

  /** The key in use, if that size stands in its term. @param storedSize by default the first of its term. */
  #signerOf(size: bigint, storedSize?: bigint): Signer {
    const { ring, signers } = this.#source.now();
    const newest = newestKey(ring, "checkpoint");
    if (checkpointKeyOf(ring, size) !== newest) {
      fail({ kind: "checkpointUnsigned", size, storedSize: storedSize ?? (newest?.validFrom ?? 0n) + 1n });
    }
    return signers.checkpoint;
  }
}
