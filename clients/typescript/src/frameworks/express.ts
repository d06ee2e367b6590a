/**
 * Middleware for Express, and for whatever else calls `(request, response, next)` with Node's response. Express is no
 * dependency: what is used of it is written down here.
 */
import type { DeniedError } from "../guard/denied.ts";
import { parseRule, type Guarding } from "../guard/rule.ts";
import { denialOf, keepDecision, tellDenied, type GuardOptions } from "./denial.ts";

export { decisionOf } from "./denial.ts";

type Response = {
  statusCode: number;
  readonly writableFinished: boolean;
  setHeader(name: string, value: string): unknown;
  end(body: string): unknown;
  destroy(): unknown;
  once(event: "close", listener: () => void): unknown;
  off(event: "close", listener: () => void): unknown;
};

type Next = (error?: unknown) => void;

const answer = (response: Response, error: DeniedError): void => {
  const { status, headers, body } = denialOf(error);
  try {
    response.statusCode = status;
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    response.end(body);
  } catch {
    // Something answered before the guard did: what it began is not completed.
    response.destroy();
  }
};

/**
 * Calls `next` after an allow; answers 403 or 503 otherwise, and nothing behind it runs. Put it where `request.params`
 * is known, before the handler: `app.post("/payments/:id/refund", guard(sigil, { … }), handler)`. `decisionOf(request)`
 * is the decision.
 * @throws TypeError at the start, without an action or a target.
 */
export const guard = <Request extends object>(
  sigil: Guarding,
  options: GuardOptions<[request: Request]>,
): ((request: Request, response: Response, next: Next) => void) => {
  const asking = parseRule(sigil, options);
  const decide = async (request: Request, response: Response): Promise<boolean> => {
    const left = new AbortController();
    const leave = (): void => left.abort();
    response.once("close", leave);
    try {
      keepDecision(request, await asking([request], { signal: left.signal }));
      return true;
    } catch (error) {
      tellDenied(options, error as DeniedError, [request]);
      answer(response, error as DeniedError);
      return false;
    } finally {
      response.off("close", leave);
    }
  };
  const decideThen = async (request: Request, response: Response, next: Next): Promise<void> => {
    // Out of this promise: what a handler throws is not a failure of the guard, and goes where it went without one.
    if (await decide(request, response)) queueMicrotask(() => next());
  };
  return (request, response, next) => {
    // Never `next(error)`: not everything that has this form looks at its argument before it goes on.
    decideThen(request, response, next).catch(() => void response.destroy());
  };
};
