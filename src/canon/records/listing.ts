/**
 * Pages and streams of records. A page ends at its size, at what a reply may hold (page-room.ts), or at the bound of what one call
 * looks at, and its token says where the next begins: at the same ledger size, for the same caller, filter and view.
 */
import type { CborValue } from "@sigil/core/cbor";
import { fail } from "../../errors.ts";
import { listOpenedRecordsMax, listScanEntriesMax, pageSizeDefault, pageSizeMax } from "../../limits.ts";
import type { Caller } from "../../identity/caller.ts";
import { formatPageToken, parsePageToken, type PagePlace } from "../../ledger/layout/page-token.ts";
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
import { PageRoom } from "./page-room.ts";
import {
  readVersion,
  listedScopeOf,
  scopeOf,
  walkRecords,
  type ReadingLedger,
  type Scope,
} from "./reading.ts";

export const pageSizeOf = (pageSize: number): number => {
  if (pageSize === 0) return pageSizeDefault;
  if (pageSize <= pageSizeMax) return pageSize;
  return fail({ kind: "invalidField", field: "page_size", rule: `must be at most ${pageSizeMax}` });
};

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

/** Tokens of one walk: bound to the caller and everything the walk depends on. */
export class WalkTokens {
  readonly #walk: CborValue;
  readonly #authenticate: (bytes: Uint8Array) => Promise<Uint8Array>;

  constructor(ledger: Pick<ReadingLedger, "authenticate">, caller: Caller, tenant: string, walk: CborValue) {
    this.#walk = [caller.principal, caller.tenant, walk];
    this.#authenticate = (bytes) => ledger.authenticate(tenant, bytes);
  }

  /** Undefined for the first page. @throws invalidPageToken. */
  async read(token: string): Promise<PagePlace | undefined> {
    return token === "" ? undefined : parsePageToken(token, this.#walk, this.#authenticate);
  }

  write(place: PagePlace): Promise<string> {
    return formatPageToken(place, this.#walk, this.#authenticate);
  }
}

const bigintOf = (value: CborValue | undefined): bigint => BigInt(value as number | bigint);

/** @throws invalidPageToken, invalidField, recordCorrupt, cancelled, tenantForbidden. */
export const listRecords = async (
  ledger: ReadingLedger,
  caller: Caller,
  { filter, presentation, pageSize, pageToken }: RecordQuery,
  signal: AbortSignal,
): Promise<RecordPage> => {
  const scope = listedScopeOf(ledger, caller, filter.space, filter.tenant);
  const wanted = pageSizeOf(pageSize);
  const walk = ["records", filtered(scope, filter), presented(presentation)];
  const tokens = new WalkTokens(ledger, caller, scope.tenant, walk);
  const place = await tokens.read(pageToken);
  const size = place === undefined ? ledger.size : bigintOf(place[0]);
  let after = place === undefined ? "" : (place[1] as string);
  const records: VersionedRecord[] = [];
  const room = new PageRoom(wanted, presentation);
  let looked = 0;
  const page = async (more: boolean): Promise<RecordPage> => ({
    records,
    nextPageToken: more ? await tokens.write([size, after]) : "",
    ledgerSize: size,
  });
  const from = { size, after, scanMax: listScanEntriesMax, wanted: () => room.recordsLeft };
  const walked = walkRecords(ledger, scope, filter, from, { signal });
  for (let next = await walked.next(); ; next = await walked.next()) {
    if (next.done === true) return page(!next.value.scannedAll);
    const { id, match } = next.value;
    if (match !== undefined) {
      if (!room.take(match.record)) return page(true);
      records.push(match);
    }
    after = id;
    looked += 1;
    if (looked === listOpenedRecordsMax) return page(true);
  }
};

/** Every match, in id order, seen at one ledger size. @throws sizeOutOfRange, recordCorrupt, cancelled. */
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

/** @throws notFound, invalidPageToken, recordCorrupt, cancelled. */
export const listHistory = async (
  ledger: ReadingLedger,
  caller: Caller,
  { name, presentation, oldestFirst, pageSize, pageToken }: HistoryQuery,
  signal: AbortSignal,
): Promise<RecordPage> => {
  const scope = scopeOf(caller, name.space, name.tenant);
  const wanted = pageSizeOf(pageSize);
  const walk = ["history", scope.tenant, scope.space, name.id, oldestFirst, presented(presentation)];
  const tokens = new WalkTokens(ledger, caller, scope.tenant, walk);
  const place = await tokens.read(pageToken);
  const size = place === undefined ? ledger.size : bigintOf(place[0]);
  const records: VersionedRecord[] = [];
  const room = new PageRoom(wanted, presentation);
  const versions = ledger.history({
    ...scope,
    id: name.id,
    ...(place === undefined ? {} : { fromVersion: bigintOf(place[1]) }),
    order: oldestFirst ? "oldestFirst" : "newestFirst",
    limit: wanted + 1,
    size,
  });
  for await (const head of versions) {
    if (signal.aborted) return fail({ kind: "cancelled" });
    const read = await readVersion(ledger, scope, { id: name.id, ...head });
    if (!room.take(read.record)) {
      return { records, nextPageToken: await tokens.write([size, head.version]), ledgerSize: size };
    }
    records.push(read);
  }
  if (records.length === 0) fail({ kind: "notFound", what: "record", id: name.id });
  return { records, nextPageToken: "", ledgerSize: size };
};
