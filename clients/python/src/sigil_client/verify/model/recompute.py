"""Recomputes a recorded decision from its record and the model it names. Pure. Source: docs/spec/trust.md §8.

The rate is taken as recorded, and the entropy where the input is not at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from ..cbor import CborMap, CborValue
from ..ecma import number_text
from ..errors import MalformedRecord
from ..record.decision import Decision
from ..record.kinds.trust_model import ActionRule, ReviewBand, parse_trust_model
from ..record.names import level_rank
from ..record.spelling import SpellingFault, canonical_action_glob, canonical_target_glob
from .trust_model import FAULT_REASONS, FEATURES, TrustModel, evaluate, input_entropy, parse_model

Comparable: TypeAlias = str | float | None

_DISPLAY_TOLERANCE: Final = 1e-9
"""Logarithms and exponentials may differ in their last bits between engines; no verdict depends on those."""


@dataclass(frozen=True)
class ReplayedValue:
    """One value of a decision, as its record has it and as its model gives it. `field` is the payload's
    dotted path.
    """

    field: str
    recorded: Comparable
    recomputed: Comparable
    outcome: Literal["equal", "different", "asRecorded"]


@dataclass(frozen=True)
class Replay:
    """`partial`: nothing differs, and the input that would give the entropy again is not at hand."""

    outcome: Literal["equal", "different", "partial"]
    values: tuple[ReplayedValue, ...]
    """In the order in which a decision is made."""

    @property
    def difference(self) -> ReplayedValue | None:
        return next((value for value in self.values if value.outcome == "different"), None)


def value_text(value: Comparable) -> str:
    """As JSON has it, but for the quotes of a text."""
    if value is None:
        return "null"
    return value if isinstance(value, str) else number_text(value)


def _compare(field: str, recorded: Comparable, recomputed: Comparable, tolerance: float = 0) -> ReplayedValue:
    if isinstance(recorded, (int, float)) and isinstance(recomputed, (int, float)):
        agrees = abs(recorded - recomputed) <= tolerance
    else:
        agrees = recorded == recomputed
    return ReplayedValue(field, recorded, recomputed, "equal" if agrees else "different")


def _share(decision: Decision, feature: str) -> float:
    value = decision.features.get(feature)
    if value is None or not 0 <= value <= 1:
        raise MalformedRecord(f"payload.features.{feature}", "must be between 0 and 1")
    return value


def _replay_feature(decision: Decision, name: str, recomputed: float) -> ReplayedValue:
    field = f"features.{name}"
    recorded = decision.features.get(name)
    if name == "rate":
        # An observation of that moment.
        return ReplayedValue(field, recomputed, recomputed, "asRecorded")
    if name != "entropy":
        return _compare(field, recorded, recomputed)
    if decision.input is not None:
        return _compare(field, recomputed, input_entropy(decision.input), _DISPLAY_TOLERANCE)
    if decision.input_length == 0:
        return _compare(field, recomputed, 0.0, _DISPLAY_TOLERANCE)
    return ReplayedValue(field, recomputed, recomputed, "asRecorded")


def _edges(band: ReviewBand | None) -> tuple[float | None, float | None]:
    return (None, None) if band is None else (band.low, band.high)


def _replay_by(decision: Decision, model: TrustModel) -> tuple[ReplayedValue, ...]:
    request = decision.request
    (recorded_low, recorded_high), (low, high) = _edges(decision.review), _edges(model.review)
    evaluation = evaluate(
        model,
        action=request.action,
        target=request.target,
        level=request.loa,
        floor=request.min_loa,
        rate=_share(decision, "rate"),
        entropy=_share(decision, "entropy"),
    )
    contributions = decision.contributions
    return (
        *(_replay_feature(decision, name, evaluation.features[name]) for name in FEATURES),
        *(
            _compare(f"contributions.{name}", contributions.get(name), evaluation.contributions[name])
            for name in FEATURES
        ),
        _compare("z", decision.z, evaluation.z),
        _compare("score", decision.score, evaluation.score, _DISPLAY_TOLERANCE),
        _compare("threshold", decision.threshold, model.threshold),
        _compare("review.low", recorded_low, low),
        _compare("review.high", recorded_high, high),
        _compare("verdict", decision.verdict, evaluation.verdict),
        _compare("reason", decision.reason, evaluation.reason),
    )


def _stricter_action(a: ActionRule, b: ActionRule) -> ActionRule:
    stricter = a if level_rank(a.min_loa) >= level_rank(b.min_loa) else b
    return ActionRule(max(a.risk, b.risk), stricter.min_loa)


def _form_of(spell: Callable[[str], str], glob: str) -> str | None:
    try:
        return spell(glob)
    except SpellingFault:
        return None


def _with_canonical_globs(payload: CborValue) -> CborValue:
    """The model by its globs' canonical forms; the payload itself if every glob is canonical.

    A glob without a canonical form is dropped; of two equal ones the stricter row wins. Raises
    MalformedRecord.
    """
    parsed = parse_trust_model(payload)
    action_forms = {glob: _form_of(canonical_action_glob, glob) for glob in parsed.actions}
    target_forms = {glob: _form_of(canonical_target_glob, glob) for glob in parsed.targets}
    if all(form == glob for forms in (action_forms, target_forms) for glob, form in forms.items()):
        return payload
    actions: dict[str, ActionRule] = {}
    for glob, form in action_forms.items():
        if form is not None:
            row = parsed.actions[glob]
            actions[form] = _stricter_action(row, actions.get(form, row))
    targets: CborMap = {}
    for glob, form in target_forms.items():
        if form is not None:
            targets[form] = max(parsed.targets[glob], cast(float, targets.get(form, 0.0)))
    rows: CborMap = {form: {"risk": row.risk, "min_loa": row.min_loa} for form, row in actions.items()}
    return {**cast(CborMap, payload), "actions": rows, "targets": targets}


def _is_different(values: tuple[ReplayedValue, ...]) -> bool:
    return any(value.outcome == "different" for value in values)


def _replay_scored(decision: Decision, payload: CborValue) -> tuple[ReplayedValue, ...]:
    literally = _replay_by(decision, parse_model(payload))
    if not _is_different(literally):
        return literally
    # Models older than canonical globs decided by the globs' literal text at first, later by their canonical
    # forms.
    canonical = _with_canonical_globs(payload)
    if canonical is payload:
        return literally
    since = _replay_by(decision, parse_model(canonical))
    return literally if _is_different(since) else since


def replay(decision: Decision, model: CborValue) -> Replay:
    """`model` is the payload of the record whose hash the decision names; not read if a fault decided.

    Raises MalformedRecord for features outside [0, 1], MalformedModel.
    """
    if decision.reason in FAULT_REASONS:
        values: tuple[ReplayedValue, ...] = (_compare("verdict", decision.verdict, "deny"),)
    else:
        values = _replay_scored(decision, model)
    if _is_different(values):
        return Replay("different", values)
    is_partial = any(each.field == "features.entropy" and each.outcome == "asRecorded" for each in values)
    return Replay("partial" if is_partial else "equal", values)
