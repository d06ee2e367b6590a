"""Guards of functions and of blocks, as decorators and as context managers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast

from ..answers.decision import Decision, Question
from ..errors import Denied, SigilError, refused_argument
from .rule import Rule

P = ParamSpec("P")
R = TypeVar("R")


class Requiring(Protocol):
    """Anything that asks like a Sigil does."""

    def require_question(self, question: Question) -> Decision: ...


class AsyncRequiring(Protocol):
    """Anything that asks like an AsyncSigil does."""

    def require_question(self, question: Question) -> Awaitable[Decision]: ...


def allowed_or_denied(decision: object) -> Decision:
    """Raises Denied for whatever is not an allow: what was asked may be somebody's own."""
    if isinstance(decision, Decision) and decision.allowed is True:
        return decision
    raise Denied.by(decision) if isinstance(decision, Decision) else Denied.because(TypeError("no decision"))


def unnamed(error: Exception) -> Denied:
    """Of what is about to happen, and a guard cannot say what it is: nobody could be allowed it."""
    if isinstance(error, SigilError):
        return Denied.because(error)
    return Denied.because(refused_argument("question", f"of the guard failed with {type(error).__name__}"))


def _require_function(work: Any, *, waits: bool) -> None:
    """Raises TypeError where the guard would not stand before the work."""
    if not callable(work) or inspect.isclass(work):
        raise TypeError("a guard stands before a function")
    is_async = inspect.iscoroutinefunction(work) or inspect.isasyncgenfunction(work)
    if is_async and not waits:
        raise TypeError("a guard of a Sigil stands before a function that blocks: use AsyncSigil")
    if waits and not is_async:
        raise TypeError("a guard of an AsyncSigil stands before an async function: use Sigil")


class Guard:
    """`@sigil.guard(action, target)` before a function, `with sigil.guard(action, target):` before a block. It asks
    each time, and raises Denied, having done nothing, unless the answer is an allow.
    """

    def __init__(self, sigil: Requiring, rule: Rule) -> None:
        if not callable(getattr(sigil, "require_question", None)):
            raise TypeError("a guard needs a Sigil")
        self._sigil = sigil
        self._rule = rule

    def ask(self, *args: Any, **named: Any) -> Decision:
        """Raises Denied."""
        try:
            question = self._rule.question(*args, **named)
        except Exception as error:
            raise unnamed(error) from error
        try:
            return allowed_or_denied(self._sigil.require_question(question))
        except Exception as error:
            raise Denied.because(error) from error

    def __call__(self, work: Callable[P, R]) -> Callable[P, R]:
        _require_function(work, waits=False)

        @functools.wraps(work)
        def guarded(*args: P.args, **named: P.kwargs) -> R:
            self.ask(*args, **named)
            return work(*args, **named)

        return guarded

    def __enter__(self) -> Decision:
        if not self._rule.is_fixed:
            raise TypeError("a guard of a block needs text: there are no arguments to take it from")
        return self.ask()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> Literal[False]:
        return False

    def __bool__(self) -> bool:
        raise TypeError("a guard is no answer: use it as a decorator or in a with statement")


class AsyncGuard:
    """`@sigil.guard(action, target)` before an async function, `async with sigil.guard(action, target):` before a
    block. It asks each time, and raises Denied, having done nothing, unless the answer is an allow.
    """

    def __init__(self, sigil: AsyncRequiring, rule: Rule) -> None:
        if not callable(getattr(sigil, "require_question", None)):
            raise TypeError("a guard needs an AsyncSigil")
        self._sigil = sigil
        self._rule = rule

    async def ask(self, *args: Any, **named: Any) -> Decision:
        """Raises Denied."""
        try:
            question = await self._rule.question_later(*args, **named)
        except Exception as error:
            raise unnamed(error) from error
        try:
            return allowed_or_denied(await self._sigil.require_question(question))
        except Exception as error:
            raise Denied.because(error) from error

    def __call__(self, work: Callable[P, R]) -> Callable[P, R]:
        _require_function(work, waits=True)
        if inspect.isasyncgenfunction(work):
            return cast("Callable[P, R]", self._generating(work))

        @functools.wraps(work)
        async def guarded(*args: P.args, **named: P.kwargs) -> Any:
            await self.ask(*args, **named)
            return await cast("Awaitable[Any]", work(*args, **named))

        return cast("Callable[P, R]", guarded)

    def _generating(self, work: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        @functools.wraps(work)
        async def guarded(*args: Any, **named: Any) -> AsyncIterator[Any]:
            await self.ask(*args, **named)
            async for each in work(*args, **named):
                yield each

        return guarded

    async def __aenter__(self) -> Decision:
        if not self._rule.is_fixed:
            raise TypeError("a guard of a block needs text: there are no arguments to take it from")
        return await self.ask()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> Literal[False]:
        return False

    def __bool__(self) -> bool:
        raise TypeError("a guard is no answer: use it as a decorator or in an async with statement")
