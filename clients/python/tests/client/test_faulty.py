"""Every row of the repository's faulty server (test/faulty), by every face of both clients: never an allow, in bounded
time, and no secret in an error or a log.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import subprocess
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import grpc
import pytest
from conftest import REPOSITORY, node

from sigil_client import (
    AsgiGuard,
    AsyncSigil,
    Decision,
    GuardInterceptor,
    Question,
    Sigil,
    SigilError,
    Tls,
    TokenSigner,
    Trust,
    WsgiGuard,
)

SLACK_SECONDS = 60
"""Beyond a row's deadline: a busy machine is no fault, a call that never ends is one."""
AT_ONCE = 40


@dataclass
class Table:
    """What the faulty server printed."""

    told: dict[str, Any]
    secrets: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        key = Path(self.told["keyFile"]).read_text().split("\n")[1]
        raw = base64.b64decode(key)[-32:]
        self.secrets |= {key, raw.hex(), base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}

    @property
    def rows(self) -> list[dict[str, Any]]:
        return list(self.told["rows"])

    @property
    def questions(self) -> list[Question]:
        return [Question(each["action"], each["target"]) for each in self.told["questions"]]

    def keep(self, token: str) -> str:
        """A token, and each part of it, is nothing to be shown."""
        self.secrets |= {token, *(part for part in token.split(".") if len(part) > 20)}
        return token


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    command = [node(), "--disable-warning=ExperimentalWarning", str(REPOSITORY / "test/faulty/main.ts")]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield Table(json.loads(server.stdout.readline()))
        finally:
            server.stdin.close()


class KeptTokens:
    """Tokens of the key, or of a file, which are remembered as secrets."""

    def __init__(self, table: Table, row: dict[str, Any]) -> None:
        self._table = table
        self._file = row.get("tokenFile")
        self._signer = TokenSigner(
            principal=table.told["principal"],
            origin=row.get("origin", table.told["origin"]),
            private_key=Path(table.told["keyFile"]).read_bytes(),
        )

    def token(self) -> str:
        made = self._signer.token() if self._file is None else Path(self._file).read_text()
        return self._table.keep(made)


def options(table: Table, row: dict[str, Any], *, verifies: bool = True) -> dict[str, Any]:
    tls: Any = "insecure"
    if "tls" in row:
        tls = Tls(ca=Path(row["tls"]["caFile"]).read_bytes(), server_name=row["tls"].get("serverName"))
    trust = Trust(genesis=bytes.fromhex(table.told["genesis"]))
    return {
        "target": row["target"],
        "tls": tls,
        "tokens": KeptTokens(table, row),
        "deadline_seconds": row["deadlineMs"] / 1000,
        "verify_decisions": trust if verifies and row.get("needsVerification") else None,
    }


class NotServed(Exception):
    """A guard of a server answered in place of what it guards."""


def summed(decisions: list[Decision], asked: int) -> bool:
    """One allow among denies would be an allow of a faulty server."""
    for decision in decisions:
        if decision.error is not None:
            raise decision.error
    if len(decisions) < asked:
        raise LookupError(f"{len(decisions)} answers to {asked} questions")
    return any(decisions)


Face = Callable[[Sigil, Table, dict[str, Any]], bool]
AsyncFace = Callable[[AsyncSigil, Table, dict[str, Any]], Awaitable[bool]]


def first_of(table: Table, row: dict[str, Any]) -> Question:
    about = row.get("about", {})
    first = table.questions[0]
    return Question(first.action, first.target, about.get("subject"), input=about.get("input", "").encode())


def plain(sigil: Sigil, table: Table, row: dict[str, Any]) -> bool:
    questions = table.questions
    if row["call"] == "batch":
        return summed(sigil.check_batch(questions), len(questions))
    if row["call"] == "stream":
        pairs = sigil.check_stream(questions, deadline_seconds=row["deadlineMs"] / 1000)
        return summed([decision for _, decision in pairs], len(questions))
    question = first_of(table, row)
    for _ in range(row.get("before", 0)):
        sigil.check_question(question)
    return bool(sigil.check_question(question))


def required(sigil: Sigil, table: Table, _row: dict[str, Any]) -> bool:
    [question, _] = table.questions
    sigil.require(question.action, question.target)
    return True


def decorated(sigil: Sigil, table: Table, _row: dict[str, Any]) -> bool:
    [question, _] = table.questions
    return sigil.guard(question.action, question.target)(lambda: True)()


def in_a_block(sigil: Sigil, table: Table, _row: dict[str, Any]) -> bool:
    [question, _] = table.questions
    with sigil.guard(question.action, question.target):
        return True


