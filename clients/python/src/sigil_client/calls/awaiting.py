"""Calls that wait in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from ..errors import SigilError, refused_argument
from ..tokens import AsyncTokenSource
from .judged import judged_callable
from .methods import Method, method_of
from .retry import RetryBudget, is_passing, repeatably
from .settings import KeptMetadata, Metadata, Settings, closed_error, token_failed
from .target import channel_credentials

T = TypeVar("T")

_END: Any = grpc.aio.EOF
"""What is read where there is nothing more."""


class Pending(Coroutine[Any, Any, T], Generic[T]):
    """A coroutine that cannot pass as its result: an `if` without `await` would take a deny for an allow."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work

    def __bool__(self) -> bool:
        self._work.close()
        raise TypeError("this is no answer yet: await it")

    def __await__(self) -> Generator[Any, Any, T]:
        return self._work.__await__()

    def send(self, value: Any) -> Any:
        return self._work.send(value)

    def throw(self, *error: Any) -> Any:
        return self._work.throw(*error)

    def close(self) -> None:
        self._work.close()


class AsyncCaller:
    """One channel, made in the event loop of the first call, and how calls are made on it."""

    def __init__(
        self,
        settings: Settings,
        tokens: AsyncTokenSource | None,
        interceptors: Sequence[grpc.aio.ClientInterceptor],
    ) -> None:
        self.settings = settings
        self._tokens = tokens
        self._interceptors = list(interceptors)
        self._budget = RetryBudget()
        self._kept = KeptMetadata(settings)
        self._is_closed = False
        self._closing: asyncio.Event | None = None
        self._channel: grpc.aio.Channel | None = None
        self._callables: dict[str, Any] = {}

    async def close(self) -> None:
        """Ends calls under way as cancelled, and waiting for another try. May be repeated."""
        self._is_closed = True
        if self._closing is not None:
            self._closing.set()
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(None)

    def _open(self) -> grpc.aio.Channel:
        if self._is_closed:
            raise closed_error()
        if self._channel is None:
            credentials = channel_credentials(self.settings.security)
            target, options = self.settings.target, self.settings.options
            # By the names of the module, at the time of the call: instrumentation replaces them.
            self._channel = (
                grpc.aio.insecure_channel(target, options=options, interceptors=self._interceptors)
                if credentials is None
                else grpc.aio.secure_channel(
                    target, credentials, options=options, interceptors=self._interceptors
                )
            )
            self._closing = asyncio.Event()
        return self._channel

    def end(self, deadline_seconds: float | None) -> float:
        """Of a call that begins now, on the monotonic clock."""
        return time.monotonic() + (
            self.settings.deadline_seconds if deadline_seconds is None else deadline_seconds
        )

    async def unary(
        self,
        request: Message,
        *,
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
        after: Callable[[Any, Any], None] | None = None,
        is_own: bool = False,
    ) -> Any:
        """The reply. `is_own` says that nobody else has the request. Raises SigilError."""
        method = method_of(type(request))
        retry = self.settings.retry
        may_repeat = False
        if retry is not None:
            request, may_repeat = repeatably(method, request, is_own=is_own)
        end = self.end(deadline_seconds)
        attempt = 0
        while True:
            try:
                reply = await self._once(method, request, end, metadata)
            except SigilError as error:
                attempt += 1
                passes = is_passing(error)
                if not passes or not self._budget.failed() or not may_repeat or retry is None:
                    raise
                pause = retry.pause_seconds(attempt - 1, error, random.random())  # noqa: S311
                if attempt >= retry.attempts_max or time.monotonic() + pause >= end:
                    raise
                await self.pause(pause)
            else:
                self._budget.succeeded()
                if after is not None:
                    after(request, reply)
                return reply

    async def _once(self, method: Method, request: Message, end: float, metadata: Metadata | None) -> Any:
        token = self._token()
        if token is not None and not isinstance(token, str):
            # A token source may take its time: what is left of the deadline bounds it too.
            token = await _awaited(token, end)
        sent = self._kept.of(metadata, token)
        # Not by the context manager, which costs as much as all that a call needs besides.
        try:
            return await self._callable(method)(
                request, timeout=max(end - time.monotonic(), 0.0), metadata=sent
            )
        except BaseException as error:
            failure = self._failure_of(error)
            if failure is None:
                raise
        raise failure

    async def server_stream(
        self,
        request: Message,
        *,
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
        silence_seconds: float | None = None,
    ) -> AsyncIterator[Any]:
        """Messages as they come, as fast as they are taken. Leaving the loop cancels the call; no deadline unless one
        is given. Without a message for `silence_seconds` it is UNAVAILABLE. Raises SigilError.
        """
        sent = await self._metadata(metadata)
        with self._errors_of_calls():
            call = self._callable(method_of(type(request)))(request, timeout=deadline_seconds, metadata=sent)
        async for message in self._messages(call, silence_seconds):
            yield message

    async def _messages(self, call: Any, silence_seconds: float | None = None) -> AsyncIterator[Any]:
        try:
            while True:
                with self._errors_of_calls():
                    try:
                        message = await asyncio.wait_for(call.read(), silence_seconds)
                    except (asyncio.TimeoutError, TimeoutError):
                        raise silent_error() from None
                if message is _END:
                    return
                yield message
        finally:
            call.cancel()

    async def duplex(
        self,
        kind: type[Message],
        requests: AsyncIterable[Message] | Iterable[Message],
        *,
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
    ) -> AsyncIterator[Any]:
        """Takes requests as fast as the server reads. Raises SigilError; whatever `requests` raises, after
        cancelling.
        """
        sent = await self._metadata(metadata)
        with self._errors_of_calls():
            call = self._callable(method_of(kind))(timeout=deadline_seconds, metadata=sent)
        sending = asyncio.ensure_future(self._send(call, requests))
        try:
            async for message in self._messages(call):
                yield message
        except (SigilError, asyncio.CancelledError):
            # A source that failed has cancelled the call, which gRPC tells as if this task were cancelled.
            if sending.done() and not sending.cancelled() and (failure := sending.exception()) is not None:
                raise failure from None
            raise
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await sending

    async def client_stream(
        self,
        kind: type[Message],
        requests: AsyncIterable[Message] | Iterable[Message],
        *,
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
    ) -> Any:
        """The one reply. Raises as `duplex`."""
        sent = await self._metadata(metadata)
        timeout = self.settings.deadline_seconds if deadline_seconds is None else deadline_seconds
        with self._errors_of_calls():
            call = self._callable(method_of(kind))(timeout=timeout, metadata=sent)
        try:
            await self._send(call, requests)
            with self._errors_of_calls():
                return await call
        finally:
            call.cancel()

    @staticmethod
    async def _send(call: Any, requests: AsyncIterable[Message] | Iterable[Message]) -> None:
        """What the call itself says is heard where its messages are read."""
        try:
            async for request in as_async(requests):
                try:
                    await call.write(request)
                except (grpc.RpcError, asyncio.InvalidStateError):
                    return
            with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
                await call.done_writing()
        except BaseException:
            call.cancel()
            raise

    async def pause(self, seconds: float) -> None:
        """Raises SigilError once the client is closed."""
        if self._closing is None:
            raise closed_error()
        with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
            raise closed_error()

    async def _metadata(self, given: Metadata | None) -> tuple[tuple[str, str | bytes], ...]:
        token = self._token()
        if token is not None and not isinstance(token, str):
            token = await _awaited(token, None)
        return self._kept.of(given, token)

    def _token(self) -> Any:
        """Text, or what is to be awaited for it."""
        self._open()
        if self._tokens is None:
            return None
        try:
            token = self._tokens.token()
        except Exception as error:
            raise token_failed(error) from error
        # A caller that has a source is nobody else, nor an anonymous Guest.
        return "" if token is None else token

    def _callable(self, method: Method) -> Any:
        channel = self._open()
        made = self._callables.get(method.path)
        if made is None:
            made = self._callables[method.path] = judged_callable(channel, method)
        return made

    def _failure_of(self, error: BaseException) -> SigilError | None:
        """None for what is not of the call."""
        if isinstance(error, asyncio.CancelledError):
            # Of this task, or of the channel that was closed.
            return closed_error() if self._is_closed else None
        if isinstance(error, grpc.RpcError):
            return closed_error() if self._is_closed else SigilError.of(error)
        if isinstance(error, grpc.aio.UsageError):
            return closed_error()
        if isinstance(error, (ValueError, TypeError)):
            return refused_argument("request", "cannot be sent")
        return None

    @contextlib.contextmanager
    def _errors_of_calls(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            failure = self._failure_of(error)
            if failure is None:
                raise
            raise failure from None


async def _awaited(token: Any, end: float | None) -> Any:
    """Of a source that waits, until `end`; anything else is judged where it would be sent. Raises SigilError."""
    if not inspect.isawaitable(token):
        return token
    left = None if end is None else max(end - time.monotonic(), 0.0)
    try:
        # Not in a coroutine of our own: one that is cancelled before it begins leaves the source's never awaited.
        given = await asyncio.wait_for(token, left)
    except (asyncio.TimeoutError, TimeoutError) as error:
        if end is None or time.monotonic() < end:
            raise token_failed(error) from error
        raise SigilError(grpc.StatusCode.DEADLINE_EXCEEDED, "no token came before the deadline") from None
    except Exception as error:
        raise token_failed(error) from error
    return "" if given is None else given


def silent_error() -> SigilError:
    """Of a stream that says nothing any more, not even that it is there."""
    return SigilError(grpc.StatusCode.UNAVAILABLE, "the stream fell silent", reason="STREAM_SILENT")


async def as_async(values: AsyncIterable[T] | Iterable[T]) -> AsyncIterator[T]:
    """Either kind of iterable as the one."""
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value
