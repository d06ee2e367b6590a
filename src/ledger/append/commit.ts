/**
 * Prepares one commit as one atomic batch: positions, versions, seals, indexes, tree and checkpoint. Inputs are loaded
 * first (`load.ts`), then planned synchronously and without side effects, then the checkpoint is signed. Nothing is
 * written here. Source: docs/spec/ledger.md.
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

/** The place that an appended record got. */
export type Appended = {
  readonly position: bigint;
  readonly hash: Hash;
  readonly envelope: Uint8Array;
  readonly version: bigint;
  /** The number among its caller's decisions, if it took one. */
  readonly callerSeq?: number;
};

/**
 * Records of one caller that commit all or none, and further operations for the same batch. A unit may have no records
 * and only operations.
 */
export type SignedUnit = {
  readonly records: readonly SignedRecord[];
  /** A `SigilFault` that it throws refuses the unit. */
  readonly extraOps: (appended: readonly Appended[]) => readonly StoreOp[];
  /** Set for a unit that was refused before: later units were numbered as if it did not exist. */
  readonly refusal?: SigilError;
};

export type UnitOutcome =
  | { readonly kind: "accepted"; readonly appended: readonly Appended[] }
  | { readonly kind: "refused"; readonly error: SigilError };

/** A batch without its checkpoint. Changes no state until `accept` is called. */
export type CommitPlan = {
  readonly ops: readonly StoreOp[];
  /** One outcome per unit, in order. Refused units add nothing. */
  readonly outcomes: readonly UnitOutcome[];
  readonly records: readonly SignedRecord[];
  /** Seal counts per key including this batch; the sealer takes them before the batch is written. */
  readonly seals: readonly SealCount[];
  /** The tree including the new records; unchanged if there are none. */
  readonly tree: TreeState;
  readonly root: Hash;
  /** Called once the ops are on disk. */
  readonly accept: () => void;
};

/** A batch ready to write, and the state after it. */
export type PreparedCommit = Pick<CommitPlan, "ops" | "outcomes" | "records" | "accept"> & {
  readonly state: LedgerState;
};

/** What `planCommit` reads. It uses only what `load.ts` has loaded, and changes nothing. */
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

/** Changes by earlier units of the same batch. */
type Before = {
  readonly versions: Versions;
  /** Erasure orders by tenant. */
  readonly ordered: Map<string, Erasure>;
};

/** Why nothing can be written for a tenant of the unit. */
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

/** Runs every check that may refuse a unit, before any of its records is sealed. */
const planUnit = (unit: SignedUnit, first: bigint, before: Before, faults: TenantFaults): PlannedUnit => {
  const error = unit.refusal ?? tenantsFault(unit, before, faults);
  if (error !== undefined) return { kind: "refused", error };
  const planned = before.versions.plan(unit.records, first);
  if (planned.kind === "refused") return planned;
  const appended = unit.records.map(({ hash, envelope, numbered }, index) => ({
    ...(planned.heads[index] as Head),
    hash,
    envelope,
    ...(numbered === undefined ? {} : { callerSeq: numbered.number }),
  }));
  try {
    const extraOps = unit.extraOps(appended);
    planned.accept();
    return { kind: "accepted", appended, extraOps };
  } catch (error) {
    if (error instanceof SigilFault) return { kind: "refused", error: error.error };
    throw error;
  }
};

/** @param loaded for these units, in the same turn of the event loop. */
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
      const value = seals.seal(record, head.position, record.body.tenant);
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

/** Adds the signed checkpoint to a plan. Without records the current checkpoint is kept. */
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

/** @throws storeFailed, keyUnavailable and similar: nothing was written; seals counted so far stay counted. */
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
