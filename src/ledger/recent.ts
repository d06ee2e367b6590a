/**
 * When the newest decisions were made and whom they are about, from the decision index alone: no record is opened.
 * Newest first, tenant by tenant. Tags stand for names, four keyed bytes each as a number: two names may share one.
 */
import { readU64be, utf8Decode } from "../record/bytes.ts";
import { SigilFault } from "../record/errors.ts";
import { rateRefillOlderMax } from "../record/limits.ts";
import type { Store } from "../storage/store.ts";
import type { BlindTags } from "./indexes.ts";
import { decisionPrefix, familyRange, prefixRange } from "./keyspace.ts";

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
    gte = prefixRange(decisionPrefix(tenant)).lt;
  }
};

/** False when the tenant's index key is gone: what its tags mean nobody knows any more. */
const canRead = async (tags: BlindTags, tenant: string): Promise<boolean> => {
  try {
    await tags.ensure(tenant);
    return true;
  } catch (error) {
    if (error instanceof SigilFault && ["keyUnavailable", "erased"].includes(error.error.kind)) return false;
    throw error;
  }
};

export const readRecent = async (
  store: Store,
  tags: BlindTags,
  { sinceMs, entriesMax }: RecentDecisions,
  take: TakeRecent,
): Promise<RecentEnd> => {
  let left = entriesMax;
  let whole = true;
  const tenants = await tenantsIn(store);
  for (const [index, tenant] of tenants.entries()) {
    if (!(await canRead(tags, tenant))) continue;
    const share = Math.floor(left / (tenants.length - index));
    let [read, older] = [0, 0];
    const range = prefixRange(decisionPrefix(tenant));
    for await (const [, entry] of store.range({ ...range, reverse: true, limit: share })) {
      read += 1;
      const view = new DataView(entry.buffer, entry.byteOffset, entry.length);
      const ts = Number(readU64be(entry, 0));
      older = ts > sinceMs ? 0 : older + 1;
      if (older === rateRefillOlderMax) break;
      if (older === 0) take({ tenant, ts, subjectTag: view.getUint32(8), callerTag: view.getUint32(12) });
    }
    if (read === share && older === 0) whole = false;
    left -= read;
  }
  return { whole };
};