def by_wsgi(sigil: Sigil, table: Table, _row: dict[str, Any]) -> bool:
    [question, _] = table.questions
    served: list[bool] = []

    def app(_environ: Any, _start: Any) -> list[bytes]:
        served.append(True)
        return []

    guard = WsgiGuard(app, sigil, action=question.action, target=question.target)
    guard({}, lambda _status, _headers: None)
    if not served:
        raise NotServed
    return True


class Context:
    """Of a call to a guarded method."""

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def abort(self, _code: grpc.StatusCode, _details: str) -> NoReturn:
        raise NotServed


def by_an_interceptor(sigil: Sigil, table: Table, _row: dict[str, Any]) -> bool:
    [question, _] = table.questions

    class Details:
        method = "/a.B/C"

    guard = GuardInterceptor(sigil, action=question.action, target=question.target)
    handler: Any = grpc.unary_unary_rpc_method_handler(lambda _request, _context: True)
    guarded = guard.intercept_service(lambda _details: handler, Details())  # type: ignore[arg-type]
    return bool(guarded.unary_unary(b"", Context()))


async def plain_later(sigil: AsyncSigil, table: Table, row: dict[str, Any]) -> bool:
    questions = table.questions
    if row["call"] == "batch":
        return summed(await sigil.check_batch(questions), len(questions))
    if row["call"] == "stream":
        pairs = sigil.check_stream(questions, deadline_seconds=row["deadlineMs"] / 1000)
        return summed([decision async for _, decision in pairs], len(questions))
    question = first_of(table, row)
    for _ in range(row.get("before", 0)):
        await sigil.check_question(question)
    return bool(await sigil.check_question(question))


async def required_later(sigil: AsyncSigil, table: Table, _row: dict[str, Any]) -> bool:
    [question, _] = table.questions
    await sigil.require(question.action, question.target)
    return True


async def decorated_later(sigil: AsyncSigil, table: Table, _row: dict[str, Any]) -> bool:
    [question, _] = table.questions

    @sigil.guard(question.action, question.target)
    async def work() -> bool:
        return True

    return await work()


async def by_asgi(sigil: AsyncSigil, table: Table, _row: dict[str, Any]) -> bool:
    [question, _] = table.questions
    served: list[bool] = []

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        served.append(True)

    async def nothing(*_given: Any) -> Any:
        return None

    await AsgiGuard(app, sigil, action=question.action, target=question.target)(
        {"type": "http"}, nothing, nothing
    )
    if not served:
        raise NotServed
    return True


FACES: dict[str, Face] = {
    "check": plain,
    "require": required,
    "decorator": decorated,
    "block": in_a_block,
    "WSGI": by_wsgi,
    "interceptor": by_an_interceptor,
}
ASYNC_FACES: dict[str, AsyncFace] = {
    "check": plain_later,
    "require": required_later,
    "decorator": decorated_later,
    "ASGI": by_asgi,
}


@dataclass(frozen=True)
class Outcome:
    """What came of a row."""

    kind: str
    text: str
    took_seconds: float


