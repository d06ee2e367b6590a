/**
 * Pages of recorded decisions: the index gives candidates, the opened and verified record decides. One call is bounded
 * by records opened and by time.
 */
import type { CborValue } from "@sigil/core/cbor";
import { fail } from "../errors.ts";
import { listCandidatesMax, listWalkMsMax } from "../limits.ts";
import { readDecision } from "@sigil/core/record";
import type { Caller } from "../identity/caller.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import type { PagePlace } from "../ledger/layout/page-token.ts";
import { PageRoom, PageTokens, pageSizeOf, takePage, type Walked } from "../ledger/layout/paging.ts";
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
  /** A monotonic clock in milliseconds. */
  readonly clock: () => number;
  /** Shared by all listings. */
  readonly turns: WalkTurns;
};

/** The content that a page token is bound to: caller, filter and order. */
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

/**
 * The ledger size that a walk is pinned to, and the next position in its order. Tokens are authenticated, so the shape
 * is certain.
 */
const readPlace = ([size, next]: PagePlace) => ({
  size: BigInt(size as number),
  next: BigInt(next as number),
});

/** One listing: caller, tenant and filters. */
export type Listing = { readonly caller: Caller; readonly tenant: string; readonly query: ChainQuery };

/** Parameters of a walk over decisions. */
type Walk = {
  readonly query: ChainQuery;
  readonly tenant: string;
  /** The ledger size that it is pinned to. */
  readonly size: bigint;
  /** The position to resume at, in its order. */
  readonly start: bigint | undefined;
  readonly matches: (audited: AuditedChain) => boolean;
  readonly room: PageRoom<AuditedChain>;
  readonly signal: AbortSignal;
};

/** Yields matching verified decisions until the call's limit of records or time. */
async function* walkChains(
  { ledger, clock, turns }: ListingDependencies,
  { query, tenant, size, start, matches, room, signal }: Walk,
): AsyncGenerator<Walked<AuditedChain>, void, undefined> {
  const readAhead = new ReadAhead();
  const endMs = clock() + listWalkMsMax;
  let candidates: bigint[] = [];
  let opened = 0;
  const isSpent = (): boolean => opened >= listCandidatesMax || clock() >= endMs;
  const read = async function* (): AsyncGenerator<Walked<AuditedChain>, void, undefined> {
    const positions = candidates;
    candidates = [];
    const records = await Promise.all(positions.map((position) => ledger.readAt(position, tenant)));
    readAhead.took(records.map(({ envelope }) => envelope));
    for (const record of records) {
      const item = { record, chain: readDecision(record.body, record.disclosures) };
      if (matches(item)) yield { kind: "match", item, at: [size, record.position] };
    }
  };
  const { order, fromPosition: from } = query;
  const walk = { tenant, filter: filterOf(query), order, size, from };
  const slices = ledger.decisions({ ...walk, ...(start === undefined ? {} : { start }) });
  for await (const { positions, resume } of slices) {
    for (const position of positions) {
      if (signal.aborted) fail({ kind: "cancelled" });
      // Never more candidates than fit the page, so that none is read needlessly.
      if (candidates.length >= readAhead.next(room.left)) yield* read();
      // Each page makes progress: the budget ends it before the next decision, never before the first.
      if (room.left === 0 || (opened > 0 && isSpent())) {
        yield* read();
        yield { kind: "pause", at: [size, position] };
        return;
      }
      candidates.push(position);
      opened += 1;
    }
    if (isSpent()) {
      yield* read();
      const next = await resume();
      if (next !== undefined) yield { kind: "pause", at: [size, next] };
      return;
    }
    if (signal.aborted) fail({ kind: "cancelled" });
    await turns.next();
  }
  yield* read();
}

/** @throws invalidPageToken, invalidField, sizeOutOfRange, recordCorrupt naming the position, erased, cancelled. */
export const listChains = async (
  deps: ListingDependencies,
  { caller, tenant, query }: Listing,
  signal: AbortSignal,
): Promise<ChainPage> => {
  const { ledger } = deps;
  const room = new PageRoom<AuditedChain>(pageSizeOf(query.pageSize), ({ record }) => record.envelope.length);
  const glob = query.targetGlob === "" ? () => true : deps.compileGlob(query.targetGlob);
  const tokens = new PageTokens(ledger, tenant, walkOf(caller, tenant, query));
  const place = await tokens.read(query.pageToken);
  const token = place && readPlace(place);
  const size = token?.size ?? ledger.size;
  // A position past the ledger means that it was restored from an older backup.
  if (query.fromPosition > size) fail({ kind: "sizeOutOfRange", size: query.fromPosition, treeSize: size });
  const isWanted = (audited: AuditedChain): boolean =>
    audited.record.body.tenant === tenant && matches(query, glob, audited);
  const walk = { query, tenant, size, start: token?.next, matches: isWanted, room, signal };
  const { items: chains, next } = await takePage(walkChains(deps, walk), room);
  // For newest first, resume after the walk with decisions recorded since it began.
  const resumePosition = query.order === "oldestFirst" && next !== undefined ? readPlace(next).next : size;
  return { chains, nextPageToken: await tokens.write(next), resumePosition, ledgerSize: size };
};
