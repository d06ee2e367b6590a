/** The subject of a check and its level: from the caller's credential for itself, from the ledger for others. */
import { isAtLeast, principalLabel, suspensionLabel, type Level, type RecordLink } from "@sigil/core/record";
import { fail } from "../errors.ts";
import type { Caller } from "../identity/caller.ts";
import { isInForce, type StandingPrincipal } from "../identity/suspension.ts";

/** The subject of a check. */
export type Subject = {
  readonly id: string;
  readonly level: Level;
  /** Whether it is an active principal of the caller's tenant. */
  readonly isEnrolled: boolean;
  /** The records that say so: the version of its principal, and what suspends it. */
  readonly links: readonly RecordLink[];
};

export type FindPrincipal = (id: string) => Promise<StandingPrincipal | undefined>;

/**
 * An unknown, revoked or suspended principal, or one of another tenant, counts as a Guest.
 * @param id empty for the caller itself. @throws levelTooLow if the caller may only check itself.
 */
export const subjectOf = (caller: Caller, id: string, find: FindPrincipal): Subject | Promise<Subject> => {
  if (id === "" || id === caller.principal) {
    return { id: caller.principal, level: caller.level, isEnrolled: true, links: linksOf(caller) };
  }
  if (!isAtLeast(caller.level, "operator")) {
    const rpc = "a check about another subject";
    return fail({ kind: "levelTooLow", rpc, needed: "operator", actual: caller.level });
  }
  return otherSubject(caller, id, find);
};

const linksOf = ({
  record,
  suspension,
}: Pick<StandingPrincipal, "record" | "suspension">): Subject["links"] => {
  const links = { [principalLabel]: record, [suspensionLabel]: suspension?.hash };
  return Object.entries(links).flatMap(([label, target]) =>
    target === undefined ? [] : [{ label, target }],
  );
};

const otherSubject = async (caller: Caller, id: string, find: FindPrincipal): Promise<Subject> => {
  const principal = await find(id);
  if (principal === undefined || principal.tenant !== caller.tenant) {
    return { id, level: "guest", isEnrolled: false, links: [] };
  }
  const isEnrolled = isInForce(principal);
  return { id, level: isEnrolled ? principal.loa : "guest", isEnrolled, links: linksOf(principal) };
};
