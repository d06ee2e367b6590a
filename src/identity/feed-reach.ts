/**
 * How far a caller may watch: its own tenant and the system space, every tenant as Root of tenant system, or what its
 * feed grant names. What is asked for beyond that is refused, never left out: a shorter feed would look like all of it.
 * Pure. Source: docs/spec/feed.md §2.
 */
import { fail, invalidField } from "../errors.ts";
import {
  allMark,
  parseTombstone,
  systemTenant,
  type FeedGrantPayload,
  type Granted,
  type RecordBody,
  type Space,
} from "@sigil/core/record";
import { readsAcross, tenantFor, type Caller } from "./caller.ts";

/** What a watch is asked for. */
export type AskedFeed = {
  /** Whose user spaces; empty means the caller's own. */
  readonly tenants: Granted;
  readonly spaces: readonly Space[];
  /** "listed" is everything but decisions. */
  readonly kinds: Granted | "listed";
  /** Whether records are picked by what decisions say. */
  readonly asksDecisions: boolean;
};

const notGranted = (field: "kinds" | "spaces", value: string): never =>
  fail({ kind: "feedForbidden", field, value, rule: "the caller's feed grant does not name it" });

const holds = (granted: Granted, name: string): boolean => granted === "all" || granted.includes(name);

const requireGranted = (grant: FeedGrantPayload, { spaces, kinds, asksDecisions }: AskedFeed): void => {
  const space = spaces.find((each) => !holds(grant.spaces, each));
  if (space !== undefined) notGranted("spaces", space);
  if (grant.kinds === "all") return;
  if (kinds === "all" || kinds === "listed") return notGranted("kinds", allMark);
  const needed = asksDecisions ? [...kinds, "frozen_chain"] : kinds;
  const kind = needed.find((each) => !holds(grant.kinds, each));
  if (kind !== undefined) notGranted("kinds", kind);
};

const requireTenant = (caller: Caller, tenant: string): string => {
  const grant = caller.feed?.grant;
  if (grant === undefined) return tenantFor(caller, tenant);
  if (holds(grant.tenants, tenant)) return tenant;
  return fail({ kind: "tenantForbidden", tenant, rule: "the caller's feed grant does not name it" });
};

const requireEveryTenant = (caller: Caller): void => {
  if (caller.feed === undefined ? readsAcross(caller) : caller.feed.grant.tenants === "all") return;
  const rule = "every tenant takes Root of tenant system, or a feed grant that says so";
  fail({ kind: "tenantForbidden", tenant: allMark, rule });
};

/** Whether the caller's feed grant names a record; a tombstone has the kind that it ends. */
export const isGranted = ({ feed }: Caller, body: RecordBody | undefined): boolean => {
  if (feed === undefined || body === undefined) return false;
  const { tenants, spaces, kinds } = feed.grant;
  const kind = body.kind === "tombstone" ? parseTombstone(body.payload).kind : body.kind;
  return holds(tenants, body.tenant) && holds(spaces, body.space) && holds(kinds, kind);
};

/** What a grant does not name, being of records: what they only commit to, and records beside them. */
const besideRecords = {
  disclosures: {
    value: "true",
    rule: "a feed grant names no inputs: they are for an Observer or more of the tenant",
  },
  proof: {
    value: "RECORD_PROOF_EVIDENCE",
    rule: "an evidence file holds records that a feed grant does not name: ask for RECORD_PROOF_INCLUSION",
  },
} as const;

/** @throws feedForbidden. */
export const refuseBesideRecords = ({ feed }: Caller, field: keyof typeof besideRecords): void => {
  if (feed !== undefined) fail({ kind: "feedForbidden", field, ...besideRecords[field] });
};

/** @returns whose user spaces are watched; none in the system space alone. @throws tenantForbidden, feedForbidden. */
export const requireReach = (caller: Caller, asked: AskedFeed): Granted => {
  if (caller.feed !== undefined) requireGranted(caller.feed.grant, asked);
  const { tenants, spaces } = asked;
  if (!spaces.includes("user")) {
    if (tenants === "all" || tenants.every((tenant) => tenant === systemTenant)) return [];
    return invalidField("tenant", `must be ${systemTenant} in the system space`);
  }
  if (tenants === "all") {
    requireEveryTenant(caller);
    return "all";
  }
  return (tenants.length === 0 ? [caller.tenant] : tenants).map((tenant) => requireTenant(caller, tenant));
};
