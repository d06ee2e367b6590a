/** Who is calling, as proof established it, and what the call brings along. Pure. */
import { fail, invalidField } from "../errors.ts";
import { publicTenant, systemTenant, tenantFault, type Level } from "@sigil/core/record";

export type Caller = {
  /** The principal's id; empty for an anonymous Guest. */
  readonly principal: string;
  readonly tenant: string;
  readonly level: Level;
  /** "attestation": a witness, by its signature under a proposal and not by the call. */
  readonly credential: "none" | "token" | "certificate" | "attestation";
  /**
   * Where an anonymous caller calls from (`peer.ts`). Empty for whoever proved who it is: nothing hangs on its address.
   */
  readonly peer: string;
  /** Thumbprint, in base64url, of the key that signed the token. */
  readonly key?: string;
};

/** No principal's id holds a control character: no principal has an anonymous caller's share. */
const peerMark = "\u0001";

/** Whose share a call takes from: a principal's, or that of all who come without a name from one place. */
export const callerKey = ({ credential, principal, peer }: Caller): string =>
  credential === "none" ? `${peerMark}${peer}` : principal;

/**
 * Room for what is about to be read: a caller has so much of it, and one that does not read its answers waits for its
 * own.
 */
export type Room = {
  /**
   * Gives back what was taken and waits for as much; called before anything long is read. @throws overQuota, or why the
   * call ended.
   */
  readonly enter: () => Promise<void>;
  /** Called before waiting for something else. */
  readonly leave: () => void;
};

/**
 * How long work of a call goes on: in slices of processor time, between which others get their turn. Charged to its
 * caller.
 */
export type Pace = {
  /** Synchronous work on each item. */
  readonly map: <Item, Result>(
    items: readonly Item[],
    act: (item: Item, index: number) => Result,
  ) => Promise<readonly Result[]>;
  /** Synchronous work that has no parts. */
  readonly run: <Result>(work: () => Result) => Result;
  /** Time that its work took of what all share, in milliseconds, where `map` and `run` cannot measure it. */
  readonly charge: (costMs: number) => void;
  /** Resolves at the caller's next turn. */
  readonly pause: () => Promise<void>;
  /** What is under way counts as so many calls. Resolves when the caller may have as many under way. */
  readonly weigh: (items: number) => Promise<void>;
};

/** What a call brings beside its request. */
export type CallContext = {
  /** Aborted when the caller cancels or its deadline passes; its reason is the fault that ended the call. */
  readonly signal: AbortSignal;
  /** Milliseconds the caller still waits, at the start of the call. */
  readonly deadlineMs: number;
  /** The longest reply that the caller takes, in bytes; absent means `messageBytesMax`. */
  readonly replyBytesMax?: number;
  /** Absent where nobody else waits. */
  readonly pace?: Pace;
  /** Carried into the record: request_id, and traceparent when the caller sent one. */
  readonly metadata: Readonly<Record<string, string>>;
  /** What the record of each of the call's questions keeps besides, in their order. */
  readonly itemMetadata?: readonly Readonly<Record<string, string>>[] | undefined;
};

/** Synchronous work on each item, at the call's pace. */
export const mapPaced = <Item, Result>(
  { pace }: CallContext,
  items: readonly Item[],
  act: (item: Item, index: number) => Result,
): Promise<readonly Result[]> | readonly Result[] =>
  pace === undefined ? items.map(act) : pace.map(items, act);

/** Synchronous work without parts, at the call's pace. */
export const runPaced = <Result>({ pace }: CallContext, work: () => Result): Result =>
  pace === undefined ? work() : pace.run(work);

/** A caller without credentials, from nowhere yet. */
export const anonymous: Caller = {
  principal: "",
  tenant: publicTenant,
  level: "guest",
  credential: "none",
  peer: "",
};

/** Whose idempotency key it is: each caller has its own. Undefined where the key is empty: the call has none. */
export const idempotencyScope = (caller: Caller, rpc: string, key: string) =>
  key === "" ? undefined : { tenant: caller.tenant, caller: callerKey(caller), rpc, key };

/** Root of tenant "system" alone reads across tenants. */
export const readsAcross = (caller: Caller): boolean =>
  caller.level === "root" && caller.tenant === systemTenant;

/** The tenant to read in: the caller's own when none is asked for. @throws invalidField, tenantForbidden. */
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
