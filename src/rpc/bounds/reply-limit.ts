/**
 * The size limit of a reply: the caller's `sigil-reply-bytes-max`, at most the configured limit. A page that exceeds it
 * is requested again with fewer items, so that following the tokens still yields everything; a batch whose replies may
 * exceed it is refused before anything is decided.
 */
import type { Metadata } from "@grpc/grpc-js";
import type { CallContext } from "../../identity/caller.ts";
import { fail, invalidField } from "../../errors.ts";
import { messageBytesMax, replyBytesMin } from "../../limits.ts";

const replyBytesKey = "sigil-reply-bytes-max";
const wholeNumber = /^[1-9][0-9]{0,14}$/;

/** @throws invalidField. */
export const replyBytesMaxOf = (metadata: Metadata, configured = messageBytesMax): number => {
  const [given, second] = metadata.get(replyBytesKey);
  if (given === undefined) return configured;
  const isNumber = second === undefined && typeof given === "string" && wholeNumber.test(given);
  if (!isNumber || Number(given) < replyBytesMin) {
    const rule = `must be one whole number from ${replyBytesMin}: the bytes that the caller takes`;
    return invalidField(replyBytesKey, rule);
  }
  return Math.min(configured, Number(given));
};

/** Default: gRPC's message limit. */
export const replyLimitOf = ({
  replyBytesMax = messageBytesMax,
}: Pick<CallContext, "replyBytesMax">): number => replyBytesMax;

export type Encoder<Message> = { encode(message: Message): { finish(): Uint8Array } };

export const encodedBytes = <Message>(type: Encoder<Message>, message: Message): number =>
  type.encode(message).finish().length;

/** Bytes of a page besides its items: token and ledger size. */
const pageHeadBytes = 2048;
/** Retries: a page of the newest items may have different items when it is requested again. */
const triesMax = 4;

/** Length of the longest prefix of items that fits in `bytesMax`. */
export const fittingCount = (itemBytes: readonly number[], bytesMax: number): number => {
  let left = bytesMax;
  // Each item has a tag and a length.
  const past = itemBytes.findIndex((bytes) => (left -= bytes + 8) < 0);
  return past < 0 ? itemBytes.length : past;
};

/** A listing: its reply has items under one name, and the token of the next page. */
export type Listing<Query, Name extends string, Item, Reply> = {
  readonly message: Encoder<Reply>;
  readonly items: Name;
  readonly item: Encoder<Item>;
  readonly query: Query;
  /** Requests a page of at most the query's `pageSize` items. */
  readonly list: (query: Query) => Promise<Reply>;
  /** Steps that shorten a page of one item by removing parts available elsewhere. */
  readonly shorter?: readonly ((reply: Reply) => Reply)[];
};

/**
 * Builds one page within the reply limit: as many items as requested, or as fit.
 * @throws tooLarge if not even one item fits, and what `list` throws.
 */
export const answerPage = async <
  Query extends { readonly pageSize: number },
  Name extends string,
  Item,
  Reply extends Readonly<Record<Name, readonly Item[]>>,
>(
  { message, items, item, query, list, shorter = [] }: Listing<Query, Name, Item, Reply>,
  call: Pick<CallContext, "replyBytesMax">,
): Promise<Reply> => {
  const limit = replyLimitOf(call);
  let asked = query;
  for (let tries = 0; tries < triesMax; tries += 1) {
    const reply = await list(asked);
    if (encodedBytes(message, reply) <= limit) return reply;
    const bytes = reply[items].map((each) => encodedBytes(item, each));
    if (bytes.length <= 1) return fitOne(message, reply, shorter, limit);
    const pageSize = Math.max(1, Math.min(bytes.length - 1, fittingCount(bytes, limit - pageHeadBytes)));
    asked = { ...query, pageSize };
  }
  return fitOne(message, await list({ ...query, pageSize: 1 }), shorter, limit);
};

/** Shortens a reply that has no pages by removing parts available elsewhere. @throws tooLarge */
export const fitOne = <Reply>(
  message: Encoder<Reply>,
  reply: Reply,
  shorter: readonly ((reply: Reply) => Reply)[],
  limit: number,
): Reply => {
  const bytes = encodedBytes(message, reply);
  if (bytes <= limit) return reply;
  for (const shorten of shorter) {
    const short = shorten(reply);
    if (encodedBytes(message, short) <= limit) return short;
  }
  return fail({ kind: "tooLarge", what: "the reply", bytes, limit });
};

/**
 * Checks, before a batch is decided, that the largest possible reply fits.
 * @param answerBytes maximum per item.
 * @throws invalidField naming the number that would fit.
 */
export const requireRoom = (
  field: string,
  answerBytes: readonly number[],
  call: Pick<CallContext, "replyBytesMax">,
): void => {
  const limit = replyLimitOf(call);
  const fits = fittingCount(answerBytes, limit);
  if (fits >= answerBytes.length) return;
  const [only = 0] = answerBytes;
  if (answerBytes.length === 1) {
    const rule = `is too long: its answer may take ${only} bytes, and a reply ${limit}`;
    invalidField(field, rule);
  }
  const rule = `must be at most ${fits}, got ${answerBytes.length}: the answers to more may not fit the ${limit} bytes of a reply`;
  invalidField(field, rule);
};
