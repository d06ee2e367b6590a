/**
 * One relay: publishes the feed to one destination in ledger order, at least once. The ledger is the outbox, so memory
 * holds one batch, and the next one. The resume position is read from the destination each time it is opened; the
 * cursor file is a hint. A crash at any point loses nothing, and repeats only what a destination cannot report.
 */
import type { FeedBatch } from "@sigil/core/record";
import {
  relayBackoffMsMax,
  relayBackoffMsMin,
  relayCursorMsMax,
  relayErasureMsMax,
  relayRefusedMsMin,
  relayStopMsMax,
} from "../limits.ts";
import { publishAhead, untilAborted } from "./ahead.ts";
import { readCursor, writeCursor } from "./cursor-file.ts";
import {
  errorOf,
  failRelay,
  type Erased,
  type OpenDestination,
  type ReadEventAgain,
  type RelayError,
} from "./destination.ts";
import {
  reportErased,
  reportFailed,
  reportUnable,
  type ErasureReport,
  type ErasureRequest,
} from "./erasure.ts";
import {
  chunksOf,
  cursorAfter,
  firstCursor,
  fittingEvent,
  heldGeneration,
  isPublished,
  needsGeneration,
  newGeneration,
  planStart,
  publishedOf,
  type Chunk,
  type Cursor,
  type Start,
} from "./plan.ts";
import { Predecessors } from "./predecessors.ts";
import type { RelayOptions, RelayStep } from "./relay-options.ts";
import type { RelayState, RelayStatus } from "./relay-status.ts";

/** Something the operator asked for, done between attempts. */
type Change = { readonly run: () => Promise<void>; readonly done: PromiseWithResolvers<void> };

/** What one look at the destination says; undefined if it takes nothing back. */
type Look = { readonly erased: Erased; readonly begins: boolean } | undefined;

const pausedRule = "the relay is paused: resume it, so that the new generation is whole before older ones go";

/** Of a batch, in the destination's batches. */
type Prepared = { readonly batch: FeedBatch; readonly chunks: readonly Chunk[] };

export class Relay {
  readonly #options: RelayOptions;
  readonly #predecessors: Predecessors;
  #cursor: Cursor;
  /** Generation of the newest message seen at the destination, of this ledger or not; 0 if none was seen. */
  #heldGeneration = 0;
  #state: RelayState = "starting";
  #error: RelayError | undefined;
  /** Approximate creation time of the oldest unacknowledged record. */
  #pendingMs: number | undefined;
  #published = 0n;
  /** Consecutive failures. */
  #failures = 0;
  /** Aborts the current attempt, backoff or pause. */
  #attempt = new AbortController();
  readonly #closing = new AbortController();
  #progress: string | undefined;
  #changes: Change[] = [];
  #running: Promise<void> = Promise.resolve();
  /** Pending debounced write of the cursor. */
  #writing: Promise<void> | undefined;

  private constructor(options: RelayOptions, cursor: Cursor) {
    this.#options = options;
    this.#predecessors = new Predecessors(options.source, options.filter);
    this.#cursor = cursor;
  }

  /** Starts publishing. @throws read errors of the cursor file other than ENOENT. */
  static async start(options: RelayOptions): Promise<Relay> {
    const relay = new Relay(options, (await readCursor(options.cursorPath)) ?? firstCursor(options.from));
    relay.#running = relay.#run();
    return relay;
  }

  get status(): RelayStatus {
    const { name, destination, source, nowMs } = this.#options;
    const { generation, next } = this.#cursor;
    const size = source.size();
    const lag = size > next ? size - next : 0n;
    return {
      name,
      destination: destination.describe(),
      state: this.#state,
      generation,
      next,
      lag,
      lagMs: lag === 0n || this.#pendingMs === undefined ? 0 : Math.max(0, nowMs() - this.#pendingMs),
      published: this.#published,
      error: this.#error,
      stopped: destination.stoppedKeys?.() ?? [],
      progress: this.#progress,
    };
  }

  /** Persistent. Resolves when publishing has stopped. */
  pause(): Promise<void> {
    return this.#moveCursor((cursor) => ({ ...cursor, isPaused: true }));
  }

  /** Also retries immediately after a failure or a poison event, and retries every stopped key. */
  resume(): Promise<void> {
    this.#options.destination.retryStopped?.();
    return this.#moveCursor((cursor) => ({ ...cursor, isPaused: false }));
  }

