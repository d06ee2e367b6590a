/** Decisions as AuthZEN has them: an allow is `true` and everything else `false`, with the reason beside it. */
import type { CheckResponse } from "@sigil/proto/sigil/trust/v1/trust";
import { Verdict } from "@sigil/proto/sigil/type/v1/type";
import type { Evaluation } from "./evaluations.ts";

export type Evaluated = {
  readonly decision: boolean;
  readonly context: Readonly<Record<string, unknown>>;
};

const verdicts: ReadonlyMap<Verdict, string> = new Map([
  [Verdict.VERDICT_ALLOW, "allow"],
  [Verdict.VERDICT_REVIEW, "review"],
]);

export const formatDecision = (
  { allowed, verdict, reason, auditId, score }: CheckResponse,
  { digest, unread }: Evaluation,
): Evaluated => ({
  decision: allowed && verdict === Verdict.VERDICT_ALLOW,
  context: {
    audit_id: auditId,
    verdict: verdicts.get(verdict) ?? "deny",
    reason,
    ...(score === undefined ? {} : { score }),
    ...(digest === undefined ? {} : { authzen_digest: digest, not_evaluated: unread }),
  },
});

/** @param status as HTTP would have it, of this evaluation alone. */
export const formatError = (status: number, message: string): Evaluated => ({
  decision: false,
  context: { error: { status, message } },
});
