/**
 * Reads records of both spaces. Every record is opened and verified by the ledger, and must match its index entry. A
 * walk reads as of one ledger size, ignoring later appends.
 */
import { equalBytes } from "@sigil/core/bytes";
import { fail, invalidField, SigilFault } from "../../errors.ts";
import {
  linkTo,
  parseTombstone,
  systemTenant,
  type Space,
  type RecordBody,
  type StoredRecord,
} from "@sigil/core/record";
import { tenantFor, type Caller } from "../../identity/caller.ts";
import type { LedgerReader } from "../../ledger/read/reading.ts";
import { ReadAhead } from "../../ledger/read/read-ahead.ts";
import type { RecordAt, RecordFilter, RecordName, VersionedRecord, WalkContext } from "../domain.ts";

/** The ledger reads needed here. */
export type ReadingLedger = Pick<
  LedgerReader,
  | "readAt"
  | "versions"
  | "versionAt"
  | "versionBelow"
  | "history"
  | "records"
  | "readHash"
  | "authenticate"
  | "refuseErased"
  | "isErased"
  | "requireTenant"
  | "size"
  | "tree"
  | "ring"
>;

/** Tenant and space to read in, for which the caller was authorized. */
export type Scope = { readonly tenant: string; readonly space: Space };

/** Everyone may read the system space; a user space only its tenant. @throws invalidField, tenantForbidden. */
export const scopeOf = (caller: Caller, space: Space, tenant: string): Scope => {
  if (space === "user") return { space, tenant: tenantFor(caller, tenant) };
  if (tenant === "" || tenant === systemTenant) return { space, tenant: systemTenant };
  return invalidField("tenant", `must be ${systemTenant} in the system space`);
};

/**
 * As `scopeOf`, for listings: also refuses an unknown tenant, for which the listing would be empty. @throws also
 * notFound.
 */
export const listedScopeOf = (
  ledger: Pick<LedgerReader, "requireTenant">,
  caller: Caller,
  space: Space,
  tenant: string,
): Scope => {
  const scope = scopeOf(caller, space, tenant);
  if (scope.space === "user" && scope.tenant !== caller.tenant) ledger.requireTenant(scope.tenant);
  return scope;
};

/** The label of the link to the decision that allowed a record. */
export const decisionLabel = "decision";

type IndexedVersion = { readonly id: string; readonly position: bigint; readonly version: bigint };

const notFound = (id: string): never => fail({ kind: "notFound", what: "record", id });

export const isTombstone = ({ body }: { readonly body: { readonly kind: string } }): boolean =>
  body.kind === "tombstone";

/** The kind that a record counts as: a tombstone's is that of what it ends. */
export const kindOf = (body: RecordBody): string =>
  isTombstone({ body }) ? parseTombstone(body.payload).kind : body.kind;

/** A record found by position, with its version. */
export const versionOf = async (
  ledger: Pick<LedgerReader, "versionBelow">,
  record: StoredRecord,
): Promise<VersionedRecord> => {
  const { tenant, space, id } = record.body;
  const head = await ledger.versionBelow(tenant, space, id, record.position + 1n);
  return { record, version: head?.version ?? 1n, tombstone: isTombstone(record) };
};

/** The audit id of the decision that a record links to; empty if none. @throws recordCorrupt. */
export const decisionOf = async (
  ledger: Pick<LedgerReader, "readHash">,
  body: Pick<RecordBody, "links">,
): Promise<string> => {
  const target = linkTo(body, decisionLabel);
  const decision = target && (await ledger.readHash(target));
  return decision?.body.id ?? "";
};

/** Reads the record that an index entry names. @throws recordCorrupt naming position and id. */
export const readVersion = async (
  ledger: Pick<LedgerReader, "readAt">,
  { tenant, space }: Scope,
  { id, position, version }: IndexedVersion,
): Promise<VersionedRecord> => {
  try {
    const record = await ledger.readAt(position, tenant);
    const { body } = record;
    if (body.id !== id || body.tenant !== tenant || body.space !== space) {
      const rule = "the record is not the one its index names";
      return fail({ kind: "recordCorrupt", position, step: "index", rule });
    }
    return { record, version, tombstone: isTombstone(record) };
  } catch (error) {
    if (!(error instanceof SigilFault) || error.error.kind !== "recordCorrupt") throw error;
    const { step, rule } = error.error;
    const named = `${rule} ("${id}" version ${version})`;
    return fail({ kind: "recordCorrupt", position, step, rule: named, id }, { cause: error });
  }
};

/** The newest version of an id below a ledger size, including tombstones; decisions have no versions. */
export const readNewest = async (
  ledger: ReadingLedger,
  scope: Scope,
  id: string,
  size: bigint = ledger.size,
): Promise<VersionedRecord | undefined> => {
  const head = await ledger.versionBelow(scope.tenant, scope.space, id, size);
  return head === undefined ? undefined : readVersion(ledger, scope, { id, ...head });
};

