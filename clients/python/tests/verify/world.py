"""A small ledger of our own making: keys from seeds, signed records, the tree, checkpoints and proofs.

Made with the definitions of docs/spec in their plainest form: the tree is hashed anew for every proof.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigil_client.verify import KeyRecord, RecordEvidence
from sigil_client.verify.cbor import CborValue
from sigil_client.verify.cose.receipt import Receipt, encode_receipt, encode_receipt_header, receipt_subject
from sigil_client.verify.cose.statement import (
    ATTESTATION_CONTENT_TYPE,
    RECORD_CONTENT_TYPE,
    ProtectedHeader,
    encode_protected,
    encode_statement,
    key_thumbprint,
    to_be_signed,
)
from sigil_client.verify.evidence.file import Evidence, ProvenRecord, format_evidence
from sigil_client.verify.merkle.checkpoint import Checkpoint, cosignature_message, format_checkpoint
from sigil_client.verify.merkle.note import NoteSignature, format_note, key_id_of
from sigil_client.verify.merkle.proof import leaf_hash, root_of_leaves
from sigil_client.verify.record.attestation import Attestation, encode_attestation
from sigil_client.verify.record.body import Link, RecordBody, encode_body, encode_envelope, hash_record

ORIGIN = "ledger.example/main"
TS = 1_700_000_000_000


@dataclass(frozen=True)
class Key:
    """From a seed: the same key in every run."""

    name: str

    @property
    def private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(self.name.encode()).digest())

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)


def statement(key: Key, content_type: str, subject: str, payload: bytes, origin: str = ORIGIN) -> bytes:
    protected = encode_protected(ProtectedHeader(content_type, key_thumbprint(key.public), origin, subject))
    return encode_statement(protected, payload, key.sign(to_be_signed(protected, payload)))


def attest(key: Key, attestation: Attestation, origin: str = ORIGIN) -> bytes:
    payload = encode_attestation(attestation)
    return statement(key, ATTESTATION_CONTENT_TYPE, attestation.proposal, payload, origin)


MODEL: dict[str, CborValue] = {
    "bias": 0.5,
    "weights": {"action_risk": -4, "target_sensitivity": -2, "level": 6, "rate": -2, "entropy": -1},
    "threshold": 0.6,
    "review": {"low": 0.55, "high": 0.7},
    "actions": {
        "notes.*": {"risk": 0.75, "min_loa": "operator"},
        "notes.append": {"risk": 0.5, "min_loa": "observer"},
    },
    "targets": {"user/**": 0.5, "user/*/notes/**": 0.25},
    "rate": {"window_ms": 60000, "limit": 20},
}


def system_body(kind: str, record_id: str, payload: CborValue, **but: Any) -> RecordBody:
    return replace(RecordBody(kind, 1, record_id, "system", TS, "system", payload, (), None), **but)


def genesis_body(witnesses: Sequence[Key]) -> RecordBody:
    return system_body(
        "genesis",
        "genesis",
        {
            "format": 1,
            "origin": ORIGIN,
            "root": {
                "id": "root",
                "public_keys": [Key("root").public],
                "loa": "root",
                "tenant": "system",
                "active": True,
            },
            "witnesses": [
                {
                    "id": key.name,
                    "public_key": key.public,
                    "owner": f"owner {key.name}",
                    "authority": "",
                    "description": "",
                }
                for key in witnesses
            ],
            "k": min(2, len(witnesses)),
            "model": MODEL,
            "keys": {"record": Key("record").public, "checkpoint": Key("checkpoint").public},
        },
    )


@dataclass
class Ledger:
    """Begins with genesis. `record_key` and `checkpoint_key` sign what comes."""

    witnesses: tuple[Key, ...] = (Key("w1"), Key("w2"), Key("w3"))
    record_key: Key = Key("record")
    checkpoint_key: Key = Key("checkpoint")
    envelopes: list[bytes] = field(default_factory=list)
    bodies: list[RecordBody] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.append(genesis_body(self.witnesses))

    @property
    def genesis(self) -> bytes:
        return self.hash_at(0)

    def hash_at(self, position: int) -> bytes:
        return hash_record(encode_body(self.bodies[position]))

    def append(self, body: RecordBody, signer: Key | None = None, origin: str = ORIGIN) -> int:
        """Gives the position."""
        payload = encode_body(body)
        signed = statement(signer or self.record_key, RECORD_CONTENT_TYPE, body.subject, payload, origin)
        self.envelopes.append(encode_envelope(signed, []))
        self.bodies.append(body)
        return len(self.envelopes) - 1

    def rotate(self, role: str, key: Key, serial: int = 2) -> int:
        position = len(self.envelopes)
        payload: CborValue = {"role": role, "public_key": key.public, "valid_from": position + 1}
        self.append(system_body("signing_key", f"signing_key/{role}/{serial}", payload))
        if role == "record":
            self.record_key = key
        else:
            self.checkpoint_key = key
        return position

    def retire(self, role: str, key: Key, at: int) -> int:
        name = base64.urlsafe_b64encode(key_thumbprint(key.public)).decode().rstrip("=")
        payload: CborValue = {"role": role, "public_key": key.public, "from": at}
        return self.append(system_body("key_retirement", f"key_retirement/{name}", payload))

    @property
    def key_records(self) -> tuple[KeyRecord, ...]:
        kinds = ("genesis", "signing_key", "key_retirement")
        return tuple(
            KeyRecord(position, self.envelopes[position])
            for position, body in enumerate(self.bodies)
            if body.kind in kinds
        )

    def leaves(self, size: int | None = None) -> list[bytes]:
        return [leaf_hash(hashlib.sha256(envelope).digest()) for envelope in self.envelopes[:size]]

    def checkpoint(
        self, size: int | None = None, cosigners: Sequence[Key] = (), signer: Key | None = None
    ) -> str:
        leaves = self.leaves(size)
        text = format_checkpoint(Checkpoint(ORIGIN, len(leaves), root_of_leaves(leaves)))
        key = signer or self.checkpoint_key
        lines = [NoteSignature(ORIGIN, key_id_of(ORIGIN, 1, key.public), key.sign(text.encode()))]
        for cosigner in cosigners:
            name = f"{cosigner.name}.example"
            blob = (5).to_bytes(8, "big") + cosigner.sign(cosignature_message(text, 5))
            lines.append(NoteSignature(name, key_id_of(name, 4, cosigner.public), blob))
        return format_note(text, lines)

    def inclusion(self, position: int, size: int | None = None) -> tuple[bytes, ...]:
        return tuple(_path(position, self.leaves(size)))

    def consistency(self, old_size: int) -> list[bytes]:
        return _subproof(old_size, self.leaves(), is_known=True) if old_size > 0 else []

    def evidence_of(self, position: int, **but: Any) -> RecordEvidence:
        evidence = RecordEvidence(
            position, self.envelopes[position], self.checkpoint(), self.inclusion(position), self.key_records
        )
        return replace(evidence, **but)

    def file_of(self, position: int, others: Sequence[int] = (), disclosures: bytes | None = None) -> bytes:
        of_keys = [record.position for record in self.key_records]
        records = tuple(
            ProvenRecord(each, self.envelopes[each], self.inclusion(each))
            for each in sorted({position, *of_keys, *others})
        )
        return format_evidence(Evidence(ORIGIN, position, self.checkpoint(), records, disclosures))

    def receipt_of(self, position: int, **but: Any) -> bytes:
        size, key = len(self.envelopes), self.checkpoint_key
        protected = encode_receipt_header(key_thumbprint(key.public), ORIGIN, receipt_subject(size))
        signature = key.sign(to_be_signed(protected, root_of_leaves(self.leaves())))
        receipt = Receipt(b"", "", "", size, position, self.inclusion(position), protected, signature)
        return encode_receipt(replace(receipt, **but))

    def tlog_proof_of(self, position: int) -> str:
        path = "".join(base64.b64encode(node).decode() + "\n" for node in self.inclusion(position))
        return f"c2sp.org/tlog-proof@v1\nindex {position}\n{path}\n{self.checkpoint()}"


def _split(count: int) -> int:
    return 1 << ((count - 1).bit_length() - 1)


def _path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.1."""
    if len(leaves) == 1:
        return []
    middle = _split(len(leaves))
    if index < middle:
        return [*_path(index, leaves[:middle]), root_of_leaves(leaves[middle:])]
    return [*_path(index - middle, leaves[middle:]), root_of_leaves(leaves[:middle])]


