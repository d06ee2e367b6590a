"""Evidence files: a record and whatever proves it. Pure; what is parsed is not verified. Source:
docs/spec/verify.md §1.

At most 16 MiB and 4,096 records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from ..cbor import CborMap, CborValue, decode, encode
from ..limits import EVIDENCE_BYTES_MAX
from ..record.fields import (
    bytes_field,
    exact_map,
    hash_field,
    list_field,
    refuse_field,
    text_field,
    uint64_field,
    uint_field,
)

_VERSION: Final = 1
_PATH: Final = "evidence"
_KEYS: Final = ("version", "origin", "position", "checkpoint", "nodes", "records")


@dataclass(frozen=True)
class ProvenRecord:
    """A record as the ledger holds it, and the path from its leaf to the root of the file's checkpoint."""

    position: int
    envelope: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True)
class Evidence:
    origin: str
    position: int
    """Of the record that is proved."""
    checkpoint: str
    """The signed note, with its cosignatures."""
    records: tuple[ProvenRecord, ...]
    """In ledger order, genesis first."""
    disclosures: bytes | None = None
    """The canonical map that stands beside the record's envelope, if it is disclosed."""


def _refuse(name: str, rule: str) -> NoReturn:
    refuse_field(_PATH, name, rule)


def _read_node(item: CborValue, path: str) -> bytes:
    return hash_field({"node": item}, path, "node")


def _read_index(item: CborValue, path: str) -> int:
    return uint_field({"index": item}, path, "index")


@dataclass(frozen=True)
class _Indexed:
    position: int
    envelope: bytes
    indexes: list[int]


def _read_record(item: CborValue, path: str) -> _Indexed:
    fields = exact_map(item, path, ("position", "envelope", "path"))
    return _Indexed(
        position=uint64_field(fields, path, "position"),
        envelope=bytes_field(fields, path, "envelope"),
        indexes=list_field(fields, path, "path", _read_index),
    )


def _check_nodes(nodes: Sequence[bytes], paths: Sequence[Sequence[int]]) -> None:
    """Each node is there once, because a path needs it, and in the order of that need: one file for one
    evidence.
    """
    if len(set(nodes)) != len(nodes):
        _refuse("nodes", "must be distinct")
    needed = 0
    for index in (index for path in paths for index in path):
        if index > needed or index >= len(nodes):
            _refuse("nodes", "must stand in the order in which paths name them")
        if index == needed:
            needed += 1
    if needed < len(nodes):
        _refuse("nodes", "must each be named by a path")


def _check_records(position: int, records: Sequence[ProvenRecord]) -> None:
    if not records or records[0].position != 0:
        _refuse("records", "must begin with position 0, the genesis record")
    for index in range(1, len(records)):
        if records[index].position <= records[index - 1].position:
            _refuse(f"records[{index}]", "must stand at a position after the one before")
    if all(record.position != position for record in records):
        _refuse("position", "must be that of one of the records")


def parse_evidence(data: bytes) -> Evidence:
    """Strict: `format_evidence` of the result is the bytes. Raises MalformedCbor, MalformedRecord naming the
    field.
    """
    fields = exact_map(decode(data, EVIDENCE_BYTES_MAX), _PATH, _KEYS, ("disclosures",))
    if uint_field(fields, _PATH, "version") != _VERSION:
        _refuse("version", f"must be {_VERSION}")
    nodes = list_field(fields, _PATH, "nodes", _read_node)
    read = list_field(fields, _PATH, "records", _read_record)
    _check_nodes(nodes, [record.indexes for record in read])
    records = tuple(
        ProvenRecord(each.position, each.envelope, tuple(nodes[index] for index in each.indexes))
        for each in read
    )
    evidence = Evidence(
        origin=text_field(fields, _PATH, "origin"),
        position=uint64_field(fields, _PATH, "position"),
        checkpoint=text_field(fields, _PATH, "checkpoint"),
        records=records,
        disclosures=bytes_field(fields, _PATH, "disclosures") if "disclosures" in fields else None,
    )
    _check_records(evidence.position, records)
    return evidence


def format_evidence(evidence: Evidence) -> bytes:
    """One evidence has one encoding. Raises UnencodableValue past the limits, MalformedRecord."""
    _check_records(evidence.position, evidence.records)
    indexes: dict[bytes, int] = {}
    records: list[CborValue] = []
    for record in evidence.records:
        path: list[CborValue] = [indexes.setdefault(node, len(indexes)) for node in record.proof]
        records.append({"position": record.position, "envelope": record.envelope, "path": path})
    value: CborMap = {
        "version": _VERSION,
        "origin": evidence.origin,
        "position": evidence.position,
        "checkpoint": evidence.checkpoint,
        "nodes": list(indexes),
        "records": records,
    }
    if evidence.disclosures is not None:
        value["disclosures"] = evidence.disclosures
    return encode(value, EVIDENCE_BYTES_MAX)
