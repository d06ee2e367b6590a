/**
 * Pages and streams of records. A page ends at its size, at the reply limit (page-room.ts), or at the scan limit of one
 * call; its token resumes at the same ledger size, for the same caller, filter and view.
 */
import type { CborValue } from "@sigil/core/cbor";
import { fail } from "../../errors.ts";
import { listOpenedRecordsMax, listScanEntriesMax } from "../../limits.ts";
import type { Caller } from "../../identity/caller.ts";
import { PageTokens, pageSizeOf, takePage, type Walked } from "../../ledger/layout/paging.ts";
import type { HistoryWalk } from "../../ledger/layout/version-index.ts";
import type {
  Export,
  ExportedRecord,
  HistoryQuery,
  Presentation,
  RecordFilter,
  RecordPage,
  RecordQuery,
  VersionedRecord,
  WalkContext,
} from "../domain.ts";
import { RecordRoom } from "./page-room.ts";
import {
  readVersion,
  listedScopeOf,
  scopeOf,
  walkRecords,
  type ReadingLedger,
  type Scope,
} from "./reading.ts";

const presented = ({ view, payloadMask }: Presentation): CborValue => [view, payloadMask];

const filtered = (scope: Scope, filter: RecordFilter): CborValue => [
  scope.tenant,
  scope.space,
  filter.kind,
  filter.idPrefix,
  filter.linkTarget,
  filter.fromMs ?? null,
  filter.untilMs ?? null,
  filter.includeTombstones,
];

/** Tokens of one walk over records, bound to the caller and everything that the walk depends on. */
export const tokensOf = (
  ledger: Pick<ReadingLedger, "authenticate">,
  { principal, tenant: own }: Caller,
  tenant: string,
  walk: CborValue,
): PageTokens => new PageTokens(ledger, tenant, [principal, own, walk]);

const bigintOf = (value: CborValue | undefined): bigint => BigInt(value as number | bigint);

/** Where a walk in id order resumes: after an id, at one ledger size. */
type From = { readonly size: bigint; readonly after: string };

/** Yields matches in id order, until the scan limit of one call. */
async function* walkMatches(
  ledger: ReadingLedger,
  scope: Scope,
  filter: RecordFilter,
  { size, after: first }: From,
  { signal, wanted }: { readonly signal: AbortSignal; readonly wanted: () => number },
): AsyncGenerator<Walked<VersionedRecord>, void, undefined> {
  const from = { size, after: first, scanMax: listScanEntriesMax, wanted };
  const walked = walkRecords(ledger, scope, filter, from, { signal });
  let after = first;
  for (let looked = 0; looked < listOpenedRecordsMax; looked += 1) {
    const next = await walked.next();
    if (next.done === true) {
      if (!next.value.scannedAll) yield { kind: "pause", at: [size, after] };
      return;
    }
    const { id, match } = next.value;
    if (match !== undefined) yield { kind: "match", item: match, at: [size, after] };
    after = id;
  }
  yield { kind: "pause", at: [size, after] };
}

/** @throws invalidPageToken, invalidField, recordCorrupt, cancelled, tenantForbidden. */
export const listRecords = async (
  ledger: ReadingLedger,
  caller: Caller,
  { filter, presentation, pageSize, pageToken }: RecordQuery,
  signal: AbortSignal,
): Promise<RecordPage> => {
  const scope = listedScopeOf(ledger, caller, filter.space, filter.tenant);
  const room = new RecordRoom(pageSizeOf(pageSize), presentation);
  const walk = ["records", filtered(scope, filter), presented(presentation)];
  const tokens = tokensOf(ledger, caller, scope.tenant, walk);
  const place = await tokens.read(pageToken);
  const size = place === undefined ? ledger.size : bigintOf(place[0]);
  const from = { size, after: place === undefined ? "" : (place[1] as string) };
  const wanted = (): number => room.recordsLeft;
  const page = await takePage(walkMatches(ledger, scope, filter, from, { signal, wanted }), room);
  return { records: page.items, nextPageToken: await tokens.write(page.next), ledgerSize: size };
};

/** Yields every match in id order, at one ledger size. @throws sizeOutOfRange, recordCorrupt, cancelled. */
export async function* exportRecords(
  ledger: ReadingLedger,
  caller: Caller,
  { filter, afterId, size: asked }: Export,
  call: WalkContext,
): AsyncGenerator<ExportedRecord, void, undefined> {
  const scope = listedScopeOf(ledger, caller, filter.space, filter.tenant);
  const size = asked === 0n ? ledger.size : asked;
  if (size > ledger.size) fail({ kind: "sizeOutOfRange", size, treeSize: ledger.size });
  let after = afterId;
  for (let scannedAll = false; !scannedAll;) {
    const walked = walkRecords(ledger, scope, filter, { size, after, scanMax: listScanEntriesMax }, call);
    for (let next = await walked.next(); ; next = await walked.next()) {
      if (next.done === true) {
        ({ scannedAll } = next.value);
        break;
      }
      const { id, match } = next.value;
      after = id;
      if (match !== undefined) yield { record: match, ledgerSize: size };
    }
  }
}

/** Yields versions of one id in the first `size` records. */
async function* walkVersions(
  ledger: ReadingLedger,
  scope: Scope,
  walk: Omit<HistoryWalk, keyof Scope>,
  signal: AbortSignal,
): AsyncGenerator<Walked<VersionedRecord>, void, undefined> {
  const { id, size } = walk;
  for await (const head of ledger.history({ ...scope, ...walk })) {
    if (signal.aborted) fail({ kind: "cancelled" });
    const item = await readVersion(ledger, scope, { id, ...head });
    yield { kind: "match", item, at: [size, head.version] };
  }
}

/** @throws notFound, invalidPageToken, recordCorrupt, cancelled. */
export const listHistory = async (
  ledger: ReadingLedger,
  caller: Caller,
  { name, presentation, oldestFirst, pageSize, pageToken }: HistoryQuery,
  signal: AbortSignal,
): Promise<RecordPage> => {
  const scope = scopeOf(caller, name.space, name.tenant);
  const wanted = pageSizeOf(pageSize);
  const bound = ["history", scope.tenant, scope.space, name.id, oldestFirst, presented(presentation)];
  const tokens = tokensOf(ledger, caller, scope.tenant, bound);
  const place = await tokens.read(pageToken);
  const size = place === undefined ? ledger.size : bigintOf(place[0]);
  const walk = {
    id: name.id,
    ...(place === undefined ? {} : { fromVersion: bigintOf(place[1]) }),
    order: oldestFirst ? "oldestFirst" : "newestFirst",
    limit: wanted + 1,
    size,
  } as const;
  const page = await takePage(
    walkVersions(ledger, scope, walk, signal),
    new RecordRoom(wanted, presentation),
  );
  if (page.items.length === 0) fail({ kind: "notFound", what: "record", id: name.id });
  return { records: page.items, nextPageToken: await tokens.write(page.next), ledgerSize: size };
};
