"""Decisions that are handed on only once they are proved, where a genesis hash is trusted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import grpc

from ..answers.decision import Decision
from ..answers.fresh import Asking, Freshness, Proven
from ..answers.proving import ask_for_proof, proof_error, prove, walk_of
from ..calls.awaiting import AsyncCaller
from ..calls.blocking import Caller
from ..errors import SigilError, contradiction
from ..messages import key_v1, trust_v1, type_v1
from ..verify import KeyWalk, ProofError

_KEY_RECORDS_MAX = 65_536
"""Bounds what a server may send as the records of its keys."""


class _KeyRecords:
    """Of a walk, page by page."""

    def __init__(self) -> None:
        self.request = key_v1.ListKeyRecordsRequest()
        self.records: list[key_v1.KeyRecord] = []

    def take(self, page: key_v1.ListKeyRecordsResponse) -> bool:
        """Whether there are more. Raises SigilError: the server is not trusted, so each page must make progress."""
        self.records.extend(page.records)
        if page.next_page_token == "":
            return False
        if not page.records or len(self.records) > _KEY_RECORDS_MAX:
            raise contradiction("the records of the keys do not end")
        self.request.page_token = page.next_page_token
        return True


def _left(end: float) -> float:
    return max(end - time.monotonic(), 0.0)


def _late() -> SigilError:
    return SigilError(grpc.StatusCode.DEADLINE_EXCEEDED, "the keys did not come before the deadline")


def walk_keys(caller: Caller, genesis: bytes, end: float) -> KeyWalk:
    """Every key, verified from the hash of the genesis record, by `end` on the monotonic clock. Raises SigilError."""
    keys = _KeyRecords()
    while keys.take(caller.unary(keys.request, deadline_seconds=_left(end))):
        pass
    return walk_of(genesis, keys.records)


async def walk_keys_later(caller: AsyncCaller, genesis: bytes, end: float) -> KeyWalk:
    """See walk_keys."""
    keys = _KeyRecords()
    while keys.take(await caller.unary(keys.request, deadline_seconds=_left(end))):
        pass
    return walk_of(genesis, keys.records)


class Asker:
    """Of either prover: what it does with questions."""

    def __init__(self) -> None:
        self._freshness = Freshness()

    def ask(self, request: trust_v1.CheckRequest, idempotency_key: str) -> Asking:
        """Has the answer carry a proof. `idempotency_key` is the caller's own, if any. Each question is ended."""
        ask_for_proof(request)
        return self._freshness.ask(request, idempotency_key)

    def ask_all(self, requests: Sequence[trust_v1.CheckRequest], idempotency_key: str) -> list[Asking]:
        """Of a batch."""
        return [self.ask(each, idempotency_key) for each in requests]

    def end(self, asking: Asking) -> None:
        """The question is over, answered or not."""
        self._freshness.end(asking)

    def end_all(self, askings: Sequence[Asking]) -> None:
        """Of a batch."""
        for each in askings:
            self.end(each)

    def _taken(self, asking: Asking, decision: trust_v1.CheckResponse, proven: Proven) -> Decision:
        try:
            self._freshness.take(asking, proven)
        except ProofError as error:
            raise proof_error(error) from error
        return Decision(response=decision, verified=True)


class Prover(Asker):
    """Of a Sigil. Keys are walked once, and again for what does not hold: they may have changed."""

    def __init__(self, caller: Caller, genesis: bytes) -> None:
        super().__init__()
        self._caller = caller
        self._genesis = genesis
        self._walk: KeyWalk | None = None
        self._walking = threading.Lock()

    def proved(
        self, asking: Asking, decision: Decision, shared: type_v1.SharedProof | None, end: float
    ) -> Decision:
        """The same decision, if its proof holds. Raises SigilError."""
        reply = decision.response
        if reply is None:
            return decision
        walk = self._walked(None, end)
        try:
            proven = prove(walk, asking.question, reply, shared)
        except ProofError as error:
            newer = self._walked(walk, end)
            if newer is walk:
                raise proof_error(error) from error
            try:
                proven = prove(newer, asking.question, reply, shared)
            except ProofError as again:
                raise proof_error(again) from again
        return self._taken(asking, reply, proven)

    def proved_or_failed(
        self, asking: Asking, decision: Decision, shared: type_v1.SharedProof | None, end: float
    ) -> Decision:
        """The same, with an error in place of what is not proved: an item of a batch or stream."""
        try:
            return self.proved(asking, decision, shared, end)
        except SigilError as error:
            return Decision(error=error)

    def _walked(self, known: KeyWalk | None, end: float) -> KeyWalk:
        """A newer walk than `known`, if there is one. One at a time, which everybody waits for."""
        if known is None and self._walk is not None:
            return self._walk
        if not self._walking.acquire(timeout=_left(end)):
            raise _late()
        try:
            if self._walk is None or self._walk is known:
                walk = walk_keys(self._caller, self._genesis, end)
                # A server that leaves out what it showed before may be hiding that a key was retired.
                if self._walk is None or walk.records > self._walk.records:
                    self._walk = walk
            return self._walk
        finally:
            self._walking.release()


class AsyncProver(Asker):
    """Of an AsyncSigil; see Prover."""

    def __init__(self, caller: AsyncCaller, genesis: bytes) -> None:
        super().__init__()
        self._caller = caller
        self._genesis = genesis
        self._walk: KeyWalk | None = None
        self._walking: asyncio.Future[KeyWalk] | None = None

    async def proved(
        self, asking: Asking, decision: Decision, shared: type_v1.SharedProof | None, end: float
    ) -> Decision:
        """The same decision, if its proof holds. Raises SigilError."""
        reply = decision.response
        if reply is None:
            return decision
        walk = await self._walked(None, end)
        try:
            proven = prove(walk, asking.question, reply, shared)
        except ProofError as error:
            newer = await self._walked(walk, end)
            if newer is walk:
                raise proof_error(error) from error
            try:
                proven = prove(newer, asking.question, reply, shared)
            except ProofError as again:
                raise proof_error(again) from again
        return self._taken(asking, reply, proven)

    async def proved_or_failed(
        self, asking: Asking, decision: Decision, shared: type_v1.SharedProof | None, end: float
    ) -> Decision:
        """The same, with an error in place of what is not proved: an item of a batch or stream."""
        try:
            return await self.proved(asking, decision, shared, end)
        except SigilError as error:
            return Decision(error=error)

    async def _walked(self, known: KeyWalk | None, end: float) -> KeyWalk:
        """A newer walk than `known`, if there is one. One at a time, which everybody waits for."""
        if self._walk is not None and self._walk is not known:
            return self._walk
        if self._walking is None:
            # Not that of the question that began it: others wait for it too.
            walk_end = time.monotonic() + self._caller.settings.deadline_seconds
            self._walking = asyncio.ensure_future(
                walk_keys_later(self._caller, self._genesis, max(end, walk_end))
            )
            self._walking.add_done_callback(self._end_walk)
        try:
            walk = await asyncio.wait_for(asyncio.shield(self._walking), _left(end))
        except (asyncio.TimeoutError, TimeoutError):
            raise _late() from None
        # A server that leaves out what it showed before may be hiding that a key was retired.
        if self._walk is None or walk.records > self._walk.records:
            self._walk = walk
        return self._walk

    def _end_walk(self, walking: asyncio.Future[KeyWalk]) -> None:
        self._walking = None
        # Whoever gave up does not hear how it ended.
        if not walking.cancelled():
            walking.exception()
