"""A guard of a WSGI application, such as Flask's and Django's. Source: PEP 3333."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, TypeAlias

from ..errors import Denied
from .asgi import DECISION_KEY
from .functions import Guard, Requiring
from .refusal import Refusal
from .rule import Part, Rule

Environ: TypeAlias = "dict[str, Any]"
App: TypeAlias = "Callable[[Environ, Callable[..., Any]], Iterable[bytes]]"


class WsgiGuard:
    """Lets a request through only by an honest allow. Parts of the rule are text, or functions of the environ.
    `on_denied(environ, error)` is told why, for logs.

    Raises TypeError at the start without a Sigil, an action or a target.
    """

    def __init__(
        self,
        app: App,
        sigil: Requiring,
        *,
        action: Part,
        target: Part,
        subject: Part | None = None,
        session: Part | None = None,
        on_denied: Callable[[Environ, Denied], None] | None = None,
    ) -> None:
        if not callable(app):
            raise TypeError("a guard needs an application")
        self._app = app
        self._guard = Guard(sigil, Rule(action, target, subject, session))
        self._on_denied = on_denied

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            decision = self._guard.ask(environ)
        except Denied as denied:
            if self._on_denied is not None:
                self._on_denied(environ, denied)
            refusal = Refusal.of(denied)
            start_response(f"{refusal.status} {HTTPStatus(refusal.status).phrase}", refusal.headers)
            return [refusal.body]
        environ[DECISION_KEY] = decision
        return self._app(environ, start_response)
