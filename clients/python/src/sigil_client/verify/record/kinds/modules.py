"""Payloads of `module` and `module_run`. Pure. Source: docs/spec/record.md §6."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...cbor import CborMap, CborValue
from ..fields import (
    any_text_field,
    distinct,
    exact_map,
    hash_field,
    hash_or_null_field,
    list_field,
    one_of_field,
    refuse_field,
    text_field,
    text_item,
    uint_field,
)
from ..names import LEVELS

RUN_ENDS: Final = ("denied", "refused", "exited", "trapped", "killed", "crashed")

_PATH: Final = "payload"
_USAGE_PATH: Final = "payload.usage"
_LIMITS_PATH: Final = "payload.limits"
_RUN_KEYS: Final = (
    "module",
    "version",
    "digest",
    "other_digest",
    "caller",
    "limits",
    "usage",
    "end",
    "exit_code",
    "reason",
)
_LIMIT_KEYS: Final = (
    "wall_ms",
    "memory_pages",
    "output_bytes",
    "log_bytes",
    "input_bytes",
    "host_calls",
)
_USAGE_KEYS: Final = ("wall_us", "cpu_us", "memory_bytes_peak", "log_bytes", "host_calls")
_EXIT_CODE_MAX: Final = 2**32 - 1


@dataclass(frozen=True)
class ModuleRunPayload:
    """The commitments of a run of version 2; `output` is None where nothing ran."""

    input: bytes
    output: bytes | None


@dataclass(frozen=True)
class _Run:
    end: str
    exit_code: int | None
    reason: str


def parse_module(payload: CborValue) -> None:
    """Raises MalformedRecord naming the field."""
    fields = exact_map(payload, _PATH, ("digest", "min_loa", "capabilities", "limits"))
    limits = exact_map(fields["limits"], _LIMITS_PATH, _LIMIT_KEYS[:3])
    capabilities = list_field(fields, _PATH, "capabilities", text_item)
    distinct(capabilities, "payload.capabilities", "must be distinct")
    hash_field(fields, _PATH, "digest")
    one_of_field(fields, _PATH, "min_loa", LEVELS)
    for name in _LIMIT_KEYS[:3]:
        uint_field(limits, _LIMITS_PATH, name, 1)


def _read_run(fields: CborMap) -> _Run:
    text_field(fields, _PATH, "module")
    uint_field(fields, _PATH, "version", 1)
    hash_field(fields, _PATH, "digest")
    hash_or_null_field(fields, _PATH, "other_digest")
    any_text_field(fields, _PATH, "caller")
    limits = exact_map(fields["limits"], _LIMITS_PATH, _LIMIT_KEYS)
    for name in _LIMIT_KEYS:
        uint_field(limits, _LIMITS_PATH, name)
    end = one_of_field(fields, _PATH, "end", RUN_ENDS)
    exit_code = (
        None if fields["exit_code"] is None else uint_field(fields, _PATH, "exit_code", 0, _EXIT_CODE_MAX)
    )
    return _Run(end, exit_code, any_text_field(fields, _PATH, "reason"))


def _check_whole(run: _Run, *, has_usage: bool, output_name: str, has_output: bool) -> None:
    """Runs have usage and an output; exactly the exited ones have a code and no reason."""
    rule = f'must fit the end "{run.end}"'
    has_run = run.end not in ("denied", "refused")
    has_exited = run.end == "exited"
    if has_run != has_usage:
        refuse_field(_PATH, "usage", rule)
    if has_run != has_output:
        refuse_field(_PATH, output_name, rule)
    if has_exited != (run.exit_code is not None):
        refuse_field(_PATH, "exit_code", rule)
    if has_exited != (run.reason == ""):
        refuse_field(_PATH, "reason", rule)


def _check_usage(usage: CborMap, keys: tuple[str, ...]) -> None:
    for name in keys:
        uint_field(usage, _USAGE_PATH, name)


def parse_module_run(payload: CborValue) -> ModuleRunPayload:
    """Version 2. Raises MalformedRecord naming the field."""
    fields = exact_map(payload, _PATH, (*_RUN_KEYS, "input"), ("output",))
    run = _read_run(fields)
    has_usage = fields["usage"] is not None
    if has_usage:
        _check_usage(exact_map(fields["usage"], _USAGE_PATH, _USAGE_KEYS), _USAGE_KEYS)
    has_output = "output" in fields
    _check_whole(run, has_usage=has_usage, output_name="output", has_output=has_output)
    output = hash_field(fields, _PATH, "output") if has_output else None
    return ModuleRunPayload(hash_field(fields, _PATH, "input"), output)


def parse_module_run_1(payload: CborValue) -> None:
    """Version 1, which is read and no longer written. Raises MalformedRecord naming the field."""
    fields = exact_map(payload, _PATH, (*_RUN_KEYS, "input_digest", "input_bytes", "output_digest"))
    run = _read_run(fields)
    usage_keys = (*_USAGE_KEYS, "input_bytes", "output_bytes")
    usage = None if fields["usage"] is None else exact_map(fields["usage"], _USAGE_PATH, usage_keys)
    output_digest = hash_or_null_field(fields, _PATH, "output_digest")
    _check_whole(
        run,
        has_usage=usage is not None,
        output_name="output_digest",
        has_output=output_digest is not None,
    )
    if usage is not None:
        _check_usage(usage, usage_keys)
    hash_field(fields, _PATH, "input_digest")
    uint_field(fields, _PATH, "input_bytes")
