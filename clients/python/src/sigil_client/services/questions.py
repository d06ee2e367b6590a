"""Questions of batches and streams matched with their answers, and targets of parts that others chose. Pure."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from google.protobuf.message import Message

from ..answers.decision import Asked, Decision, Question, digest_of
from ..answers.fresh import Asking
from ..answers.judge import require_all_written, require_count, require_simulation, require_written
from ..errors import SigilError, contradiction, refused_argument
from ..messages import canon_v1, trust_v1
from .proofs import Asker

OPEN_QUESTIONS_MAX = 65_536
"""Unanswered at once; a correct server stops reading long before."""


def target_of(*segments: str) -> str:
    """Joins segments to a target. Each is one segment whatever is in it, a slash too, so that a name from outside
    cannot lead to another target. Source: docs/spec/trust.md §10. Raises SigilError INVALID_ARGUMENT.
    """
    if not segments:
        raise refused_argument("target", "has at least one segment")
    for at, segment in enumerate(segments):
        if not isinstance(segment, str) or segment in ("", ".", ".."):
            raise refused_argument(f"target[{at}]", 'must be text other than "", "." and ".."')
    try:
        return "/".join(quote(segment, safe="") for segment in segments)
    except UnicodeEncodeError:
        raise refused_argument("target", "must be Unicode text") from None


def decided(question: trust_v1.CheckRequest, answer: trust_v1.CheckResponse) -> Decision:
    """The decision on a question. An answer to another one raises SigilError."""
    # Most answers have no more to compare than the digest of no input.
    digest = answer.input_digest
    if question.subject or (digest and digest != digest_of(question.input)):
        fault = Asked.of(question).fault(answer)
        if fault is not None:
            raise contradiction(fault)
    return Decision(response=answer)


def decision_of(asked: Asked, item: trust_v1.BatchCheckResult | trust_v1.StreamChecksResponse) -> Decision:
    """Of an item that was judged: an answer, or why there is none. Never raises."""
    if item.WhichOneof("outcome") != "decision":
        return Decision(error=SigilError.of_status(item.error))
    fault = asked.fault(item.decision)
    return Decision(response=item.decision) if fault is None else Decision(error=contradiction(fault))


def batch_of(questions: Iterable[Question], idempotency_key: str) -> trust_v1.BatchCheckRequest:
    """Raises SigilError INVALID_ARGUMENT."""
    checks = [question.to_message() for question in questions]
    return trust_v1.BatchCheckRequest(checks=checks, idempotency_key=idempotency_key)


def batch_decisions(
    request: trust_v1.BatchCheckRequest, reply: trust_v1.BatchCheckResponse
) -> list[Decision]:
    """One decision a question, in their order. Raises SigilError where they cannot be matched."""
    require_count(len(request.checks), len(reply.results))
    pairs = zip(request.checks, reply.results, strict=True)
    return [decision_of(Asked.of(check), result) for check, result in pairs]


def check_reply(request: Message, reply: Any) -> None:
    """Holds the reply of a call that was made by its request to that request. Raises SigilError."""
    if isinstance(request, trust_v1.CheckRequest):
        decided(request, reply)
    elif isinstance(request, trust_v1.BatchCheckRequest):
        require_count(len(request.checks), len(reply.results))
    elif isinstance(request, trust_v1.SimulateRequest):
        require_simulation(reply)
    elif isinstance(request, canon_v1.WriteRecordRequest):
        require_written(request.id, reply)
    elif isinstance(request, canon_v1.BatchWriteRecordsRequest):
        require_all_written([each.id for each in request.writes], reply)


@dataclass(frozen=True)
class _Open:
    question: Question
    asked: Asked
    asking: Asking | None


@dataclass(frozen=True)
class Answered:
    """A question with its decision, of which nothing is proved yet."""

    question: Question
    decision: Decision
    asking: Asking | None
    """None where nothing is proved."""


class OpenQuestions:
    """Questions of a stream that are not answered yet. Asked from one thread and answered from another. With a prover,
    each is asked for with a proof.
    """

    def __init__(self, prover: Asker | None = None) -> None:
        self._prover = prover
        self._open: dict[str, _Open] = {}
        self._asked = 0
        self._changed = threading.Condition()
        self._is_over = False
        self.are_all_asked = False
        """Set when there are no more questions."""

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether an answer must come before the next question."""
        return len(self._open) >= OPEN_QUESTIONS_MAX and not self._is_over

    def wait(self) -> None:
        """Until there is room for a question, or the stream is over."""
        with self._changed:
            self._changed.wait_for(lambda: not self.is_full)

    def ask(self, question: Question) -> trust_v1.StreamChecksRequest:
        """The question as it is sent."""
        check = question.to_message()
        asking = None if self._prover is None else self._prover.ask(check, question.idempotency_key)
        with self._changed:
            self._asked += 1
            correlation_id = str(self._asked)
            self._open[correlation_id] = _Open(question, Asked.of(check), asking)
        return trust_v1.StreamChecksRequest(correlation_id=correlation_id, check=check)

    def answer(self, reply: trust_v1.StreamChecksResponse) -> Answered:
        """Whoever takes it ends its `asking`. Raises SigilError for an answer to no open question."""
        with self._changed:
            asked = self._open.pop(reply.correlation_id, None)
            self._changed.notify_all()
        if asked is None:
            raise contradiction("an answer to a question that was not asked, or was answered before")
        return Answered(asked.question, decision_of(asked.asked, reply), asked.asking)

    def finish(self) -> None:
        """The server ended the stream. Raises SigilError if it owes answers."""
        if self._open:
            raise contradiction(f"the stream ended with {len(self._open)} questions unanswered")
        if not self.are_all_asked:
            raise contradiction("the stream ended before all questions were asked")

    def close(self) -> None:
        """The stream is over: nobody waits any more."""
        with self._changed:
            self._is_over = True
            left = list(self._open.values())
            self._changed.notify_all()
        for each in left:
            if self._prover is not None and each.asking is not None:
                self._prover.end(each.asking)
