"""What people read of a decision: the columns of the table, and the view in each line. Pure.

It follows from the record alone, so a verifier makes it again and compares bytes. Source: docs/spec/pack.md §3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..ecma import number_text
from ..record.body import RecordBody
from ..record.decision import Decision
from .reading import format_time

Cell: TypeAlias = str | int | float | None

_COLUMNS: Final = (
    "time",
    "audit_id",
    "tenant",
    "caller",
    "caller_seq",
    "subject",
    "level",
    "action",
    "target",
    "session",
    "verdict",
    "reason",
    "z",
    "threshold",
    "model",
    "model_hash",
    "record_hash",
)
_FORMULA: Final = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_QUOTED: Final = re.compile('[",\r\n]')


@dataclass(frozen=True)
class PackDecision:
    position: int
    hash: bytes
    body: RecordBody
    decision: Decision


def columns_of(item: PackDecision) -> dict[str, Cell]:
    decision, request = item.decision, item.decision.request
    values: Sequence[Cell] = (
        format_time(item.body.ts),
        item.body.id,
        item.body.tenant,
        request.caller,
        decision.caller_seq,
        request.subject,
        request.loa,
        request.action,
        request.target,
        request.session,
        decision.verdict,
        decision.reason,
        decision.z,
        decision.threshold,
        decision.model,
        None if decision.model_hash is None else decision.model_hash.hex(),
        item.hash.hex(),
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return number_text(value)
    # Spreadsheets take such a text for a formula, and others may have chosen it.
    safe = f"'{value}" if _FORMULA.match(value) else value
    return '"' + safe.replace('"', '""') + '"' if _QUOTED.search(safe) else safe


def format_row(cells: Sequence[Cell]) -> str:
    """A row of CSV (RFC 4180), with its end."""
    return ",".join(map(_cell, cells)) + "\r\n"


def table_head() -> str:
    return format_row(["position", *_COLUMNS])


def format_table_row(position: int, columns: dict[str, Cell]) -> str:
    return format_row([str(position), *columns.values()])
