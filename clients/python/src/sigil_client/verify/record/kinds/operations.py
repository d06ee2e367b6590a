"""Payloads of `restoration`, `erasure`, `erased`, `suspension`, `feed_grant`, `caller_head`. Pure.

Source: docs/spec/record.md §6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ...cbor import CborMap, CborValue
from ...limits import FEED_GRANT_ITEMS_MAX, KIND_BYTES_MAX
from ..fields import (
    any_text_field,
    distinct,
    exact_map,
    hash_field,
    list_field,
    refuse_field,
    text_field,
    text_item,
    uint64_field,
    uint_field,
)
from ..names import PUBLIC_TENANT, SPACES, SYSTEM_TENANT, tenant_fault

_PATH: Final = "payload"


@dataclass(frozen=True)
class CallerHeadPayload:
    """`seq` is the number of the caller's newest decision; 0 if there is none."""

    caller: str
    seq: int


def parse_caller_head(payload: CborValue) -> CallerHeadPayload:
    fields = exact_map(payload, _PATH, ("caller", "seq"))
    return CallerHeadPayload(text_field(fields, _PATH, "caller"), uint_field(fields, _PATH, "seq"))


def parse_restoration(payload: CborValue) -> None:
    fields = exact_map(payload, _PATH, ("size", "checkpoint", "backup"))
    uint64_field(fields, _PATH, "size")
    text_field(fields, _PATH, "checkpoint")
    text_field(fields, _PATH, "backup")


def _check_tenant(fields: CborMap) -> None:
    tenant = any_text_field(fields, _PATH, "tenant")
    if tenant == SYSTEM_TENANT:
        refuse_field(_PATH, "tenant", "must not be system: nothing would verify without its records")
    if tenant == PUBLIC_TENANT:
        refuse_field(_PATH, "tenant", "must not be public: it is whoever calls without credentials")
    fault = tenant_fault(tenant)
    if fault is not None:
        refuse_field(_PATH, "tenant", fault)


def parse_erasure(payload: CborValue) -> None:
    fields = exact_map(payload, _PATH, ("tenant", "reason"))
    _check_tenant(fields)
    any_text_field(fields, _PATH, "reason")


def parse_erased(payload: CborValue) -> None:
    fields = exact_map(payload, _PATH, ("tenant", "order", "records", "positions"))
    _check_tenant(fields)
    hash_field(fields, _PATH, "order")
    uint64_field(fields, _PATH, "records")
    hash_field(fields, _PATH, "positions")


def parse_suspension(payload: CborValue) -> None:
    fields = exact_map(payload, _PATH, ("reason", "by"))
    text_field(fields, _PATH, "reason")
    text_field(fields, _PATH, "by")


def _kind_fault(kind: str) -> str | None:
    return None if len(kind.encode()) <= KIND_BYTES_MAX else f"must be at most {KIND_BYTES_MAX} bytes"


def _space_fault(space: str) -> str | None:
    return None if space in SPACES else f"must be one of {', '.join(SPACES)}"


def _check_granted(fields: CborMap, name: str, fault_of: Callable[[str], str | None]) -> None:
    items = list_field(fields, _PATH, name, text_item, FEED_GRANT_ITEMS_MAX)
    distinct(items, f"{_PATH}.{name}", "must be distinct")
    if items == ["*"]:
        return
    for index, item in enumerate(items):
        fault = "must stand alone" if item == "*" else fault_of(item)
        if fault is not None:
            refuse_field(f"{_PATH}.{name}[{index}]", "", fault)


def parse_feed_grant(payload: CborValue) -> None:
    fields = exact_map(payload, _PATH, ("tenants", "kinds", "spaces"))
    _check_granted(fields, "tenants", tenant_fault)
    _check_granted(fields, "kinds", _kind_fault)
    _check_granted(fields, "spaces", _space_fault)
