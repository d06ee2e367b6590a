/**
 * An HTTP endpoint as a destination. Events of one key (tenant/space/id) are sent in ledger order with one in flight;
 * keys go in parallel. A refused event stops its key, whose later events are held back by position in a file, or goes
 * to the dead letters. The receiver reports nothing, so the relay's cursor is the low-water mark: `publish` resolves
 * once each event was acknowledged, held back durably, or given up. At least once; receivers deduplicate by
 * `webhook-id`.
 */
import { readFile } from "node:fs/promises";
import type { LookupFunction } from "node:net";
import { relayLineBytesMax, relayWebhookBatchEventsMax, relayWebhookTriesMax } from "../../limits.ts";
import { Mutex } from "../../mutex.ts";
import {
  failRelay,
  RelayFault,
  type Destination,
  type Holding,
  type OpenDestination,
  type ReadEventAgain,
  type RelayError,
} from "../destination.ts";
import type { RelayEvent } from "../event.ts";
import type { EraseStep } from "../files-erase.ts";
import { appendDeadLetter, eraseDeadLetters, removeUnfinished } from "./dead-letters.ts";
import { createPoster, type Outcome, type Poster } from "./post.ts";
import { parseSecrets, type SignatureScheme } from "./signature.ts";
import { StoppedKeys, type Pending } from "./stopped-keys.ts";

export type WebhookOptions = {
  /** `https:`, or `http:` to a loopback host; without credentials. */
  readonly url: string;
  readonly signature: SignatureScheme;
  /** Read at each opening. @throws anything if it cannot be read. */
  readonly readSecret: () => Promise<string>;
  /** Closed networks (loopback, private, link-local, …) that may be reached; addresses, with or without `/bits`. */
  readonly privateAddresses: readonly string[];
  /** PEM file; "" for the authorities of the system. */
  readonly ca: string;
  /** Of one request. */
  readonly timeoutMs: number;
  /** Requests in flight. */
  readonly parallel: number;
  readonly messageBytesMax: number;
  readonly poison: { readonly kind: "stop_key" } | { readonly kind: "dead_letter"; readonly path: string };
  /** Of stopped keys and what is pending behind them. */
  readonly keysPath: string;
  readonly observer: WebhookObserver;
  readonly lookup: LookupFunction;
  readonly nowMs: () => number;
  /** Fault injection for tests: awaited between steps. */
  readonly onStep?: (step: WebhookStep) => Promise<void>;
};

export type WebhookObserver = {
  readonly onStopped: (key: string, position: bigint, rule: string) => void;
  /** The event is a dead letter: the order of its key is given up. */
  readonly onGivenUp: (key: string, position: bigint, rule: string) => void;
};

export type WebhookStep = "sending" | "answered" | "refused" | "saving" | "saved" | EraseStep;

/** Erased records have no key any more, and one lane of their own; no tenant has an underscore. */
export const keyOf = ({ place, attributes }: RelayEvent): string =>
  place === undefined ? "_erased" : (attributes["subject"] ?? "");

const pendingOf = ({ position, attributes }: RelayEvent): Pending => {
  const { sigilgeneration, sigilprev } = attributes;
  return {
    position,
    generation: Number(sigilgeneration),
    prev: sigilprev === undefined ? undefined : BigInt(sigilprev),
  };
};

const markOf = ({ position, attributes }: RelayEvent): string =>
  `${attributes["sigilgeneration"] ?? ""}:${position}`;

/** Failed tries of one event, and how many events had been acknowledged at the first. */
type Tries = { readonly count: number; readonly acknowledged: number };

/** What outlives a failure, after which the relay opens the destination again and sends the same batch. */
type Memory = {
  keys: StoppedKeys | undefined;
  isRetrying: boolean;
  /** Acknowledged beyond the low-water mark, at most a batch. */
  readonly done: Set<string>;
  readonly tries: Map<string, Tries>;
  acknowledged: number;
};

type Lane = { readonly key: string; readonly events: readonly RelayEvent[] };

const lanesOf = (events: readonly RelayEvent[]): readonly Lane[] =>
  [...Map.groupBy(events, keyOf)].map(([key, own]) => ({ key, events: own }));

class OpenWebhook implements OpenDestination {
  readonly limits: OpenDestination["limits"];
  /** What the receiver took is beyond reach; stopped keys hold positions alone. */
  readonly erase: OpenDestination["erase"];
  readonly #options: WebhookOptions;
  readonly #poster: Poster;
  readonly #memory: Memory;
  readonly #keys: StoppedKeys;
  /** The latest append to the dead letters; lanes take turns. Never rejects. */
  readonly #letters = new Mutex();

