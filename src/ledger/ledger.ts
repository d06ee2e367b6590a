/**
 * The ledger: appends, reads with proof, and recovers from store errors. On the first store error it stops, answers
 * waiting appends "indeterminate", closes and reopens the store, checks it against everything acknowledged and against
 * the anchor, and only then serves again. Source: docs/spec/ledger.md, docs/operating/recovery.md.
 */
import type { Thumbprint } from "@sigil/core/bytes";
import { assert, describeError, fail, SigilFault } from "../errors.ts";
import { batchItemsMax } from "../limits.ts";
import {
  callerHeadId,
  formatCallerHead,
  parseCallerHead,
  systemTenant,
  type Disclosures,
  type RecordBody,
} from "@sigil/core/record";
import { isKeyRecord, type KeyEntry, type KeyRole } from "@sigil/core/keys";
import type { KeyRange, Store, StoreOp } from "../storage/store.ts";
import { AnchorKeeper } from "./append/anchor.ts";
import { CallerNumbers } from "./append/caller-numbers.ts";
import { Completeness, type Pinned } from "./read/completeness.ts";
import type { Appended } from "./append/commit.ts";
import { Committer, type WritableMoment } from "./append/committer.ts";
import { rotateDataKey, type LivingDataKey } from "./sealing/data-key-life.ts";
import type { Erasure } from "./layout/erasure.ts";
import { Feed } from "./feed.ts";
import { DecisionIndex, decisionKeysOf } from "./decisions/decision-index.ts";
import { Erasures } from "./erase/erasures.ts";
import { IdempotencyKeys, type IdempotencyScope } from "./append/idempotency.ts";
import { answerOnce, appendUnkeyed, type Answering, type Append } from "./append/once.ts";
import { BlindTags } from "./layout/indexes.ts";
import { KeyLife } from "./append/key-life.ts";
import { isDamagedFiles, openLedger, retryOpening, type OpenedLedger } from "./recover/open.ts";
import type { LedgerOptions, LedgerStatus } from "./append/options.ts";
import { prepareRecord } from "./append/prepare.ts";
import { pinLedger, type PinnedLedger } from "./walk/pinned.ts";
import { readHead } from "./layout/lookup.ts";
import { newestNumber } from "./read/newest-number.ts";
import { LedgerReader } from "./read/reading.ts";
import { Sealer } from "./sealing/sealer.ts";
import { Sequencer, type AppendUnit, type SequencerGauge } from "./append/sequencer.ts";
import { sizeOf } from "./append/state.ts";
import { TreeReader } from "./layout/tree.ts";
import { isVersioned } from "./append/versions.ts";
import { watchStore } from "./append/store-faults.ts";

export type { CommittedRecord, LedgerObserver, LedgerOptions, LedgerStatus } from "./append/options.ts";

export class Ledger implements AsyncDisposable {
  /** Read-only access. */
  readonly reader: LedgerReader;
  /** Committed records, as a stream. */
  readonly feed: Feed;
  readonly #options: LedgerOptions;
  readonly #tags: BlindTags;
  readonly #sealer: Sealer;
  readonly #decisions: DecisionIndex;
  readonly #tree: TreeReader;
  readonly #keys: IdempotencyKeys;
  readonly #committer: Committer;
  readonly #sequencer: Sequencer;
  readonly #anchor: AnchorKeeper;
  readonly #keyLife: KeyLife;
  readonly #erasures: Erasures;
  readonly #completeness: Completeness;
  readonly #numbers: CallerNumbers;
  readonly #closing = new AbortController();
  #now: WritableMoment;
  #status: LedgerStatus = { kind: "serving" };
  #recovery: Promise<void> = Promise.resolve();
  /** True after the store was reopened and checked, until appends are accepted again. */
  #reopened = false;
  #closed: Promise<void> | undefined;

