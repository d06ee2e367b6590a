/**
 * When the newest decisions were made and whom they are about, from the decision index alone: no record is opened.
 * Newest first, tenant by tenant. Tags are the index's terms of principals: two names may share one.
 */
import { utf8Decode } from "../record/bytes.ts";
import { SigilFault } from "../record/errors.ts";
import { rateRefillOlderMax } from "../record/limits.ts";
import type { Store } from "../storage/store.ts";
import type { DecisionIndex } from "./decisions/decision-index.ts";
import { DecisionSearch } from "./decisions/search.ts";
import { familyRange, prefixRange, tenantPrefix } from "./keyspace.ts";

export type RecentDecisions = {
  /** Decisions made later than this. */
  readonly sinceMs: number;
  /** Index entries to read, in all; every tenant has an equal share of them. */
  readonly entriesMax: number;
};

/** Takes one decision. */
export type TakeRecent = (decision: {
  readonly tenant: string;
  readonly ts: number;
  readonly subjectTag: number;
  readonly callerTag: number;
}) => void;

/** Whether every decision since then was taken, or the entries were used up before. */
export type RecentEnd = { readonly whole: boolean };

/** Tenants that have decisions: one seek each. */
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

/** Of a tenant whose key is gone nobody knows what its tags mean; whose index is damaged gets no decision either. */
const isPassedOver = (error: unknown): boolean =>
  error instanceof SigilFault && ["keyUnavailable", "erased", "ledgerCorrupt"].includes(error.error.kind);

type Reading = { readonly read: number; readonly whole: boolean };

const readTenant = async (
  { store, decisions }: RecentContext,
  tenant: string,
  { sinceMs, entriesMax }: RecentDecisions,
  take: TakeRecent,
): Promise<Reading> => {
  let [read, older] = [0, 0];
  try {
    const view = await decisions.view(tenant);
    await using snapshot = store.snapshot();
    for await (const { ts, subject, caller } of new DecisionSearch(view, store, snapshot).newestFirst()) {
      if (read === entriesMax) break;
      read += 1;
      older = ts > sinceMs ? 0 : older + 1;
      if (older === rateRefillOlderMax) break;
      if (older === 0) take({ tenant, ts, subjectTag: subject, callerTag: caller });
    }
  } catch (error) {
    if (!isPassedOver(error)) throw error;
  }
  return { read, whole: read < entriesMax || older > 0 };
};

export const readRecent = async (
  context: RecentContext,
  { sinceMs, entriesMax }: RecentDecisions,
  take: TakeRecent,
): Promise<RecentEnd> => {
  let left = entriesMax;
  let whole = true;
  const tenants = (await tenantsIn(context.store)).filter((tenant) => !context.isErased(tenant));
  for (const [index, tenant] of tenants.entries()) {
    const share = Math.floor(left / (tenants.length - index));
    const taken = await readTenant(context, tenant, { sinceMs, entriesMax: share }, take);
    whole &&= taken.whole;
    left -= taken.read;
  }
  return { whole };
};
