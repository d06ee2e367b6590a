"""Consistency checks of replies. A reply that contradicts itself or its request never allows: a decision becomes a deny
with reason REPLY_CONTRADICTORY, an item a failed one, anything else an error. Absent fields are no contradiction,
except the audit id of an allow. Pure.

Sources: docs/spec/trust.md §4 and §5, the comments of CheckResponse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from ..errors import REPLY_CONTRADICTORY, contradiction
from ..messages import audit_v1, canon_v1, trust_v1, type_v1

_REASONS_OF_NO_ALLOW = frozenset(
    {
        "UNKNOWN_ACTION",
        "LEVEL_TOO_LOW",
        "SCORE_BELOW_THRESHOLD",
        "REVIEW_BAND",
        "MODEL_MISSING",
        "EVALUATOR_ERROR",
        "DEADLINE_EXCEEDED",
    }
)
"""Reasons that cannot accompany an allow. Source: docs/spec/trust.md §5."""

_TOLERANCE = 1e-9
"""Relative, for differences between platforms' exponential functions; far below any real margin."""

_THRESHOLD_PLAIN_MAX = 0.999_999
"""Up to here a logistic's last bit is less than the tolerance in logits."""

_HASH_BYTES = 32
_INFINITY = math.inf
_ALLOW, _DENY, _REVIEW = type_v1.VERDICT_ALLOW, type_v1.VERDICT_DENY, type_v1.VERDICT_REVIEW
_VERDICTS = (_ALLOW, _DENY, _REVIEW)


def judge_of(kind: type[Message]) -> Callable[[Any], None] | None:
    """What a reply has to pass before it may be used: it turns what contradicts itself into a deny. None for one that
    says nothing that could.
    """
    return _JUDGES.get(kind)


def judge_decision(answer: trust_v1.CheckResponse) -> None:
    """Turns an inconsistent answer into a deny, which keeps its audit id for investigation."""
    if decision_fault(answer) is None:
        return
    answer.verdict = type_v1.VERDICT_DENY
    answer.allowed = False
    answer.reason = REPLY_CONTRADICTORY


def decision_fault(answer: trust_v1.CheckResponse) -> str | None:
    """Why an answer must not be used, None if it is consistent. Of a deny only that it is one."""
    verdict = answer.verdict
    if answer.allowed != (verdict == _ALLOW):
        return "allowed and verdict differ"
    if verdict == _DENY:
        return None
    if verdict not in _VERDICTS:
        return f"verdict {verdict} is not known"
    if answer.audit_id == "":
        return "it names no record"
    if len(answer.model_hash) not in (0, _HASH_BYTES):
        return "the hash of its model is not 32 bytes"
    has = answer.HasField
    score = answer.score if has("score") else None
    threshold = answer.threshold if has("threshold") else None
    z = answer.z if has("z") else None
    logistic = 0.0 if z is None else _logistic(z)
    fault = _numbers_fault(answer, score, threshold, z, logistic)
    if fault is not None or verdict == _REVIEW:
        return fault
    if answer.reason in _REASONS_OF_NO_ALLOW:
        return f"an allow cannot have the reason {answer.reason}"
    is_below = threshold is not None and _is_below(score, threshold, z, logistic)
    return "an allow cannot have a score below the threshold" if is_below else None


def _is_near(one: float, other: float) -> bool:
    """Whoever asks knows that they differ: what a server worked out the same way is the same, which is most numbers."""
    # Infinity is within any share of itself of every number.
    if not (math.isfinite(one) and math.isfinite(other)):
        return False
    return abs(one - other) <= _TOLERANCE * max(1.0, abs(one), abs(other))


def _is_probability(value: float) -> bool:
    return 0 <= value <= 1


def _logistic(z: float) -> float:
    try:
        return 1 / (1 + math.exp(-z))
    except OverflowError:
        return 0.0


