/**
 * One commit before it is written: positions, versions, seals, indexes, tree, checkpoint and whatever else must be true
 * together, as one batch. What it needs is loaded first (`load.ts`), then it is planned without waiting for anything
 * and without changing anything, then its checkpoint is signed. Nothing is written here. Source: docs/spec/ledger.md.
 */
import type { Hash } from "@sigil/core/bytes";
import { SigilFault, type SigilError } from "../../errors.ts";
import { signCheckpoint, rootOf } from "@sigil/core/merkle";
import type { Signer } from "../../crypto/signing/sign.ts";
import { sealNonceBytes } from "../../crypto/seal.ts";
import type { StoreOp } from "../../storage/store.ts";
import type { DecisionIndex } from "../decisions/decision-index.ts";
import { erasedError, orderIn, type Erasure } from "../layout/erasure.ts";
import { formatGroup } from "../layout/group.ts";
import { indexOps, isDecision, type BlindTags, type Head } from "../layout/indexes.ts";
import { groupKey, recordKey } from "../layout/keyspace.ts";
import { deleteExpired } from "./idempotency.ts";
import { CommitLoad, type Loaded, type LoadSources, type TenantFaults } from "./load.ts";
import type { SignedRecord } from "./prepare.ts";
import { sealCountOp, type SealCount } from "../sealing/seal-counts.ts";
import type { Sealer } from "../sealing/sealer.ts";
import { sizeOf, type LedgerState } from "./state.ts";
import type { Summary } from "../layout/summary.ts";
import { planLeaves, type TreeState } from "../layout/tree.ts";
import { Versions } from "./versions.ts";

/** Where a record came to stand. */
export type Appended = { readonly position: bigint; readonly hash: Hash; readonly version: bigint };

/**
 * Records of one caller that are committed all or none, and what the batch must hold beside them. Without a record it
 * is that alone.
 */
export type SignedUnit = {
  readonly records: readonly SignedRecord[];
  /** A `SigilFault` that it throws refuses the unit. */
  readonly extraOps: (appended: readonly Appended[]) => readonly StoreOp[];
};

export type UnitOutcome =
  | { readonly kind: "accepted"; readonly appended: readonly Appended[] }
  | { readonly kind: "refused"; readonly error: SigilError };

/** A batch but for its checkpoint. Changes nothing until it is accepted. */
export type CommitPlan = {
  readonly ops: readonly StoreOp[];
  /** One outcome a unit, in order. Refused ones add nothing. */
  readonly outcomes: readonly UnitOutcome[];
  readonly records: readonly SignedRecord[];
  /** What the keys have sealed with this batch, for the sealer to take before it is written. */
  readonly seals: readonly SealCount[];
  /** The tree with the records in it; the one there is without any. */
  readonly tree: TreeState;
  readonly root: Hash;
  /** To be called once the ops are on disk. */
  readonly accept: () => void;
};

/** A batch as it is written, and the state that it makes. */
export type PreparedCommit = Pick<CommitPlan, "ops" | "outcomes" | "records" | "accept"> & {
  readonly state: LedgerState;
};

/** What a plan is made with. It reads of it what `load.ts` has loaded, and changes nothing. */
export type PlanTools = {
  readonly sealer: Sealer;
  readonly tags: BlindTags;
  readonly decisions: DecisionIndex;
  readonly summary: Summary;
  readonly randomBytes: (bytes: number) => Uint8Array;
};

export type CheckpointSigning = { readonly origin: string; readonly checkpointSigner: Signer };

type PlannedUnit =
  | {
      readonly kind: "accepted";
      readonly appended: readonly Appended[];
      readonly extraOps: readonly StoreOp[];
    }
  | { readonly kind: "refused"; readonly error: SigilError };

/** What the units before one have changed, within the batch. */
type Before = {
  readonly versions: Versions;
  /** Orders to erase a tenant, by tenant. */
  readonly ordered: Map<string, Erasure>;
};

/** Why a tenant of the unit cannot be written for. */
const tenantsFault = (
  unit: SignedUnit,
  { ordered }: Before,
  faults: TenantFaults,
): SigilError | undefined => {
  if (ordered.size + faults.records.size + faults.decisions.size === 0) return undefined;
  for (const { body } of unit.records) {
    const order = ordered.get(body.tenant);
    if (order !== undefined) return erasedError(order);
    const fault = faults.records.get(body.tenant) ?? (isDecision(body) && faults.decisions.get(body.tenant));
    if (fault) return fault;
  }
  return undefined;
};

