/**
 * Unary calls that are repeated where that is safe: those that only read, and those with an idempotency key, which the
 * server answers once and then from what it stored. A key is made for each question that has none, so that a repeat is
 * the same question. Nothing else is ever sent twice.
 */
import { randomUUID } from "node:crypto";
import { callUnary, cancelled, type CallContext, type CallOptions, type UnaryMethod } from "../call.ts";
import { SigilError } from "../error.ts";
import { waitMs } from "./pause.ts";
import { planRetry } from "./plan.ts";

/** `reads`: changes nothing, or what it changes stays as the first call left it. `keyed`: see above. */
export type Repeating = "reads" | "keyed" | "never";

type Keyed = { idempotencyKey: string };

const isKeyed = (request: unknown): request is Keyed =>
  typeof request === "object" && request !== null && "idempotencyKey" in request;

/** Gives the request a key of its own, unless its caller gave one. */
const withKey = <Request>(request: Request): Request => {
  if (isKeyed(request) && request.idempotencyKey === "") request.idempotencyKey = randomUUID();
  return request;
};

/**
 * One question, one deadline, however many calls.
 * @throws SigilError of the last call; CANCELLED when the signal aborts, also between two calls.
 */
export const callRepeatedly = async <Request, Response>(
  method: UnaryMethod<Request, Response>,
  request: Request,
  context: CallContext,
  given: CallOptions = {},
  repeating: Repeating = "never",
): Promise<Response> => {
  const { retry, budget, closed } = context;
  if (repeating === "never" || retry === "none") return callUnary(method, request, context, given);
  const asked = repeating === "keyed" ? withKey(request) : request;
  const endMs = performance.now() + (given.deadlineMs ?? context.deadlineMs);
  for (let made = 1; ; made += 1) {
    try {
      const deadlineMs = Math.max(0, endMs - performance.now());
      const response = await callUnary(method, asked, context, { ...given, deadlineMs });
      budget.succeeded();
      return response;
    } catch (error) {
      if (!(error instanceof SigilError)) throw error;
      const remainingMs = endMs - performance.now();
      const plan = planRetry(retry, { error, made, remainingMs, random: Math.random() });
      if (plan.kind === "giveUp" || !budget.failed() || closed.aborted) throw error;
      const signals = given.signal === undefined ? [closed] : [given.signal, closed];
      await waitMs(plan.afterMs, AbortSignal.any(signals));
      if (given.signal?.aborted === true) throw cancelled(given.signal);
      if (closed.aborted) throw error;
    }
  }
};
