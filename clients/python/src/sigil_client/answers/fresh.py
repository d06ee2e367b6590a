"""Which records may answer the questions of a connection: a proof shows that a decision was made, not that it is this
one. The record must be newer than the question, by position and by time, and answer no other: an old allow, or somebody
else's, proves nothing. Source: docs/spec/verify.md §4. Threads may share one. Bound: the questions under way, and those
answered meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from ..messages import trust_v1
from ..verify import ForkError, ProofError, Question, VerifiedTree
from ..verify.crypto import sha256

_CLOCK_LEEWAY_MS = 30_000
"""How far the server's clock may be behind this one: the leeway of tokens, docs/spec/tokens.md §2. Before the first
answer no position tells old records from new ones, and time alone does."""

_TAKEN_MAX = 1_024
"""Positions kept before those are dropped that no question under way may have any more."""


@dataclass(frozen=True, eq=False)
class Asking:
    """A question under way."""

    question: Question
    floor: int | None
    """A record before this position is older than the question. None where the caller chose the idempotency key: a
    repeat has the first record."""
    asked_ms: int
    """When it was first asked, by this machine's clock: repeats of the call are the same question."""


@dataclass(frozen=True)
class Proven:
    """A record that was proved to answer a question, in a tree whose checkpoint was verified. `time_ms` is in
    milliseconds since 1970-01-01T00:00:00Z.
    """

    position: int
    time_ms: int
    tree: VerifiedTree


def _refuse(rule: str) -> NoReturn:
    raise ProofError(f"the answer is not proved: {rule}")


class Freshness:
    """What a connection has seen of the ledger."""

    def __init__(self, now_seconds: Callable[[], float] = time.time) -> None:
        self._now_seconds = now_seconds
        self._lock = threading.Lock()
        self._known: VerifiedTree | None = None
        """The largest tree that an answer was proved in."""
        self._taken: set[int] = set()
        self._taken_max = _TAKEN_MAX
        # By the order of asking, which is that of their floors: the known tree only grows.
        self._under_way: dict[Asking, int] = {}

    def ask(self, request: trust_v1.CheckRequest, idempotency_key: str) -> Asking:
        """Each question that was asked is ended."""
        digest = sha256(request.input) if request.input else None
        question = Question(request.action, request.target, request.subject, digest)
        with self._lock:
            floor = 0 if self._known is None else self._known.size
            asked_ms = int(self._now_seconds() * 1000)
            asking = Asking(question, floor if idempotency_key == "" else None, asked_ms)
            self._under_way[asking] = floor
        return asking

    def end(self, asking: Asking) -> None:
        """Answered or not. May be repeated."""
        with self._lock:
            self._under_way.pop(asking, None)
            if not self._under_way:
                self._taken.clear()

    def take(self, asking: Asking, proven: Proven) -> None:
        """Raises ProofError for a record that was there before, or answered another question, and for a second
        history.
        """
        with self._lock:
            if asking.floor is not None:
                self._take_new(asking.floor, asking.asked_ms, proven)
            known, tree = self._known, proven.tree
            if known is not None and known.size == tree.size and known.root != tree.root:
                raise ForkError(known.checkpoint, tree.checkpoint, "they have one size")
            if known is None or tree.size > known.size:
                self._known = tree

    def _take_new(self, floor: int, asked_ms: int, proven: Proven) -> None:
        position = proven.position
        if position < floor:
            _refuse(
                f"its record at position {position} is older than the question: the ledger had {floor} records then"
            )
        age_ms = asked_ms - proven.time_ms
        if age_ms > _CLOCK_LEEWAY_MS:
            age = f"its record is {-(-age_ms // 1000)} s older than the question"
            _refuse(
                f"{age}: a stored answer, or clocks that differ by more than {_CLOCK_LEEWAY_MS // 1000} s"
            )
        if position in self._taken:
            _refuse("its record answered another question")
        self._taken.add(position)
        if len(self._taken) > self._taken_max:
            oldest = next(iter(self._under_way.values()), floor)
            self._taken = {each for each in self._taken if each >= oldest}
            self._taken_max = max(_TAKEN_MAX, 2 * len(self._taken))
