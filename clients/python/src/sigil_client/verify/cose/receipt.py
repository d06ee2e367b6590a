"""COSE receipts of inclusion, RFC 9942 with RFC9162_SHA256. Pure; nothing is verified here.

A COSE_Sign1 whose detached payload is the tree's root and whose unprotected header holds the path to it.
Source: docs/spec/ledger.md §3. A receipt has exactly one encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn

from ..cbor import (
    MAJOR_ARRAY,
    HeaderMap,
    HeaderValue,
    Reader,
    Writer,
    decode,
    decode_header,
    encode,
    encode_header,
)
from ..crypto import SIGNATURE_BYTES
from ..errors import MalformedCose
from ..limits import PATH_HASHES_MAX, UINT64_MAX
from .header import (
    ALG_EDDSA,
    ARRAY_OF_FOUR,
    CLAIM_ISSUER,
    CLAIM_SUBJECT,
    HEADER_ALG,
    HEADER_CLAIMS,
    HEADER_KID,
    NULL,
    TAG_SIGN1,
    as_header_map,
    decode_nested,
)

_HEADER_VDS: Final = 395
_HEADER_VDP: Final = 396
_RFC9162_SHA256: Final = 1
_INCLUSION_PROOFS: Final = -1


@dataclass(frozen=True)
class Receipt:
    """`kid`, `origin` and `subject` are signed with the root; the path leads to it, or does not."""

    kid: bytes
    origin: str
    subject: str
    tree_size: int
    leaf_index: int
    proof: tuple[bytes, ...]
    protected: bytes
    signature: bytes


def receipt_subject(tree_size: int) -> str:
    """The subject of a receipt for a tree of this size."""
    return f"checkpoint/{tree_size}"


def _refuse(rule: str) -> NoReturn:
    raise MalformedCose(f"receipt: {rule}")


def encode_receipt_header(kid: bytes, origin: str, subject: str) -> bytes:
    claims: HeaderMap = {CLAIM_ISSUER: origin, CLAIM_SUBJECT: subject}
    return encode_header(
        {HEADER_ALG: ALG_EDDSA, HEADER_KID: kid, HEADER_CLAIMS: claims, _HEADER_VDS: _RFC9162_SHA256}
    )


def encode_receipt(receipt: Receipt) -> bytes:
    """Raises MalformedCose if it would not parse back, as a tree of one leaf would not: it has no path."""
    path = encode([receipt.tree_size, receipt.leaf_index, list(receipt.proof)])
    writer = Writer(integer_keys=True)
    writer.raw(bytes((TAG_SIGN1,)))
    writer.head(MAJOR_ARRAY, 4)
    writer.value(receipt.protected)
    writer.value({_HEADER_VDP: {_INCLUSION_PROOFS: [path]}})
    writer.value(None)
    writer.value(receipt.signature)
    encoded = writer.finish()
    parse_receipt(encoded)
    return encoded


def _parse_header(protected: bytes) -> tuple[bytes, str, str]:
    decoded = decode_nested("protected header", lambda: decode_header(protected), _refuse)
    header = as_header_map(decoded, 4) or {}
    if header.get(HEADER_ALG) != ALG_EDDSA:
        _refuse("alg must be EdDSA (-8)")
    if header.get(_HEADER_VDS) != _RFC9162_SHA256:
        _refuse("the tree must be RFC9162_SHA256 (395: 1)")
    kid = header.get(HEADER_KID)
    if not isinstance(kid, bytes) or len(kid) != 32:
        _refuse("kid must be 32 bytes")
    claims = as_header_map(header.get(HEADER_CLAIMS), 2) or {}
    origin, subject = claims.get(CLAIM_ISSUER), claims.get(CLAIM_SUBJECT)
    if not isinstance(origin, str) or not isinstance(subject, str) or origin == "":
        _refuse("CWT claims must be issuer and subject")
    return kid, origin, subject


def _uint64(value: object, rule: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= UINT64_MAX:
        return value
    _refuse(rule)


def _parse_path(unprotected: HeaderValue) -> tuple[int, int, tuple[bytes, ...]]:
    outer = as_header_map(unprotected, 1) or {}
    inner = as_header_map(outer.get(_HEADER_VDP), 1) or {}
    proofs = inner.get(_INCLUSION_PROOFS)
    raw = proofs[0] if isinstance(proofs, list) and len(proofs) == 1 else None
    if not isinstance(raw, bytes):
        _refuse("must hold one inclusion proof (396: {-1: [proof]}) and nothing else")
    parts = decode_nested("inclusion proof", lambda: decode(raw), _refuse)
    if not isinstance(parts, list) or len(parts) != 3:
        _refuse("an inclusion proof is an array of three")
    tree_size = _uint64(parts[0], "the tree's size must be a uint64")
    leaf_index = _uint64(parts[1], "the leaf's index must be a uint64")
    path = parts[2]
    if not isinstance(path, list) or not 0 < len(path) <= PATH_HASHES_MAX:
        _refuse(f"the path must have 1 to {PATH_HASHES_MAX} hashes")
    proof: list[bytes] = []
    for item in path:
        if not isinstance(item, bytes) or len(item) != 32:
            _refuse("a hash must be 32 bytes")
        proof.append(item)
    return tree_size, leaf_index, tuple(proof)


def parse_receipt(data: bytes) -> Receipt:
    """Strict: `encode_receipt` of the result gives the bytes. Raises MalformedCose, MalformedCbor."""
    reader = Reader(data, integer_keys=True)
    if not reader.take(TAG_SIGN1):
        _refuse("must begin with tag 18")
    if not reader.take(ARRAY_OF_FOUR):
        _refuse("must be an array of four")
    protected = reader.byte_string()
    if protected is None:
        _refuse("protected header must be a byte string")
    tree_size, leaf_index, proof = _parse_path(reader.value())
    if not reader.take(NULL):
        _refuse("the payload is detached: it must be null")
    signature = reader.byte_string()
    if signature is None:
        _refuse("signature must be a byte string")
    if len(signature) != SIGNATURE_BYTES:
        _refuse("signature must be 64 bytes")
    reader.done()
    kid, origin, subject = _parse_header(protected)
    if encode_receipt_header(kid, origin, subject) != protected:
        _refuse("protected header has other labels")
    return Receipt(kid, origin, subject, tree_size, leaf_index, proof, protected, signature)
