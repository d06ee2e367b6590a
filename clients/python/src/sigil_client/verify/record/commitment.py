"""Values that a record commits to in its signed body and discloses beside its envelope. Pure.

Source: docs/spec/record.md §7. A withheld value cannot be guessed, a disclosed one cannot be another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..cbor import CborValue, encode
from ..crypto import sha256
from .body import RecordBody
from .fields import any_map, bytes_field, exact_map, hash_field, refuse_field, uint_field
from .kinds.frozen_chain import parse_frozen_chain
from .kinds.modules import parse_module_run

SALT_BYTES: Final = 32
_DOMAIN: Final = "sigil/commitment/v1"


@dataclass(frozen=True)
class Opening:
    """What opens a commitment. `raw` are bytes whose digest and length are the value, when they were kept."""

    salt: bytes
    value: CborValue
    raw: bytes | None


@dataclass(frozen=True)
class Digested:
    digest: bytes
    length: int
    """In bytes."""


Disclosures = dict[str, Opening]
"""By the path of the value in its payload, such as `input` and `context/<name>`."""


def commit_to(path: str, salt: bytes, value: CborValue) -> bytes:
    """The path is inside, so that an opening does not fit another field."""
    return sha256(encode([_DOMAIN, path, salt, value]))


def parse_digest_value(value: CborValue, path: str) -> Digested:
    """Raises MalformedRecord."""
    if not isinstance(value, list) or len(value) != 2:
        refuse_field(path, "", "must be an array of a digest and a length")
    fields: dict[str, CborValue] = {"digest": value[0], "bytes": value[1]}
    return Digested(hash_field(fields, path, "digest"), uint_field(fields, path, "bytes"))


def _commitments_in(body: RecordBody) -> dict[str, bytes]:
    """The commitments of a record by path; none in a kind or a version that makes none."""
    if body.schema_version != 2:
        return {}
    if body.kind == "module_run":
        run = parse_module_run(body.payload)
        return {"input": run.input} if run.output is None else {"input": run.input, "output": run.output}
    if body.kind == "frozen_chain":
        chain = parse_frozen_chain(body.payload)
        facts = {f"context/{name}": commitment for name, commitment in chain.context.items()}
        return {"input": chain.input, **facts}
    return {}


def _read_opening(value: CborValue, path: str) -> Opening:
    fields = exact_map(value, path, ("salt", "value"), ("raw",))
    salt = bytes_field(fields, path, "salt")
    if len(salt) != SALT_BYTES:
        refuse_field(path, "salt", f"must be {SALT_BYTES} bytes")
    if "raw" not in fields:
        return Opening(salt, fields["value"], None)
    raw = bytes_field(fields, path, "raw")
    digested = parse_digest_value(fields["value"], f"{path}.value")
    if len(raw) != digested.length or sha256(raw) != digested.digest:
        refuse_field(path, "raw", "must have the digest and the length of the value")
    return Opening(salt, fields["value"], raw)


def read_disclosures(value: CborValue, body: RecordBody) -> Disclosures:
    """Reads disclosures, and checks each against what the body commits to. Raises MalformedRecord naming the
    one.
    """
    commitments = _commitments_in(body)
    openings: Disclosures = {}
    for path, item in any_map(value, "disclosures").items():
        opening = _read_opening(item, f"disclosures.{path}")
        if path not in commitments:
            refuse_field("disclosures", path, "is committed to by nothing")
        if commit_to(path, opening.salt, opening.value) != commitments[path]:
            refuse_field("disclosures", path, "is not what the record commits to")
        openings[path] = opening
    return openings