/** Everything that may refuse a unit, before anything of it is sealed. */
const planUnit = (unit: SignedUnit, first: bigint, before: Before, faults: TenantFaults): PlannedUnit => {
  const error = tenantsFault(unit, before, faults);
  if (error !== undefined) return { kind: "refused", error };
  const planned = before.versions.plan(unit.records, first);
  if (planned.kind === "refused") return planned;
  const appended = unit.records.map(({ hash }, index) => ({ ...(planned.heads[index] as Head), hash }));
  try {
    const extraOps = unit.extraOps(appended);
    planned.accept();
    return { kind: "accepted", appended, extraOps };
  } catch (error) {
    if (error instanceof SigilFault) return { kind: "refused", error: error.error };
    throw error;
  }
};

/** @param loaded for these units, in this turn of the event loop. */
export const planCommit = (
  state: LedgerState,
  units: readonly SignedUnit[],
  { faults, heads, expired }: Loaded,
  { sealer, tags, decisions: index, summary, randomBytes }: PlanTools,
): CommitPlan => {
  const before: Before = { versions: new Versions(heads), ordered: new Map() };
  const ops: StoreOp[] = [];
  const outcomes: UnitOutcome[] = [];
  const records: SignedRecord[] = [];
  const changes = summary.changes();
  const decisions = index.stage();
  const seals = sealer.stage(() => randomBytes(sealNonceBytes));
  let position = sizeOf(state);
  for (const unit of units) {
    const planned = planUnit(unit, position, before, faults);
    if (planned.kind === "refused") {
      outcomes.push(planned);
      continue;
    }
    const { appended } = planned;
    for (const [index, record] of unit.records.entries()) {
      const head = appended[index] as Appended;
      const value = seals.seal(record.envelope, head.position, record.body.tenant);
      ops.push({ kind: "put", key: recordKey(head.position), value });
      const indexed = indexOps(tags, record.body, record.hash, head);
      changes.index(record.body, indexed);
      ops.push(...indexed);
      if (isDecision(record.body)) decisions.add(record.body, head.position);
      records.push(record);
      const order = orderIn({ ...head, hash: record.hash, body: record.body });
      if (order === undefined) continue;
      before.ordered.set(order.tenant, order);
      changes.erase(order.tenant);
    }
    changes.upkeep(planned.extraOps);
    ops.push(...planned.extraOps);
    outcomes.push({ kind: "accepted", appended });
    position += BigInt(unit.records.length);
  }
  if (ops.length === 0) {
    const { tree, root } = state;
    return { ops, outcomes, records, seals: [], tree, root, accept: () => {} };
  }
  const grown = planLeaves(
    state.tree,
    records.map(({ leaf }) => leaf),
  );
  const root = records.length === 0 ? state.root : rootOf(grown.tree.frontier);
  const counted = seals.counts();
  const upkeep = [...counted.map(sealCountOp), ...deleteExpired(expired, ops)];
  changes.upkeep(upkeep);
  const summed = summary.plan(changes, position, root);
  ops.push(...grown.ops, ...decisions.ops(), ...upkeep, ...summed.ops);
  const accept = (): void => {
    summed.accept();
    decisions.committed();
  };
  return { ops, outcomes, records, seals: counted, tree: grown.tree, root, accept };
};

/** The batch under a signed checkpoint. Without records it is the one that there is. */
const signCommit = async (
  before: LedgerState,
  { ops, outcomes, records, tree, root, accept }: CommitPlan,
  { origin, checkpointSigner }: CheckpointSigning,
): Promise<PreparedCommit> => {
  if (records.length === 0) return { ops, outcomes, records, accept, state: before };
  const { size } = tree.frontier;
  const checkpoint = await signCheckpoint({ origin, size, root }, checkpointSigner);
  const firstPosition = sizeOf(before);
  const leaves = records.map(({ leaf }) => leaf);
  const value = formatGroup({ firstPosition, leaves, checkpoint });
  const group: StoreOp = { kind: "put", key: groupKey(firstPosition), value };
  return { ops: [...ops, group], outcomes, records, accept, state: { tree, root, checkpoint } };
};

/**
 * @throws storeFailed, keyUnavailable and the like: nothing was written, and what was counted as sealed stays counted.
 */
export const prepareCommit = async (
  state: LedgerState,
  units: readonly SignedUnit[],
  context: LoadSources & PlanTools & CheckpointSigning,
): Promise<PreparedCommit> => {
  const load = new CommitLoad(units, context);
  let { loaded } = load;
  while (loaded === undefined) {
    await load.run();
    ({ loaded } = load);
  }
  const plan = planCommit(state, units, loaded, context);
  context.sealer.take(plan.seals);
  return signCommit(state, plan, context);
};