def _subproof(size: int, leaves: Sequence[bytes], *, is_known: bool) -> list[bytes]:
    """RFC 6962 §2.1.2."""
    if size == len(leaves):
        return [] if is_known else [root_of_leaves(leaves)]
    middle = _split(len(leaves))
    if size <= middle:
        return [*_subproof(size, leaves[:middle], is_known=is_known), root_of_leaves(leaves[middle:])]
    return [*_subproof(size - middle, leaves[middle:], is_known=False), root_of_leaves(leaves[:middle])]


def decision_body(
    model: bytes,
    principal: bytes | None = None,
    *,
    audit_id: str = "decision-1",
    **but: Any,
) -> RecordBody:
    """The worked example of docs/spec/trust.md §9, as a record. `but` replaces keys of the payload."""
    payload: dict[str, CborValue] = {
        "request": {
            "action": "notes.append",
            "target": "user/ann/notes/today",
            "subject": "ann",
            "caller": "ann",
            "loa": "operator",
            "input": hashlib.sha256(b"commitment").digest(),
            "metadata": {},
        },
        "features": {
            "action_risk": 0.5,
            "target_sensitivity": 0.25,
            "level": 0.5,
            "rate": 0.25,
            "entropy": 0.2733380432387531,
        },
        "contributions": {
            "action_risk": -2,
            "target_sensitivity": -0.5,
            "level": 3,
            "rate": -0.5,
            "entropy": -0.2733380432387531,
        },
        "model": "trust_model/active",
        "z": 0.2266619567612469,
        "threshold": 0.6,
        "review": {"low": 0.55, "high": 0.7},
        "verdict": "review",
        "reason": "REVIEW_BAND",
        "duration_us": 120,
        "caller_seq": 1,
    }
    payload.update(but)
    links = [Link("model", model)] + ([] if principal is None else [Link("principal", principal)])
    return RecordBody("frozen_chain", 2, audit_id, "acme", TS, "user", payload, tuple(links), None)
