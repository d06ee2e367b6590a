/** Stubs that check replies when they are decoded, so that this package never returns an unchecked decision. */
import { makeGenericClientConstructor } from "@grpc/grpc-js";
import { judgeDecision, judgeResults, judgeStreamed, judgeVerification } from "./answer.ts";
import { AuditServiceClient, AuditServiceService } from "@sigil/proto/sigil/audit/v1/audit";
import { TrustServiceClient, TrustServiceService } from "@sigil/proto/sigil/trust/v1/trust";

type Decoding<Reply> = { readonly responseDeserialize: (bytes: Buffer) => Reply };

const judged = <Reply, Method extends Decoding<Reply>>(
  method: Method & Decoding<Reply>,
  judge: (reply: Reply) => Reply,
): Method => ({
  ...method,
  responseDeserialize: (bytes: Buffer) => judge(method.responseDeserialize(bytes)),
});

export const JudgedTrustClient = makeGenericClientConstructor(
  {
    ...TrustServiceService,
    check: judged(TrustServiceService.check, judgeDecision),
    batchCheck: judged(TrustServiceService.batchCheck, judgeResults),
    streamChecks: judged(TrustServiceService.streamChecks, judgeStreamed),
  },
  TrustServiceClient.serviceName,
) as unknown as typeof TrustServiceClient;

export const JudgedAuditClient = makeGenericClientConstructor(
  {
    ...AuditServiceService,
    verifyFrozenChain: judged(AuditServiceService.verifyFrozenChain, judgeVerification),
  },
  AuditServiceClient.serviceName,
) as unknown as typeof AuditServiceClient;
