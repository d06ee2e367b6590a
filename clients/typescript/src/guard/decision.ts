/**
 * The answer to one question, for people to act on. An object is true wherever it stands as a condition, a deny no less
 * than an allow: `allowed` is the one thing to read, and what a linter demands (`@sigil/client/lint`).
 */
import { CheckResponse } from "@sigil/proto/sigil/trust/v1/trust";
import { Verdict, type LevelOfAccess } from "@sigil/proto/sigil/type/v1/type";

export class Decision {
  /** True for an honest ALLOW alone: a verdict, the permission and a record that agree. Act on this. */
  readonly allowed: boolean;
  readonly verdict: Verdict;
  /** Why, as a stable code, for example "SCORE_BELOW_THRESHOLD"; docs/spec/trust.md §5 lists them. */
  readonly reason: string;
  /** Names the decision's record; empty where there is none. */
  readonly auditId: string;
  readonly subject: string;
  readonly level: LevelOfAccess;
  /** In (0, 1), for people; undefined when none could be computed. */
  readonly score: number | undefined;
  readonly threshold: number | undefined;
  /** The answer as the server gave it, but for a contradiction, which is a deny. */
  readonly response: CheckResponse;

  constructor(response: CheckResponse) {
    const { allowed, verdict, reason, auditId, subject, level, score, threshold } = response;
    this.allowed = allowed && verdict === Verdict.VERDICT_ALLOW && auditId !== "";
    this.verdict = verdict;
    this.reason = reason;
    this.auditId = auditId;
    this.subject = subject;
    this.level = level;
    this.score = score;
    this.threshold = threshold;
    this.response = response;
    // What was decided stays decided: nothing between the check and the act may turn it.
    Object.freeze(this);
  }

  /** In proto3 JSON. */
  toJSON(): unknown {
    return CheckResponse.toJSON(this.response);
  }

  /** @throws TypeError where it is compared or added up, as in `decision == true`. */
  [Symbol.toPrimitive](hint: "default" | "number" | "string"): string {
    if (hint === "string") return JSON.stringify(this);
    throw new TypeError("a Decision is neither true nor false: read its allowed");
  }
}
