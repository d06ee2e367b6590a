"""Against a server of this repository: what it says is understood, and what it proves is verified."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import grpc
import pytest
from conftest import Deployment, caller
from fake_server import FakeServer

from sigil_client import (
    AsyncSigil,
    ChainFilter,
    Denied,
    Question,
    Sigil,
    SigilError,
    Trust,
    WatchFilter,
    Write,
    canon_v1,
    key_v1,
    sign_attestation,
    trust_v1,
    type_v1,
    verify,
)


@pytest.fixture(scope="module")
def operator(deployment: Deployment) -> Iterator[Sigil]:
    with Sigil(**caller(deployment, "operator")) as sigil:
        yield sigil


def test_an_anonymous_guest_may_read_and_not_delete(deployment: Deployment) -> None:
    with Sigil(deployment.target, tls="insecure", deadline_seconds=60) as sigil:
        decision = sigil.require("read", "public/docs")
        assert decision.allowed
        assert decision.audit_id
        with pytest.raises(Denied) as caught:
            sigil.require("delete", "user/profile")
        assert caught.value.reason == "LEVEL_TOO_LOW"
        assert not sigil.check("delete", "user/profile")


def test_a_caller_is_known_by_its_key(operator: Sigil, deployment: Deployment) -> None:
    decision = operator.check("write", "user/notes", session="s", input=b"hello")
    assert decision
    assert decision.subject == "operator"
    assert decision.level == type_v1.LEVEL_OF_ACCESS_OPERATOR
    assert decision.time is not None
    chain = operator.audit.get(decision.audit_id)
    assert (chain.action, chain.target, chain.caller, chain.session) == (
        "write",
        "user/notes",
        "operator",
        "s",
    )
    stranger = {**caller(deployment, "operator"), "private_key": deployment.key("mentor")}
    with Sigil(**stranger) as sigil, pytest.raises(Denied) as caught:
        sigil.require("read", "public/docs")
    assert caught.value.reason == "TOKEN_UNKNOWN_KEY"
    with (
        Sigil(**caller(deployment, "operator", origin="sigil.other")) as sigil,
        pytest.raises(Denied) as caught,
    ):
        sigil.require("read", "public/docs")
    assert caught.value.reason == "TOKEN_AUDIENCE"


def test_a_batch_and_a_stream_answer_each_question(operator: Sigil) -> None:
    questions = [Question("read", "public/docs"), Question("admin", "x"), Question("write", "user/../notes")]
    first, second, third = operator.check_batch(questions)
    assert first
    assert not second
    assert second.error is None
    assert third.error is not None
    assert third.error.field != ""
    answers = dict(operator.check_stream(questions))
    assert [bool(answers[each]) for each in questions] == [True, False, False]


async def test_the_async_client_does_the_same(deployment: Deployment) -> None:
    async with AsyncSigil(**caller(deployment, "operator")) as sigil:
        assert (await sigil.require("write", "user/notes")).allowed
        assert [
            bool(each) for each in await sigil.check_batch([Question("read", "a"), Question("admin", "x")])
        ] == [
            True,
            False,
        ]

        async def questions() -> Any:
            for at in range(200):
                yield Question("read", f"public/{at}")

        answers = [pair async for pair in sigil.check_stream(questions())]
        assert len({question.target for question, _ in answers}) == 200
        chain = [each async for each in sigil.audit.list(ChainFilter(action="admin"))]
        assert chain


def test_an_idempotency_key_gives_the_first_answer_again(operator: Sigil) -> None:
    first = operator.check("read", "public/docs", idempotency_key="k-1")
    second = operator.check("read", "public/docs", idempotency_key="k-1")
    assert first.audit_id == second.audit_id
    with pytest.raises(SigilError) as caught:
        operator.check("read", "public/other", idempotency_key="k-1")
    assert caught.value.code is grpc.StatusCode.ALREADY_EXISTS


def test_more_questions_than_a_batch_takes_are_refused(operator: Sigil) -> None:
    with pytest.raises(SigilError) as caught:
        operator.check_batch([Question("read", "a")] * 1001)
    assert caught.value.field == "checks"


@pytest.mark.usefixtures("notes")
def test_records_are_written_read_listed_and_watched(operator: Sigil) -> None:
    written = operator.canon.write(
        "note/day/menu", "note", {"soup": "leek", "plates": 40}, expected_version=0
    )
    assert written.version == 1
    with pytest.raises(SigilError) as caught:
        operator.canon.write("note/day/menu", "note", {"soup": "pea"}, expected_version=0)
    assert caught.value.code is grpc.StatusCode.ABORTED
    assert caught.value.facts["version"] == "1"
    both = operator.canon.write_batch([Write(f"note/day/{at}", "note", {"at": at}) for at in range(3)])
    assert [each.version for each in both] == [1, 1, 1]
    record = operator.canon.read("note/day/menu")
    assert (record.kind, record.version, record.payload) == ("note", 1, {"soup": "leek", "plates": 40})
    assert operator.canon.read("note/day/menu", version=1).hash == record.hash
    listed = [each.id for each in operator.canon.list(id_prefix="note/day/")]
    assert listed == ["note/day/0", "note/day/1", "note/day/2", "note/day/menu"]
    watch = operator.canon.watch(WatchFilter(kinds=["note"]), from_position=record.position)
    events = list(islice(watch, 4))
    assert [each.record and each.record.id for each in events] == [
        "note/day/menu",
        "note/day/0",
        "note/day/1",
        "note/day/2",
    ]
    operator.canon.write("note/day/menu", "note", tombstone=True)
    with pytest.raises(SigilError) as caught:
        operator.canon.read("note/day/menu")
    assert caught.value.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.usefixtures("notes")
async def test_records_by_the_async_client(deployment: Deployment) -> None:
    async with AsyncSigil(**caller(deployment, "operator")) as sigil:
        await sigil.canon.write("note/async", "note", {"a": [1, 2.5, None, True, "x"]})
        record = await sigil.canon.read("note/async")
        assert record.payload == {"a": [1, 2.5, None, True, "x"]}
        assert "note/async" in [each.id async for each in sigil.canon.list(id_prefix="note/")]
        async for event in sigil.canon.watch(WatchFilter(kinds=["note"]), from_position=record.position):
            assert event.record is not None
            assert event.record.id == "note/async"
            break


@pytest.mark.parametrize(
    "change",
    [
        {"body": b"\xa0"},
        {"origin": "sigil.other"},
        {"record_id": "trust_model/active"},
        {"kind": "trust_model"},
        {"state": canon_v1.PROPOSAL_STATE_COMMITTED},
        {"epoch": 2**60},
        {"with": [b"more"]},
        {"record_hash": bytes(32)},
    ],
)
def test_signs_no_proposal_that_shows_something_else(deployment: Deployment, change: dict[str, Any]) -> None:
    with Sigil(**caller(deployment, "mentor")) as mentor:
        body = '{"kind":"other","schema":{"type":"object"}}'
        proposed = mentor.call(canon_v1.ProposeRecordRequest(id="schema/other", payload_json=body))
    key = deployment.key("witness-1")
    sign_attestation(proposed.proposal, "approve", key, origin=deployment.origin)
    proposal = canon_v1.Proposal()
    proposal.CopyFrom(proposed.proposal)
    for name, value in change.items():
        if name == "with":
            getattr(proposal, name).extend(value)
        else:
            setattr(proposal, name, value)
    with pytest.raises(SigilError) as caught:
        sign_attestation(proposal, "approve", key, origin=deployment.origin)
    assert caught.value.reason == "PROPOSAL_REFUSED"
    with pytest.raises(SigilError):
        sign_attestation(proposed.proposal, "maybe", key, origin=deployment.origin)  # type: ignore[arg-type]


def test_a_module_runs(deployment: Deployment) -> None:
    with Sigil(**caller(deployment, "operator")) as sigil:
        names = [module.name for module in sigil.modules.list()]
        assert "hello" in names
        assert sigil.modules.get("hello").module.active
        reply = sigil.modules.run("hello", {"name": "ann"}, deadline_seconds=60)
        assert b"ann" in reply.output
        parts = list(sigil.modules.run_stream("hello", b'{"name":"bob"}'))
        assert parts[-1].WhichOneof("part") == "result"


def test_decisions_are_listed_and_followed(operator: Sigil) -> None:
    asked = [operator.check("read", f"followed/{at}").audit_id for at in range(3)]
    wanted = ChainFilter(target_glob="followed/*")
    assert [chain.audit_id for chain in operator.audit.list(wanted, oldest_first=True)] == asked
    assert [chain.audit_id for chain in islice(operator.audit.follow(wanted), 3)] == asked
    assert operator.audit.verify(asked[0]).verified


def test_evidence_is_verified_without_the_server(operator: Sigil, deployment: Deployment) -> None:
    decision = operator.check("write", "user/notes")
    evidence = operator.audit.evidence(decision.audit_id)
    assert verify(evidence, Trust(genesis=deployment.genesis))
    assert not verify(evidence, Trust(genesis=bytes(32)))
    assert not verify(evidence[:-1] + bytes([evidence[-1] ^ 1]), Trust(genesis=deployment.genesis))


async def test_decisions_are_verified_on_the_connection(deployment: Deployment) -> None:
    questions = [Question("read", f"public/{at}") for at in range(3)]
    trust = Trust(genesis=deployment.genesis)
    with Sigil(**caller(deployment, "operator", verify_decisions=trust)) as sigil:
        assert sigil.check("write", "user/notes").verified
        assert sigil.require("write", "user//notes", subject="/operator").verified
        assert all(each.verified and each for each in sigil.check_batch(questions))
        assert all(decision.verified and decision for _, decision in sigil.check_stream(questions))
    async with AsyncSigil(**caller(deployment, "operator", verify_decisions=trust)) as later:
        assert (await later.check("write", "user/notes")).verified
        assert all(each.verified for each in await later.check_batch(questions))
        assert all([decision.verified async for _, decision in later.check_stream(questions)])


async def test_decisions_by_another_genesis_are_none(deployment: Deployment) -> None:
    trust = Trust(genesis=bytes(32))
    with Sigil(**caller(deployment, "operator", verify_decisions=trust)) as sigil:
        with pytest.raises(Denied) as caught:
            sigil.require("write", "user/notes")
        assert caught.value.reason == "PROOF_REFUSED"
        assert not sigil.check_batch([Question("read", "a")])[0]
    async with AsyncSigil(**caller(deployment, "operator", verify_decisions=trust)) as later:
        with pytest.raises(Denied) as caught:
            await later.require("write", "user/notes")
        assert caught.value.reason == "PROOF_REFUSED"


FORGERIES: dict[str, Any] = {
    "no proof": lambda reply: reply.ClearField("proof"),
    "another position": lambda reply: setattr(reply, "ledger_position", reply.ledger_position + 1),
    "another envelope": lambda reply: setattr(reply.proof, "envelope", reply.proof.envelope[:-1] + b"\x00"),
    "another path": lambda reply: reply.proof.inclusion_proof.append(bytes(32)),
    "another checkpoint": lambda reply: setattr(reply.proof, "checkpoint", "sigil.dev\n1\nAAAA\n\n"),
    "another record": lambda reply: setattr(reply, "audit_id", "0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11"),
    "another reason": lambda reply: setattr(reply, "reason", "SOMETHING"),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_forged_allow_is_none(deployment: Deployment, forge: Any) -> None:
    """A server in between that passes everything on, and changes the answer."""
    trust = Trust(genesis=deployment.genesis)
    with Sigil(**caller(deployment, "operator")) as honest:

        def forged(request: trust_v1.CheckRequest, _context: Any) -> trust_v1.CheckResponse:
            reply: trust_v1.CheckResponse = honest.call(request)
            forge(reply)
            return reply

        behaviours = {
            "Check": forged,
            "ListKeyRecords": lambda request, _context: honest.call(key_v1.ListKeyRecordsRequest()),
        }
        with FakeServer(behaviours) as server:
            with Sigil(server.target, tls="insecure", verify_decisions=trust, deadline_seconds=60) as sigil:
                with pytest.raises(Denied) as caught:
                    sigil.require("write", "user/notes")
                assert caught.value.reason == "PROOF_REFUSED"
            async with AsyncSigil(
                server.target, tls="insecure", verify_decisions=trust, deadline_seconds=60
            ) as later:
                with pytest.raises(Denied) as caught:
                    await later.require("write", "user/notes")
                assert caught.value.reason == "PROOF_REFUSED"


def test_an_allow_of_another_question_is_none(deployment: Deployment) -> None:
    trust = Trust(genesis=deployment.genesis)
    with Sigil(**caller(deployment, "operator")) as honest:

        def another(request: trust_v1.CheckRequest, _context: Any) -> trust_v1.CheckResponse:
            request.target = "public/docs"
            reply: trust_v1.CheckResponse = honest.call(request)
            return reply

        behaviours = {
            "Check": another,
            "ListKeyRecords": lambda request, _context: honest.call(key_v1.ListKeyRecordsRequest()),
        }
        with (
            FakeServer(behaviours) as server,
            Sigil(server.target, tls="insecure", verify_decisions=trust, deadline_seconds=60) as sigil,
        ):
            with pytest.raises(Denied) as caught:
                sigil.require("write", "user/notes")
            assert caught.value.reason == "PROOF_REFUSED"
