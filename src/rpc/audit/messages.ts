/** Recorded decisions, their records and their verification as protobuf. */
import {
  ReplayOutcome,
  StepOutcome,
  type FrozenChain,
  type RecordedFeature,
  type ReplayDecisionResponse,
  type ReplayedScalar,
  type VerifyFrozenChainResponse,
} from "@sigil/proto/sigil/audit/v1/audit";
import { LevelOfAccess } from "@sigil/proto/sigil/type/v1/type";
import type { FrozenChainPayload } from "@sigil/core/record";
import type { AuditedChain, ReplayedDecision, Verification, VerificationStep } from "../../audit/evidence.ts";
import { FEATURES, type Replay, type ReplayedValue } from "@sigil/core/model";
import { formatRecord } from "../canon/records.ts";
import { formatLevel, formatTime, formatVerdict } from "../message/vocabulary.ts";

const OUTCOMES = {
  passed: StepOutcome.STEP_OUTCOME_PASSED,
  failed: StepOutcome.STEP_OUTCOME_FAILED,
  skipped: StepOutcome.STEP_OUTCOME_SKIPPED,
} satisfies Record<VerificationStep["outcome"], StepOutcome>;

const nothing = new Uint8Array(0);

const featuresOf = ({ features, contributions }: FrozenChainPayload): RecordedFeature[] =>
  FEATURES.flatMap((feature) => {
    const value = features[feature];
    return value === undefined ? [] : [{ feature, value, contribution: contributions[feature] ?? 0 }];
  });

export const formatChain = ({ record, chain }: AuditedChain): FrozenChain => {
  const { request } = chain;
  return {
    auditId: record.body.id,
    time: formatTime(record.body.ts),
    tenant: record.body.tenant,
    caller: request.caller,
    subject: request.subject,
    level: formatLevel(request.loa),
    action: request.action,
    target: request.target,
    session: request.session,
    inputDigest: request.inputDigest ?? nothing,
    inputBytes: BigInt(request.inputBytes ?? 0),
    input: request.input ?? undefined,
    verdict: formatVerdict(chain.verdict),
    reason: chain.reason,
    score: chain.score ?? undefined,
    z: chain.z ?? undefined,
    threshold: chain.threshold ?? undefined,
    features: featuresOf(chain),
    modelId: chain.model.id,
    modelHash: chain.model.hash ?? nothing,
    steps: chain.steps.map(({ name, detail }) => ({ name, detail })),
    durationUs: BigInt(chain.durationUs),
    metadata: { ...request.metadata },
    record: formatRecord(record),
    callerSeq: BigInt(chain.callerSeq ?? 0),
    minLevel:
      request.minLoa === undefined ? LevelOfAccess.LEVEL_OF_ACCESS_UNSPECIFIED : formatLevel(request.minLoa),
  };
};

const REPLAYED = {
  equal: ReplayOutcome.REPLAY_OUTCOME_EQUAL,
  different: ReplayOutcome.REPLAY_OUTCOME_DIFFERENT,
  partial: ReplayOutcome.REPLAY_OUTCOME_PARTIAL,
  asRecorded: ReplayOutcome.REPLAY_OUTCOME_AS_RECORDED,
} satisfies Record<ReplayedValue["outcome"] | Replay["outcome"], ReplayOutcome>;

const formatScalar = (value: ReplayedValue["recorded"]): ReplayedScalar => {
  if (value === null) return { value: undefined };
  return { value: typeof value === "number" ? { $case: "number", value } : { $case: "text", value } };
};

export const formatReplay = ({ replay, model }: ReplayedDecision): ReplayDecisionResponse => ({
  outcome: REPLAYED[replay.outcome],
  values: replay.values.map(({ field, outcome, recorded, recomputed }) => ({
    field,
    outcome: REPLAYED[outcome],
    recorded: formatScalar(recorded),
    recomputed: formatScalar(recomputed),
  })),
  modelHash: model?.hash ?? nothing,
  modelPosition: model?.position,
});

export const formatVerification = (verification: Verification): VerifyFrozenChainResponse => ({
  verified: verification.verified,
  steps: verification.steps.map(({ name, outcome, detail }) => ({
    name,
    outcome: OUTCOMES[outcome],
    detail,
  })),
  ledgerPosition: verification.position,
  checkpoint: verification.checkpoint,
  inclusionProof: [...verification.proof],
  envelope: verification.envelope ?? nothing,
});
