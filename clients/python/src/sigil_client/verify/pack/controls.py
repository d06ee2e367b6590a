"""A user's mapping of controls to decisions, and what it gives over a pack. Pure. Source: docs/spec/pack.md §7.

It says which decisions match which filter; that a control is met by them is nobody's claim but the user's.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

from ..ecma import stringify
from ..limits import CONTROL_FILTERS_MAX, CONTROLS_MAX
from ..model.globs import glob_fault, matches
from ..record.kinds.frozen_chain import VERDICTS
from ..record.spelling import SpellingFault, canonical_action_glob, canonical_target_glob
from .columns import PackDecision, format_row
from .reading import (
    Json,
    invalid,
    parse_json,
    read_count,
    read_list,
    read_map,
    read_text,
    require_same,
)

_FILTER_FIELDS: Final = ("caller", "subject", "action", "target", "session", "verdict", "reason")
_NOTICE: Final = (
    "Which decisions match the filters of a mapping that the user wrote. "
    "It is no claim that a control is met."
)
CONTROLS_HEAD: Final = format_row(["control", "position", "audit_id"])


@dataclass(frozen=True)
class Control:
    id: str
    title: str
    filters: tuple[dict[str, str], ...]
    decisions: int
    """How many match, by the file."""


def _check_glob(text: str, field: str) -> None:
    fault = glob_fault(text)
    if fault is not None:
        invalid(field, fault)
    spell = canonical_action_glob if field.endswith("action") else canonical_target_glob
    try:
        spelled = spell(text)
    except SpellingFault as refused:
        invalid(field, refused.rule)
    if spelled != text:
        invalid(field, f"must be spelled as it is recorded: {spelled}")


def _read_filter(value: object, field: str) -> dict[str, str]:
    fields = read_map(value, field)
    for name in fields:
        if name not in _FILTER_FIELDS:
            invalid(f"{field}.{name}", f"is not one of {', '.join(_FILTER_FIELDS)}")
    read: dict[str, str] = {
        name: read_text(fields[name], f"{field}.{name}") for name in _FILTER_FIELDS if name in fields
    }
    if not read:
        invalid(field, f"must have one of {', '.join(_FILTER_FIELDS)}")
    if "verdict" in read and read["verdict"] not in VERDICTS:
        invalid(f"{field}.verdict", f"must be one of {', '.join(VERDICTS)}")
    for name in ("action", "target"):
        if name in read:
            _check_glob(read[name], f"{field}.{name}")
    return read


def _read_control(value: object, field: str) -> Control:
    fields = read_map(value, field)
    filters = read_list(fields.get("filters"), f"{field}.filters", (1, CONTROL_FILTERS_MAX), _read_filter)
    name = read_text(fields.get("id"), f"{field}.id")
    if name == "" or any(unicodedata.category(character) == "Cc" for character in name):
        invalid(f"{field}.id", "must be a name, on one line")
    title = read_text(fields.get("title", ""), f"{field}.title")
    return Control(name, title, filters, read_count(fields.get("decisions"), f"{field}.decisions"))


def parse_controls(text: str) -> tuple[Control, ...]:
    """Strict. Raises PackRefused naming the field."""
    fields = read_map(parse_json(text, "controls"), "controls")
    controls = read_list(fields.get("controls"), "controls", (1, CONTROLS_MAX), _read_control)
    names = [control.id for control in controls]
    if len(set(names)) != len(names):
        invalid("controls", "must have distinct ids")
    made: list[Json] = [
        {
            "id": control.id,
            "title": control.title,
            "filters": list(control.filters),
            "decisions": control.decisions,
        }
        for control in controls
    ]
    require_same(stringify({"notice": _NOTICE, "controls": made}, 2) + "\n", text, "controls")
    return controls


def _is_match(wanted: dict[str, str], item: PackDecision) -> bool:
    request, decision = item.decision.request, item.decision
    values = {
        "caller": request.caller,
        "subject": request.subject,
        "session": request.session,
        "verdict": decision.verdict,
        "reason": decision.reason,
    }
    return all(
        matches(text, request.action if name == "action" else request.target)
        if name in ("action", "target")
        else values[name] == text
        for name, text in wanted.items()
    )


class ControlCount:
    """Counts the decisions of each control, and makes a row of each of them."""

    def __init__(self, controls: tuple[Control, ...]) -> None:
        self._controls = controls
        self.counts = [0] * len(controls)

    def add(self, item: PackDecision) -> str:
        """In ledger order. Gives a row for each control that the decision belongs to."""
        rows = ""
        for index, control in enumerate(self._controls):
            if any(_is_match(wanted, item) for wanted in control.filters):
                self.counts[index] += 1
                rows += format_row([control.id, str(item.position), item.body.id])
        return rows
