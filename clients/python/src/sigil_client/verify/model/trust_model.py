"""The trust model: parsed strictly from its record, then evaluated. Pure. Source: docs/spec/trust.md §1, §3
to §5.

Sums are of doubles, rounded after each addition in a fixed order, so `z` is the same everywhere, down to the
last bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NoReturn, TypeVar

from ..cbor import CborMap, CborValue
from ..errors import MalformedModel
from ..limits import MODEL_TABLE_ENTRIES_MAX, RATE_LIMIT_MAX, RATE_WINDOW_MS_MAX
from ..record.fields import is_number
from ..record.kinds.frozen_chain import score_of
from ..record.kinds.trust_model import ReviewBand
from ..record.names import LEVELS, level_rank
from .globs import GlobTable, glob_fault

Row = TypeVar("Row")

FEATURES: Final = ("action_risk", "target_sensitivity", "level", "rate", "entropy")
"""In the order of summing."""
FAULT_REASONS: Final = ("EVALUATOR_ERROR", "MODEL_MISSING", "DEADLINE_EXCEEDED")
"""Reasons of a deny without an evaluation."""

_LN2: Final = 0.6931471805599453
_SQRT2: Final = 1.4142135623730951
_SQRT1_2: Final = 0.7071067811865476
_UNLISTED: Final = 1.0
"""The risk of an unknown action, the sensitivity of an unlisted target."""


@dataclass(frozen=True)
class ActionRow:
    risk: float
    min_loa: str


@dataclass(frozen=True)
class TrustModel:
    bias: float
    weights: dict[str, float]
    threshold: float
    review: ReviewBand | None
    actions: GlobTable[ActionRow]
    targets: GlobTable[float]


@dataclass(frozen=True)
class Evaluation:
    features: dict[str, float]
    contributions: dict[str, float]
    z: float
    score: float
    verdict: str
    reason: str


def logit(score: float) -> float:
    """ln(p / (1 - p)) by basic operations in a fixed order: library logarithms may differ in the last bit."""
    mantissa, exponent = score / (1 - score), 0
    while mantissa >= _SQRT2:
        mantissa /= 2
        exponent += 1
    while mantissa < _SQRT1_2:
        mantissa *= 2
        exponent -= 1
    s = (mantissa - 1) / (mantissa + 1)
    square = s * s
    total = 0.0
    for n in range(11, -1, -1):
        total = total * square + 1 / (2 * n + 1)
    return exponent * _LN2 + 2 * s * total


def input_entropy(data: bytes) -> float:
    """Shannon entropy of the bytes' frequencies, in bits a byte, divided by 8; 0 for no bytes."""
    bits = 0.0
    for count in (data.count(byte) for byte in range(256)):
        if count > 0:
            bits += (count / len(data)) * math.log2(len(data) / count)
    return min(1.0, bits / 8)


def _refuse(field: str, rule: str) -> NoReturn:
    raise MalformedModel(field, rule)


def _fields(value: CborValue, field: str, keys: Sequence[str]) -> CborMap:
    if not isinstance(value, dict):
        _refuse(field, "must be a map")
    prefix = "" if field == "model" else f"{field}."
    for key in keys:
        if key not in value:
            _refuse(prefix + key, "is missing")
    for key in value:
        if key not in keys:
            _refuse(prefix + key, "is not a field of a model")
    return value


def _number(value: CborValue, field: str) -> float:
    if isinstance(value, (int, float)) and is_number(value):
        return float(value)
    _refuse(field, "must be a finite number")


def _fraction(value: CborValue, field: str) -> float:
    number = _number(value, field)
    return number if 0 <= number <= 1 else _refuse(field, "must be between 0 and 1")


def _score(value: CborValue, field: str) -> float:
    number = _number(value, field)
    return number if 0 < number < 1 else _refuse(field, "must be above 0 and below 1")


