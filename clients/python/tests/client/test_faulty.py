"""Every row of the repository's faulty server (test/faulty), by every face of both clients: never an allow, in bounded
time, and no secret in an error or a log.
"""

from __future__ import annotations

import asyncio
import base64
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


def plain(sigil: Sigil, table: Table, row: dict[str, Any]) -> bool:
    questions = table.questions
    if row["call"] == "batch":
        return summed(sigil.check_batch(questions), len(questions))
    if row["call"] == "stream":
        pairs = sigil.check_stream(questions, deadline_seconds=row["deadlineMs"] / 1000)
        return summed([decision for _, decision in pairs], len(questions))
    return bool(sigil.check_question(questions[0]))


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
    handler = grpc.unary_unary_rpc_method_handler(lambda _request, _context: True)
    guarded = guard.intercept_service(lambda _details: handler, Details())  # type: ignore[arg-type]
    return bool(guarded.unary_unary(b"", Context()))


async def plain_later(sigil: AsyncSigil, table: Table, row: dict[str, Any]) -> bool:
    questions = table.questions
    if row["call"] == "batch":
        return summed(await sigil.check_batch(questions), len(questions))
    if row["call"] == "stream":
        pairs = sigil.check_stream(questions, deadline_seconds=row["deadlineMs"] / 1000)
        return summed([decision async for _, decision in pairs], len(questions))
    return bool(await sigil.check_question(questions[0]))


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


def suited(table: Table, name: str) -> list[dict[str, Any]]:
    """Guards ask one question: they play the rows of `check`."""
    return [row for row in table.rows if name == "check" or row["call"] == "check"]


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


def play_all(face: Face, table: Table, rows: list[dict[str, Any]], **given: Any) -> list[Outcome]:
    """Several at a time but for those with an environment, which a process has only one of."""
    outcomes: dict[str, Outcome] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        free = [row for row in rows if "env" not in row]
        made = pool.map(lambda row: (row["name"], play(face, table, row, **given)), free)
        outcomes.update(dict(made))
    for row in rows:
        if "env" in row:
            with pytest.MonkeyPatch.context() as patch:
                for name, value in row["env"].items():
                    patch.setenv(name, value)
                outcomes[row["name"]] = play(face, table, row, **given)
    return [outcomes[row["name"]] for row in rows]


async def play_all_later(face: AsyncFace, table: Table, rows: list[dict[str, Any]]) -> list[Outcome]:
    outcomes: dict[str, Outcome] = {}
    places = asyncio.Semaphore(AT_ONCE)

    async def one(row: dict[str, Any]) -> None:
        async with places:
            outcomes[row["name"]] = await play_later(face, table, row)

    await asyncio.gather(*(one(row) for row in rows if "env" not in row))
    for row in rows:
        if "env" in row:
            with pytest.MonkeyPatch.context() as patch:
                for name, value in row["env"].items():
                    patch.setenv(name, value)
                outcomes[row["name"]] = await play_later(face, table, row)
    return [outcomes[row["name"]] for row in rows]


def problems(
    table: Table, rows: list[dict[str, Any]], outcomes: list[Outcome], logged: str, *, guards: bool
) -> list[str]:
    found = [
        problem
        for row, outcome in zip(rows, outcomes, strict=True)
        if (problem := problem_of(row, outcome, table.secrets, guards=guards)) is not None
    ]
    return [*found, *(f"a secret in the log: {len(secret)}" for secret in table.secrets if secret in logged)]


def test_has_faults_and_controls(table: Table) -> None:
    expected = [row["expect"] for row in table.rows]
    assert sum(each != "allow" for each in expected) >= 40
    assert "allow" in expected


@pytest.mark.parametrize("name", FACES)
def test_no_fault_is_an_allow(table: Table, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    rows = suited(table, name)
    outcomes = play_all(FACES[name], table, rows)
    assert problems(table, rows, outcomes, caplog.text, guards=name != "check") == []


@pytest.mark.parametrize("name", ASYNC_FACES)
async def test_no_fault_is_an_async_allow(table: Table, name: str, caplog: pytest.LogCaptureFixture) -> None:
    # Events of the loop itself hold what its tasks are about.
    caplog.set_level(logging.INFO)
    rows = suited(table, name)
    outcomes = await play_all_later(ASYNC_FACES[name], table, rows)
    assert problems(table, rows, outcomes, caplog.text, guards=name != "check") == []


def test_proxies_saw_tls_and_no_token(table: Table) -> None:
    recorded = Path(table.told["recordedFile"]).read_bytes()
    assert b"CONNECT" in recorded
    assert b"Bearer" not in recorded
    assert b"eyJ" not in recorded


def test_a_client_that_fails_open_fails_every_row(table: Table) -> None:
    """The suite notices a client that makes an allow of every deny and every error."""
    faults = [row for row in table.rows if row["expect"] != "allow"]
    outcomes = play_all(plain, table, faults, fails_open=True)
    passed = [
        row["name"]
        for row, outcome in zip(faults, outcomes, strict=True)
        if problem_of(row, outcome, table.secrets, guards=False) is None
    ]
    assert passed == []


def test_it_is_the_verification_that_notices(table: Table) -> None:
    rows = [row for row in table.rows if row.get("needsVerification")]
    assert rows
    outcomes = play_all(plain, table, rows, verifies=False)
    assert {row["name"]: outcome.kind for row, outcome in zip(rows, outcomes, strict=True)} == {
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
