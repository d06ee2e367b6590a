"""Watching and following go on where they were interrupted, and hand on each thing once; runs count by their result."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from typing import Any

import grpc
import pytest
from fake_server import FakeServer, Times, fail

from sigil_client import (
    AsyncSigil,
    ChainFilter,
    Sigil,
    SigilError,
    WatchFilter,
    Write,
    audit_v1,
    canon_v1,
    module_v1,
    type_v1,
)
from sigil_client.services import resuming


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "PAUSE_SECONDS_MIN", 0.01)


def record(position: int, after: int | None = None) -> canon_v1.WatchResponse:
    versioned = canon_v1.VersionedRecord(
        version=1, record=type_v1.CanonicalRecord(id=f"note/{position}", position=position)
    )
    return canon_v1.WatchResponse(record=versioned, next_position=position + 1 if after is None else after)


def heartbeat(after: int) -> canon_v1.WatchResponse:
    return canon_v1.WatchResponse(heartbeat=canon_v1.Heartbeat(checkpoint="c"), next_position=after)


def ledger(times: Times, *, size: int, per_stream: int, code: grpc.StatusCode | None) -> dict[str, Any]:
    """A watch of a ledger that breaks after so many records."""

    def watch(request: canon_v1.WatchRequest, context: grpc.ServicerContext) -> Iterator[Any]:
        times.next()
        yield heartbeat(request.from_position)
        first = request.from_position
        for position in range(first, min(first + per_stream, size)):
            yield record(position)
        if code is not None:
            fail(context, code)

    return {"Watch": watch}


BREAKS = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAUTHENTICATED, None]


@pytest.mark.parametrize("code", BREAKS, ids=str)
def test_a_watch_goes_on_where_it_was(code: grpc.StatusCode | None) -> None:
    times = Times()
    behaviours = ledger(times, size=10, per_stream=3, code=code)
    with FakeServer(behaviours) as server, Sigil(server.target, tls="insecure") as sigil:
        events = list(islice(sigil.canon.watch(from_position=1), 9))
        assert [event.record and event.record.position for event in events] == list(range(1, 10))
        assert [request.from_position for request in server.seen.requests] == [1, 4, 7]
        beating = list(islice(sigil.canon.watch(from_position=1, heartbeats=True), 2))
        assert [event.checkpoint for event in beating] == ["c", None]


@pytest.mark.parametrize("code", BREAKS, ids=str)
async def test_an_async_watch_goes_on_where_it_was(code: grpc.StatusCode | None) -> None:
    behaviours = ledger(Times(), size=10, per_stream=3, code=code)
    with FakeServer(behaviours) as server:
        async with AsyncSigil(server.target, tls="insecure") as sigil:
            positions: list[int] = []
            async for event in sigil.canon.watch(from_position=1):
                assert event.record is not None
                positions.append(event.record.position)
                if len(positions) == 9:
                    break
        assert positions == list(range(1, 10))


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    ],
    ids=str,
)
async def test_a_watch_that_never_began_is_told(code: grpc.StatusCode) -> None:
    def watch(_request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        fail(context, code)
        yield

    with FakeServer({"Watch": watch}) as server:
        with Sigil(server.target, tls="insecure") as sigil, pytest.raises(SigilError) as caught:
            next(sigil.canon.watch())
        assert caught.value.code is code
        async with AsyncSigil(server.target, tls="insecure") as later:
            with pytest.raises(SigilError):
                [each async for each in later.canon.watch()]


def test_a_watch_that_is_refused_later_is_told() -> None:
    behaviours = ledger(Times(), size=3, per_stream=3, code=grpc.StatusCode.PERMISSION_DENIED)
    with FakeServer(behaviours) as server, Sigil(server.target, tls="insecure") as sigil:
        seen = []
        with pytest.raises(SigilError) as caught:
            for event in sigil.canon.watch(from_position=0):
                seen.append(event)
        assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED
        assert len(seen) == 3


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([record(5), record(4)], id="a record before the last"),
        pytest.param([record(5), record(5)], id="a record twice"),
        pytest.param([record(5), heartbeat(5)], id="a position before the last"),
        pytest.param([record(2)], id="a record before where it was to begin"),
        pytest.param([canon_v1.WatchResponse(next_position=9)], id="nothing"),
    ],
)
async def test_a_watch_that_goes_back_is_an_error(messages: list[Any]) -> None:
    with FakeServer({"Watch": lambda _request, _context: iter(messages)}) as server:
        with Sigil(server.target, tls="insecure") as sigil, pytest.raises(SigilError) as caught:
            list(sigil.canon.watch(from_position=3))
        assert caught.value.reason == "REPLY_CONTRADICTORY"
        async with AsyncSigil(server.target, tls="insecure") as later:
            with pytest.raises(SigilError):
                [each async for each in later.canon.watch(from_position=3)]


def silent(times: Times) -> dict[str, Any]:
    """Says one thing, and nothing more; of the second stream another thing."""

    def watch(_request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        time = times.next()
        yield record(time)
        if time == 1:
            while context.is_active():
                context.set_code(grpc.StatusCode.OK)
                _wait(context)

    return {"Watch": watch}


def _wait(context: grpc.ServicerContext) -> None:
    over = threading.Event()
    if context.add_callback(over.set):
        over.wait(60)


async def test_a_stream_that_fell_silent_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WatchFilter, "silence_seconds", 0.5)
    with FakeServer(silent(Times())) as server, Sigil(server.target, tls="insecure") as sigil:
        events = list(islice(sigil.canon.watch(from_position=0), 2))
        assert [event.record and event.record.position for event in events] == [1, 2]
    with FakeServer(silent(Times())) as server:
        async with AsyncSigil(server.target, tls="insecure") as later:
            seen: list[Any] = []
            async for event in later.canon.watch(from_position=0):
                seen.append(event)
                if len(seen) == 2:
                    break


def chains(times: Times, *, failing: set[int], size: int) -> dict[str, Any]:
    """Two decisions a page."""

    def listing(request: audit_v1.ListFrozenChainsRequest, context: grpc.ServicerContext) -> Any:
        if times.next() in failing:
            fail(context, grpc.StatusCode.UNAVAILABLE)
        first = request.from_position
        last = min(first + 2, size)
        return audit_v1.ListFrozenChainsResponse(
            chains=[audit_v1.FrozenChain(audit_id=str(at)) for at in range(first, last)],
            next_page_token="more" if last < size else "",
            resume_position=last,
        )

    return {"ListFrozenChains": listing}


async def test_following_goes_on_and_hands_on_each_once() -> None:
    wanted = [str(at) for at in range(5)]
    with FakeServer(chains(Times(), failing={2}, size=5)) as server:
        with Sigil(server.target, tls="insecure", retry=None) as sigil:
            found = [chain.audit_id for chain in islice(sigil.audit.follow(), 5)]
        assert found == wanted
        assert {request.order for request in server.seen.requests} == {audit_v1.LIST_ORDER_OLDEST_FIRST}
    with FakeServer(chains(Times(), failing={2}, size=5)) as server:
        async with AsyncSigil(server.target, tls="insecure", retry=None) as later:
            seen: list[str] = []
            async for chain in later.audit.follow(ChainFilter(action="read")):
                seen.append(chain.audit_id)
                if len(seen) == 5:
                    break
        assert seen == wanted


def test_following_tells_what_fails_first_and_what_goes_back() -> None:
    with FakeServer(chains(Times(), failing={1}, size=5)) as server:
        with Sigil(server.target, tls="insecure", retry=None) as sigil, pytest.raises(SigilError):
            next(sigil.audit.follow())
    back = audit_v1.ListFrozenChainsResponse(resume_position=2)
    with FakeServer({"ListFrozenChains": lambda _request, _context: back}) as server:
        with Sigil(server.target, tls="insecure") as sigil, pytest.raises(SigilError) as caught:
            next(sigil.audit.follow(from_position=3))
        assert caught.value.reason == "REPLY_CONTRADICTORY"


def parts(*names: str) -> Any:
    made = {
        "log": module_v1.RunStreamResponse(log=b"l"),
        "output": module_v1.RunStreamResponse(output=b"o"),
        "result": module_v1.RunStreamResponse(result=module_v1.RunResponse(run_id="r")),
    }
    return {"RunStream": lambda _request, _context: iter([made[name] for name in names])}


@pytest.mark.parametrize(
    ("names", "holds"),
    [(("log", "output", "result"), True), (("output",), False), ((), False), (("result", "output"), False)],
)
async def test_a_run_counts_by_its_result(names: tuple[str, ...], holds: bool) -> None:
    with FakeServer(parts(*names)) as server:
        with Sigil(server.target, tls="insecure") as sigil:
            if holds:
                assert len(list(sigil.modules.run_stream("hello", {"a": 1}))) == 3
            else:
                with pytest.raises(SigilError):
                    list(sigil.modules.run_stream("hello", b"x"))
        async with AsyncSigil(server.target, tls="insecure") as later:
            if holds:
                assert len([each async for each in later.modules.run_stream("hello")]) == 3
            else:
                with pytest.raises(SigilError):
                    [each async for each in later.modules.run_stream("hello")]


def test_an_evidence_file_has_a_bound() -> None:
    def endless(_request: Any, _context: Any) -> Iterator[Any]:
        while True:
            yield audit_v1.GetEvidenceResponse(chunk=bytes(1 << 20))

    with FakeServer({"GetEvidence": endless}) as server, Sigil(server.target, tls="insecure") as sigil:
        with pytest.raises(SigilError, match="at most"):
            sigil.audit.evidence("a")
        both: list[dict[str, Any]] = [{}, {"audit_id": "a", "hash": bytes(32)}]
        for wrong in both:
            with pytest.raises(SigilError):
                sigil.audit.evidence(**wrong)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"a": {"b": [1, 2**53]}}, "payload.a.b[1]"),
        ({"a": float("nan")}, "payload.a"),
        ({"a": float("inf")}, "payload.a"),
        ({"a": b"bytes"}, "payload.a"),
        ({1: "a"}, "payload"),
        ({"a": {1, 2}}, "payload.a"),
    ],
)
def test_refuses_a_payload_that_json_cannot_hold(payload: Any, field: str) -> None:
    with Sigil("127.0.0.1:1", tls="insecure") as sigil, pytest.raises(SigilError) as caught:
        sigil.canon.write("note/a", "note", payload)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "given", [{}, {"payload": {}, "tombstone": True}, {"payload": {}, "payload_cbor": b"\xa0"}]
)
def test_refuses_a_write_of_nothing_or_of_two_things(given: dict[str, Any]) -> None:
    with pytest.raises(SigilError):
        Write("note/a", "note", **given).to_message()
