/**
 * Limits received bytes: a message longer than `intakeFreeBytes` takes a permit from its connection's and the total
 * budget once its length is known, or before it is decompressed, and releases it when it is answered. A waiting call
 * holds at most one frame, compressed, and is not read further (backpressure); a cancelled one leaves the queue.
 * Source: gRPC over HTTP/2, "Message-Encoding".
 */
import { constants } from "node:http2";
import { status as Code, type ServerInterceptor } from "@grpc/grpc-js";
import { SigilFault, type SigilError } from "../../errors.ts";
import { expansionsMax, intakeFreeBytes, intakeMessageMsMax, intakeWaitersMax } from "../../limits.ts";
import { ByteBudget, type Permit } from "./byte-budget.ts";
import { expand, ExpansionError, isCompression } from "./expand.ts";
import { muteTimeouts, onEachCall, readingMessage, type BaseCall, type CallStatus } from "./insides.ts";
import { serviceErrorOf, statusOf } from "../status.ts";

export type IntakeOptions = {
  readonly messageBytesMax: number;
  readonly bytesMax: number;
  readonly bytesPerConnectionMax: number;
  readonly newId: () => string;
  readonly onRefused: (reason: string) => void;
};

/** Maximum expansion factor of DEFLATE. Source: zlib, "Maximum Expansion Factor". */
const expansionMax = 1032;

const prefixBytes = 5;

const unknownEncoding = (): CallStatus => {
  const details = "grpc-encoding must be one of identity, gzip, deflate";
  return Object.assign(new Error(details), { code: Code.UNIMPLEMENTED, details });
};

/** Permits by what they cover: first a message's bytes, then the decoded message. */
const permits = new WeakMap<object, Permit>();

/** Transfers the permit from the bytes to the decoded message. */
export const carryPermit = <Message>(bytes: object, message: Message): Message => {
  const permit = permits.get(bytes);
  if (permit !== undefined) permits.set(message as object, permit);
  return message;
};

/** Releases a request's permit when the request is no longer needed. The end of its stream does the same. */
export const releaseRequest = (message: unknown): void => permits.get(message as object)?.release();

const late: SigilError = { kind: "deadlineExceeded", deadlineMs: intakeMessageMsMax };

const lineFull: SigilError = {
  kind: "overQuota",
  reason: "INTAKE_LINE",
  limit: intakeWaitersMax,
  rule: "too many long messages of this connection wait to be read; send fewer at once",
};

/** One call that sends a long message. */
class Sender {
  readonly #call: BaseCall;
  readonly #intake: Intake;
  readonly #connection: object;
  readonly #gone = new AbortController();
  readonly #held = new Set<Permit>();
  #begun: { readonly permit: Permit | Promise<Permit>; readonly timer: NodeJS.Timeout } | undefined;

  constructor(call: BaseCall, intake: Intake) {
    this.#call = call;
    this.#intake = intake;
    this.#connection = call.stream.session ?? call.stream;
    call.stream.once("close", () => this.#close());
  }

  /** A message is incomplete: reads on once there is a permit for all of it. */
  begin(bytes: number): void {
    if (this.#begun !== undefined || this.#gone.signal.aborted) return;
    try {
      const permit = this.#take(bytes);
      this.#begun = { permit, timer: setTimeout(() => this.#late(), intakeMessageMsMax) };
      if (permit instanceof Promise) this.#readOnWith(permit);
    } catch (error) {
      this.#call.sendStatus(this.#intake.statusOf(error));
    }
  }

  /** Reads a message under a permit. @returns its bytes, decompressed. @throws a status. */
  async read(bytes: number, read: () => Buffer | Promise<Buffer>): Promise<Buffer> {
    const begun = this.#begun;
    this.#begun = undefined;
    clearTimeout(begun?.timer);
    try {
      const taken = begun?.permit ?? this.#take(bytes);
      const permit = taken instanceof Promise ? await this.#granted(taken) : taken;
      const message = await this.#readWith(permit, read);
      permits.set(message, permit);
      return message;
    } catch (error) {
      throw this.#intake.statusOf(error);
    }
  }

  #take(bytes: number): Permit | Promise<Permit> {
    const permit = this.#intake.budget.take(this.#connection, bytes, this.#gone.signal);
    return permit instanceof Promise ? permit.then((granted) => this.#keep(granted)) : this.#keep(permit);
  }

  /**
   * Holds the permit until the decompression has ended, even if the call is cancelled: otherwise thousands of cancelled
   * calls would start all at once.
   */
  async #readWith(permit: Permit, read: () => Buffer | Promise<Buffer>): Promise<Buffer> {
    this.#held.delete(permit);
    try {
      if (this.#isGone) throw new SigilFault({ kind: "cancelled" });
      const message = await read();
      permit.shrink(message.length);
      this.#keep(permit);
      return message;
    } catch (error) {
      permit.release();
      throw error;
    }
  }

  /** Decompresses in its connection's turn. */
  async expand(expansion: () => Promise<Buffer>): Promise<Buffer> {
    const taken = this.#intake.expansions.take(this.#connection, 1, this.#gone.signal);
    const turn = taken instanceof Promise ? await this.#granted(taken) : taken;
    try {
      if (this.#isGone) throw new SigilFault({ kind: "cancelled" });
      return await expansion();
    } finally {
      turn.release();
    }
  }

  /** Waits for a turn of the event loop, so that calls cancelled together are all removed before any is granted. */
  async #granted(taken: Promise<Permit>): Promise<Permit> {
    const permit = await taken;
    await new Promise((resolve) => setImmediate(resolve));
    return permit;
  }

  get #isGone(): boolean {
    const { stream } = this.#call;
    return (
      this.#gone.signal.aborted || stream.destroyed || stream.closed || stream.session?.destroyed === true
    );
  }

  #keep(permit: Permit): Permit {
    if (this.#gone.signal.aborted) permit.release();
    for (const each of this.#held) if (each.bytes === 0) this.#held.delete(each);
    this.#held.add(permit);
    return permit;
  }

  #readOnWith(permit: Promise<Permit>): void {
    this.#call.stream.pause();
    permit.then(
      () => {
        const { isReadPending, readQueue, stream } = this.#call;
        if (isReadPending && readQueue.length === 0) stream.resume();
      },
      // Ignored: the call was cancelled.
      () => {},
    );
  }

  #late(): void {
    this.#call.sendStatus(this.#intake.statusOf(new SigilFault(late)));
    this.#call.stream.close(constants.NGHTTP2_CANCEL);
  }

