/**
 * The ledger: append, read with proof, and stay honest when the store does not. On the first store error it stops,
 * answers its waiters "indeterminate", closes, reopens, checks itself against what it had acknowledged and against
 * the anchor, and only then serves again. Source: docs/spec/ledger.md, docs/operating/failures.md.
 */
import { equalBytes, readU64be, type Hash } from "../record/bytes.ts";
import { describeError, fail, SigilFault, type SigilError } from "../record/errors.ts";
import type { RecordBody } from "../record/record.ts";
import type { Sha256 } from "../record/hash.ts";
import type { KeyRing } from "../keys/ring.ts";
import type { Signer } from "../keys/sign.ts";
import type { Store } from "../storage/store.ts";
import { AnchorKeeper, type Anchor } from "./anchor.ts";
import { planCommit, type Appended, type SignedUnit, type UnitOutcome } from "./commit.ts";
import {
  checkpointKeyOf,
  examineRecord,
  requireVerified,
  type Examination,
  type VerifiedRecord,
} from "./examine.ts";
import { IdempotencyKeys, type Claim, type IdempotencyScope } from "./idempotency.ts";
import { BlindTags, parseHead, shortlist, type DecisionFilter, type Head } from "./indexes.ts";
import { decisionKey, decisionPrefix, hashKey, headKey, headPrefix, prefixRange } from "./keyspace.ts";
import { loadRing } from "./keyring.ts";
import { prepareRecord, signRecord } from "./prepare.ts";
import { Sealer, type DataKeys } from "./sealer.ts";
import { GroupFailed, Sequencer, type AppendUnit, type SequencerGauge } from "./sequencer.ts";
import { loadState, rootAt, sizeOf, type LedgerState, type StateContext } from "./state.ts";
import { TreeReader } from "./tree.ts";

export type LedgerOptions = {
  readonly origin: string;
  /** Hash of the genesis record; everything is believed because of it. */
  readonly genesis: Hash;
  readonly openStore: () => Promise<Store>;
  readonly anchor: Anchor;
  readonly recordSigner: Signer;
  readonly checkpointSigner: Signer;
  readonly dataKeys: DataKeys;
  /** A tenant's key for blind tags, 32 bytes. */
  readonly indexKey: (tenant: string) => Promise<Uint8Array>;
  readonly sha256: Sha256;
  readonly nowMs: () => number;
  readonly observe?: LedgerObserver;
};

/** What the outside may watch; never a payload. */
export type LedgerObserver = {
  readonly onStatus?: (status: LedgerStatus) => void;
  readonly onGroup?: (records: number) => void;
  readonly onVerifyFailure?: (error: SigilError) => void;
};

export type LedgerStatus =
  | { readonly kind: "serving" }
  /** Closed for self-examination after a store error; comes back by itself. */
  | { readonly kind: "recovering"; readonly rule: string }
  /** Found something a person must look at; never comes back by itself. */
  | { readonly kind: "refused"; readonly error: SigilError }
  | { readonly kind: "closed" };

export type CommittedRecord = Appended & { readonly body: RecordBody };

/** Which decisions, seen from where. Positions at or past `size` do not exist for this walk. */
export type DecisionWalk = {
  readonly tenant: string;
  readonly filter: DecisionFilter;
  readonly order: "newestFirst" | "oldestFirst";
  readonly size: bigint;
  /** The first position to look at, in the order of the walk. */
  readonly start?: bigint;
  /** Index entries to look at, at most. */
  readonly scanMax: number;
};

const firstRetryMs = 100;
const lastRetryMs = 5000;

export class Ledger implements AsyncDisposable {
  readonly #options: LedgerOptions;
  readonly #tags: BlindTags;
  readonly #sealer: Sealer;
  readonly #tree: TreeReader;
  readonly #keys: IdempotencyKeys;
  readonly #sequencer: Sequencer;
  readonly #anchor: AnchorKeeper;
  readonly #listeners = new Set<(records: readonly CommittedRecord[]) => void>();
  #store: Store;
  #state: LedgerState;
  #ring: KeyRing;
  #status: LedgerStatus = { kind: "serving" };
  #recovery: Promise<void> | undefined;

