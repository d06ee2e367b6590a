/** Canonicalizes the names of a check. Pure. Source: docs/spec/trust.md §10. */
import {
  canonicalAction,
  canonicalSession,
  canonicalSubject,
  canonicalTarget,
  requireSpelling,
} from "@sigil/core/record";
import type { CheckQuestion } from "./decision.ts";

/** @param trustDomain the deployment's origin. @throws invalidField. */
export const spellQuestion = (question: CheckQuestion, trustDomain: string): CheckQuestion => ({
  ...question,
  action: requireSpelling(canonicalAction(question.action), "action"),
  target: requireSpelling(canonicalTarget(question.target), "target"),
  subject:
    question.subject === ""
      ? ""
      : requireSpelling(canonicalSubject(question.subject, trustDomain), "subject"),
  session: requireSpelling(canonicalSession(question.session), "session"),
});