  constructor(options: WebhookOptions, poster: Poster, memory: Memory, keys: StoppedKeys) {
    this.#options = options;
    this.#poster = poster;
    this.#memory = memory;
    this.#keys = keys;
    this.limits = {
      messageBytesMax: options.messageBytesMax,
      batchEventsMax: relayWebhookBatchEventsMax,
      batchBytesMax: relayLineBytesMax,
    };
    const { poison } = options;
    if (poison.kind === "dead_letter") {
      this.erase = (erasure, signal) =>
        eraseDeadLetters(poison.path, erasure, { signal, onStep: (step) => this.#step(step) });
    }
  }

  async lastPublished(): Promise<Holding> {
    return { kind: "unknown" };
  }

  async publish(events: readonly RelayEvent[], signal: AbortSignal): Promise<void> {
    const { done, tries } = this.#memory;
    const attempt = new Attempt(this.#options.parallel);
    const lanes = lanesOf(events.filter((event) => !done.has(markOf(event))));
    try {
      await this.#inParallel(lanes, (lane) => this.#deliver(lane, attempt, signal), attempt);
    } finally {
      await this.#save();
    }
    signal.throwIfAborted();
    attempt.throwIfFailed();
    done.clear();
    tries.clear();
  }

  /**
   * Sends what stopped keys hold back. A key that is refused or fails again stays stopped until the next resume, and so
   * do those not yet tried once the receiver counts as down.
   */
  async retryStopped(again: ReadEventAgain, signal: AbortSignal): Promise<void> {
    const attempt = new Attempt(this.#options.parallel);
    const keys = this.#keys.list.map(({ key }) => key);
    try {
      await this.#inParallel(keys, (key) => this.#retryKey(key, again, attempt, signal), attempt);
    } finally {
      await this.#save();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#poster[Symbol.dispose]();
  }

  async #inParallel<Item>(
    items: readonly Item[],
    work: (item: Item) => Promise<void>,
    attempt: Attempt,
  ): Promise<void> {
    const queue = items[Symbol.iterator]();
    const worker = async (): Promise<void> => {
      // Workers share the iterator: each item is taken once.
      for (const item of { [Symbol.iterator]: () => queue }) {
        if (attempt.isOver) return;
        await work(item);
      }
    };
    const ended = await Promise.allSettled(Array.from({ length: this.#options.parallel }, worker));
    for (const one of ended) if (one.status === "rejected") throw one.reason;
  }

  async #deliver({ key, events }: Lane, attempt: Attempt, signal: AbortSignal): Promise<void> {
    for (const event of events) {
      if (attempt.isOver || signal.aborted) return;
      if (this.#keys.has(key)) {
        this.#keys.hold(key, pendingOf(event), "");
        continue;
      }
      const outcome = this.#judge(event, await this.#send(event, signal));
      if (signal.aborted) return;
      switch (outcome.kind) {
        case "acknowledged":
          attempt.noteSuccess();
          this.#acknowledge(event);
          break;
        case "poison":
          attempt.noteSuccess();
          if (!(await this.#isGivenUp(key, event, outcome.rule))) this.#stop(key, event, outcome.rule);
          break;
        case "failed":
          // The rest of the lane waits for it; other lanes go on while they get through.
          attempt.noteFailure(outcome.error);
          return;
      }
    }
  }

  async #send(event: RelayEvent, signal: AbortSignal): Promise<Outcome> {
    await this.#step("sending");
    const outcome = await this.#poster.post(event, signal);
    await this.#step("answered");
    return outcome;
  }

  #acknowledge(event: RelayEvent): void {
    this.#memory.done.add(markOf(event));
    this.#memory.tries.delete(markOf(event));
    this.#memory.acknowledged += 1;
  }

  /** An event that fails again and again while others are accepted is refused for good. */
  #judge(event: RelayEvent, outcome: Outcome): Outcome {
    if (outcome.kind !== "failed" || outcome.error.kind !== "retryable") return outcome;
    const { tries, acknowledged } = this.#memory;
    const before = tries.get(markOf(event)) ?? { count: 0, acknowledged };
    const now = { ...before, count: before.count + 1 };
    tries.set(markOf(event), now);
    const isAlone = now.count >= relayWebhookTriesMax && acknowledged > before.acknowledged;
    return isAlone
      ? { kind: "poison", rule: `${outcome.error.rule}, ${now.count} times while others were accepted` }
      : outcome;
  }

  /** @returns whether it is a dead letter now, durably. */
  async #isGivenUp(key: string, event: RelayEvent, rule: string): Promise<boolean> {
    const { poison, observer } = this.#options;
    await this.#step("refused");
    if (poison.kind === "stop_key") return false;
    await this.#letters.run(() => appendDeadLetter(poison.path, event));
    observer.onGivenUp(key, event.position, rule);
    this.#memory.done.add(markOf(event));
    return true;
  }

  #stop(key: string, event: RelayEvent, rule: string): void {
    this.#keys.hold(key, pendingOf(event), rule);
    this.#options.observer.onStopped(key, event.position, rule);
  }

  async #retryKey(key: string, again: ReadEventAgain, attempt: Attempt, signal: AbortSignal): Promise<void> {
    for (const { position, ...lane } of this.#keys.pendingOf(key)) {
      if (attempt.isOver || signal.aborted) return;
      const event = await this.#readAgain(again, position, lane, signal);
      if (event instanceof RelayFault) return this.#keys.explain(key, event.error.rule);
      const outcome: Outcome =
        event === undefined ? { kind: "acknowledged" } : await this.#send(event, signal);
      if (signal.aborted) return;
      if (outcome.kind === "failed") {
        attempt.noteFailure(outcome.error);
        return this.#keys.explain(key, outcome.error.rule);
      }
      attempt.noteSuccess();
      if (outcome.kind === "poison" && event !== undefined) {
        if (!(await this.#isGivenUp(key, event, outcome.rule))) return this.#keys.explain(key, outcome.rule);
      }
      this.#keys.release(key, position);
    }
  }

  /** @returns the fault where the ledger has no such position: it is an older copy. */
  async #readAgain(
    again: ReadEventAgain,
    position: bigint,
    place: Omit<Pending, "position">,
    signal: AbortSignal,
  ): Promise<RelayEvent | RelayFault | undefined> {
    try {
      return await again(position, place, this.#options.messageBytesMax, signal);
    } catch (cause) {
      if (cause instanceof RelayFault) return cause;
      throw cause;
    }
  }

  /** Before `publish` resolves, so a crash loses no held record: the cursor is still before it. */
  async #save(): Promise<void> {
    await this.#step("saving");
    await this.#keys.save();
    await this.#step("saved");
  }

  async #step(step: WebhookStep): Promise<void> {
    await this.#options.onStep?.(step);
  }
}

/** The failures of one try of a batch. */
class Attempt {
  readonly #inRowMax: number;
  #inRow = 0;
  #error: RelayError | undefined;

  /** @param inRowMax failures without a success between, after which the receiver counts as down. */
  constructor(inRowMax: number) {
    this.#inRowMax = inRowMax;
  }

  /** Nothing more is sent. */
  get isOver(): boolean {
    return this.#error?.kind === "refused" || this.#inRow >= this.#inRowMax;
  }

  noteSuccess(): void {
    this.#inRow = 0;
  }

  /** The longest delay that was asked for counts; what an operator must resolve comes first. */
  noteFailure(error: RelayError): void {
    this.#inRow += 1;
    const isGraver =
      this.#error?.kind !== "refused" &&
      (error.kind === "refused" || afterMsOf(error) >= afterMsOf(this.#error));
    if (isGraver) this.#error = error;
  }

  throwIfFailed(): void {
    if (this.#error !== undefined) failRelay(this.#error);
  }
}

const afterMsOf = (error: RelayError | undefined): number =>
  error?.kind === "retryable" ? (error.afterMs ?? 0) : 0;

const readText = async (read: () => Promise<string>, what: string): Promise<string> => {
  try {
    return await read();
  } catch (cause) {
    return failRelay({ kind: "refused", rule: `cannot read ${what}` }, { cause });
  }
};

const openWebhook = async (
  options: WebhookOptions,
  memory: Memory,
  again: ReadEventAgain,
  signal: AbortSignal,
): Promise<OpenWebhook> => {
  const keys = (memory.keys ??= await StoppedKeys.read(options.keysPath));
  if (options.poison.kind === "dead_letter") await removeUnfinished(options.poison.path);
  const sign = parseSecrets(
    options.signature,
    await readText(options.readSecret, "the secret of the webhook"),
  );
  const { ca, privateAddresses, lookup, timeoutMs, parallel, nowMs } = options;
  const url = new URL(options.url);
  const poster = createPoster({
    url,
    reachable: { opened: privateAddresses, isLoopbackOnly: url.protocol === "http:" },
    lookup,
    ca: ca === "" ? undefined : await readText(() => readFile(ca, "utf8"), `the authorities in ${ca}`),
    timeoutMs,
    parallel,
    sign,
    nowMs,
  });
  const opened = new OpenWebhook(options, poster, memory, keys);
  try {
    if (memory.isRetrying) await opened.retryStopped(again, signal);
    if (!signal.aborted) memory.isRetrying = false;
    return opened;
  } catch (error) {
    await opened[Symbol.asyncDispose]();
    throw error;
  }
};

export const webhookDestination = (options: WebhookOptions): Destination => {
  const memory: Memory = {
    keys: undefined,
    isRetrying: false,
    done: new Set(),
    tries: new Map(),
    acknowledged: 0,
  };
  return {
    // A path or a query may be a secret, as those of chat services are.
    describe: () => `webhook at ${new URL(options.url).origin}`,
    stoppedKeys: () => memory.keys?.list ?? [],
    retryStopped: () => {
      memory.isRetrying = true;
    },
    open: async (signal, again) => {
      try {
        return await openWebhook(options, memory, again, signal);
      } catch (cause) {
        if (cause instanceof RelayFault) throw cause;
        return failRelay({ kind: "refused", rule: "cannot use the webhook's settings" }, { cause });
      }
    },
  };
};
