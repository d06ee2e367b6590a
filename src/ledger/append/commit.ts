/**
 * The plan of one commit: positions, versions, seals, indexes, tree, checkpoint and whatever else must be true
 * together, as one batch. Nothing is written here. Source: docs/spec/ledger.md.
 */
import type { Hash } from "@sigil/core/bytes";
import { SigilFault, type SigilError } from "../../errors.ts";
import { signCheckpoint, rootOf } from "@sigil/core/merkle";
import type { Signer } from "../../crypto/signing/sign.ts";
import type { Store, StoreOp } from "../../storage/store.ts";
import type { DecisionIndex } from "../decisions/decision-index.ts";
import { erasedError, orderIn, type Erasure } from "../layout/erasure.ts";
import { formatGroup } from "../layout/group.ts";
import { indexOps, isDecision, type BlindTags, type Head } from "../layout/indexes.ts";
import { groupKey, recordKey } from "../layout/keyspace.ts";
import type { SignedRecord } from "./prepare.ts";
import { sealCountOp } from "../sealing/seal-counts.ts";
import type { Sealer } from "../sealing/sealer.ts";
import { sizeOf, type LedgerState } from "./state.ts";
import type { Summary } from "../layout/summary.ts";
import { planLeaves } from "../layout/tree.ts";
import { Versions, type VersionsOutcome } from "./versions.ts";

/** Where a record came to stand. */
export type Appended = { readonly position: bigint; readonly hash: Hash; readonly version: bigint };

/**
 * Records of one caller that are committed all or none, and what the batch must hold beside them. Without a record it is
 * that alone.
 */
export type SignedUnit = {
  readonly records: readonly SignedRecord[];
  /** A `SigilFault` that it throws refuses the unit. */
  readonly extraOps: (appended: readonly Appended[]) => readonly StoreOp[];
};

export type UnitOutcome =
  | { readonly kind: "accepted"; readonly appended: readonly Appended[] }
  | { readonly kind: "refused"; readonly error: SigilError };

export type CommitPlan = {
  readonly ops: readonly StoreOp[];
  readonly state: LedgerState;
  /** One outcome a unit, in order. Refused ones add nothing. */
  readonly outcomes: readonly UnitOutcome[];
  readonly records: readonly SignedRecord[];
  /** To be called once the ops are on disk. */
  readonly accept: () => void;
};

export type CommitContext = {
  readonly store: Store;
  readonly sealer: Sealer;
  readonly tags: BlindTags;
  readonly decisions: DecisionIndex;
  readonly origin: string;
  readonly checkpointSigner: Signer;
  readonly summary: Summary;
  /** Deletions of what has expired, but of nothing that the batch puts. */
  readonly sweep: (batch: readonly StoreOp[]) => Promise<readonly StoreOp[]>;
};

type PlannedUnit =
  | {
      readonly kind: "accepted";
      readonly appended: readonly Appended[];
      readonly extraOps: readonly StoreOp[];
    }
  | { readonly kind: "refused"; readonly error: SigilError };

/** Waiting for keys that are there already would cost a record as much as its indexes. */
const hasKeys = (unit: SignedUnit, { sealer, tags, decisions }: CommitContext): boolean =>
  unit.records.every(
    ({ body }) =>
      sealer.isReady(body.tenant) &&
      tags.isReady(body.tenant) &&
      (!isDecision(body) || decisions.isReady(body.tenant)),
  );

/** What the units before one have changed, within the group. */
type Before = {
  readonly versions: Versions;
  /** Orders to erase a tenant, by tenant. */
  readonly ordered: Map<string, Erasure>;
};

const tenantsFaults: ReadonlySet<SigilError["kind"]> = new Set(["keyUnavailable", "erased", "ledgerCorrupt"]);

/**
 * A tenant that is erased, or whose key or index of decisions is gone or damaged, cannot be written for; that is no fault of
 * the store, or of anybody else.
 */