const readByHash = async (
  ledger: ReadingLedger,
  caller: Caller,
  name: RecordName,
  at: RecordAt & { readonly kind: "hash" },
): Promise<VersionedRecord> => {
  const record = await ledger.readHash(at.hash);
  if (record === undefined) return notFound(name.id);
  const { body } = record;
  const scope = scopeOf(caller, name.space, name.tenant);
  // Another tenant's record is reported as not found; the system space is readable by everyone.
  const isReadable = body.space === "system" || (scope.space === "user" && body.tenant === scope.tenant);
  if (!isReadable || (name.id !== "" && body.id !== name.id)) return notFound(name.id);
  if (body.kind === "frozen_chain") return { record, version: 1n, tombstone: false };
  return versionOf(ledger, record);
};

/** @throws notFound, recordCorrupt, tenantForbidden, sizeOutOfRange, invalidField. */
export const readRecord = async (
  ledger: ReadingLedger,
  caller: Caller,
  name: RecordName,
  at: RecordAt,
): Promise<VersionedRecord> => {
  const { id } = name;
  if (at.kind === "hash") return readByHash(ledger, caller, name, at);
  const scope = scopeOf(caller, name.space, name.tenant);
  if (at.kind === "version") {
    const position = await ledger.versionAt(scope.tenant, scope.space, id, at.version);
    return position === undefined
      ? notFound(id)
      : readVersion(ledger, scope, { id, position, version: at.version });
  }
  const size = at.kind === "size" ? at.size : ledger.size;
  if (size > ledger.size) fail({ kind: "sizeOutOfRange", size, treeSize: ledger.size });
  const newest = await readNewest(ledger, scope, id, size);
  return newest === undefined || newest.tombstone ? notFound(id) : newest;
};

/** Filters on the opened record, since the index may give false positives. */
const matches = (filter: RecordFilter, { record, tombstone }: VersionedRecord): boolean => {
  const { body } = record;
  if (body.kind === "frozen_chain" || (filter.kind !== "" && kindOf(body) !== filter.kind)) return false;
  if (!body.id.startsWith(filter.idPrefix) || body.space !== filter.space) return false;
  if (tombstone && !filter.includeTombstones) return false;
  if (filter.fromMs !== undefined && body.ts < filter.fromMs) return false;
  if (filter.untilMs !== undefined && body.ts >= filter.untilMs) return false;
  const { linkTarget } = filter;
  return linkTarget === null || body.links.some(({ target }) => equalBytes(target, linkTarget));
};

/** Skipped index entries before their ids are yielded. */
const skippedAheadMax = 64;

export type WalkFrom = {
  readonly size: bigint;
  readonly after: string;
  readonly scanMax: number;
  /** Returns how many further records can be used; unlimited if absent. */
  readonly wanted?: () => number;
};

/** One id of a walk, with its record if it matches. */
export type Walked = { readonly id: string; readonly match: VersionedRecord | undefined };

/**
 * Walks the ids of a scope in order, each with its newest version below `size` if that matches.
 * @throws recordCorrupt naming the record, after everything before it was yielded; cancelled.
 */
export async function* walkRecords(
  ledger: ReadingLedger,
  scope: Scope,
  filter: RecordFilter,
  from: WalkFrom,
  { signal, room }: WalkContext,
): AsyncGenerator<Walked, { readonly scannedAll: boolean }, undefined> {
  const readAhead = new ReadAhead();
  let candidates: (IndexedVersion & { readonly skipped: boolean })[] = [];
  let toOpen = 0;
  let scanned = 0;
  const listing = {
    ...scope,
    idPrefix: filter.idPrefix,
    ...(from.after === "" ? {} : { after: from.after }),
    ...(filter.kind === "" ? {} : { kind: filter.kind }),
    size: from.size,
    scanMax: from.scanMax,
  };
  const open = async function* (): AsyncGenerator<Walked, void, undefined> {
    await room?.enter();
    const read = await Promise.allSettled(
      candidates.map(async (entry) => (entry.skipped ? undefined : readVersion(ledger, scope, entry))),
    );
    for (const [index, { id }] of candidates.entries()) {
      const outcome = read[index];
      if (outcome?.status === "rejected") throw outcome.reason;
      const record = outcome?.value;
      yield { id, match: record !== undefined && matches(filter, record) ? record : undefined };
    }
    readAhead.took(
      read.flatMap((outcome) =>
        outcome.status === "fulfilled" && outcome.value ? [outcome.value.record.envelope] : [],
      ),
    );
    candidates = [];
    toOpen = 0;
  };
  for await (const entry of ledger.versions(listing)) {
    if (signal.aborted) return fail({ kind: "cancelled" });
    ({ scanned } = entry);
    candidates.push(entry);
    if (!entry.skipped) toOpen += 1;
    if (toOpen >= readAhead.next(from.wanted?.()) || candidates.length >= skippedAheadMax) yield* open();
  }
  yield* open();
  return { scannedAll: scanned < from.scanMax };
}
