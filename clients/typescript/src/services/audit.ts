/** Recorded decisions and their proofs. */
import * as audit from "@sigil/proto/sigil/audit/v1/audit";
import type { CallContext } from "../call.ts";
import { reading, serverStream, type ServerStream, type Unary } from "./method.ts";

export type AuditClient = {
  readonly getFrozenChain: Unary<audit.GetFrozenChainRequest, audit.GetFrozenChainResponse>;
  readonly listFrozenChains: Unary<audit.ListFrozenChainsRequest, audit.ListFrozenChainsResponse>;
  readonly verifyFrozenChain: Unary<audit.VerifyFrozenChainRequest, audit.VerifyFrozenChainResponse>;
  readonly replayDecision: Unary<audit.ReplayDecisionRequest, audit.ReplayDecisionResponse>;
  readonly getCheckpoint: Unary<audit.GetCheckpointRequest, audit.GetCheckpointResponse>;
  readonly getInclusionProof: Unary<audit.GetInclusionProofRequest, audit.GetInclusionProofResponse>;
  readonly proveCompleteness: Unary<audit.ProveCompletenessRequest, audit.ProveCompletenessResponse>;
  readonly getConsistencyProof: Unary<audit.GetConsistencyProofRequest, audit.GetConsistencyProofResponse>;
  /** The pieces of an evidence file; `readEvidence` joins them. */
  readonly getEvidence: ServerStream<audit.GetEvidenceRequest, audit.GetEvidenceResponse>;
  readonly getTile: Unary<audit.GetTileRequest, audit.GetTileResponse>;
};

export const auditClient = (stub: audit.AuditServiceClient, context: CallContext): AuditClient => ({
  getFrozenChain: reading(context, audit.GetFrozenChainRequest, stub.getFrozenChain.bind(stub)),
  listFrozenChains: reading(context, audit.ListFrozenChainsRequest, stub.listFrozenChains.bind(stub)),
  verifyFrozenChain: reading(context, audit.VerifyFrozenChainRequest, stub.verifyFrozenChain.bind(stub)),
  replayDecision: reading(context, audit.ReplayDecisionRequest, stub.replayDecision.bind(stub)),
  getCheckpoint: reading(context, audit.GetCheckpointRequest, stub.getCheckpoint.bind(stub)),
  getInclusionProof: reading(context, audit.GetInclusionProofRequest, stub.getInclusionProof.bind(stub)),
  proveCompleteness: reading(context, audit.ProveCompletenessRequest, stub.proveCompleteness.bind(stub)),
  getConsistencyProof: reading(
    context,
    audit.GetConsistencyProofRequest,
    stub.getConsistencyProof.bind(stub),
  ),
  getEvidence: serverStream(context, audit.GetEvidenceRequest, stub.getEvidence.bind(stub)),
  getTile: reading(context, audit.GetTileRequest, stub.getTile.bind(stub)),
});
