"""Errors of calls: the gRPC code with the details of google.rpc decoded. None holds a token, a key or an input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from .answers.decision import Decision

REPLY_CONTRADICTORY = "REPLY_CONTRADICTORY"
"""The reason of a reply that contradicts itself or its request."""

_DETAILS_KEY = "grpc-status-details-bin"
_REQUEST_ID_KEY = "x-request-id"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class FieldViolation:
    """One field of the request and the rule it breaks."""

    field: str
    description: str


class SigilError(Exception):
    """A call, or one item of a batch or stream, that got no answer. Where an answer was needed, it is a deny."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        facts: Mapping[str, str] | None = None,
        field_violations: Iterable[FieldViolation] = (),
        retry_delay_seconds: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        """The gRPC status code."""
        self.message = message
        self.reason = reason
        """The stable reason to switch on, for example "TOKEN_EXPIRED"; empty if the server gave none."""
        self.facts: Mapping[str, str] = dict(facts or {})
        """Facts about this occurrence, for example the required level."""
        self.field_violations = tuple(field_violations)
        """Fields of the request that break a rule."""
        self.retry_delay_seconds = retry_delay_seconds
        """Least time to wait before a retry; None if none is suggested."""
        self.request_id = request_id
        """The request's id in the server's log."""

    @property
    def field(self) -> str:
        """The first field that breaks a rule; empty if none is named."""
        return self.field_violations[0].field if self.field_violations else ""

    @classmethod
    def of(cls, error: BaseException) -> SigilError:
        """From anything that a call may raise. Of an error of somebody else's, only its kind is told."""
        if isinstance(error, SigilError):
            return error
        if isinstance(error, grpc.RpcError) and hasattr(error, "code"):
            return _of_rpc_error(error)
        return SigilError(grpc.StatusCode.UNKNOWN, f"the call failed with {type(error).__name__}")

    @classmethod
    def of_status(cls, status: status_pb2.Status) -> SigilError:
        """From an item of a batch or a stream."""
        code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
        return SigilError(code, status.message, **_read_details(status))


class Denied(SigilError):
    """What a guard raises: there is no allow, because the answer is another one or because there is none."""

    def __init__(
        self, code: grpc.StatusCode, message: str, decision: Decision | None, **details: Any
    ) -> None:
        super().__init__(code, message, **details)
        self.decision = decision
        """The answer that is no allow; None where an error stands in place of one, which is then the cause."""

    @classmethod
    def by(cls, decision: Decision) -> Denied:
        """PERMISSION_DENIED with the decision's reason; of an item that failed, its error."""
        if decision.error is not None:
            return cls.because(decision.error)
        message = "the answer is no allow" + (f": {decision.reason}" if decision.reason else "")
        facts = {"audit_id": decision.audit_id}
        return cls(grpc.StatusCode.PERMISSION_DENIED, message, decision, reason=decision.reason, facts=facts)

    @classmethod
    def because(cls, error: BaseException) -> Denied:
        """With code, reason and delay of whatever failed."""
        if isinstance(error, Denied):
            return error
        cause = SigilError.of(error)
        denied = cls(
            cause.code,
            f"no answer, which is a deny: {cause.message}",
            None,
            reason=cause.reason,
            facts=cause.facts,
            field_violations=cause.field_violations,
            retry_delay_seconds=cause.retry_delay_seconds,
            request_id=cause.request_id,
        )
        denied.__cause__ = error
        return denied


def contradiction(rule: str) -> SigilError:
    """A reply that cannot be matched to what was asked."""
    return SigilError(
        grpc.StatusCode.INTERNAL,
        f"the reply contradicts itself or the request: {rule}",
        reason=REPLY_CONTRADICTORY,
    )


def refused_argument(field: str, rule: str) -> SigilError:
    """An argument that is refused before anything is sent."""
    violations = (FieldViolation(field, rule),)
    return SigilError(
        grpc.StatusCode.INVALID_ARGUMENT,
        f"{field} {rule}",
        reason="ARGUMENT_REFUSED",
        field_violations=violations,
    )


def _of_rpc_error(error: Any) -> SigilError:
    code = error.code()
    trailers = dict(error.trailing_metadata() or ())
    details: dict[str, Any] = {}
    packed = trailers.get(_DETAILS_KEY)
    if isinstance(packed, bytes):
        try:
            details = _read_details(status_pb2.Status.FromString(packed))
        except DecodeError:
            details = {}
    request_id = trailers.get(_REQUEST_ID_KEY)
    if "request_id" not in details and isinstance(request_id, str):
        details["request_id"] = request_id
    known = code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN
    return SigilError(known, error.details() or "", **details)


def _read_details(status: status_pb2.Status) -> dict[str, Any]:
    """Details that cannot be decoded are left out."""
    details: dict[str, Any] = {}
    try:
        for packed in status.details:
            details |= _read_detail(packed.type_url.rpartition("/")[2], packed.value)
    except DecodeError:
        return {}
    return details


def _read_detail(name: str, value: bytes) -> dict[str, Any]:
    if name == "google.rpc.ErrorInfo":
        info = error_details_pb2.ErrorInfo.FromString(value)
        return {"reason": info.reason, "facts": dict(info.metadata)}
    if name == "google.rpc.BadRequest":
        violations = error_details_pb2.BadRequest.FromString(value).field_violations
        return {"field_violations": [FieldViolation(each.field, each.description) for each in violations]}
    if name == "google.rpc.RetryInfo":
        retry = error_details_pb2.RetryInfo.FromString(value)
        if not retry.HasField("retry_delay"):
            return {}
        return {"retry_delay_seconds": retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9}
    if name == "google.rpc.RequestInfo":
        return {"request_id": error_details_pb2.RequestInfo.FromString(value).request_id}
    return {}
