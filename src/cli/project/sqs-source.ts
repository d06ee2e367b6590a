/**
 * A FIFO queue of SQS that a relay fills as a source: CloudEvents in structured mode, received in batches of ten by
 * long polling. A message is deleted once the store has it and is kept invisible until then, so what a crash leaves is
 * delivered again. A queue tells no size: it is drained when a poll finds nothing, and it counts none. Groups of ids
 * come in any order among each other, so what is ahead waits in flight: at most `sqsHeldMax` messages at full speed,
 * and `projectionReorderMax` while one is late.
 */
import { setTimeout as pause } from "node:timers/promises";
import {
  ChangeMessageVisibilityBatchCommand,
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  type Message,
} from "@aws-sdk/client-sqs";
import {
  projectionReorderMax,
  sqsBatchEventsMax,
  sqsEarlyTriesMax,
  sqsExtensionMs,
  sqsHeldMax,
  sqsPollSeconds,
  sqsVisibilityMsMin,
} from "../../limits.ts";
import { failProjection } from "../../projections/fault.ts";
import type { LaneBatch, LaneMessage, LaneSource } from "../../projections/message.ts";
import { failRelay, RelayFault } from "../../relay/destination.ts";
import { readEvent } from "../../relay/event.ts";
import { feedGroup } from "../../relay/sqs/group.ts";
import { openSqsQueue, sqsError, sqsTimeout, type SqsAddress, type SqsQueue } from "../../relay/sqs/queue.ts";
import { usage } from "../terminal/command.ts";
import { parseEvent } from "./event-message.ts";

const lane = "sqs";
/** A request in flight is never broken off: a poll whose client has gone takes messages that nobody gets. */
const { signal: unbroken } = new AbortController();
/** Of the pause after a failure, and of the last requests. */
const failurePauseMs = 1000;
const closeMsMax = 5000;

export type SqsSourceOptions = SqsAddress & {
  /** Messages of older generations are deleted unread. */
  readonly generation: number;
};

type Received = {
  readonly message: LaneMessage;
  readonly group: string;
  /** Position that must have come before it. */
  readonly after: bigint | null;
  readonly generation: number;
  readonly id: string;
  readonly receipt: string;
};

/** In the one group of a feed each position follows the one before, also the first of a generation. */
const linkOf = ({ position, prev }: LaneMessage, group: string): bigint | null => {
  if (group !== feedGroup) return prev;
  return position === 0n ? null : position - 1n;
};

/** @throws usage for a message that no relay wrote, or one whose record cannot be verified. */
const parse = (
  queue: string,
  { Body = "", MessageId = "", ReceiptHandle = "", Attributes }: Message,
): Received => {
  const at = `${queue}, message ${MessageId}`;
  const { message, attributes } = parseEvent(lane, Body, at);
  const group = Attributes?.MessageGroupId ?? "";
  const generation = readEvent(attributes)?.generation ?? 0;
  return { message, group, after: linkOf(message, group), generation, id: MessageId, receipt: ReceiptHandle };
};

/**
 * A place that was handed on and is not stored yet: the newest receipt of each message that brought it, by message id.
 * A redelivery replaces the receipt; another generation is another message.
 */
type Held = { readonly group: string; readonly receipts: ReadonlyMap<string, string> };

type Sorted = readonly LaneMessage[] | "nothing" | "again";

const inTens = <Item>(items: readonly Item[]): readonly (readonly Item[])[] =>
  Array.from({ length: Math.ceil(items.length / sqsBatchEventsMax) }, (_, at) =>
    items.slice(at * sqsBatchEventsMax, (at + 1) * sqsBatchEventsMax),
  );

class QueueReader implements AsyncDisposable {
  readonly #options: SqsSourceOptions;
  readonly #queue: SqsQueue;
  /** By position. */
  readonly #held = new Map<bigint, Held>();
  /** How often a message came before the one that it links to. */
  readonly #early = new Map<bigint, number>();
  /** How often the place that is next was looked for behind what is in flight. */
  #lookedBehind = 0;
  /** Every position below is on disk. */
  #stored = 0n;
  #changed = Promise.withResolvers<void>();
  /** What is being asked for; settles at the end of a poll. */
  #asking: Promise<unknown> = Promise.resolve();

