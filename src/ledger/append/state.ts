/**
 * The ledger's state, and how it is recovered from the store: the newest group's entry gives size, tail and checkpoint.
 * Then the end of the sequence must be dense, the last group's records must hash to its leaves, the tree must have the
 * checkpoint's root, and the anchor must be an earlier state of this ledger. Reads only the tail.
 */
import { equalBytes, toHex, type Hash, type PublicKey } from "@sigil/core/bytes";
import { assert, fail, SigilFault } from "../../errors.ts";
import { tileHashesMax } from "@sigil/core/limits";
import { startCheckRecordsMax } from "../../limits.ts";
import {
  verifyCheckpoint,
  type Checkpoint,
  leafHash,
  foldRight,
  peaksOf,
  restoreFrontier,
  rootOf,
} from "@sigil/core/merkle";
import { verifyOwn, type KeyRing } from "@sigil/core/keys";
import { entryOf } from "@sigil/core/record";
import type { Store } from "../../storage/store.ts";
import type { Anchor } from "./anchor.ts";
import { parseGroup, type GroupEntry } from "../layout/group.ts";
import { familyRange, positionOf, rebuildingKey, recordKey } from "../layout/keyspace.ts";
import type { Sealer } from "../sealing/sealer.ts";
import type { Summary } from "../layout/summary.ts";
import { emptyTree, type TreeReader, type TreeState } from "../layout/tree.ts";

export type LedgerState = {
  readonly tree: TreeState;
  readonly root: Hash;
  /** The signed note over this tree; empty before the first record. */
  readonly checkpoint: string;
};

/** A ledger's state at one moment; replaced by every commit and every reopening. */
export type LedgerMoment = {
  readonly store: Store;
  readonly state: LedgerState;
  readonly ring: KeyRing;
  readonly summary: Summary;
};

export const sizeOf = (state: LedgerState): bigint => state.tree.frontier.size;

export const emptyState = (): LedgerState => ({
  tree: emptyTree,
  root: rootOf(emptyTree.frontier),
  checkpoint: "",
});

export type StateContext = {
  readonly store: Store;
  readonly reader: TreeReader;
  readonly anchor: Anchor;
  readonly origin: string;
  readonly sealer: Sealer;
  /** The key that signs the checkpoint of a tree of this size. */
  readonly checkpointKey: (size: bigint) => PublicKey;
};

const lastGroups = async (
  store: Store,
  wantedLeaves: (size: bigint) => bigint,
): Promise<readonly GroupEntry[]> => {
  const groups: GroupEntry[] = [];
  let from: bigint | undefined;
  for await (const [key, value] of store.range({ ...familyRange("b"), reverse: true })) {
    const group = parseGroup(positionOf(key), value);
    from ??= wantedLeaves(group.firstPosition + BigInt(group.leaves.length));
    groups.unshift(group);
    if (group.firstPosition <= from) break;
  }
  return groups;
};

/** Root of the tree at an earlier size. */
export const rootAt = async (state: LedgerState, size: bigint, context: StateContext): Promise<Hash> => {
  if (size === 0n) return rootOf(emptyTree.frontier);
  const hashes = await context.reader.readHashes(state.tree)(peaksOf(size));
  return foldRight(hashes);
};

const verifiedNote = async (
  note: string,
  size: bigint,
  context: StateContext,
  whose = "",
): Promise<Checkpoint> => {
  try {
    return await verifyCheckpoint(note, {
      origin: context.origin,
      publicKey: context.checkpointKey(size),
      verify: verifyOwn,
    });
  } catch (cause) {
    if (cause instanceof SigilFault && cause.error.kind === "malformedCheckpoint") {
      return fail({ kind: "ledgerCorrupt", position: size, rule: `${whose}${cause.message}` }, { cause });
    }
    throw cause;
  }
};

/** The leaf computed from the stored record; undefined if the record belongs to an erased tenant. */
const readLeaf = async (
  sealed: Uint8Array,
  position: bigint,
  { sealer }: StateContext,
): Promise<Hash | undefined> => {
  try {
    const { envelope } = await sealer.open(sealed, position);
    return leafHash(entryOf(envelope));
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "erased") return undefined;
    throw error;
  }
};

/**
 * Checks that every position of the tail exists, nothing lies past it, and the last group's records match its leaves.
 */
