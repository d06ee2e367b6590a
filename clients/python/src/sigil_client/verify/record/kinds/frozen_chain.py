"""Payload of `frozen_chain`, both versions: one decision. Pure. Source: docs/spec/record.md §6.

In version 2 what may be withheld stands as a commitment, and what other fields say is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from ...cbor import CborMap, CborValue
from ...limits import BUDGETS_MAX, CONTEXTS_MAX, DELEGATION_MAX, RULES_MAX
from ..fields import (
    any_text_field,
    bytes_field,
    distinct,
    exact_map,
    hash_field,
    hash_item,
    hash_or_null_field,
    list_field,
    number_field,
    number_or_null_field,
    one_of_field,
    refuse_field,
    table_field,
    text_field,
    text_item,
    uint_field,
)
from ..names import LEVELS
from .trust_model import ReviewBand, read_review

Item = TypeVar("Item")

VERDICTS: Final = ("allow", "deny", "review")

_PATH: Final = "payload"
_REQUEST_PATH: Final = "payload.request"
_REASON_SHAPE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


@dataclass(frozen=True)
class DecisionRequest:
    """What was asked. Empty `subject` or `caller` is the anonymous guest."""

    action: str
    target: str
    subject: str
    caller: str
    loa: str
    """The subject's level."""
    min_loa: str | None
    """The least level that the target itself takes; None without one."""
    session: str
    metadata: dict[str, str]


@dataclass(frozen=True)
class ChainPayload:
    """What a payload of version 2 says. `input` and `context` are commitments."""

    request: DecisionRequest
    input: bytes
    features: dict[str, float]
    contributions: dict[str, float]
    model: str
    z: float | None
    threshold: float | None
    review: ReviewBand | None
    verdict: str
    reason: str
    caller_seq: int | None
    context: dict[str, bytes]


@dataclass(frozen=True)
class Chain1Payload:
    """What a payload of version 1 says: it has the score and the model's hash, and may hold the input."""

    request: DecisionRequest
    tenant: str
    input_digest: bytes
    input_bytes: int
    input: bytes | None
    features: dict[str, float]
    contributions: dict[str, float]
    model: str
    model_hash: bytes | None
    z: float | None
    score: float | None
    threshold: float | None
    review: ReviewBand | None
    verdict: str
    reason: str


def score_of(z: float) -> float:
    """1 / (1 + e^-z), for display only: no rule compares it."""
    try:
        return 1 / (1 + math.exp(-z))
    except OverflowError:
        return 0.0


def _check_reason(reason: str) -> str:
    if _REASON_SHAPE.fullmatch(reason) is None:
        refuse_field(_PATH, "reason", "must be an UPPER_SNAKE code")
    return reason


def _read_request(value: CborValue) -> tuple[DecisionRequest, bytes]:
    path = _REQUEST_PATH
    keys = ("action", "target", "subject", "caller", "loa", "input", "metadata")
    fields = exact_map(value, path, keys, ("session", "min_loa"))
    request = DecisionRequest(
        action=any_text_field(fields, path, "action"),
        target=any_text_field(fields, path, "target"),
        subject=any_text_field(fields, path, "subject"),
        caller=any_text_field(fields, path, "caller"),
        loa=one_of_field(fields, path, "loa", LEVELS),
        min_loa=one_of_field(fields, path, "min_loa", LEVELS) if "min_loa" in fields else None,
        session=text_field(fields, path, "session") if "session" in fields else "",
        metadata={},
    )
    commitment = hash_field(fields, path, "input")
    request.metadata.update(table_field(fields, path, "metadata", any_text_field))
    return request, commitment


def _counted(
    fields: CborMap, name: str, most: int, read: Callable[[CborMap, str, str], Item]
) -> dict[str, Item]:
    table = table_field(fields, _PATH, name, read)
    if not 1 <= len(table) <= most:
        refuse_field(_PATH, name, f"must have 1 to {most} entries, or be left out")
    return table


def _check_listed(fields: CborMap, name: str, most: int, read: Callable[[CborValue, str], Item]) -> None:
    items = list_field(fields, _PATH, name, read, most)
    if not items:
        refuse_field(_PATH, name, "must not be empty, or be left out")
    distinct(items, f"{_PATH}.{name}", "must be distinct")


def _check_approval(value: CborValue) -> None:
    path = "payload.approval"
    fields = exact_map(value, path, ("id", "record"))
    text_field(fields, path, "id")
    hash_or_null_field(fields, path, "record")


def _read_budget(table: CborMap, table_path: str, key: str) -> None:
    path = f"{table_path}.{key}"
    budget = exact_map(table[key], path, ("spent", "left"))
    uint_field(budget, path, "spent")
    uint_field(budget, path, "left")


def _check_later(fields: CborMap) -> None:
    """What no server writes yet."""
    if "context" in fields:
        _counted(fields, "context", CONTEXTS_MAX, hash_field)
    if "rules" in fields:
        _check_listed(fields, "rules", RULES_MAX, text_item)
    if "delegation" in fields:
        _check_listed(fields, "delegation", DELEGATION_MAX, hash_item)
    if "approval" in fields:
        _check_approval(fields["approval"])
    if "budgets" in fields:
        _counted(fields, "budgets", BUDGETS_MAX, _read_budget)


