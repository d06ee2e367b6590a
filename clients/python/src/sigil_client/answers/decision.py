"""Questions, and decisions that are true for an honest allow alone. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import final

from ..errors import SigilError, refused_argument
from ..messages import to_json, trust_v1, type_v1
from ..verify.record.spelling import canonical_subject, spelling_or


@dataclass(frozen=True)
class Question:
    """May the subject do the action to the target, now?"""

    action: str
    """What is to happen, for example "payment.refund"."""
    target: str
    """To what, for example "payment/7". `target_of` builds one of parts that others chose."""
    subject: str | None = None
    """Who would do it; None asks about the caller. Naming another one takes level Operator."""
    session: str = ""
    """A session or conversation, recorded with the decision."""
    input: bytes = field(default=b"", repr=False)
    """The input of the action, at most 262,144 bytes: the record commits to its digest, its entropy is scored."""
    keep_input: bool = False
    """Keep the raw input beside the record, encrypted with it."""
    idempotency_key: str = ""
    """Makes a repeat safe; one is made for each call unless it is given."""
    disclose: bool = False
    """Give with the answer what opens the commitments of the decision's record."""
    proof: type_v1.RecordProof.ValueType = type_v1.RECORD_PROOF_UNSPECIFIED
    """What is to prove the decision's record, in the answer itself."""

    def __post_init__(self) -> None:
        """Raises SigilError INVALID_ARGUMENT naming the field."""
        _require_askable(self.action, self.target, self.subject, self.input)

    def to_message(self) -> trust_v1.CheckRequest:
        """As it is sent. Raises SigilError INVALID_ARGUMENT for text that is no Unicode."""
        return request_of(
            self.action,
            self.target,
            self.subject,
            self.session,
            self.input,
            self.keep_input,
            self.idempotency_key,
            self.disclose,
            self.proof,
        )


def _require_askable(action: object, target: object, subject: object, input: object) -> None:
    if not isinstance(action, str) or action == "":
        raise refused_argument("action", "must be text that is not empty")
    if not isinstance(target, str) or target == "":
        raise refused_argument("target", "must be text that is not empty")
    # An empty subject would ask about the caller, who may do more than the nobody it was meant to be.
    if subject is not None and (not isinstance(subject, str) or subject == ""):
        raise refused_argument("subject", "must be None, for the caller, or text that is not empty")
    if not isinstance(input, (bytes, bytearray, memoryview)):
        raise refused_argument("input", "must be bytes")


def request_of(
    action: str,
    target: str,
    subject: str | None,
    session: str,
    input: bytes,
    keep_input: bool,
    idempotency_key: str,
    disclose: bool,
    proof: type_v1.RecordProof.ValueType,
) -> trust_v1.CheckRequest:
    """As Question.to_message, without the question. Raises SigilError as both do."""
    _require_askable(action, target, subject, input)
    try:
        # Most questions have no more; each field that is named costs, also by its default.
        request = trust_v1.CheckRequest(action=action, target=target, session=session)
        if subject is not None:
            request.subject = subject
        if len(input) > 0:
            request.input = bytes(input)
        if keep_input or disclose or proof or idempotency_key:
            request.keep_input = keep_input
            request.disclose = disclose
            request.proof = proof
            request.idempotency_key = idempotency_key
    except (TypeError, ValueError):
        raise refused_argument("question", "must be of text that is Unicode, and bytes") from None
    return request


_ALLOW = type_v1.VERDICT_ALLOW


