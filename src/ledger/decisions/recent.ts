/**
 * Times and subjects of the newest decisions, from the decision index alone: no record is opened. Newest first, tenant
 * by tenant. Principals are given as index terms; two names may share one.
 */
import { utf8Decode } from "@sigil/core/bytes";
import { SigilFault } from "../../errors.ts";
import { rateRefillOlderMax } from "../../limits.ts";
import type { Store } from "../../storage/store.ts";
import type { DecisionIndex } from "./decision-index.ts";
import { DecisionSearch } from "./search.ts";
import { familyRange, prefixRange, tenantPrefix } from "../layout/keyspace.ts";

export type RecentDecisions = {
  /** Lower bound, exclusive. */
  readonly sinceMs: number;
  /** Maximum index entries to read in total; shared equally among tenants, unused shares redistributed. */
  readonly entriesMax: number;
};

/** Receives one decision. */
export type TakeRecent = (decision: {
  readonly tenant: string;
  readonly ts: number;
  readonly subjectTag: number;
  readonly callerTag: number;
}) => void;

/** Tenants that may have more decisions since then than were read. */
export type RecentEnd = { readonly cut: readonly string[] };

/** Tenants that have decisions; one seek per tenant. */
const tenantsIn = async (store: Store): Promise<readonly string[]> => {
  const tenants: string[] = [];
  const { gte: start, lt } = familyRange("d");
  let gte = start;
  for (;;) {
    let first: Uint8Array | undefined;
    for await (const [key] of store.range({ gte, lt, limit: 1 })) first = key;
    if (first === undefined) return tenants;
    const tenant = utf8Decode(first.subarray(1, first.indexOf(0)));
    tenants.push(tenant);
    gte = prefixRange(tenantPrefix("d", tenant)).lt;
  }
};

export type RecentContext = {
  readonly store: Store;
  readonly decisions: DecisionIndex;
  readonly isErased: (tenant: string) => boolean;
};

/** Whether to skip the tenant: its key is gone, so its terms are unknown, or its index is damaged. */
const isPassedOver = (error: unknown): boolean =>
  error instanceof SigilFault && ["keyUnavailable", "erased", "ledgerCorrupt"].includes(error.error.kind);

/** Read progress of one tenant. */
type Reading = {
  readonly tenant: string;
  /** Ordinals from here on have been read; undefined if none have. */
  below: number | undefined;
  /** Number of consecutive decisions, most recently read, that are older than requested. */
  older: number;
  ended: boolean;
};

/** @returns the number of entries read, at most `entriesMax`. */
const readOn = async (
  { store, decisions }: RecentContext,
  reading: Reading,
  { sinceMs, entriesMax }: RecentDecisions,
  take: TakeRecent,
): Promise<number> => {
  const { tenant } = reading;
  let read = 0;
  try {
    const view = await decisions.view(tenant);
    await using snapshot = store.snapshot();
    const search = new DecisionSearch(view, store, snapshot);
    reading.below ??= search.total;
    for await (const rows of search.newestFirst(reading.below)) {
      for (const { ts, subject, caller } of rows) {
        read += 1;
        reading.below -= 1;
        reading.older = ts > sinceMs ? 0 : reading.older + 1;
        if (reading.older === 0) take({ tenant, ts, subjectTag: subject, callerTag: caller });
        reading.ended = reading.older === rateRefillOlderMax || reading.below === 0;
        if (reading.ended || read === entriesMax) return read;
      }
    }
    reading.ended = true;
  } catch (error) {
    if (!isPassedOver(error)) throw error;
    reading.ended = true;
  }
  return read;
};

export const readRecent = async (
  context: RecentContext,
  { sinceMs, entriesMax }: RecentDecisions,
  take: TakeRecent,
): Promise<RecentEnd> => {
  let left = entriesMax;
  let cut = (await tenantsIn(context.store))
    .filter((tenant) => !context.isErased(tenant))
    .map((tenant): Reading => ({ tenant, below: undefined, older: 0, ended: false }));
  // Redistributes unused shares among the tenants that need more.
  while (left > 0 && cut.length > 0) {
    for (const [index, reading] of cut.entries()) {
      const share = Math.ceil(left / (cut.length - index));
      left -= await readOn(context, reading, { sinceMs, entriesMax: share }, take);
    }
    cut = cut.filter(({ ended }) => !ended);
  }
  return { cut: cut.map(({ tenant }) => tenant) };
};
