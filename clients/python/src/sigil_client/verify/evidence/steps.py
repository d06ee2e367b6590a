"""Verification in named steps, in a fixed order: what is verified is refused by the first step that does not
hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NoReturn, TypeVar

from ..errors import ProofError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Step:
    name: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str
    """What was compared, or the rule that was broken."""


def refuse(rule: str) -> NoReturn:
    raise ProofError(rule)


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


@dataclass
class StepList:
    """The steps so far; the next is the first of `names` that is not among them."""

    names: Sequence[str]
    steps: list[Step] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Every step was taken, and none failed: a list that was left halfway proves nothing."""
        is_whole = [step.name for step in self.steps] == list(self.names)
        return is_whole and all(step.outcome != "failed" for step in self.steps)

    def take(self, name: str, work: Callable[[], tuple[Result, str]]) -> Result:
        """`work` gives its result and a detail."""
        result, detail = work()
        self.passed(name, detail)
        return result

    def passed(self, name: str, detail: str) -> None:
        """Of a step that was taken together with others."""
        self._add(Step(name, "passed", detail))

    def skip(self, name: str, detail: str) -> None:
        self._add(Step(name, "skipped", detail))

    def refuse(self, rule: str, failed: str | None = None) -> None:
        """The step under way is refused, or `failed` where several are taken at once; later ones are not tried."""
        left = list(self.names[len(self.steps) :])
        refused = left[0] if failed is None else failed
        if refused not in left:
            raise AssertionError(f"step {refused} was taken already")
        has_failed = False
        for name in left:
            if name == refused:
                self._add(Step(name, "failed", rule))
                has_failed = True
            else:
                self.skip(name, "a step before it failed" if has_failed else "a step taken with it failed")

    def _add(self, step: Step) -> None:
        expected = self.names[len(self.steps)]
        if step.name != expected:
            raise AssertionError(f"step {step.name} is taken where {expected} is due")
        self.steps.append(step)
