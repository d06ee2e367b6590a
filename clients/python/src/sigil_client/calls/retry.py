"""Which calls may be repeated, when, and after which pause. Pure, but for the budget, which counts."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any

import grpc

from ..errors import SigilError
from .methods import Method


@dataclass(frozen=True)
class Retry:
    """When calls are repeated that only read, or that have an idempotency key. Never past the deadline."""

    attempts_max: int = 5
    """The first included."""
    first_delay_seconds: float = 0.1
    delay_seconds_max: float = 2.0

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if self.attempts_max < 1:
            raise ValueError("attempts_max must be at least 1")
        if not 0 < self.first_delay_seconds <= self.delay_seconds_max:
            raise ValueError("delays must be above 0, and the first not above the longest")

    def pause_seconds(self, attempt: int, error: SigilError, share: float) -> float:
        """Doubles, from half of it to all of it by `share` in [0, 1), so that callers do not come in step; at least
        what the server asks for. `attempt` counts from 0.
        """
        longest = min(self.delay_seconds_max, self.first_delay_seconds * 2.0 ** min(attempt, 32))
        return max(longest * (1 + share) / 2, error.retry_delay_seconds or 0.0)


def is_passing(error: SigilError) -> bool:
    """Whether the same call may succeed later: nobody was reached, the answer could not be kept, or the server says
    when to come again.
    """
    if error.code is grpc.StatusCode.UNAVAILABLE:
        return True
    return error.code is grpc.StatusCode.RESOURCE_EXHAUSTED and error.retry_delay_seconds is not None


def _methods(service: str, names: str) -> set[str]:
    return {f"/sigil.{service}/{name}" for name in names.split()}


_REPEATABLE = frozenset(
    _methods("trust.v1.TrustService", "GetActiveModel Simulate")
    | _methods(
        "audit.v1.AuditService",
        "GetFrozenChain ListFrozenChains VerifyFrozenChain ReplayDecision GetCheckpoint GetInclusionProof "
        "ProveCompleteness GetConsistencyProof GetTile",
    )
    | _methods(
        "canon.v1.CanonService",
        "GetRecord ListRecords ListHistory GetProposal ListProposals CommitProposal WithdrawProposal GetSystemRecord",
    )
    | _methods("canon.v1.WitnessService", "ListWitnesses GetQuorum")
    | _methods(
        "identity.v1.PrincipalService", "SuspendPrincipal WithdrawFeedGrant GetPrincipal ListPrincipals"
    )
    | _methods("key.v1.KeyService", "ListKeys ListKeyRecords ListDataKeys")
    | _methods("module.v1.ModuleService", "GetModule ListModules")
)
"""Calls that change nothing, or whose repeat has the answer of the first. Runs of modules, attestations and changes of
keys are neither."""

_KEY_BYTES = 16


def repeatably(method: Method, request: Any, *, is_own: bool = False) -> tuple[Any, bool]:
    """The request as it may be sent more than once, with an idempotency key if it takes one, and whether it may be.
    What the caller handed in stays as it was, unless it is the client's own.
    """
    if not method.takes_key:
        return request, method.path in _REPEATABLE
    if request.idempotency_key != "":
        return request, True
    keyed = request
    if not is_own:
        keyed = type(request)()
        keyed.CopyFrom(request)
    keyed.idempotency_key = os.urandom(_KEY_BYTES).hex()
    return keyed, True


class RetryBudget:
    """While most calls of a connection fail, none is repeated: repeats would only add to what a server cannot bear.
    Source: gRPC A6, "Throttling Retry Attempts".
    """

    TOKENS_MAX = 10.0
    _TOKENS_OF_SUCCESS = 0.5

    def __init__(self) -> None:
        self._tokens = self.TOKENS_MAX
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        """A call was answered."""
        if self._tokens >= self.TOKENS_MAX:
            return
        with self._lock:
            self._tokens = min(self.TOKENS_MAX, self._tokens + self._TOKENS_OF_SUCCESS)

    def failed(self) -> bool:
        """A call failed in a way that may pass. Whether it may be repeated."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1)
            return self._tokens > self.TOKENS_MAX / 2
