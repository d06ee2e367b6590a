"""Payloads of `tombstone`, `schema`, `attestation`, `proposal`, `proposal_ending`, `flip_report`. Pure.

Source: docs/spec/record.md §6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...cbor import CborValue
from ...limits import FLIP_DECISIONS_MAX, PROPOSAL_WITH_MAX
from ..fields import (
    any_map,
    any_text_field,
    bytes_field,
    exact_map,
    hash_field,
    hash_or_null_field,
    list_field,
    one_of_field,
    refuse_field,
    text_field,
    uint64_field,
    uint_field,
)
from .frozen_chain import VERDICTS

ATTESTATION_ROLES: Final = ("approve", "reject", "possession")
PROPOSAL_COMMITS: Final = ("auto", "separate")
PROPOSAL_OUTCOMES: Final = ("committed", "rejected", "withdrawn", "expired", "superseded")

_PATH: Final = "payload"


@dataclass(frozen=True)
class ProposalPayload:
    """`body` is the exact body that would be committed, not decoded here."""

    body: bytes
    further: tuple[bytes, ...]
    epoch: int
    proposer: str


def parse_tombstone(payload: CborValue) -> None:
    text_field(exact_map(payload, _PATH, ("kind",)), _PATH, "kind")


def parse_schema(payload: CborValue) -> None:
    """That `schema` is a JSON Schema is checked where it is proposed."""
    fields = exact_map(payload, _PATH, ("kind", "schema"))
    text_field(fields, _PATH, "kind")
    any_map(fields["schema"], "payload.schema")


def parse_attestation_record(payload: CborValue) -> None:
    fields = exact_map(payload, _PATH, ("proposal", "witness", "role", "statement"))
    if bytes_field(fields, _PATH, "statement") == b"":
        refuse_field(_PATH, "statement", "must not be empty")
    text_field(fields, _PATH, "proposal")
    text_field(fields, _PATH, "witness")
    one_of_field(fields, _PATH, "role", ATTESTATION_ROLES)


def _read_body(item: CborValue, path: str) -> bytes:
    if isinstance(item, bytes) and item != b"":
        return item
    refuse_field(path, "", "must be a non-empty byte string")


def parse_proposal(payload: CborValue) -> ProposalPayload:
    keys = ("body", "with", "base", "epoch", "expires_ts", "proposer", "reason", "commit")
    fields = exact_map(payload, _PATH, keys)
    body = bytes_field(fields, _PATH, "body")
    if body == b"":
        refuse_field(_PATH, "body", "must not be empty")
    further = list_field(fields, _PATH, "with", _read_body, PROPOSAL_WITH_MAX)
    hash_or_null_field(fields, _PATH, "base")
    epoch = uint_field(fields, _PATH, "epoch")
    uint_field(fields, _PATH, "expires_ts")
    proposer = text_field(fields, _PATH, "proposer")
    any_text_field(fields, _PATH, "reason")
    one_of_field(fields, _PATH, "commit", PROPOSAL_COMMITS)
    return ProposalPayload(body, tuple(further), epoch, proposer)


def parse_proposal_ending(payload: CborValue) -> None:
    fields = exact_map(payload, _PATH, ("proposal", "outcome", "reason"))
    text_field(fields, _PATH, "proposal")
    one_of_field(fields, _PATH, "outcome", PROPOSAL_OUTCOMES)
    any_text_field(fields, _PATH, "reason")


def _read_flip(item: CborValue, path: str) -> int:
    fields = exact_map(item, path, ("position", "record", "from", "to"))
    before = one_of_field(fields, path, "from", VERDICTS)
    if one_of_field(fields, path, "to", VERDICTS) == before:
        refuse_field(path, "to", "must differ from the recorded verdict")
    position = uint64_field(fields, path, "position")
    hash_field(fields, path, "record")
    return position


def parse_flip_report(payload: CborValue) -> None:
    fields = exact_map(payload, _PATH, ("proposal", "model", "size", "scored", "erased", "flips"))
    below = uint64_field(fields, _PATH, "size")
    scored = uint_field(fields, _PATH, "scored", 0, FLIP_DECISIONS_MAX)
    for index, position in enumerate(list_field(fields, _PATH, "flips", _read_flip, scored)):
        if position >= below:
            rule = "must be below the size and the position before"
            refuse_field(f"payload.flips[{index}]", "position", rule)
        below = position
    text_field(fields, _PATH, "proposal")
    hash_field(fields, _PATH, "model")
    uint_field(fields, _PATH, "erased")
