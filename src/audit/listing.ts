/**
 * One page of a walk over recorded decisions: the index shortlists, the opened and verified record decides. A page ends
 * at its size, at the bytes a reply may have, or at the bound of what one call looks at, and says where the next begins.
 */
import type { CborValue } from "../record/cbor.ts";
import { fail } from "../record/errors.ts";
import { listScanEntriesMax, pageEnvelopeBytesMax, pageSizeDefault, pageSizeMax } from "../record/limits.ts";
import { parseFrozenChain } from "../record/kinds.ts";
import type { Caller } from "../identity/caller.ts";
import type { DecisionFilter } from "../ledger/indexes.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { formatPageToken, parsePageToken, type PagePlace } from "../ledger/page-token.ts";
import { ReadAhead } from "../ledger/read-ahead.ts";
import type { AuditedChain, ChainPage, ChainQuery } from "./evidence.ts";

export type CompileGlob = (glob: string) => (target: string) => boolean;

const filterOf = (query: ChainQuery): DecisionFilter => ({
  ...(query.principal === "" ? {} : { principal: query.principal }),
  ...(query.action === "" ? {} : { action: query.action }),
  ...(query.verdict === undefined ? {} : { verdict: query.verdict }),
  ...(query.fromMs === undefined ? {} : { fromMs: query.fromMs }),
  ...(query.untilMs === undefined ? {} : { untilMs: query.untilMs }),
});

const matches = (
  query: ChainQuery,
  glob: (target: string) => boolean,
  { record, chain }: AuditedChain,
): boolean => {
  const { request } = chain;
  const { ts } = record.body;
  if (query.principal !== "" && query.principal !== request.subject && query.principal !== request.caller) {
    return false;
  }
  if (query.action !== "" && query.action !== request.action) return false;
  if (query.verdict !== undefined && query.verdict !== chain.verdict) return false;
  if (query.fromMs !== undefined && ts < query.fromMs) return false;
  if (query.untilMs !== undefined && ts >= query.untilMs) return false;
  return glob(request.target);
};

/** What a page token is bound to: another caller, filter or order makes another walk. */
const walkOf = (caller: Caller, tenant: string, query: ChainQuery): CborValue => [
  caller.principal,
  tenant,
  query.principal,
  query.action,
  query.targetGlob,
  query.verdict ?? null,
  query.fromMs ?? null,
  query.untilMs ?? null,
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
  readonly #ledger: Ledger;
  readonly #tenant: string;
  readonly #matches: (audited: AuditedChain) => boolean;
  readonly #size: number;
  readonly chains: AuditedChain[] = [];
  readonly #readAhead = new ReadAhead();
  #candidates: bigint[] = [];
  #bytes = 0;
  /** Where the next page begins; undefined while this one has room. */
  next: bigint | undefined;

  constructor(ledger: Ledger, tenant: string, size: number, matches: (audited: AuditedChain) => boolean) {
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

/** @throws invalidPageToken, invalidField, recordCorrupt naming the position, erased, cancelled. */
export const listChains = async (
  ledger: Ledger,
  compileGlob: CompileGlob,
  { caller, tenant, query }: Listing,
  signal: AbortSignal,
): Promise<ChainPage> => {
  const pageSize = pageSizeOf(query);
  const glob = query.targetGlob === "" ? () => true : compileGlob(query.targetGlob);
  const walk = walkOf(caller, tenant, query);
  const authenticate = (bytes: Uint8Array): Promise<Uint8Array> => ledger.authenticate(tenant, bytes);
  const from =
    query.pageToken === "" ? undefined : readPlace(await parsePageToken(query.pageToken, walk, authenticate));
  const size = from?.size ?? ledger.size;
  const page = new Page(
    ledger,
    tenant,
    pageSize,
    (audited) => audited.record.body.tenant === tenant && matches(query, glob, audited),
  );
  const positions = ledger.decisions({
    tenant,
    filter: filterOf(query),
    order: query.order,
    size,
    ...(from === undefined ? {} : { start: from.next }),
    // One more than is looked at: it says where the next page starts.
    scanMax: listScanEntriesMax + 1,
  });
  let scanned = 0;
  let end: bigint | undefined;
  for await (const { position, skipped } of positions) {
    if (signal.aborted) return fail({ kind: "cancelled" });
    if (await page.isFullBefore(position)) break;
    if (scanned === listScanEntriesMax) {
      end = position;
      break;
    }
    scanned += 1;
    if (!skipped) page.add(position);
  }
  await page.flush();
  const next = page.next ?? end;
  const nextPageToken = next === undefined ? "" : await formatPageToken([size, next], walk, authenticate);
  return { chains: page.chains, nextPageToken, ledgerSize: size };
};
