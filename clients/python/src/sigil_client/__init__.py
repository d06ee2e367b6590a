"""The client for Sigil: asks a server whether a principal may do something now. Anything but an allow is a deny.

with Sigil("sigil.example.org:443", principal="billing", origin="sigil.example.org", private_key=pem) as sigil:
    sigil.require("payment.refund", "payment/7")
    refund("payment/7")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .verify import ProofError, Trust, verify

if TYPE_CHECKING:
    from .answers.decision import Decision, Question
    from .async_client import AsyncSigil
    from .attest import Vote, read_proposal, sign_attestation
    from .calls.retry import Retry
    from .calls.target import Tls
    from .client import Sigil
    from .errors import Denied, FieldViolation, SigilError
    from .guards.asgi import AsgiGuard
    from .guards.functions import AsyncGuard, Guard
    from .guards.interceptors import AsyncGuardInterceptor, GuardInterceptor, IncomingCall
    from .guards.wsgi import WsgiGuard
    from .messages import (
        audit_v1,
        backup_v1,
        canon_v1,
        identity_v1,
        key_v1,
        module_v1,
        rpc_v1,
        to_dict,
        to_json,
        trust_v1,
        type_v1,
        witness_v1,
    )
    from .services.questions import target_of
    from .services.requests import ChainFilter, Record, Write
    from .services.resuming import WatchEvent, WatchFilter
    from .tokens import AsyncTokenSource, TokenSigner, TokenSource, key_thumbprint

__all__ = [
    "AsgiGuard",
    "AsyncGuard",
    "AsyncGuardInterceptor",
    "AsyncSigil",
    "AsyncTokenSource",
    "ChainFilter",
    "Decision",
    "Denied",
    "FieldViolation",
    "Guard",
    "GuardInterceptor",
    "IncomingCall",
    "ProofError",
    "Question",
    "Record",
    "Retry",
    "Sigil",
    "SigilError",
    "Tls",
    "TokenSigner",
    "TokenSource",
    "Trust",
    "Vote",
    "WatchEvent",
    "WatchFilter",
    "Write",
    "WsgiGuard",
    "audit_v1",
    "backup_v1",
    "canon_v1",
    "identity_v1",
    "key_thumbprint",
    "key_v1",
    "module_v1",
    "read_proposal",
    "rpc_v1",
    "sign_attestation",
    "target_of",
    "to_dict",
    "to_json",
    "trust_v1",
    "type_v1",
    "verify",
    "witness_v1",
]

# What talks to a server is imported by its first use: verifying takes neither gRPC nor protobuf.
_PLACES = {
    ".answers.decision": "Decision Question",
    ".async_client": "AsyncSigil",
    ".attest": "Vote read_proposal sign_attestation",
    ".calls.retry": "Retry",
    ".calls.target": "Tls",
    ".client": "Sigil",
    ".errors": "Denied FieldViolation SigilError",
    ".guards.asgi": "AsgiGuard",
    ".guards.functions": "AsyncGuard Guard",
    ".guards.interceptors": "AsyncGuardInterceptor GuardInterceptor IncomingCall",
    ".guards.wsgi": "WsgiGuard",
    ".messages": "audit_v1 backup_v1 canon_v1 identity_v1 key_v1 module_v1 rpc_v1 to_dict to_json trust_v1 type_v1 "
    "witness_v1",
    ".services.questions": "target_of",
    ".services.requests": "ChainFilter Record Write",
    ".services.resuming": "WatchEvent WatchFilter",
    ".tokens": "AsyncTokenSource TokenSigner TokenSource key_thumbprint",
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names.split()}

if not TYPE_CHECKING:
    # Unseen by type checkers, which know every name from above and are to refuse every other.

    def __getattr__(name: str) -> Any:
        place = _PLACE_OF.get(name)
        if place is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(place, __name__), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
