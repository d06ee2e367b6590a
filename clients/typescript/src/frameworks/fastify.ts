/** A hook for Fastify. Fastify is no dependency: what is used of it is written down here. */
import type { DeniedError } from "../guard/denied.ts";
import { parseRule, type Guarding } from "../guard/rule.ts";
import { denialOf, keepDecision, tellDenied, type GuardOptions } from "./denial.ts";

export { decisionOf } from "./denial.ts";

type Reply = {
  code(status: number): unknown;
  header(name: string, value: string): unknown;
  send(body: string): unknown;
  readonly raw: {
    once(event: "close", listener: () => void): unknown;
    off(event: "close", listener: () => void): unknown;
  };
};

/**
 * Lets the handler run after an allow; answers 403 or 503 otherwise. As `preHandler` it knows params and body:
 * `app.post("/payments/:id/refund", { preHandler: guard(sigil, { … }) }, handler)`. `decisionOf(request)` is the
 * decision.
 * @throws TypeError at the start, without an action or a target.
 */
export const guard = <Request extends object>(
  sigil: Guarding,
  options: GuardOptions<[request: Request]>,
): ((request: Request, reply: Reply) => Promise<unknown>) => {
  const asking = parseRule(sigil, options);
  return async (request, reply) => {
    const left = new AbortController();
    const leave = (): void => left.abort();
    reply.raw.once("close", leave);
    try {
      keepDecision(request, await asking([request], { signal: left.signal }));
      return undefined;
    } catch (error) {
      tellDenied(options, error as DeniedError, [request]);
      const { status, headers, body } = denialOf(error as DeniedError);
      reply.code(status);
      for (const [name, value] of Object.entries(headers)) reply.header(name, value);
      reply.send(body);
      // To Fastify a hook that returns the reply has answered: the handler does not run.
      return reply;
    } finally {
      reply.raw.off("close", leave);
    }
  };
};
