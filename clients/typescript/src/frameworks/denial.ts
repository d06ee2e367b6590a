/**
 * How a denial reaches a stranger: by a status and the id of the decision, to ask about it. Neither reason, score nor
 * any text of an error goes out: they tell who probes how to get through, or what this program is made of. Pure.
 */
import { status as Code } from "@grpc/grpc-js";
import type { Decision } from "../guard/decision.ts";
import type { DeniedError } from "../guard/denied.ts";
import type { Rule } from "../guard/rule.ts";

export type Denial = {
  /** 403: nobody may do this, or this one may not. 503: there is no answer now. */
  readonly status: 403 | 503;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON. */
  readonly body: string;
};

const headers = { "content-type": "application/json; charset=utf-8", "cache-control": "no-store" } as const;

/** Whether the question was answered, or is none: what has no spelling, nobody may do. */
export const isAnswered = ({ decision, code }: DeniedError): boolean =>
  decision !== undefined || code === Code.INVALID_ARGUMENT;

export const denialOf = (error: DeniedError): Denial => {
  const { decision, retryDelayMs } = error;
  if (!isAnswered(error)) {
    const seconds =
      retryDelayMs === undefined ? {} : { "retry-after": String(Math.ceil(retryDelayMs / 1000)) };
    return {
      status: 503,
      headers: { ...headers, ...seconds },
      body: JSON.stringify({ error: "unavailable" }),
    };
  }
  const auditId = decision?.auditId ?? "";
  const named = auditId === "" ? {} : { audit_id: auditId };
  return { status: 403, headers, body: JSON.stringify({ error: "denied", ...named }) };
};

/** A rule, and who is told of denials. */
export type GuardOptions<Args extends readonly unknown[]> = Rule<Args> & {
  /** For logs and counters. Whatever it does, the denial stands. */
  readonly onDenied?: (error: DeniedError, ...args: Args) => void;
};

export const tellDenied = <Args extends readonly unknown[]>(
  { onDenied }: Pick<GuardOptions<Args>, "onDenied">,
  error: DeniedError,
  args: Args,
): void => {
  try {
    onDenied?.(error, ...args);
  } catch {
    // Who counts denials decides nothing about them.
  }
};

const decisions = new WeakMap<object, Decision>();

export const keepDecision = (of: object, decision: Decision): void => void decisions.set(of, decision);

/** The decision that let a request through, by the object that its handler has; undefined if no guard saw it. */
export const decisionOf = (of: object): Decision | undefined => decisions.get(of);