const tenantsFault = async (
  unit: SignedUnit,
  { ordered }: Before,
  { sealer, tags, decisions }: CommitContext,
): Promise<SigilError | undefined> => {
  try {
    for (const tenant of new Set(unit.records.map(({ body }) => body.tenant))) {
      const order = ordered.get(tenant);
      if (order !== undefined) return erasedError(order);
      await sealer.ready(tenant);
      await tags.ensure(tenant);
      if (unit.records.some(({ body }) => body.tenant === tenant && isDecision(body))) {
        await decisions.ensure(tenant);
      }
    }
    return undefined;
  } catch (error) {
    if (error instanceof SigilFault && tenantsFaults.has(error.error.kind)) return error.error;
    throw error;
  }
};

/** Everything that may refuse a unit, before anything of it is sealed. At once when nothing has to be read for it. */
const planUnit = (
  unit: SignedUnit,
  first: bigint,
  before: Before,
  context: CommitContext,
): PlannedUnit | Promise<PlannedUnit> => {
  if (before.ordered.size > 0 || !hasKeys(unit, context)) return planCareful(unit, first, before, context);
  const planned = before.versions.plan(unit.records, first);
  return planned instanceof Promise
    ? planned.then((versions) => accepted(unit, versions))
    : accepted(unit, planned);
};

const planCareful = async (
  unit: SignedUnit,
  first: bigint,
  before: Before,
  context: CommitContext,
): Promise<PlannedUnit> => {
  const fault = await tenantsFault(unit, before, context);
  if (fault !== undefined) return { kind: "refused", error: fault };
  return accepted(unit, await before.versions.plan(unit.records, first));
};

const accepted = (unit: SignedUnit, planned: VersionsOutcome): PlannedUnit => {
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

/** The tree with the records in it, under a signed checkpoint. Without records it is the one that there is. */
const growTree = async (
  state: LedgerState,
  records: readonly SignedRecord[],
  { origin, checkpointSigner }: CommitContext,
): Promise<{ readonly state: LedgerState; readonly ops: readonly StoreOp[] }> => {
  if (records.length === 0) return { state, ops: [] };
  const first = sizeOf(state);
  const leaves = records.map((record) => record.leaf);
  const { tree, ops } = planLeaves(state.tree, leaves);
  const root = rootOf(tree.frontier);
  const size = first + BigInt(records.length);
  const checkpoint = await signCheckpoint({ origin, size, root }, checkpointSigner);
  const value = formatGroup({ firstPosition: first, leaves, checkpoint });
  return { state: { tree, root, checkpoint }, ops: [...ops, { kind: "put", key: groupKey(first), value }] };
};

export const planCommit = async (
  state: LedgerState,
  units: readonly SignedUnit[],
  context: CommitContext & { readonly readHash: (position: bigint) => Promise<Hash> },
): Promise<CommitPlan> => {
  const before: Before = {
    versions: new Versions(context.store, context.readHash),
    ordered: new Map(),
  };
  const ops: StoreOp[] = [];
  const changes = context.summary.changes();
  const outcomes: UnitOutcome[] = [];
  const records: SignedRecord[] = [];
  const decisions = context.decisions.stage();
  const first = sizeOf(state);
  let position = first;
  for (const unit of units) {
    const planning = planUnit(unit, position, before, context);
    const planned = planning instanceof Promise ? await planning : planning;
    if (planned.kind === "refused") {
      outcomes.push(planned);
      continue;
    }
    const { appended } = planned;
    for (const [index, record] of unit.records.entries()) {
      const head = appended[index] as Appended;
      const sealed = context.sealer.seal(record.envelope, head.position, record.body.tenant);
      ops.push({
        kind: "put",
        key: recordKey(head.position),
        value: sealed instanceof Uint8Array ? sealed : await sealed,
      });
      const indexed = indexOps(context.tags, record.body, record.hash, head);
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
  if (ops.length === 0) return { ops, state, outcomes, records, accept: () => {} };
  const grown = await growTree(state, records, context);
  ops.push(...grown.ops);
  const counts = [...context.sealer.counts()].map(sealCountOp);
  const expired = await context.sweep(ops);
  changes.upkeep([...counts, ...expired]);
  const summary = context.summary.plan(changes, position, grown.state.root);
  ops.push(...decisions.ops(), ...counts, ...expired, ...summary.ops);
  const accept = (): void => {
    summary.accept();
    decisions.committed();
  };
  return { ops, state: grown.state, outcomes, records, accept };
};
