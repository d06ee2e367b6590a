"""A server that lies: no way of asking allows by a reply that contradicts itself."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from fake_server import FakeServer, allow, always, deny
from google.rpc import status_pb2

from sigil_client import (
    AsyncSigil,
    Decision,
    Denied,
    Question,
    Sigil,
    SigilError,
    Write,
    audit_v1,
    canon_v1,
    trust_v1,
    type_v1,
)
from sigil_client.answers.judge import decision_fault

HONEST_Z = 1 + -1.2 + 4


def logistic(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def contribution(feature: str, value: float, weight: float, product: float | None = None) -> Any:
    return trust_v1.Contribution(
        feature=feature,
        value=value,
        weight=weight,
        contribution=value * weight if product is None else product,
    )


HONEST: dict[str, Any] = {
    "verdict": type_v1.VERDICT_ALLOW,
    "allowed": True,
    "score": logistic(HONEST_Z),
    "threshold": 0.5,
    "bias": 1.0,
    "z": HONEST_Z,
    "contributions": [contribution("action_risk", 0.2, -6), contribution("level", 0.5, 8)],
    "reason": "SCORE_AT_OR_ABOVE_THRESHOLD",
    "audit_id": "0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11",
    "ledger_position": 7,
    "model_hash": bytes(32),
}
BARE: dict[str, Any] = {
    "score": None,
    "threshold": None,
    "bias": None,
    "z": None,
    "contributions": [],
    "reason": "",
}

LIES: dict[str, dict[str, Any]] = {
    "allowed with DENY": {"verdict": type_v1.VERDICT_DENY},
    "allowed with REVIEW": {"verdict": type_v1.VERDICT_REVIEW},
    "allowed without a verdict": {"verdict": type_v1.VERDICT_UNSPECIFIED},
    "allowed with a verdict that is not known": {"verdict": 4},
    "allowed with a negative verdict": {"verdict": -1},
    "a verdict that is not known": {"verdict": 9, "allowed": False},
    "no verdict at all": {"verdict": type_v1.VERDICT_UNSPECIFIED, "allowed": False},
    "ALLOW that is not allowed": {"allowed": False},
    "ALLOW without a record": {"audit_id": ""},
    "REVIEW without a record": {"verdict": type_v1.VERDICT_REVIEW, "allowed": False, "audit_id": ""},
    "ALLOW with a score that is NaN": {**BARE, "score": math.nan},
    "ALLOW with a score above 1": {**BARE, "score": 1.5},
    "ALLOW with a score below 0": {**BARE, "score": -0.5},
    "ALLOW with a threshold that is NaN": {**BARE, "threshold": math.nan},
    "ALLOW with a threshold of 0": {**BARE, "score": 0.7, "threshold": 0.0},
    "ALLOW with a threshold of 1": {**BARE, "score": 1.0, "threshold": 1.0},
    "ALLOW with a z that is NaN": {**BARE, "z": math.nan},
    "ALLOW with an infinite z": {**BARE, "z": math.inf},
    "ALLOW with a bias that is NaN": {**BARE, "bias": math.nan},
    "ALLOW with another score than that of its z": {"score": 0.9},
    "ALLOW with 1 − score": {"score": 1 - logistic(HONEST_Z)},
    "ALLOW with another z than its sum": {"z": 0.5, "score": logistic(0.5)},
    "ALLOW below the threshold": {**BARE, "score": 0.49, "threshold": 0.5},
    "ALLOW with z below the threshold": {**BARE, "z": -0.1, "threshold": 0.5},
    "ALLOW with z far below the threshold": {**BARE, "z": -1000.0, "threshold": 0.5},
    "ALLOW with a contribution that is not value × weight": {
        **BARE,
        "contributions": [contribution("level", 0.5, 8, 5)],
    },
    "ALLOW with a contribution that is NaN": {
        "contributions": [contribution("level", math.nan, 8, math.nan)]
    },
    "ALLOW with an infinite contribution": {"contributions": [contribution("level", 0.5, 8, math.inf)]},
    "ALLOW with an infinite weight": {"contributions": [contribution("level", 0.5, math.inf, math.inf)]},
    "ALLOW with the reason of a low score": {"reason": "SCORE_BELOW_THRESHOLD"},
    "ALLOW with the reason of a review": {"reason": "REVIEW_BAND"},
    "ALLOW with the reason of a low level": {"reason": "LEVEL_TOO_LOW"},
    "ALLOW with the reason of an unknown action": {"reason": "UNKNOWN_ACTION"},
    "ALLOW with the reason of a failure": {"reason": "EVALUATOR_ERROR"},
    "ALLOW with the reason of a deadline": {"reason": "DEADLINE_EXCEEDED"},
    "ALLOW without a model": {"reason": "MODEL_MISSING"},
    "ALLOW by half a model's hash": {"model_hash": bytes(16)},
}


def reply_of(changed: dict[str, Any]) -> trust_v1.CheckResponse:
    given = {name: value for name, value in {**HONEST, **changed}.items() if value is not None}
    return trust_v1.CheckResponse(**given)


QUESTION = Question("write", "user/notes")


def only(pairs: Any) -> Decision:
    [(question, decision)] = pairs
    assert question is QUESTION
    assert isinstance(decision, Decision)
    return decision


def by_require(sigil: Sigil) -> Decision:
    try:
        return sigil.require("write", "user/notes")
    except Denied as denied:
        assert denied.decision is not None
        assert denied.reason == denied.decision.reason
        return denied.decision


WAYS: dict[str, Callable[[Sigil], Decision]] = {
    "check": lambda sigil: sigil.check("write", "user/notes"),
    "check_batch": lambda sigil: sigil.check_batch([QUESTION])[0],
    "check_stream": lambda sigil: only(sigil.check_stream([QUESTION])),
    "call": lambda sigil: Decision(response=sigil.call(QUESTION.to_message())),
    "require": by_require,
}


async def by_async_require(sigil: AsyncSigil) -> Decision:
    try:
        return await sigil.require("write", "user/notes")
    except Denied as denied:
        assert denied.decision is not None
        return denied.decision


async def by_async_call(sigil: AsyncSigil) -> Decision:
    return Decision(response=await sigil.call(QUESTION.to_message()))


async def by_async_batch(sigil: AsyncSigil) -> Decision:
    return (await sigil.check_batch([QUESTION]))[0]


async def by_async_stream(sigil: AsyncSigil) -> Decision:
    return only([pair async for pair in sigil.check_stream([QUESTION])])


ASYNC_WAYS: dict[str, Callable[[AsyncSigil], Any]] = {
    "check": lambda sigil: sigil.check("write", "user/notes"),
    "check_batch": by_async_batch,
    "check_stream": by_async_stream,
    "call": by_async_call,
    "require": by_async_require,
}


def decisions_of(reply: trust_v1.CheckResponse) -> Iterator[tuple[str, Decision]]:
    """By every way, of the blocking and of the async client."""
    with FakeServer(always(reply)) as server:
        with Sigil(server.target, tls="insecure") as sigil:
            for name, ask in WAYS.items():
                yield name, ask(sigil)

        async def ask_all() -> list[tuple[str, Decision]]:
            async with AsyncSigil(server.target, tls="insecure") as sigil:
                return [(f"async {name}", await ask(sigil)) for name, ask in ASYNC_WAYS.items()]

        yield from asyncio.run(ask_all())


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_allows_nothing_by_a_lie(lie: dict[str, Any]) -> None:
    for way, decision in decisions_of(reply_of(lie)):
        assert not decision, way
        assert decision.allowed is False, way
        assert decision.verdict == type_v1.VERDICT_DENY, way
        assert decision.reason == "REPLY_CONTRADICTORY", way


TRUTHS: dict[str, dict[str, Any]] = {
    "an allow with all its numbers": {},
    "a review": {"verdict": type_v1.VERDICT_REVIEW, "allowed": False, "reason": "REVIEW_BAND"},
    "a deny without a record": {
        **BARE,
        "verdict": type_v1.VERDICT_DENY,
        "allowed": False,
        "reason": "EVALUATOR_ERROR",
        "audit_id": "",
    },
    "an allow without numbers": BARE,
    "an allow at the threshold": {**BARE, "score": 0.5, "threshold": 0.5, "z": 0.0},
    "an allow whose score was rounded": {**BARE, "score": 1.0, "threshold": 0.999, "z": 40.0},
}


@pytest.mark.parametrize("truth", TRUTHS.values(), ids=TRUTHS.keys())
def test_believes_the_truth(truth: dict[str, Any]) -> None:
    reply = reply_of(truth)
    for way, decision in decisions_of(reply):
        assert bool(decision) is reply.allowed, way
        assert decision.verdict == reply.verdict, way
        assert decision.reason == reply.reason, way


def batch_reply(*results: Any) -> dict[str, Any]:
    return {"BatchCheck": lambda _request, _context: trust_v1.BatchCheckResponse(results=list(results))}


@pytest.mark.parametrize("count", [0, 2, 3])
def test_gives_no_answer_when_a_batch_has_another_count(count: int) -> None:
    results = [trust_v1.BatchCheckResult(decision=allow()) for _ in range(count)]
    with FakeServer(batch_reply(*results)) as server, Sigil(server.target, tls="insecure") as sigil:
        with pytest.raises(SigilError) as caught:
            sigil.check_batch([QUESTION])
        assert caught.value.reason == "REPLY_CONTRADICTORY"
        with pytest.raises(SigilError):
            sigil.call(trust_v1.BatchCheckRequest(checks=[QUESTION.to_message()]))


def test_makes_a_failure_of_an_item_that_holds_nothing_or_an_error_that_is_none() -> None:
    def failed(code: int) -> status_pb2.Status:
        return status_pb2.Status(code=code, message="m")

    outcomes: list[dict[str, Any]] = [
        {},
        {"error": failed(0)},
        {"error": failed(grpc.StatusCode.ABORTED.value[0])},
        {"error": failed(99)},
    ]

    def stream(requests: Iterator[Any], _context: Any) -> Iterator[Any]:
        for at, request in enumerate(requests):
            yield trust_v1.StreamChecksResponse(correlation_id=request.correlation_id, **outcomes[at])

    results = [trust_v1.BatchCheckResult(**each) for each in outcomes]
    behaviours = {**batch_reply(*results), "StreamChecks": stream}
    wanted = ["INTERNAL", "INTERNAL", "ABORTED", "UNKNOWN"]
    questions = [Question("write", f"user/{at}") for at in range(4)]
    with FakeServer(behaviours) as server, Sigil(server.target, tls="insecure") as sigil:
        for decisions in (
            sigil.check_batch(questions),
            [decision for _, decision in sigil.check_stream(questions)],
        ):
            assert [each.allowed for each in decisions] == [False] * 4
            assert [each.error and each.error.code.name for each in decisions] == wanted


def test_gives_no_answer_when_other_records_were_written() -> None:
    written: list[list[str | None]] = [["note/b"]]

    def one(record_id: str | None) -> canon_v1.WriteRecordResponse:
        record = None if record_id is None else type_v1.CanonicalRecord(id=record_id)
        return canon_v1.WriteRecordResponse(record=record)

    behaviours = {
        "WriteRecord": lambda _request, _context: one(written[0][0]),
        "BatchWriteRecords": lambda _request, _context: canon_v1.BatchWriteRecordsResponse(
            results=[one(each) for each in written[0]]
        ),
    }
    with FakeServer(behaviours) as server, Sigil(server.target, tls="insecure") as sigil:
        with pytest.raises(SigilError, match="another one"):
            sigil.canon.write("note/a", "note", {})
        for wrong in (["note/b"], [], ["note/a", "note/a"], [None]):
            written[0] = list(wrong)
            with pytest.raises(SigilError, match="contradicts"):
                sigil.canon.write_batch([Write("note/a", "note", {})])
        written[0] = ["note/a"]
        assert len(sigil.canon.write_batch([Write("note/a", "note", {})])) == 1


def streaming(ids: list[str]) -> dict[str, Any]:
    def stream(requests: Iterator[Any], _context: Any) -> Iterator[Any]:
        next(requests)
        for each in ids:
            yield trust_v1.StreamChecksResponse(correlation_id=each, decision=allow())

    return {"StreamChecks": stream}


@pytest.mark.parametrize(
    ("ids", "right"),
    [
        pytest.param(["2"], 0, id="a question that nobody asked"),
        pytest.param(["1", "1"], 1, id="a question twice"),
        pytest.param([""], 0, id="no question by name"),
        pytest.param([], 0, id="nothing"),
    ],
)
def test_leaves_a_stream_that_answers(ids: list[str], right: int) -> None:
    with FakeServer(streaming(ids)) as server, Sigil(server.target, tls="insecure") as sigil:
        seen = []
        with pytest.raises(SigilError) as caught:
            for _, decision in sigil.check_stream([QUESTION]):
                seen.append(decision)
        assert caught.value.reason == "REPLY_CONTRADICTORY"
        assert len(seen) == right


async def test_leaves_an_async_stream_that_answers_what_nobody_asked() -> None:
    with FakeServer(streaming(["2"])) as server:
        async with AsyncSigil(server.target, tls="insecure") as sigil:
            with pytest.raises(SigilError) as caught:
                [each async for each in sigil.check_stream([QUESTION])]
            assert caught.value.reason == "REPLY_CONTRADICTORY"


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"input_digest": bytes(32)}, id="another input"),
        pytest.param({"subject": "mallory"}, id="another subject"),
    ],
)
def test_gives_no_answer_to_another_question(changed: dict[str, Any]) -> None:
    asked = Question("write", "user/notes", subject="alice", input=b"x")
    with FakeServer(always(allow(**changed))) as server, Sigil(server.target, tls="insecure") as sigil:
        with pytest.raises(SigilError) as caught:
            sigil.check_question(asked)
        assert caught.value.reason == "REPLY_CONTRADICTORY"
        assert not sigil.check_batch([asked])[0]
        assert not next(iter(sigil.check_stream([asked])))[1]
        with pytest.raises(SigilError):
            sigil.call(asked.to_message())


def test_takes_the_canonical_spelling_of_a_subject_and_no_other() -> None:
    with (
        FakeServer(always(allow(subject="agents/ci"))) as server,
        Sigil(server.target, tls="insecure") as sigil,
    ):
        assert sigil.check("write", "a", subject="/agents//ci")
        assert sigil.check("write", "a", subject="spiffe://sigil.test/agents/ci")
        for other in ("agents", "agents/CI"):
            with pytest.raises(SigilError):
                sigil.check("write", "a", subject=other)
    with FakeServer(always(allow())) as server, Sigil(server.target, tls="insecure") as sigil:
        with pytest.raises(SigilError):
            sigil.check("write", "a", subject="agents/ci")


FLIP = {"current": type_v1.VERDICT_ALLOW, "candidate": type_v1.VERDICT_DENY}


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param({"scored": 1, "flipped": 2}, id="more flips than decisions"),
        pytest.param({"scored": 2, "flipped": 0, "decisions": [FLIP]}, id="flips that it does not count"),
        pytest.param(
            {"scored": 1, "flipped": 1, "decisions": [FLIP, FLIP]}, id="more decisions than it scored"
        ),
        pytest.param(
            {"scored": 1, "flipped": 1, "decisions": [{**FLIP, "candidate": 7}]}, id="an unknown verdict"
        ),
        pytest.param(
            {"scored": 1, "flipped": 1, "decisions": [{**FLIP, "candidate_score": math.nan}]},
            id="a score that is NaN",
        ),
    ],
)
def test_gives_no_simulation_with(reply: dict[str, Any]) -> None:
    behaviours = {"Simulate": lambda _request, _context: trust_v1.SimulateResponse(**reply)}
    with FakeServer(behaviours) as server, Sigil(server.target, tls="insecure") as sigil:
        with pytest.raises(SigilError) as caught:
            sigil.call(trust_v1.SimulateRequest(last_decisions=2))
        assert caught.value.reason == "REPLY_CONTRADICTORY"


PASSED = audit_v1.STEP_OUTCOME_PASSED


@pytest.mark.parametrize(
    ("outcomes", "verified"),
    [
        ([PASSED, audit_v1.STEP_OUTCOME_FAILED], False),
        ([PASSED, audit_v1.STEP_OUTCOME_SKIPPED], False),
        ([PASSED, 9], False),
        ([], False),
        ([PASSED, PASSED], True),
    ],
)
def test_is_verified_only_by_steps_that_all_passed(outcomes: list[int], verified: bool) -> None:
    steps = [audit_v1.VerificationStep(name="hash", outcome=each) for each in outcomes]  # type: ignore[arg-type]
    reply = audit_v1.VerifyFrozenChainResponse(verified=True, steps=steps)
    behaviours = {"VerifyFrozenChain": lambda _request, _context: reply}
    with FakeServer(behaviours) as server, Sigil(server.target, tls="insecure") as sigil:
        assert sigil.audit.verify("a").verified is verified


def test_a_decision_stays_what_it_was() -> None:
    reply = deny()
    decision = Decision(response=reply)
    reply.allowed, reply.verdict, reply.audit_id = True, type_v1.VERDICT_ALLOW, "a"
    assert not decision
    with pytest.raises(AttributeError):
        decision.allowed = True  # type: ignore[misc]
    assert not Decision()
    assert not Decision(response=allow(audit_id=""))
    assert not Decision(response=allow(allowed=False))
    assert not Decision(response=allow(verdict=type_v1.VERDICT_REVIEW))
    assert not Decision(response=allow(), error=SigilError(grpc.StatusCode.ABORTED, "m"))


@pytest.mark.parametrize("threshold", [1e-12, 0.01, 0.5, 0.9, 0.999_999, 0.999_999_9, 1 - 1e-12])
@pytest.mark.parametrize("margin", [-1e-3, -1e-6, 0.0, 1e-6, 1e-3])
def test_compares_z_with_the_threshold_in_logits(threshold: float, margin: float) -> None:
    z = math.log(threshold / (1 - threshold)) + margin
    reply = reply_of({**BARE, "threshold": threshold, "z": z})
    # The least difference that counts is relative: far from 0, logits are coarser.
    assert (decision_fault(reply) is None) is (margin >= 0)
