/**
 * A FIFO queue of SQS as a destination: CloudEvents in structured mode, a message group for each id or one for the
 * whole feed, in batches of ten. A queue cannot be read without consuming it, so the relay's cursor is the place; what
 * a crash repeats has the same deduplication id, `<generation>.<id>`, which the queue drops within five minutes and a
 * consumer afterwards.
 */
import {
  SendMessageBatchCommand,
  type BatchResultErrorEntry,
  type SendMessageBatchCommandOutput,
} from "@aws-sdk/client-sqs";
import { fromHex, utf8Encode } from "@sigil/core/bytes";
import { sha256 } from "@sigil/core/hash";
import { sqsBatchBytesMin, sqsBatchEventsMax } from "../../limits.ts";
import {
  failRelay,
  type Destination,
  type Holding,
  type OpenDestination,
  type RelayError,
} from "../destination.ts";
import { byReference, jsonLine, type RelayEvent } from "../event.ts";
import { feedGroup, type SqsGroups } from "./group.ts";
import {
  isContents,
  isContentsFault,
  kindOf,
  openSqsQueue,
  sqsError,
  sqsTimeout,
  type SqsAddress,
  type SqsQueue,
} from "./queue.ts";

export type SqsOptions = SqsAddress & {
  readonly groups: SqsGroups;
  readonly onMissing: "create" | "fail";
  /** Fault injection for tests: awaited between steps. */
  readonly onStep?: (step: SqsStep) => Promise<void>;
};

export type SqsStep = "queue found" | "sending" | "sent";

/** What a body takes beyond the headers and data by which the relay measures an event. */
const bodyBytesKept = 64;

/** Of events acknowledged in a batch that failed: they are not sent again when it is retried. */
type Acknowledged = Set<string>;

const deduplicationIdOf = ({ attributes }: RelayEvent): string =>
  `${attributes["sigilgeneration"] ?? ""}.${attributes["id"] ?? ""}`;

/** A queue refuses U+FFFE and U+FFFF, which JSON need not escape; they stand in strings only. */
const bodyOf = (event: RelayEvent): string =>
  jsonLine(event).replaceAll(/[\uFFFE\uFFFF]/g, (one) => `\\u${one.charCodeAt(0).toString(16)}`);

/** An erased record has no id left: its leaf stands for it. */
export const groupOf = ({ attributes, leaf }: RelayEvent, groups: SqsGroups): string => {
  if (groups === "feed") return feedGroup;
  const { subject } = attributes;
  const name = subject === undefined ? fromHex(leaf) : sha256(utf8Encode(subject));
  return Buffer.from(name).toString("base64url");
};

type Entry = {
  readonly event: RelayEvent;
  readonly id: string;
  readonly group: string;
  readonly body: string;
  readonly bytes: number;
};

/** By reference where the body is too large whole. */
const entryOf = (event: RelayEvent, groups: SqsGroups, messageBytesMax: number): Entry => {
  const id = deduplicationIdOf(event);
  const group = groupOf(event, groups);
  const whole = bodyOf(event);
  const wholeBytes = Buffer.byteLength(whole);
  if (wholeBytes <= messageBytesMax || event.data === undefined)
    return { event, id, group, body: whole, bytes: wholeBytes };
  const body = bodyOf(byReference(event));
  return { event, id, group, body, bytes: Buffer.byteLength(body) };
};

/**
 * In order, within the bounds of one request. An entry that fails in a request does not stop those after it: of an id
 * each has one entry, so that none is overtaken in its group.
 */
const requestsOf = (entries: readonly Entry[], bytesMax: number): readonly (readonly Entry[])[] => {
  const isAfter = (request: readonly Entry[], { group }: Entry): boolean =>
    group !== feedGroup && request.some((one) => one.group === group);
  const requests: Entry[][] = [];
  let bytes = 0;
  for (const entry of entries) {
    const last = requests.at(-1);
    const isFull = last !== undefined && (last.length >= sqsBatchEventsMax || bytes + entry.bytes > bytesMax);
    if (last === undefined || isFull || isAfter(last, entry)) {
      requests.push([entry]);
      bytes = 0;
    } else last.push(entry);
    bytes += entry.bytes;
  }
  return requests;
};

