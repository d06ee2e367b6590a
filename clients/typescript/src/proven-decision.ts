/**
 * Verifies the answer to a check by the proof that it carries: that the decision's record is in the ledger, and that
 * the answer is what the record says of what was asked. Nothing else that the server says is believed.
 */
import type { CheckRequest, CheckResponse } from "@sigil/proto/sigil/trust/v1/trust";
import { Verdict, type SharedProof } from "@sigil/proto/sigil/type/v1/type";
import {
  canonicalAction,
  canonicalSubject,
  canonicalTarget,
  readDecision,
  spellingOr,
  type FrozenVerdict,
} from "@sigil/core/record";
import { openRecord, readRecord } from "@sigil/core/verify";
import { ProofError, type KeyWalk, type VerifiedRecord } from "./walk.ts";

export type DecisionToVerify = {
  /** What was asked; an empty subject is not compared. */
  readonly request: Pick<CheckRequest, "action" | "target"> & Partial<Pick<CheckRequest, "subject">>;
  readonly decision: CheckResponse;
  /** Of the batch, if it was asked in one. */
  readonly shared?: SharedProof | undefined;
};

const VERDICTS = {
  allow: Verdict.VERDICT_ALLOW,
  deny: Verdict.VERDICT_DENY,
  review: Verdict.VERDICT_REVIEW,
} satisfies Record<FrozenVerdict, Verdict>;

const refuse = (rule: string): never => {
  throw new ProofError(`the answer is not proved: ${rule}`);
};

const hashAt =
  ({ hashes }: SharedProof) =>
  (index: number): Uint8Array =>
    hashes[index] ?? refuse("the batch lacks a hash of its path");

/**
 * @returns the decision's record.
 * @throws ProofError if the answer has no proof, the proof does not hold, or the record says something else.
 */
export const verifyDecision = async (
  walk: KeyWalk,
  { request, decision, shared }: DecisionToVerify,
): Promise<VerifiedRecord> => {
  const proof = decision.proof ?? refuse("it has no proof");
  const { ledgerPosition: position } = decision;
  const { envelope } = proof;
  const record = await walk.verifyRecord({
    position,
    envelope,
    checkpoint: shared?.checkpoint ?? proof.checkpoint,
    inclusionProof: shared === undefined ? proof.inclusionProof : proof.sharedPath.map(hashAt(shared)),
  });
  if (record.kind !== "frozen_chain") refuse(`the record is a ${record.kind}, no decision`);
  const {
    verdict,
    reason,
    callerSeq,
    request: asked,
  } = readDecision(readRecord(openRecord(position, envelope), {}));
  const said: readonly (readonly [string, unknown, unknown])[] = [
    ["audit id", decision.auditId, record.id],
    ["verdict", decision.verdict, VERDICTS[verdict]],
    ["allowed", decision.allowed, verdict === "allow"],
    ["reason", decision.reason, reason],
    ["number", decision.callerSeq, BigInt(callerSeq ?? 0)],
    ["subject", decision.subject, asked.subject],
    ["action", spellingOr(canonicalAction(request.action), request.action), asked.action],
    ["target", spellingOr(canonicalTarget(request.target), request.target), asked.target],
  ];
  for (const [name, told, recorded] of said)
    if (told !== recorded) refuse(`its ${name} is ${String(told)}, and the record says ${String(recorded)}`);
  const { subject = "" } = request;
  if (subject !== "" && spellingOr(canonicalSubject(subject, walk.origin), subject) !== asked.subject)
    refuse("it is about another subject");
  return record;
};
