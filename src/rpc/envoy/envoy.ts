/**
 * Envoy's ext_authz over gRPC: a request through Envoy becomes an ordinary check about the subject that Envoy
 * authenticated. If it could not be recorded, the call fails, and Envoy by default denies on errors.
 */
import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  AuthorizationService,
  type CheckRequest,
  type CheckResponse,
} from "@sigil/proto/envoy/service/auth/v3/external_auth";
import { invalidField } from "../../errors.ts";
import type { TrustService } from "../../trust/service.ts";
import type { RpcEnvironment } from "../call/environment.ts";
import { unary, type Answer } from "../call/unary.ts";
import { answerDecision, answerRefusal } from "./answer.ts";
import { readAttributes, type EnvoyMapping } from "./question.ts";

const checkHandler =
  (
    trust: Pick<TrustService, "check">,
    mapping: EnvoyMapping,
    { trustDomain }: RpcEnvironment,
  ): Answer<CheckRequest, CheckResponse> =>
  async (caller, { attributes }, call) => {
    if (attributes === undefined) return invalidField("attributes", "must be given");
    const reading = readAttributes(attributes, mapping, trustDomain);
    if (reading.kind === "refused") return answerRefusal(reading);
    return answerDecision(await trust.check(caller, reading.question, call), attributes);
  };

export const envoyHandlers = (
  trust: Pick<TrustService, "check">,
  mapping: EnvoyMapping,
  rpc: RpcEnvironment,
): UntypedServiceImplementation => ({
  check: unary(rpc, AuthorizationService.check.path, checkHandler(trust, mapping, rpc)),
});
