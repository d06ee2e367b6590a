"""Key walks, and what is verified with the keys: records, checkpoints, receipts, answers, completeness."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sigil_client.verify import (
    RECORD_STEPS,
    Answer,
    AskedSpan,
    CompletenessProof,
    ForkError,
    KeyRecord,
    KeyWalk,
    ProofError,
    Question,
    RecordCorrupt,
    Trust,
    check_completeness,
    parse_policy,
    verify,
    verify_answer,
)
from sigil_client.verify.cbor import CborValue
from sigil_client.verify.cose.receipt import encode_receipt_header, receipt_subject
from sigil_client.verify.cose.statement import key_thumbprint, to_be_signed
from sigil_client.verify.evidence.completeness import SpanEnd
from sigil_client.verify.merkle.note import key_id_of
from sigil_client.verify.merkle.proof import leaf_hash, root_of_leaves

from .world import MODEL, ORIGIN, TS, Key, Ledger, decision_body, system_body

_NOTE = system_body("note", "notes/1", {"text": "hello"}, tenant="acme", space="user")


def _rotated() -> Ledger:
    """Genesis, a note, two rotations, a note, the first record key retired from 2 on, a note."""
    ledger = Ledger()
    ledger.append(_NOTE)
    ledger.rotate("record", Key("record 2"))
    ledger.rotate("checkpoint", Key("checkpoint 2"))
    ledger.append(_NOTE)
    ledger.retire("record", Key("record"), 2)
    ledger.append(replace(_NOTE, ts=TS + 1))
    return ledger


def test_every_key_follows_from_the_genesis_hash() -> None:
    ledger = _rotated()
    walk = KeyWalk.of(ledger.genesis, ledger.key_records)
    assert walk.origin == ORIGIN
    found = [(key.role, key.first_position, key.last_position, key.state) for key in walk.keys]
    assert found == [
        ("record", 0, 1, "retired"),
        ("checkpoint", 0, 3, "ended"),
        ("record", 3, None, "active"),
        ("checkpoint", 4, None, "active"),
    ]
    for position in (1, 4, 6):
        record = walk.verify_record(ledger.evidence_of(position))
        assert record.body == ledger.bodies[position]
    with pytest.raises(RecordCorrupt, match="fails key: signed by a key that was valid up to position 1"):
        walk.verify_record(ledger.evidence_of(2))


def test_a_key_serves_its_own_role_alone() -> None:
    ledger = Ledger()
    position = ledger.append(_NOTE, signer=Key("checkpoint"))
    walk = KeyWalk.of(ledger.genesis, ledger.key_records)
    with pytest.raises(RecordCorrupt, match="fails key: signed by a checkpoint key, needs a record key"):
        walk.verify_record(ledger.evidence_of(position))


_WALK_ATTACKS: list[tuple[str, str, Callable[[Ledger], list[KeyRecord]]]] = [
    ("nothing", "genesis", lambda _: []),
    ("no genesis", "genesis", lambda ledger: list(ledger.key_records[1:])),
    (
        "another genesis",
        "genesis",
        lambda ledger: [*Ledger(witnesses=(Key("x"),)).key_records, *ledger.key_records[1:]],
    ),
    ("an announcement left out", "key", lambda ledger: [ledger.key_records[0], *ledger.key_records[2:]]),
    (
        "another order",
        "sequence",
        lambda ledger: [*ledger.key_records[:2], *reversed(ledger.key_records[1:])],
    ),
    ("one twice", "sequence", lambda ledger: [*ledger.key_records[:2], ledger.key_records[1]]),
    ("a note", "schema", lambda ledger: [ledger.key_records[0], KeyRecord(1, ledger.envelopes[1])]),
    (
        "at another position",
        "schema",
        lambda ledger: [ledger.key_records[0], KeyRecord(3, ledger.envelopes[2])],
    ),
    ("cut", "envelope", lambda ledger: [ledger.key_records[0], KeyRecord(2, ledger.envelopes[2][:-1])]),
]


@pytest.mark.parametrize(("step", "records"), [pytest.param(*row[1:], id=row[0]) for row in _WALK_ATTACKS])
def test_a_walk_over_other_records_is_refused(
    step: str, records: Callable[[Ledger], list[KeyRecord]]
) -> None:
    ledger = _rotated()
    with pytest.raises(RecordCorrupt) as raised:
        KeyWalk.of(ledger.genesis, records(ledger))
    assert raised.value.step == step


def _announce(key: Key, **but: Any) -> Ledger:
    ledger = Ledger()
    payload: CborValue = {"role": "record", "public_key": key.public, "valid_from": 2}
    ledger.append(replace(system_body("signing_key", "signing_key/record/2", payload), **but))
    return ledger


@pytest.mark.parametrize(
    ("ledger", "rule"),
    [
        (
            _announce(Key("2"), id="signing_key/record/3"),
            "id must be signing_key/record/2, the role's next key",
        ),
        (_announce(Key("2"), prev=b"\0" * 32), "prev must be null: a key is announced once"),
        (_announce(Key("record")), "is already in the key ring: a key serves one role, once"),
        (_announce(Key("checkpoint")), "is already in the key ring: a key serves one role, once"),
        (
            _announce(Key("2"), payload={"role": "record", "public_key": Key("2").public, "valid_from": 1}),
            "payload.valid_from must be the position after the record's",
        ),
        (
            _announce(Key("2"), id="signing_key/checkpoint/2"),
            "id must be signing_key/record/2, the role's next key",
        ),
    ],
)
def test_an_announcement_that_breaks_a_rule_is_refused(ledger: Ledger, rule: str) -> None:
    with pytest.raises(RecordCorrupt) as raised:
        KeyWalk.of(ledger.genesis, ledger.key_records)
    assert (raised.value.step, raised.value.rule) == ("schema", rule)


@pytest.mark.parametrize(
    ("role", "key", "at", "rule"),
    [
        ("record", Key("record 2"), 2, "is in use: a key is retired after its successor was announced"),
        ("record", Key("other"), 1, "is not in the key ring"),
        ("checkpoint", Key("record"), 1, "is a record key, not a checkpoint key"),
        ("record", Key("record"), 0, "can be retired from a position after 0, where it began"),
        ("record", Key("record"), 3, "payload.from must not lie past the record's position"),
    ],
)
def test_a_retirement_that_breaks_a_rule_is_refused(role: str, key: Key, at: int, rule: str) -> None:
    ledger = Ledger()
    ledger.rotate("record", Key("record 2"))
    ledger.retire(role, key, at)
    with pytest.raises(RecordCorrupt) as raised:
        KeyWalk.of(ledger.genesis, ledger.key_records)
    assert raised.value.rule == rule


def test_a_second_retirement_names_a_lower_position_or_is_refused() -> None:
    ledger = Ledger()
    ledger.append(_NOTE)
    ledger.append(_NOTE)
    ledger.rotate("record", Key("record 2"))
    ledger.retire("record", Key("record"), 3)
    ledger.retire("record", Key("record"), 2)
    assert KeyWalk.of(ledger.genesis, ledger.key_records).keys[0].last_position == 1
    ledger.retire("record", Key("record"), 2)
    with pytest.raises(RecordCorrupt, match="is retired from position 2 already"):
        KeyWalk.of(ledger.genesis, ledger.key_records)


def test_a_checkpoint_is_verified_by_the_key_of_its_size() -> None:
    ledger = _rotated()
    walk = KeyWalk.of(ledger.genesis, ledger.key_records)
    assert walk.verify_checkpoint(ledger.checkpoint()).size == 7
    assert walk.verify_checkpoint(ledger.checkpoint(4, signer=Key("checkpoint"))).size == 4
    for size, signer in ((4, "checkpoint 2"), (5, "checkpoint"), (7, "record 2")):
        with pytest.raises(ProofError, match="must be signed by the log's key"):
            walk.verify_checkpoint(ledger.checkpoint(size, signer=Key(signer)))


def test_growth_is_proved_and_a_fork_is_noticed() -> None:
    ledger = _rotated()
    walk = KeyWalk.of(ledger.genesis, ledger.key_records)
    for size in range(5, 8):
        known = walk.verify_checkpoint(ledger.checkpoint(size))
        assert walk.verify_growth(known, ledger.checkpoint(), ledger.consistency(size)).size == 7
    fork = _rotated()
    fork.envelopes[6] = fork.envelopes[4]
    forked = fork.checkpoint()
    with pytest.raises(ForkError) as raised:
        walk.verify_growth(walk.verify_checkpoint(ledger.checkpoint()), forked, [])
    assert (raised.value.known, raised.value.newer) == (ledger.checkpoint(), forked)


def test_a_record_is_verified_in_steps() -> None:
    ledger = _rotated()
    verdict = verify(ledger.evidence_of(6), Trust(ledger.genesis))
    assert tuple(step.name for step in verdict.steps) == RECORD_STEPS
    assert verdict.failed is None
    assert verdict
    assert verdict.require().record is not None


def _record_attacks(ledger: Ledger) -> list[tuple[str, dict[str, Any]]]:
    envelope = bytearray(ledger.envelopes[6])
    envelope[-2] ^= 1
    note = ledger.checkpoint().replace("\n7\n", "\n8\n", 1)
    return [
        ("genesis", {"key_records": ()}),
        ("keys", {"key_records": (*ledger.key_records[:1], *ledger.key_records[2:])}),
        ("envelope", {"envelope": ledger.envelopes[6][1:]}),
        ("key", {"position": 2, "envelope": ledger.envelopes[6]}),
        ("signature", {"envelope": bytes(envelope)}),
        ("inclusion", {"inclusion_proof": ()}),
        ("inclusion", {"position": 5}),
        ("inclusion", {"envelope": ledger.envelopes[4]}),
        ("inclusion", {"checkpoint": "no note"}),
        ("inclusion", {"checkpoint": note}),
        ("checkpoint", {"checkpoint": ledger.checkpoint(signer=Key("record 2"))}),
    ]


@pytest.mark.parametrize("index", range(11))
def test_a_record_with_another_part_is_refused_by_its_step(index: int) -> None:
    ledger = _rotated()
    step, but = _record_attacks(ledger)[index]
    verdict = verify(replace(ledger.evidence_of(6), **but), Trust(ledger.genesis))
    assert verdict.failed is not None
    assert verdict.failed.name == step
    assert not verdict
    if step not in ("genesis", "keys"):
        walk = KeyWalk.of(ledger.genesis, ledger.key_records)
        with pytest.raises(ProofError):
            walk.verify_record(replace(ledger.evidence_of(6), **but))


def test_a_record_in_the_tree_with_a_signature_that_does_not_hold_is_refused() -> None:
    """Whoever has the checkpoint key alone can put anything into a tree."""
    ledger = _rotated()
    envelope = bytearray(ledger.envelopes[6])
    envelope[-2] ^= 1
    ledger.envelopes[6] = bytes(envelope)
    walk = KeyWalk.of(ledger.genesis, ledger.key_records)
    with pytest.raises(RecordCorrupt, match="fails signature"):
        walk.verify_record(ledger.evidence_of(6))
    for evidence in (ledger.evidence_of(6), ledger.file_of(6)):
        verdict = verify(evidence, Trust(ledger.genesis))
        assert verdict.failed is not None
        assert verdict.failed.name == "signature"


def test_a_record_that_nobody_vouches_for_is_not_verified() -> None:
    ledger = _rotated()
    verdict = verify(ledger.evidence_of(6), Trust())
    assert verdict.failed is not None
    assert verdict.failed.name == "trust"


def _vkey(name: str, kind: int, key: Key) -> str:
    encoded = base64.b64encode(bytes((kind,)) + key.public).decode()
    return f"{name}+{key_id_of(name, kind, key.public).hex()}+{encoded}"


def test_a_policy_asks_for_cosignatures_of_a_records_checkpoint() -> None:
    ledger, witness = _rotated(), Key("w9")
    log, cosigner = _vkey(ORIGIN, 1, ledger.checkpoint_key), _vkey("w9.example", 4, witness)
    lines = f"log {log}\nwitness w {cosigner}\nquorum w\n"
    trust = Trust(ledger.genesis, parse_policy(lines.encode()))
    assert not verify(ledger.evidence_of(6), trust)
    cosigned = ledger.checkpoint(cosigners=[witness])
    verdict = verify(ledger.evidence_of(6, checkpoint=cosigned), trust)
    assert verdict
    assert verdict.findings.cosigned == ("w9.example",)


def test_a_leaf_is_all_that_is_left_of_an_erased_record() -> None:
    ledger = _rotated()
    walk = KeyWalk.of(ledger.genesis, ledger.key_records)
    walk.verify_leaf(4, ledger.leaves()[4], ledger.checkpoint(), ledger.inclusion(4))
    with pytest.raises(ProofError):
        walk.verify_leaf(4, ledger.leaves()[5], ledger.checkpoint(), ledger.inclusion(4))


def test_a_receipt_and_a_tlog_proof_prove_an_entry() -> None:
    ledger = _rotated()
    walk = KeyWalk.of(ledger.genesis, ledger.key_records)
    for position in range(7):
        entry = hashlib.sha256(ledger.envelopes[position]).digest()
        receipt, text = ledger.receipt_of(position), ledger.tlog_proof_of(position)
        for found in (walk.verify_receipt(receipt, entry), walk.verify_tlog_proof(text, entry)):
            assert (found.leaf_index, found.tree_size) == (position, 7)
        other = hashlib.sha256(b"other").digest()
        with pytest.raises(ProofError):
            walk.verify_receipt(receipt, other)
        with pytest.raises(ProofError):
            walk.verify_tlog_proof(text, other)


def test_a_receipt_with_another_part_is_refused() -> None:
    ledger = _rotated()
    walk = KeyWalk.of(ledger.genesis, ledger.key_records)
    entry = hashlib.sha256(ledger.envelopes[4]).digest()
    receipt = ledger.receipt_of(4)
    for at in range(len(receipt)):
        changed = bytearray(receipt)
        changed[at] ^= 1
        with pytest.raises(ProofError):
            walk.verify_receipt(bytes(changed), entry)
    for but in ({"leaf_index": 5}, {"tree_size": 8}, {"proof": ledger.inclusion(5)}):
        with pytest.raises(ProofError):
            walk.verify_receipt(ledger.receipt_of(4, **but), entry)
    with pytest.raises(ProofError):
        walk.verify_receipt(receipt + b"\0", entry)
    size, key = len(ledger.envelopes), ledger.checkpoint_key
    for origin, subject, rule in (
        ("other.example", receipt_subject(size), "origin must be the one expected"),
        (ORIGIN, receipt_subject(size - 1), "the path must be of the tree that was signed"),
    ):
        protected = encode_receipt_header(key_thumbprint(key.public), origin, subject)
        signature = key.sign(to_be_signed(protected, root_of_leaves(ledger.leaves())))
        with pytest.raises(ProofError, match=rule):
            walk.verify_receipt(ledger.receipt_of(4, protected=protected, signature=signature), entry)


def _answered() -> tuple[Ledger, KeyWalk, Question, Answer]:
    ledger = Ledger()
    model = ledger.append(system_body("trust_model", "trust_model/active", MODEL))
    position = ledger.append(decision_body(ledger.hash_at(model)))
    answer = Answer("decision-1", "review", False, "REVIEW_BAND", 1, "ann", ledger.evidence_of(position))
    walk = KeyWalk.of(ledger.genesis, ledger.key_records)
    return ledger, walk, Question("notes.append", "user/ann/notes/today"), answer


def test_an_answer_is_what_its_record_says_of_what_was_asked() -> None:
    _, walk, question, answer = _answered()
    assert verify_answer(walk, question, answer).body.id == "decision-1"
    spelled = Question("notes.append", "/user//ann/notes/today/", "spiffe://LEDGER.example/ann")
    assert spelled.target != question.target
    verify_answer(walk, replace(spelled, subject="ann"), answer)


@pytest.mark.parametrize(
    ("name", "but"),
    [
        ("proof", {"proof": None}),
        ("audit id", {"audit_id": "decision-2"}),
        ("verdict", {"verdict": "allow"}),
        ("allowed", {"allowed": True}),
        ("allowed", {"allowed": 0}),
        ("reason", {"reason": "SCORE_AT_OR_ABOVE_THRESHOLD"}),
        ("number", {"caller_seq": 2}),
        ("subject", {"subject": "ben"}),
    ],
)
def test_an_answer_that_says_something_else_is_refused(name: str, but: dict[str, Any]) -> None:
    _, walk, question, answer = _answered()
    with pytest.raises(ProofError, match=f"the answer is not proved: it.* {name}"):
        verify_answer(walk, question, replace(answer, **but))


@pytest.mark.parametrize(
    "asked",
    [
        Question("notes.read", "user/ann/notes/today"),
        Question("notes.append", "user/ann/notes/tomorrow"),
        Question("notes.append", "user/ann/notes/today", "ben"),
    ],
)
def test_an_answer_to_another_question_is_refused(asked: Question) -> None:
    _, walk, _, answer = _answered()
    with pytest.raises(ProofError):
        verify_answer(walk, asked, answer)


def test_a_proof_of_another_record_is_no_proof_of_the_answer() -> None:
    ledger, walk, question, answer = _answered()
    with pytest.raises(ProofError, match="the record is a trust_model, no decision"):
        verify_answer(walk, question, replace(answer, proof=ledger.evidence_of(1)))


_ASKED = AskedSpan("ann", "acme", TS + 10, TS + 20)


def _counted() -> tuple[Ledger, KeyWalk]:
    """Decisions 1 to 5 of ann at TS, TS + 10, TS + 15, TS + 20, TS + 30, and heads that say so."""
    ledger = Ledger()
    model = ledger.append(system_body("trust_model", "trust_model/active", MODEL))
    for number, after in enumerate((0, 10, 15, 20, 30), start=1):
        body = decision_body(ledger.hash_at(model), audit_id=f"decision-{number}", caller_seq=number)
        ledger.append(replace(body, ts=TS + after))
    head = system_body(
        "caller_head", "caller_head/ann", {"caller": "ann", "seq": 5}, tenant="acme", space="user"
    )
    ledger.append(replace(head, ts=TS + 40))
    return ledger, KeyWalk.of(ledger.genesis, ledger.key_records)


def test_the_decisions_of_a_span_are_counted_by_the_numbers_around_it() -> None:
    ledger, walk = _counted()
    before, after, head = ledger.evidence_of(2), ledger.evidence_of(5), ledger.evidence_of(7)
    assert check_completeness(walk, CompletenessProof(before, after, "decision", 2), _ASKED) == 2
    open_start = AskedSpan("ann", "acme", None, TS + 20)
    assert check_completeness(walk, CompletenessProof(None, after, "decision", 3), open_start) == 3
    late = AskedSpan("ann", "acme", TS + 10, TS + 35)
    assert check_completeness(walk, CompletenessProof(before, head, "head", 4), late) == 4
    newest = CompletenessProof(before, ledger.evidence_of(6), "newest", 4)
    assert check_completeness(walk, newest, late) == 4


@pytest.mark.parametrize(
    ("before", "after", "end", "decisions", "asked", "rule"),
    [
        (2, 5, "decision", 1, _ASKED, "it counts otherwise"),
        (2, 5, "decision", 3, _ASKED, "it counts otherwise"),
        (3, 5, "decision", 1, _ASKED, "the first is not before the span"),
        (2, 4, "decision", 1, _ASKED, "the last is not after the span"),
        (5, 2, "decision", 2, _ASKED, "the two are not in the order of the ledger"),
        (2, 5, "head", 3, _ASKED, "the span does not end as it says"),
        (2, 7, "decision", 3, _ASKED, "the span does not end as it says"),
        (2, 5, "unknown", 2, _ASKED, "it does not say how the span ends"),
        (7, 7, "newest", 0, AskedSpan("ann", "acme", TS + 50), "the first is no decision"),
        (2, 5, "decision", 2, AskedSpan("ann", "acme", None, TS + 20), "the first is not before the span"),
        (2, 5, "decision", 2, replace(_ASKED, caller="ben"), "it is about another caller"),
        (2, 5, "decision", 2, replace(_ASKED, tenant="other"), "it is about another caller"),
        (1, 5, "decision", 2, _ASKED, "a trust_model has no number"),
    ],
)
def test_a_count_that_does_not_follow_is_refused(
    before: int,
    after: int,
    end: SpanEnd,
    decisions: int,
    asked: AskedSpan,
    rule: str,
) -> None:
    ledger, walk = _counted()
    proof = CompletenessProof(ledger.evidence_of(before), ledger.evidence_of(after), end, decisions)
    with pytest.raises(ProofError, match=rule):
        check_completeness(walk, proof, asked)


def test_an_entry_hashed_once_is_no_leaf() -> None:
    ledger = _rotated()
    entry = hashlib.sha256(ledger.envelopes[0]).digest()
    assert ledger.leaves()[0] == leaf_hash(entry) != entry
