"""Guards of servers: ASGI, WSGI and gRPC. Nothing is served but by an allow, and a refusal says nothing of why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from typing import Any

import flask
import grpc
import grpc.aio
import httpx
import pytest
from fake_server import FakeServer, allow, always, deny, fail, retry_info
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from sigil_client import (
    AsgiGuard,
    AsyncGuardInterceptor,
    AsyncSigil,
    Denied,
    GuardInterceptor,
    IncomingCall,
    Sigil,
    WsgiGuard,
    target_of,
)


def unavailable(_request: Any, context: grpc.ServicerContext) -> Any:
    fail(context, grpc.StatusCode.UNAVAILABLE, "secret of the server", retry_info(1.2))


OUTCOMES = [
    pytest.param(always(allow()), 200, id="allow"),
    pytest.param(always(deny()), 403, id="deny"),
    pytest.param(always(deny(verdict=3, reason="REVIEW_BAND")), 403, id="review"),
    pytest.param(always(deny(verdict=1, allowed=True)), 403, id="lie"),
    pytest.param({"Check": unavailable}, 503, id="away"),
    pytest.param({}, 503, id="no such call"),
]


def starlette_app(sigil: AsyncSigil, served: list[str], denied: list[Denied]) -> Any:
    async def notes(request: Request) -> PlainTextResponse:
        served.append(request.scope["sigil.decision"].audit_id)
        return PlainTextResponse("notes")

    async def live(socket: WebSocket) -> None:
        served.append("socket")
        await socket.accept()
        await socket.close()

    guard = Middleware(
        AsgiGuard,
        sigil=sigil,
        action=lambda scope: scope.get("method", "subscribe").lower(),
        target=lambda scope: target_of(*scope["path"].strip("/").split("/")),
        on_denied=lambda _scope, error: denied.append(error),
    )
    return Starlette(routes=[Route("/user/notes", notes), WebSocketRoute("/live", live)], middleware=[guard])


@pytest.mark.parametrize(("behaviours", "status"), OUTCOMES)
async def test_asgi(behaviours: dict[str, Any], status: int) -> None:
    served: list[str] = []
    denied: list[Denied] = []
    with FakeServer(behaviours) as server:
        async with AsyncSigil(server.target, tls="insecure", retry=None) as sigil:
            app = starlette_app(sigil, served, denied)
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://test"
            ) as client:
                response = await client.get("/user/notes")
        assert response.status_code == status
        assert served == (["a"] if status == 200 else [])
        if status == 200:
            assert (server.seen.requests[0].action, server.seen.requests[0].target) == ("get", "user/notes")
            return
        assert len(denied) == 1
        body = json.loads(response.text)
        assert body == {"error": "denied" if status == 403 else "unavailable"}
        assert response.headers.get("retry-after") == (
            "2" if "Check" in behaviours and status == 503 else None
        )


async def test_asgi_refuses_a_web_socket_before_it_is_accepted_and_lets_the_lifespan_through() -> None:
    served: list[str] = []
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    with FakeServer(always(deny())) as server:
        async with AsyncSigil(server.target, tls="insecure") as sigil:
            guard = AsgiGuard(starlette_app(sigil, served, []), sigil, action="subscribe", target="live")
            scope = {"type": "websocket", "path": "/live", "headers": []}
            await guard(scope, receive, send)
            assert [each["type"] for each in sent] == ["websocket.close"]
            with pytest.raises(ValueError, match="nothing else"):
                await guard({"type": "telnet"}, receive, send)

            async def app(scope: Any, _receive: Any, _send: Any) -> None:
                served.append(scope["type"])

            await AsgiGuard(app, sigil, action="a", target="b")({"type": "lifespan"}, receive, send)
    assert served == ["lifespan"]


@pytest.mark.parametrize(("behaviours", "status"), OUTCOMES)
def test_wsgi(behaviours: dict[str, Any], status: int) -> None:
    served: list[str] = []
    denied: list[Denied] = []
    app = flask.Flask("guarded")

    @app.get("/user/notes")
    def notes() -> str:
        served.append(flask.request.environ["sigil.decision"].audit_id)
        return "notes"

    with FakeServer(behaviours) as server, Sigil(server.target, tls="insecure", retry=None) as sigil:
        app.wsgi_app = WsgiGuard(  # type: ignore[method-assign]
            app.wsgi_app,
            sigil,
            action="read",
            target=lambda environ: environ["PATH_INFO"].strip("/"),
            on_denied=lambda _environ, error: denied.append(error),
        )
        response = app.test_client().get("/user/notes")
        assert response.status_code == status
        assert served == (["a"] if status == 200 else [])
        if status != 200:
            assert len(denied) == 1
            assert json.loads(response.text) == {"error": "denied" if status == 403 else "unavailable"}


def test_what_a_guard_cannot_name_is_nobodys() -> None:
    """A request of which a part of the rule makes nothing is 403, and nobody is asked about it."""
    denied: list[Denied] = []
    with FakeServer(always(allow())) as server, Sigil(server.target, tls="insecure") as sigil:
        wsgi = WsgiGuard(
            lambda _environ, _start: [b"served"],
            sigil,
            action=lambda environ: {"GET": "read"}[environ["REQUEST_METHOD"]],
            target="a",
            on_denied=lambda _environ, error: denied.append(error),
        )
        statuses: list[str] = []
        wsgi({"REQUEST_METHOD": "BREW"}, lambda status, _headers: statuses.append(status))
        assert statuses == ["403 Forbidden"]
        assert "KeyError" in str(denied[0])
        assert "BREW" not in str(denied[0])
        assert server.seen.requests == []


@pytest.mark.parametrize("wrong", [{}, {"action": "read"}, {"target": "a"}, {"action": "read", "target": ""}])
def test_refuse_to_start(wrong: dict[str, Any]) -> None:
    def app(*_given: Any) -> Any: ...

    sigil, later = Sigil("127.0.0.1:1", tls="insecure"), AsyncSigil("127.0.0.1:1", tls="insecure")
    for make in (
        lambda: WsgiGuard(app, sigil, **wrong),
        lambda: AsgiGuard(app, later, **wrong),
        lambda: GuardInterceptor(sigil, **wrong),
        lambda: AsyncGuardInterceptor(later, **wrong),
    ):
        with pytest.raises(TypeError):
            make()


def test_refuse_to_start_without_anybody_to_ask_or_anything_to_guard() -> None:
    sigil = Sigil("127.0.0.1:1", tls="insecure")
    rule: dict[str, Any] = {"action": "read", "target": "a"}
    for make in (
        lambda: WsgiGuard(lambda: None, None, **rule),  # type: ignore[arg-type, misc]
        lambda: WsgiGuard(None, sigil, **rule),  # type: ignore[arg-type]
        lambda: AsgiGuard(lambda: None, None, **rule),  # type: ignore[arg-type, misc]
        lambda: AsgiGuard(None, sigil, **rule),  # type: ignore[arg-type]
        lambda: GuardInterceptor(None, **rule),  # type: ignore[arg-type]
        lambda: GuardInterceptor(sigil, **rule, exempt="/a/b"),
        lambda: GuardInterceptor(sigil, **rule, exempt=["Check"]),
        lambda: AsyncGuardInterceptor(None, **rule),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            make()


KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def path_of(kind: str) -> str:
    return f"/test.Guarded/{kind}"


class Handlers(grpc.GenericRpcHandler):
    """One method of every kind, which say that they ran."""

    def __init__(self, ran: list[str], *, later: bool) -> None:
        self._ran = ran
        self._later = later

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        kind = details.method.rpartition("/")[2]
        if kind not in KINDS:
            return None
        streams = kind.endswith("stream")

        def unary(_request: Any, _context: Any) -> bytes:
            self._ran.append(kind)
            return b"done"

        def stream(_request: Any, _context: Any) -> Iterator[bytes]:
            self._ran.append(kind)
            yield b"done"

        async def unary_later(_request: Any, _context: Any) -> bytes:
            return unary(_request, _context)

        async def stream_later(_request: Any, _context: Any) -> AsyncIterator[bytes]:
            self._ran.append(kind)
            yield b"done"

        async def writing_later(_request: Any, context: Any) -> None:
            self._ran.append(kind)
            await context.write(b"done")

        behaviour: Any = (
            (stream_later if kind == "unary_stream" else writing_later) if streams else unary_later
        )
        if not self._later:
            behaviour = stream if streams else unary
        return getattr(grpc, f"{kind}_rpc_method_handler")(behaviour)


def call_all(port: int) -> dict[str, str]:
    """What came of each method: "done", or the code and the message of the refusal."""
    outcomes = {}
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for kind in KINDS:
            multi = getattr(channel, kind)(path_of(kind))
            request = iter([b"r"]) if kind.startswith("stream") else b"r"
            try:
                reply = multi(request, timeout=60, metadata=(("x-user", "ann"),))
                outcomes[kind] = (b"".join(reply) if kind.endswith("stream") else reply).decode()
            except grpc.RpcError as error:
                outcomes[kind] = f"{error.code().name}: {error.details()}"
    return outcomes


RULE: dict[str, Any] = {
    "action": lambda call: call.method.rpartition("/")[2],
    "target": "guarded",
    "subject": lambda call: call.metadata["x-user"],
}
INTERCEPTED = [
    pytest.param(always(allow(subject="ann")), "done", id="allow"),
    pytest.param(always(deny(subject="ann")), "PERMISSION_DENIED: denied", id="deny"),
    pytest.param(always(allow(subject="bob")), "UNAVAILABLE: no answer, which is a deny", id="lie"),
    pytest.param({"Check": unavailable}, "UNAVAILABLE: no answer, which is a deny", id="away"),
]


@pytest.mark.parametrize(("behaviours", "outcome"), INTERCEPTED)
def test_interceptor(behaviours: dict[str, Any], outcome: str) -> None:
    ran: list[str] = []
    denied: list[str] = []
    with FakeServer(behaviours) as fake, Sigil(fake.target, tls="insecure", retry=None) as sigil:
        guard = GuardInterceptor(
            sigil,
            **RULE,
            exempt=[path_of("unary_unary")],
            on_denied=lambda call, _: denied.append(call.method),
        )
        server = grpc.server(
            futures.ThreadPoolExecutor(4), handlers=[Handlers(ran, later=False)], interceptors=[guard]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        outcomes = call_all(port)
        server.stop(None).wait()
        assert {each.action for each in fake.seen.requests} == set(KINDS[1:])
        assert {each.subject for each in fake.seen.requests} == {"ann"}
    assert outcomes == {kind: "done" if kind == "unary_unary" else outcome for kind in KINDS}
    assert ran == (list(KINDS) if outcome == "done" else ["unary_unary"])
    assert denied == ([] if outcome == "done" else [path_of(kind) for kind in KINDS[1:]])


@pytest.mark.parametrize(("behaviours", "outcome"), INTERCEPTED)
async def test_async_interceptor(behaviours: dict[str, Any], outcome: str) -> None:
    ran: list[str] = []
    with FakeServer(behaviours) as fake:
        async with AsyncSigil(fake.target, tls="insecure", retry=None) as sigil:

            async def action(call: IncomingCall) -> str:
                return call.method.rpartition("/")[2]

            guard = AsyncGuardInterceptor(
                sigil, **{**RULE, "action": action}, exempt=[path_of("unary_unary")]
            )
            server = grpc.aio.server(interceptors=[guard])
            server.add_generic_rpc_handlers((Handlers(ran, later=True),))
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            outcomes = await asyncio.to_thread(call_all, port)
            await server.stop(None)
    assert outcomes == {kind: "done" if kind == "unary_unary" else outcome for kind in KINDS}
    assert ran == (list(KINDS) if outcome == "done" else ["unary_unary"])


def test_a_method_that_nobody_serves_stays_so() -> None:
    with FakeServer(always(allow())) as fake, Sigil(fake.target, tls="insecure") as sigil:
        guard = GuardInterceptor(sigil, action="a", target="b")
        server = grpc.server(futures.ThreadPoolExecutor(2), interceptors=[guard])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        assert call_all(port)["unary_unary"].startswith("UNIMPLEMENTED")
        server.stop(None).wait()
