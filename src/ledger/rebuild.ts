/**
 * Drops every projection and derives it anew from the records: every index, the tiles, and the anchor when it is
 * missing. In bounded batches under a mark, so that a crash half way leaves a store that is refused until
 * the rebuild has been repeated, never one that answers from half an index.
 */
import type { Store, StoreOp } from "../storage/store.ts";
import { projectionOpsMax } from "../record/limits.ts";
import type { Anchor } from "./anchor.ts";
import type { Findings } from "./findings.ts";
import type { BlindTags } from "./indexes.ts";
import { familyRange, rebuildingKey } from "./keyspace.ts";
import { projections, Replay } from "./projections.ts";
import type { WalkedGroup } from "./walk.ts";

export type RebuildContext = {
  readonly store: Store;
  readonly tags: BlindTags;
  readonly anchor: Anchor;
  /** What this walk finds; the check that follows finds it again. */
  readonly findings: Findings;
  readonly onGroup: (end: bigint) => void;
};

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

/** @throws storeFailed, cancelled; then the mark stays and the ledger is refused until a rebuild ends. */
export const rebuildProjections = async (
  groups: AsyncIterable<WalkedGroup>,
  { store, tags, anchor, findings, onGroup }: RebuildContext,
): Promise<void> => {
  await store.commit([{ kind: "put", key: rebuildingKey, value: new Uint8Array(0) }]);
  await dropProjections(store);
  const replay = new Replay(tags, () => {});
  let batch: StoreOp[] = [];
  let last: WalkedGroup | undefined;
  for await (const group of groups) {
    for (const record of group.records) batch.push(...(await replay.ops(record)));
    batch.push(...(group.tree?.plan.ops ?? []));
    if (batch.length >= projectionOpsMax) {
      await store.commit(batch);
      batch = [];
    }
    last = group;
    onGroup(group.end);
  }
  await findings.settle();
  // A missing anchor is written anew only over a ledger without a flaw: it would vouch for what is there.
  if ((await anchor.read()) === undefined && findings.total === 0 && last?.tree !== undefined) {
    await anchor.write(last.tree.checkpoint);
  }
  await store.commit([...batch, { kind: "delete", key: rebuildingKey }]);
};
