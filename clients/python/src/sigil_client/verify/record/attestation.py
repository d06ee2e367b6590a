"""What a witness signs about a proposal. Pure. Source: docs/spec/record.md §4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..cbor import decode, encode
from ..cose.statement import ATTESTATION_CONTENT_TYPE, Statement, parse_statement
from ..crypto import sha256
from ..errors import MalformedCose
from .fields import exact_map, hash_field, one_of_field, refuse_field, text_field, uint_field
from .names import record_id_fault

ATTESTATION_VERDICTS: Final = ("approve", "reject")

_PATH: Final = "attestation"


@dataclass(frozen=True)
class Attestation:
    proposal: str
    """The proposal's id; also the subject of the statement."""
    record: bytes
    """Hash of the body that would be committed."""
    epoch: int
    """Version of the witness registry."""
    verdict: str


@dataclass(frozen=True)
class AttestationStatement:
    statement: Statement
    attestation: Attestation
    digest: bytes
    """SHA-256 of the statement."""


def encode_attestation(attestation: Attestation) -> bytes:
    """The payload of an attestation statement. Raises MalformedRecord naming the field."""
    encoded = encode(
        {
            "proposal": attestation.proposal,
            "record": attestation.record,
            "epoch": attestation.epoch,
            "verdict": attestation.verdict,
        }
    )
    decode_attestation(encoded)
    return encoded


def decode_attestation(data: bytes) -> Attestation:
    """Raises MalformedCbor with the offset, MalformedRecord naming the field."""
    fields = exact_map(decode(data), _PATH, ("proposal", "record", "epoch", "verdict"))
    proposal = text_field(fields, _PATH, "proposal")
    fault = record_id_fault(proposal)
    if fault is not None:
        refuse_field(_PATH, "proposal", fault)
    return Attestation(
        proposal=proposal,
        record=hash_field(fields, _PATH, "record"),
        epoch=uint_field(fields, _PATH, "epoch"),
        verdict=one_of_field(fields, _PATH, "verdict", ATTESTATION_VERDICTS),
    )


def parse_attestation_statement(data: bytes) -> AttestationStatement:
    """Verifies no signature. Raises MalformedCose, MalformedCbor or MalformedRecord."""
    statement = parse_statement(data)
    if statement.content_type != ATTESTATION_CONTENT_TYPE:
        raise MalformedCose(f"content type must be {ATTESTATION_CONTENT_TYPE}")
    attestation = decode_attestation(statement.payload)
    if statement.subject != attestation.proposal:
        raise MalformedCose("subject must be the proposal that the payload names")
    return AttestationStatement(statement, attestation, sha256(data))
