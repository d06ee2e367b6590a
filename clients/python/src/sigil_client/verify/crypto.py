"""SHA-256 and the verification of signatures. Pure.

Ed25519 is verified twice: by OpenSSL, and by checks of our own of what OpenSSL lets pass and other verifiers
do not (RFC 8032 §5.1.7; SBS 2020, "Taming the many EdDSAs"): canonical encodings of key and R, neither of
small order, S below the order of the group. ML-DSA-44 (FIPS 204, empty context) is verified where the
installed `cryptography` has it. At most `VERIFY_KEYS_MAX` checked keys are remembered.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .limits import VERIFY_KEYS_MAX

try:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
except ImportError:
    # Before version 47; OpenSSL has the algorithm from 3.5 on.
    _mldsa44_key = None
else:
    _mldsa44_key = MLDSA44PublicKey.from_public_bytes

PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
MLDSA44_PUBLIC_KEY_BYTES: Final = 1312
MLDSA44_SIGNATURE_BYTES: Final = 2420

_P: Final = 2**255 - 19
_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SQRT_MINUS_ONE: Final = pow(2, (_P - 1) // 4, _P)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _decode_point(raw: bytes) -> tuple[int, int] | None:
    """The point of its one canonical encoding (RFC 8032 §5.1.3); None for any other 32 bytes."""
    encoded = int.from_bytes(raw, "little")
    sign, y = encoded >> 255, encoded & ((1 << 255) - 1)
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    v3 = v * v * v % _P
    x = u * v3 * pow(u * v3 * v3 * v, (_P - 5) // 8, _P) % _P
    square = v * x * x % _P
    if square == -u % _P:
        x = x * _SQRT_MINUS_ONE % _P
    elif square != u:
        return None
    if x == 0 and sign == 1:
        return None
    return (_P - x if x & 1 != sign else x), y


def _is_small_order(point: tuple[int, int]) -> bool:
    """Whether eight times the point is the identity: three doublings in projective coordinates, without divisions."""
    (x, y), z = point, 1
    for _ in range(3):
        xx, yy = x * x % _P, y * y % _P
        f = yy - xx
        j = f - 2 * z * z
        x, y, z = 2 * x * y * j % _P, -f * (xx + yy) % _P, f * j % _P
    return x == 0 and y == z


def _is_sound(raw: bytes) -> bool:
    """A canonical encoding of a point whose order is above 8."""
    point = _decode_point(raw)
    return point is not None and not _is_small_order(point)


@lru_cache(maxsize=VERIFY_KEYS_MAX)
def is_sound_public_key(raw: bytes) -> bool:
    """A canonical point that is not of small order: a key that is verifies forged signatures."""
    return len(raw) == PUBLIC_KEY_BYTES and _is_sound(raw)


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """True only if OpenSSL and the checks here both accept; False for anything that cannot be parsed."""
    if len(signature) != SIGNATURE_BYTES or not is_sound_public_key(bytes(public_key)):
        return False
    if int.from_bytes(signature[32:], "little") >= _ORDER or not _is_sound(signature[:32]):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def verify_mldsa44(public_key: bytes, message: bytes, signature: bytes) -> bool | None:
    """None where the algorithm is not at hand: then what it signed may be ignored, and never counts as
    verified.
    """
    if len(public_key) != MLDSA44_PUBLIC_KEY_BYTES or len(signature) != MLDSA44_SIGNATURE_BYTES:
        return False
    if _mldsa44_key is None:
        return None
    try:
        key = _mldsa44_key(public_key)
    except UnsupportedAlgorithm:
        return None
    except ValueError:
        return False
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
