/**
 * The plan of one commit: positions, versions, seals, indexes, tree, checkpoint and whatever else must be true
 * together, as one batch. Nothing is written here. Source: docs/spec/ledger.md.
 */
import { equalBytes, u64be, type Hash } from "../record/bytes.ts";
import type { SigilError } from "../record/errors.ts";
import type { Sha256 } from "../record/hash.ts";
import { signCheckpoint } from "../merkle/checkpoint.ts";
import { rootOf } from "../merkle/tree.ts";
import type { Signer } from "../keys/sign.ts";
import type { Store, StoreOp } from "../storage/store.ts";
import { formatGroup } from "./group.ts";
import { indexOps, parseHead, type BlindTags, type Head } from "./indexes.ts";
import { groupKey, headKey, recordKey, sealCountKey } from "./keyspace.ts";
import type { SignedRecord } from "./prepare.ts";
import type { Sealer } from "./sealer.ts";
import { sizeOf, type LedgerState } from "./state.ts";
import { planLeaves } from "./tree.ts";

/** Where a record came to stand. */
export type Appended = { readonly position: bigint; readonly hash: Hash; readonly version: bigint };

/** Records of one caller that are committed all or none, and what the batch must hold beside them. */
export type SignedUnit = {
  readonly records: readonly SignedRecord[];
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
};

export type CommitContext = {
  readonly store: Store;
  readonly sealer: Sealer;
  readonly tags: BlindTags;
  readonly origin: string;
  readonly checkpointSigner: Signer;
  readonly sha256: Sha256;
};

type KnownHead = Head & { readonly hash: Hash | undefined };

/**
 * Heads of the ids a group writes, with the versions the group itself adds on top. Decisions have fresh ids by
 * construction and are not looked up.
 */
class Heads {
  readonly #store: Store;
  readonly #readHash: (position: bigint) => Promise<Hash>;
  readonly #known = new Map<string, KnownHead | undefined>();

  constructor(store: Store, readHash: (position: bigint) => Promise<Hash>) {
    this.#store = store;
    this.#readHash = readHash;
  }

  async next(record: SignedRecord, position: bigint): Promise<Head | SigilError> {
    const { tenant, space, id, prev, kind } = record.body;
    if (kind === "frozen_chain") return { position, version: 1n };
    const name = `${tenant}\0${space}\0${id}`;
    const known = this.#known.has(name) ? this.#known.get(name) : await this.#load(record);
    const follows =
      known === undefined
        ? prev === null
        : prev !== null && known.hash !== undefined && equalBytes(prev, known.hash);
    if (!follows) return { kind: "staleVersion", id, version: known?.version ?? 0n };
    const head = { position, version: (known?.version ?? 0n) + 1n, hash: record.hash };
    this.#known.set(name, head);
    return head;
  }

  async #load(record: SignedRecord): Promise<KnownHead | undefined> {
    const { tenant, space, id } = record.body;
    const bytes = await this.#store.get(headKey(tenant, space, id));
    if (bytes === undefined) return undefined;
    const head = parseHead(bytes);
    return { ...head, hash: await this.#readHash(head.position) };
  }
}

export const planCommit = async (
  state: LedgerState,
  units: readonly SignedUnit[],
  context: CommitContext & { readonly readHash: (position: bigint) => Promise<Hash> },
): Promise<CommitPlan> => {
  const heads = new Heads(context.store, context.readHash);
  const ops: StoreOp[] = [];
  const outcomes: UnitOutcome[] = [];
  const records: SignedRecord[] = [];
  const first = sizeOf(state);
  let position = first;
  for (const unit of units) {
    const planned: Head[] = [];
    let refused: SigilError | undefined;
    for (const record of unit.records) {
      const head = await heads.next(record, position + BigInt(planned.length));
      if ("kind" in head) {
        refused = head;
        break;
      }
      planned.push(head);
    }
    if (refused !== undefined) {
      outcomes.push({ kind: "refused", error: refused });
      continue;
    }
    const appended = unit.records.map((record, index) => ({
      ...(planned[index] as Head),
      hash: record.hash,
    }));
    for (const [index, record] of unit.records.entries()) {
      await context.tags.ensure(record.body.tenant);
      const head = planned[index] as Head;
      ops.push({
        kind: "put",
        key: recordKey(head.position),
        value: await context.sealer.seal(record.envelope, head.position, record.body.tenant),
      });
      ops.push(...indexOps(context.tags, record.body, record.hash, head));
      records.push(record);
    }
    ops.push(...unit.extraOps(appended));
    outcomes.push({ kind: "accepted", appended });
    position += BigInt(unit.records.length);
  }
  if (records.length === 0) return { ops: [], state, outcomes, records };

  const leaves = records.map((record) => record.leaf);
  const planned = planLeaves(state.tree, leaves, context.sha256);
  const root = rootOf(planned.tree.frontier, context.sha256);
  const checkpoint = await signCheckpoint(
    { origin: context.origin, size: position, root },
    context.checkpointSigner,
    context.sha256,
  );
  ops.push(...planned.ops);
  ops.push({
    kind: "put",
    key: groupKey(first),
    value: formatGroup({ firstPosition: first, leaves, checkpoint }),
  });
  for (const { tenant, version, seals } of context.sealer.counts()) {
    ops.push({ kind: "put", key: sealCountKey(tenant, version), value: u64be(BigInt(seals)) });
  }
  return { ops, state: { tree: planned.tree, root, checkpoint }, outcomes, records };
};
