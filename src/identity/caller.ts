/** The authenticated caller, and the context of its call. Pure. */
import type { Hash } from "@sigil/core/bytes";
import { fail, invalidField } from "../errors.ts";
import {
  publicTenant,
  systemTenant,
  tenantFault,
  type FeedGrantPayload,
  type Level,
} from "@sigil/core/record";
import type { StandingPrincipal } from "./suspension.ts";

export type Caller = {
  /** The principal's id; empty for an anonymous Guest. */
  readonly principal: string;
  readonly tenant: string;
  readonly level: Level;
  /** "attestation": a witness, authenticated by its signature on a proposal, not by the call. */
  readonly credential: "none" | "token" | "certificate" | "attestation";
  /** Network origin of an anonymous caller (`peer.ts`). Empty for an authenticated caller. */
  readonly peer: string;
  /** Thumbprint of the key that signed the token, base64url. */
  readonly key?: string;
  /** Hash of the principal's record. */
  readonly record?: Hash;
  /** What it may watch by a feed grant, and where that stands. */
  readonly feed?: { readonly grant: FeedGrantPayload; readonly position: bigint };
};

/**
 * A control character, which no principal id holds, so that the keys of principals and anonymous callers are disjoint.
 */
const peerMark = "\u0001";

/** The key for quotas and fair queueing: the principal, or the network origin of an anonymous caller. */
export const callerKey = ({ credential, principal, peer }: Caller): string =>
  credential === "none" ? `${peerMark}${peer}` : principal;

/** Memory budget for reads: each caller has a share, and one that does not read its replies waits on its own share. */
export type Room = {
  /**
   * Releases what was held and acquires it again, waiting if necessary; called before each long read. @throws
   * overQuota, or the reason the call ended.
   */
  readonly enter: () => Promise<void>;
  /** Releases the budget; called before waiting for something else. */
  readonly leave: () => void;
};

/**
 * Pacing of a call's work: slices of processor time, charged to the caller, with yields to other callers in between.
 */
export type Pace = {
  /** Runs synchronous work on each item, yielding between items. */
  readonly map: <Item, Result>(
    items: readonly Item[],
    act: (item: Item, index: number) => Result,
  ) => Promise<readonly Result[]>;
  /** Runs one piece of synchronous work. */
  readonly run: <Result>(work: () => Result) => Result;
  /** Charges processor time, in milliseconds, that `map` and `run` cannot measure. */
  readonly charge: (costMs: number) => void;
  /** Yields; resolves at the caller's next turn. */
  readonly pause: () => Promise<void>;
  /** Counts this call as `items` concurrent calls. Resolves when the caller's concurrency limit permits. */
  readonly weigh: (items: number) => Promise<void>;
};

/** Context of a call besides its request. */
export type CallContext = {
  /** Aborted if the caller cancels or its deadline passes; its reason is the fault that ended the call. */
  readonly signal: AbortSignal;
  /** Milliseconds to the deadline, at the start of the call. */
  readonly deadlineMs: number;
  /** The largest reply that the caller accepts, in bytes; default `messageBytesMax`. */
  readonly replyBytesMax?: number;
  /** Absent if there are no other callers. */
  readonly pace?: Pace;
  /** Copied into the record: request_id, and traceparent if the caller sent one. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Further metadata for the record of each item of the call, in order. */
  readonly itemMetadata?: readonly Readonly<Record<string, string>>[] | undefined;
};

/** Runs synchronous work on each item with the call's pacing. */
export const mapPaced = <Item, Result>(
  { pace }: CallContext,
  items: readonly Item[],
  act: (item: Item, index: number) => Result,
): Promise<readonly Result[]> | readonly Result[] =>
  pace === undefined ? items.map(act) : pace.map(items, act);

/** Runs one piece of synchronous work with the call's pacing. */
export const runPaced = <Result>({ pace }: CallContext, work: () => Result): Result =>
  pace === undefined ? work() : pace.run(work);

/** What a principal's standing says of its caller. */
export const standingCaller = ({
  tenant,
  loa: level,
  feed,
  record,
}: StandingPrincipal): Pick<Caller, "tenant" | "level" | "feed" | "record"> => ({
  tenant,
  level,
  ...(record === undefined ? {} : { record }),
  ...(feed?.grant === undefined ? {} : { feed: { grant: feed.grant, position: feed.position } }),
});

/** A caller without credentials, before its network origin is known. */
export const anonymous: Caller = {
  principal: "",
  tenant: publicTenant,
  level: "guest",
  credential: "none",
  peer: "",
};

/** The scope of an idempotency key: keys are per caller and RPC. Undefined if the call has no key (empty). */
export const idempotencyScope = (caller: Caller, rpc: string, key: string) =>
  key === "" ? undefined : { tenant: caller.tenant, caller: callerKey(caller), rpc, key };

/** Only Root of tenant "system" may read across tenants. */
export const readsAcross = (caller: Caller): boolean =>
  caller.level === "root" && caller.tenant === systemTenant;

/** The tenant to read: the requested one, by default the caller's own. @throws invalidField, tenantForbidden. */
export const tenantFor = (caller: Caller, asked: string): string => {
  if (asked === "" || asked === caller.tenant) return caller.tenant;
  const fault = tenantFault(asked);
  if (fault !== null) return invalidField("tenant", fault);
  if (readsAcross(caller)) return asked;
  return fail({
    kind: "tenantForbidden",
    tenant: asked,
    rule: "only Root of tenant system reads across tenants",
  });
};