def _read_band(fields: CborMap) -> ReviewBand | None:
    if "review" not in fields:
        return None
    band = read_review(fields["review"], "payload.review")
    return refuse_field(_PATH, "review", "must be a map, or be left out") if band is None else band


def parse_frozen_chain(payload: CborValue) -> ChainPayload:
    """Version 2. Raises MalformedRecord; also for an allow without z, threshold and model."""
    keys = ("request", "features", "model", "contributions", "verdict", "reason", "duration_us")
    optional = (
        "z",
        "threshold",
        "review",
        "caller_seq",
        "context",
        "rules",
        "delegation",
        "approval",
        "budgets",
    )
    fields = exact_map(payload, _PATH, keys, optional)
    review = _read_band(fields)
    request, commitment = _read_request(fields["request"])
    features = table_field(fields, _PATH, "features", number_field)
    contributions = table_field(fields, _PATH, "contributions", number_field)
    model = any_text_field(fields, _PATH, "model")
    z = number_field(fields, _PATH, "z") if "z" in fields else None
    threshold = number_field(fields, _PATH, "threshold") if "threshold" in fields else None
    verdict = one_of_field(fields, _PATH, "verdict", VERDICTS)
    if verdict == "allow" and (z is None or threshold is None or model == ""):
        refuse_field(_PATH, "verdict", "cannot be allow without z, threshold and model")
    reason = _check_reason(text_field(fields, _PATH, "reason"))
    uint_field(fields, _PATH, "duration_us")
    caller_seq = uint_field(fields, _PATH, "caller_seq", 1) if "caller_seq" in fields else None
    _check_later(fields)
    context = table_field(fields, _PATH, "context", hash_field) if "context" in fields else {}
    return ChainPayload(
        request=request,
        input=commitment,
        features=features,
        contributions=contributions,
        model=model,
        z=z,
        threshold=threshold,
        review=review,
        verdict=verdict,
        reason=reason,
        caller_seq=caller_seq,
        context=context,
    )


def _read_step(item: CborValue, path: str) -> None:
    step = exact_map(item, path, ("name", "detail"))
    text_field(step, path, "name")
    any_text_field(step, path, "detail")


def parse_frozen_chain_1(payload: CborValue) -> Chain1Payload:
    """Version 1, which is read and no longer written. Raises MalformedRecord naming the field."""
    path, request_path, model_path = _PATH, _REQUEST_PATH, "payload.model"
    keys = (
        "request",
        "features",
        "model",
        "contributions",
        "z",
        "score",
        "threshold",
        "review",
        "verdict",
        "reason",
        "steps",
        "duration_us",
    )
    request_keys = (
        "action",
        "target",
        "subject",
        "caller",
        "tenant",
        "loa",
        "session",
        "input_digest",
        "input_bytes",
        "input",
        "metadata",
    )
    fields = exact_map(payload, path, keys)
    model = exact_map(fields["model"], model_path, ("id", "hash"))
    asked = exact_map(fields["request"], request_path, request_keys, ("min_loa",))
    input_bytes = uint_field(asked, request_path, "input_bytes")
    raw = None if asked["input"] is None else bytes_field(asked, request_path, "input")
    if raw is not None and len(raw) != input_bytes:
        refuse_field(request_path, "input_bytes", "must be the length of input")
    action = any_text_field(asked, request_path, "action")
    target = any_text_field(asked, request_path, "target")
    subject = any_text_field(asked, request_path, "subject")
    caller = any_text_field(asked, request_path, "caller")
    tenant = text_field(asked, request_path, "tenant")
    loa = one_of_field(asked, request_path, "loa", LEVELS)
    min_loa = one_of_field(asked, request_path, "min_loa", LEVELS) if "min_loa" in asked else None
    session = any_text_field(asked, request_path, "session")
    input_digest = hash_field(asked, request_path, "input_digest")
    metadata = table_field(asked, request_path, "metadata", any_text_field)
    features = table_field(fields, path, "features", number_field)
    model_id = any_text_field(model, model_path, "id")
    model_hash = hash_or_null_field(model, model_path, "hash")
    contributions = table_field(fields, path, "contributions", number_field)
    z = number_or_null_field(fields, path, "z")
    score = number_or_null_field(fields, path, "score")
    threshold = number_or_null_field(fields, path, "threshold")
    review = read_review(fields["review"], "payload.review")
    verdict = one_of_field(fields, path, "verdict", VERDICTS)
    reason = text_field(fields, path, "reason")
    list_field(fields, path, "steps", _read_step)
    uint_field(fields, path, "duration_us")
    _check_reason(reason)
    if verdict == "allow" and None in (z, score, threshold, model_hash):
        refuse_field(path, "verdict", "cannot be allow without z, score, threshold and model")
    return Chain1Payload(
        request=DecisionRequest(action, target, subject, caller, loa, min_loa, session, metadata),
        tenant=tenant,
        input_digest=input_digest,
        input_bytes=input_bytes,
        input=raw,
        features=features,
        contributions=contributions,
        model=model_id,
        model_hash=model_hash,
        z=z,
        score=score,
        threshold=threshold,
        review=review,
        verdict=verdict,
        reason=reason,
    )
