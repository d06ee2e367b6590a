"""Verifies offline that a committed record carries its quorum. Pure. Source: docs/spec/quorum.md §4 and §8.

One signature for each attestation; nothing in an attestation makes it raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..cose.statement import key_thumbprint
from ..crypto import is_sound_public_key, verify_ed25519
from ..errors import ProofError
from ..limits import UINT64_MAX
from ..record.attestation import AttestationStatement, parse_attestation_statement
from ..record.names import WITNESS_PREFIX, owner_name
from .registry import EnrolledWitness, Registry


@dataclass(frozen=True)
class ProposalFacts:
    """From the proposal's record."""

    id: str
    position: int
    proposer: str


@dataclass(frozen=True)
class EnrolledKey:
    """The key that the record enrols, which must also have signed."""

    witness: str
    public_key: bytes


@dataclass(frozen=True)
class RefusedAttestation:
    index: int
    """In the envelope."""
    rule: str


@dataclass(frozen=True)
class Attested:
    """What the attestations of an envelope come to. True only if the quorum is reached."""

    proposal: str | None
    """What they are about; None if none is valid."""
    attested_by: tuple[str, ...]
    """Ids of the witnesses whose approval counts, in the order of the envelope."""
    possession: Literal["notNeeded", "missing", "given"]
    refused: tuple[RefusedAttestation, ...]
    """The other attestations, each with the first rule it breaks."""
    reached: bool

    def __bool__(self) -> bool:
        return self.reached


class _NotCounted(Exception):
    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


def _is_proposer(witness: EnrolledWitness, proposer: str) -> bool:
    name = owner_name(proposer)
    names = (owner_name(witness.id), owner_name(witness.owner), owner_name(WITNESS_PREFIX + witness.id))
    return name != "" and name in names


@dataclass
class _Count:
    record: bytes
    registry: Registry
    origin: str
    proposal: ProposalFacts | None
    enrols: EnrolledKey | None

    def __post_init__(self) -> None:
        self.about: str | None = None if self.proposal is None else self.proposal.id
        self.counted: list[EnrolledWitness] = []
        self.digests: list[bytes] = []
        self.possession: Literal["notNeeded", "missing", "given"] = (
            "notNeeded" if self.enrols is None else "missing"
        )

    def take(self, said: AttestationStatement) -> None:
        """Counts a statement. Raises _NotCounted with the first rule that it breaks, in the order of §4."""
        if said.attestation.verdict == "reject":
            raise _NotCounted("is a rejection")
        if not self.registry.is_quorum:
            raise _NotCounted("the registry in force has no k from 1 to its number of witnesses")
        self._check_content(said)
        witness = self._witness_of(said.statement.kid)
        if witness is None:
            self._take_possession(said)
        else:
            self._check_signature(witness.public_key, said)
            self._check_standing(witness, said)
            self.counted.append(witness)
        self.digests.append(said.digest)
        self.about = said.attestation.proposal

    def _check_content(self, said: AttestationStatement) -> None:
        about = said.attestation.proposal if self.about is None else self.about
        if said.statement.origin != self.origin:
            raise _NotCounted("is for another deployment")
        if said.statement.subject != about or said.attestation.proposal != about:
            raise _NotCounted("is for another proposal")
        if said.attestation.record != self.record:
            raise _NotCounted("is for another body than the one proposed")
        if said.attestation.epoch != self.registry.epoch:
            raise _NotCounted("is for another epoch of the registry than the one in force")

    def _witness_of(self, kid: bytes) -> EnrolledWitness | None:
        """The holder of the key; if two ids hold it, the one that has not attested, so that the second is
        refused.
        """
        holders = [witness for witness in self.registry.witnesses if witness.thumbprint == kid]
        free = [witness for witness in holders if witness not in self.counted]
        return next(iter([*free, *holders]), None)

    def _check_signature(self, public_key: bytes, said: AttestationStatement) -> None:
        if not is_sound_public_key(public_key):
            raise _NotCounted("is by a key that is malformed, not canonical or of small order")
        if not verify_ed25519(public_key, said.statement.to_be_signed, said.statement.signature):
            raise _NotCounted("has a signature that does not hold")

    def _check_standing(self, witness: EnrolledWitness, said: AttestationStatement) -> None:
        # Without the proposal's record every enrolment is earlier than it.
        position = UINT64_MAX + 1 if self.proposal is None else self.proposal.position
        if witness.enrolled_at >= position:
            raise _NotCounted("is by a key that was enrolled after the proposal")
        proposer = "" if self.proposal is None else self.proposal.proposer
        if not self.registry.proposer_may_attest and _is_proposer(witness, proposer):
            raise _NotCounted("is by the proposer itself")
        if said.digest in self.digests:
            raise _NotCounted("was given already, byte for byte")
        if any(other.id == witness.id for other in self.counted):
            raise _NotCounted("is the second by this witness in this epoch")
        if any(other.public_key == witness.public_key for other in self.counted):
            raise _NotCounted("is by a key that has attested under another witness id")
        if any(owner_name(other.owner) == owner_name(witness.owner) for other in self.counted):
            raise _NotCounted("is by a witness whose owner has attested through another")

    def _take_possession(self, said: AttestationStatement) -> None:
        """A statement by the key that the proposal enrols: it counts for nothing else."""
        if self.enrols is None or key_thumbprint(self.enrols.public_key) != said.statement.kid:
            raise _NotCounted("is by a key that no enrolled witness holds")
        self._check_signature(self.enrols.public_key, said)
        if said.digest in self.digests:
            raise _NotCounted("was given already, byte for byte")
        if self.possession == "given":
            raise _NotCounted("is the second by this witness in this epoch")
        self.possession = "given"


def count_attestations(
    record: bytes,
    attestations: Sequence[bytes],
    registry: Registry,
    origin: str,
    *,
    proposal: ProposalFacts | None = None,
    enrols: EnrolledKey | None = None,
) -> Attested:
    """Counts the attestations of a committed record under the registry in force before it.

    `record` is the hash of the committed body, `attestations` are those of its envelope. For a registry
    change the registry is the one before it, and `enrols` the key that it enrols. Without the facts of
    `proposal`, late enrolment and a proposer's own attestation go unnoticed, and the first valid statement
    says what all must be about.
    """
    count = _Count(record, registry, origin, proposal, enrols)
    refused: list[RefusedAttestation] = []
    for index, data in enumerate(attestations):
        try:
            count.take(parse_attestation_statement(data))
        except _NotCounted as dropped:
            refused.append(RefusedAttestation(index, dropped.rule))
        except ProofError as malformed:
            refused.append(RefusedAttestation(index, str(malformed)))
    is_enough = registry.is_quorum and len(count.counted) >= registry.k
    return Attested(
        proposal=count.about,
        attested_by=tuple(witness.id for witness in count.counted),
        possession=count.possession,
        refused=tuple(refused),
        reached=is_enough and count.possession != "missing",
    )
