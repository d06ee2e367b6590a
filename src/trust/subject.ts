/** The subject of a check and its level: from the caller's credential for itself, from the ledger for others. */
import { isAtLeast, type Level } from "@sigil/core/record";
import { fail } from "../errors.ts";
import type { Caller } from "../identity/caller.ts";
import { isInForce, type StandingPrincipal } from "../identity/suspension.ts";

/** The subject of a check. */
export type Subject = {
  readonly id: string;
  readonly level: Level;
  /** Whether it is an active principal of the caller's tenant. */
  readonly isEnrolled: boolean;
  /** Why it counts only as a Guest, for the record. */
  readonly note?: string;
};

export type FindPrincipal = (id: string) => Promise<StandingPrincipal | undefined>;

/**
 * An unknown, revoked or suspended principal, or one of another tenant, counts as a Guest.
 * @param id empty for the caller itself. @throws levelTooLow if the caller may only check itself.
 */
export const subjectOf = (caller: Caller, id: string, find: FindPrincipal): Subject | Promise<Subject> => {
  if (id === "" || id === caller.principal) {
    return { id: caller.principal, level: caller.level, isEnrolled: true };
  }
  if (!isAtLeast(caller.level, "operator")) {
    const rpc = "a check about another subject";
    return fail({ kind: "levelTooLow", rpc, needed: "operator", actual: caller.level });
  }
  return otherSubject(caller, id, find);
};

const otherSubject = async (caller: Caller, id: string, find: FindPrincipal): Promise<Subject> => {
  const principal = await find(id);
  const guest = { id, level: "guest", isEnrolled: false } as const;
  if (principal === undefined || principal.tenant !== caller.tenant) return guest;
  if (isInForce(principal)) return { id, level: principal.loa, isEnrolled: true };
  const { suspension } = principal;
  const note = suspension === undefined ? "revoked" : `suspended by ${suspension.recordId}`;
  return { ...guest, note };
};
