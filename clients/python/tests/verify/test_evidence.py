"""Evidence files: the golden ones, each step's refusals, attacks, and what nobody vouches for."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import Any

import pytest

from sigil_client.verify import EVIDENCE_STEPS, KeyWalk, ProofError, Trust, UnencodableValue, verify
from sigil_client.verify.cbor import CborMap, CborValue, decode, encode
from sigil_client.verify.cose.statement import ATTESTATION_CONTENT_TYPE
from sigil_client.verify.evidence.file import Evidence, ProvenRecord, format_evidence, parse_evidence
from sigil_client.verify.record.body import encode_body, encode_envelope
from sigil_client.verify.record.commitment import commit_to

from .vectors import read_vectors
from .world import MODEL, Key, Ledger, decision_body, statement, system_body

_VECTORS = read_vectors("evidence.json")
_FIRST = bytes.fromhex(_VECTORS["accept"][0]["hex"])


def _trust(case: dict[str, Any] | None = None) -> Trust:
    given = {name: (case or {}).get(name, _VECTORS[name]) for name in ("genesis", "policy")}
    return Trust.of(given["genesis"], given["policy"])


def _named(cases: list[Any]) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in cases]


@pytest.mark.parametrize("case", _named(_VECTORS["accept"]))
def test_a_golden_file_holds(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    verdict = verify(data, _trust())
    assert verdict.failed is None
    assert verdict
    assert tuple(step.name for step in verdict.steps) == EVIDENCE_STEPS
    replay = verdict.require().replay
    assert (None if replay is None else replay.outcome) == case["decision"]
    assert format_evidence(parse_evidence(data)) == data


@pytest.mark.parametrize("case", _named(_VECTORS["refuse"]))
def test_a_changed_file_is_refused_by_the_step_that_is_there_for_it(case: dict[str, Any]) -> None:
    at = case["at"]
    data = _FIRST[:at] + bytes.fromhex(case["hex"]) + _FIRST[at + case["cut"] :]
    verdict = verify(data, _trust(case))
    assert verdict.failed is not None
    assert verdict.failed.name == case["step"]
    assert not verdict
    assert tuple(step.name for step in verdict.steps) == EVIDENCE_STEPS
    after = verdict.steps[EVIDENCE_STEPS.index(case["step"]) + 1 :]
    assert all(step.outcome == "skipped" for step in after)
    with pytest.raises(ProofError, match=f"^{case['step']}: "):
        verdict.require()


def test_each_step_has_a_vector_that_it_refuses() -> None:
    assert list(dict.fromkeys(case["step"] for case in _VECTORS["refuse"])) == list(EVIDENCE_STEPS)


def test_genesis_or_a_policy_alone_vouches_and_nothing_does_not() -> None:
    assert verify(_FIRST, _trust({"policy": None}))
    assert verify(_FIRST, _trust({"genesis": None}))
    assert not verify(_FIRST, Trust())


def test_no_byte_of_a_file_may_be_another_and_none_makes_the_verifier_raise() -> None:
    chance = random.Random(16)
    trust = _trust()
    for _ in range(400):
        changed = bytearray(_FIRST)
        changed[chance.randrange(len(changed))] ^= chance.randrange(1, 256)
        assert not verify(bytes(changed), trust)
    for _ in range(200):
        cut = chance.randrange(len(_FIRST))
        assert not verify(_FIRST[:cut] + chance.randbytes(chance.randrange(40)) + _FIRST[cut + 7 :], trust)


def test_a_file_has_its_limits() -> None:
    proof = parse_evidence(_FIRST).records[0].proof
    checkpoint = parse_evidence(_FIRST).checkpoint
    long = tuple(ProvenRecord(index, b"\0" * (1 << 20), proof) for index in range(17))
    with pytest.raises(UnencodableValue, match="longer than 16777216"):
        format_evidence(Evidence("o", 0, checkpoint, long))
    assert len(parse_evidence(format_evidence(Evidence("o", 0, checkpoint, long[:15]))).records) == 15
    with pytest.raises(ProofError, match="longer than"):
        parse_evidence(b"\0" * ((16 << 20) + 1))
    many = tuple(ProvenRecord(index, b"\0", ()) for index in range(4097))
    with pytest.raises(UnencodableValue, match="entries"):
        format_evidence(Evidence("o", 0, checkpoint, many))


@pytest.mark.parametrize("genesis", ["", "12", "zz" * 32, "00" * 33, b"\0" * 31])
def test_trust_in_what_is_no_hash_is_refused_where_it_is_given(genesis: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"genesis|hexadecimal"):
        Trust.of(genesis)


def _decided(**but: Any) -> tuple[Ledger, int, int]:
    """A ledger with a model and a decision by it; the positions of both."""
    ledger = Ledger()
    model = ledger.append(system_body("trust_model", "trust_model/active", MODEL))
    decision = ledger.append(decision_body(ledger.hash_at(model), **but))
    return ledger, model, decision


def test_the_worked_example_of_the_specification_recomputes_to_the_last_bit() -> None:
    ledger, model, decision = _decided()
    verdict = verify(ledger.file_of(decision, [model]), Trust(ledger.genesis))
    assert verdict.failed is None
    replay = verdict.findings.replay
    assert replay is not None
    assert replay.outcome == "partial"
    assert {value.field: value.recomputed for value in replay.values}["z"] == 0.2266619567612469


@pytest.mark.parametrize(
    ("but", "field"),
    [
        ({"z": 0.22666195676124693}, "z"),
        ({"verdict": "deny"}, "verdict"),
        ({"reason": "SCORE_BELOW_THRESHOLD"}, "reason"),
        ({"verdict": "allow", "reason": "SCORE_AT_OR_ABOVE_THRESHOLD"}, "verdict"),
        ({"threshold": 0.61}, "threshold"),
        ({"review": {"low": 0.55, "high": 0.71}}, "review.high"),
        ({"features": {"rate": 0, "entropy": 0}}, "features.action_risk"),
        ({"contributions": {}}, "contributions.action_risk"),
    ],
)
def test_a_signed_decision_that_its_model_does_not_give_is_refused(but: dict[str, Any], field: str) -> None:
    ledger, model, decision = _decided(**but)
    verdict = verify(ledger.file_of(decision, [model]), Trust(ledger.genesis))
    assert verdict.failed is not None
    assert verdict.failed.name == "decision"
    assert f" {field} is recorded as" in verdict.failed.detail


def test_an_allow_that_names_no_model_is_no_record_at_all() -> None:
    ledger = Ledger()
    body = decision_body(b"\0" * 32, verdict="allow", reason="SCORE_AT_OR_ABOVE_THRESHOLD")
    position = ledger.append(_without_links(body))
    verdict = verify(ledger.file_of(position), Trust(ledger.genesis))
    assert verdict.failed is not None
    assert verdict.failed.name == "record"


def test_a_review_without_a_model_is_refused_and_a_deny_by_a_fault_is_not() -> None:
    ledger = Ledger()
    review = ledger.append(_without_links(decision_body(b"\0" * 32)))
    verdict = verify(ledger.file_of(review), Trust(ledger.genesis))
    assert verdict.failed is not None
    assert verdict.failed.detail == "without a model the only answer is a deny"
    fault = decision_body(b"\0" * 32, verdict="deny", reason="MODEL_MISSING", audit_id="decision-2")
    deny = ledger.append(_without_links(fault))
    assert verify(ledger.file_of(deny), Trust(ledger.genesis))


def _without_links(body: Any) -> Any:
    return replace(body, links=())


def _disclosing(raw: bytes, salt: bytes, opened: CborMap | None = None) -> tuple[bytes, Trust]:
    """A file of a decision that commits to these bytes; `opened` is disclosed in place of what opens the commitment."""
    value: CborValue = [hashlib.sha256(raw).digest(), len(raw)]
    ledger = Ledger()
    model = ledger.append(system_body("trust_model", "trust_model/active", MODEL))
    body = decision_body(ledger.hash_at(model))
    body.payload["request"]["input"] = commit_to("input", salt, value)  # type: ignore[index,call-overload]
    position = ledger.append(body)
    whole: CborMap = {"input": {"salt": salt, "value": value, "raw": raw}}
    return ledger.file_of(position, [model], encode(whole if opened is None else opened)), Trust(
        ledger.genesis
    )


_RAW, _SALT = b"hello hello", b"\7" * 32
_VALUE: CborValue = [hashlib.sha256(_RAW).digest(), len(_RAW)]


def test_a_disclosed_input_gives_the_entropy_again() -> None:
    verdict = verify(*_disclosing(_RAW, _SALT))
    assert verdict.failed is None
    assert verdict.findings.replay is not None
    assert verdict.findings.replay.outcome == "equal"


@pytest.mark.parametrize(
    ("salt", "opened"),
    [
        (_SALT, {"input": {"salt": _SALT, "value": _VALUE, "raw": _RAW + b"!"}}),
        (_SALT, {"input": {"salt": b"\6" * 32, "value": _VALUE}}),
        (_SALT, {"context/input": {"salt": _SALT, "value": _VALUE}}),
        (_SALT, {"input": {"salt": _SALT, "value": _VALUE, "more": 1}}),
        (_SALT, {}),
        # It opens the commitment, and is too short to hide anything.
        (_SALT[:31], {"input": {"salt": _SALT[:31], "value": _VALUE}}),
    ],
)
def test_what_does_not_open_the_commitment_is_no_disclosure(salt: bytes, opened: CborMap) -> None:
    verdict = verify(*_disclosing(_RAW, salt, opened))
    assert verdict.failed is not None
    assert verdict.failed.name == "disclosures"


def test_a_disclosed_input_must_have_the_entropy_that_was_decided_on() -> None:
    verdict = verify(*_disclosing(b"aaaa", _SALT))
    assert verdict.failed is not None
    assert verdict.failed.name == "decision"
    assert " features.entropy is recorded as" in verdict.failed.detail


def test_what_a_decision_names_as_its_model_must_be_one() -> None:
    ledger = Ledger()
    note = ledger.append(system_body("note", "notes/1", {"text": "no model"}, tenant="acme", space="user"))
    decision = ledger.append(decision_body(ledger.hash_at(note)))
    verdict = verify(ledger.file_of(decision, [note]), Trust(ledger.genesis))
    assert verdict.failed is not None
    assert verdict.failed.name == "record"
    assert verdict.failed.detail == "what the decision names is no model"


def test_a_statement_for_another_deployment_is_none_of_this_ledger() -> None:
    ledger = Ledger()
    note = system_body("note", "notes/1", {"text": "moved"}, tenant="acme", space="user")
    moved = ledger.append(note, origin="other.example")
    verdict = verify(ledger.file_of(moved), Trust(ledger.genesis))
    assert verdict.failed is not None
    assert verdict.failed.name == "record"
    with pytest.raises(ProofError, match="the statement names another origin"):
        KeyWalk.of(ledger.genesis, ledger.key_records).verify_record(ledger.evidence_of(moved))
    announced: CborValue = {"role": "record", "public_key": Key("2").public, "valid_from": 3}
    ledger.append(system_body("signing_key", "signing_key/record/2", announced), origin="other.example")
    with pytest.raises(ProofError, match="the statement names another origin"):
        KeyWalk.of(ledger.genesis, ledger.key_records)


def test_a_statement_of_another_content_type_over_a_record_is_none() -> None:
    """A key that signs both must not have its words taken for what they were not."""
    ledger = Ledger()
    note = system_body("note", "notes/1", {"text": "hello"}, tenant="acme", space="user")
    ledger.append(note)
    signed = statement(ledger.record_key, ATTESTATION_CONTENT_TYPE, note.subject, encode_body(note))
    ledger.envelopes[1] = encode_envelope(signed, [])
    verdict = verify(ledger.file_of(1), Trust(ledger.genesis))
    assert verdict.failed is not None
    assert verdict.failed.name == "file"
    assert "the statement is not over a record" in verdict.failed.detail


def test_records_of_a_file_stand_in_the_order_of_the_ledger_once_each() -> None:
    ledger, model, decision = _decided()
    value = decode(ledger.file_of(decision, [model]))
    assert isinstance(value, dict)
    records = value["records"]
    assert isinstance(records, list)
    for others in (
        [records[1], records[2]],
        [*records, records[2]],
        [records[0], records[2], records[2]],
        [],
    ):
        with pytest.raises(ProofError, match=r"nodes|records|position"):
            parse_evidence(encode({**value, "records": others}))
    alone: CborMap = {**value, "nodes": [], "position": 0}
    bare: list[CborValue] = [{"position": at, "envelope": b"", "path": []} for at in (0, 2, 1)]
    with pytest.raises(ProofError, match="must stand at a position after the one before"):
        parse_evidence(encode({**alone, "records": bare}))


def test_a_thief_of_a_record_key_cannot_sign_after_its_retirement() -> None:
    ledger, thief = Ledger(), Key("record")
    announced = ledger.rotate("record", Key("record 2"))
    ledger.retire("record", thief, announced)
    note = system_body("note", "notes/1", {"text": "mine"}, tenant="acme", space="user")
    forged = ledger.append(note, signer=thief)
    verdict = verify(ledger.file_of(forged), Trust(ledger.genesis))
    assert verdict.failed is not None
    assert verdict.failed.name == "signature"
    honest = ledger.append(note)
    assert verify(ledger.file_of(honest), Trust(ledger.genesis))


def test_a_ledger_of_other_keys_with_the_same_content_is_another() -> None:
    ledger, model, decision = _decided()
    other = Ledger(witnesses=(Key("w1"), Key("w2")))
    assert not verify(ledger.file_of(decision, [model]), Trust(other.genesis))
