"""What a guard asks before it lets something happen: an action and a target, fixed or taken from what is about to
happen. Pure.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..answers.decision import Question
from ..errors import refused_argument

Part: TypeAlias = "str | Callable[..., str]"
"""Text, or how to take it from what is about to happen. One that gives no text, or raises, denies."""

AsyncPart: TypeAlias = "str | Callable[..., str | Awaitable[str]]"

_NAMES = ("action", "target", "subject", "session", "input")


@dataclass(frozen=True)
class Rule:
    """Raises TypeError at the start, before anything is guarded: without an action or a target, or with a part that is
    neither text nor callable.
    """

    action: AsyncPart
    target: AsyncPart
    subject: AsyncPart | None = None
    session: AsyncPart | None = None
    input: Callable[..., bytes | Awaitable[bytes]] | None = None

    def __post_init__(self) -> None:
        for name in ("action", "target"):
            _require_part(name, getattr(self, name))
        for name in ("subject", "session"):
            if getattr(self, name) is not None:
                _require_part(name, getattr(self, name))
        if self.input is not None and not callable(self.input):
            raise TypeError("a guard needs input: a function that gives bytes")

    @property
    def is_fixed(self) -> bool:
        """Whether every part is text."""
        return not any(callable(getattr(self, name)) for name in _NAMES)

    def question(self, *args: Any, **named: Any) -> Question:
        """Raises whatever a part raises, SigilError for one that gives no text."""
        taken = {name: self._take(name, args, named) for name in self._given()}
        for name, value in taken.items():
            if inspect.isawaitable(value):
                _close(value)
                raise refused_argument(name, "of the guard cannot be awaited here")
        return _question(taken)

    async def question_later(self, *args: Any, **named: Any) -> Question:
        """The same, of parts that may have to be awaited."""
        taken = {}
        for name in self._given():
            value = self._take(name, args, named)
            taken[name] = await value if inspect.isawaitable(value) else value
        return _question(taken)

    def _given(self) -> list[str]:
        return [name for name in _NAMES if getattr(self, name) is not None]

    def _take(self, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        part = getattr(self, name)
        return part(*args, **named) if callable(part) else part


def _require_part(name: str, part: object) -> None:
    if callable(part) or (isinstance(part, str) and part.strip() != ""):
        return
    raise TypeError(f"a guard needs {name}: text that is not empty, or a function that gives it")


def _question(taken: dict[str, Any]) -> Question:
    for name, value in taken.items():
        # Nobody's subject would be the caller's: a part that gives nothing is no question about somebody else.
        if name != "input" and (not isinstance(value, str) or value == ""):
            raise refused_argument(name, "of the guard gave no text")
    return Question(**taken)


def _close(value: Any) -> None:
    if inspect.iscoroutine(value):
        value.close()