def _check_count(value: CborValue, field: str, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        _refuse(field, f"must be a whole number from 1 to {most}")


def _table(value: CborValue, field: str, read: Callable[[CborValue, str], Row]) -> GlobTable[Row]:
    if not isinstance(value, dict):
        _refuse(field, "must be a map")
    if len(value) > MODEL_TABLE_ENTRIES_MAX:
        _refuse(field, f"must have at most {MODEL_TABLE_ENTRIES_MAX} entries")
    rows: dict[str, Row] = {}
    for pattern, item in value.items():
        row_field = f"{field}[{json.dumps(pattern, ensure_ascii=False)}]"
        fault = glob_fault(pattern)
        if fault is not None:
            _refuse(row_field, fault)
        rows[pattern] = read(item, row_field)
    return GlobTable(rows)


def _action_row(value: CborValue, field: str) -> ActionRow:
    row = _fields(value, field, ("risk", "min_loa"))
    min_loa = row["min_loa"]
    if not isinstance(min_loa, str) or min_loa not in LEVELS:
        _refuse(f"{field}.min_loa", f"must be one of {', '.join(LEVELS)}")
    return ActionRow(_fraction(row["risk"], f"{field}.risk"), min_loa)


def _weights(value: CborValue) -> dict[str, float]:
    given = _fields(value, "weights", FEATURES)
    weights: dict[str, float] = {}
    for feature in FEATURES:
        weight = _number(given[feature], f"weights.{feature}")
        if feature == "level" and weight <= 0:
            _refuse("weights.level", "must be above 0")
        if feature != "level" and weight >= 0:
            _refuse(f"weights.{feature}", "must be below 0")
        weights[feature] = weight
    return weights


def _review(value: CborValue, threshold: float) -> ReviewBand | None:
    if value is None:
        return None
    band = _fields(value, "review", ("low", "high"))
    low, high = _score(band["low"], "review.low"), _score(band["high"], "review.high")
    if low > threshold:
        _refuse("review.low", "must not be above threshold")
    if high < threshold:
        _refuse("review.high", "must not be below threshold")
    return ReviewBand(low, high)


def parse_model(payload: CborValue) -> TrustModel:
    """Raises MalformedModel naming the field and the rule: a model that breaks any rule is refused as a
    whole.
    """
    keys = ("bias", "weights", "threshold", "review", "actions", "targets", "rate")
    fields = _fields(payload, "model", keys)
    bias = _number(fields["bias"], "bias")
    weights = _weights(fields["weights"])
    magnitude = abs(bias)
    for feature in FEATURES:
        magnitude += abs(weights[feature])
    if not math.isfinite(magnitude):
        _refuse("weights", "must add up to a finite number")
    threshold = _score(fields["threshold"], "threshold")
    review = _review(fields["review"], threshold)
    rate = _fields(fields["rate"], "rate", ("window_ms", "limit"))
    actions = _table(fields["actions"], "actions", _action_row)
    targets = _table(fields["targets"], "targets", _fraction)
    _check_count(rate["window_ms"], "rate.window_ms", RATE_WINDOW_MS_MAX)
    _check_count(rate["limit"], "rate.limit", RATE_LIMIT_MAX)
    return TrustModel(bias, weights, threshold, review, actions, targets)


def _decide(model: TrustModel, row: ActionRow | None, level: str, z: float) -> tuple[str, str]:
    if row is None:
        return "deny", "UNKNOWN_ACTION"
    if level_rank(level) < level_rank(row.min_loa):
        return "deny", "LEVEL_TOO_LOW"
    band = model.review
    if z >= logit(model.threshold) and (band is None or z >= logit(band.high)):
        return "allow", "SCORE_AT_OR_ABOVE_THRESHOLD"
    if band is not None and z >= logit(band.low):
        return "review", "REVIEW_BAND"
    return "deny", "SCORE_BELOW_THRESHOLD"


def _at_least(row: ActionRow | None, floor: str | None) -> ActionRow | None:
    """The row with its least level raised to the floor. An unknown action stays unknown."""
    if row is None or floor is None or level_rank(row.min_loa) >= level_rank(floor):
        return row
    return replace(row, min_loa=floor)


def evaluate(
    model: TrustModel,
    *,
    action: str,
    target: str,
    level: str,
    floor: str | None,
    rate: float,
    entropy: float,
) -> Evaluation:
    """`rate` and `entropy` are features in [0, 1]; `floor` is what the target itself takes at least."""
    row = _at_least(model.actions.find(action), floor)
    sensitivity = model.targets.find(target)
    features = {
        "action_risk": _UNLISTED if row is None else row.risk,
        "target_sensitivity": _UNLISTED if sensitivity is None else sensitivity,
        "level": level_rank(level) / (len(LEVELS) - 1),
        "rate": rate,
        "entropy": entropy,
    }
    # Adding zero makes -0 into 0, so that a contribution reads back from its record as it was.
    contributions = {feature: model.weights[feature] * features[feature] + 0.0 for feature in FEATURES}
    z = model.bias
    for feature in FEATURES:
        z += contributions[feature]
    verdict, reason = _decide(model, row, level, z)
    return Evaluation(features, contributions, z, score_of(z), verdict, reason)
