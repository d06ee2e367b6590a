"""Derives the key ring from the genesis record's hash alone. Pure. Source: docs/spec/keys.md §4.

Each key record is verified with the ring of its predecessors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import RecordCorrupt
from ..keys.ring import KeyRing, apply_key_record, is_key_record
from ..record.body import RecordBody
from ..record.kinds.genesis import parse_genesis
from .opening import OpenedRecord, in_step, open_record, read_record, require_signature, signer_of


@dataclass(frozen=True)
class KeyRecord:
    """A record as the ledger holds it, as `ListKeyRecords` gives them."""

    position: int
    envelope: bytes


@dataclass(frozen=True)
class Walked:
    ring: KeyRing
    origin: str


def _begin(genesis: bytes, first: OpenedRecord) -> Walked:
    if first.hash != genesis:
        rule = f"the genesis record is not the expected {genesis.hex()}"
        raise RecordCorrupt(0, "genesis", rule)
    body = read_record(first)
    ring = in_step(0, "schema", lambda: KeyRing.of_genesis(parse_genesis(body.payload)))
    require_signature(first, signer_of(first, ring).public_key)
    return Walked(ring, first.statement.origin)


def walk_opened(genesis: bytes, records: Sequence[OpenedRecord]) -> Walked:
    """Genesis first, then every announcement and retirement, in ledger order. Raises RecordCorrupt."""
    if not records or records[0].position != 0:
        raise RecordCorrupt(0, "genesis", "the walk begins with the genesis record")
    walked = _begin(genesis, records[0])
    ring, last = walked.ring, 0
    for record in records[1:]:
        if record.position <= last:
            raise RecordCorrupt(record.position, "sequence", "the records are not in ledger order")
        last = record.position
        require_signature(record, signer_of(record, ring).public_key)
        body = read_record(record, walked.origin)
        if not is_key_record(body):
            rule = f"a {body.kind} record says nothing about keys"
            raise RecordCorrupt(record.position, "schema", rule)
        ring = _applied(ring, record.position, body)
    return Walked(ring, walked.origin)


def _applied(ring: KeyRing, position: int, body: RecordBody) -> KeyRing:
    return in_step(position, "schema", lambda: apply_key_record(ring, position, body))


def walk_records(genesis: bytes, records: Sequence[KeyRecord]) -> Walked:
    """`walk_opened` of stored records. Raises RecordCorrupt."""
    return walk_opened(genesis, [open_record(each.position, each.envelope) for each in records])
