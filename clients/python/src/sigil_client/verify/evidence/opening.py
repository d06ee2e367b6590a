"""Opens and verifies one record of the ledger in named steps. Pure. Source: docs/spec/record.md,
docs/spec/ledger.md.

A step's refusal is damage of the record: RecordCorrupt, which names the position and the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from ..cose.statement import RECORD_CONTENT_TYPE, Statement, parse_statement
from ..crypto import verify_ed25519
from ..errors import ProofError, RecordCorrupt, rule_of
from ..keys.ring import KeyRing, RingKey
from ..merkle.proof import check_inclusion, leaf_hash
from ..record.body import RecordBody, decode_body, decode_envelope, entry_of, hash_record

Result = TypeVar("Result")


@dataclass(frozen=True)
class OpenedRecord:
    """A parsed record, of which nothing is verified."""

    position: int
    envelope: bytes
    statement: Statement
    attestations: tuple[bytes, ...]
    hash: bytes
    """The body's hash, by which links name the record."""


def in_step(position: int, step: str, work: Callable[[], Result]) -> Result:
    """Runs `work`; what it refuses is refused of the record, with the step."""
    try:
        return work()
    except RecordCorrupt:
        raise
    except ProofError as cause:
        raise RecordCorrupt(position, step, rule_of(cause)) from cause


def open_record(position: int, envelope: bytes) -> OpenedRecord:
    """Step `envelope`. Raises RecordCorrupt."""

    def parse() -> OpenedRecord:
        parts = decode_envelope(envelope)
        statement = parse_statement(parts.statement)
        if statement.content_type != RECORD_CONTENT_TYPE:
            raise RecordCorrupt(position, "envelope", "the statement is not over a record")
        return OpenedRecord(
            position, bytes(envelope), statement, parts.attestations, hash_record(statement.payload)
        )

    return in_step(position, "envelope", parse)


def signer_of(record: OpenedRecord, ring: KeyRing) -> RingKey:
    """Step `key`: the ledger key that signed it. Raises RecordCorrupt."""
    kid, position = record.statement.kid, record.position
    return in_step(position, "key", lambda: ring.signer("record", kid, position))


def require_signature(record: OpenedRecord, public_key: bytes) -> None:
    """Step `signature`. Raises RecordCorrupt."""
    statement = record.statement
    if not verify_ed25519(public_key, statement.to_be_signed, statement.signature):
        raise RecordCorrupt(record.position, "signature", "the Ed25519 signature does not verify")


def read_record(record: OpenedRecord, origin: str | None = None) -> RecordBody:
    """Step `schema`: reads the body and checks it against the signed header. Raises RecordCorrupt."""

    def refuse(rule: str) -> NoReturn:
        raise RecordCorrupt(record.position, "schema", rule)

    body = in_step(record.position, "schema", lambda: decode_body(record.statement.payload))
    if origin is not None and record.statement.origin != origin:
        refuse("the statement names another origin")
    if record.statement.subject != body.subject:
        refuse("the statement's subject is not the record's")
    return body


def leaf_of(envelope: bytes) -> bytes:
    """The ledger's leaf hash for an envelope."""
    return leaf_hash(entry_of(envelope))


def require_inclusion(record: OpenedRecord, tree_size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Step `inclusion`: the record is at its position in the tree. Raises RecordCorrupt."""
    position, leaf = record.position, leaf_of(record.envelope)
    in_step(position, "inclusion", lambda: check_inclusion(position, tree_size, leaf, root, proof))