  private constructor(options: LedgerOptions, parts: OpenedParts) {
    this.#options = options;
    this.#store = parts.store;
    this.#state = parts.state;
    this.#ring = parts.ring;
    this.#tags = new BlindTags(options.indexKey);
    const store = (): Store => this.#store;
    this.#sealer = new Sealer({ origin: options.origin, keys: options.dataKeys, store });
    this.#tree = new TreeReader(store, options.sha256);
    this.#keys = new IdempotencyKeys(store, this.#tags);
    this.#anchor = new AnchorKeeper(options.anchor, (error) => this.#fail(error));
    const { recordSigner: signer, origin, sha256 } = options;
    this.#sequencer = new Sequencer(
      {
        sign: (record) => signRecord(record, { signer, origin, sha256 }),
        commit: (units) => this.#commit(units),
      },
      options.observe?.onGroup,
    );
  }

  /** @throws storeLocked, ledgerCorrupt, ledgerBehindAnchor, wrongKeyEncryptionKey. */
  static async open(options: LedgerOptions): Promise<Ledger> {
    const store = await options.openStore();
    try {
      const ledger = new Ledger(options, await openParts(options, store));
      await ledger.#anchor.start(ledger.size, ledger.#state.checkpoint);
      return ledger;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  get size(): bigint {
    return sizeOf(this.#state);
  }

  get origin(): string {
    return this.#options.origin;
  }

  get ring(): KeyRing {
    return this.#ring;
  }

  get status(): LedgerStatus {
    return this.#status;
  }

  get gauge(): SequencerGauge {
    return this.#sequencer.gauge;
  }

  /** The newest signed checkpoint, as one consistent view. */
  get checkpoint(): { readonly note: string; readonly size: bigint; readonly root: Hash } {
    return { note: this.#state.checkpoint, size: this.size, root: this.#state.root };
  }

  /**
   * Commits records, all or none, and resolves when they are on disk.
   * @throws the record's own errors at once; queueFull, notServing, cancelled, indeterminate, staleVersion later.
   */
  async append(
    bodies: readonly RecordBody[],
    options: Pick<AppendUnit, "extraOps" | "signal"> & { readonly attestations?: readonly Uint8Array[] } = {},
  ): Promise<readonly Appended[]> {
    const records = bodies.map((body) => prepareRecord(body, this.#options.sha256, options.attestations));
    return this.#sequencer.append({ records, extraOps: options.extraOps, signal: options.signal });
  }

  /** Called with every committed group, in order, before its callers are answered. @returns the unsubscriber. */
  subscribe(listener: (records: readonly CommittedRecord[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes an idempotency key, or gives the first answer. @throws idempotencyConflict. */
  async claim(scope: IdempotencyScope, body: Uint8Array): Promise<Claim> {
    await this.#tags.ensure(scope.tenant);
    return this.#keys.claim(scope, body, this.#options.nowMs());
  }

  /** @throws recordCorrupt naming the step that failed. */
  async readAt(position: bigint): Promise<VerifiedRecord> {
    return this.#verified(await this.#examine(position, "serving"));
  }

  /** Every step of a record's verification, the checkpoint's signature among them. */
  examine(position: bigint): Promise<Examination> {
    return this.#examine(position, "full");
  }

  /** The newest version of an id. */
  async head(tenant: string, space: string, id: string): Promise<Head | undefined> {
    const bytes = await this.#store.get(headKey(tenant, space, id));
    return bytes === undefined ? undefined : parseHead(bytes);
  }

  /** Newest versions of the ids that begin so, in id order. */
  async *heads(tenant: string, space: string, idPrefix: string): AsyncIterable<Head> {
    for await (const [, value] of this.#store.range(prefixRange(headPrefix(tenant, space, idPrefix)))) {
      yield parseHead(value);
    }
  }

  /** The newest version of an id, verified. @throws recordCorrupt, also when the index names another record. */
  async readId(tenant: string, space: string, id: string): Promise<VerifiedRecord | undefined> {
    const head = await this.head(tenant, space, id);
    if (head === undefined) return undefined;
    const record = await this.readAt(head.position);
    const { body } = record;
    if (body.tenant !== tenant || body.space !== space || body.id !== id) {
      return fail({
        kind: "recordCorrupt",
        position: head.position,
        step: "index",
        rule: "the record is not the one its index names",
      });
    }
    return record;
  }

  async positionOfHash(hash: Hash): Promise<bigint | undefined> {
    const bytes = await this.#store.get(hashKey(hash));
    return bytes === undefined ? undefined : readU64be(bytes);
  }

  /**
   * Positions of decisions that may match, in order; a few strangers among them. Yields undefined once when the scan
   * bound is reached, with the position to go on from.
   */
  async *decisions(
    walk: DecisionWalk,
  ): AsyncIterable<{ readonly position: bigint; readonly skipped: boolean }> {
    const { tenant, size } = walk;
    await this.#tags.ensure(tenant);
    const matches = shortlist(this.#tags, tenant, walk.filter);
    const reverse = walk.order === "newestFirst";
    const end = decisionKey(tenant, size);
    const range = reverse
      ? {
          gte: decisionPrefix(tenant),
          lt: walk.start === undefined ? end : decisionKey(tenant, walk.start + 1n),
        }
      : { gte: decisionKey(tenant, walk.start ?? 0n), lt: end };
    for await (const [key, entry] of this.#store.range({ ...range, reverse, limit: walk.scanMax })) {
      yield { position: readU64be(key, key.length - 8), skipped: !matches(entry) };
    }
  }

  /** Keyed digest for tokens that only this deployment can make, 32 bytes. */
  async authenticate(tenant: string, bytes: Uint8Array): Promise<Uint8Array> {
    await this.#tags.ensure(tenant);
    return this.#tags.digest(tenant, bytes);
  }

  async close(): Promise<void> {
    if (this.#status.kind === "closed") return;
    await this.#sequencer.drain();
    this.#setStatus({ kind: "closed" });
    this.#sequencer.stop({ kind: "notServing", rule: "the ledger is closed" });
    await this.#recovery;
    await this.#anchor.flush();
    await this.#store.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #verified(examination: Examination): VerifiedRecord {
    try {
      return requireVerified(examination);
    } catch (error) {
      if (error instanceof SigilFault) this.#options.observe?.onVerifyFailure?.(error.error);
      throw error;
    }
  }

  async #examine(position: bigint, depth: "serving" | "full"): Promise<Examination> {
    const { origin, sha256 } = this.#options;
    return examineRecord(position, {
      store: this.#store,
      sealer: this.#sealer,
      tree: this.#tree,
      ring: this.#ring,
      state: this.#state,
      origin,
      sha256,
      depth,
    });
  }

  async #commit(units: readonly SignedUnit[]): Promise<readonly UnitOutcome[]> {
    const planned = await this.#plan(units);
    if (planned.records.length === 0) return planned.outcomes;
    try {
      await this.#anchor.beforeCommit(planned.records.length);
    } catch (cause) {
      this.#fail(cause);
      throw new GroupFailed({ kind: "notServing", rule: "the anchor could not be written" }, { cause });
    }
    try {
      await this.#store.commit(planned.ops);
    } catch (cause) {
      this.#fail(cause);
      throw new GroupFailed({ kind: "indeterminate", rule: "the store failed while writing" }, { cause });
    }
    this.#state = planned.state;
    this.#anchor.committed(this.size, planned.state.checkpoint);
    this.#publish(
      planned.outcomes,
      planned.records.map(({ body }) => body),
    );
    return planned.outcomes;
  }

  /** A plan that fails has written nothing, but what it counted is forgotten. */
  async #plan(units: readonly SignedUnit[]) {
    const { origin, sha256, checkpointSigner, nowMs } = this.#options;
    try {
      const expired = await this.#keys.sweep(nowMs());
      const plan = await planCommit(this.#state, units, {
        store: this.#store,
        sealer: this.#sealer,
        tags: this.#tags,
        origin,
        checkpointSigner,
        sha256,
        readHash: async (position) => (await this.readAt(position)).hash,
      });
      return { ...plan, ops: [...plan.ops, ...expired] };
    } catch (cause) {
      this.#fail(cause);
      throw new GroupFailed({ kind: "notServing", rule: "the commit could not be prepared" }, { cause });
    }
  }

  #publish(outcomes: readonly UnitOutcome[], bodies: readonly RecordBody[]): void {
    const appended = outcomes.flatMap((outcome) => (outcome.kind === "accepted" ? outcome.appended : []));
    const records = appended.map((entry, index) => ({ ...entry, body: bodies[index] as RecordBody }));
    for (const listener of this.#listeners) listener(records);
  }

  #setStatus(status: LedgerStatus): void {
    this.#status = status;
    this.#options.observe?.onStatus?.(status);
  }

  /** The first store error: nothing is written any more until the store has been reopened and checked. */
  #fail(cause: unknown): void {
    if (this.#status.kind !== "serving") return;
    const rule = cause instanceof SigilFault ? describeError(cause.error) : "unexpected store error";
    this.#setStatus({ kind: "recovering", rule });
    this.#sequencer.stop({ kind: "notServing", rule: "the ledger is checking itself after a store error" });
    this.#anchor.abandon();
    this.#recovery = this.#recover();
  }

  async #recover(): Promise<void> {
    for (let delayMs = firstRetryMs; ; delayMs = Math.min(2 * delayMs, lastRetryMs)) {
      // Let calls that are inside the store come out first.
      await new Promise<void>((resolve) => setTimeout(resolve, delayMs));
      if (this.#status.kind !== "recovering") return;
      try {
        await this.#reopen();
        return;
      } catch (error) {
        if (error instanceof SigilFault && isVerdict(error.error)) {
          this.#setStatus({ kind: "refused", error: error.error });
          return;
        }
      }
    }
  }

  async #reopen(): Promise<void> {
    const acknowledged = this.#state;
    await this.#store.close();
    const store = await this.#options.openStore();
    this.#store = store;
    const { ring, state, context } = await openParts(this.#options, store);
    if (sizeOf(state) < sizeOf(acknowledged)) {
      fail({ kind: "ledgerBehindAnchor", size: sizeOf(state), anchorSize: sizeOf(acknowledged) });
    }
    if (!equalBytes(await rootAt(state, sizeOf(acknowledged), context), acknowledged.root)) {
      const rule = "the tree is not the one that was acknowledged";
      fail({ kind: "ledgerCorrupt", position: sizeOf(acknowledged), rule });
    }
    this.#state = state;
    this.#ring = ring;
    this.#sealer.forget();
    this.#tree.forget();
    await this.#anchor.start(sizeOf(state), state.checkpoint);
    await this.#republish(sizeOf(acknowledged));
    this.#sequencer.resume();
    this.#setStatus({ kind: "serving" });
  }

  /** Records whose commit was indeterminate and turned out kept: the projections have not seen them. */
  async #republish(from: bigint): Promise<void> {
    const records: CommittedRecord[] = [];
    for (let position = from; position < this.size; position += 1n) {
      const { body, hash } = await this.readAt(position);
      const head = await this.head(body.tenant, body.space, body.id);
      records.push({ position, hash, body, version: head?.version ?? 1n });
    }
    if (records.length > 0) for (const listener of this.#listeners) listener(records);
  }
}

/** Findings that no amount of reopening changes. */
const isVerdict = (error: SigilError): boolean =>
  error.kind === "ledgerBehindAnchor" || error.kind === "ledgerCorrupt" || error.kind === "recordCorrupt";

type OpenedParts = {
  readonly store: Store;
  readonly state: LedgerState;
  readonly ring: KeyRing;
  readonly context: StateContext;
};

/** Ring, state and checks of a store just opened, with nothing remembered from before. */
const openParts = async (options: LedgerOptions, store: Store): Promise<OpenedParts> => {
  const { origin, anchor, sha256, dataKeys } = options;
  const sealer = new Sealer({ origin, keys: dataKeys, store: () => store });
  const ring = await loadRing({ store, sealer, genesis: options.genesis, sha256 });
  const reader = new TreeReader(() => store, sha256);
  const checkpointKey = (size: bigint) => checkpointKeyOf(ring, size).publicKey;
  const context = { store, reader, anchor, origin, sha256, sealer, checkpointKey };
  return { store, ring, context, state: await loadState(context) };
};