const checkTail = async (size: bigint, last: GroupEntry, context: StateContext): Promise<void> => {
  const from = size > BigInt(startCheckRecordsMax) ? size - BigInt(startCheckRecordsMax) : 0n;
  let expected = from;
  for await (const [key, sealed] of context.store.range({ gte: recordKey(from), lt: familyRange("r").lt })) {
    const position = positionOf(key);
    if (position >= size) {
      fail({ kind: "ledgerCorrupt", position, rule: "a record lies past the last checkpoint" });
    }
    if (position !== expected) {
      fail({ kind: "ledgerCorrupt", position: expected, rule: "the sequence of records has a gap" });
    }
    if (position >= last.firstPosition) {
      const leaf = await readLeaf(sealed, position, context);
      const stored = last.leaves[Number(position - last.firstPosition)];
      if (stored === undefined || !equalBytes(leaf ?? stored, stored)) {
        fail({ kind: "ledgerCorrupt", position, rule: "the record is not the one the tree holds" });
      }
    }
    expected += 1n;
  }
  if (expected !== size) {
    fail({ kind: "ledgerCorrupt", position: expected, rule: "the sequence of records has a gap" });
  }
};

/** The size that an unverified note claims. */
export const claimedSize = (note: string): bigint =>
  BigInt(/^\d{1,20}$/.exec(note.split("\n")[1] ?? "")?.[0] ?? "0");

const checkAnchor = async (state: LedgerState, context: StateContext): Promise<void> => {
  const note = await context.anchor.read();
  const size = sizeOf(state);
  if (note === undefined) {
    return fail({
      kind: "ledgerCorrupt",
      position: size,
      rule: "the anchor file is missing; run: sigil fsck --data DIR --rebuild-indexes",
    });
  }
  const anchored = await verifiedNote(note, claimedSize(note), context, "the anchor: ");
  if (anchored.size > size) {
    return fail({ kind: "ledgerBehindAnchor", size, anchorSize: anchored.size });
  }
  if (!equalBytes(await rootAt(state, anchored.size, context), anchored.root)) {
    return fail({
      kind: "ledgerCorrupt",
      position: anchored.size,
      rule: `the tree at this size is not the one the anchor saw (${toHex(anchored.root)})`,
    });
  }
};

/** Reads the state from the store's newest group and verifies its checkpoint. */
const readState = async (
  context: StateContext,
): Promise<{ readonly state: LedgerState; readonly last: GroupEntry }> => {
  const tile = BigInt(tileHashesMax);
  const groups = await lastGroups(context.store, (size) => (size / tile) * tile);
  const last = groups.at(-1);
  const first = groups[0];
  assert(last !== undefined && first !== undefined, "the store was found not to be empty");
  const size = last.firstPosition + BigInt(last.leaves.length);
  const leaves = groups.flatMap((group) => group.leaves);
  const tail = leaves.slice(leaves.length - Number(size % tile));
  if (BigInt(leaves.length) !== size - first.firstPosition) {
    return fail({ kind: "ledgerCorrupt", position: first.firstPosition, rule: "group entries have a gap" });
  }
  const bare: TreeState = { frontier: { size, peaks: [] }, tail };
  const frontier = restoreFrontier(size, await context.reader.readHashes(bare)(peaksOf(size)));
  const state = {
    tree: { frontier, tail },
    root: rootOf(frontier),
    checkpoint: last.checkpoint,
  };
  const checkpoint = await verifiedNote(last.checkpoint, size, context);
  if (checkpoint.size !== size || !equalBytes(checkpoint.root, state.root)) {
    return fail({
      kind: "ledgerCorrupt",
      position: size,
      rule: "the tree does not give its checkpoint's root",
    });
  }
  return { state, last };
};

/**
 * Refuses an empty store that has an anchor (it lost its records), and one whose index rebuild was interrupted (it
 * would give wrong answers). @throws ledgerBehindAnchor, ledgerCorrupt.
 */
export const checkWhole = async (store: Store, anchor: Anchor): Promise<void> => {
  if ((await store.get(rebuildingKey)) !== undefined) {
    const rule = "a rebuild of the indexes was interrupted; run: sigil fsck --data DIR --rebuild-indexes";
    fail({ kind: "ledgerCorrupt", position: 0n, rule });
  }
  for await (const _ of store.range({ ...familyRange("b"), limit: 1 })) return;
  const note = await anchor.read();
  if (note !== undefined) fail({ kind: "ledgerBehindAnchor", size: 0n, anchorSize: claimedSize(note) });
  fail({ kind: "ledgerCorrupt", position: 0n, rule: "the ledger has no genesis record" });
};

/**
 * Reads and checks the state of a store that is not empty.
 * @throws ledgerCorrupt, ledgerBehindAnchor: the ledger must not serve.
 */
export const loadState = async (context: StateContext): Promise<LedgerState> => {
  const { state, last } = await readState(context);
  await checkTail(sizeOf(state), last, context);
  await checkAnchor(state, context);
  return state;
};
