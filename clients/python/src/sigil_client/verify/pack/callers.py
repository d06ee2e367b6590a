"""That the numbers of each caller say what the pack claims, and that every gap is named. Pure.

Source: docs/spec/pack.md §5; docs/spec/completeness.md §2.
"""

from __future__ import annotations

from typing import NoReturn

from ..ecma import stringify
from ..limits import PACK_CALLERS_MAX
from .content import Boundary, PackContent
from .manifest import CallerLine, Manifest, Place, parse_caller_line
from .reading import PackFolder, PackRefused
from .tally import caller_order


def _refuse(rule: str) -> NoReturn:
    raise PackRefused(rule)


def _read_callers(folder: PackFolder) -> list[CallerLine]:
    callers: list[CallerLine] = []
    for text in folder.lines("callers.jsonl"):
        if len(callers) == PACK_CALLERS_MAX:
            _refuse(f"there are more than {PACK_CALLERS_MAX} callers")
        callers.append(parse_caller_line(text))
    order = [caller_order(line.caller) for line in callers]
    if any(order[index] <= order[index - 1] for index in range(1, len(order))):
        _refuse("callers.jsonl must name each caller once, in order")
    return callers


class _Boundaries:
    def __init__(self, content: PackContent) -> None:
        self._content = content
        self._used: set[int] = set()

    def at(self, caller: str, place: Place) -> Boundary | None:
        """The record of a place, which must say the caller's number; None for a decision of the span."""
        found = self._content.boundaries.get(place.position)
        if found is None:
            if self._content.tally.last(caller) == place:
                return None
            _refuse(f"nothing at position {place.position} ends the numbers of {caller}")
        self._used.add(place.position)
        if (found.caller, found.number) != (caller, place.number):
            rule = f"the record at position {place.position} does not say number {place.number} of {caller}"
            _refuse(rule)
        return found

    def require_all_used(self) -> None:
        for position in self._content.boundaries:
            if position not in self._used:
                _refuse(f"nothing needs the record at position {position}")


def _check_caller(line: CallerLine, boundaries: _Boundaries, manifest: Manifest) -> None:
    caller, before, after = line.caller, line.before, line.after
    if before is not None:
        first = boundaries.at(caller, before)
        is_before = first is not None and manifest.from_ms is not None and first.time_ms < manifest.from_ms
        if first is None or first.kind != "decision" or not is_before:
            _refuse(f"position {before.position} is no decision of {caller} before the span")
        if before.position > after.position:
            _refuse(f"the numbers of {caller} are not in the order of the ledger")
    last = boundaries.at(caller, after)
    if line.end != "newest" and (last is None or last.kind != line.end or last.time_ms < manifest.to_ms):
        _refuse(f"position {after.position} is no {line.end} of {caller} after the span")
    if line.claimed < 0 or line.claimed != line.decisions:
        _refuse(f"from the numbers of {caller} follow {line.claimed} decisions, and not {line.decisions}")


def check_callers(folder: PackFolder, manifest: Manifest, content: PackContent) -> tuple[int, int]:
    """Step `completeness`. Gives how many callers there are, and how many gaps. Raises PackRefused."""
    if "completeness" in content.broken:
        _refuse(content.broken["completeness"])
    callers = _read_callers(folder)
    if len(callers) != manifest.callers:
        _refuse(f"the manifest counts {manifest.callers} callers, there are {len(callers)}")
    boundaries = _Boundaries(content)
    for line in callers:
        _check_caller(line, boundaries, manifest)
    boundaries.require_all_used()
    named = {line.caller for line in callers}
    for caller in content.tally.callers:
        if caller not in named:
            _refuse(f"nothing is claimed of {caller}, which has decisions")
    damaged = [gap for gap in manifest.gaps if gap["kind"] == "damaged"]
    found = [stringify(gap) for gap in [*content.tally.gaps(callers, content.restorations), *damaged]]
    said = [stringify(gap) for gap in manifest.gaps]
    for index in range(max(len(found), len(said))):
        there = found[index] if index < len(found) else "no further one"
        names = said[index] if index < len(said) else "no further one"
        if there != names:
            rule = f"the gaps are not those that the manifest names: there is {there}, it names {names}"
            _refuse(rule)
    return len(callers), len(found)
