"""What all calls of a client share, and the metadata of each. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import grpc

from ..errors import FieldViolation, SigilError, refused_argument
from .retry import Retry
from .target import Option, Security, channel_options, is_loopback, reply_bytes_max

Metadata: TypeAlias = "Mapping[str, str | bytes]"

AUTHORIZATION = "authorization"
# The server limits pages to it, and refuses a batch whose reply could be larger before deciding.
_REPLY_BYTES_KEY = "sigil-reply-bytes-max"
_TOKEN_BYTES_MAX = 4_096
_TOKEN = re.compile(rf"[\x21-\x7e]{{1,{_TOKEN_BYTES_MAX}}}")
_KEY = re.compile(r"[0-9a-z_.-]+")
_TEXT = re.compile(r"[\x20-\x7e]*")

DEADLINE_SECONDS = 10.0


@dataclass(frozen=True)
class Settings:
    """Of a client."""

    target: str
    security: Security
    may_authorize: bool
    """Whether a token may be sent on this channel."""
    deadline_seconds: float
    retry: Retry | None
    options: tuple[Option, ...]

    @classmethod
    def of(
        cls,
        target: str,
        *,
        security: Security,
        sends_tokens: bool,
        insecure_tokens: str,
        deadline_seconds: float,
        retry: Retry | None,
        options: tuple[Option, ...],
    ) -> Settings:
        """Raises TypeError where a token would leave this machine unprotected, or an option is none."""
        if not isinstance(target, str) or target == "":
            raise TypeError("target must be the address of a server")
        if insecure_tokens not in ("refuse", "send"):
            raise TypeError('insecure_tokens must be "refuse" or "send"')
        if not deadline_seconds > 0:
            raise TypeError("deadline_seconds must be above 0")
        may_authorize = security != "insecure" or insecure_tokens == "send" or is_loopback(target)
        if sends_tokens and not may_authorize:
            raise TypeError(SENDING_REFUSED)
        return cls(
            target,
            security,
            may_authorize,
            deadline_seconds,
            retry,
            channel_options(target, security, options),
        )


SENDING_REFUSED = (
    "a token may not be sent without TLS to another machine; use TLS, or say insecure_tokens='send'"
)


def metadata_of(
    settings: Settings, given: Metadata | None, token: str | None
) -> tuple[tuple[str, str | bytes], ...]:
    """The metadata of a call: the caller's, over the client's token, None without a source of tokens.

    Raises SigilError, without what was given: gRPC's own error would show the token.
    """
    metadata: dict[str, str | bytes] = {}
    for key, value in (given or {}).items():
        name = key.lower()
        fits = isinstance(value, bytes) if name.endswith("-bin") else _is_text(value)
        if not _KEY.fullmatch(name) or not fits:
            raise refused_argument("metadata", "must be names and values that HTTP/2 can carry")
        metadata[name] = value
    reply_bytes = reply_bytes_max(settings.options)
    if reply_bytes is not None:
        metadata.setdefault(_REPLY_BYTES_KEY, str(reply_bytes))
    if token is not None and AUTHORIZATION not in metadata:
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise _no_token(token)
        metadata[AUTHORIZATION] = f"Bearer {token}"
    if AUTHORIZATION in metadata and not settings.may_authorize:
        raise SigilError(grpc.StatusCode.UNAUTHENTICATED, SENDING_REFUSED, reason="TOKEN_REFUSED")
    return tuple(metadata.items())


def _no_token(given: object) -> SigilError:
    """Which rule it breaks, and nothing of what it is."""
    rule = f"must be text of 1 to {_TOKEN_BYTES_MAX} visible ASCII characters"
    if not isinstance(given, str):
        broken = f"it is of type {type(given).__name__}"
    elif given == "":
        broken = "it is empty"
    elif given != given.strip():
        broken = "it begins or ends with white space, as a line break: strip what was read from a file"
    elif not given.isascii():
        broken = "it holds a character that is not ASCII"
    elif len(given) > _TOKEN_BYTES_MAX:
        broken = f"it has {len(given)}"
    else:
        broken = "it holds white space or a control character"
    return SigilError(
        grpc.StatusCode.UNAUTHENTICATED,
        f"the token source gave no token: tokens.token() {rule}; {broken}",
        reason="TOKEN_SOURCE_FAILED",
        field_violations=(FieldViolation("tokens", f"{rule}; {broken}"),),
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and _TEXT.fullmatch(value) is not None


class KeptMetadata:
    """The metadata of calls that have none of their own, kept as long as the token is the same."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: tuple[str | None, tuple[tuple[str, str | bytes], ...]] | None = None

    def of(self, given: Metadata | None, token: str | None) -> tuple[tuple[str, str | bytes], ...]:
        """Raises SigilError as `metadata_of`."""
        if given:
            return metadata_of(self._settings, given, token)
        kept = self._kept
        if kept is None or kept[0] != token:
            kept = self._kept = (token, metadata_of(self._settings, None, token))
        return kept[1]


def token_failed(error: Exception) -> SigilError:
    """Of a token source that raised: what it says is not passed on."""
    failure = SigilError(
        grpc.StatusCode.UNAUTHENTICATED,
        f"the token source failed with {type(error).__name__}",
        reason="TOKEN_SOURCE_FAILED",
        field_violations=(FieldViolation("tokens", "must give a token"),),
    )
    failure.__cause__ = error
    return failure


def closed_error() -> SigilError:
    """Of a call after close."""
    return SigilError(grpc.StatusCode.CANCELLED, "the client is closed", reason="CLIENT_CLOSED")
