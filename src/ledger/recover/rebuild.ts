/**
 * Drops and rebuilds every projection from the records: all indexes, the tiles, the summary, and the anchor if it is
 * missing. Works in bounded batches under a marker, so that a crash leaves a store that is refused until a rebuild
 * completes, never one with half an index. The summary authenticates what is present, so with unreadable records it is
 * written only if the previous summary shows that none of them is one that a quorum governs.
 */
import type { Store, StoreOp } from "../../storage/store.ts";
import { projectionOpsMax } from "../../limits.ts";
import type { Anchor } from "../append/anchor.ts";
import type { Findings } from "../walk/findings.ts";
import type { Keyless } from "../walk/keyless.ts";
import { DecisionRebuild } from "../decisions/rebuild.ts";
import { isDecision, type BlindTags } from "../layout/indexes.ts";
import { familyRange, rebuildingKey } from "../layout/keyspace.ts";
import { decisionKeysOf } from "../decisions/decision-index.ts";
import { projections } from "../walk/projections.ts";
import { readCount, sealCountOp } from "../sealing/seal-counts.ts";
import type { DataKeys } from "../sealing/sealer.ts";
import type { SummaryReplay } from "../walk/summary-replay.ts";
import { countSeal, type SealCounts } from "../walk/other-entries.ts";
import { recallWritten, Replay } from "../walk/version-replay.ts";
import { isWhole, type WalkedGroup } from "../walk/walk.ts";

export type RebuildContext = {
  readonly store: Store;
  readonly tags: BlindTags;
  readonly origin: string;
  readonly anchor: Anchor;
  readonly dataKeys: DataKeys;
  readonly summary: SummaryReplay;
  /** Findings of this walk; the check that follows reports them again. */
  readonly findings: Findings;
  /** Receives records whose key is gone. */
  readonly keyless: Keyless;
  readonly onGroup: (end: bigint) => void;
  /** As in fsck. */
  readonly idsHeldMax?: number | undefined;
};

const governedRule =
  "records cannot be read, and nothing shows that none of them is one that authority rests on; restore from a backup";

const dropProjections = async (store: Store): Promise<void> => {
  for (const family of projections) {
    let batch: StoreOp[] = [];
    for await (const [key] of store.range(familyRange(family))) {
      batch.push({ kind: "delete", key });
      if (batch.length < projectionOpsMax) continue;
      await store.commit(batch);
      batch = [];
    }
    if (batch.length > 0) await store.commit(batch);
  }
};

/** Raises seal counts to at least the seals seen, or a key could be used past its bound. */
const raiseCounts = async (store: Store, seals: SealCounts): Promise<readonly StoreOp[]> => {
  const ops: StoreOp[] = [];
  for (const count of seals.values()) {
    const known = await readCount(store, count.tenant, count.version);
    if ((known?.seals ?? 0) < count.seals) ops.push(sealCountOp({ ...count, first: known?.first }));
  }
  return ops;
};

/** What could not be rebuilt. */
export type Rebuilt = { readonly losses: readonly string[] };

/**
 * @throws storeFailed, cancelled; the marker stays and the ledger is refused until a rebuild completes. It also stays
 * if what was lost may be a record that authorization depends on.
 */
export const rebuildProjections = async (
  groups: AsyncIterable<WalkedGroup>,
  context: RebuildContext,
): Promise<Rebuilt> => {
  const { store, tags, origin, anchor, findings, keyless, dataKeys, summary, onGroup } = context;
  await store.commit([{ kind: "put", key: rebuildingKey, value: new Uint8Array(0) }]);
  await dropProjections(store);
  const replay = new Replay(tags, {
    recall: recallWritten(store),
    onStale: (position) => findings.add(position, "version", "it follows no version"),
    heldMax: context.idsHeldMax,
  });
  const decisions = new DecisionRebuild(store, decisionKeysOf(origin, tags));
  const seals: SealCounts = new Map();
  let batch: StoreOp[] = [];
  let last: WalkedGroup | undefined;
  for await (const group of groups) {
    for (const record of group.records) {
      const ops = await replay.ops(record);
      batch.push(...ops);
      if (isDecision(record.body)) await decisions.add(record);
      summary.add(record, ops);
      if (isWhole(record)) keyless.take(record);
      countSeal(seals, record);
    }
    summary.endGroup(group.end);
    decisions.endGroup();
    batch.push(...(group.tree?.plan.ops ?? []));
    if (batch.length >= projectionOpsMax || replay.isFull) {
      await store.commit(batch);
      batch = [];
      replay.trim();
    }
    last = group;
    onGroup(group.end);
  }
  batch.push(...decisions.finish());
  await findings.settle();
  await keyless.finish(findings, dataKeys, store);
  const place = last?.tree && { size: last.end, root: last.tree.root };
  const stored = place && (await summary.stored(store, place));
  const before = stored?.kind === "holds" ? stored.summary : undefined;
  const isGovernedWhole = before === undefined ? findings.total === 0 : summary.agreesOnGoverned(before);
  if (place === undefined || !isGovernedWhole) {
    await store.commit(batch);
    return { losses: [governedRule] };
  }
  // A missing anchor is rewritten only for a ledger without findings, since it attests to the current state.
  if ((await anchor.read()) === undefined && findings.total === 0 && last?.tree !== undefined) {
    await anchor.write(last.tree.checkpoint);
  }
  const counts = await raiseCounts(store, seals);
  const replaced = await summary.replace(store, place, before, counts);
  await store.commit([...batch, ...counts, ...replaced, { kind: "delete", key: rebuildingKey }]);
  return { losses: before === undefined ? [] : summary.lostExpiries(before) };
};
