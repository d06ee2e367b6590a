"""What a guard of a server answers in place of the handler. Pure. It says nothing about why."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import grpc

from ..errors import Denied

_REFUSALS = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT)


@dataclass(frozen=True)
class Refusal:
    """403 for a deny, and for what nobody could be allowed; 503 where there is no answer."""

    status: int
    body: bytes
    retry_after_seconds: int | None

    @classmethod
    def of(cls, denied: Denied) -> Refusal:
        """Of a guard's error."""
        is_deny = denied.decision is not None or denied.code in _REFUSALS
        delay = denied.retry_delay_seconds
        return cls(
            status=403 if is_deny else 503,
            body=json.dumps({"error": "denied" if is_deny else "unavailable"}).encode(),
            retry_after_seconds=None if is_deny or delay is None else max(1, math.ceil(delay)),
        )

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Of an HTTP response."""
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(self.body))),
            ("cache-control", "no-store"),
        ]
        if self.retry_after_seconds is not None:
            headers.append(("retry-after", str(self.retry_after_seconds)))
        return headers
