"""Calls that block the thread that makes them."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from ..errors import SigilError, refused_argument
from ..tokens import TokenSource
from .judged import judged_callable
from .methods import Method, method_of
from .retry import RetryBudget, is_passing, repeatably
from .settings import KeptMetadata, Metadata, Settings, closed_error, token_failed
from .target import channel_credentials

After = Callable[[Any, Any], None]
"""Checks a reply against its request. Raises SigilError."""


class Caller:
    """One channel, which threads may share, and how calls are made on it."""

    def __init__(
        self,
        settings: Settings,
        tokens: TokenSource | None,
        interceptors: Sequence[Any],
    ) -> None:
        self.settings = settings
        self._tokens = tokens
        self._budget = RetryBudget()
        self._kept = KeptMetadata(settings)
        self._closed = threading.Event()
        self._callables: dict[str, Any] = {}
        credentials = channel_credentials(settings.security)
        # By the names of the module, at the time of the call: instrumentation replaces them.
        channel = (
            grpc.insecure_channel(settings.target, options=settings.options)
            if credentials is None
            else grpc.secure_channel(settings.target, credentials, options=settings.options)
        )
        self._bare_channel = channel
        self._channel = grpc.intercept_channel(channel, *interceptors) if interceptors else channel

    def close(self) -> None:
        """Ends calls under way as cancelled, and waiting for another try. May be repeated."""
        self._closed.set()
        self._bare_channel.close()

    def end(self, deadline_seconds: float | None) -> float:
        """Of a call that begins now, on the monotonic clock."""
        return time.monotonic() + (
            self.settings.deadline_seconds if deadline_seconds is None else deadline_seconds
        )

    def unary(
        self,
        request: Message,
        *,
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
        after: After | None = None,
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
                reply = self._once(method, request, end, metadata)
            except SigilError as error:
                attempt += 1
                passes = is_passing(error)
                if not passes or not self._budget.failed() or not may_repeat or retry is None:
                    raise
                pause = retry.pause_seconds(attempt - 1, error, random.random())  # noqa: S311
                if attempt >= retry.attempts_max or time.monotonic() + pause >= end:
                    raise
                if self._closed.wait(pause):
                    raise closed_error() from error
            else:
                self._budget.succeeded()
                if after is not None:
                    after(request, reply)
                return reply

    def _once(self, method: Method, request: Message, end: float, metadata: Metadata | None) -> Any:
        sent = self._metadata(metadata)
        # Not by the context manager, which costs as much as all that a call needs besides. What the token took is
        # part of the deadline.
        try:
            return self._callable(method)(request, timeout=max(end - time.monotonic(), 0.0), metadata=sent)
        except (grpc.RpcError, ValueError) as error:
            failure = _failure_of(error, self._closed)
        raise failure

    def server_stream(
        self,
        request: Message,
        *,
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
        on_call: Callable[[Any], None] | None = None,
    ) -> Iterator[Any]:
        """Messages as they come, as fast as they are taken. Leaving the loop cancels the call; no deadline unless one
        is given. Raises SigilError.
        """
        sent = self._metadata(metadata)
        with _errors_of_calls(self._closed):
            call = self._callable(method_of(type(request)))(request, timeout=deadline_seconds, metadata=sent)
        if on_call is not None:
            on_call(call)
        yield from self._messages(call)

    def _messages(self, call: Any) -> Iterator[Any]:
        try:
            while True:
                with _errors_of_calls(self._closed):
                    try:
                        message = next(call)
                    except StopIteration:
                        return
                yield message
        finally:
            call.cancel()

    def duplex(
        self,
        kind: type[Message],
        requests: Iterable[Message],
        *,
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
    ) -> Iterator[Any]:
        """Takes requests as fast as the server reads, from a thread of gRPC's. Raises SigilError; whatever `requests`
        raises, after cancelling.
        """
        sent = self._metadata(metadata)
        source = _Source(requests)
        with _errors_of_calls(self._closed):
            call = self._callable(method_of(kind))(source, timeout=deadline_seconds, metadata=sent)
        source.on_failure = call.cancel
        try:
            yield from self._messages(call)
        except SigilError:
            if source.failure is not None:
                raise source.failure from None
            raise

    def client_stream(
        self,
        kind: type[Message],
        requests: Iterable[Message],
        *,
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
    ) -> Any:
        """The one reply. Raises as `duplex`."""
        sent = self._metadata(metadata)
        source = _Source(requests)
        timeout = self.settings.deadline_seconds if deadline_seconds is None else deadline_seconds
        try:
            with _errors_of_calls(self._closed):
                return self._callable(method_of(kind))(source, timeout=timeout, metadata=sent)
        except SigilError:
            if source.failure is not None:
                raise source.failure from None
            raise

    def pause(self, seconds: float) -> None:
        """Raises SigilError once the client is closed."""
        if self._closed.wait(seconds):
            raise closed_error()

    def _metadata(self, given: Metadata | None) -> tuple[tuple[str, str | bytes], ...]:
        if self._closed.is_set():
            raise closed_error()
        token: str | None = None
        if self._tokens is not None:
            try:
                token = self._tokens.token()
            except Exception as error:
                raise token_failed(error) from error
            if token is None:
                # A caller that has a source is nobody else, nor an anonymous Guest.
                token = ""
        return self._kept.of(given, token)

    def _callable(self, method: Method) -> Any:
        made = self._callables.get(method.path)
        if made is None:
            made = self._callables[method.path] = judged_callable(self._channel, method)
        return made


class _Source:
    """An iterator whose failure is kept: gRPC would tell only that there was one."""

    def __init__(self, requests: Iterable[Message]) -> None:
        self._iterator = iter(requests)
        self.failure: BaseException | None = None
        self.on_failure: Callable[[], object] | None = None

    def __iter__(self) -> _Source:
        return self

    def __next__(self) -> Message:
        try:
            return next(self._iterator)
        except StopIteration:
            raise
        except BaseException as error:
            self.failure = error
            if self.on_failure is not None:
                self.on_failure()
            raise


def _failure_of(error: grpc.RpcError | ValueError, closed: threading.Event) -> SigilError:
    if isinstance(error, grpc.RpcError):
        # The error of gRPC's is a call, whose text lists what the connection did; ours has what matters.
        return closed_error() if closed.is_set() else SigilError.of(error)
    # gRPC's way to say that a channel is closed, and what it cannot send, with all of the metadata.
    if closed.is_set() or "closed channel" in str(error):
        return closed_error()
    return refused_argument("request", "cannot be sent")


@contextlib.contextmanager
def _errors_of_calls(closed: threading.Event) -> Iterator[None]:
    try:
        yield
    except (grpc.RpcError, ValueError) as error:
        raise _failure_of(error, closed) from None
