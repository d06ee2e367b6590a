"""The client for Sigil: asks a server whether a principal may do something now. Anything but an allow is a deny.

with Sigil("sigil.example.org:443", principal="billing", origin="sigil.example.org", private_key=pem) as sigil:
    sigil.require("payment.refund", "payment/7")
    refund("payment/7")
"""

from __future__ import annotations

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
from .verify import ProofError, Trust, verify

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