  /** Republishes from a position as a new generation, above any that the destination holds. */
  reset(to: bigint): Promise<void> {
    return this.#change(async () => {
      await this.#options.source.acceptPast?.();
      await this.#setCursor(newGeneration(this.#cursor, to, this.#heldGeneration));
    });
  }

  /**
   * Takes back what was published of a tenant that the ledger has erased. Where events cannot be changed in their
   * place, a new generation begins, which has none of them; older ones go if the request says so, once it has caught
   * up. A crash leaves whatever the next call finds and goes on with. Never rejects.
   */
  async erase(request: ErasureRequest): Promise<ErasureReport> {
    try {
      const first = await this.#eraseThere(
        request,
        request.action === "purge old" ? "erase" : request.action,
      );
      if (first === undefined) return reportUnable(this.#place);
      if (request.action !== "purge old" || first.erased.isInPlace)
        return reportErased(this.#place, first.erased, request.action === "count" && first.begins);
      await this.#untilCaughtUp();
      const last = await this.#eraseThere(request, "purge old");
      if (last === undefined) return reportUnable(this.#place);
      return reportErased(this.#place, { ...last.erased, found: first.erased.found });
    } catch (cause) {
      return reportFailed(this.#place, errorOf(cause));
    } finally {
      this.#progress = undefined;
    }
  }

  /** Idempotent. Waits up to `relayStopMsMax` for the batch in flight; the next start reads what became of it. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#attempt.abort();
    await Promise.race([this.#running, untilAborted(AbortSignal.timeout(relayStopMsMax))]);
    this.#show("closed", this.#error);
  }

  #change(run: Change["run"]): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#changes.push({ run, done });
    this.#attempt.abort();
    return done.promise;
  }

  #moveCursor(to: (cursor: Cursor) => Cursor): Promise<void> {
    return this.#change(() => this.#setCursor(to(this.#cursor)));
  }

  async #setCursor(cursor: Cursor): Promise<void> {
    await writeCursor(this.#options.cursorPath, cursor);
    this.#cursor = cursor;
    this.#pendingMs = undefined;
  }

  /** Opens the destination for it, and begins a new generation where that is needed. */
  async #eraseThere(
    { tenant, action: requested }: ErasureRequest,
    action: ErasureRequest["action"],
  ): Promise<Look> {
    const { destination, event, from } = this.#options;
    const { signal } = this.#closing;
    const onProgress = (text: string): void => void (this.#progress = text);
    let look: Look;
    await this.#change(async () => {
      this.#show("erasing", undefined);
      await using open = await destination.open(signal, this.#readAgain);
      const { cursor } = await this.#findPlace(open, signal);
      if (open.erase === undefined) return;
      const { typePrefix } = event;
      const { generation } = cursor;
      const erased = await open.erase({ tenant, typePrefix, generation, action, onProgress }, signal);
      const begins = needsGeneration(cursor, from, erased, requested);
      look = { erased, begins };
      if (begins && action !== "count")
        await this.#setCursor(newGeneration(cursor, from, this.#heldGeneration));
    });
    this.#requireOpen();
    return look;
  }

  get #place(): Pick<ErasureReport, "name" | "destination" | "generation"> {
    const { name, destination, generation } = this.status;
    return { name, destination, generation };
  }

  #requireOpen(): void {
    if (this.#closing.signal.aborted) failRelay({ kind: "retryable", rule: "the server is stopping" });
  }

  /** @throws RelayFault if it is paused or fails before it has published what is there now. */
  async #untilCaughtUp(): Promise<void> {
    const { source, sleep } = this.#options;
    const size = source.size();
    while (this.#cursor.next < size) {
      this.#requireOpen();
      if (this.#error !== undefined) failRelay(this.#error);
      if (this.#cursor.isPaused) failRelay({ kind: "refused", rule: pausedRule });
      this.#progress = `generation ${this.#cursor.generation}: ${this.#cursor.next} of ${size} records`;
      await sleep(relayErasureMsMax, this.#closing.signal);
    }
  }

  /** The main loop, until closed. Never rejects. */
  async #run(): Promise<void> {
    let isStopped = false;
    while (!this.#closing.signal.aborted) {
      if (this.#changes.length > 0) {
        await this.#applyChanges();
        isStopped = false;
        continue;
      }
      const { signal } = (this.#attempt = new AbortController());
      if (this.#cursor.isPaused) this.#show("paused", undefined);
      if (this.#cursor.isPaused || isStopped) await untilAborted(signal);
      else isStopped = await this.#try(signal);
    }
    for (const { done } of this.#changes.splice(0)) done.resolve();
    await this.#writing;
    await this.#writeCursor();
  }

  /** A failed change does not affect the others. */
  async #applyChanges(): Promise<void> {
    // Serialised with the debounced write: both use the same temporary file.
    await this.#writing;
    for (const { run, done } of this.#changes.splice(0)) {
      try {
        await run();
        [this.#failures, this.#error] = [0, undefined];
        done.resolve();
      } catch (error) {
        done.reject(error);
      }
    }
  }

  /** One attempt and its backoff. @returns whether it stopped at a poison event. */
  async #try(signal: AbortSignal): Promise<boolean> {
    this.#show(this.#failures === 0 ? "starting" : "waiting", this.#error);
    try {
      await this.#publishFrom(signal);
      return false;
    } catch (cause) {
      if (signal.aborted) return false;
      const error = errorOf(cause);
      this.#failures += 1;
      this.#options.observer.onFailure(error.kind);
      this.#show(error.kind === "poison" ? "stopped" : "waiting", error);
      await this.#notePending(signal);
      if (error.kind === "poison") return true;
      await this.#options.sleep(this.#backoffMs(error), signal);
      return false;
    }
  }

  /** Opens the destination, finds the resume position, and publishes until aborted. @throws on any failure. */
  async #publishFrom(signal: AbortSignal): Promise<void> {
    const { destination, observer } = this.#options;
    await this.#step("opening");
    await using open = await destination.open(signal, this.#readAgain);
    await this.#step("opened");
    const { cursor, lost } = await this.#findPlace(open, signal);
    if (lost !== undefined) observer.onLost(lost.from, lost.until);
    this.#cursor = cursor;
    this.#requireWithin(cursor.next - 1n);
    this.#show("running", undefined);
    await this.#publishAll(cursor, open, signal);
  }

  /** @throws on any failure. */
  async #publishAll(cursor: Cursor, open: OpenDestination, signal: AbortSignal): Promise<void> {
    const { source, filter, turn } = this.#options;
    const event = { ...this.#options.event, origin: source.origin };
    /** Once everything that was prepared is acknowledged. */
    let planned = cursor;
    const prepare = async (batch: FeedBatch): Promise<Prepared> => {
      await this.#step("read");
      const published = publishedOf(filter, batch);
      const from = planned.from ?? 0n;
      const links =
        open.lanes === undefined
          ? undefined
          : await this.#predecessors.linksOf(published.items, from, signal);
      const chunks = chunksOf(published, planned, event, open, links);
      open.prepare?.(chunks.flatMap(({ events }) => events));
      planned = cursorAfter(planned, chunks, batch.next);
      return { batch, chunks };
    };
    const publish = (prepared: Prepared) => this.#publishBatch(prepared, open, signal);
    const batches = (until: AbortSignal) => source.from(cursor.next, { signal: until });
    await publishAhead(batches, { prepare, publish, turn }, signal);
  }

  readonly #readAgain: ReadEventAgain = async (position, lane, messageBytesMax, signal) => {
    const { source, filter, event } = this.#options;
    this.#requireWithin(position);
    for await (const { items, next } of source.from(position, { signal })) {
      // A sign of life of a source that has nothing new.
      if (next <= position) continue;
      const [item] = items;
      if (item?.position !== position || !isPublished(filter, item)) return undefined;
      return fittingEvent(item, lane, { ...event, origin: source.origin }, messageBytesMax);
    }
    return failRelay({ kind: "retryable", rule: `cannot read position ${position} again` });
  };

  /** Where to go on. @throws RelayFault if the newest message is not of this ledger. */
  async #findPlace(open: OpenDestination, signal: AbortSignal): Promise<Start> {
    const holding = await open.lastPublished();
    // Before anything is refused: a reset has to begin a newer one.
    this.#heldGeneration = heldGeneration(holding) || this.#heldGeneration;
    const start = planStart(this.#cursor, holding, this.#options.from);
    await this.#step("held");
    if (start.last !== undefined) await this.#match(start.last, signal);
    await this.#step("matched");
    return start;
  }

  #requireWithin(position: bigint): void {
    const size = this.#options.source.size();
    if (position < size) return;
    const rule = `position ${position} was published, and the ledger has ${size} records: it is another one, or an older copy; reset the relay to publish it as a new generation`;
    failRelay({ kind: "refused", rule });
  }

  /** Checks that the newest message is from this ledger. */
  async #match({ position, leaf }: NonNullable<Start["last"]>, signal: AbortSignal): Promise<void> {
    this.#requireWithin(position);
    if (await this.#options.source.hasLeaf(position, leaf, { signal })) return;
    const rule = `the newest message there is of position ${position}, where this ledger has another record: something else publishes there, or published`;
    failRelay({ kind: "refused", rule });
  }

  async #publishBatch(
    { batch, chunks }: Prepared,
    open: OpenDestination,
    signal: AbortSignal,
  ): Promise<void> {
    this.#pendingMs = batch.items[0]?.record?.body.ts ?? this.#pendingMs;
    for (const chunk of chunks) {
      await this.#publishChunk(chunk, open, signal);
      if (signal.aborted) return;
    }
    this.#move({ ...this.#cursor, next: batch.next });
    await this.#step("passed over");
    this.#pendingMs = batch.items.at(-1)?.record?.body.ts ?? this.#pendingMs;
  }

  async #publishChunk({ events, poison }: Chunk, open: OpenDestination, signal: AbortSignal): Promise<void> {
    const newest = events.at(-1);
    if (newest !== undefined) {
      await this.#step("publishing");
      await open.publish(events, signal);
      await this.#step("published");
      // After the durable acknowledgement; a crash before this line is resolved by reading the destination.
      this.#move(cursorAfter(this.#cursor, [{ events, poison }], newest.position + 1n));
      await this.#step("cursor moved");
      this.#published += BigInt(events.length);
      this.#failures = 0;
      this.#options.observer.onPublished(events.length);
    }
    if (poison === undefined) return;
    const rule = `the record at position ${poison.position} takes more than the ${open.limits.messageBytesMax} bytes of a message, even by reference`;
    failRelay({ kind: "poison", position: poison.position, rule });
  }

  /** Updates the cursor; the file follows debounced, because each write syncs the ledger's disk. */
  #move(cursor: Cursor): void {
    this.#cursor = cursor;
    this.#writing ??= this.#writeLater();
  }

  async #writeLater(): Promise<void> {
    let written: Cursor;
    do {
      await this.#options.sleep(relayCursorMsMax, this.#attempt.signal);
      written = this.#cursor;
      await this.#writeCursor();
    } while (written !== this.#cursor);
    this.#writing = undefined;
  }

  /** Failures are counted only: the cursor is a hint. */
  async #writeCursor(): Promise<void> {
    try {
      await writeCursor(this.#options.cursorPath, this.#cursor);
    } catch {
      this.#options.observer.onFailure("retryable");
    }
  }

  /** Reads the oldest pending record for the lag while the destination is down. */
  async #notePending(signal: AbortSignal): Promise<void> {
    const { source } = this.#options;
    if (this.#pendingMs !== undefined || source.size() <= this.#cursor.next) return;
    try {
      for await (const { items } of source.from(this.#cursor.next, { signal })) {
        this.#pendingMs = items.find(({ record }) => record !== undefined)?.record?.body.ts;
        return;
      }
    } catch {
      // Reported when the record is read for publishing.
    }
  }

  #backoffMs(error: RelayError): number {
    const least = error.kind === "refused" ? relayRefusedMsMin : relayBackoffMsMin;
    const exponential = least * 2 ** Math.min(this.#failures - 1, 16);
    const jittered = Math.min(exponential, relayBackoffMsMax) * (0.5 + this.#options.random() / 2);
    const askedMs = error.kind === "retryable" ? (error.afterMs ?? 0) : 0;
    return Math.max(jittered, askedMs);
  }

  #show(state: RelayState, error: RelayError | undefined): void {
    const isNew = state !== this.#state || error?.rule !== this.#error?.rule;
    [this.#state, this.#error] = [state, error];
    if (isNew) this.#options.observer.onState(state, error);
  }

  async #step(step: RelayStep): Promise<void> {
    await this.#options.onStep?.(step);
  }
}
