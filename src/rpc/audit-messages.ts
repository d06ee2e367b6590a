/** Recorded decisions, their records and their verification as protobuf. */
import {
  StepOutcome,
  type FrozenChain,
  type RecordedFeature,
  type VerifyFrozenChainResponse,
} from "../../generated/sigil/audit/v1/audit.ts";
import { Space, type CanonicalRecord } from "../../generated/sigil/type/v1/type.ts";
import { cborEncode } from "../record/cbor.ts";
import type { FrozenChainPayload } from "../record/kinds.ts";
import type { AuditedChain, EvidenceRecord, Verification, VerificationStep } from "../audit/evidence.ts";
import { FEATURES } from "../trust/features.ts";
import { jsonOf } from "./json.ts";
import { formatLevel, formatTime, formatVerdict } from "./vocabulary.ts";

const SPACES = { user: Space.SPACE_USER, system: Space.SPACE_SYSTEM } as const;

const OUTCOMES = {
  passed: StepOutcome.STEP_OUTCOME_PASSED,
  failed: StepOutcome.STEP_OUTCOME_FAILED,
  skipped: StepOutcome.STEP_OUTCOME_SKIPPED,
} satisfies Record<VerificationStep["outcome"], StepOutcome>;

const nothing = new Uint8Array(0);

const formatRecord = (record: EvidenceRecord): CanonicalRecord => {
  const { body } = record;
  return {
    envelope: record.envelope,
    kind: body.kind,
    schemaVersion: body.schemaVersion,
    id: body.id,
    tenant: body.tenant,
    time: formatTime(body.ts),
    space: SPACES[body.space],
    payloadJson: jsonOf(body.payload),
    payloadCbor: cborEncode(body.payload),
    links: body.links.map(({ label, target }) => ({ label, target })),
    prev: body.prev ?? nothing,
    hash: record.hash,
    signature: record.statement.signature,
    publicKey: record.signedBy.publicKey,
    attestations: [...record.attestations],
    position: record.position,
  };
};

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
    inputDigest: request.inputDigest,
    inputBytes: BigInt(request.inputBytes),
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
  };
};

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
