"""Canonical CBOR: RFC 8949 Appendix A, the golden vectors, 500 values, 500 broken encodings, and limits."""

from __future__ import annotations

import hashlib
import math
import re

import pytest

from sigil_client.verify import cbor
from sigil_client.verify.errors import MalformedCbor, UnencodableValue

from .codec_vectors import described, refused, wrong_golden, wrong_refusals, wrong_values
from .vectors import read_vectors

_APPENDIX = read_vectors("cbor-appendix-a.json")
_OUTSIDE = re.compile(
    r"(c|d|f0|f7|f8|f97c|f97e|f9fc|fa7f8|fa7fc|faff8|fb7ff|fbfff|5f|7f|9f|bf|3bffffffffffffffff|a201)"
)
_INDEFINITE_INSIDE = {"83018202039f0405ff", "83019f0203ff820405", "826161bf61626163ff"}
_INTEGRAL_FLOATS = {"f90000", "f98000", "f93c00", "f97bff", "fa47c35000", "f9c400"}


def _is_outside(encoded: str) -> bool:
    return bool(_OUTSIDE.match(encoded)) or encoded in _INDEFINITE_INSIDE | _INTEGRAL_FLOATS


@pytest.mark.parametrize("encoded", [case["hex"] for case in _APPENDIX])
def test_appendix_a_of_rfc_8949(encoded: str) -> None:
    data = bytes.fromhex(encoded)
    if _is_outside(encoded):
        with pytest.raises(MalformedCbor):
            cbor.decode(data)
    else:
        assert cbor.encode(cbor.decode(data)) == data


def test_appendix_a_has_42_of_82_inside_the_profile() -> None:
    assert len(_APPENDIX) == 82
    assert sum(not _is_outside(case["hex"]) for case in _APPENDIX) == 42


def test_golden_vectors_are_accepted_and_given_back() -> None:
    assert list(wrong_golden(cbor)) == []


def test_every_broken_encoding_is_refused_by_its_rule_at_its_offset() -> None:
    assert len(refused()) == 582
    assert list(wrong_refusals(cbor)) == []


def test_500_described_values_have_the_hashes_of_the_file() -> None:
    assert list(wrong_values(cbor)) == []
    hashes = [hashlib.sha256(cbor.encode(value)).digest() for _, _, _, value in described()]
    assert len(hashes) == 500
    assert hashlib.sha256(b"".join(hashes)).hexdigest() == read_vectors("values.json")["sha256"]


def test_integers_and_floats_of_one_value_stay_two_beyond_2_53() -> None:
    assert cbor.encode(2**53).hex() == "1b0020000000000000"
    assert cbor.encode(float(2**53)).hex() == "fa5a000000"
    assert type(cbor.decode(bytes.fromhex("fa5a000000"))) is float
    assert type(cbor.decode(bytes.fromhex("1b0020000000000000"))) is int


def test_bytes_of_any_kind_and_tuples_have_the_encoding_of_bytes_and_lists() -> None:
    for raw in (b"\x01", bytearray(b"\x01"), memoryview(b"\x01")):
        assert cbor.encode(raw) == b"\x41\x01"  # type: ignore[arg-type]
    assert cbor.encode((1, 2)) == b"\x82\x01\x02"


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        ({"a": [1, math.nan]}, "/a/1", "NaN"),
        ({"a/b~": {"c": object()}}, "/a~1b~0/c", "object has no encoding"),
        ({1: 2}, "/1", "key must be text"),
        ({"a": "\ud800"}, "/a", "lone surrogate"),
        ({"\udfff": 1}, "/\udfff", "lone surrogate"),
        ([2**64], "/0", "outside"),
        ([{1, 2}], "/0", "set has no encoding"),
    ],
)
def test_what_has_no_encoding_is_named_by_its_place(value: object, path: str, words: str) -> None:
    with pytest.raises(UnencodableValue) as raised:
        cbor.encode(value)  # type: ignore[arg-type]
    assert raised.value.path == path
    assert words in raised.value.rule


def test_a_cyclic_value_is_refused() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(UnencodableValue, match="nested deeper"):
        cbor.encode(cycle)  # type: ignore[arg-type]


def test_a_header_may_have_integer_keys_and_other_values_may_not() -> None:
    encoded = cbor.encode_header({1: -8, "a": {-1: b""}})
    assert cbor.decode_header(encoded) == {1: -8, "a": {-1: b""}}
    with pytest.raises(MalformedCbor, match="map key has the wrong type"):
        cbor.decode(encoded)
    for key in (True, 1.5, b"", None):
        with pytest.raises(UnencodableValue):
            cbor.encode_header({key: 1})  # type: ignore[dict-item]


def test_a_file_may_be_longer_than_a_value_and_no_longer_than_told() -> None:
    data = cbor.encode(b"\0" * (1 << 20), 1 << 21)
    with pytest.raises(MalformedCbor, match="input is longer than 1048576 bytes"):
        cbor.decode(data)
    assert cbor.decode(data, 1 << 21) == b"\0" * (1 << 20)
    with pytest.raises(MalformedCbor, match="input is longer than 1000 bytes"):
        cbor.decode(data, 1000)


@pytest.mark.parametrize(
    "head", ["9a0fffffff", "ba0fffffff", "9b00000000ffffffff", "5affffffff", "7bffffffffffffffff"]
)
def test_a_claimed_count_takes_no_memory(head: str) -> None:
    with pytest.raises(MalformedCbor):
        cbor.decode(bytes.fromhex(head))
