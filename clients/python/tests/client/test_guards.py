"""Guards of functions and blocks: complete before anything runs, and nothing runs but by an allow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from fake_server import FakeServer, allow, always, deny

from sigil_client import (
    AsyncGuard,
    AsyncSigil,
    Decision,
    Denied,
    Guard,
    Question,
    Sigil,
    SigilError,
    target_of,
)
from sigil_client.guards.rule import Rule

ALLOWING = always(allow())
DENYING = always(deny())
REVIEWING = always(deny(verdict=3, reason="REVIEW_BAND"))


@pytest.fixture
def asked() -> Iterator[tuple[FakeServer, Sigil]]:
    with FakeServer(ALLOWING) as server, Sigil(server.target, tls="insecure", retry=None) as sigil:
        yield server, sigil


def test_asks_about_the_arguments_of_the_function(asked: tuple[FakeServer, Sigil]) -> None:
    server, sigil = asked

    @sigil.guard(
        "payment.refund",
        lambda payment_id, *, by: target_of("payment", payment_id),
        subject=lambda payment_id, *, by: by,
        session="s",
        input=lambda payment_id, *, by: payment_id.encode(),
    )
    def refund(payment_id: str, *, by: str) -> str:
        """Gives money back."""
        return f"{payment_id} by {by}"

    with pytest.raises(Denied):
        refund("7", by="ann")
    server.behaviours = always(allow(subject="ann"))
    assert refund("7/../8", by="ann") == "7/../8 by ann"
    assert (refund.__name__, refund.__doc__) == ("refund", "Gives money back.")
    request = server.seen.requests[-1]
    assert (request.action, request.target, request.subject, request.session, request.input) == (
        "payment.refund",
        "payment/7%2F..%2F8",
        "ann",
        "s",
        b"7/../8",
    )


@pytest.mark.parametrize("behaviours", [DENYING, REVIEWING, {}], ids=["deny", "review", "error"])
def test_runs_nothing_without_an_allow(behaviours: dict[str, Any]) -> None:
    ran = []
    with FakeServer(behaviours) as server, Sigil(server.target, tls="insecure") as sigil:

        @sigil.guard("write", "a")
        def work() -> None:
            ran.append("function")

        with pytest.raises(Denied) as caught:
            work()
        assert (caught.value.decision is None) is (behaviours == {})
        with pytest.raises(Denied):
            sigil.require("write", "a")

        async def require() -> None:
            async with AsyncSigil(server.target, tls="insecure") as later:
                await later.require("write", "a")

        with pytest.raises(Denied):
            asyncio.run(require())
        with pytest.raises(Denied), sigil.guard("write", "a"):
            ran.append("block")
    assert ran == []


def test_hands_the_decision_to_a_block_and_lets_its_errors_pass(asked: tuple[FakeServer, Sigil]) -> None:
    _, sigil = asked
    with sigil.guard("write", "a") as decision:
        assert decision.allowed
    with pytest.raises(LookupError), sigil.guard("write", "a"):
        raise LookupError


def test_asks_each_time(asked: tuple[FakeServer, Sigil]) -> None:
    server, sigil = asked
    guarded = sigil.guard("write", "a")(lambda: 1)
    assert [guarded(), guarded()] == [1, 1]
    assert len(server.seen.requests) == 2
    server.behaviours = DENYING
    with pytest.raises(Denied):
        guarded()


@pytest.mark.parametrize("kind", [Sigil, AsyncSigil])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"action": "write"},
        {"target": "a"},
        {"action": "", "target": "a"},
        {"action": "write", "target": " "},
        {"action": None, "target": "a"},
        {"action": "write", "target": 7},
        {"action": "write", "target": "a", "subject": ""},
        {"action": "write", "target": "a", "session": 7},
        {"action": "write", "target": "a", "input": b"bytes"},
    ],
)
def test_refuses_to_start(kind: Any, given: dict[str, Any]) -> None:
    sigil = kind("127.0.0.1:1", tls="insecure")
    with pytest.raises(TypeError):
        sigil.guard(**given)


@pytest.mark.parametrize("kind", [Sigil, AsyncSigil])
def test_refuses_to_stand_before_what_it_does_not_guard(kind: Any) -> None:
    sigil = kind("127.0.0.1:1", tls="insecure")
    guard = sigil.guard("write", "a")

    async def later() -> None: ...

    async def generating() -> AsyncIterator[int]:
        yield 1

    def now() -> None: ...

    class Work: ...

    wrong: list[Any] = [later, generating] if kind is Sigil else [now]
    for each in (Work, None, "work", *wrong):
        with pytest.raises(TypeError):
            guard(each)
    with pytest.raises(TypeError, match="no answer"):
        bool(guard)


def test_refuses_anybody_who_does_not_answer() -> None:
    for guard in (Guard, AsyncGuard):
        with pytest.raises(TypeError):
            guard(None, Rule("write", "a"))  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [None, True, 1, "yes", object()])
def test_takes_nothing_for_an_allow_but_a_decision(answer: Any) -> None:
    class Somebody:
        def require_question(self, _question: Question) -> Any:
            return answer

    class SomebodyLater:
        async def require_question(self, _question: Question) -> Any:
            return answer

    with pytest.raises(Denied):
        Guard(Somebody(), Rule("write", "a"))(lambda: 1)()

    async def work() -> None: ...

    with pytest.raises(Denied):
        asyncio.run(AsyncGuard(SomebodyLater(), Rule("write", "a"))(work)())


PARTS: list[Any] = [
    lambda: None,
    lambda: "",
    lambda: 7,
    lambda: 1 / 0,
    lambda: b"a",
]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["action", "target", "subject", "session"])
def test_denies_where_a_part_gives_no_text(asked: tuple[FakeServer, Sigil], name: str, part: Any) -> None:
    server, sigil = asked
    given = {"action": "write", "target": "a", name: part}
    with pytest.raises(Denied):
        sigil.guard(**given)(lambda: 1)()

    async def work() -> int:
        return 1

    async def ask() -> None:
        async with AsyncSigil(server.target, tls="insecure") as later:
            await later.guard(**given)(work)()

    with pytest.raises(Denied):
        asyncio.run(ask())
    assert server.seen.requests == []


def test_denies_where_a_part_of_a_blocking_guard_would_have_to_be_awaited(
    asked: tuple[FakeServer, Sigil],
) -> None:
    _, sigil = asked

    async def later() -> str:
        return "a"

    with pytest.raises(Denied):
        sigil.guard("write", later)(lambda: 1)()  # type: ignore[arg-type]


def test_a_block_has_no_arguments_to_take_parts_from(asked: tuple[FakeServer, Sigil]) -> None:
    _, sigil = asked
    with pytest.raises(TypeError, match="block"), sigil.guard("write", lambda: "a"):
        pass


async def test_guards_async_functions_generators_and_blocks() -> None:
    with FakeServer(ALLOWING) as server:
        async with AsyncSigil(server.target, tls="insecure") as sigil:

            async def target(name: str) -> str:
                return f"user/{name}"

            @sigil.guard("write", target)
            async def work(name: str) -> str:
                return name

            @sigil.guard("read", "a")
            async def generate() -> AsyncIterator[int]:
                yield 1

            assert await work("notes") == "notes"
            assert server.seen.requests[0].target == "user/notes"
            assert [each async for each in generate()] == [1]
            async with sigil.guard("write", "a") as decision:
                assert decision.allowed
            server.behaviours = DENYING
            with pytest.raises(Denied):
                await work("notes")
            with pytest.raises(Denied):
                [each async for each in generate()]
            with pytest.raises(Denied):
                async with sigil.guard("write", "a"):
                    pytest.fail("the block ran")


async def test_what_is_not_awaited_is_no_answer() -> None:
    with FakeServer(DENYING) as server:
        async with AsyncSigil(server.target, tls="insecure") as sigil:
            with pytest.raises(TypeError, match="await"):
                bool(sigil.check("write", "a"))
            with pytest.raises(TypeError, match="await"):
                assert not sigil.require("write", "a")
            answers = await asyncio.gather(sigil.check("write", "a"), sigil.check("write", "b"))
            assert not any(answers)
            assert not await asyncio.wait_for(sigil.check("write", "a"), 60)
            task = asyncio.create_task(sigil.check("write", "a"))
            assert not await task


@pytest.mark.parametrize(
    "given",
    [
        {"action": "", "target": "a"},
        {"action": "write", "target": ""},
        {"action": "write", "target": "a", "subject": ""},
        {"action": 7, "target": "a"},
        {"action": "write", "target": "a", "input": "text"},
    ],
)
def test_refuses_a_question_before_it_is_sent(asked: tuple[FakeServer, Sigil], given: dict[str, Any]) -> None:
    server, sigil = asked
    with pytest.raises(SigilError) as caught:
        sigil.check(**given)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.field != ""
    with pytest.raises(Denied):
        sigil.require(**given)
    assert server.seen.requests == []


@pytest.mark.parametrize("segments", [(), ("",), (".",), ("a", ".."), ("a", 7), ("\ud800",)])
def test_refuses_segments_of_a_target(segments: Any) -> None:
    with pytest.raises(SigilError):
        target_of(*segments)


def test_joins_segments_to_a_target() -> None:
    assert target_of("user", "a/../b", "%2e", "ä ö") == "user/a%2F..%2Fb/%252e/%C3%A4%20%C3%B6"


def test_a_decision_says_what_it_is_and_not_what_was_asked() -> None:
    decision = Decision(response=deny())
    assert repr(decision) == "Decision(VERDICT_DENY, reason='SCORE_BELOW_THRESHOLD', audit_id='d')"
    assert "secret" not in repr(Question("write", "a", input=b"secret"))
    assert str(decision) == '{"verdict": "VERDICT_DENY", "reason": "SCORE_BELOW_THRESHOLD", "auditId": "d"}'
