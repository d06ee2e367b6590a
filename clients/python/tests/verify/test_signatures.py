"""Ed25519 by OpenSSL and by the strict checks here: RFC 8032, small orders, malleability, public suites."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sigil_client.verify import crypto
from sigil_client.verify.crypto import is_sound_public_key, verify_ed25519

from .vectors import REPOSITORY

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_SUITES = REPOSITORY.parent / "shared/suites"
_needs_suites = pytest.mark.skipif(not _SUITES.exists(), reason="no public suites beside the repository")

# The eight points of small order, in their canonical encodings, and non-canonical ones of the same points.
_TORSION_Y = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL_ORDER = [y.to_bytes(32, "little") for y in (0, 1, _P - 1, _TORSION_Y, _P - _TORSION_Y)] + [
    (y | 1 << 255).to_bytes(32, "little") for y in (0, _TORSION_Y, _P - _TORSION_Y)
]
_NON_CANONICAL = [
    (y | sign << 255).to_bytes(32, "little") for y in (_P, _P + 1, _P + 2, 2**255 - 1) for sign in (0, 1)
] + [(1 | 1 << 255).to_bytes(32, "little"), (_P - 1 | 1 << 255).to_bytes(32, "little")]


def _signed(message: bytes) -> tuple[bytes, bytes]:
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"record").digest())
    return key.public_key().public_bytes_raw(), key.sign(message)


def test_a_signature_holds_over_its_message_and_key_alone() -> None:
    public_key, signature = _signed(b"message")
    assert verify_ed25519(public_key, b"message", signature)
    assert not verify_ed25519(public_key, b"messagf", signature)
    for at in range(64):
        changed = bytearray(signature)
        changed[at] ^= 1
        assert not verify_ed25519(public_key, b"message", bytes(changed))
    for length in (0, 32, 63, 65):
        assert not verify_ed25519(public_key, b"message", (signature + b"\0")[:length])
    assert not verify_ed25519(public_key[:31], b"message", signature)
    assert not verify_ed25519(b"", b"message", signature)


def test_a_second_signature_by_adding_the_order_is_refused() -> None:
    public_key, signature = _signed(b"message")
    s = int.from_bytes(signature[32:], "little")
    for multiple in range(1, 8):
        raised = s + multiple * _ORDER
        if raised < 2**256:
            assert not verify_ed25519(public_key, b"message", signature[:32] + raised.to_bytes(32, "little"))


@pytest.mark.parametrize("public_key", _SMALL_ORDER, ids=lambda key: key.hex()[:16])
def test_a_key_of_small_order_verifies_nothing(public_key: bytes) -> None:
    assert not is_sound_public_key(public_key)
    # R = identity and S = 0 hold under a key of order 1, whatever the message.
    forged = (1).to_bytes(32, "little") + bytes(32)
    assert not verify_ed25519(public_key, b"anything", forged)


def _forged_for_the_identity() -> tuple[bytes, bytes]:
    """Under a key of order 1, R = S·B holds for every message: here S = 1, and R is the base point."""
    base = (4 * pow(5, -1, _P) % _P).to_bytes(32, "little")
    return (1).to_bytes(32, "little"), base + (1).to_bytes(32, "little")


def test_a_forgery_that_openssl_takes_is_refused() -> None:
    public_key, forged = _forged_for_the_identity()
    Ed25519PublicKey.from_public_bytes(public_key).verify(forged, b"anything")
    assert not verify_ed25519(public_key, b"anything", forged)


def test_the_checks_here_stand_without_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    class TakesAll:
        @staticmethod
        def from_public_bytes(_: bytes) -> TakesAll:
            return TakesAll()

        def verify(self, *_: bytes) -> None:
            return None

    monkeypatch.setattr(crypto, "Ed25519PublicKey", TakesAll)
    public_key, signature = _signed(b"message")
    assert verify_ed25519(public_key, b"message", signature)
    s = int.from_bytes(signature[32:], "little")
    for second in (_ORDER, s + _ORDER, 2**256 - 1):
        assert not verify_ed25519(public_key, b"message", signature[:32] + second.to_bytes(32, "little"))
    for encoded in (*_SMALL_ORDER, *_NON_CANONICAL):
        assert not verify_ed25519(encoded, b"message", signature)
        assert not verify_ed25519(public_key, b"message", encoded + signature[32:])


def test_openssl_stands_without_the_checks_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crypto, "_is_sound", lambda _: True)
    public_key, signature = _signed(b"message")
    assert not verify_ed25519(public_key, b"messagf", signature)


def test_an_r_of_small_order_is_refused_which_openssl_may_take() -> None:
    """Who has the key can make one: S = k·a, with R the identity."""
    seed = hashlib.sha256(b"record").digest()
    public_key, _ = _signed(b"message")
    scalar = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    scalar = scalar & ~7 & (1 << 254) - 1 | 1 << 254
    r = (1).to_bytes(32, "little")
    k = int.from_bytes(hashlib.sha512(r + public_key + b"message").digest(), "little")
    signature = r + (k * scalar % _ORDER).to_bytes(32, "little")
    assert not verify_ed25519(public_key, b"message", signature)


@pytest.mark.parametrize("encoded", _NON_CANONICAL, ids=lambda key: key.hex()[:16])
def test_a_point_in_another_encoding_is_refused_as_key_and_as_r(encoded: bytes) -> None:
    public_key, signature = _signed(b"message")
    assert not is_sound_public_key(encoded)
    assert not verify_ed25519(encoded, b"message", signature)
    assert not verify_ed25519(public_key, b"message", encoded + signature[32:])


def _read(*path: str) -> Any:
    return json.loads(Path(_SUITES, *path).read_text("utf-8"))


@_needs_suites
def test_wycheproof_is_judged_as_it_says() -> None:
    count = 0
    for group in _read("wycheproof", "ed25519_test.json")["testGroups"]:
        public_key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            holds = verify_ed25519(public_key, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            assert holds == (case["result"] == "valid"), case["tcId"]
            count += 1
    assert count == 151


@_needs_suites
def test_of_the_edge_cases_of_cctv_43_of_914_are_accepted() -> None:
    cases = _read("cctv", "ed25519vectors.json")
    accepted = [
        verify_ed25519(bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"]))
        for case in cases
    ]
    assert (sum(accepted), len(accepted)) == (43, 914)
