"""Tokens signed with a principal's own Ed25519 key: an EdDSA JWT valid for at most ten minutes, renewed shortly before
it expires. Source: docs/spec/tokens.md. The key never leaves this process.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

PrivateKey: TypeAlias = "str | bytes | Ed25519PrivateKey"
"""An Ed25519 private key: PKCS #8 PEM, or a key object."""

LIFETIME_SECONDS_MAX = 600

# The deterministic CBOR of a COSE_Key {1: 1, -1: 6, -2: x} up to x. Source: RFC 9679 §4, RFC 9053 §7.2.
_COSE_KEY_PREFIX = bytes.fromhex("a301012006215820")


class TokenSource(Protocol):
    """Gives the token for a call. Called before every call, so it should keep one."""

    def token(self) -> str:
        """The text after "Bearer "."""
        ...


class AsyncTokenSource(Protocol):
    """The same, for an AsyncSigil, whose source may also wait."""

    def token(self) -> str | Awaitable[str]:
        """The text after "Bearer "."""
        ...


class TokenSigner:
    """Makes tokens of a principal's key, and keeps each until shortly before it expires. Threads may share one."""

    def __init__(
        self,
        *,
        principal: str,
        origin: str,
        private_key: PrivateKey,
        lifetime_seconds: int = LIFETIME_SECONDS_MAX,
        renew_before_seconds: float | None = None,
        now_seconds: Callable[[], float] = time.time,
    ) -> None:
        """Raises TypeError unless the key is an Ed25519 private key, ValueError for a lifetime outside 1 to 600 s."""
        if not isinstance(lifetime_seconds, int) or not 1 <= lifetime_seconds <= LIFETIME_SECONDS_MAX:
            raise ValueError(f"lifetime_seconds must be a whole number from 1 to {LIFETIME_SECONDS_MAX}")
        for name, value in (("principal", principal), ("origin", origin)):
            if not isinstance(value, str) or value == "":
                raise TypeError(f"{name} must be text that is not empty")
        self.principal = principal
        self.origin = origin
        self._key = parse_private_key(private_key)
        self._header = _encode_json(
            {"alg": "EdDSA", "typ": "JWT", "kid": key_thumbprint(self._key.public_key())}
        )
        self._lifetime_seconds = lifetime_seconds
        self._renew_before_seconds = (
            lifetime_seconds / 5 if renew_before_seconds is None else renew_before_seconds
        )
        self._now_seconds = now_seconds
        self._lock = threading.Lock()
        self._held: tuple[str, float, float] | None = None
        """The token, from when, and until when it is given; seconds since 1970."""

    def token(self) -> str:
        """The token for a call made now."""
        now = self._now_seconds()
        # One read of one attribute: nothing is locked while the token is good.
        held = self._held
        if held is None or not held[1] <= now < held[2]:
            with self._lock:
                held = self._held
                if held is None or not held[1] <= now < held[2]:
                    # A clock that was set back dates the token in the future.
                    renew_seconds = now + self._lifetime_seconds - self._renew_before_seconds
                    held = self._held = (self._mint(now), now, renew_seconds)
        return held[0]

    def _mint(self, now_seconds: float) -> str:
        iat = int(now_seconds)
        claims = {
            "iss": self.principal,
            "sub": self.principal,
            "aud": self.origin,
            "iat": iat,
            "exp": iat + self._lifetime_seconds,
            "jti": str(uuid.uuid4()),
        }
        signing_input = f"{self._header}.{_encode_json(claims)}"
        return f"{signing_input}.{_base64url(self._key.sign(signing_input.encode()))}"

    def __repr__(self) -> str:
        return f"TokenSigner(principal={self.principal!r}, origin={self.origin!r})"


def parse_private_key(key: PrivateKey) -> Ed25519PrivateKey:
    """Raises TypeError unless it is an Ed25519 private key; the error says nothing of what it is instead."""
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, (str, bytes)):
        try:
            parsed = load_pem_private_key(key.encode() if isinstance(key, str) else key, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise TypeError(
                "private_key must be an Ed25519 private key in PEM, what a file holds and not its path, "
                "without a passphrase"
            ) from None
        if isinstance(parsed, Ed25519PrivateKey):
            return parsed
    raise TypeError("private_key must be an Ed25519 private key")


def public_key_bytes(key: Ed25519PublicKey) -> bytes:
    """32 bytes."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_thumbprint(key: Ed25519PublicKey) -> str:
    """The COSE key thumbprint of an Ed25519 key, RFC 9679 with SHA-256, in base64url, which identifies a key."""
    return _base64url(hashlib.sha256(_COSE_KEY_PREFIX + public_key_bytes(key)).digest())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _encode_json(value: dict[str, object]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
