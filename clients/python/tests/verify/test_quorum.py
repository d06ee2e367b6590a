"""That a committed record carries its quorum: who counts, who does not, why (docs/spec/quorum.md §4, §8)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from sigil_client.verify import (
    EnrolledKey,
    EnrolledWitness,
    MalformedRecord,
    ProposalFacts,
    Registry,
    count_attestations,
    registry_of,
)
from sigil_client.verify.cbor import CborValue
from sigil_client.verify.cose.statement import parse_statement
from sigil_client.verify.quorum.counting import Attested
from sigil_client.verify.record.attestation import Attestation

from .world import ORIGIN, Key, attest, system_body

_RECORD = b"\x32" * 32
_PROPOSAL = "proposal/0b1e"
_WITNESSES = tuple(
    EnrolledWitness(f"w{number}", Key(f"w{number}").public, f"owner {number}", number) for number in (1, 2, 3)
)
_REGISTRY = Registry(2, 3, False, _WITNESSES)
_FACTS = ProposalFacts(_PROPOSAL, 100, "alice")


def _said(number: int, origin: str = ORIGIN, **but: Any) -> bytes:
    said = replace(Attestation(_PROPOSAL, _RECORD, 3, "approve"), **but)
    return attest(Key(f"w{number}"), said, origin)


def _count(
    *attestations: bytes,
    registry: Registry = _REGISTRY,
    proposal: ProposalFacts | None = None,
    enrols: EnrolledKey | None = None,
) -> Attested:
    return count_attestations(_RECORD, attestations, registry, ORIGIN, proposal=proposal, enrols=enrols)


def test_k_witnesses_reach_the_quorum_and_fewer_do_not() -> None:
    reached = _count(_said(1), _said(3))
    assert reached == Attested(_PROPOSAL, ("w1", "w3"), "notNeeded", (), True)
    assert reached
    assert _count(_said(1), _said(2), _said(3))
    assert not _count(_said(1))
    assert _count() == Attested(None, (), "notNeeded", (), False)


def _flipped(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


@pytest.mark.parametrize(
    ("second", "rule"),
    [
        (_flipped(_said(2)), "has a signature that does not hold"),
        (_said(1), "was given already, byte for byte"),
        (_said(4), "is by a key that no enrolled witness holds"),
        (_said(2, record=b"\x33" * 32), "is for another body than the one proposed"),
        (_said(2, proposal="proposal/other"), "is for another proposal"),
        (_said(2, epoch=2), "is for another epoch of the registry than the one in force"),
        (_said(2, origin="other.example"), "is for another deployment"),
        (_said(2, verdict="reject"), "is a rejection"),
        (b"\1\2\3", "malformed COSE_Sign1: must begin with tag 18"),
        (b"", "malformed COSE_Sign1: must begin with tag 18"),
    ],
)
def test_an_attestation_that_breaks_a_rule_does_not_count_and_the_rule_is_named(
    second: bytes, rule: str
) -> None:
    counted = _count(_said(1), second)
    assert counted.attested_by == ("w1",)
    assert [(each.index, each.rule) for each in counted.refused] == [(1, rule)]
    assert not counted


def test_bad_attestations_among_good_ones_change_nothing() -> None:
    counted = _count(b"\1", _said(4, proposal="proposal/other"), _said(1), _said(2))
    assert counted
    assert [each.index for each in counted.refused] == [0, 1]


def test_what_the_proposals_record_says_is_held_against_them() -> None:
    both = (_said(1), _said(2))
    assert _count(*both, proposal=_FACTS)
    late = _count(*both, proposal=replace(_FACTS, position=2))
    assert (late.attested_by, late.reached) == (("w1",), False)
    assert late.refused[0].rule == "is by a key that was enrolled after the proposal"
    assert not _count(*both, proposal=replace(_FACTS, id="proposal/other"))


@pytest.mark.parametrize(
    "proposer", ["w2", " W2 ", "owner 2", "OWNER 2", "witness/w2", "\u00a0witness/W2\ufeff"]
)
def test_a_proposer_does_not_attest_what_it_proposed_under_any_of_its_names(proposer: str) -> None:
    both, facts = (_said(1), _said(2)), replace(_FACTS, proposer=proposer)
    counted = _count(*both, proposal=facts)
    assert counted.refused[0].rule == "is by the proposer itself"
    assert not counted
    assert _count(*both, proposal=facts, registry=replace(_REGISTRY, proposer_may_attest=True))


def test_witnesses_of_one_owner_or_one_key_count_once() -> None:
    w1, w2, w3 = _WITNESSES
    for name in ("owner 1", " OWNER 1 "):
        counted = _count(
            _said(1), _said(2), registry=replace(_REGISTRY, witnesses=(w1, replace(w2, owner=name), w3))
        )
        assert counted.refused[0].rule == "is by a witness whose owner has attested through another"
        assert not counted
    twins = replace(_REGISTRY, witnesses=(w1, replace(w2, public_key=w1.public_key), w3))
    # The same statement, and another one by the key, which ids of two witnesses hold.
    counted = _count(_said(1), _said(1), registry=twins)
    assert (counted.attested_by, counted.reached) == (("w1",), False)


def _scalar(key: Key) -> int:
    digest = hashlib.sha512(hashlib.sha256(key.name.encode()).digest()).digest()
    return int.from_bytes(digest[:32], "little") & ~7 & (1 << 254) - 1 | 1 << 254


def _said_again(number: int) -> bytes:
    """The same statement under a second signature that holds: whoever has the key may choose another nonce."""
    said, key, nonce = _said(number), Key(f"w{number}"), Key("nonce")
    order = 2**252 + 27742317777372353535851937790883648493
    message = parse_statement(said).to_be_signed
    k = int.from_bytes(hashlib.sha512(nonce.public + key.public + message).digest(), "little")
    return said[:-64] + nonce.public + ((_scalar(nonce) + k * _scalar(key)) % order).to_bytes(32, "little")


def test_a_second_statement_by_a_witness_or_its_key_does_not_count() -> None:
    assert _count(_said_again(1), _said(2))
    counted = _count(_said(1), _said_again(1))
    assert counted.refused[0].rule == "is the second by this witness in this epoch"
    assert not counted
    w1, w2, w3 = _WITNESSES
    twins = replace(_REGISTRY, witnesses=(w1, replace(w2, public_key=w1.public_key), w3))
    counted = _count(_said(1), _said_again(1), registry=twins)
    assert counted.refused[0].rule == "is by a key that has attested under another witness id"
    assert not counted


def test_a_key_that_is_enrolled_must_have_signed_and_counts_for_nothing_else() -> None:
    enrols = EnrolledKey("w4", Key("w4").public)
    assert _count(_said(1), _said(2), enrols=enrols).possession == "missing"
    assert not _count(_said(1), _said(2), enrols=enrols)
    assert not _count(_said(4), _said(1), enrols=enrols)
    whole = _count(_said(4), _said(1), _said(2), enrols=enrols)
    assert (whole.possession, whole.refused, whole.reached) == ("given", (), True)
    assert not _count(_flipped(_said(4)), _said(1), _said(2), enrols=enrols)
    assert not _count(_said(4, verdict="reject"), _said(1), _said(2), enrols=enrols)
    assert not _count(_said(4, epoch=2), _said(1), _said(2), enrols=enrols)


@pytest.mark.parametrize("k", [0, -1, 4, True, 1.5, float("nan")])
def test_a_registry_without_a_quorum_commits_nothing(k: Any) -> None:
    counted = _count(_said(1), _said(2), _said(3), registry=replace(_REGISTRY, k=k))
    assert (counted.attested_by, counted.reached, len(counted.refused)) == ((), False, 3)


@pytest.mark.parametrize("weak", [(1).to_bytes(32, "little"), bytes(32), b"\xff" * 32])
def test_a_weak_key_of_a_registry_is_refused_as_such(weak: bytes) -> None:
    registry = replace(_REGISTRY, k=1, witnesses=(EnrolledWitness("w1", weak, "one", 1),))

    class Weak(Key):
        @property
        def public(self) -> bytes:
            return weak

    said = attest(Weak("weak"), Attestation(_PROPOSAL, _RECORD, 3, "approve"))
    forged = said[:-64] + (1).to_bytes(32, "little") + bytes(32)
    counted = _count(forged, registry=registry)
    assert counted.refused[0].rule == "is by a key that is malformed, not canonical or of small order"
    assert not counted


def _witness_body(number: int, record_id: str | None = None) -> Any:
    payload: CborValue = {
        "public_key": Key(f"w{number}").public,
        "owner": f"owner {number}",
        "authority": "",
        "description": "",
    }
    return system_body("witness", record_id or f"witness/w{number}", payload)


_NAMED: CborValue = {"witnesses": ["w1", "w2", "w3"], "k": 2, "epoch": 3}
_QUORUM = system_body("quorum", "quorum", _NAMED)


def test_a_registry_is_read_from_its_records() -> None:
    bodies = [(number, _witness_body(number)) for number in (1, 2, 3)]
    assert registry_of(_QUORUM, bodies) == _REGISTRY
    assert registry_of(_QUORUM, [*bodies, (9, _witness_body(4))]) == _REGISTRY
    for others in (bodies[:2], [*bodies, (4, _witness_body(3))], [*bodies[:2], (3, _QUORUM)]):
        with pytest.raises(MalformedRecord):
            registry_of(_QUORUM, others)
    with pytest.raises(MalformedRecord):
        registry_of(_witness_body(1), bodies)
