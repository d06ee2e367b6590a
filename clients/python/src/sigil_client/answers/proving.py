"""Answers held to their proofs: that the decision's record is in the ledger, by keys that follow from the genesis hash,
and says what was answered of what was asked. Pure. Source: docs/spec/verify.md §4.
"""

from __future__ import annotations

from typing import Final

import grpc

from ..errors import SigilError
from ..messages import key_v1, trust_v1, type_v1
from ..verify import (
    Answer,
    KeyRecord,
    KeyWalk,
    ProofError,
    Question,
    RecordEvidence,
    Trust,
    verify_answer,
)
from .fresh import Proven

_VERDICTS: Final = {
    type_v1.VERDICT_ALLOW: "allow",
    type_v1.VERDICT_DENY: "deny",
    type_v1.VERDICT_REVIEW: "review",
}


def proof_error(error: ProofError) -> SigilError:
    """Of an answer that nothing proves: no answer."""
    failure = SigilError(grpc.StatusCode.DATA_LOSS, str(error), reason="PROOF_REFUSED")
    failure.__cause__ = error
    return failure


def genesis_of(trust: Trust) -> bytes:
    """Raises TypeError for trust without a genesis hash: keys follow from nothing else on a connection."""
    if not isinstance(trust, Trust) or trust.genesis is None:
        raise TypeError("verify_decisions must be a Trust with the hash of the genesis record")
    return trust.genesis


def walk_of(genesis: bytes, records: list[key_v1.KeyRecord]) -> KeyWalk:
    """Raises SigilError."""
    try:
        return KeyWalk.of(genesis, [KeyRecord(each.ledger_position, each.envelope) for each in records])
    except ProofError as error:
        raise proof_error(error) from error


def ask_for_proof(request: trust_v1.CheckRequest) -> None:
    """Has the answer carry a proof, and what opens the record's commitment to the input."""
    if request.proof not in (type_v1.RECORD_PROOF_INCLUSION, type_v1.RECORD_PROOF_EVIDENCE):
        request.proof = type_v1.RECORD_PROOF_INCLUSION
    if request.input:
        request.disclose = True


def _evidence(decision: trust_v1.CheckResponse, shared: type_v1.SharedProof | None) -> RecordEvidence:
    if not decision.HasField("proof"):
        raise ProofError("the answer is not proved: it has no proof")
    proof = decision.proof
    if shared is None:
        path = tuple(proof.inclusion_proof)
    elif any(index >= len(shared.hashes) for index in proof.shared_path):
        raise ProofError("the answer is not proved: the batch lacks a hash of its path")
    else:
        path = tuple(shared.hashes[index] for index in proof.shared_path)
    return RecordEvidence(
        position=decision.ledger_position,
        envelope=proof.envelope,
        checkpoint=proof.checkpoint if shared is None else shared.checkpoint,
        inclusion_proof=path,
    )


def prove(
    walk: KeyWalk,
    question: Question,
    decision: trust_v1.CheckResponse,
    shared: type_v1.SharedProof | None = None,
) -> Proven:
    """The decision's record. Raises ProofError. `shared` is that of the batch, if it was asked in one."""
    evidence = _evidence(decision, shared)
    answer = Answer(
        audit_id=decision.audit_id,
        verdict=_VERDICTS.get(decision.verdict, ""),
        allowed=decision.allowed,
        reason=decision.reason,
        caller_seq=decision.caller_seq,
        subject=decision.subject,
        proof=evidence,
        disclosures=decision.disclosures,
    )
    record = verify_answer(walk, question, answer)
    return Proven(evidence.position, record.body.ts, walk.verify_checkpoint(evidence.checkpoint))
