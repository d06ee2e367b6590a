"""What follows from the genesis hash alone: every key, and with the keys checkpoints, records and proofs.
Pure.

Source: docs/spec/keys.md, docs/spec/ledger.md. The server that gave the records is not trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from ..cose.receipt import parse_receipt, receipt_subject
from ..cose.statement import key_thumbprint, to_be_signed
from ..crypto import verify_ed25519
from ..errors import ForkError, MalformedCheckpoint, MalformedCose
from ..keys.ring import KeyRing, RingKey
from ..merkle.checkpoint import Checkpoint, parse_checkpoint, verify_checkpoint
from ..merkle.note import parse_note
from ..merkle.proof import ProofRefused, check_consistency, check_inclusion, leaf_hash, root_of_path
from ..merkle.tlog_proof import parse_tlog_proof
from ..record.body import RecordBody
from .grounds import log_at
from .key_walk import KeyRecord, walk_records
from .opening import open_record, read_record, require_inclusion, require_signature, signer_of


@dataclass(frozen=True)
class RecordEvidence:
    """A record with its proof, as `GetInclusionProof` and `VerifyFrozenChain` give them."""

    position: int
    envelope: bytes
    checkpoint: str
    """A signed note."""
    inclusion_proof: tuple[bytes, ...]
    """From the leaf's sibling to the root's child."""
    key_records: tuple[KeyRecord, ...] = ()
    """Genesis, and all that announces or retires a key; not needed where the keys were walked before."""


@dataclass(frozen=True)
class VerifiedRecord:
    """A record at its position, signed by the key valid there."""

    position: int
    hash: bytes
    body: RecordBody
    attestations: tuple[bytes, ...]
    """COSE_Sign1 statements of witnesses, not verified here: `count_attestations` does."""
    signed_by: RingKey


@dataclass(frozen=True)
class VerifiedTree:
    size: int
    root: bytes
    checkpoint: str


@dataclass(frozen=True)
class Inclusion:
    """Where a verified proof says that an entry stands."""

    leaf_index: int
    tree_size: int
    root: bytes


class KeyWalk:
    """The keys of a deployment, derived from its genesis record. After a later rotation, walk again."""

    def __init__(self, origin: str, ring: KeyRing, records: int) -> None:
        self.origin = origin
        self.records = records
        """How many records say what keys there are: of two walks from one genesis the longer one is the newer."""
        self._ring = ring
        self._verified: VerifiedTree | None = None

    @staticmethod
    def of(genesis: bytes, records: Sequence[KeyRecord]) -> KeyWalk:
        """Walks stored records: genesis, then every `signing_key` and `key_retirement` record in ledger
        order.

        `genesis` is the hash of the genesis record, 32 bytes, from a trusted channel. Raises ProofError
        naming the position and the rule.
        """
        if not isinstance(genesis, bytes) or len(genesis) != 32:
            raise ValueError("genesis must be the 32 bytes of the genesis record's hash")
        walked = walk_records(genesis, records)
        return KeyWalk(walked.origin, walked.ring, len(records))

    @property
    def keys(self) -> tuple[RingKey, ...]:
        """Oldest first within each role."""
        return self._ring.keys

    def verify_checkpoint(self, note: str) -> VerifiedTree:
        """Verifies with the key that is valid and trusted at the checkpoint's size. Raises ProofError."""
        # Many proofs share one checkpoint.
        if self._verified is not None and self._verified.checkpoint == note:
            return self._verified
        checkpoint = self._verified_at(note)
        self._verified = VerifiedTree(checkpoint.size, checkpoint.root, note)
        return self._verified

    def verify_growth(
        self, known: VerifiedTree, checkpoint: str, consistency_proof: Sequence[bytes]
    ) -> VerifiedTree:
        """A newer checkpoint whose tree begins with the known one.

        Raises ForkError if it does not: the two checkpoints together prove it. Raises ProofError if it does
        not verify.
        """
        newer = self.verify_checkpoint(checkpoint)
        try:
            check_consistency(known.size, newer.size, known.root, newer.root, consistency_proof)
        except ProofRefused as refused:
            raise ForkError(known.checkpoint, checkpoint, refused.rule) from refused
        return newer

    def verify_record(self, evidence: RecordEvidence) -> VerifiedRecord:
        """Signature, key, schema, inclusion in the tree, and the tree's checkpoint. Raises ProofError."""
        record = open_record(evidence.position, evidence.envelope)
        key = signer_of(record, self._ring)
        require_signature(record, key.public_key)
        body = read_record(record, self.origin)
        tree = self.verify_checkpoint(evidence.checkpoint)
        require_inclusion(record, tree.size, tree.root, evidence.inclusion_proof)
        return VerifiedRecord(record.position, record.hash, body, record.attestations, key)

    def verify_leaf(
        self, position: int, leaf: bytes, checkpoint: str, inclusion_proof: Sequence[bytes]
    ) -> None:
        """A leaf's place in the tree of a checkpoint: all that is left of an erased record. Raises
        ProofError.
        """
        tree = self.verify_checkpoint(checkpoint)
        check_inclusion(position, tree.size, leaf, tree.root, inclusion_proof)

    def verify_receipt(self, receipt: bytes, entry: bytes) -> Inclusion:
        """A COSE receipt (RFC 9942) for a ledger entry, SHA-256 of a record's envelope. Raises ProofError."""

        def refuse(rule: str) -> NoReturn:
            raise MalformedCose(f"receipt: {rule}")

        parsed = parse_receipt(receipt)
        log = log_at(self._ring, self.origin, parsed.tree_size)
        if parsed.origin != self.origin:
            refuse("origin must be the one expected")
        if parsed.kid != key_thumbprint(log.public_key):
            refuse("must be signed by the log's key")
        if parsed.subject != receipt_subject(parsed.tree_size):
            refuse("the path must be of the tree that was signed")
        try:
            root = root_of_path(parsed.leaf_index, parsed.tree_size, leaf_hash(entry), parsed.proof)
        except ProofRefused as refused:
            refuse(refused.rule)
        if not verify_ed25519(log.public_key, to_be_signed(parsed.protected, root), parsed.signature):
            refuse("the signature must verify")
        return Inclusion(parsed.leaf_index, parsed.tree_size, root)

    def verify_tlog_proof(self, text: str, entry: bytes) -> Inclusion:
        """A C2SP tlog-proof for a ledger entry, SHA-256 of a record's envelope. Raises ProofError."""
        parsed = parse_tlog_proof(text)
        checkpoint = self._verified_at(parsed.checkpoint)
        leaf = leaf_hash(entry)
        try:
            check_inclusion(parsed.leaf_index, checkpoint.size, leaf, checkpoint.root, parsed.proof)
        except ProofRefused as refused:
            raise MalformedCheckpoint(f"tlog-proof: {refused.rule}") from refused
        return Inclusion(parsed.leaf_index, checkpoint.size, checkpoint.root)

    def _verified_at(self, note: str) -> Checkpoint:
        size = parse_checkpoint(parse_note(note).text).size
        return verify_checkpoint(note, log_at(self._ring, self.origin, size))
