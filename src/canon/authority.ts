/** How Canon asks the trust model: every write is a decision, recorded before the write. Types and names. Pure. */
import type { Hash } from "@sigil/core/bytes";
import type { CallContext, Caller } from "../identity/caller.ts";

export type Question = {
  readonly action:
    | "canon.write"
    | "canon.delete"
    | "canon.propose"
    | "canon.attest"
    | "canon.commit"
    | "canon.withdraw";
  readonly target: string;
  /** The proposal it is about; empty otherwise. Recorded, not scored: no model can tell proposals apart. */
  readonly session: string;
  /** What is scored for entropy and recorded by digest. */
  readonly input: Uint8Array;
};

/** The decision that allowed a write. */
export type Authorised = { readonly auditId: string; readonly hash: Hash };

/** One decision a question, in order, all of them allowed. @throws denied, and whatever a check throws. */
export type Authorise = (
  caller: Caller,
  questions: readonly Question[],
  call: CallContext,
) => Promise<readonly Authorised[]>;
