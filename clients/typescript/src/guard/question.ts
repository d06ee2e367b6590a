/** Asks one question, and acts on nothing but an allow. */
import { status as Code } from "@grpc/grpc-js";
import type { CheckRequest } from "@sigil/proto/sigil/trust/v1/trust";
import type { CallOptions } from "../call.ts";
import { SigilError } from "../error.ts";
import type { Partially } from "../services/method.ts";
import type { TrustClient } from "../services/trust.ts";
import { Decision } from "./decision.ts";
import { DeniedError } from "./denied.ts";

/** May this happen? Leave out the subject to ask about the caller of the connection. */
export type Question = Omit<Partially<CheckRequest>, "action" | "target"> & {
  readonly action: string;
  readonly target: string;
};

export type Check = (question: Question, options?: CallOptions) => Promise<Decision>;

const refuse = (field: string, description: string): never => {
  const fieldViolations = [{ field, description }];
  throw new SigilError(Code.INVALID_ARGUMENT, `${field} ${description}`, {
    reason: "QUESTION_INCOMPLETE",
    fieldViolations,
  });
};

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";

/**
 * An empty subject asks about the caller, who may do more: one that is given, and turns out to be nobody, is no
 * question about the caller.
 * @throws SigilError INVALID_ARGUMENT naming the field.
 */
const requireQuestion = (question: Question): void => {
  if (!isText(question.action)) refuse("action", "must be given");
  if (!isText(question.target)) refuse("target", "must be given");
  if (Object.hasOwn(question, "subject") && !isText(question.subject))
    refuse("subject", "must not be empty where it is given: leave it out to ask about the caller");
};

/** @returns the decision, whatever it is. @throws SigilError */
export const checkBy =
  ({ check }: Pick<TrustClient, "check">): Check =>
  async (question, options) => {
    requireQuestion(question);
    return new Decision(await check(question, options));
  };

/** @returns the decision of an allow. @throws DeniedError for everything else. */
export const requireBy =
  (check: Check): Check =>
  async (question, options) => {
    let decision: Decision;
    try {
      decision = await check(question, options);
    } catch (error) {
      throw DeniedError.because(error);
    }
    if (!decision.allowed) throw DeniedError.by(decision);
    return decision;
  };
