"""What COSE_Sign1 messages share: labels, and reading header maps. Pure. Source: RFC 9052, RFC 9597."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from ..cbor import HeaderMap, HeaderValue
from ..errors import MalformedCbor

HEADER_ALG: Final = 1
HEADER_CONTENT_TYPE: Final = 3
HEADER_KID: Final = 4
HEADER_CLAIMS: Final = 15
CLAIM_ISSUER: Final = 1
CLAIM_SUBJECT: Final = 2
ALG_EDDSA: Final = -8

TAG_SIGN1: Final = 0xD2
"""Tag 18, in its one encoding."""
ARRAY_OF_FOUR: Final = 0x84
EMPTY_MAP: Final = 0xA0
NULL: Final = 0xF6

Decoded = TypeVar("Decoded")


def as_header_map(value: HeaderValue, entries: int) -> HeaderMap | None:
    """A map of exactly so many entries; None for anything else."""
    return value if isinstance(value, dict) and len(value) == entries else None


def decode_nested(what: str, decode: Callable[[], Decoded], refuse: Callable[[str], NoReturn]) -> Decoded:
    """Decodes what stands inside of a byte string: an offset in there says nothing of the whole."""
    try:
        return decode()
    except MalformedCbor as cause:
        refuse(f"{what} at offset {cause.offset}: {cause.rule}")