@final
@dataclass(frozen=True, eq=False, init=False)
class Decision:
    """The answer to a question: true for an honest ALLOW, false for everything else, the lack of an answer too."""

    allowed: bool
    """Whether it may happen: verdict, permission and record agree. Act on this alone."""
    response: trust_v1.CheckResponse | None
    """The whole answer, as it was judged; None where there is none."""
    error: SigilError | None
    """Why there is no answer, of an item of a batch or a stream."""
    verified: bool
    """Whether its proof was verified here."""

    def __init__(
        self,
        response: trust_v1.CheckResponse | None = None,
        error: SigilError | None = None,
        verified: bool = False,
    ) -> None:
        # As a frozen dataclass it is closed to everybody else, and its own way to set fields costs as much as the rest.
        fields = self.__dict__
        # Decided once: what becomes of the message later changes nothing.
        fields["allowed"] = (
            error is None
            and response is not None
            and response.allowed is True
            and response.verdict == _ALLOW
            and response.audit_id != ""
        )
        fields["response"] = response
        fields["error"] = error
        fields["verified"] = verified

    def __bool__(self) -> bool:
        return self.allowed

    def _reply(self) -> trust_v1.CheckResponse:
        return self.response if self.response is not None else trust_v1.CheckResponse()

    @property
    def verdict(self) -> type_v1.Verdict.ValueType:
        """VERDICT_ALLOW, VERDICT_REVIEW (a person should look; not allowed) or VERDICT_DENY."""
        if self.allowed:
            return type_v1.VERDICT_ALLOW
        is_review = self.error is None and self._reply().verdict == type_v1.VERDICT_REVIEW
        return type_v1.VERDICT_REVIEW if is_review else type_v1.VERDICT_DENY

    @property
    def reason(self) -> str:
        """A stable code; docs/spec/trust.md §5 lists them."""
        return self.error.reason if self.error is not None else self._reply().reason

    @property
    def audit_id(self) -> str:
        """Names the decision's record; empty where there is none."""
        return self._reply().audit_id

    @property
    def ledger_position(self) -> int:
        """Where the record stands in the ledger."""
        return self._reply().ledger_position

    @property
    def subject(self) -> str:
        """Whom it is about; empty for an anonymous Guest."""
        return self._reply().subject

    @property
    def level(self) -> type_v1.LevelOfAccess.ValueType:
        """The subject's level of access, as the ledger has it."""
        return self._reply().level

    @property
    def score(self) -> float | None:
        """In (0, 1), for people; None when none could be computed."""
        reply = self._reply()
        return reply.score if reply.HasField("score") else None

    @property
    def time(self) -> datetime | None:
        """When it was made; None without an answer."""
        reply = self._reply()
        return reply.time.ToDatetime(tzinfo=timezone.utc) if reply.HasField("time") else None

    def __str__(self) -> str:
        """The answer as proto3 JSON."""
        return str(self.error) if self.error is not None else to_json(self._reply())

    def __repr__(self) -> str:
        verdict = type_v1.Verdict.Name(self.verdict)
        return f"Decision({verdict}, reason={self.reason!r}, audit_id={self.audit_id!r})"


_EMPTY_DIGEST = hashlib.sha256(b"").digest()


@final
@dataclass(frozen=True)
class Asked:
    """What of a question is kept until its answer comes, to notice the answer to another one."""

    subject: str
    input_digest: bytes

    @classmethod
    def of(cls, request: trust_v1.CheckRequest) -> Asked:
        """A few dozen bytes, however long the input is."""
        return cls(request.subject, digest_of(request.input))

    def fault(self, answer: trust_v1.CheckResponse) -> str | None:
        """Why an answer is not one to this question, None if it may be."""
        if answer.input_digest and answer.input_digest != self.input_digest:
            return "it is about another input"
        if self.subject and not _may_spell(self.subject, answer.subject):
            return "it is about another subject"
        return None


def digest_of(input: bytes) -> bytes:
    """SHA-256. Most questions have no input."""
    return hashlib.sha256(input).digest() if input else _EMPTY_DIGEST


def _may_spell(asked: str, answered: str) -> bool:
    # Which deployment's names they are is not known here, so a subject by its SPIFFE id is not compared.
    spelled = spelling_or(lambda raw: canonical_subject(raw, ""), asked)
    return answered in (asked, spelled) or spelled.startswith("spiffe:")
