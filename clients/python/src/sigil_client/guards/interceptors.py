"""Guards of gRPC servers, which stand before every method but those that are exempt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
import grpc.aio

from ..errors import Denied
from .functions import AsyncGuard, AsyncRequiring, Guard, Requiring
from .refusal import Refusal
from .rule import AsyncPart, Part, Rule


@dataclass(frozen=True)
class IncomingCall:
    """What the parts of an interceptor's rule are taken from."""

    method: str
    """`/package.Service/Method`."""
    metadata: Mapping[str, str | bytes]
    """Of names that come twice, the last value."""
    request: Any
    """The message, None where the caller streams."""
    context: Any
    """The grpc.ServicerContext."""


Denials = Callable[[IncomingCall, Denied], None]

HEALTH_METHODS = frozenset({"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"})
"""What may be exempt, for those who watch whether the server lives."""


def _incoming(method: str, request: Any, streams: bool, context: Any) -> IncomingCall:
    metadata = dict(context.invocation_metadata() or ())
    return IncomingCall(method, metadata, None if streams else request, context)


def _status_of(denied: Denied) -> tuple[grpc.StatusCode, str]:
    if Refusal.of(denied).status == 403:
        return grpc.StatusCode.PERMISSION_DENIED, "denied"
    return grpc.StatusCode.UNAVAILABLE, "no answer, which is a deny"


def _require_exempt(exempt: Collection[str]) -> frozenset[str]:
    if isinstance(exempt, str) or any(not each.startswith("/") for each in exempt):
        raise TypeError("exempt must be names of methods, each /package.Service/Method")
    return frozenset(exempt)


def _behaviour(handler: Any) -> tuple[str, Callable[..., Any]]:
    for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
        behaviour = getattr(handler, kind)
        if behaviour is not None:
            return kind, behaviour
    raise TypeError("a handler has no behaviour")


def _with_behaviour(handler: Any, kind: str, guarded: Callable[..., Any]) -> Any:
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(
        guarded,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


class GuardInterceptor(grpc.ServerInterceptor):
    """For `grpc.server(…, interceptors=[…])`. Parts of the rule are text, or functions of the IncomingCall. Raises
    TypeError at the start without a Sigil, an action or a target.
    """

    def __init__(
        self,
        sigil: Requiring,
        *,
        action: Part,
        target: Part,
        subject: Part | None = None,
        session: Part | None = None,
        exempt: Collection[str] = (),
        on_denied: Denials | None = None,
    ) -> None:
        self._guard = Guard(sigil, Rule(action, target, subject, session))
        self._exempt = _require_exempt(exempt)
        self._on_denied = on_denied

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        handler = continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method in self._exempt:
            return handler
        kind, behaviour = _behaviour(handler)
        streams = kind.startswith("stream")

        def ask(request: Any, context: Any) -> None:
            call = _incoming(method, request, streams, context)
            try:
                self._guard.ask(call)
            except Denied as denied:
                if self._on_denied is not None:
                    self._on_denied(call, denied)
                _abort(context, denied)

        def guarded_unary(request: Any, context: Any) -> Any:
            ask(request, context)
            return behaviour(request, context)

        def guarded_stream(request: Any, context: Any) -> Iterator[Any]:
            ask(request, context)
            yield from behaviour(request, context)

        return _with_behaviour(handler, kind, guarded_stream if kind.endswith("stream") else guarded_unary)


def _abort(context: Any, denied: Denied) -> NoReturn:
    context.abort(*_status_of(denied))
    # abort raises; if it were replaced by something that does not, the handler must still not run.
    raise denied


class AsyncGuardInterceptor(grpc.aio.ServerInterceptor):
    """For `grpc.aio.server(interceptors=[…])`. Parts of the rule are text, or functions of the IncomingCall, which may
    be async. Raises TypeError at the start without an AsyncSigil, an action or a target.
    """

    def __init__(
        self,
        sigil: AsyncRequiring,
        *,
        action: AsyncPart,
        target: AsyncPart,
        subject: AsyncPart | None = None,
        session: AsyncPart | None = None,
        exempt: Collection[str] = (),
        on_denied: Denials | None = None,
    ) -> None:
        self._guard = AsyncGuard(sigil, Rule(action, target, subject, session))
        self._exempt = _require_exempt(exempt)
        self._on_denied = on_denied

    async def intercept_service(
        self,
        continuation: Callable[[Any], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method in self._exempt:
            return handler
        kind, behaviour = _behaviour(handler)
        streams = kind.startswith("stream")

        async def ask(request: Any, context: Any) -> None:
            call = _incoming(method, request, streams, context)
            try:
                await self._guard.ask(call)
            except Denied as denied:
                if self._on_denied is not None:
                    self._on_denied(call, denied)
                await context.abort(*_status_of(denied))
                raise

        async def guarded_unary(request: Any, context: Any) -> Any:
            await ask(request, context)
            return await behaviour(request, context)

        async def guarded_stream(request: Any, context: Any) -> AsyncIterator[Any]:
            await ask(request, context)
            made = behaviour(request, context)
            if hasattr(made, "__aiter__"):
                async for each in made:
                    yield each
            else:
                # A handler that writes to its context gives nothing.
                await made

        return _with_behaviour(handler, kind, guarded_stream if kind.endswith("stream") else guarded_unary)
