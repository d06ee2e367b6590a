"""COSE_Sign1 statements (RFC 9052 §4.2) in the profile that Sigil signs, and key thumbprints (RFC 9679).
Pure.

Source: docs/spec/record.md §3. A statement has exactly one encoding; any other COSE encoding is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn

from ..cbor import MAJOR_ARRAY, Reader, Writer, decode_header, encode_header
from ..crypto import MLDSA44_PUBLIC_KEY_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, sha256
from ..errors import MalformedCose, MalformedKey
from .header import (
    ALG_EDDSA,
    ARRAY_OF_FOUR,
    CLAIM_ISSUER,
    CLAIM_SUBJECT,
    EMPTY_MAP,
    HEADER_ALG,
    HEADER_CLAIMS,
    HEADER_CONTENT_TYPE,
    HEADER_KID,
    TAG_SIGN1,
    as_header_map,
    decode_nested,
)

RECORD_CONTENT_TYPE: Final = "application/vnd.sigil.record.v1+cbor"
ATTESTATION_CONTENT_TYPE: Final = "application/vnd.sigil.attestation.v1+cbor"
CONTENT_TYPES: Final = (RECORD_CONTENT_TYPE, ATTESTATION_CONTENT_TYPE)

_KID_BYTES: Final = 32
_LABELS: Final = (HEADER_ALG, HEADER_CONTENT_TYPE, HEADER_KID, HEADER_CLAIMS)
_CLAIMS_RULE: Final = "CWT claims must be issuer and subject, both non-empty text"


@dataclass(frozen=True)
class ProtectedHeader:
    """`subject` is `<tenant>/<space>/<id>`, or a proposal's id in an attestation."""

    content_type: str
    kid: bytes
    origin: str
    subject: str


@dataclass(frozen=True)
class Statement(ProtectedHeader):
    """`protected` and `payload` are the bytes that were signed."""

    protected: bytes
    payload: bytes
    signature: bytes

    @property
    def to_be_signed(self) -> bytes:
        return to_be_signed(self.protected, self.payload)


def _refuse(rule: str) -> NoReturn:
    raise MalformedCose(rule)


def to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """The Sig_structure whose bytes are signed: context "Signature1", no external data."""
    writer = Writer()
    writer.value(["Signature1", protected, b"", payload])
    return writer.finish()


def encode_protected(header: ProtectedHeader) -> bytes:
    """Raises MalformedCose when origin or subject is empty, UnencodableValue for a lone surrogate."""
    if header.origin == "" or header.subject == "":
        _refuse(_CLAIMS_RULE)
    return encode_header(
        {
            HEADER_ALG: ALG_EDDSA,
            HEADER_CONTENT_TYPE: header.content_type,
            HEADER_KID: header.kid,
            HEADER_CLAIMS: {CLAIM_ISSUER: header.origin, CLAIM_SUBJECT: header.subject},
        }
    )


def encode_statement(protected: bytes, payload: bytes, signature: bytes) -> bytes:
    """Raises MalformedCose unless the signature is 64 bytes."""
    if len(signature) != SIGNATURE_BYTES:
        _refuse("signature must be 64 bytes")
    writer = Writer()
    # Tag 18 has one encoding, which stands outside of the profile of values.
    writer.raw(bytes((TAG_SIGN1,)))
    writer.head(MAJOR_ARRAY, 4)
    writer.value(protected)
    writer.raw(bytes((EMPTY_MAP,)))
    writer.value(payload)
    writer.value(signature)
    return writer.finish()


def parse_statement(data: bytes) -> Statement:
    """Parses a statement and its header; verifies no signature. Raises MalformedCose, MalformedCbor."""
    reader = Reader(data, integer_keys=True)
    if not reader.take(TAG_SIGN1):
        _refuse("must begin with tag 18")
    if not reader.take(ARRAY_OF_FOUR):
        _refuse("must be an array of four")
    protected = _part(reader, "protected header must be a byte string")
    if not reader.take(EMPTY_MAP):
        _refuse("unprotected header must be empty")
    payload = _part(reader, "payload must be a byte string")
    signature = _part(reader, "signature must be 64 bytes")
    if len(signature) != SIGNATURE_BYTES:
        _refuse("signature must be 64 bytes")
    reader.done()
    header = _parse_protected(protected)
    return Statement(
        content_type=header.content_type,
        kid=header.kid,
        origin=header.origin,
        subject=header.subject,
        protected=protected,
        payload=payload,
        signature=signature,
    )


def _part(reader: Reader, rule: str) -> bytes:
    part = reader.byte_string()
    return _refuse(rule) if part is None else part


def _parse_protected(protected: bytes) -> ProtectedHeader:
    decoded = decode_nested("protected header", lambda: decode_header(protected), _refuse)
    header = as_header_map(decoded, len(_LABELS))
    if header is None or any(label not in header for label in _LABELS):
        _refuse("protected header must be the map of alg, content type, kid and CWT claims")
    if header[HEADER_ALG] != ALG_EDDSA or not isinstance(header[HEADER_ALG], int):
        _refuse("alg must be EdDSA (-8)")
    content_type = header[HEADER_CONTENT_TYPE]
    if not isinstance(content_type, str) or content_type not in CONTENT_TYPES:
        _refuse("content type is not one of ours")
    kid = header[HEADER_KID]
    if not isinstance(kid, bytes) or len(kid) != _KID_BYTES:
        _refuse("kid must be 32 bytes")
    claims = as_header_map(header[HEADER_CLAIMS], 2) or {}
    origin, subject = claims.get(CLAIM_ISSUER), claims.get(CLAIM_SUBJECT)
    if not isinstance(origin, str) or not isinstance(subject, str) or origin == "" or subject == "":
        _refuse(_CLAIMS_RULE)
    return ProtectedHeader(content_type, kid, origin, subject)


def key_thumbprint(public_key: bytes) -> bytes:
    """The COSE key thumbprint of an Ed25519 public key: SHA-256 of `{1: 1 (OKP), -1: 6 (Ed25519), -2: x}`."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise MalformedKey(f"must be {PUBLIC_KEY_BYTES} bytes, got {len(public_key)}")
    return sha256(encode_header({1: 1, -1: 6, -2: public_key}))


def mldsa44_key_thumbprint(public_key: bytes) -> bytes:
    """That of an ML-DSA-44 public key: SHA-256 of `{1: 7 (AKP), 3: -48 (ML-DSA-44), -1: pub}`."""
    if len(public_key) != MLDSA44_PUBLIC_KEY_BYTES:
        raise MalformedKey(f"must be {MLDSA44_PUBLIC_KEY_BYTES} bytes, got {len(public_key)}")
    return sha256(encode_header({1: 7, 3: -48, -1: public_key}))
