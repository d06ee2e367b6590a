"""Statements and key thumbprints against the golden vectors."""

from __future__ import annotations

from typing import Any

import pytest

from sigil_client.verify.cose.statement import (
    ProtectedHeader,
    encode_protected,
    encode_statement,
    key_thumbprint,
    parse_statement,
    to_be_signed,
)
from sigil_client.verify.crypto import verify_ed25519
from sigil_client.verify.errors import MalformedCbor, MalformedCose, MalformedKey

from .vectors import read_vectors

_GOLDEN = read_vectors("cose.json")


def _named(cases: list[Any]) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in cases]


@pytest.mark.parametrize("case", _named(_GOLDEN["accept"]))
def test_a_statement_is_read_verified_and_written_again(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["statement"])
    statement = parse_statement(data)
    assert (statement.content_type, statement.origin, statement.subject) == (
        case["content_type"],
        case["origin"],
        case["subject"],
    )
    assert statement.kid.hex() == case["kid"]
    assert statement.protected.hex() == case["protected"]
    assert statement.payload.hex() == case["payload"]
    assert statement.to_be_signed.hex() == case["to_be_signed"]
    assert statement.signature.hex() == case["signature"]
    header = ProtectedHeader(statement.content_type, statement.kid, statement.origin, statement.subject)
    assert encode_protected(header) == statement.protected
    assert encode_statement(statement.protected, statement.payload, statement.signature) == data
    public_key = bytes.fromhex(case["public_key"])
    assert key_thumbprint(public_key) == statement.kid
    assert verify_ed25519(public_key, statement.to_be_signed, statement.signature)
    other = to_be_signed(statement.protected, statement.payload + b"\0")
    assert not verify_ed25519(public_key, other, statement.signature)


@pytest.mark.parametrize("case", _named(_GOLDEN["refuse"]))
def test_what_is_no_statement_is_refused_by_its_rule(case: dict[str, str]) -> None:
    kinds = {"malformedCose": MalformedCose, "malformedCbor": MalformedCbor}
    with pytest.raises(kinds[case["kind"]]) as raised:
        parse_statement(bytes.fromhex(case["hex"]))
    assert raised.value.rule == case["rule"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("case", _named(_GOLDEN["thumbprints"]))
def test_a_key_has_its_thumbprint(case: dict[str, str]) -> None:
    assert key_thumbprint(bytes.fromhex(case["public_key"])).hex() == case["thumbprint"]


def test_a_key_of_another_length_has_none() -> None:
    with pytest.raises(MalformedKey):
        key_thumbprint(b"\0" * 31)
