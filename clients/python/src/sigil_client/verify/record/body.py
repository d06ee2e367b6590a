"""Record bodies, their hash, and the envelope that is stored, published and exported. Pure.

Source: docs/spec/record.md §2 and §5. The same checks run on encode and on decode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..cbor import CborMap, CborValue, decode, encode
from ..cose.statement import RECORD_CONTENT_TYPE, Statement, parse_statement
from ..crypto import sha256
from ..limits import ATTESTATIONS_MAX, KIND_BYTES_MAX, LABEL_BYTES_MAX, LINKS_MAX, SCHEMA_VERSION_MAX
from .fields import (
    any_map,
    any_text_field,
    exact_map,
    hash_field,
    hash_or_null_field,
    list_field,
    one_of_field,
    refuse_field,
    text_field,
    uint_field,
)
from .kinds import check_payload
from .names import SPACES, SYSTEM_TENANT, record_id_fault, tenant_fault

_BODY_KEYS: Final = (
    "kind",
    "schema_version",
    "id",
    "tenant",
    "ts",
    "space",
    "payload",
    "links",
    "prev",
)


@dataclass(frozen=True)
class Link:
    label: str
    target: bytes
    """Hash of another record."""


@dataclass(frozen=True)
class RecordBody:
    """`ts` is in milliseconds since 1970-01-01T00:00:00Z; `prev` the hash of the version before."""

    kind: str
    schema_version: int
    id: str
    tenant: str
    ts: int
    space: str
    payload: CborValue
    links: tuple[Link, ...]
    prev: bytes | None

    @property
    def subject(self) -> str:
        """The subject that a statement over this body must have."""
        return f"{self.tenant}/{self.space}/{self.id}"

    def link_to(self, label: str) -> bytes | None:
        """The hash that the record links to under the label; None if it has no such link."""
        return next((link.target for link in self.links if link.label == label), None)


@dataclass(frozen=True)
class Envelope:
    """The signed record, and witness statements over the same body."""

    statement: bytes
    attestations: tuple[bytes, ...]


def _short_text(fields: CborMap, path: str, name: str, bytes_max: int) -> str:
    text = text_field(fields, path, name, bytes_max)
    if len(text.encode()) > bytes_max:
        refuse_field(path, name, f"must be at most {bytes_max} bytes")
    return text


def _read_link(item: CborValue, path: str) -> Link:
    fields = exact_map(item, path, ("label", "target"))
    return Link(_short_text(fields, path, "label", LABEL_BYTES_MAX), hash_field(fields, path, "target"))


def _read_body(value: CborValue) -> RecordBody:
    fields = exact_map(any_map(value, "body"), "", _BODY_KEYS)
    record_id = any_text_field(fields, "", "id")
    fault = record_id_fault(record_id)
    if fault is not None:
        refuse_field("id", "", fault)
    tenant = any_text_field(fields, "", "tenant")
    fault = tenant_fault(tenant)
    if fault is not None:
        refuse_field("tenant", "", fault)
    space = one_of_field(fields, "", "space", SPACES)
    if space == "system" and tenant != SYSTEM_TENANT:
        refuse_field("tenant", "", f"must be {SYSTEM_TENANT} in the system space")
    return RecordBody(
        kind=_short_text(fields, "", "kind", KIND_BYTES_MAX),
        schema_version=uint_field(fields, "", "schema_version", 1, SCHEMA_VERSION_MAX),
        id=record_id,
        tenant=tenant,
        ts=uint_field(fields, "", "ts"),
        space=space,
        payload=fields["payload"],
        links=tuple(list_field(fields, "", "links", _read_link, LINKS_MAX)),
        prev=hash_or_null_field(fields, "", "prev"),
    )


def encode_body(body: RecordBody) -> bytes:
    """Raises MalformedRecord naming the field, UnencodableValue for a payload without an encoding."""
    value: CborValue = {
        "kind": body.kind,
        "schema_version": body.schema_version,
        "id": body.id,
        "tenant": body.tenant,
        "ts": body.ts,
        "space": body.space,
        "payload": body.payload,
        "links": [{"label": link.label, "target": link.target} for link in body.links],
        "prev": body.prev,
    }
    encoded = encode(value)
    decode_body(encoded)
    return encoded


def decode_body(data: bytes) -> RecordBody:
    """Raises MalformedCbor with the offset, MalformedRecord naming the field."""
    body = _read_body(decode(data))
    check_payload(body.kind, body.space, body.payload, body.schema_version)
    return body


def hash_record(body: bytes) -> bytes:
    """The record's hash, as used in links and `prev`."""
    return sha256(body)


def parse_record_statement(data: bytes) -> tuple[Statement, RecordBody]:
    """Parses a record's statement and body, and checks that they agree; verifies no signature."""
    statement = parse_statement(data)
    if statement.content_type != RECORD_CONTENT_TYPE:
        refuse_field("statement.content_type", "", f"must be {RECORD_CONTENT_TYPE}")
    body = decode_body(statement.payload)
    if statement.subject != body.subject:
        refuse_field("statement.subject", "", "must be <tenant>/<space>/<id> of the body")
    return statement, body


def encode_envelope(statement: bytes, attestations: Sequence[bytes]) -> bytes:
    """Raises UnencodableValue if it is too long, MalformedRecord past 64 attestations."""
    if len(attestations) > ATTESTATIONS_MAX:
        refuse_field("attestations", "", f"must have at most {ATTESTATIONS_MAX} items")
    return encode([statement, list(attestations)])


def _read_attestation(item: CborValue, path: str) -> bytes:
    return item if isinstance(item, bytes) else refuse_field(path, "", "must be a byte string")


def decode_envelope(data: bytes) -> Envelope:
    """Splits an envelope; does not parse its parts. Raises MalformedCbor, MalformedRecord."""
    value = decode(data)
    if not isinstance(value, list) or len(value) != 2:
        refuse_field("envelope", "", "must be an array of two")
    statement = value[0]
    if not isinstance(statement, bytes):
        refuse_field("statement", "", "must be a byte string")
    listed: CborMap = {"attestations": value[1]}
    attestations = list_field(listed, "", "attestations", _read_attestation, ATTESTATIONS_MAX)
    return Envelope(statement, tuple(attestations))


def entry_of(envelope: bytes) -> bytes:
    """The ledger entry of an envelope: SHA-256 of its bytes."""
    return sha256(envelope)
