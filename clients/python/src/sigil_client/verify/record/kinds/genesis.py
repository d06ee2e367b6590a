"""Payload of `genesis`, the record at position 0: the root of trust. Pure. Source: docs/spec/record.md §6."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...cbor import CborMap, CborValue
from ...limits import ATTESTATIONS_MAX
from ..fields import distinct, exact_map, list_field, public_key_field, refuse_field, text_field
from ..names import owner_name, record_id_fault
from .governance import PRINCIPAL_KEYS, WITNESS_KEYS, WitnessPayload, read_k, read_principal, read_witness
from .trust_model import parse_trust_model

_PATH: Final = "payload"


@dataclass(frozen=True)
class GenesisPayload:
    origin: str
    witnesses: tuple[tuple[str, WitnessPayload], ...]
    k: int
    record_key: bytes
    checkpoint_key: bytes


def _read_id(fields: CborMap, path: str) -> str:
    record_id = text_field(fields, path, "id")
    fault = record_id_fault(record_id)
    return record_id if fault is None else refuse_field(path, "id", fault)


def _read_named_witness(item: CborValue, path: str) -> tuple[str, WitnessPayload]:
    fields = exact_map(item, path, ("id", *WITNESS_KEYS))
    text_field(fields, path, "owner")
    return _read_id(fields, path), read_witness(fields, path)


def parse_genesis(payload: CborValue) -> GenesisPayload:
    """Raises MalformedRecord naming the field. Witness ids, witness keys and the two signing keys are
    distinct.
    """
    keys = ("format", "origin", "root", "witnesses", "k", "model", "keys")
    fields = exact_map(payload, _PATH, keys)
    if fields["format"] != 1 or not _is_integer(fields["format"]):
        refuse_field(_PATH, "format", "must be 1")
    root = exact_map(fields["root"], "payload.root", ("id", *PRINCIPAL_KEYS))
    signing = exact_map(fields["keys"], "payload.keys", ("record", "checkpoint"))
    witnesses = list_field(fields, _PATH, "witnesses", _read_named_witness, ATTESTATIONS_MAX)
    record_key = public_key_field(signing, "payload.keys", "record")
    checkpoint_key = public_key_field(signing, "payload.keys", "checkpoint")
    distinct([each for each, _ in witnesses], "payload.witnesses", "must have distinct ids")
    # Otherwise the operator could attest for itself.
    public_keys = [record_key, checkpoint_key, *(witness.public_key for _, witness in witnesses)]
    distinct(public_keys, "payload.witnesses", "and signing keys must all be distinct keys")
    # Two witnesses of one owner would not be independent.
    owners = [owner_name(witness.owner) for _, witness in witnesses]
    distinct(owners, "payload.witnesses", "must have distinct owners")
    origin = text_field(fields, _PATH, "origin")
    _read_id(root, "payload.root")
    read_principal(root, "payload.root")
    k = read_k(fields, _PATH, len(witnesses))
    parse_trust_model(fields["model"], "payload.model")
    return GenesisPayload(origin, tuple(witnesses), k, record_key, checkpoint_key)


def _is_integer(value: CborValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