def outcome_of(began: float, allowed: bool | None, error: BaseException | None) -> Outcome:
    text = (
        "" if error is None else "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    )
    kind = "error" if error is not None else "allow" if allowed else "deny"
    return Outcome(kind, text, time.monotonic() - began)


def play(
    face: Face, table: Table, row: dict[str, Any], *, verifies: bool = True, fails_open: bool = False
) -> Outcome:
    began = time.monotonic()
    try:
        with Sigil(**options(table, row, verifies=verifies)) as sigil:
            return outcome_of(began, face(sigil, table, row) or fails_open, None)
    except Exception as error:
        return outcome_of(began, True, None) if fails_open else outcome_of(began, None, error)


async def play_later(face: AsyncFace, table: Table, row: dict[str, Any]) -> Outcome:
    began = time.monotonic()
    try:
        async with AsyncSigil(**options(table, row)) as sigil:
            return outcome_of(began, await face(sigil, table, row), None)
    except Exception as error:
        return outcome_of(began, None, error)


def suits(face: str, row: dict[str, Any]) -> bool:
    """Guards ask one question, of an action and a target: they play the rows of `check` that ask no more."""
    asks_more = "before" in row or "about" in row
    return face == "check" or bool(row["call"] == "check" and not asks_more)


def problem_of(row: dict[str, Any], outcome: Outcome, secrets: set[str], *, guards: bool) -> str | None:
    expected = row["expect"]
    if guards or expected == "either":
        fits = (outcome.kind == "allow") is (expected == "allow")
    else:
        fits = outcome.kind == expected
    if not fits:
        return f"{row['name']}: {outcome.kind} instead of {expected}: {outcome.text[-300:]}"
    if outcome.took_seconds > row["deadlineMs"] / 1000 + SLACK_SECONDS:
        return f"{row['name']}: ended after {outcome.took_seconds:.0f} s"
    if any(secret in outcome.text for secret in secrets):
        return f"{row['name']}: a secret in its error"
    return None


Played = dict[tuple[str, str], Outcome]
"""By face and row."""


@contextlib.contextmanager
def environment(row: dict[str, Any]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in row.get("env", {}).items():
            patch.setenv(name, value)
        yield


def in_turns(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows that go at the same time; of those with an environment, which a process has only one of, one."""
    return [[row for row in rows if "env" not in row], *([row] for row in rows if "env" in row)]


def play_all(faces: dict[str, Face], table: Table, rows: list[dict[str, Any]], **given: Any) -> Played:
    outcomes: Played = {}

    def one(name: str, row: dict[str, Any]) -> None:
        outcomes[name, row["name"]] = play(faces[name], table, row, **given)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for turn in in_turns(rows):
            with environment(turn[0]):
                parts = [(name, row) for row in turn for name in faces if suits(name, row)]
                list(pool.map(lambda part: one(*part), parts))
    return outcomes


async def play_all_later(faces: dict[str, AsyncFace], table: Table, rows: list[dict[str, Any]]) -> Played:
    outcomes: Played = {}
    places = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, row: dict[str, Any]) -> None:
        async with places:
            outcomes[name, row["name"]] = await play_later(faces[name], table, row)

    for turn in in_turns(rows):
        with environment(turn[0]):
            await asyncio.gather(*(one(name, row) for row in turn for name in faces if suits(name, row)))
    return outcomes


def problems(table: Table, played: Played, logged: str) -> list[str]:
    rows = {row["name"]: row for row in table.rows}
    found = [
        f"{face}, {problem}"
        for (face, name), outcome in played.items()
        if (problem := problem_of(rows[name], outcome, table.secrets, guards=face != "check")) is not None
    ]
    return [*found, *(f"a secret in the log: {len(secret)}" for secret in table.secrets if secret in logged)]


def test_has_faults_and_controls(table: Table) -> None:
    expected = [row["expect"] for row in table.rows]
    assert sum(each != "allow" for each in expected) >= 40
    assert "allow" in expected


def test_no_fault_is_an_allow(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    played = play_all(FACES, table, table.rows)
    assert len(played) > len(FACES) * 40
    assert problems(table, played, caplog.text) == []


async def test_no_fault_is_an_async_allow(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    # Events of the loop itself hold what its tasks are about.
    caplog.set_level(logging.INFO)
    played = await play_all_later(ASYNC_FACES, table, table.rows)
    assert len(played) > len(ASYNC_FACES) * 40
    assert problems(table, played, caplog.text) == []


def test_proxies_saw_tls_and_no_token(table: Table) -> None:
    recorded = Path(table.told["recordedFile"]).read_bytes()
    assert b"CONNECT" in recorded
    assert b"Bearer" not in recorded
    assert b"eyJ" not in recorded


def test_a_client_that_fails_open_fails_every_row(table: Table) -> None:
    """The suite notices a client that makes an allow of every deny and every error."""
    faults = {row["name"]: row for row in table.rows if row["expect"] != "allow"}
    played = play_all({"check": plain}, table, list(faults.values()), fails_open=True)
    assert len(played) == len(faults)
    passed = [
        name
        for (_, name), outcome in played.items()
        if problem_of(faults[name], outcome, table.secrets, guards=False) is None
    ]
    assert passed == []


def test_it_is_the_verification_that_notices(table: Table) -> None:
    rows = [row for row in table.rows if row.get("needsVerification")]
    assert rows
    played = play_all({"check": plain}, table, rows, verifies=False)
    assert {name: outcome.kind for (_, name), outcome in played.items()} == {
        row["name"]: "allow" for row in rows
    }


def test_the_environment_is_as_it_was() -> None:
    assert not [
        name for name in os.environ if name.lower().endswith("_proxy") and ".invalid" in os.environ[name]
    ]


def test_errors_of_items_are_errors() -> None:
    failed = Decision(error=SigilError(grpc.StatusCode.ABORTED, "m"))
    with pytest.raises(SigilError):
        summed([failed], 1)
