/** Middleware for Hono. Hono is no dependency: what is used of it is written down here. */
import type { DeniedError } from "../guard/denied.ts";
import { parseRule, type Guarding } from "../guard/rule.ts";
import { denialOf, keepDecision, tellDenied, type GuardOptions } from "./denial.ts";

export { decisionOf } from "./denial.ts";

type Context = { readonly req: { readonly raw: { readonly signal?: AbortSignal | null } } };

/**
 * Calls `next` after an allow; answers 403 or 503 otherwise. Put it before the handler of a route:
 * `app.post("/payments/:id/refund", guard(sigil, { … }), handler)`. `decisionOf(c)` is the decision.
 * @throws TypeError at the start, without an action or a target.
 */
export const guard = <C extends Context>(
  sigil: Guarding,
  options: GuardOptions<[context: C]>,
): ((context: C, next: () => Promise<void>) => Promise<Response | void>) => {
  const asking = parseRule(sigil, options);
  return async (context, next) => {
    try {
      keepDecision(context, await asking([context], { signal: context.req.raw.signal ?? undefined }));
    } catch (error) {
      tellDenied(options, error as DeniedError, [context]);
      const { status, headers, body } = denialOf(error as DeniedError);
      return new Response(body, { status, headers });
    }
    return next();
  };
};
