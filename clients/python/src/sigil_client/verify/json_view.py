"""Values, findings and steps as plain JSON, as `sigil verify --json` prints them. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TypeAlias, Union

from .cbor import CborValue
from .evidence.steps import Step
from .evidence.verifying import Verdict
from .limits import SAFE_INTEGER_MAX
from .model.recompute import Comparable
from .pack.verifying import PackVerdict

Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "dict[str, Json]", None]


def json_view(value: CborValue) -> Json:
    """Byte strings as base64 text, integers beyond 2^53 as decimal text."""
    if isinstance(value, bool) or value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int):
        return value if abs(value) <= SAFE_INTEGER_MAX else str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: json_view(item) for key, item in value.items()}
    return [json_view(item) for item in value]


def _number(value: Comparable) -> Json:
    """An integral number without a fraction, as JSON of other languages has it."""
    is_integral = isinstance(value, float) and value.is_integer() and abs(value) <= SAFE_INTEGER_MAX
    return int(value) if is_integral and isinstance(value, float) else value


def time_text(ts: int) -> str | None:
    """RFC 3339 of milliseconds of Unix time; None past the years of calendars."""
    try:
        time = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=ts)
    except OverflowError:
        return None
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"


def pack_view(name: str, verdict: PackVerdict) -> dict[str, Json]:
    """`name` is that of the directory."""
    findings, manifest = verdict.findings, verdict.findings.manifest
    view: dict[str, Json] = {"pack": name, "verified": verdict.holds, "steps": _steps_view(verdict.steps)}
    if manifest is not None:
        view["genesis"] = manifest.genesis.hex()
        view["origin"] = manifest.origin
        view["tenant"] = manifest.tenant
        view["from"] = None if manifest.from_ms is None else time_text(manifest.from_ms)
        view["to"] = time_text(manifest.to_ms)
        view["counts"] = {
            "decisions": manifest.decisions,
            "records": manifest.records,
            "callers": manifest.callers,
        }
        view["gaps"] = list(manifest.gaps)
    if findings.controls is not None:
        view["controls"] = [
            {
                "id": control.id,
                "title": control.title,
                "filters": [dict(each) for each in control.filters],
                "decisions": control.decisions,
            }
            for control in findings.controls
        ]
    if findings.cosigned is not None:
        view["cosigned"] = list(findings.cosigned)
    return view


def _steps_view(steps: Sequence[Step]) -> list[Json]:
    return [{"name": step.name, "outcome": step.outcome, "detail": step.detail} for step in steps]


def verdict_view(name: str, verdict: Verdict) -> dict[str, Json]:
    """`name` is that of the file."""
    findings = verdict.findings
    view: dict[str, Json] = {"file": name, "verified": verdict.holds, "steps": _steps_view(verdict.steps)}
    if findings.genesis is not None:
        view["genesis"] = findings.genesis.hex()
    if findings.checkpoint is not None:
        view["checkpoint"] = {
            "origin": findings.checkpoint.origin,
            "size": str(findings.checkpoint.size),
            "root": findings.checkpoint.root.hex(),
        }
    if findings.cosigned is not None:
        view["cosigned"] = list(findings.cosigned)
    if findings.record is not None:
        body = findings.record.body
        view["record"] = {
            "position": str(findings.record.position),
            "hash": findings.record.hash.hex(),
            "kind": body.kind,
            "id": body.id,
            "tenant": body.tenant,
            "space": body.space,
            "time": time_text(body.ts),
            "payload": json_view(body.payload),
        }
    if findings.replay is not None:
        values: list[Json] = [
            {
                "field": value.field,
                "recorded": _number(value.recorded),
                "recomputed": _number(value.recomputed),
                "outcome": value.outcome,
            }
            for value in findings.replay.values
        ]
        view["replay"] = {"outcome": findings.replay.outcome, "values": values}
    return view
