/**
 * Builds one page of any listing. A walk yields matches, each with the place where a page starting at it would begin.
 * The page ends when it is full, or where the walk pauses at its scan limit. A token says where the next page begins
 * and is valid for the same walk only.
 */
import type { CborValue } from "@sigil/core/cbor";
import { invalidField } from "../../errors.ts";
import { pageEnvelopeBytesMax, pageSizeDefault, pageSizeMax } from "../../limits.ts";
import { formatPageToken, parsePageToken, type Authenticate, type PagePlace } from "./page-token.ts";

/** Paging fields of every listing request. */
export type PageQuery = {
  /** 0 for the default. */
  readonly pageSize: number;
  /** Empty for the first page. */
  readonly pageToken: string;
};

/** @throws invalidField. */
export const pageSizeOf = (pageSize: number): number => {
  if (pageSize === 0) return pageSizeDefault;
  if (pageSize <= pageSizeMax) return pageSize;
  return invalidField("page_size", `must be at most ${pageSizeMax}`);
};

/** Tokens of one walk, bound to everything that the walk depends on, including its caller. */
export class PageTokens {
  readonly #walk: CborValue;
  readonly #authenticate: Authenticate;

  /** @param tenant whose key authenticates the tokens. */
  constructor(
    ledger: { readonly authenticate: (tenant: string, bytes: Uint8Array) => Promise<Uint8Array> },
    tenant: string,
    walk: CborValue,
  ) {
    this.#walk = walk;
    this.#authenticate = (bytes) => ledger.authenticate(tenant, bytes);
  }

  /** Undefined for the first page. @throws invalidPageToken. */
  async read(token: string): Promise<PagePlace | undefined> {
    return token === "" ? undefined : parsePageToken(token, this.#walk, this.#authenticate);
  }

  /** Empty if there is no next page. */
  async write(place: PagePlace | undefined): Promise<string> {
    return place === undefined ? "" : formatPageToken(place, this.#walk, this.#authenticate);
  }
}

/** A match and the place of a page that begins with it, or a pause and the place where the next call resumes. */
export type Walked<Item> =
  | { readonly kind: "match"; readonly item: Item; readonly at: PagePlace }
  | { readonly kind: "pause"; readonly at: PagePlace };

/** The room left in a page: a number of items, and the bytes of source records that a reply may hold. */
export class PageRoom<Item> {
  readonly #bytesOf: (item: Item) => number;
  #left: number;
  #bytes = 0;
  #isEmpty = true;

  constructor(itemsMax: number, bytesOf: (item: Item) => number = () => 0) {
    this.#left = itemsMax;
    this.#bytesOf = bytesOf;
  }

  /** Upper bound on further items. */
  get left(): number {
    return this.#left;
  }

  /** Adds an item if it fits. The first always fits, or a walk could not get past it. */
  take(item: Item): boolean {
    if (this.#left === 0) return false;
    this.#bytes += this.#bytesOf(item);
    if (!this.#isEmpty && this.#bytes > pageEnvelopeBytesMax) return false;
    this.#isEmpty = false;
    this.#left -= 1;
    return true;
  }
}

/**
 * @param room adds an item if it fits.
 * @returns `next`: where the next page begins; undefined at the end of the walk.
 */
export const takePage = async <Item>(
  walk: AsyncIterable<Walked<Item>> | Iterable<Walked<Item>>,
  room: { readonly take: (item: Item) => boolean },
): Promise<{ readonly items: readonly Item[]; readonly next: PagePlace | undefined }> => {
  const items: Item[] = [];
  for await (const step of walk) {
    if (step.kind === "pause" || !room.take(step.item)) return { items, next: step.at };
    items.push(step.item);
  }
  return { items, next: undefined };
};

/**
 * A page of a short list that is in memory.
 * @param placeOf a unique name of an item.
 * @param isFrom whether a page that begins at a place begins with this item.
 */
export const takeFew = async <Item>(
  items: readonly Item[],
  { pageSize, pageToken }: PageQuery,
  tokens: PageTokens,
  {
    placeOf,
    isFrom = (item, place) => placeOf(item) === place,
  }: {
    readonly placeOf: (item: Item) => string;
    readonly isFrom?: (item: Item, place: string) => boolean;
  },
): Promise<{ readonly items: readonly Item[]; readonly nextPageToken: string }> => {
  const [place] = (await tokens.read(pageToken)) ?? [];
  const first = items.findIndex((item) => place === undefined || isFrom(item, place as string));
  const walk = (first < 0 ? [] : items.slice(first)).map(
    (item) => ({ kind: "match", item, at: [placeOf(item)] }) as const,
  );
  const page = await takePage(walk, new PageRoom(pageSize === 0 ? Infinity : pageSize));
  return { items: page.items, nextPageToken: await tokens.write(page.next) };
};
