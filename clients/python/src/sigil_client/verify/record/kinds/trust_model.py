"""Payload of `trust_model`: the parameters of decisions, and the review band. Pure. Source:
docs/spec/record.md §6.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...cbor import CborMap, CborValue
from ...limits import MODEL_TABLE_ENTRIES_MAX
from ..fields import (
    exact_map,
    join,
    number_field,
    one_of_field,
    refuse_field,
    share_field,
    table_field,
    uint_field,
)
from ..names import LEVELS


@dataclass(frozen=True)
class ReviewBand:
    """Scores from `low` to `high` need review by a person."""

    low: float
    high: float


@dataclass(frozen=True)
class ActionRule:
    risk: float
    min_loa: str


@dataclass(frozen=True)
class TrustModelPayload:
    """As the record's schema has it; `model.parse_model` holds it to the rules of evaluation."""

    actions: dict[str, ActionRule]
    targets: dict[str, float]


def read_review(value: CborValue, path: str) -> ReviewBand | None:
    if value is None:
        return None
    band = exact_map(value, path, ("low", "high"))
    low, high = share_field(band, path, "low"), share_field(band, path, "high")
    return ReviewBand(low, high) if low <= high else refuse_field(path, "low", "must not exceed high")


def _read_action(table: CborMap, table_path: str, glob: str) -> ActionRule:
    path = f"{table_path}.{glob}"
    rule = exact_map(table[glob], path, ("risk", "min_loa"))
    return ActionRule(share_field(rule, path, "risk"), one_of_field(rule, path, "min_loa", LEVELS))


def parse_trust_model(payload: CborValue, path: str = "payload") -> TrustModelPayload:
    """Raises MalformedRecord naming the field; `path` is the model's path."""
    keys = ("bias", "weights", "threshold", "review", "actions", "targets", "rate")
    fields = exact_map(payload, path, keys)
    rate_path = join(path, "rate")
    rate = exact_map(fields["rate"], rate_path, ("window_ms", "limit"))
    threshold = number_field(fields, path, "threshold")
    if not 0 < threshold < 1:
        refuse_field(path, "threshold", "must lie inside (0, 1)")
    number_field(fields, path, "bias")
    table_field(fields, path, "weights", number_field)
    read_review(fields["review"], join(path, "review"))
    actions = table_field(fields, path, "actions", _read_action)
    if len(actions) > MODEL_TABLE_ENTRIES_MAX:
        refuse_field(path, "actions", f"must have at most {MODEL_TABLE_ENTRIES_MAX} entries")
    targets = table_field(fields, path, "targets", share_field)
    if len(targets) > MODEL_TABLE_ENTRIES_MAX:
        refuse_field(path, "targets", f"must have at most {MODEL_TABLE_ENTRIES_MAX} entries")
    uint_field(rate, rate_path, "window_ms", 1)
    uint_field(rate, rate_path, "limit", 1)
    return TrustModelPayload(actions, targets)
