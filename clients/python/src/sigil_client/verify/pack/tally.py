"""Numbers of callers over the decisions of a pack, and the gaps that follow from them. Pure.

A caller takes two numbers of memory, and two more for each gap. Source: docs/spec/pack.md §5, completeness.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..limits import PACK_CALLERS_MAX, PACK_GAPS_MAX
from .columns import PackDecision
from .manifest import CallerLine, Place
from .reading import Json, invalid


@dataclass
class _Counted:
    runs: list[tuple[int, int]] = field(default_factory=list)
    """Numbers without a gap, from and to, both included."""
    last: Place | None = None
    unnumbered: int = 0


def caller_order(caller: str) -> bytes:
    """Callers are ordered by UTF-16 code units."""
    return caller.encode("utf-16-be", "surrogatepass")


class Tally:
    def __init__(self) -> None:
        self._callers: dict[str, _Counted] = {}
        self._anonymous = 0
        self._runs = 0

    @property
    def callers(self) -> list[str]:
        """Callers whose decisions have numbers."""
        return [caller for caller, counted in self._callers.items() if counted.last is not None]

    def add(self, item: PackDecision) -> None:
        """In ledger order. Raises PackRefused unless the caller's numbers ascend."""
        caller, number = item.decision.request.caller, item.decision.caller_seq
        if caller == "":
            self._anonymous += 1
            return
        if caller not in self._callers and len(self._callers) >= PACK_CALLERS_MAX:
            invalid("callers", f"must be at most {PACK_CALLERS_MAX} of one pack")
        counted = self._callers.setdefault(caller, _Counted())
        if number is None:
            counted.unnumbered += 1
            return
        if counted.last is not None and number <= counted.last.number:
            before = counted.last.number
            rule = f"must ascend: {caller} has {number} at position {item.position}, after {before}"
            invalid("numbers", rule)
        counted.last = Place(item.position, number)
        if counted.runs and counted.runs[-1][1] == number - 1:
            counted.runs[-1] = (counted.runs[-1][0], number)
            return
        self._runs += 1
        if self._runs > PACK_CALLERS_MAX + PACK_GAPS_MAX:
            invalid("gaps", f"must be at most {PACK_GAPS_MAX}")
        counted.runs.append((number, number))

    def last(self, caller: str) -> Place | None:
        """The last numbered decision of a caller."""
        counted = self._callers.get(caller)
        return None if counted is None else counted.last

    def gaps(self, callers: Sequence[CallerLine], restorations: Sequence[int]) -> list[Json]:
        """All but the damaged ones. `callers` are in order, one line for each."""
        found: list[Json] = [{"kind": "restoration", "position": str(position)} for position in restorations]
        for line in callers:
            found += self._missing(line)
            if line.end == "newest":
                found.append({"kind": "open", "caller": line.caller})
        for caller in sorted(self._callers, key=caller_order):
            unnumbered = self._callers[caller].unnumbered
            if unnumbered > 0:
                found.append({"kind": "unnumbered", "caller": caller, "decisions": unnumbered})
        if self._anonymous > 0:
            found.append({"kind": "anonymous", "decisions": self._anonymous})
        return found

    def _missing(self, line: CallerLine) -> list[Json]:
        """Numbers that are claimed to be in the span, and are not in the pack."""
        gaps: list[Json] = []

        def missing(start: int, end: int) -> None:
            if start <= end:
                gaps.append({"kind": "numbers", "caller": line.caller, "from": start, "to": end})

        following = line.first_claimed
        counted = self._callers.get(line.caller)
        for start, end in [] if counted is None else counted.runs:
            if start > line.last_claimed:
                break
            missing(following, start - 1)
            following = max(following, end + 1)
        missing(following, line.last_claimed)
        return gaps
