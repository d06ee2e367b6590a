"""A guard of an ASGI application, such as Starlette's and FastAPI's. Source: the ASGI specification, HTTP &
WebSocket.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from ..answers.decision import Decision
from ..errors import Denied
from .functions import AsyncGuard, AsyncRequiring
from .refusal import Refusal
from .rule import AsyncPart, Rule

Scope: TypeAlias = "MutableMapping[str, Any]"
Message: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
App: TypeAlias = "Callable[[Scope, Receive, Send], Awaitable[None]]"

DECISION_KEY = "sigil.decision"
"""Where the application finds the decision, in the scope; in WSGI in the environ."""


class AsgiGuard:
    """Lets a request or a WebSocket through only by an honest allow. Parts of the rule are text, or functions of the
    scope, which may be async. `on_denied(scope, error)` is told why, for logs.

    Raises TypeError at the start without an AsyncSigil, an action or a target.
    """

    def __init__(
        self,
        app: App,
        sigil: AsyncRequiring,
        *,
        action: AsyncPart,
        target: AsyncPart,
        subject: AsyncPart | None = None,
        session: AsyncPart | None = None,
        on_denied: Callable[[Scope, Denied], None] | None = None,
    ) -> None:
        if not callable(app):
            raise TypeError("a guard needs an application")
        self._app = app
        self._guard = AsyncGuard(sigil, Rule(action, target, subject, session))
        self._on_denied = on_denied

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            raise ValueError("a guard knows HTTP and WebSockets, and lets nothing else through")
        try:
            decision: Decision = await self._guard.ask(scope)
        except Denied as denied:
            if self._on_denied is not None:
                self._on_denied(scope, denied)
            await (_refuse_http if kind == "http" else _refuse_websocket)(denied, receive, send)
            return
        await self._app({**scope, DECISION_KEY: decision}, receive, send)


async def _refuse_http(denied: Denied, _receive: Receive, send: Send) -> None:
    refusal = Refusal.of(denied)
    headers = [(name.encode(), value.encode()) for name, value in refusal.headers]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.body})


async def _refuse_websocket(_denied: Denied, receive: Receive, send: Send) -> None:
    await receive()
    # Before it is accepted: the server answers 403.
    await send({"type": "websocket.close", "code": 1008})
