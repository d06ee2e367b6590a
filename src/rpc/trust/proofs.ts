/** Proofs in the answers to checks. */
import type {
  BatchCheckRequest,
  BatchCheckResponse,
  BatchCheckResult,
  CheckRequest,
} from "@sigil/proto/sigil/trust/v1/trust";
import { BatchCheckResponse as BatchAnswer } from "@sigil/proto/sigil/trust/v1/trust";
import { RecordedProof } from "@sigil/proto/sigil/type/v1/type";
import type { CallContext, Caller } from "../../identity/caller.ts";
import type { BatchItem, Decision } from "../../trust/decision.ts";
import { encodedBytes, fittingCount, replyLimitOf } from "../bounds/reply-limit.ts";
import {
  evidenceFor,
  proofsFor,
  readRecordProof,
  type Provable,
  type RecordedProver,
} from "../message/recorded-proof.ts";
import { openingsOf } from "./messages.ts";

export const provableOf = (
  { position, envelope }: Decision,
  { disclose, proof }: Pick<CheckRequest, "disclose" | "proof">,
): Provable => ({
  wanted: readRecordProof(proof),
  position,
  envelope,
  disclosed: disclose ? openingsOf : () => ({}),
});

/** Bytes that stand before one proof in a reply, at most. */
const proofHeadBytes = 16;

export type ProvenBatch = {
  readonly request: BatchCheckRequest;
  readonly items: readonly BatchItem[];
  readonly response: BatchCheckResponse;
};

type Asked = { readonly index: number; readonly provable: Provable };

const askedIn = ({ request, items }: ProvenBatch): readonly Asked[] =>
  items.flatMap((item, index) => {
    const check = request.checks[index];
    if (item.kind === "failed" || check === undefined) return [];
    const provable = provableOf(item.decision, check);
    return provable.wanted === "none" ? [] : [{ index, provable }];
  });

const putProof = (result: BatchCheckResult | undefined, proof: RecordedProof): BatchCheckResult | undefined =>
  result?.outcome?.$case === "decision"
    ? { outcome: { $case: "decision", value: { ...result.outcome.value, proof } } }
    : result;

/** Adds the proofs that were asked for, in order, of as many items as the reply has room for; then evidence alike. */
export const withProofs = async (
  prover: RecordedProver,
  batch: ProvenBatch,
  asking: { readonly caller: Caller; readonly call: CallContext },
): Promise<BatchCheckResponse> => {
  const asked = askedIn(batch);
  if (asked.length === 0) return batch.response;
  const { shared, proofs } = await proofsFor(
    prover,
    asked.map(({ provable }) => provable),
    asking,
  );
  const sharing = { ...batch.response, sharedProof: shared };
  let left = replyLimitOf(asking.call) - encodedBytes(BatchAnswer, sharing);
  // Nothing can be proved in a reply that has no room for what all proofs share.
  if (left < 0) return batch.response;
  const sizes = proofs.map((proof) => encodedBytes(RecordedProof, proof) + proofHeadBytes);
  const fitted = fittingCount(sizes, left);
  left -= sizes.slice(0, fitted).reduce((sum, bytes) => sum + bytes, 0);
  const results: (BatchCheckResult | undefined)[] = [...batch.response.results];
  for (const [order, { index, provable }] of asked.slice(0, fitted).entries()) {
    const evidence = left > 0 ? await evidenceFor(prover, provable, asking) : new Uint8Array(0);
    left -= evidence.length + proofHeadBytes;
    const proof = proofs[order] as RecordedProof;
    results[index] = putProof(results[index], left < 0 ? proof : { ...proof, evidence });
  }
  return { results: results as BatchCheckResult[], sharedProof: shared };
};