  constructor(options: SqsSourceOptions, queue: SqsQueue) {
    this.#options = options;
    this.#queue = queue;
  }

  stored(next: bigint): void {
    this.#stored = next;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** Until `signal` aborts. A failure that may pass is tried again. */
  async *read(signal: AbortSignal): AsyncGenerator<LaneBatch> {
    const keeping = new AbortController();
    const keeper = this.#keepInvisible(AbortSignal.any([signal, keeping.signal]));
    try {
      while (!signal.aborted) {
        const asking = this.#next(signal).catch((cause: unknown) => this.#giveUpOn(cause));
        this.#asking = asking.catch(() => {});
        const batch = await asking;
        if (signal.aborted) return;
        if (batch === "nothing") await this.#rest(failurePauseMs, signal);
        else if (batch !== "again") yield batch;
      }
    } finally {
      keeping.abort();
      await keeper;
    }
  }

  /**
   * Waits for the poll that is under way, deletes what is stored, and lets others have the rest at once; what fails
   * comes back by itself.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#asking;
    const signal = AbortSignal.timeout(closeMsMax);
    try {
      await this.#deleteStored(signal);
      await this.#setVisibility(this.#receipts(), 0, signal);
    } catch {
      // After its visibility timeout it is delivered again, and skipped where it is stored.
    }
    this.#queue[Symbol.dispose]();
  }

  /** @throws usage for what an operator must resolve; whatever is no failure of the queue. */
  #giveUpOn(cause: unknown): "nothing" {
    if (!(cause instanceof RelayFault)) throw cause;
    return cause.error.kind === "retryable" ? "nothing" : usage(`--from: ${cause.error.rule}`);
  }

