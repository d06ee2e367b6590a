"""Merkle proofs, checkpoints, cosignatures and policies against golden and public vectors."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from sigil_client.verify.cose.statement import mldsa44_key_thumbprint
from sigil_client.verify.crypto import verify_mldsa44
from sigil_client.verify.errors import MalformedCheckpoint
from sigil_client.verify.merkle import checkpoint as checkpoints
from sigil_client.verify.merkle.checkpoint import (
    Checkpoint,
    Cosigner,
    TrustedLog,
    format_checkpoint,
    parse_checkpoint,
    verify_checkpoint,
    verify_cosignature,
    verify_mldsa44_lines,
)
from sigil_client.verify.merkle.note import format_note, key_id_of, parse_note
from sigil_client.verify.merkle.policy import is_quorum, parse_policy, verify_by_policy
from sigil_client.verify.merkle.proof import (
    ProofRefused,
    check_consistency,
    check_inclusion,
    leaf_hash,
    root_of_leaves,
)

from .vectors import read_vectors

_GOLDEN = read_vectors("merkle-golden.json")
_CHECKPOINT = read_vectors("checkpoint.json")
_MLDSA44 = read_vectors("mldsa44.json")


def _named(cases: list[Any]) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in cases]


def _judge(case: dict[str, Any]) -> None:
    if case["kind"] == "root":
        entries = [hashlib.sha256(str(index).encode()).digest() for index in range(int(case["size"]))]
        assert root_of_leaves([leaf_hash(entry) for entry in entries]).hex() == case["root"]
        return
    proof = [bytes.fromhex(node) for node in case["proof"]]
    if case["kind"] == "inclusion":
        leaf, root = bytes.fromhex(case["leafHash"]), bytes.fromhex(case["root"])
        check_inclusion(int(case["leafIndex"]), int(case["treeSize"]), leaf, root, proof)
    else:
        old_root, new_root = bytes.fromhex(case["oldRoot"]), bytes.fromhex(case["newRoot"])
        check_consistency(int(case["oldSize"]), int(case["newSize"]), old_root, new_root, proof)


@pytest.mark.parametrize("case", _named(_GOLDEN["accept"]))
def test_a_golden_proof_holds(case: dict[str, Any]) -> None:
    _judge(case)


@pytest.mark.parametrize("case", _named(_GOLDEN["refuse"]))
def test_a_broken_proof_is_refused_by_its_rule(case: dict[str, Any]) -> None:
    with pytest.raises(ProofRefused) as raised:
        _judge(case)
    assert raised.value.rule == case["rule"]


def _holds(check: Any, *arguments: Any) -> bool:
    try:
        check(*arguments)
    except ProofRefused:
        return False
    return True


def _hashes(proof: list[str] | None) -> list[bytes]:
    return [base64.b64decode(node) for node in proof or []]


def test_public_inclusion_proofs_are_judged_as_they_say() -> None:
    cases = read_vectors("merkle-inclusion.json")["cases"]
    assert len(cases) == 82
    for case in cases:
        leaf, root = base64.b64decode(case["leafHash"]), base64.b64decode(case["root"])
        proof = _hashes(case["proof"])
        holds = _holds(check_inclusion, case["leafIdx"], case["treeSize"], leaf, root, proof)
        assert holds != case["wantErr"], case["name"]


def test_public_consistency_proofs_are_judged_as_they_say() -> None:
    cases = read_vectors("merkle-consistency.json")["cases"]
    assert len(cases) == 84
    for case in cases:
        roots = base64.b64decode(case["root1"]), base64.b64decode(case["root2"])
        holds = _holds(check_consistency, case["size1"], case["size2"], *roots, _hashes(case["proof"]))
        assert holds != case["wantErr"], case["name"]


_LOG = TrustedLog(_CHECKPOINT["origin"], bytes.fromhex(_CHECKPOINT["publicKey"]))
_WITNESS = Cosigner(_CHECKPOINT["witness"]["name"], bytes.fromhex(_CHECKPOINT["witness"]["publicKey"]))


@pytest.mark.parametrize("case", _named(_CHECKPOINT["accept"]))
def test_a_checkpoint_is_verified_and_written_again(case: dict[str, Any]) -> None:
    origin = case.get("origin", _LOG.origin)
    verified = verify_checkpoint(case["note"], TrustedLog(origin, _LOG.public_key))
    root = base64.b64decode(case["root"])
    assert verified == Checkpoint(origin, int(case["size"]), root, tuple(case.get("extensions", ())))
    note = parse_note(case["note"])
    assert format_checkpoint(verified) == note.text
    assert format_note(note.text, note.signatures) == case["note"]


@pytest.mark.parametrize("case", _named(_CHECKPOINT["refuse"]))
def test_a_broken_checkpoint_is_refused_by_its_rule(case: dict[str, Any]) -> None:
    with pytest.raises(MalformedCheckpoint) as raised:
        verify_checkpoint(case["note"], _LOG)
    assert raised.value.rule == case["rule"]


@pytest.mark.parametrize("case", _named(_CHECKPOINT["cosignatures"]["accept"]))
def test_a_cosignature_holds(case: dict[str, Any]) -> None:
    verify_checkpoint(case["note"], _LOG)
    assert verify_cosignature(parse_note(case["note"]), _WITNESS) == int(case["time"])


@pytest.mark.parametrize("case", _named(_CHECKPOINT["cosignatures"]["refuse"]))
def test_a_broken_cosignature_is_refused_by_its_rule(case: dict[str, Any]) -> None:
    with pytest.raises(MalformedCheckpoint) as raised:
        verify_cosignature(parse_note(case["note"]), _WITNESS)
    assert raised.value.rule == case["rule"]


def test_a_checkpoint_is_accepted_in_one_form_only() -> None:
    note = _CHECKPOINT["accept"][0]["note"]
    for at in range(len(note)):
        for other in ("A", "0", " ", "\n", "=", "\u2014", ""):
            if note[at] != other:
                with pytest.raises(MalformedCheckpoint):
                    verify_checkpoint(note[:at] + other + note[at + 1 :], _LOG)


def test_a_checkpoint_has_its_bounds() -> None:
    root = _CHECKPOINT["accept"][0]["root"]
    for text, rule in (
        (f"a\n1\n{root}\n{'x' * 600_000}\n", "must be at most 524288 bytes"),
        (f"a\ud800\n1\n{root}\n", "must be well-formed Unicode"),
        (f"a\n{'9' * 10_000}\n{root}\n", "size must be a uint64"),
        (f"a\n\u0661\n{root}\n", "size must be decimal without leading zeroes"),
    ):
        with pytest.raises(MalformedCheckpoint) as raised:
            parse_checkpoint(text)
        assert raised.value.rule == rule


_MLDSA44_KEY = bytes.fromhex(_MLDSA44["mldsa44Key"])
_MLDSA44_LOG = TrustedLog(_MLDSA44["origin"], bytes.fromhex(_MLDSA44["publicKey"]), _MLDSA44_KEY)
_HAS_MLDSA44 = verify_mldsa44(_MLDSA44_KEY, b"", b"\0" * 2420) is not None
_needs_mldsa44 = pytest.mark.skipif(not _HAS_MLDSA44, reason="cryptography here has no ML-DSA-44")


@_needs_mldsa44
@pytest.mark.parametrize("case", _named(_MLDSA44["accept"]))
def test_an_mldsa44_line_holds(case: dict[str, Any]) -> None:
    verified = verify_checkpoint(case["note"], _MLDSA44_LOG)
    lines = verify_mldsa44_lines(parse_note(case["note"]), verified, _MLDSA44_KEY)
    assert lines == ("verified" if case["lines"] > 0 else "none")


@_needs_mldsa44
@pytest.mark.parametrize("case", _named(_MLDSA44["refuse"]))
def test_a_broken_mldsa44_line_is_refused_by_its_rule(case: dict[str, Any]) -> None:
    with pytest.raises(MalformedCheckpoint) as raised:
        verify_checkpoint(case["note"], _MLDSA44_LOG)
    assert raised.value.rule == case["rule"]


def test_an_mldsa44_line_is_ignored_where_its_key_or_the_algorithm_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for case in _MLDSA44["accept"] + _MLDSA44["refuse"]:
        verify_checkpoint(case["note"], TrustedLog(_MLDSA44_LOG.origin, _MLDSA44_LOG.public_key))
    monkeypatch.setattr(checkpoints, "verify_mldsa44", lambda *_: None)
    first = _MLDSA44["accept"][0]["note"]
    verified = verify_checkpoint(first, _MLDSA44_LOG)
    assert verify_mldsa44_lines(parse_note(first), verified, _MLDSA44_KEY) == "ignored"


def test_an_mldsa44_key_has_its_key_id_and_thumbprint() -> None:
    assert key_id_of(_MLDSA44["origin"], 6, _MLDSA44_KEY).hex() == _MLDSA44["keyId"]
    encoded = bytes.fromhex("a3010703382f20590520") + _MLDSA44_KEY
    assert mldsa44_key_thumbprint(_MLDSA44_KEY) == hashlib.sha256(encoded).digest()


_EVIDENCE = read_vectors("evidence.json")
_POLICY_LINES = _EVIDENCE["policy"].splitlines()


def test_a_policy_is_read_and_counts_its_quorum() -> None:
    policy = parse_policy(_EVIDENCE["policy"].encode())
    labels = [witness.label for witness in policy.witnesses]
    assert len(policy.logs) == 1
    assert is_quorum(policy, set(labels))
    assert not is_quorum(policy, set())


def test_a_policy_without_cosignatures_takes_the_log_alone() -> None:
    note = _CHECKPOINT["accept"][0]["note"]
    vkey = _vkey(_LOG.origin, 1, _LOG.public_key)
    policy = parse_policy(f"# the log\nlog {vkey} https://log.example\nquorum none\n".encode())
    verified, cosigned = verify_by_policy(note, policy)
    assert (verified.size, cosigned) == (13, ())


def _vkey(name: str, kind: int, public_key: bytes) -> str:
    encoded = base64.b64encode(bytes((kind,)) + public_key).decode()
    return f"{name}+{key_id_of(name, kind, public_key).hex()}+{encoded}"


_LOG_LINE = f"log {_vkey(_LOG.origin, 1, _LOG.public_key)}"
_ONE = f"witness one {_vkey('w.example/1', 4, _LOG.public_key)}"
_TWO = f"witness two {_vkey('w.example/2', 4, _WITNESS.public_key)}"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (f"{_LOG_LINE}\nquorum none", "policy line 2: must end in a newline"),
        (f"{_LOG_LINE}\n", "policy line 1: there is no quorum line"),
        ("quorum none\nquorum none\n", "policy line 2: there is one quorum line"),
        ("quorum one\n", "policy line 1: must be defined on a line before"),
        (f"{_ONE}\n{_ONE}\nquorum one\n", "policy line 2: a name is defined once"),
        (
            f"{_ONE}\n{_ONE.replace('one', 'two', 1)}\nquorum one\n",
            "policy line 2: a cosigner's key stands once",
        ),
        (
            f"{_ONE}\ngroup g 2 one\nquorum g\n",
            "policy line 2: of 1 must be all, any or a number from 1 to 1",
        ),
        (
            f"{_ONE}\ngroup g 0 one\nquorum g\n",
            "policy line 2: of 1 must be all, any or a number from 1 to 1",
        ),
        (f"{_ONE}\ngroup g any two\nquorum g\n", "policy line 2: a member must be defined on a line before"),
        (
            f"{_ONE}\ngroup g any one one\nquorum g\n",
            "policy line 2: a witness or group is a member once at most",
        ),
        (f"{_ONE.replace('one', 'none', 1)}\nquorum none\n", "policy line 1: none is a name of its own"),
        (
            f"{_ONE.replace('witness one', 'log')}\nquorum none\n",
            "policy line 1: the key must be one of a log",
        ),
        ("other\nquorum none\n", "policy line 1: must begin with log, witness, group or quorum"),
        (
            "log a+00000000+AAAA\nquorum none\n",
            "policy line 1: verifier key: its algorithm must be Ed25519: 0x01 of",
        ),
        ("log a\x01\nquorum none\n", "policy line 1: must hold no control character"),
        (f"{_LOG_LINE[:-44]}+AAAA\nquorum none\n", "policy line 1: verifier key: "),
        ("quorum none\n" + "log x\n" * 300, "policy line 2: verifier key: must be a name"),
    ],
)
def test_a_broken_policy_is_refused_by_its_line(text: str, rule: str) -> None:
    with pytest.raises(MalformedCheckpoint) as raised:
        parse_policy(text.encode())
    assert raised.value.rule.startswith(rule)


def test_groups_count_each_witness_once() -> None:
    policy = parse_policy(f"{_ONE}\n{_TWO}\ngroup both all one two\nquorum both\n".encode())
    assert is_quorum(policy, {"one", "two"})
    assert not is_quorum(policy, {"one"})
    assert is_quorum(parse_policy(f"{_ONE}\n{_TWO}\ngroup g any one two\nquorum g\n".encode()), {"two"})