def _numbers_fault(
    answer: trust_v1.CheckResponse,
    score: float | None,
    threshold: float | None,
    z: float | None,
    logistic: float,
) -> str | None:
    """`logistic` is that of z, where there is one."""
    bias = answer.bias if answer.HasField("bias") else None
    if score is not None and not 0 <= score <= 1:
        return "the score is no probability"
    if threshold is not None and not 0 < threshold < 1:
        return "the threshold is not in (0, 1)"
    if z is not None and not -_INFINITY < z < _INFINITY:
        return "z is no number"
    if bias is not None and not -_INFINITY < bias < _INFINITY:
        return "the bias is no number"
    if score is not None and z is not None and score != logistic and not _is_near(score, logistic):
        return "score and z differ"
    contributions = answer.contributions
    total = 0.0 if bias is None else bias
    for each in contributions:
        contribution = each.contribution
        product = each.value * each.weight
        if product != contribution and not _is_near(product, contribution):
            return "a contribution is not value × weight"
        total += contribution
    # Infinity is equal to itself.
    if not -_INFINITY < total < _INFINITY:
        return "the contributions have no sum"
    if z is None or bias is None or not contributions:
        return None
    is_sum = total == z or _is_near(total, z)
    return None if is_sum else "z is not the sum of bias and contributions"


def _is_below(score: float | None, threshold: float, z: float | None, logistic: float) -> bool:
    # Where the logistic of z reaches the threshold, z reaches its logit: but for rounding, which matters near 1 alone.
    if z is not None and (threshold > _THRESHOLD_PLAIN_MAX or logistic < threshold):
        logit = math.log(threshold / (1 - threshold))
        if z < logit and not _is_near(z, logit):
            return True
    return score is not None and score < threshold and not _is_near(score, threshold)


def _judge_outcome(item: trust_v1.BatchCheckResult | trust_v1.StreamChecksResponse) -> None:
    kind = item.WhichOneof("outcome")
    if kind == "decision":
        judge_decision(item.decision)
    elif kind is None or item.error.code == grpc.StatusCode.OK.value[0]:
        message = "the item holds neither a decision nor an error"
        item.error.CopyFrom(status_pb2.Status(code=grpc.StatusCode.INTERNAL.value[0], message=message))


def _judge_batch(reply: trust_v1.BatchCheckResponse) -> None:
    for result in reply.results:
        _judge_outcome(result)


def _judge_verification(reply: audit_v1.VerifyFrozenChainResponse) -> None:
    """Verified only if there are steps and all passed."""
    passed = [step.outcome == audit_v1.STEP_OUTCOME_PASSED for step in reply.steps]
    reply.verified = reply.verified and len(passed) > 0 and all(passed)


_JUDGES: Final[Mapping[type[Message], Callable[[Any], None]]] = {
    trust_v1.CheckResponse: judge_decision,
    trust_v1.BatchCheckResponse: _judge_batch,
    trust_v1.StreamChecksResponse: _judge_outcome,
    audit_v1.VerifyFrozenChainResponse: _judge_verification,
}


def require_count(asked: int, answered: int) -> None:
    """Raises SigilError."""
    if asked != answered:
        raise contradiction(f"{answered} results for {asked} items")


def require_simulation(reply: trust_v1.SimulateResponse) -> None:
    """Checks a simulation, on which people base the approval of a model. Raises SigilError."""
    shown = reply.decisions
    if reply.flipped > reply.scored:
        raise contradiction(f"{reply.flipped} flips among {reply.scored} decisions")
    if len(shown) > reply.scored:
        raise contradiction(f"{len(shown)} of {reply.scored} decisions")
    if sum(each.current != each.candidate for each in shown) > reply.flipped:
        raise contradiction("it shows more flips than it counts")
    for each in shown:
        if each.current not in _VERDICTS or each.candidate not in _VERDICTS:
            raise contradiction("a verdict is not known")
        for name in ("current_score", "candidate_score"):
            if each.HasField(name) and not _is_probability(getattr(each, name)):
                raise contradiction("a score is no probability")


def require_written(record_id: str, reply: canon_v1.WriteRecordResponse) -> None:
    """Checks that the written record is the requested one. Raises SigilError."""
    if not reply.HasField("record"):
        raise contradiction("it holds no record")
    if reply.record.id != record_id:
        raise contradiction("the record is another one than the one written")


def require_all_written(record_ids: Sequence[str], reply: canon_v1.BatchWriteRecordsResponse) -> None:
    """Raises SigilError."""
    require_count(len(record_ids), len(reply.results))
    for record_id, result in zip(record_ids, reply.results, strict=True):
        require_written(record_id, result)