  /** "nothing" has to be waited for; "again": the queue gave messages, and none is new. */
  async #next(signal: AbortSignal): Promise<LaneBatch | "nothing" | "again"> {
    await this.#deleteStored(signal);
    // One in flight keeps its group from giving more: what is stored meanwhile is deleted first.
    const isWaiting = !this.#held.has(this.#stored);
    let received = await this.#receive(isWaiting ? sqsPollSeconds : 0, signal);
    if (received === "nothing" && isWaiting && (await this.#isEmpty(signal))) {
      if (this.#held.size === 0) return { messages: [], isDrained: true };
      received = await this.#lookBehind(signal);
    }
    if (typeof received === "string") return received;
    this.#lookedBehind = 0;
    if (this.#held.size > sqsHeldMax) await this.#rest(failurePauseMs, signal);
    return { messages: received };
  }

  /** Of what is received or extended now: extending everything in flight takes a third of it at most. */
  get #visibilitySeconds(): number {
    const ms = Math.max(this.#queue.visibilityMs, sqsVisibilityMsMin + this.#held.size * sqsExtensionMs);
    return Math.ceil(ms / 1000);
  }

  #receipts(): readonly string[] {
    return [...this.#held.values()].flatMap(({ receipts }) => [...receipts.values()]);
  }

  /** @returns what is new; "again" where it gave repeats alone; "nothing" where it gave none, or too early ones. */
  async #receive(waitSeconds: number, signal: AbortSignal): Promise<Sorted> {
    const received = await this.#poll(waitSeconds);
    if (received.length === 0) return "nothing";
    return this.#sort(received, signal).catch(async (cause: unknown) => {
      // Whoever goes on need not wait for them.
      const receipts = received.map(({ ReceiptHandle = "" }) => ReceiptHandle);
      await this.#setVisibility(receipts, 0, signal).catch(() => {});
      throw cause;
    });
  }

  async #poll(waitSeconds: number): Promise<readonly Message[]> {
    const command = new ReceiveMessageCommand({
      QueueUrl: this.#queue.url,
      MaxNumberOfMessages: sqsBatchEventsMax,
      WaitTimeSeconds: waitSeconds,
      VisibilityTimeout: this.#visibilitySeconds,
      MessageSystemAttributeNames: ["MessageGroupId"],
    });
    const { Messages = [] } = await this.#ask((client) =>
      client.send(command, sqsTimeout(unbroken, waitSeconds * 1000)),
    );
    return Messages;
  }

  /** What is new and linked is handed on; repeats are deleted, and what came too early is received again. */
  async #sort(received: readonly Message[], signal: AbortSignal): Promise<Sorted> {
    const [taken, over, early]: [LaneMessage[], string[], Received[]] = [[], [], []];
    const ordered = received
      .map((message) => parse(this.#options.queue, message))
      .sort((one, two) => (one.message.position < two.message.position ? -1 : 1));
    for (const one of ordered) {
      const { message, group, generation, id, receipt } = one;
      const { position } = message;
      const held = this.#held.get(position);
      if (held !== undefined)
        this.#held.set(position, { group, receipts: new Map([...held.receipts, [id, receipt]]) });
      else if (generation < this.#options.generation || position < this.#stored) over.push(receipt);
      else if (this.#isEarly(one)) early.push(one);
      else {
        this.#held.set(position, { group, receipts: new Map([[id, receipt]]) });
        this.#early.delete(position);
        taken.push(message);
      }
    }
    // While others come, what it links to may be among those behind them.
    if (taken.length === 0) for (const one of early) this.#countEarly(one);
    await this.#delete(over, signal);
    const receipts = early.map(({ receipt }) => receipt);
    await this.#setVisibility(receipts, 0, signal);
    if (taken.length > 0) return taken;
    return early.length > 0 ? "nothing" : "again";
  }

  #isEarly({ after }: Received): boolean {
    return after !== null && after >= this.#stored && !this.#held.has(after);
  }

  /** @throws ProjectionFault linkMissing where what it links to does not come. */
  #countEarly({ message: { position }, after: prev }: Received): void {
    const tries = (this.#early.get(position) ?? 0) + 1;
    this.#early.set(position, tries);
    if (tries < this.#triesMax() && this.#early.size <= projectionReorderMax) return;
    const hint = this.#lossHint();
    const taken = this.#stored === 0n ? null : this.#stored - 1n;
    failProjection({ kind: "linkMissing", lane: this.#options.queue, position, prev, taken, hint });
  }

  /** Each try counts as a receive: the rest must not be moved away for it. */
  #triesMax(): number {
    const { redrive } = this.#queue;
    return Math.min(sqsEarlyTriesMax, (redrive?.receivesMax ?? Infinity) - 1);
  }

  /**
   * The place that is next may be behind one in flight in its group, where somebody swapped them. Groups are let go one
   * by one: a request then gives the first ten messages of the group, and of several groups at once it would cut one.
   * @throws ProjectionFault positionMissing where it does not come all the same.
   */
  async #lookBehind(signal: AbortSignal): Promise<Sorted> {
    this.#lookedBehind += 1;
    if (this.#lookedBehind >= this.#triesMax()) return this.#failMissing();
    for (const [group, entries] of Map.groupBy(this.#held, ([, held]) => held.group)) {
      for (const [position] of entries) this.#held.set(position, { group, receipts: new Map() });
      const receipts = entries.flatMap(([, held]) => [...held.receipts.values()]);
      await this.#setVisibility(receipts, 0, signal);
      const received = await this.#receive(sqsPollSeconds, signal);
      if (typeof received !== "string") return received;
    }
    return "nothing";
  }

  #failMissing(): never {
    const [first = this.#stored, ...more] = this.#held.keys();
    const found = more.reduce((least, one) => (one < least ? one : least), first);
    return failProjection({ kind: "positionMissing", expected: this.#stored, found, hint: this.#lossHint() });
  }

  #lossHint(): string {
    const { redrive } = this.#queue;
    const moved = redrive === undefined ? "" : `, or was moved to ${redrive.target}`;
    return `it was consumed by another one${moved}: sigil relay reset --to 0 publishes everything again, and --generation takes nothing older`;
  }

  async #deleteStored(signal: AbortSignal): Promise<void> {
    const done = [...this.#held].filter(([position]) => position < this.#stored);
    await this.#delete(
      done.flatMap(([, { receipts }]) => [...receipts.values()]),
      signal,
    );
    for (const [position] of done) this.#held.delete(position);
  }

  /** A receipt that is over is no failure: the message comes again. */
  async #delete(receipts: readonly string[], signal: AbortSignal): Promise<void> {
    for (const ten of inTens(receipts)) {
      const Entries = ten.map((ReceiptHandle, at) => ({ Id: String(at), ReceiptHandle }));
      const command = new DeleteMessageBatchCommand({ QueueUrl: this.#queue.url, Entries });
      await this.#ask((client) => client.send(command, sqsTimeout(signal)));
    }
  }

  async #setVisibility(receipts: readonly string[], seconds: number, signal: AbortSignal): Promise<void> {
    for (const ten of inTens(receipts)) {
      const Entries = ten.map((ReceiptHandle, at) => ({
        Id: String(at),
        ReceiptHandle,
        VisibilityTimeout: seconds,
      }));
      const command = new ChangeMessageVisibilityBatchCommand({ QueueUrl: this.#queue.url, Entries });
      await this.#ask((client) => client.send(command, sqsTimeout(signal)));
    }
  }

  /** While a batch waits to be stored. A failure is made up for by the next turn, or by a redelivery. */
  async #keepInvisible(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(Math.max(this.#queue.visibilityMs, sqsVisibilityMsMin) / 3, undefined, { signal }).catch(
        () => {},
      );
      if (signal.aborted) return;
      await this.#setVisibility(this.#receipts(), this.#visibilitySeconds, signal).catch(() => {});
    }
  }

  /**
   * By its own counts nobody else has messages in flight, and none is to be had: those that are behind one in flight in
   * their group are not.
   */
  async #isEmpty(signal: AbortSignal): Promise<boolean> {
    const names = [
      "ApproximateNumberOfMessages",
      "ApproximateNumberOfMessagesNotVisible",
      "ApproximateNumberOfMessagesDelayed",
    ] as const;
    const command = new GetQueueAttributesCommand({ QueueUrl: this.#queue.url, AttributeNames: [...names] });
    const { Attributes = {} } = await this.#ask((client) => client.send(command, sqsTimeout(signal)));
    const [visible, inFlight, delayed] = names.map((name) => Number(Attributes[name] ?? 0)) as [
      number,
      number,
      number,
    ];
    // Of a place that came twice both are in flight.
    if (delayed > 0 || inFlight > this.#receipts().length) return false;
    return visible === 0 || this.#held.size > 0;
  }

  /** @throws RelayFault. */
  async #ask<Output>(send: (client: SqsQueue["client"]) => Promise<Output>): Promise<Output> {
    try {
      return await send(this.#queue.client);
    } catch (cause) {
      return failRelay(sqsError(cause, `cannot read the queue ${this.#options.queue}`), { cause });
    }
  }

  /** Ends early when more is stored. */
  async #rest(ms: number, signal: AbortSignal): Promise<void> {
    if ([...this.#held.keys()].some((position) => position < this.#stored)) return;
    const resting = new AbortController();
    const both = AbortSignal.any([signal, resting.signal]);
    await Promise.race([this.#changed.promise, pause(ms, undefined, { signal: both }).catch(() => {})]);
    resting.abort();
  }
}

/** @throws usage for a queue that cannot be read. */
export const openSqsSource = async (
  options: SqsSourceOptions,
): Promise<AsyncDisposable & { readonly source: LaneSource }> => {
  const { signal } = new AbortController();
  const queue = await openSqsQueue(options, "fail", signal).catch((cause: unknown) => {
    if (cause instanceof RelayFault) return usage(`--from: ${cause.error.rule}`);
    throw cause;
  });
  const reader = new QueueReader(options, queue);
  return {
    source: {
      after: (_, call) => reader.read(call.signal),
      stored: (next) => reader.stored(next),
    },
    [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
  };
};
