/**
 * What a reply may weigh: what its caller takes (`sigil-reply-bytes-max`), the configured limit at most. A page that is
 * longer is asked for again with as many items as fit, so that whoever follows the tokens gets everything; a batch
 * whose answers might be longer is refused before anything is decided.
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

/** A caller that says nothing takes what gRPC takes. */
export const replyLimitOf = ({
  replyBytesMax = messageBytesMax,
}: Pick<CallContext, "replyBytesMax">): number => replyBytesMax;

export type Encoder<Message> = { encode(message: Message): { finish(): Uint8Array } };

export const encodedBytes = <Message>(type: Encoder<Message>, message: Message): number =>
  type.encode(message).finish().length;

/** Beside the items of a page: its token and the ledger's size. */
const pageHeadBytes = 2048;
/** A page that begins at the newest end may hold other items when it is asked for again. */
const triesMax = 4;

/** The longest of a list's beginnings whose items take no more than that. */
export const fittingCount = (itemBytes: readonly number[], bytesMax: number): number => {
  let left = bytesMax;
  // A tag and a length stand before each.
  const past = itemBytes.findIndex((bytes) => (left -= bytes + 8) < 0);
  return past < 0 ? itemBytes.length : past;
};

/** A listing: its reply has items under one name, and the token of the page after it. */
export type Listing<Query, Name extends string, Item, Reply> = {
  readonly message: Encoder<Reply>;
  readonly items: Name;
  readonly item: Encoder<Item>;
  readonly query: Query;
  /** A page of the service's, with at most the query's `pageSize` items. */
  readonly list: (query: Query) => Promise<Reply>;
  /** A page of one item, in turn without what can be had elsewhere. */
  readonly shorter?: readonly ((reply: Reply) => Reply)[];
};

/**
 * One page of any listing, within the bytes its caller takes: as many items as were asked for, or as fit.
 * @throws tooLarge when not even one item fits, and what `list` throws.
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

/** A reply that cannot be cut into pages, in turn without what can be had elsewhere. @throws tooLarge */
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
 * Before a batch is decided: the answers to all of it fit, whatever they are.
 * @param answerBytes of each item, at most. @throws invalidField naming the number that would fit.
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