  #close(): void {
    clearTimeout(this.#begun?.timer);
    this.#gone.abort(new SigilFault({ kind: "cancelled" }));
    for (const permit of this.#held) permit.release();
  }
}

/** The intake limit of one server. */
export class Intake {
  readonly budget: ByteBudget;
  /** One a connection, so that nobody's decompressions keep the thread pool from the store. */
  readonly expansions: ByteBudget;
  readonly #messageBytesMax: number;
  readonly #newId: () => string;
  readonly #onRefused: (reason: string) => void;

  constructor({ messageBytesMax, bytesMax, bytesPerConnectionMax, newId, onRefused }: IntakeOptions) {
    this.#messageBytesMax = messageBytesMax;
    this.#newId = newId;
    this.#onRefused = onRefused;
    // The largest message must fit.
    const bytesPerHolderMax = Math.max(bytesPerConnectionMax, messageBytesMax);
    this.budget = new ByteBudget({
      bytesMax: Math.max(bytesMax, bytesPerHolderMax),
      bytesPerHolderMax,
      waitersMax: intakeWaitersMax,
      refuse: () => new SigilFault(lineFull),
    });
    this.expansions = new ByteBudget({
      bytesMax: expansionsMax,
      bytesPerHolderMax: 1,
      waitersMax: intakeWaitersMax,
      refuse: () => new SigilFault(lineFull),
    });
  }

  /** Upper bound on the bytes of a message of `sentBytes`. */
  weigh(sentBytes: number, isCompressed: boolean): number {
    return isCompressed ? Math.min(sentBytes * expansionMax, this.#messageBytesMax) : sentBytes;
  }

  statusOf(error: unknown): CallStatus {
    if (error instanceof ExpansionError) return error;
    if (error instanceof SigilFault && error.error.kind === "overQuota") this.#onRefused(error.error.reason);
    const requestId = this.#newId();
    return serviceErrorOf(statusOf(error, { requestId, report: () => requestId }), requestId);
  }

  /** Applies the limit to each call of a server. */
  get interceptor(): ServerInterceptor {
    const senders = new WeakMap<BaseCall, Sender>();
    const senderOf = (call: BaseCall): Sender => {
      const known = senders.get(call);
      if (known !== undefined) return known;
      const sender = new Sender(call, this);
      senders.set(call, sender);
      return sender;
    };
    return onEachCall((call) => {
      muteTimeouts(call);
      const { handleDataFrame, decompressMessage } = call;
      call.handleDataFrame = (data) => {
        handleDataFrame.call(call, data);
        const { readState, readMessageSize } = call.decoder;
        if (readState !== readingMessage) return;
        const bytes = this.weigh(readMessageSize, call.incomingEncoding !== "identity");
        if (bytes > intakeFreeBytes) senderOf(call).begin(bytes);
      };
      call.decompressMessage = (message, encoding) => {
        const sentBytes = message.length - prefixBytes;
        if (encoding === "identity") {
          const plain = (): Buffer | Promise<Buffer> => decompressMessage.call(call, message, encoding);
          return sentBytes > intakeFreeBytes ? senderOf(call).read(sentBytes, plain) : plain();
        }
        if (!isCompression(encoding)) throw unknownEncoding();
        const bytes = this.weigh(sentBytes, true);
        const expansion = (): Promise<Buffer> =>
          expand(message.subarray(prefixBytes), encoding, this.#messageBytesMax);
        if (bytes <= intakeFreeBytes) return expansion();
        const sender = senderOf(call);
        return sender.read(bytes, () => sender.expand(expansion));
      };
    });
  }
}
