"""Record bodies, envelopes and attestations against the golden vectors; canonical spellings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from sigil_client.verify.cbor import decode
from sigil_client.verify.cose.statement import parse_statement
from sigil_client.verify.errors import MalformedCose, MalformedRecord, UnencodableValue
from sigil_client.verify.record.attestation import (
    decode_attestation,
    encode_attestation,
    parse_attestation_statement,
)
from sigil_client.verify.record.body import (
    decode_body,
    decode_envelope,
    encode_body,
    encode_envelope,
    entry_of,
    hash_record,
    parse_record_statement,
)
from sigil_client.verify.record.kinds import KNOWN_KINDS, check_payload
from sigil_client.verify.record.spelling import (
    SpellingFault,
    canonical_action,
    canonical_action_glob,
    canonical_session,
    canonical_subject,
    canonical_target,
    canonical_target_glob,
    enrolled_name,
)

from .codec_vectors import same
from .vectors import from_notation, read_vectors

_GOLDEN = read_vectors("record.json")
_SPELLING = read_vectors("spelling.json")

_READERS: dict[str, Callable[[bytes], object]] = {
    "body": decode_body,
    "envelope": decode_envelope,
    "attestation": decode_attestation,
    "record_statement": parse_record_statement,
}


def _named(cases: list[Any]) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in cases]


@pytest.mark.parametrize("case", _named(_GOLDEN["accept"]))
def test_a_golden_record_is_read_and_given_back(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    if case["format"] == "body":
        body = decode_body(data)
        assert encode_body(body) == data
        assert (body.kind, body.schema_version, body.ts) == (case["kind"], case["schema_version"], case["ts"])
        assert same(body.payload, from_notation(case["payload"]))
        assert body.subject == case["subject"]
        assert hash_record(data).hex() == case["hash"] == hashlib.sha256(data).hexdigest()
    elif case["format"] == "envelope":
        envelope = decode_envelope(data)
        assert encode_envelope(envelope.statement, envelope.attestations) == data
        assert entry_of(data).hex() == case["entry"]
    elif case["format"] == "attestation":
        assert encode_attestation(decode_attestation(data)) == data
    else:
        assert parse_record_statement(data)[1].subject == "acme/user/notes/1"


@pytest.mark.parametrize("case", _named(_GOLDEN["refuse"]))
def test_a_broken_record_is_refused_by_its_field_and_rule(case: dict[str, Any]) -> None:
    with pytest.raises(MalformedRecord) as raised:
        _READERS[case["format"]](bytes.fromhex(case["hex"]))
    assert (raised.value.field, raised.value.rule) == (case["field"], case["rule"])


def test_every_kind_has_a_golden_record() -> None:
    kinds = {
        decode_body(bytes.fromhex(case["hex"])).kind for case in _GOLDEN["accept"] if case["format"] == "body"
    }
    assert set(KNOWN_KINDS) <= kinds


@pytest.mark.parametrize("kind", KNOWN_KINDS)
def test_a_payload_without_a_field_or_with_one_more_is_refused(kind: str) -> None:
    bodies = [
        decode_body(bytes.fromhex(each["hex"])) for each in _GOLDEN["accept"] if each["format"] == "body"
    ]
    for body in (body for body in bodies if body.kind == kind):
        assert isinstance(body.payload, dict)
        with pytest.raises(MalformedRecord) as raised:
            check_payload(kind, body.space, {**body.payload, "extra": 1}, body.schema_version)
        assert raised.value.field == "payload.extra"
        for version in (0, 3):
            with pytest.raises(MalformedRecord) as raised:
                check_payload(kind, body.space, body.payload, version)
            assert raised.value.field == "schema_version"
        with pytest.raises(MalformedRecord):
            check_payload(kind, body.space, {}, body.schema_version)


def test_user_data_is_left_to_its_owner_and_kept_out_of_the_system_space() -> None:
    check_payload("invoice", "user", ["anything", 1.5, None], 9)
    with pytest.raises(MalformedRecord) as raised:
        check_payload("invoice", "system", None, 1)
    assert raised.value.field == "kind"


def test_an_envelope_has_its_limits() -> None:
    with pytest.raises(MalformedRecord):
        encode_envelope(b"\0", [b"\0"] * 65)
    with pytest.raises(UnencodableValue):
        encode_envelope(b"\0" * (1 << 20), [])


def test_a_statement_over_a_record_is_no_attestation() -> None:
    case = next(case for case in _GOLDEN["accept"] if case["format"] == "record_statement")
    with pytest.raises(MalformedCose, match="content type must be"):
        parse_attestation_statement(bytes.fromhex(case["hex"]))
    assert isinstance(decode(parse_statement(bytes.fromhex(case["hex"])).payload), dict)


_SPELLERS: dict[str, Callable[[str], str]] = {
    "target": canonical_target,
    "target_glob": canonical_target_glob,
    "action": canonical_action,
    "action_glob": canonical_action_glob,
    "session": canonical_session,
    "subject": lambda raw: canonical_subject(raw, _SPELLING["trust_domain"]),
}


@pytest.mark.parametrize("case", _named(_SPELLING["accept"]))
def test_one_thing_has_one_spelling(case: dict[str, str]) -> None:
    spell = _SPELLERS[case["of"]]
    assert spell(case["raw"]) == case["canonical"]
    assert spell(case["canonical"]) == case["canonical"]


@pytest.mark.parametrize("case", _named(_SPELLING["refuse"]))
def test_a_text_without_a_spelling_is_refused_by_its_rule(case: dict[str, str]) -> None:
    with pytest.raises(SpellingFault) as raised:
        _SPELLERS[case["of"]](case["raw"])
    assert raised.value.rule == case["rule"]


@pytest.mark.parametrize("case", _SPELLING["enrolled"])
def test_a_name_is_enrolled_where_it_is_looked_for(case: dict[str, str]) -> None:
    assert enrolled_name(case["name"]) == case["enrolled"]