class OpenSqs implements OpenDestination {
  readonly limits: OpenDestination["limits"];
  readonly lanes?: "ids";
  readonly #options: SqsOptions;
  readonly #queue: SqsQueue;
  readonly #acknowledged: Acknowledged;

  constructor(options: SqsOptions, queue: SqsQueue, acknowledged: Acknowledged) {
    this.#options = options;
    this.#queue = queue;
    this.#acknowledged = acknowledged;
    if (options.groups === "record") this.lanes = "ids";
    this.limits = {
      messageBytesMax: queue.messageBytesMax - bodyBytesKept,
      batchEventsMax: sqsBatchEventsMax,
      batchBytesMax: sqsBatchEventsMax * queue.messageBytesMax,
    };
  }

  async lastPublished(): Promise<Holding> {
    return { kind: "unknown" };
  }

  async publish(events: readonly RelayEvent[], signal: AbortSignal): Promise<void> {
    const { messageBytesMax } = this.#queue;
    const entries = events
      .map((event) => entryOf(event, this.#options.groups, messageBytesMax))
      .filter(({ id }) => !this.#acknowledged.has(id));
    for (const request of requestsOf(entries, Math.max(messageBytesMax, sqsBatchBytesMin)))
      await this.#send(request, signal);
    this.#acknowledged.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#queue[Symbol.dispose]();
  }

  /** Nothing is sent after a failure: the next try begins with the first entry that is not acknowledged. */
  async #send(entries: readonly Entry[], signal: AbortSignal): Promise<void> {
    await this.#step("sending");
    let output: SendMessageBatchCommandOutput;
    try {
      output = await this.#queue.client.send(this.#request(entries), sqsTimeout(signal));
    } catch (cause) {
      if (isContentsFault(cause)) return this.#isolate(entries, cause, signal);
      const error = sqsError(cause, `cannot publish to the queue ${this.#options.queue}`);
      return failRelay(error, { cause });
    }
    await this.#step("sent");
    for (const { Id } of output.Successful ?? []) {
      const entry = entries[Number(Id)];
      if (entry !== undefined) this.#acknowledged.add(entry.id);
    }
    const missing = entries.findIndex(({ id }) => !this.#acknowledged.has(id));
    const first = entries[missing];
    if (first !== undefined)
      failRelay(
        failureOf(
          first,
          output.Failed?.find(({ Id }) => Id === String(missing)),
        ),
      );
  }

  #request(entries: readonly Entry[]): SendMessageBatchCommand {
    return new SendMessageBatchCommand({
      QueueUrl: this.#queue.url,
      Entries: entries.map(({ id, group, body }, index) => ({
        Id: String(index),
        MessageBody: body,
        MessageGroupId: group,
        MessageDeduplicationId: id,
      })),
    });
  }

  /** One entry is at fault, and a refused request does not say which: each is sent alone. */
  async #isolate(entries: readonly Entry[], cause: unknown, signal: AbortSignal): Promise<void> {
    const [only, ...more] = entries;
    if (more.length > 0) for (const entry of entries) await this.#send([entry], signal);
    else if (only !== undefined) {
      const { position } = only.event;
      const { rule } = sqsError(cause, `the queue does not take position ${position}`);
      failRelay({ kind: "poison", position, rule }, { cause });
    }
  }

  async #step(step: SqsStep): Promise<void> {
    await this.#options.onStep?.(step);
  }
}

const failureOf = ({ event }: Entry, failed: BatchResultErrorEntry | undefined): RelayError => {
  const { Code = "no answer", Message = "", SenderFault = false } = failed ?? {};
  const { position } = event;
  const rule = `the queue did not take position ${position}: ${Code}${Message === "" ? "" : `: ${Message}`}`;
  if (SenderFault && isContents(Code, Message)) return { kind: "poison", position, rule };
  return { kind: kindOf(Code, SenderFault), rule };
};

export const sqsDestination = (options: SqsOptions): Destination => {
  const { queue, region, endpoint, groups, onMissing } = options;
  const acknowledged: Acknowledged = new Set();
  return {
    describe: () => `SQS queue ${queue} at ${endpoint === "" ? region : endpoint}`,
    open: async (signal) => {
      const opened = await openSqsQueue(options, onMissing === "create" ? groups : "fail", signal);
      await options.onStep?.("queue found");
      return new OpenSqs(options, opened, acknowledged);
    },
  };
};
