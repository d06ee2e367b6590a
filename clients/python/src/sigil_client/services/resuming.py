"""Going on with a watch where its stream was interrupted. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import grpc

from ..errors import SigilError, contradiction
from ..messages import canon_v1, to_json, type_v1
from .requests import Record, record_filter

PAUSE_SECONDS_MIN = 0.25
PAUSE_SECONDS_MAX = 10.0
HEARTBEAT_SECONDS = 15
_SILENT_HEARTBEATS = 3


@dataclass(frozen=True)
class WatchEvent:
    """What happened in the ledger: one of `record`, `erased` and `checkpoint` is set."""

    next_position: int
    """Where to resume after this one."""
    record: Record | None
    erased: canon_v1.ErasedRecord | None
    checkpoint: str | None
    """Of a heartbeat."""
    message: canon_v1.WatchResponse

    def __str__(self) -> str:
        return to_json(self.message)


@dataclass(frozen=True)
class WatchFilter:
    """Which records, and how much of each; what is empty takes all but decisions."""

    kinds: Sequence[str] = ()
    all_kinds: bool = False
    id_prefix: str = ""
    spaces: Collection[type_v1.Space.ValueType] = ()
    tenants: Sequence[str] = ()
    principals: Sequence[str] = ()
    verdicts: Collection[type_v1.Verdict.ValueType] = ()
    from_time: datetime | None = None
    view: canon_v1.RecordView.ValueType = canon_v1.RECORD_VIEW_UNSPECIFIED
    proof: type_v1.RecordProof.ValueType = type_v1.RECORD_PROOF_UNSPECIFIED
    disclosures: bool = False
    heartbeat_seconds: int = HEARTBEAT_SECONDS
    """1 to 300. Three of them without a message, and the stream counts as interrupted."""

    @property
    def silence_seconds(self) -> float:
        """After which the stream counts as interrupted."""
        return float(_SILENT_HEARTBEATS * self.heartbeat_seconds)

    def to_message(self, from_position: int | None) -> canon_v1.WatchRequest:
        """Raises SigilError INVALID_ARGUMENT."""
        return canon_v1.WatchRequest(
            filter=record_filter(
                kind="",
                id_prefix=self.id_prefix,
                space=type_v1.SPACE_UNSPECIFIED,
                tenant="",
                include_tombstones=False,
                from_time=self.from_time,
            ),
            view=self.view,
            from_position=from_position,
            heartbeat_seconds=self.heartbeat_seconds,
            tenants=self.tenants,
            kinds=self.kinds,
            spaces=list(self.spaces),
            principals=self.principals,
            verdicts=list(self.verdicts),
            all_kinds=self.all_kinds,
            proof=self.proof,
            disclosures=self.disclosures,
        )


class Resuming:
    """Where a watch is, and whether an interruption of it may pass."""

    def __init__(self, from_position: int | None) -> None:
        self.next_position = from_position
        self._has_heard = False
        self._has_heard_this = False
        self._pause_seconds = PAUSE_SECONDS_MIN

    def begin(self) -> None:
        """A stream begins."""
        self._has_heard_this = False

    def take(self, message: canon_v1.WatchResponse) -> WatchEvent:
        """Raises SigilError for a message that goes back: what was handed on would be handed on again."""
        before = self.next_position
        if before is not None and message.next_position < before:
            raise contradiction("a watch goes back in the ledger")
        kind = message.WhichOneof("event")
        if kind is None:
            raise contradiction("a message of a watch holds nothing")
        record = Record(message.record) if kind == "record" else None
        if record is not None and (before or 0) > record.position:
            raise contradiction("a watch goes back in the ledger")
        self.next_position = message.next_position
        self._has_heard = self._has_heard_this = True
        self._pause_seconds = PAUSE_SECONDS_MIN
        return WatchEvent(
            next_position=message.next_position,
            record=record,
            erased=message.erased if kind == "erased" else None,
            checkpoint=message.heartbeat.checkpoint if kind == "heartbeat" else None,
            message=message,
        )

    def pause_seconds(self) -> float:
        """Before the next stream; doubles until one is heard."""
        pause = self._pause_seconds
        self._pause_seconds = min(2 * pause, PAUSE_SECONDS_MAX)
        return pause

    def require_passing(self, error: SigilError) -> None:
        """Raises the error again unless the same watch may go on later. An error before the first message is told."""
        if error.code is grpc.StatusCode.UNAUTHENTICATED:
            # During a stream the token expired; at its beginning the caller is refused.
            passes = self._has_heard_this and error.reason != "TOKEN_SOURCE_FAILED"
        else:
            passes = self._has_heard and is_away(error)
        if not passes:
            raise error


def is_away(error: SigilError) -> bool:
    """Whether the same call may succeed later, against the same server."""
    if error.reason == "CLIENT_CLOSED":
        return False
    return error.code in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
