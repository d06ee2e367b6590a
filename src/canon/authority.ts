/** How Canon asks the trust model: every write is a decision, recorded before the write. Types and names. Pure. */
import type { CallContext, Caller } from "../identity/caller.ts";
import type { CheckQuestion, Decision } from "../trust/decision.ts";

/**
 * The session is the proposal it is about, or empty: recorded, not scored, as no model can tell proposals apart. The
 * input is scored for entropy and recorded by digest.
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

/** One decision a question, in order, all of them allowed. @throws denied, and whatever a check throws. */
export type Authorise = (
  caller: Caller,
  questions: readonly Question[],
  call: CallContext,
) => Promise<readonly Authorised[]>;
