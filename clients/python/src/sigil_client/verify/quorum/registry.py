"""The witness registry in force before a record: k, its witnesses, and where each key was enrolled. Pure.

Source: docs/spec/quorum.md §5. At most 64 witnesses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..cose.statement import key_thumbprint
from ..errors import MalformedRecord
from ..record.body import RecordBody
from ..record.kinds.governance import parse_quorum, parse_witness
from ..record.names import QUORUM_ID, WITNESS_PREFIX


@dataclass(frozen=True)
class EnrolledWitness:
    id: str
    public_key: bytes
    owner: str
    enrolled_at: int
    """Position of the witness record that made this key valid."""

    @property
    def thumbprint(self) -> bytes:
        return key_thumbprint(self.public_key)


@dataclass(frozen=True)
class Registry:
    k: int
    epoch: int
    proposer_may_attest: bool
    witnesses: tuple[EnrolledWitness, ...]

    @property
    def is_quorum(self) -> bool:
        """Whether k is possible; an impossible one never commits anything."""
        is_integer = isinstance(self.k, int) and not isinstance(self.k, bool)
        return is_integer and 1 <= self.k <= len(self.witnesses)


def registry_of(quorum: RecordBody, witnesses: Iterable[tuple[int, RecordBody]]) -> Registry:
    """From the `quorum` record in force, and the newest `witness` records below, each with its position.

    Raises MalformedRecord if a witness that the quorum names has no record, or has more than one.
    """
    if quorum.kind != "quorum" or quorum.space != "system" or quorum.id != QUORUM_ID:
        raise MalformedRecord("quorum", "must be the record of the registry")
    named = parse_quorum(quorum.payload)
    records: dict[str, list[tuple[int, RecordBody]]] = {}
    for position, body in witnesses:
        if body.kind == "witness" and body.space == "system":
            records.setdefault(body.id, []).append((position, body))
    enrolled: list[EnrolledWitness] = []
    for witness in named.witnesses:
        found = records.get(WITNESS_PREFIX + witness, [])
        if len(found) != 1:
            raise MalformedRecord(f"witness/{witness}", "must have the one record in force")
        (position, body), payload = found[0], parse_witness(found[0][1].payload)
        enrolled.append(EnrolledWitness(witness, payload.public_key, payload.owner, position))
    return Registry(named.k, named.epoch, named.proposer_may_attest, tuple(enrolled))
