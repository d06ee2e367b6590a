"""Payloads of `principal`, `witness`, `quorum`, `signing_key`, `key_retirement`. Pure.

Source: docs/spec/record.md §6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...cbor import CborMap, CborValue
from ...limits import ATTESTATIONS_MAX, ATTRIBUTE_BYTES_MAX, ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTES_MAX
from ..fields import (
    any_text_field,
    boolean_field,
    distinct,
    exact_map,
    is_number,
    list_field,
    mldsa44_public_key_field,
    one_of_field,
    public_key_field,
    public_key_item,
    refuse_field,
    table_field,
    text_item,
    uint64_field,
    uint_field,
)
from ..names import LEVELS, tenant_fault
from ..spelling import SpellingFault, canonical_subject

_PATH: Final = "payload"

PRINCIPAL_KEYS: Final = ("public_keys", "loa", "tenant", "active")
WITNESS_KEYS: Final = ("public_key", "owner", "authority", "description")
ED25519_ROLES: Final = ("record", "checkpoint")
MLDSA44_ROLE: Final = "checkpoint_mldsa44"


@dataclass(frozen=True)
class PrincipalPayload:
    """`principal_id` is the principal's id where the record's id cannot hold it."""

    public_keys: tuple[bytes, ...]
    loa: str
    tenant: str
    active: bool
    principal_id: str | None = None


@dataclass(frozen=True)
class WitnessPayload:
    public_key: bytes
    owner: str
    authority: str
    description: str


@dataclass(frozen=True)
class QuorumPayload:
    """1 ≤ k ≤ the number of witnesses; `epoch` is the version of the registry."""

    k: int
    witnesses: tuple[str, ...]
    epoch: int
    proposer_may_attest: bool


@dataclass(frozen=True)
class RoleKey:
    """A key with the role that it serves, and the position that its record names."""

    role: str
    public_key: bytes
    position: int


def read_principal(fields: CborMap, path: str) -> PrincipalPayload:
    public_keys = list_field(fields, path, "public_keys", public_key_item)
    distinct(public_keys, f"{path}.public_keys", "must be distinct")
    tenant = any_text_field(fields, path, "tenant")
    fault = tenant_fault(tenant)
    if fault is not None:
        refuse_field(path, "tenant", fault)
    loa = one_of_field(fields, path, "loa", LEVELS)
    return PrincipalPayload(tuple(public_keys), loa, tenant, boolean_field(fields, path, "active"))


def _name_field(fields: CborMap, name: str) -> str:
    """A principal's id in its canonical form; enrolment also removes the deployment's own trust domain."""
    text = any_text_field(fields, _PATH, name)
    try:
        spelled = canonical_subject(text, "")
    except SpellingFault as fault:
        refuse_field(_PATH, name, fault.rule)
    return text if spelled == text else refuse_field(_PATH, name, f"must be spelled {spelled}")


def _attribute_text(item: CborValue, path: str) -> str:
    text = text_item(item, path)
    if len(text.encode()) > ATTRIBUTE_BYTES_MAX:
        refuse_field(path, "", f"must be at most {ATTRIBUTE_BYTES_MAX} bytes")
    return text


def _check_attribute(table: CborMap, path: str, name: str) -> None:
    if name == "" or len(name.encode()) > ATTRIBUTE_NAME_BYTES_MAX:
        refuse_field(path, name, f"must have a name of 1 to {ATTRIBUTE_NAME_BYTES_MAX} bytes")
    value = table[name]
    if isinstance(value, bool) or is_number(value):
        return
    if isinstance(value, str):
        _attribute_text(value, f"{path}.{name}")
        return
    if not isinstance(value, list):
        refuse_field(path, name, "must be text, a number, true, false or a list of texts")
    items = list_field(table, path, name, _attribute_text, ATTRIBUTES_MAX)
    distinct(items, f"{path}.{name}", "must be distinct")


def parse_principal(payload: CborValue, schema_version: int = 1) -> PrincipalPayload:
    """Raises MalformedRecord naming the field."""
    if schema_version == 1:
        return read_principal(exact_map(payload, _PATH, PRINCIPAL_KEYS), _PATH)
    fields = exact_map(payload, _PATH, PRINCIPAL_KEYS, ("id", "attributes", "owner"))
    principal = read_principal(fields, _PATH)
    principal_id = _name_field(fields, "id") if "id" in fields else None
    if "attributes" in fields:
        count = len(table_field(fields, _PATH, "attributes", _check_attribute))
        if not 1 <= count <= ATTRIBUTES_MAX:
            refuse_field(_PATH, "attributes", f"must have 1 to {ATTRIBUTES_MAX} entries, or be left out")
    if "owner" in fields:
        _name_field(fields, "owner")
    return PrincipalPayload(
        principal.public_keys, principal.loa, principal.tenant, principal.active, principal_id
    )


def read_witness(fields: CborMap, path: str) -> WitnessPayload:
    return WitnessPayload(
        public_key=public_key_field(fields, path, "public_key"),
        owner=any_text_field(fields, path, "owner"),
        authority=any_text_field(fields, path, "authority"),
        description=any_text_field(fields, path, "description"),
    )


def parse_witness(payload: CborValue) -> WitnessPayload:
    """Raises MalformedRecord naming the field."""
    return read_witness(exact_map(payload, _PATH, WITNESS_KEYS), _PATH)


def read_k(fields: CborMap, path: str, witnesses: int) -> int:
    """At least 1 and at most the number of witnesses."""
    k = uint_field(fields, path, "k", 1)
    return k if k <= witnesses else refuse_field(path, "k", f"must not exceed the {witnesses} witnesses")


def parse_quorum(payload: CborValue) -> QuorumPayload:
    """Raises MalformedRecord naming the field."""
    fields = exact_map(payload, _PATH, ("k", "witnesses", "epoch"), ("proposer_may_attest",))
    may_attest = "proposer_may_attest" in fields
    # One encoding per value: false is written as an absent key.
    if may_attest and fields["proposer_may_attest"] is not True:
        refuse_field(_PATH, "proposer_may_attest", "must be true or left out")
    witnesses = list_field(fields, _PATH, "witnesses", text_item, ATTESTATIONS_MAX)
    distinct(witnesses, "payload.witnesses", "must be distinct")
    k = read_k(fields, _PATH, len(witnesses))
    return QuorumPayload(k, tuple(witnesses), uint_field(fields, _PATH, "epoch"), may_attest)


def _read_role_key(payload: CborValue, number_key: str, schema_version: int) -> RoleKey:
    """Version 1 has no algorithm, and means Ed25519; version 2 is for what 1 cannot say."""
    if schema_version == 1:
        fields = exact_map(payload, _PATH, ("role", "public_key", number_key))
        role = one_of_field(fields, _PATH, "role", ED25519_ROLES)
        public_key = public_key_field(fields, _PATH, "public_key")
    else:
        fields = exact_map(payload, _PATH, ("role", "algorithm", "public_key", number_key))
        role = one_of_field(fields, _PATH, "role", (MLDSA44_ROLE,))
        one_of_field(fields, _PATH, "algorithm", ("ML-DSA-44",))
        public_key = mldsa44_public_key_field(fields, _PATH, "public_key")
    return RoleKey(role, public_key, uint64_field(fields, _PATH, number_key))


def parse_signing_key(payload: CborValue, schema_version: int = 1) -> RoleKey:
    """`position` is the first that the key may sign. Raises MalformedRecord naming the field."""
    return _read_role_key(payload, "valid_from", schema_version)


def parse_key_retirement(payload: CborValue, schema_version: int = 1) -> RoleKey:
    """`position` is the first at which a signature by the key counts for nothing. Raises MalformedRecord."""
    return _read_role_key(payload, "from", schema_version)
