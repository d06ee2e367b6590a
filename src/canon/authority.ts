/** Canon's requests for trust decisions: every write needs one, recorded before the write. Types and names. Pure. */
import type { CallContext, Caller } from "../identity/caller.ts";
import type { CheckQuestion, Decision } from "../trust/decision.ts";

/**
 * The session is the proposal's id, or empty: recorded, not scored, since models cannot tell proposals apart. The input
 * is scored for entropy and recorded by digest.
 */
export type Question = Pick<CheckQuestion, "target" | "session" | "input"> & {
  readonly action:
    | "canon.write"
    | "canon.delete"
    | "canon.propose"
    | "canon.attest"
    | "canon.commit"
    | "canon.withdraw";
};

/** The decision that allowed a write. */
export type Authorised = Pick<Decision, "auditId" | "hash">;

/** Returns one decision per question, in order, if all allow. @throws denied, and whatever a check throws. */
export type Authorise = (
  caller: Caller,
  questions: readonly Question[],
  call: CallContext,
) => Promise<readonly Authorised[]>;
