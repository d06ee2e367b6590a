/**
 * What a guard asks before it lets something happen: an action and a target, fixed or taken from what is about to
 * happen. Middleware, interceptors and guarded functions are this rule in different clothes.
 */
import { status as Code } from "@grpc/grpc-js";
import type { CallOptions } from "../call.ts";
import { SigilError } from "../error.ts";
import type { Decision } from "./decision.ts";
import { DeniedError } from "./denied.ts";
import type { Check, Question } from "./question.ts";

/** A text, or how to take it from what is about to happen. One that gives no text, or throws, denies. */
export type Part<Args extends readonly unknown[]> = string | ((...args: Args) => string | Promise<string>);

export type Rule<Args extends readonly unknown[]> = {
  /** What is to happen, for example "payment.refund". */
  readonly action: Part<Args>;
  /** To what, for example "payment/7". Take it from what the handler will act on, in the form it acts on. */
  readonly target: Part<Args>;
  /** Who would do it. Left out: the caller of the connection, which is this program and not its user. */
  readonly subject?: Part<Args>;
  /** A session or conversation, recorded with the decision. */
  readonly session?: Part<Args>;
  /** The input of the action, whose entropy is scored. */
  readonly input?: (...args: Args) => Uint8Array | Promise<Uint8Array>;
};

/** Anything that asks like a connection does. */
export type Guarding = { readonly require: Check };

/** @returns the decision of an allow. @throws DeniedError for everything else. */
export type Asking<Args extends readonly unknown[]> = (
  args: Args,
  options?: CallOptions,
) => Promise<Decision>;

const isAllow = (decision: unknown): boolean =>
  typeof decision === "object" && decision !== null && "allowed" in decision && decision.allowed === true;

const incomplete = { reason: "QUESTION_INCOMPLETE" } as const;

const parts = ["action", "target", "subject", "session"] as const;

const requirePart = (name: string, part: unknown): void => {
  if (typeof part === "function" || (typeof part === "string" && part.trim() !== "")) return;
  throw new TypeError(`a guard needs ${name}: a text that is not empty, or a function that gives one`);
};

const takePart = async <Args extends readonly unknown[]>(
  name: string,
  part: Part<Args>,
  args: Args,
): Promise<string> => {
  const text: unknown = typeof part === "string" ? part : await part(...args);
  // Nobody's subject would be the caller's: an empty text is no answer to whom this is about.
  if (typeof text !== "string" || text === "") throw new TypeError(`the guard's ${name} gave no text`);
  return text;
};

const questionOf = async <Args extends readonly unknown[]>(
  rule: Rule<Args>,
  args: Args,
): Promise<Question> => {
  const { action, target, subject, session, input } = rule;
  const textOf = (name: string, part: Part<Args>) => takePart(name, part, args);
  const [what, to] = [await textOf("action", action), await textOf("target", target)];
  return {
    action: what,
    target: to,
    ...(subject === undefined ? {} : { subject: await textOf("subject", subject) }),
    ...(session === undefined ? {} : { session: await textOf("session", session) }),
    ...(input === undefined ? {} : { input: await input(...args) }),
  };
};

/** @throws SigilError INVALID_ARGUMENT: there is no question, and so nobody may. */
const askable = async <Args extends readonly unknown[]>(rule: Rule<Args>, args: Args): Promise<Question> => {
  try {
    return await questionOf(rule, args);
  } catch (cause) {
    throw new SigilError(Code.INVALID_ARGUMENT, "the guard has no question", incomplete, { cause });
  }
};

/**
 * @throws TypeError at the start, before anything is guarded: without an action or a target, with a part that is
 * neither text nor function, or with nobody to ask.
 */
export const parseRule = <Args extends readonly unknown[]>(
  guarding: Guarding,
  rule: Rule<Args>,
): Asking<Args> => {
  const given: unknown = guarding;
  if (
    typeof given !== "object" ||
    given === null ||
    !("require" in given) ||
    typeof given.require !== "function"
  )
    throw new TypeError("a guard needs a connection");
  for (const name of parts) {
    const isNeeded = name === "action" || name === "target" || Object.hasOwn(rule, name);
    if (isNeeded) requirePart(name, rule[name]);
  }
  if (Object.hasOwn(rule, "input") && typeof rule.input !== "function")
    throw new TypeError("a guard needs input: a function that gives bytes");
  const fixed = { ...rule };
  return async (args, options) => {
    try {
      const decision = await guarding.require(await askable(fixed, args), options);
      // Whatever was passed as a connection: what it resolves with counts, not that it resolves.
      if (!isAllow(decision)) throw new TypeError("what was asked gave no decision");
      return decision;
    } catch (error) {
      throw DeniedError.because(error);
    }
  };
};

/** The same function, with a guard before it. The guard asks each time. */
export type Guard = <Args extends readonly unknown[], Result>(
  rule: Rule<Args>,
  work: (...args: Args) => Result | Promise<Result>,
) => (...args: Args) => Promise<Result>;

/** @throws TypeError at the start; the guarded function throws DeniedError, and has then done nothing. */
export const guardBy =
  (guarding: Guarding): Guard =>
  (rule, work) => {
    const asking = parseRule(guarding, rule);
    return async (...args) => {
      await asking(args);
      return work(...args);
    };
  };
