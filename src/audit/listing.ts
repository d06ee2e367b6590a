/**
 * One page of a walk over recorded decisions: the index shortlists, the opened and verified record decides. A page ends
 * at its size, at the bytes a reply may have, or at the bound of what one call opens or the time it takes, and says where the next
 * begins.
 */
import type { CborValue } from "@sigil/core/cbor";
import { fail } from "../errors.ts";
import {
  listCandidatesMax,
  listWalkMsMax,
  pageEnvelopeBytesMax,
  pageSizeDefault,
  pageSizeMax,
} from "../limits.ts";
import { parseFrozenChain } from "@sigil/core/record";
import type { Caller } from "../identity/caller.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import { formatPageToken, parsePageToken, type PagePlace } from "../ledger/layout/page-token.ts";
import { ReadAhead } from "../ledger/read/read-ahead.ts";
import type { AuditedChain, ChainPage, ChainQuery } from "./evidence.ts";
import { filterOf, matches } from "./filter.ts";
import type { WalkTurns } from "./walk-turns.ts";

export type CompileGlob = (glob: string) => (target: string) => boolean;

type ReadLedger = Pick<LedgerReader, "size" | "authenticate" | "decisions" | "readAt">;

export type ListingDependencies = {
  readonly ledger: ReadLedger;
  /** Matches targets as trust models do. @throws invalidField naming target_glob. */
  readonly compileGlob: CompileGlob;
  /** In milliseconds, from any moment on. */
  readonly clock: () => number;
  /** All listings share them. */
  readonly turns: WalkTurns;
};

/** What a page token is bound to: another caller, filter or order makes another walk. */
const walkOf = (caller: Caller, tenant: string, query: ChainQuery): CborValue => [
  caller.principal,
  tenant,
  query.principal,
  query.action,
  query.targetGlob,
  query.targetPrefix,
  query.reason,
  query.session,
  query.verdict ?? null,
  query.fromMs ?? null,
  query.untilMs ?? null,
  query.fromPosition,
  query.order,
];

/** The ledger size a walk is pinned to, and the next position in its order. The token is our own: its shape is certain. */
const readPlace = ([size, next]: PagePlace) => ({
  size: BigInt(size as number),
  next: BigInt(next as number),
});

/** Who lists which tenant's decisions, and by what. */
export type Listing = { readonly caller: Caller; readonly tenant: string; readonly query: ChainQuery };

const pageSizeOf = ({ pageSize }: ChainQuery): number => {
  if (pageSize === 0) return pageSizeDefault;
  if (pageSize <= pageSizeMax) return pageSize;
  return fail({ kind: "invalidField", field: "page_size", rule: `must be at most ${pageSizeMax}` });
};

/** Verified decisions that match, until the page is full. */
class Page {
  readonly #ledger: ReadLedger;
  readonly #tenant: string;
  readonly #matches: (audited: AuditedChain) => boolean;
  readonly #size: number;
  readonly chains: AuditedChain[] = [];
  readonly #readAhead = new ReadAhead();
  #candidates: bigint[] = [];
  #bytes = 0;
  /** Records read for this page, or about to be. */
  opened = 0;
  /** Where the next page begins; undefined while this one has room. */
  next: bigint | undefined;

  constructor(ledger: ReadLedger, tenant: string, size: number, matches: (audited: AuditedChain) => boolean) {
    this.#ledger = ledger;
    this.#tenant = tenant;
    this.#size = size;
    this.#matches = matches;
  }

  /** True when `position` has to wait for the next page. */
  async isFullBefore(position: bigint): Promise<boolean> {
    // Never more candidates than the page has room for, so that none is read in vain.
    if (this.#candidates.length >= this.#readAhead.next(this.#size - this.chains.length)) await this.flush();
    if (this.next === undefined && this.chains.length === this.#size) this.next = position;
    return this.next !== undefined;
  }

  add(position: bigint): void {
    this.#candidates.push(position);
    this.opened += 1;
  }

  /** What was added is still looked at; the page then ends there, or before. */
  endBefore(position: bigint): void {
    this.next = position;
  }

  async flush(): Promise<void> {
    const read = await Promise.all(
      this.#candidates.map((position) => this.#ledger.readAt(position, this.#tenant)),
    );
    this.#candidates = [];
    this.#readAhead.took(read.map(({ envelope }) => envelope));
    for (const record of read) {
      const audited = { record, chain: parseFrozenChain(record.body.payload) };
      if (!this.#matches(audited)) continue;
      this.#bytes += record.envelope.length;
      // One decision always fits a reply; many with their inputs kept may not.
      if (this.chains.length > 0 && this.#bytes > pageEnvelopeBytesMax) {
        this.next = record.position;
        return;
      }
      this.chains.push(audited);
    }
  }
}

/** @throws invalidPageToken, invalidField, sizeOutOfRange, recordCorrupt naming the position, erased, cancelled. */
export const listChains = async (
  { ledger, compileGlob, clock, turns }: ListingDependencies,
  { caller, tenant, query }: Listing,
  signal: AbortSignal,
): Promise<ChainPage> => {
  const pageSize = pageSizeOf(query);
  const glob = query.targetGlob === "" ? () => true : compileGlob(query.targetGlob);
  const walk = walkOf(caller, tenant, query);
  const authenticate = (bytes: Uint8Array): Promise<Uint8Array> => ledger.authenticate(tenant, bytes);
  const token =
    query.pageToken === "" ? undefined : readPlace(await parsePageToken(query.pageToken, walk, authenticate));
  const size = token?.size ?? ledger.size;
  // Whoever has seen more than there is follows another ledger: this one was set back to a backup.
  if (query.fromPosition > size) fail({ kind: "sizeOutOfRange", size: query.fromPosition, treeSize: size });
  const page = new Page(
    ledger,
    tenant,
    pageSize,
    (audited) => audited.record.body.tenant === tenant && matches(query, glob, audited),
  );
  const slices = ledger.decisions({
    tenant,
    filter: filterOf(query),
    order: query.order,
    size,
    from: query.fromPosition,
    ...(token === undefined ? {} : { start: token.next }),
  });
  const endMs = clock() + listWalkMsMax;
  const isSpent = (): boolean => page.opened >= listCandidatesMax || clock() >= endMs;
  for await (const { positions, resume } of slices) {
    for (const position of positions) {
      if (signal.aborted) return fail({ kind: "cancelled" });
      if (await page.isFullBefore(position)) break;
      // Whatever a page took, it gets further: the budget ends it before the next decision, never before the first.
      if (page.opened > 0 && isSpent()) page.endBefore(position);
      else page.add(position);
      if (page.next !== undefined) break;
    }
    if (page.next === undefined && isSpent()) {
      await page.flush();
      const next = page.next ?? (await resume());
      if (next === undefined) break;
      page.endBefore(next);
    }
    if (page.next !== undefined) break;
    if (signal.aborted) return fail({ kind: "cancelled" });
    await turns.next();
  }
  await page.flush();
  const { next } = page;
  const nextPageToken = next === undefined ? "" : await formatPageToken([size, next], walk, authenticate);
  // Newest first, what comes after the whole walk is what was not there when it began.
  const resumePosition = query.order === "oldestFirst" ? (next ?? size) : size;
  return { chains: page.chains, nextPageToken, resumePosition, ledgerSize: size };
};
