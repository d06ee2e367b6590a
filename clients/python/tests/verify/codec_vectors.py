"""What an implementation of canonical CBOR makes of the vector files: a line for each case it gets wrong.

The implementation is an argument, so that a damaged one can be tried as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

from .vectors import bytes_of, from_notation, from_typed, read_vectors

RULE_WORDS = {
    "notFinite": "NaN and infinities",
    "range": "is outside -2^63",
    "tooDeep": "is nested deeper than 16",
    "tooMany": "has more than 4096 entries",
    "tooLong": "is longer than 1048576 bytes",
}


@lru_cache(maxsize=1)
def described() -> list[tuple[str, int, str, Any]]:
    values = read_vectors("values.json")
    return [
        (each["name"], each["bytes"], each["sha256"], from_typed(each["value"]))
        for each in values["bodies"] + values["values"]
    ]


@lru_cache(maxsize=1)
def refused() -> list[tuple[str, bytes, int, str]]:
    golden = read_vectors("cbor.json")["refuse"]
    broken = read_vectors("broken.json")["cases"]
    return [
        (each.get("name", f"broken case {index}"), bytes_of(each), each["offset"], each["rule"])
        for index, each in enumerate(broken + golden)
    ]


def wrong_golden(cbor: ModuleType) -> Iterator[str]:
    for case in read_vectors("cbor.json")["accept"]:
        encoded = bytes.fromhex(case["hex"])
        try:
            decoded = cbor.decode(encoded)
            is_right = cbor.encode(decoded) == encoded == cbor.encode(from_notation(case["value"]))
        except Exception as error:
            yield f"{case['name']}: {error!r}"
        else:
            if not is_right or not same(decoded, from_notation(case["value"])):
                yield case["name"]


def wrong_refusals(cbor: ModuleType) -> Iterator[str]:
    for name, data, offset, rule in refused():
        try:
            cbor.decode(data)
        except Exception as error:
            got = (getattr(error, "offset", None), getattr(error, "rule", repr(error)))
            if got != (offset, rule):
                yield f"{name}: {got}"
        else:
            yield f"{name}: accepted"


def wrong_values(cbor: ModuleType) -> Iterator[str]:
    for name, length, digest, value in described():
        try:
            encoded = cbor.encode(value)
            decoded = cbor.decode(encoded)
            again = cbor.encode(decoded)
        except Exception as error:
            yield f"{name}: {error!r}"
            continue
        if (len(encoded), hashlib.sha256(encoded).hexdigest()) != (length, digest) or again != encoded:
            yield name
        elif not same(decoded, value):
            yield f"{name}: decodes to another value"
    for case in read_vectors("values.json")["refuse"]:
        try:
            cbor.encode(from_typed(case["value"]))
        except Exception as error:
            if RULE_WORDS[case["rule"]] not in str(getattr(error, "rule", "")):
                yield f"{case['name']}: {error!r}"
        else:
            yield f"{case['name']}: encoded"


def same(one: object, other: object) -> bool:
    """Equal in value and, but for the integral floats that have an integer's encoding, in type."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        if isinstance(one, bool) or isinstance(other, bool):
            return one is other
        is_safe = abs(other) <= 2**53 - 1 and float(other).is_integer()
        return one == other and (isinstance(one, int) if is_safe else type(one) is type(other))
    return type(one) is type(other) and one == other
