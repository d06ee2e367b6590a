/** An interceptor for servers of grpc-js: no handler sees a call before it is allowed, nor its messages. */
import {
  Metadata,
  ResponderBuilder,
  ServerInterceptingCall,
  ServerListenerBuilder,
  status as Code,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from "@grpc/grpc-js";
import type { Decision } from "../guard/decision.ts";
import type { DeniedError } from "../guard/denied.ts";
import { parseRule, type Guarding } from "../guard/rule.ts";
import { isAnswered, keepDecision, tellDenied, type GuardOptions } from "./denial.ts";

export { decisionOf } from "./denial.ts";

/** What is known of a call before its first message. */
export type GuardedCall = {
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly metadata: Metadata;
  readonly peer: string;
};

export type InterceptorOptions = GuardOptions<[call: GuardedCall]> & {
  /** Paths that anybody may call, exactly as they are: `/grpc.health.v1.Health/Check`. */
  readonly unguarded?: readonly string[];
};

const pathPattern = /^\/[\w.]+\/\w+$/;

const parseUnguarded = (paths: readonly string[] = []): ReadonlySet<string> => {
  const wrong = paths.find((path) => !pathPattern.test(path));
  if (wrong === undefined) return new Set(paths);
  throw new TypeError(`unguarded: "${wrong}" must be the path of one method, as /package.Service/Method`);
};

const refuse = (call: ServerInterceptingCallInterface, error: DeniedError): void => {
  const trailers = new Metadata();
  const auditId = error.decision?.auditId ?? "";
  if (auditId !== "") trailers.set("sigil-audit-id", auditId);
  const denied = { code: Code.PERMISSION_DENIED, details: "denied" };
  const unavailable = { code: Code.UNAVAILABLE, details: "no decision" };
  call.sendStatus({ ...(isAnswered(error) ? denied : unavailable), metadata: trailers });
};

/**
 * `new Server({ interceptors: [guard(sigil, { … })] })`. PERMISSION_DENIED after a deny, UNAVAILABLE without an answer;
 * `decisionOf(call.metadata)` in a handler is the decision.
 * @throws TypeError at the start, without an action or a target.
 */
export const guard = (sigil: Guarding, options: InterceptorOptions): ServerInterceptor => {
  const asking = parseRule(sigil, options);
  const unguarded = parseUnguarded(options.unguarded);
  return ({ path }, call) => {
    if (unguarded.has(path)) return new ServerInterceptingCall(call);
    const left = new AbortController();
    const deny = (error: DeniedError, asked: GuardedCall): void => {
      tellDenied(options, error, [asked]);
      refuse(call, error);
    };
    const decide = (asked: GuardedCall, allow: (decision: Decision) => void): void => {
      asking([asked], { signal: left.signal }).then(allow, (error: DeniedError) => deny(error, asked));
    };
    const listener = new ServerListenerBuilder()
      .withOnReceiveMetadata((metadata, next) => {
        decide({ path, metadata, peer: call.getPeer() }, (decision) => {
          keepDecision(metadata, decision);
          next(metadata);
        });
      })
      .withOnCancel(() => left.abort())
      .build();
    return new ServerInterceptingCall(
      call,
      new ResponderBuilder().withStart((next) => next(listener)).build(),
    );
  };
};
