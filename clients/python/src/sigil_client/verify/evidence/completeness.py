"""That no decision of a caller in a span of time is left out. Pure. Source: docs/spec/completeness.md §1 and
§2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import ProofError
from ..record.body import RecordBody
from ..record.decision import read_decision
from ..record.kinds.operations import parse_caller_head
from .walk import KeyWalk, RecordEvidence, VerifiedRecord

SpanEnd = Literal["decision", "head", "newest"]


@dataclass(frozen=True)
class CompletenessProof:
    """What lies around a span, in one tree, as `ProveCompleteness` gives it."""

    before: RecordEvidence | None
    """The caller's last decision before the span; None when there is none."""
    after: RecordEvidence
    end: SpanEnd
    decisions: int
    """How many decisions the caller has in the span."""


@dataclass(frozen=True)
class AskedSpan:
    """What the proof must be about. Times in milliseconds since 1970-01-01T00:00:00Z."""

    caller: str
    """The caller's canonical id."""
    tenant: str
    from_ms: int | None = None
    """None: the span begins with the ledger, and nothing lies before it."""
    until_ms: int | None = None
    """None: the span ends when the question was answered, which only the server's clock says."""


def _number_in(body: RecordBody) -> tuple[str, int]:
    """Whose number a record says, and which."""
    if body.kind == "caller_head":
        head = parse_caller_head(body.payload)
        return head.caller, head.seq
    if body.kind != "frozen_chain":
        raise ProofError(f"a {body.kind} has no number")
    decision = read_decision(body)
    if decision.caller_seq is None:
        raise ProofError("a decision has no number")
    return decision.request.caller, decision.caller_seq


def _verified(walk: KeyWalk, evidence: RecordEvidence, asked: AskedSpan) -> tuple[VerifiedRecord, int]:
    record = walk.verify_record(evidence)
    caller, number = _number_in(record.body)
    if (record.body.tenant, caller) != (asked.tenant, asked.caller):
        raise ProofError("it is about another caller")
    return record, number


def check_completeness(walk: KeyWalk, proof: CompletenessProof, asked: AskedSpan) -> int:
    """How many decisions the caller has in the span, and no other. Raises ProofError."""
    last, last_number = _verified(walk, proof.after, asked)
    first_number = 0
    if proof.before is not None:
        first, first_number = _verified(walk, proof.before, asked)
        if first.body.kind != "frozen_chain":
            raise ProofError("the first is no decision")
        # One record may end the span on both sides, when it is the caller's newest and before the span.
        if first.position > last.position or (first.position == last.position and proof.end != "newest"):
            raise ProofError("the two are not in the order of the ledger")
        if asked.from_ms is None or first.body.ts >= asked.from_ms:
            raise ProofError("the first is not before the span")
    if proof.end not in ("decision", "head", "newest"):
        raise ProofError("it does not say how the span ends")
    is_head = last.body.kind == "caller_head"
    if proof.end != "newest":
        if is_head != (proof.end == "head"):
            raise ProofError("the span does not end as it says")
        if asked.until_ms is not None and last.body.ts < asked.until_ms:
            raise ProofError("the last is not after the span")
    decisions = last_number - first_number - (1 if proof.end == "decision" else 0)
    if decisions < 0 or decisions != proof.decisions:
        raise ProofError("it counts otherwise")
    return decisions
