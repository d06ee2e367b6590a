/**
 * The interface of PrincipalService, implemented in suspending.ts, withdrawing.ts and directory.ts. Types only.
 */
import type { CallContext, Caller } from "../caller.ts";
import type { EnrolledPrincipal } from "../principals.ts";
import type { PrincipalPage, PrincipalQuery } from "./directory.ts";
import type { Suspended, SuspendQuestion } from "./suspending.ts";
import type { Withdrawn } from "./withdrawing.ts";

export type PrincipalService = {
  /** @throws notFound, levelTooLow, denied, suspensionRefused, unauthenticated, notServing, indeterminate. */
  readonly suspend: (caller: Caller, question: SuspendQuestion, call: CallContext) => Promise<Suspended>;
  /** Of a feed grant. @throws notFound, levelTooLow, denied, unauthenticated, notServing, indeterminate. */
  readonly withdraw: (caller: Caller, principal: string, call: CallContext) => Promise<Withdrawn>;
  /** @param id empty for the caller's own. @throws notFound, levelTooLow, invalidField, recordCorrupt. */
  readonly get: (caller: Caller, id: string) => Promise<EnrolledPrincipal>;
  /** @throws tenantForbidden, invalidPageToken, recordCorrupt, cancelled. */
  readonly list: (caller: Caller, query: PrincipalQuery, signal: AbortSignal) => Promise<PrincipalPage>;
};
