/**
 * Limits the bytes of replies in progress or unread. A call with a possibly long reply reserves its maximum before
 * reading anything, shrinks the reservation to the actual size, and releases it when the caller has read the reply.
 * Limits per caller and in total; an unread reply is aborted only if other calls wait for its bytes.
 */
import { SigilFault, type SigilError } from "../../errors.ts";
import { replyUnreadMsMax, replyWaitersMax, replyWatchMs } from "../../limits.ts";
import { callerKey, type Caller, type Room } from "../../identity/caller.ts";
import { ByteBudget, type Permit } from "./byte-budget.ts";

export type ReplyBounds = {
  readonly messageBytesMax: number;
  readonly bytesMax: number;
  readonly bytesPerCallerMax: number;
};

const lineFull: SigilError = {
  kind: "overQuota",
  reason: "REPLY_LINE",
  limit: replyWaitersMax,
  rule: "too many calls of this caller wait for room for their long answers; read those that are there, and call fewer at once",
};

const unread: SigilError = {
  kind: "overQuota",
  reason: "REPLY_UNREAD",
  limit: replyUnreadMsMax,
  rule: "the answer was not read while others waited; call again, and read it as it comes",
};

/** Sizes of serialised replies, recorded during serialisation. */
const sizes = new WeakMap<object, number>();

export const noteReplySize = (reply: object, bytes: number): void => void sizes.set(reply, bytes);

/** The reply budget held by one call. */
export class ReplyRoom implements Room {
  readonly #replies: Replies;
  readonly #holder: string;
  readonly #bytes: number;
  readonly #signal: AbortSignal;
  #permit: Permit | undefined;
  /** Time from which its caller could read the reply; undefined if there is none. */
  sentMs: number | undefined;
  #breakOff: (fault: SigilFault) => void = () => {};

  constructor(replies: Replies, caller: Caller, bytes: number, signal: AbortSignal) {
    this.#replies = replies;
    this.#holder = callerKey(caller);
    this.#bytes = bytes;
    this.#signal = signal;
  }

  get isHeld(): boolean {
    return this.#permit !== undefined;
  }

  async enter(): Promise<void> {
    this.leave();
    const taken = this.#replies.take(this.#holder, this.#bytes, this.#signal);
    const permit = taken instanceof Promise ? await taken : taken;
    if (!this.#signal.aborted) this.#permit = permit;
    else permit.release();
  }

  /** The reply has been handed to the transport. @param breakOff aborts the call if it is not read in time. */
  sent(reply: object, breakOff: (fault: SigilFault) => void): void {
    const bytes = sizes.get(reply);
    if (bytes !== undefined) this.#permit?.shrink(bytes);
    this.#breakOff = breakOff;
    if (!this.isHeld) return;
    this.sentMs = this.#replies.nowMs();
    this.#replies.unread.add(this);
  }

  /** The caller has read it. */
  read(): void {
    this.sentMs = undefined;
    this.#replies.unread.delete(this);
  }

  leave(): void {
    this.read();
    this.#permit?.release();
    this.#permit = undefined;
  }

  breakOff(): void {
    this.leave();
    this.#breakOff(new SigilFault(unread));
  }
}

export class Replies {
  readonly budget: ByteBudget;
  readonly nowMs: () => number;
  /** Oldest first. */
  readonly unread = new Set<ReplyRoom>();
  readonly #messageBytesMax: number;
  #watch: NodeJS.Timeout | undefined;

  constructor({ messageBytesMax, bytesMax, bytesPerCallerMax }: ReplyBounds, nowMs: () => number) {
    this.#messageBytesMax = messageBytesMax;
    this.nowMs = nowMs;
    const bytesPerHolderMax = Math.max(bytesPerCallerMax, messageBytesMax);
    this.budget = new ByteBudget({
      bytesMax: Math.max(bytesMax, bytesPerHolderMax),
      bytesPerHolderMax,
      waitersMax: replyWaitersMax,
      refuse: () => new SigilFault(lineFull),
    });
  }

  /** @param bytes maximum size of the reply; capped at the message limit. */
  roomOf(caller: Caller, bytes: number, signal: AbortSignal): ReplyRoom {
    return new ReplyRoom(this, caller, Math.min(bytes, this.#messageBytesMax), signal);
  }

  take(holder: string, bytes: number, signal: AbortSignal): Permit | Promise<Permit> {
    const taken = this.budget.take(holder, bytes, signal);
    if (taken instanceof Promise)
      this.#watch ??= setInterval(() => this.lookAtUnread(), replyWatchMs).unref();
    return taken;
  }

  /** Checks unread replies while calls are waiting. */
  lookAtUnread(): void {
    if (this.budget.waiting === 0) {
      clearInterval(this.#watch);
      this.#watch = undefined;
      return;
    }
    const latestMs = this.nowMs() - replyUnreadMsMax;
    for (const room of this.unread) {
      if (!this.budget.isFull || (room.sentMs ?? Infinity) > latestMs) return;
      room.breakOff();
    }
  }
}
