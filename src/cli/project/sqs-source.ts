/**
 * A FIFO queue of SQS that a relay fills as a source: CloudEvents in structured mode, received in batches of ten by
 * long polling. A message is deleted once the store has it and is kept invisible until then, so what a crash leaves is
 * delivered again. A queue tells no size: it is drained when a poll finds nothing, and it counts none. In flight are at
 * most `sqsHeldMax` messages at full speed, and `projectionReorderMax` while one is late.
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
  sqsHeldMax,
  sqsPollSeconds,
  sqsVisibilityMsMin,
} from "../../limits.ts";
import { failProjection } from "../../projections/fault.ts";
import type { LaneBatch, LaneMessage, LaneSource } from "../../projections/message.ts";
import { failRelay, RelayFault } from "../../relay/destination.ts";
import { readEvent } from "../../relay/event.ts";
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

type Received = { readonly message: LaneMessage; readonly generation: number; readonly receipt: string };

/** @throws usage for a message that no relay wrote, or one whose record cannot be verified. */
const parse = (queue: string, { Body = "", MessageId = "", ReceiptHandle = "" }: Message): Received => {
  const at = `${queue}, message ${MessageId}`;
  const { message, attributes } = parseEvent(lane, Body, at);
  return { message, generation: readEvent(attributes)?.generation ?? 0, receipt: ReceiptHandle };
};

const inTens = <Item>(items: readonly Item[]): readonly (readonly Item[])[] =>
  Array.from({ length: Math.ceil(items.length / sqsBatchEventsMax) }, (_, at) =>
    items.slice(at * sqsBatchEventsMax, (at + 1) * sqsBatchEventsMax),
  );

class QueueReader implements AsyncDisposable {
  readonly #options: SqsSourceOptions;
  readonly #queue: SqsQueue;
  readonly #visibilityMs: number;
  /** Receipts of what was handed on and is not stored yet, by position. */
  readonly #held = new Map<bigint, readonly string[]>();
  /** How often a message came before the one that it links to. */
  readonly #early = new Map<bigint, number>();
  /** Every position below is on disk. */
  #stored = 0n;
  #changed = Promise.withResolvers<void>();
  /** What is being asked for; settles at the end of a poll. */
  #asking: Promise<unknown> = Promise.resolve();

  constructor(options: SqsSourceOptions, queue: SqsQueue) {
    this.#options = options;
    this.#queue = queue;
    this.#visibilityMs = Math.max(queue.visibilityMs, sqsVisibilityMsMin);
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
        else yield batch;
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
      await this.#setVisibility([...this.#held.values()].flat(), 0, signal);
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

  async #next(signal: AbortSignal): Promise<LaneBatch | "nothing"> {
    await this.#deleteStored(signal);
    const isIdle = this.#held.size === 0;
    // One in flight keeps its group from giving more: what is stored meanwhile is deleted first.
    const received = await this.#receive(isIdle ? sqsPollSeconds : 0);
    if (received.length === 0) {
      if (isIdle && (await this.#isEmpty(signal))) return { messages: [], isDrained: true };
      return "nothing";
    }
    const messages = await this.#sort(received, signal).catch(async (cause: unknown) => {
      // Whoever goes on need not wait for them.
      const receipts = received.map(({ ReceiptHandle = "" }) => ReceiptHandle);
      await this.#setVisibility(receipts, 0, signal).catch(() => {});
      throw cause;
    });
    if (this.#held.size > sqsHeldMax) await this.#rest(this.#visibilityMs / 100, signal);
    return messages.length === 0 ? "nothing" : { messages };
  }

  async #receive(waitSeconds: number): Promise<readonly Message[]> {
    const command = new ReceiveMessageCommand({
      QueueUrl: this.#queue.url,
      MaxNumberOfMessages: sqsBatchEventsMax,
      WaitTimeSeconds: waitSeconds,
      VisibilityTimeout: this.#visibilityMs / 1000,
    });
    const { Messages = [] } = await this.#ask((client) =>
      client.send(command, sqsTimeout(unbroken, waitSeconds * 1000)),
    );
    return Messages;
  }

  /** What is new and linked is handed on; repeats are deleted, and what came too early is received again. */
  async #sort(received: readonly Message[], signal: AbortSignal): Promise<readonly LaneMessage[]> {
    const [taken, over, early]: [LaneMessage[], string[], string[]] = [[], [], []];
    const ordered = received
      .map((message) => parse(this.#options.queue, message))
      .sort((one, two) => (one.message.position < two.message.position ? -1 : 1));
    for (const { message, generation, receipt } of ordered) {
      const { position } = message;
      const receipts = this.#held.get(position);
      if (generation < this.#options.generation || position < this.#stored) over.push(receipt);
      else if (receipts !== undefined) this.#held.set(position, [...receipts, receipt]);
      else if (this.#isEarly(message)) early.push(receipt);
      else {
        this.#held.set(position, [receipt]);
        this.#early.delete(position);
        taken.push(message);
      }
    }
    await this.#delete(over, signal);
    await this.#setVisibility(early, 0, signal);
    return taken;
  }

  /**
   * In the one group of a feed each position follows the one before, also the first of a generation.
   * @throws ProjectionFault linkMissing where what it links to does not come.
   */
  #isEarly({ position }: LaneMessage): boolean {
    const prev = position === 0n ? null : position - 1n;
    if (prev === null || prev < this.#stored || this.#held.has(prev)) return false;
    const tries = (this.#early.get(position) ?? 0) + 1;
    this.#early.set(position, tries);
    const { redrive } = this.#queue;
    // Each try counts as a receive: the rest must not be moved away for it.
    const triesMax = Math.min(sqsEarlyTriesMax, (redrive?.receivesMax ?? Infinity) - 1);
    if (tries < triesMax && this.#early.size <= projectionReorderMax) return true;
    const moved = redrive === undefined ? "" : `, or was moved to ${redrive.target}`;
    const hint = `it was consumed by another one${moved}: sigil relay reset --to 0 publishes everything again, and --generation takes nothing older`;
    const taken = this.#stored === 0n ? null : this.#stored - 1n;
    return failProjection({ kind: "linkMissing", lane: this.#options.queue, position, prev, taken, hint });
  }

  async #deleteStored(signal: AbortSignal): Promise<void> {
    const done = [...this.#held].filter(([position]) => position < this.#stored);
    await this.#delete(
      done.flatMap(([, receipts]) => receipts),
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
      await pause(this.#visibilityMs / 3, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      const receipts = [...this.#held.values()].flat();
      await this.#setVisibility(receipts, this.#visibilityMs / 1000, signal).catch(() => {});
    }
  }

  /** By its own counts, of what is visible and of what others have in flight. */
  async #isEmpty(signal: AbortSignal): Promise<boolean> {
    const names = [
      "ApproximateNumberOfMessages",
      "ApproximateNumberOfMessagesNotVisible",
      "ApproximateNumberOfMessagesDelayed",
    ] as const;
    const command = new GetQueueAttributesCommand({ QueueUrl: this.#queue.url, AttributeNames: [...names] });
    const { Attributes = {} } = await this.#ask((client) => client.send(command, sqsTimeout(signal)));
    return names.every((name) => Number(Attributes[name] ?? 0) === 0);
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
