"""Verifies the answer to a check by the proof that it carries. Pure. Source: docs/spec/verify.md §4.

The decision's record is in the ledger, and the answer is what the record says of what was asked. Nothing else
that the server says is believed. Knows no protobuf: whoever reads the answer makes an `Answer` of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from ..cbor import decode
from ..errors import ProofError
from ..record.body import RecordBody
from ..record.commitment import parse_digest_value, read_disclosures
from ..record.decision import read_decision
from ..record.kinds.frozen_chain import parse_frozen_chain_1
from ..record.spelling import canonical_action, canonical_subject, canonical_target, spelling_or
from .walk import KeyWalk, RecordEvidence, VerifiedRecord


@dataclass(frozen=True)
class Question:
    """What was asked; an empty subject is not compared, nor is an input without its digest."""

    action: str
    target: str
    subject: str = ""
    input_digest: bytes | None = None
    """SHA-256, 32 bytes."""


@dataclass(frozen=True)
class Answer:
    """What was answered. `proof` is None where the answer has none."""

    audit_id: str
    verdict: str
    """`allow`, `deny` or `review`."""
    allowed: bool
    reason: str
    caller_seq: int
    """0 for an anonymous caller."""
    subject: str
    proof: RecordEvidence | None
    disclosures: bytes = b""
    """CBOR: what opens the commitments of the record, the input's among them."""


def _refuse(rule: str) -> NoReturn:
    raise ProofError(f"the answer is not proved: {rule}")


def verify_answer(walk: KeyWalk, question: Question, answer: Answer) -> VerifiedRecord:
    """Gives the decision's record.

    Raises ProofError if the answer has no proof, the proof does not hold, or the record says something else.
    """
    if answer.proof is None:
        _refuse("it has no proof")
    record = walk.verify_record(answer.proof)
    if record.body.kind != "frozen_chain":
        _refuse(f"the record is a {record.body.kind}, no decision")
    decision = read_decision(record.body)
    asked = decision.request
    said: tuple[tuple[str, object, object], ...] = (
        ("audit id", answer.audit_id, record.body.id),
        ("verdict", answer.verdict, decision.verdict),
        ("allowed", answer.allowed, decision.verdict == "allow"),
        ("reason", answer.reason, decision.reason),
        ("number", answer.caller_seq, decision.caller_seq or 0),
        ("subject", answer.subject, asked.subject),
        ("action", spelling_or(canonical_action, question.action), asked.action),
        ("target", spelling_or(canonical_target, question.target), asked.target),
    )
    for name, told, recorded in said:
        if told != recorded or type(told) is not type(recorded):
            _refuse(f"its {name} is {told}, and the record says {recorded}")
    if question.subject != "":
        spelled = spelling_or(lambda raw: canonical_subject(raw, walk.origin), question.subject)
        if spelled != asked.subject:
            _refuse("it is about another subject")
    if question.input_digest is not None:
        _require_input(record.body, answer.disclosures, question.input_digest)
    return record


def _require_input(body: RecordBody, disclosures: bytes, digest: bytes) -> None:
    """The record commits to the digest of its input, and the answer opens the commitment."""
    if _input_digest(body, disclosures) != digest:
        _refuse("its record does not say that it is about this input")


def _input_digest(body: RecordBody, disclosures: bytes) -> bytes | None:
    if body.schema_version == 1:
        return parse_frozen_chain_1(body.payload).input_digest
    if disclosures == b"":
        return None
    opening = read_disclosures(decode(disclosures), body).get("input")
    return None if opening is None else parse_digest_value(opening.value, "disclosures.input.value").digest
