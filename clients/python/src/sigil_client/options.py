"""What a client is made with. Pure."""

from __future__ import annotations

from typing import TypeVar

from .calls.retry import Retry
from .calls.settings import Settings
from .calls.target import Option, Security, Tls
from .tokens import PrivateKey, TokenSigner

Source = TypeVar("Source")


def tokens_of(
    principal: str | None, origin: str | None, private_key: PrivateKey | None, tokens: Source | None
) -> Source | TokenSigner | None:
    """Raises TypeError for half of a caller, or two."""
    if private_key is None and principal is None:
        return tokens
    if tokens is not None:
        raise TypeError("tokens excludes principal and private_key")
    if private_key is None or principal is None or origin is None:
        raise TypeError("principal, origin and private_key go together")
    return TokenSigner(principal=principal, origin=origin, private_key=private_key)


def settings_of(
    target: str,
    *,
    tls: Security | None,
    sends_tokens: bool,
    insecure_tokens: str,
    deadline_seconds: float,
    retry: Retry | None,
    channel_options: tuple[Option, ...],
) -> Settings:
    """Raises TypeError where a token would leave this machine unprotected, or an option is none."""
    security = Tls() if tls is None else tls
    if security != "insecure" and not isinstance(security, Tls):
        raise TypeError('tls must be a Tls, or "insecure"')
    return Settings.of(
        target,
        security=security,
        sends_tokens=sends_tokens,
        insecure_tokens=insecure_tokens,
        deadline_seconds=deadline_seconds,
        retry=retry,
        options=tuple(channel_options),
    )