  private constructor(options: LedgerOptions, opened: OpenedLedger) {
    this.#options = options;
    const { ring, signers, state, summary } = opened;
    this.#now = { store: this.#watch(opened.store), ring, signers, state, summary };
    const onFault = (cause: unknown): void => options.observe?.onFault?.(cause);
    const store = (): Store => this.#now.store;
    const { origin, nowMs } = options;
    const erasureOf = (tenant: string): Erasure | undefined => this.#erasures.of(tenant);
    this.#sealer = new Sealer({ origin, keys: options.dataKeys, store, erasureOf });
    this.#tags = new BlindTags(async (tenant) => {
      await this.#sealer.ready(tenant);
      return options.indexKey(tenant);
    });
    this.#decisions = new DecisionIndex({
      store,
      keys: decisionKeysOf(origin, this.#tags),
      count: (tenant) => BigInt(this.#now.summary.tallyOf(tenant)?.decisions ?? 0),
      onBroken: (error) => options.observe?.onVerifyFailure?.(error),
      onFault,
    });
    this.#tree = new TreeReader(store);
    this.#completeness = new Completeness({
      key: opened.summaryKey,
      summary: () => this.#now.summary,
      pin: async (tenant) =>
        this.#reopened ? this.#pin(tenant) : this.#sequencer.exclusive(async () => this.#pin(tenant)),
      nowMs: options.nowMs,
      onBroken: (error) => options.observe?.onVerifyFailure?.(error),
    });
    this.#completeness.reset([systemTenant]);
    const complete = (): Promise<void> | undefined => this.#completeness.idempotencyKeys();
    this.#keys = new IdempotencyKeys({ store, tags: this.#tags, nowMs, erasureOf, complete });
    this.#anchor = new AnchorKeeper(options.anchor, (error) => this.#fail(error));
    this.#numbers = new CallerNumbers((tenant, caller) => newestNumber(this.reader, tenant, caller));
    this.#committer = new Committer({
      options,
      sealer: this.#sealer,
      tags: this.#tags,
      decisions: this.#decisions,
      anchor: this.#anchor,
      numbers: this.#numbers,
      readHash: async (position) => (await this.reader.readAt(position)).hash,
      expired: () => this.#keys.expired(),
      now: () => this.#now,
      advance: (after, leaves) => {
        this.#now = { ...this.#now, ...after };
        this.reader.trees.committed(after.state, leaves);
      },
      onCommitted: (records) => {
        this.#erasures.take(records);
        if (records.length > 0) this.feed.publish(records, this.reader.size);
      },
      stop: (cause) => this.#fail(cause),
    });
    this.#sequencer = new Sequencer(
      {
        sign: (record) => this.#committer.sign(record),
        signNow: (record) => this.#committer.signNow(record),
        commit: (units) => this.#committer.commit(units),
      },
      options.observe?.onGroup,
    );
    this.#keyLife = new KeyLife({
      keys: options.signingKeys,
      mldsa44: options.mldsa44 === true,
      nowMs: options.nowMs,
      now: () => ({ ...this.#now, size: this.reader.size }),
      exclusive: (work) => this.#sequencer.exclusive(work),
      commitAlone: (body, next) => this.#committer.commitAlone(body, next),
      hashOf: async (id) => (await this.reader.readId(systemTenant, "system", id))?.hash ?? null,
      onFault,
    });
    this.#erasures = new Erasures(opened.erasures, {
      store,
      sealer: this.#sealer,
      tags: this.#tags,
      decisions: this.#decisions,
      keys: options.dataKeys,
      nowMs: options.nowMs,
      append: (body) => this.append([body]),
      commit: (ops) => this.#sequencer.exclusive(() => this.#committer.commitUpkeep(ops)),
      purge: (ranges) => this.#purge(ranges),
      signal: this.#closing.signal,
      onErased: (tenant, records) => options.observe?.onErased?.(tenant, records),
      onFault,
    });
    this.reader = new LedgerReader({
      now: () => this.#now,
      options,
      sealer: this.#sealer,
      tree: this.#tree,
      tags: this.#tags,
      erasures: this.#erasures,
      decisions: this.#decisions,
      completeness: this.#completeness,
    });
    this.feed = new Feed({ reader: this.reader, size: sizeOf(state), onFault });
  }

  /** @throws storeLocked, ledgerCorrupt, ledgerBehindAnchor, recordCorrupt, storeFailed. */
  static async open(options: LedgerOptions): Promise<Ledger> {
    const store = await options.openStore();
    try {
      const ledger = new Ledger(options, await openLedger(options, store));
      await ledger.#anchor.start(ledger.reader.size, ledger.#now.state.checkpoint);
      await ledger.#keyLife.discardEnded();
      await ledger.#erasures.carryOut();
      await ledger.#keyLife.announceMldsa44();
      const { status } = ledger;
      if (status.kind === "refused") throw new SigilFault(status.error);
      return ledger;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  get status(): LedgerStatus {
    return this.#status;
  }

  get gauge(): SequencerGauge {
    return this.#sequencer.gauge;
  }

  /**
   * Commits up to 1,000 records and `extraOps`, all or none, and resolves when they are on disk. `attestations` are the
   * statements of witnesses over each body, `disclosures` what opens its commitments, both by its index; a body without
   * one there has none.
   * @throws the record's own errors immediately; queueFull, notServing, cancelled, indeterminate, staleVersion later.
   */
  async append(
    bodies: readonly RecordBody[],
    options: Pick<AppendUnit, "extraOps" | "signal"> & {
      readonly attestations?: readonly (readonly Uint8Array[])[];
      readonly disclosures?: readonly (Disclosures | undefined)[] | undefined;
    } = {},
  ): Promise<readonly Appended[]> {
    assert(bodies.length > 0 || options.extraOps !== undefined, "a unit has something to write");
    assert(bodies.length <= batchItemsMax, "a unit holds at most 1,000 records");
    const { attestations = [], disclosures = [] } = options;
    assert(attestations.length <= bodies.length, "attestations belong to a body");
    assert(disclosures.length <= bodies.length, "disclosures belong to a body");
    assert(!bodies.some(isKeyRecord), "keys change by rotateKey and retireKey alone");
    for (const tenant of new Set(bodies.filter(isVersioned).map((body) => body.tenant))) {
      // Assigning version numbers needs a complete version index.
      const checking = this.#completeness.versions(tenant);
      if (checking !== undefined) await checking;
    }
    const counting = this.#numbers.ready(bodies);
    if (counting !== undefined) await counting;
    // From here to the queue in one turn: numbers are guessed in the order of the queue.
    const numbered = bodies.map((body) => this.#numbers.number(body));
    try {
      const records = numbered.map(({ body, numbered: taken }, index) =>
        prepareRecord(body, {
          attestations: attestations[index] ?? [],
          disclosures: disclosures[index],
          numbered: taken,
        }),
      );
      const { extraOps, signal } = options;
      return await this.#sequencer.append({ records, extraOps, signal });
    } catch (error) {
      this.#numbers.release(numbered.map(({ numbered: taken }) => taken));
      throw error;
    }
  }

  /**
   * Replaces the role's key while the ledger serves; the old private key is destroyed.
   * @param expected the thumbprint of the key to replace, if the caller knows it.
   * @returns the new key. @throws notFound, keyReplaced, keyUnavailable, notServing, indeterminate.
   */
  rotateKey<Role extends KeyRole>(role: Role, expected?: Thumbprint): Promise<KeyEntry<Role>> {
    return this.#keyLife.rotate(role, expected);
  }

  /**
   * Limits a key's validity to positions below `from` (default: the current size); a key in use is rotated first.
   * @returns the retired key. @throws notFound, sizeOutOfRange, malformedKey, notServing, indeterminate.
   */
  retireKey(thumbprint: Thumbprint, from?: bigint): Promise<KeyEntry> {
    return this.#keyLife.retire(thumbprint, from);
  }

  /**
   * Rotates a tenant's data key: a new version seals from now on. @throws notFound, erased, keyReplaced,
   * keyUnavailable, notServing.
   */
  rotateDataKey(tenant: string, expected?: number): Promise<LivingDataKey> {
    return this.#sequencer.exclusive(async () => {
      this.reader.refuseErased(tenant);
      const [sealer, size] = [this.#sealer, this.reader.size];
      const commit = (ops: readonly StoreOp[]): Promise<void> => this.#committer.commitUpkeep(ops);
      return rotateDataKey(tenant, expected, { keys: this.#options.dataKeys, sealer, commit, size });
    });
  }

  /**
   * Defers the destruction of private keys while the ledger and its keys are copied: a key replaced meanwhile is
   * destroyed when the handle is disposed of.
   */
  holdKeys(): Promise<AsyncDisposable> {
    return this.#keyLife.hold();
  }

  /**
   * Runs a call at most once per idempotency key within 24 hours; repeats get the first answer. @param scope undefined
   * for a call without a key. @param body compared with a repeat's.
   * @throws idempotencyConflict if the key was used with another body; notServing; what `append`, `run` and `replay`
   * throw.
   */
  async once<Result>(
    scope: IdempotencyScope | undefined,
    body: () => Uint8Array,
    run: Answering<Result>["run"],
    replay: Answering<Result>["replay"],
  ): Promise<Result> {
    const append: Append = (bodies, options) => this.append(bodies, options);
    if (scope === undefined) return run(appendUnkeyed(append));
    // An indeterminate write may turn out to be durable; until recovery is done no key counts as free.
    this.#requireServing();
    await this.#tags.ensure(scope.tenant);
    return answerOnce(await this.#keys.claim(scope, body()), { run, replay }, append);
  }

  /**
   * Records how many decisions a caller has in a tenant, at a place in the ledger where that is certain: nothing is
   * under way. One that says the same and is not older than `sinceMs` is not recorded again. @returns its position.
   * @throws erased, notServing, indeterminate, keyUnavailable, recordCorrupt.
   */
  async recordCallerHead(tenant: string, caller: string, sinceMs: number): Promise<bigint> {
    const id = callerHeadId(caller);
    await this.#completeness.versions(tenant);
    return this.#sequencer.exclusive(async () => {
      this.reader.refuseErased(tenant);
      const { ring, signers, store } = this.#now;
      const found = await readHead(store, tenant, "user", id);
      const before = found && (await this.reader.readAt(found.position, tenant));
      const seq = await newestNumber(this.reader, tenant, caller);
      const isSaid = before?.body.kind === "caller_head" && parseCallerHead(before.body.payload).seq === seq;
      if (isSaid && before.body.ts >= sinceMs) return before.position;
      const prev = before?.hash ?? null;
      const position = this.reader.size;
      const payload = formatCallerHead({ caller, seq });
      const ts = this.#options.nowMs();
      const placed = { kind: "caller_head", schemaVersion: 1, id, tenant, space: "user", ts } as const;
      await this.#committer.commitAlone({ ...placed, payload, links: [], prev }, { ring, signers });
      return position;
    });
  }

  /** Takes a snapshot for fsck. @throws notServing, storeFailed. */
  pin(): Promise<PinnedLedger> {
    const [options, erasures] = [this.#options, this.#erasures];
    return pinLedger({ now: () => this.#now, options, erasures }, this.#sequencer);
  }

  /** Refuses new appends, answers waiting ones, then closes the store. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    const rule = "the ledger is closed";
    await this.#sequencer.finish({ kind: "notServing", rule });
    this.#closing.abort();
    await this.#erasures.settled();
    await this.#recovery;
    this.#decisions.forget();
    await this.#decisions.settled();
    this.#setStatus({ kind: "closed" });
    this.feed.end({ kind: "notServing", rule });
    this.#sequencer.stop({ kind: "notServing", rule });
    try {
      await this.#anchor.flush();
    } finally {
      await this.#now.store.close();
    }
  }

  /** Call while nothing is being written, so that store and summary match. */
  #pin(tenant: string): Pinned {
    const [store, summary] = [this.#now.store, this.#now.summary];
    const snapshot = store.snapshot();
    return {
      store,
      at: { snapshot },
      totals: summary.totals,
      tally: summary.tallyOf(tenant),
      [Symbol.asyncDispose]: () => snapshot.close(),
    };
  }

  #setStatus(status: LedgerStatus): void {
    this.#status = status;
    this.#options.observe?.onStatus?.(status);
  }

  #watch(store: Store): Store {
    return watchStore(store, (cause, failed) => {
      // Reopening does not repair damaged files: the reader gets the error, and the ledger keeps serving other reads.
      if (failed === this.#now.store && !isDamagedFiles(cause)) this.#fail(cause);
    });
  }

  /** Handles the first store error: stops writes until the store has been reopened and checked. */
  #fail(cause: unknown): void {
    if (this.#status.kind !== "serving") return;
    this.#options.observe?.onFault?.(cause);
    this.#halt(cause instanceof SigilFault ? describeError(cause.error) : "unexpected store error");
    this.#recovery = this.#recover();
  }

  #halt(rule: string): void {
    this.#setStatus({ kind: "recovering", rule });
    this.#sequencer.stop({ kind: "notServing", rule: "the ledger is checking itself" });
    this.#anchor.abandon();
  }

  /**
   * Compacts the store so that deleted data leaves the disk, then reopens and checks it as after an error. @throws
   * notServing.
   */
  async #purge(ranges: readonly KeyRange[]): Promise<void> {
    this.#requireServing();
    let isHalted = false;
    try {
      await this.#now.store.purge(ranges, async () => {
        this.#requireServing();
        this.#halt("the store lets go of an erased tenant");
        isHalted = true;
        await this.#sequencer.drain();
      });
    } finally {
      if (isHalted) await (this.#recovery = this.#recover());
    }
    this.#requireServing();
  }

  #requireServing(): void {
    const { kind } = this.#status;
    if (kind !== "serving") fail({ kind: "notServing", rule: `the ledger is ${kind}` });
  }

  async #recover(): Promise<void> {
    // A commit in progress completes first: what it acknowledges must also be present after the reopening.
    await this.#sequencer.drain();
    const error = await retryOpening(() => this.#reopen(), this.#closing.signal);
    if (error === undefined) return;
    this.#setStatus({ kind: "refused", error });
    this.feed.end(error);
  }

  async #reopen(): Promise<void> {
    this.#decisions.forget();
    await this.#decisions.settled();
    await this.#now.store.close();
    const store = await this.#options.openStore();
    // Reads meanwhile use the store being checked.
    this.#now = { ...this.#now, store: this.#watch(store) };
    const opened = await openLedger(this.#options, store, this.#now.state);
    const { ring, signers, state, summary } = opened;
    this.#now = { ...this.#now, ring, signers, state, summary };
    this.#completeness.reset([systemTenant]);
    this.#erasures.reset(opened.erasures);
    this.#tree.forget();
    this.reader.trees.forget();
    this.#keys.forget();
    this.#numbers.reset();
    // Drops also state requested while the store was closed.
    this.#decisions.forget();
    await this.#anchor.start(this.reader.size, this.#now.state.checkpoint);
    await this.#keyLife.discardEnded();
    this.#reopened = true;
    try {
      await this.feed.catchUp(this.reader.size);
    } finally {
      this.#reopened = false;
    }
    if (this.#closing.signal.aborted) return;
    this.#sequencer.resume();
    this.#setStatus({ kind: "serving" });
    this.#erasures.resume();
  }
}
