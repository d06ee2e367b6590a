"""Where decisions are verified, a proof of another decision proves nothing: not that of an old allow of the very same
question, of another input, or of what somebody else is answered at the same time. By every way of asking.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from conftest import Deployment, caller
from fake_server import FakeServer, fail

from sigil_client import AsyncSigil, Question, Retry, Sigil, SigilError, Trust, key_v1, trust_v1, type_v1
from sigil_client.answers.fresh import Freshness, Proven
from sigil_client.verify import ForkError, ProofError, VerifiedTree

Lie = Callable[[trust_v1.CheckRequest, trust_v1.CheckResponse], trust_v1.CheckResponse]


class Liar:
    """Between a client and an honest server: passes questions on, and changes answers."""

    def __init__(self, honest: Sigil) -> None:
        self._honest = honest
        self.lie: Lie = lambda _request, reply: reply
        self.keys: Callable[[Any], Any] = lambda page: page
        self.walks = 0
        self.on_check: Callable[[grpc.ServicerContext], None] = lambda _context: None
        """Of a check that was answered, and whose answer may still be lost."""

    def _answer(self, request: trust_v1.CheckRequest) -> trust_v1.CheckResponse:
        reply: trust_v1.CheckResponse = self._honest.call(request)
        return self.lie(request, reply)

    @property
    def behaviours(self) -> dict[str, Any]:
        """Every question is asked by itself, that of a batch of one too."""

        def batch(request: trust_v1.BatchCheckRequest, _context: Any) -> trust_v1.BatchCheckResponse:
            made = trust_v1.BatchCheckResponse()
            for check in request.checks:
                reply = self._answer(check)
                path = list(reply.proof.inclusion_proof)
                made.shared_proof.checkpoint = reply.proof.checkpoint
                made.shared_proof.hashes.extend(path)
                result = made.results.add().decision
                result.CopyFrom(reply)
                result.proof.ClearField("inclusion_proof")
                result.proof.shared_path.extend(range(len(path)))
            return made

        def stream(requests: Iterator[Any], _context: Any) -> Iterator[trust_v1.StreamChecksResponse]:
            for request in requests:
                reply = self._answer(request.check)
                yield trust_v1.StreamChecksResponse(correlation_id=request.correlation_id, decision=reply)

        def check(request: trust_v1.CheckRequest, context: grpc.ServicerContext) -> trust_v1.CheckResponse:
            reply = self._answer(request)
            self.on_check(context)
            return reply

        def keys(_request: Any, _context: Any) -> Any:
            self.walks += 1
            return self.keys(self._honest.call(key_v1.ListKeyRecordsRequest()))

        return {
            "Check": check,
            "BatchCheck": batch,
            "StreamChecks": stream,
            "ListKeyRecords": keys,
        }


def reason_of(ask: Callable[[], Any]) -> str:
    try:
        decision = ask()
    except SigilError as error:
        return error.reason
    assert decision.error is not None or decision.verified
    return "allowed" if decision else str(decision.reason)


WAYS: dict[str, Callable[[Sigil, Question], Any]] = {
    "check": lambda sigil, question: sigil.check_question(question),
    "require": lambda sigil, question: sigil.require_question(question),
    "batch": lambda sigil, question: sigil.check_batch([question])[0],
    "stream": lambda sigil, question: next(iter(sigil.check_stream([question])))[1],
}


async def later_in_a_batch(sigil: AsyncSigil, question: Question) -> Any:
    return (await sigil.check_batch([question]))[0]


async def later_in_a_stream(sigil: AsyncSigil, question: Question) -> Any:
    [decision] = [decision async for _, decision in sigil.check_stream([question])]
    return decision


ASYNC_WAYS: dict[str, Callable[[AsyncSigil, Question], Awaitable[Any]]] = {
    "check": lambda sigil, question: sigil.check_question(question),
    "require": lambda sigil, question: sigil.require_question(question),
    "batch": later_in_a_batch,
    "stream": later_in_a_stream,
}

QUESTION = Question("write", "user/notes")
WITH_INPUT = Question("write", "user/notes", input=b"the input")


class World:
    """A liar before the deployment, and clients of both kinds that verify what it answers."""

    def __init__(self, liar: Liar, options: dict[str, Any]) -> None:
        self.liar = liar
        self.options = options

    def reasons(self, question: Question, lie: Lie) -> set[str]:
        """Of each way, with a client that had an honest answer before: it knows keys and a tree."""
        found = set()
        for ask in WAYS.values():
            self.liar.lie = honest
            with Sigil(**self.options) as sigil:
                assert sigil.require_question(question).verified
                self.liar.lie = lie
                found.add(reason_of(lambda ask=ask, sigil=sigil: ask(sigil, question)))  # type: ignore[misc]

        async def later() -> None:
            for ask in ASYNC_WAYS.values():
                self.liar.lie = honest
                async with AsyncSigil(**self.options) as sigil:
                    assert (await sigil.require_question(question)).verified
                    self.liar.lie = lie
                    try:
                        decision = await ask(sigil, question)
                    except SigilError as error:
                        found.add(error.reason)
                    else:
                        found.add("allowed" if decision else decision.reason)

        asyncio.run(later())
        return found


def honest(_request: trust_v1.CheckRequest, reply: trust_v1.CheckResponse) -> trust_v1.CheckResponse:
    return reply


@pytest.fixture
def operator(deployment: Deployment) -> Iterator[Sigil]:
    with Sigil(**caller(deployment, "operator")) as sigil:
        yield sigil


@pytest.fixture
def world(deployment: Deployment, operator: Sigil) -> Iterator[World]:
    liar = Liar(operator)
    trust = Trust(genesis=deployment.genesis)
    with FakeServer(liar.behaviours) as server:
        options = {"target": server.target, "tls": "insecure", "verify_decisions": trust}
        yield World(liar, {**options, "deadline_seconds": 60, "retry": None})


def asked(operator: Sigil, question: Question, **changed: Any) -> trust_v1.CheckResponse:
    """An honest, proved allow."""
    request = question.to_message()
    request.proof = type_v1.RECORD_PROOF_INCLUSION
    request.disclose = True
    for name, value in changed.items():
        setattr(request, name, value)
    reply: trust_v1.CheckResponse = operator.call(request)
    assert reply.allowed
    return reply


def instead(reply: trust_v1.CheckResponse) -> Lie:
    """Nothing but the proof tells whose answer it is."""
    reply.input_digest = b""

    def lie(_request: trust_v1.CheckRequest, _reply: trust_v1.CheckResponse) -> trust_v1.CheckResponse:
        copied = trust_v1.CheckResponse()
        copied.CopyFrom(reply)
        return copied

    return lie


def test_allows_what_is_proved(world: World) -> None:
    assert world.reasons(QUESTION, honest) == {"allowed"}
    assert world.reasons(WITH_INPUT, honest) == {"allowed"}


def test_allows_nothing_by_an_allow_from_before(world: World, operator: Sigil) -> None:
    assert world.reasons(QUESTION, instead(asked(operator, QUESTION))) == {"PROOF_REFUSED"}


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"input": b"another input"}, id="another input"),
        pytest.param({"input": b""}, id="no input"),
        pytest.param({"target": "user/other"}, id="another target"),
        pytest.param({"action": "read"}, id="another action"),
    ],
)
def test_allows_nothing_by_a_new_allow_of(world: World, operator: Sigil, changed: dict[str, Any]) -> None:
    def lie(_request: Any, reply: trust_v1.CheckResponse) -> trust_v1.CheckResponse:
        return instead(asked(operator, WITH_INPUT, **changed))(_request, reply)

    assert world.reasons(WITH_INPUT, lie) == {"PROOF_REFUSED"}


def test_allows_nothing_by_an_input_that_is_not_disclosed(world: World) -> None:
    def lie(_request: Any, reply: trust_v1.CheckResponse) -> trust_v1.CheckResponse:
        reply.disclosures = b""
        return reply

    assert world.reasons(WITH_INPUT, lie) == {"PROOF_REFUSED"}


def test_allows_one_of_two_questions_under_way_by_one_record(world: World) -> None:
    replies: list[trust_v1.CheckResponse] = []
    both = threading.Barrier(2)

    def lie(_request: Any, reply: trust_v1.CheckResponse) -> trust_v1.CheckResponse:
        replies.append(reply)
        both.wait(60)
        return replies[0]

    def both_by(ask: Callable[[], set[str]]) -> set[str]:
        replies.clear()
        world.liar.lie = lie
        return ask()

    def with_threads() -> set[str]:
        with Sigil(**world.options) as sigil, ThreadPoolExecutor(2) as pool:
            asking = [pool.submit(reason_of, lambda: sigil.require_question(QUESTION)) for _ in range(2)]
            return {each.result() for each in asking}

    def in_a_loop() -> set[str]:
        async def later() -> set[str]:
            async with AsyncSigil(**world.options) as sigil:
                asking = (sigil.require_question(QUESTION) for _ in range(2))
                outcomes = await asyncio.gather(*asking, return_exceptions=True)
                return {each.reason if isinstance(each, SigilError) else "allowed" for each in outcomes}

        return asyncio.run(later())

    assert both_by(with_threads) == {"allowed", "PROOF_REFUSED"}
    assert both_by(in_a_loop) == {"allowed", "PROOF_REFUSED"}


def test_a_repeat_by_a_key_of_the_callers_has_the_first_record(world: World) -> None:
    question = Question("write", "user/notes", idempotency_key="repeat-1")
    with Sigil(**world.options) as sigil:
        first = sigil.require_question(question)
        sigil.require_question(QUESTION)
        again = sigil.require_question(question)
        assert (again.verified, again.audit_id) == (True, first.audit_id)


def test_does_not_forget_keys_that_it_knows(world: World, deployment: Deployment) -> None:
    """Nor wait for a list of them that never ends."""
    with Sigil(**caller(deployment, "root")) as root:
        root.call(key_v1.RotateKeyRequest(role=key_v1.KEY_ROLE_RECORD))
    broken = world.liar

    def lie(_request: Any, reply: trust_v1.CheckResponse) -> trust_v1.CheckResponse:
        reply.proof.envelope = b""
        return reply

    def without_end(page: Any) -> Any:
        page.next_page_token = "more"
        if broken.walks % 2:
            page.ClearField("records")
        return page

    with Sigil(**world.options) as sigil:
        sigil.require_question(QUESTION)
        broken.lie = lie
        assert reason_of(lambda: sigil.require_question(QUESTION)) == "PROOF_REFUSED"
        broken.keys = lambda page: key_v1.ListKeyRecordsResponse(records=page.records[:1])
        assert reason_of(lambda: sigil.require_question(QUESTION)) == "PROOF_REFUSED"
        broken.lie = honest
        assert sigil.require_question(QUESTION).verified
    broken.keys = without_end
    with Sigil(**world.options) as sigil:
        assert reason_of(lambda: sigil.require_question(QUESTION)) == "REPLY_CONTRADICTORY"


ASKED_MS = 1_700_000_000_000


def proven(position: int, size: int, *, root: bytes = b"r", time_ms: int = ASKED_MS) -> Proven:
    return Proven(position, time_ms, VerifiedTree(size, root, f"checkpoint {size}"))


def fresh_by(*now_ms: int) -> Freshness:
    """By a clock that shows these one after another, and the last from then on."""
    left = list(now_ms)
    return Freshness(lambda: (left.pop(0) if len(left) > 1 else left[0]) / 1000)


REQUEST = trust_v1.CheckRequest(action="read", target="a")


def test_two_trees_of_one_size_are_a_fork() -> None:
    fresh = fresh_by(ASKED_MS)
    first, second = fresh.ask(REQUEST, ""), fresh.ask(REQUEST, "")
    fresh.take(first, proven(4, 5))
    with pytest.raises(ForkError):
        fresh.take(second, proven(3, 5, root=b"another"))
    with pytest.raises(ForkError):
        fresh.take(fresh.ask(REQUEST, "key"), proven(4, 5, root=b"another"))


def test_forgets_positions_that_no_question_may_have_any_more() -> None:
    """While questions overlap all the time, as many are kept as there are questions at once."""
    fresh = fresh_by(ASKED_MS)
    before = fresh.ask(REQUEST, "")
    for at in range(20_000):
        asking = fresh.ask(REQUEST, "")
        fresh.take(before, proven(at, at + 1))
        fresh.end(before)
        with pytest.raises(ProofError, match="another question"):
            fresh.take(asking, proven(at, at + 1))
        before = asking
    assert len(fresh._taken) < 3_000


@pytest.mark.parametrize("older_ms", [-3_600_000, -1, 0, 1, 30_000])
def test_takes_a_record_that_clocks_within_the_leeway_give(older_ms: int) -> None:
    fresh = fresh_by(ASKED_MS)
    fresh.take(fresh.ask(REQUEST, ""), proven(4, 5, time_ms=ASKED_MS - older_ms))


@pytest.mark.parametrize(
    ("older_ms", "seconds"), [(30_001, 31), (3_999_001, 4_000), (ASKED_MS, ASKED_MS // 1000)]
)
def test_refuses_a_record_that_is_older_than_a_first_question(older_ms: int, seconds: int) -> None:
    fresh = fresh_by(ASKED_MS)
    with pytest.raises(ProofError) as refused:
        fresh.take(fresh.ask(REQUEST, ""), proven(4, 5, time_ms=ASKED_MS - older_ms))
    age = f"its record is {seconds} s older than the question"
    rule = f"{age}: a stored answer, or clocks that differ by more than 30 s"
    assert str(refused.value) == f"the answer is not proved: {rule}"
    # Nothing is remembered of it.
    fresh.take(fresh.ask(REQUEST, ""), proven(4, 5))
    # What the caller repeats by its own key has the first record, however old.
    fresh.take(fresh.ask(REQUEST, "key"), proven(4, 5, time_ms=ASKED_MS - older_ms))


def test_measures_from_when_a_question_was_first_asked(world: World) -> None:
    """And not from a repeat, which has the record of the first attempt."""
    now = [time.time()]
    replies: list[trust_v1.CheckResponse] = []

    def lie(_request: Any, reply: trust_v1.CheckResponse) -> trust_v1.CheckResponse:
        replies.append(reply)
        return reply

    def lose_the_first(context: grpc.ServicerContext) -> None:
        if len(replies) == 1:
            now[0] += 600
            fail(context, grpc.StatusCode.UNAVAILABLE)

    world.liar.lie, world.liar.on_check = lie, lose_the_first
    with Sigil(**{**world.options, "retry": Retry()}) as sigil:
        assert sigil._prover is not None
        sigil._prover._freshness = Freshness(lambda: now[0])
        decision = sigil.require_question(QUESTION)
        first, again = replies
        assert (decision.audit_id, again.replayed) == (first.audit_id, True)
        assert reason_of(lambda: sigil.require_question(QUESTION)) == "PROOF_REFUSED"
