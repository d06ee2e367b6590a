/**
 * One page of any listing. A walk yields what matches, each with the place where a page would begin with it; the page
 * ends when its room is taken, or where the walk pauses because one call has looked at enough. A token says where the
 * next page begins, for the same walk alone.
 */
import type { CborValue } from "@sigil/core/cbor";
import { invalidField } from "../../errors.ts";
import { pageEnvelopeBytesMax, pageSizeDefault, pageSizeMax } from "../../limits.ts";
import { formatPageToken, parsePageToken, type Authenticate, type PagePlace } from "./page-token.ts";

/** What every listing is asked. */
export type PageQuery = {
  /** 0 means the default. */
  readonly pageSize: number;
  /** Empty means the first page. */
  readonly pageToken: string;
};

/** @throws invalidField. */
export const pageSizeOf = (pageSize: number): number => {
  if (pageSize === 0) return pageSizeDefault;
  if (pageSize <= pageSizeMax) return pageSize;
  return invalidField("page_size", `must be at most ${pageSizeMax}`);
};

/** Tokens of one walk: bound to everything that the walk depends on, its caller first of all. */
export class PageTokens {
  readonly #walk: CborValue;
  readonly #authenticate: Authenticate;

  /** @param tenant whose key authenticates them. */
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

  /** Empty when there is no next page. */
  async write(place: PagePlace | undefined): Promise<string> {
    return place === undefined ? "" : formatPageToken(place, this.#walk, this.#authenticate);
  }
}

/** A match with the place of a page that begins with it, or the place where the next call goes on. */
export type Walked<Item> =
  | { readonly kind: "match"; readonly item: Item; readonly at: PagePlace }
  | { readonly kind: "pause"; readonly at: PagePlace };

/** What is left of a page: so many items, and as many bytes of what they are made from as a reply may hold. */
export class PageRoom<Item> {
  readonly #bytesOf: (item: Item) => number;
  #left: number;
  #bytes = 0;
  #isEmpty = true;

  constructor(itemsMax: number, bytesOf: (item: Item) => number = () => 0) {
    this.#left = itemsMax;
    this.#bytesOf = bytesOf;
  }

  /** How many more there may be room for. */
  get left(): number {
    return this.#left;
  }

  /** Takes one more, unless the page is full without it. One always fits, or a walk could not get past it. */
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
 * @param room takes an item unless the page is full without it.
 * @returns `next`: where the next page begins; undefined when the walk has come to its end.
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
 * A page of what is few and all at hand.
 * @param placeOf a name of an item's own. @param isFrom whether a page that begins at a place begins with this item.
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
