"""How calls are made: deadlines, repeats, tokens, proxies, sockets, and the end of a client."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fake_server import FakeServer, Times, allow, always, fail, retry_info
from google.rpc import error_details_pb2

from sigil_client import (
    AsyncSigil,
    Denied,
    Question,
    Retry,
    Sigil,
    SigilError,
    Tls,
    TokenSigner,
    audit_v1,
    canon_v1,
    key_thumbprint,
    module_v1,
    trust_v1,
)
from sigil_client.calls.retry import RetryBudget
from sigil_client.calls.target import channel_options, is_loopback

QUICK = Retry(first_delay_seconds=0.001, delay_seconds_max=0.002)
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def failing(times: Times, failures: int, *details: Any, code: grpc.StatusCode = UNAVAILABLE) -> Any:
    """Fails so often, and allows then."""

    def behaviour(_request: Any, context: grpc.ServicerContext) -> Any:
        if times.next() <= failures:
            fail(context, code, "m", *details)
        return allow()

    return behaviour


def test_repeats_a_check_with_one_key_of_its_own() -> None:
    with (
        FakeServer({"Check": failing(Times(), 2)}) as server,
        Sigil(server.target, tls="insecure", retry=QUICK) as sigil,
    ):
        assert sigil.check("read", "a")
        assert sigil.check("read", "a")
        keys = [request.idempotency_key for request in server.seen.requests]
        assert len(keys) == 4
        assert len(set(keys[:3])) == 1
        assert keys[0] != keys[3] != ""


async def test_repeats_an_async_check_with_one_key_of_its_own() -> None:
    with FakeServer({"Check": failing(Times(), 2)}) as server:
        async with AsyncSigil(server.target, tls="insecure", retry=QUICK) as sigil:
            assert await sigil.check("read", "a")
        keys = {request.idempotency_key for request in server.seen.requests}
        assert len(server.seen.requests) == 3
        assert len(keys) == 1


def test_keeps_the_key_and_the_request_that_it_was_given() -> None:
    request = trust_v1.CheckRequest(action="read", target="a")
    with (
        FakeServer({"Check": failing(Times(), 1)}) as server,
        Sigil(server.target, tls="insecure", retry=QUICK) as sigil,
    ):
        sigil.check("read", "a", idempotency_key="mine")
        assert [each.idempotency_key for each in server.seen.requests] == ["mine", "mine"]
        sigil.call(request)
        assert request.idempotency_key == ""


def test_makes_no_keys_and_repeats_nothing_without_retry() -> None:
    times = Times()
    with (
        FakeServer({"Check": failing(times, 9)}) as server,
        Sigil(server.target, tls="insecure", retry=None) as sigil,
    ):
        with pytest.raises(SigilError):
            sigil.check("read", "a")
        assert times.count == 1
        assert server.seen.requests[0].idempotency_key == ""


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("Run", module_v1.RunRequest(name="hello")),
        ("AttestProposal", canon_v1.AttestProposalRequest(id="p", statement=b"s")),
    ],
)
def test_sends_once_what_is_not_safe_to_repeat(name: str, request_: Any) -> None:
    times = Times()
    with (
        FakeServer({name: failing(times, 9)}) as server,
        Sigil(server.target, tls="insecure", retry=QUICK) as sigil,
    ):
        with pytest.raises(SigilError):
            sigil.call(request_)
        assert times.count == 1


@pytest.mark.parametrize(
    "code", ["INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED", "ABORTED", "RESOURCE_EXHAUSTED"]
)
def test_repeats_nothing_that_does_not_pass(code: str) -> None:
    times = Times()
    behaviour = failing(times, 9, code=grpc.StatusCode[code])
    with (
        FakeServer({"Check": behaviour}) as server,
        Sigil(server.target, tls="insecure", retry=QUICK) as sigil,
    ):
        with pytest.raises(SigilError) as caught:
            sigil.check("read", "a")
        assert caught.value.code.name == code
        assert times.count == 1


def test_waits_as_long_as_the_server_asks() -> None:
    behaviour = failing(Times(), 1, retry_info(0.3), code=grpc.StatusCode.RESOURCE_EXHAUSTED)
    with (
        FakeServer({"Check": behaviour}) as server,
        Sigil(server.target, tls="insecure", retry=QUICK) as sigil,
    ):
        began = time.monotonic()
        assert sigil.check("read", "a")
        assert time.monotonic() - began >= 0.3


def test_never_waits_past_the_deadline() -> None:
    times = Times()
    with (
        FakeServer({"Check": failing(times, 9, retry_info(600))}) as server,
        Sigil(server.target, tls="insecure", deadline_seconds=60) as sigil,
    ):
        began = time.monotonic()
        with pytest.raises(SigilError) as caught:
            sigil.check("read", "a")
        assert caught.value.retry_delay_seconds == 600
        assert times.count == 1
        assert time.monotonic() - began < 30


def test_gives_up_after_so_many_attempts() -> None:
    times = Times()
    retry = Retry(attempts_max=3, first_delay_seconds=0.001, delay_seconds_max=0.002)
    with (
        FakeServer({"Check": failing(times, 99)}) as server,
        Sigil(server.target, tls="insecure", retry=retry) as sigil,
    ):
        with pytest.raises(SigilError):
            sigil.check("read", "a")
        assert times.count == 3


def test_stops_repeating_while_most_calls_fail() -> None:
    times = Times()
    with (
        FakeServer({"Check": failing(times, 10_000)}) as server,
        Sigil(server.target, tls="insecure", retry=QUICK) as sigil,
    ):
        for _ in range(20):
            with pytest.raises(SigilError):
                sigil.check("read", "a")
        # Five repeats empty the half of the budget that may be spent; then every question is asked once.
        assert times.count < 20 + RetryBudget.TOKENS_MAX


def test_pauses_double_and_are_not_in_step() -> None:
    retry = Retry(first_delay_seconds=0.1, delay_seconds_max=1)
    error = SigilError(UNAVAILABLE, "m")
    assert [retry.pause_seconds(at, error, 0.0) for at in range(6)] == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5]
    assert retry.pause_seconds(0, error, 0.999) == pytest.approx(0.1, rel=0.01)
    asked = SigilError(UNAVAILABLE, "m", retry_delay_seconds=7)
    assert retry.pause_seconds(0, asked, 0.5) == 7


@pytest.mark.parametrize(
    "wrong", [{"attempts_max": 0}, {"first_delay_seconds": 0}, {"delay_seconds_max": 0.01}]
)
def test_refuses_a_retry(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"attempts_max|delays"):
        Retry(**wrong)


def hanging(release: threading.Event) -> Any:
    def behaviour(_request: Any, _context: Any) -> Any:
        release.wait(60)
        return allow()

    return behaviour


def test_has_a_deadline_that_covers_all_attempts() -> None:
    release = threading.Event()
    with (
        FakeServer({"Check": hanging(release)}) as server,
        Sigil(server.target, tls="insecure", deadline_seconds=0.2) as sigil,
    ):
        with pytest.raises(Denied) as caught:
            sigil.require("read", "a")
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        with pytest.raises(SigilError):
            sigil.check("read", "a", deadline_seconds=0.1)
        release.set()


async def test_bounds_a_token_source_that_hangs_by_the_deadline() -> None:
    class Hanging:
        async def token(self) -> str:
            await asyncio.sleep(600)
            return "t"

    async with AsyncSigil("127.0.0.1:1", tls="insecure", tokens=Hanging(), deadline_seconds=0.1) as sigil:
        with pytest.raises(SigilError) as caught:
            await sigil.check("read", "a")
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_reads_the_details_of_an_error() -> None:
    info = error_details_pb2.ErrorInfo(reason="LEVEL_TOO_LOW", metadata={"level": "operator"})
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="target", description="must be shorter")
    request = error_details_pb2.RequestInfo(request_id="r-1")

    def behaviour(_request: Any, context: grpc.ServicerContext) -> Any:
        fail(context, grpc.StatusCode.PERMISSION_DENIED, "no", info, bad, retry_info(1.5), request)

    with FakeServer({"Check": behaviour}) as server, Sigil(server.target, tls="insecure") as sigil:
        with pytest.raises(SigilError) as caught:
            sigil.check("read", "a")
    error = caught.value
    assert (error.reason, dict(error.facts), error.field) == (
        "LEVEL_TOO_LOW",
        {"level": "operator"},
        "target",
    )
    assert (error.retry_delay_seconds, error.request_id) == (1.5, "r-1")
    assert str(error) == "PERMISSION_DENIED: no"


def test_leaves_out_details_that_cannot_be_decoded() -> None:
    def behaviour(_request: Any, context: grpc.ServicerContext) -> Any:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff"), ("x-request-id", "r-2")))
        context.abort(grpc.StatusCode.INTERNAL, "broken")

    with FakeServer({"Check": behaviour}) as server, Sigil(server.target, tls="insecure") as sigil:
        with pytest.raises(SigilError) as caught:
            sigil.check("read", "a")
    assert (caught.value.reason, caught.value.request_id) == ("", "r-2")


def test_makes_an_error_of_a_reply_that_is_none() -> None:
    behaviours = {"Check": lambda _request, _context: b"\xff\xff\xff"}
    with FakeServer(behaviours) as server, Sigil(server.target, tls="insecure") as sigil:
        with pytest.raises(Denied) as caught:
            sigil.require("read", "a")
        assert caught.value.code is grpc.StatusCode.INTERNAL


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def parts(token: str) -> list[Any]:
    return [
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.split(".")[:2]
    ]


def test_makes_the_tokens_that_the_specification_asks_for() -> None:
    signer = TokenSigner(principal="bill", origin="sigil.test", private_key=PEM, now_seconds=lambda: 1000.9)
    text = signer.token()
    header, claims = parts(text)
    assert header == {"alg": "EdDSA", "typ": "JWT", "kid": key_thumbprint(KEY.public_key())}
    jti = claims.pop("jti")
    assert 0 < len(jti) <= 128
    assert claims == {"iss": "bill", "sub": "bill", "aud": "sigil.test", "iat": 1000, "exp": 1600}
    signing_input, _, signature = text.rpartition(".")
    KEY.public_key().verify(base64.urlsafe_b64decode(signature + "=="), signing_input.encode())


def test_keeps_a_token_until_a_fifth_of_its_life_is_left_and_renews_it_when_the_clock_goes_back() -> None:
    now = [1000.0]
    signer = TokenSigner(principal="b", origin="o", private_key=KEY, now_seconds=lambda: now[0])
    first = signer.token()
    now[0] = 1479.9
    assert signer.token() == first
    now[0] = 1480.0
    second = signer.token()
    assert second != first
    now[0] = 1479.0
    assert signer.token() not in (first, second)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param("no key", id="text that is no key"),
        pytest.param(
            generate_private_key(SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ),
            id="a key of another kind",
        ),
        pytest.param(KEY.public_key(), id="a public key"),
    ],
)
def test_refuses_as_a_private_key(wrong: Any) -> None:
    with pytest.raises(TypeError, match="private_key must be an Ed25519 private key") as caught:
        TokenSigner(principal="b", origin="o", private_key=wrong)
    assert caught.value.__cause__ is None
    assert "PRIVATE KEY" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0, 601, 1.5])
def test_refuses_a_lifetime(seconds: Any) -> None:
    with pytest.raises(ValueError, match="lifetime_seconds"):
        TokenSigner(principal="b", origin="o", private_key=KEY, lifetime_seconds=seconds)


@pytest.mark.parametrize(
    "half",
    [
        {"principal": "b"},
        {"private_key": PEM, "principal": "b"},
        {"private_key": PEM, "origin": "o"},
        {
            "principal": "b",
            "origin": "o",
            "private_key": PEM,
            "tokens": TokenSigner(principal="b", origin="o", private_key=KEY),
        },
    ],
)
def test_refuses_half_a_caller_or_two(half: dict[str, Any]) -> None:
    for kind in (Sigil, AsyncSigil):
        with pytest.raises(TypeError):
            kind("127.0.0.1:1", tls="insecure", **half)


LOOPBACKS = [
    "localhost",
    "localhost:50051",
    "127.0.0.1:50051",
    "127.8.9.1:1",
    "dns:127.0.0.1:50051",
    "dns:///localhost:50051",
    "ipv4:127.0.0.1:50051,127.0.0.2:1",
    "ipv6:[::1]:50051",
    "[::1]:50051",
    "::1",
    "unix:/run/sigil.sock",
    "unix:///run/sigil.sock",
    "unix-abstract:sigil",
]
ELSEWHERE = [
    "sigil.example.org:443",
    "127.0.0.1.example.org:443",
    "localhost.example.org",
    "ipv4:127.0.0.1:1,10.0.0.1:1",
    "10.127.0.0.1",
    "[::2]:1",
    "dns://10.0.0.1/sigil.example.org",
    "",
]


@pytest.mark.parametrize(
    ("target", "here"), [*((each, True) for each in LOOPBACKS), *((each, False) for each in ELSEWHERE)]
)
def test_knows_what_is_on_this_machine(target: str, here: bool) -> None:
    assert is_loopback(target) is here


@pytest.mark.parametrize("kind", [Sigil, AsyncSigil])
def test_sends_no_token_in_the_clear_to_another_machine(kind: Any) -> None:
    caller = {"principal": "b", "origin": "o", "private_key": PEM}
    with pytest.raises(TypeError, match="without TLS"):
        kind("sigil.example.org:443", tls="insecure", **caller)
    kind("sigil.example.org:443", tls="insecure", insecure_tokens="send", **caller)
    kind("sigil.example.org:443", **caller)
    kind("127.0.0.1:443", tls="insecure", **caller)


def test_sends_no_authorization_of_a_call_in_the_clear() -> None:
    with Sigil("sigil.example.org:443", tls="insecure") as sigil:
        with pytest.raises(SigilError) as caught:
            sigil.check("read", "a", metadata={"Authorization": "Bearer secret"})
        assert caught.value.reason == "TOKEN_REFUSED"
        assert "secret" not in str(caught.value)


def test_sends_its_token_or_the_one_of_the_call_and_the_limit_of_replies() -> None:
    class Tokens:
        def token(self) -> str:
            return "held"

    with (
        FakeServer(always(allow())) as server,
        Sigil(server.target, tls="insecure", tokens=Tokens()) as sigil,
    ):
        sigil.check("read", "a")
        sigil.check("read", "a", metadata={"authorization": "Bearer own", "x-request-id": "r"})
        list(sigil.check_stream([Question("read", "a")]))
        seen = server.seen.metadata
        assert [each["authorization"] for each in seen] == ["Bearer held", "Bearer own", "Bearer held"]
        assert seen[1]["x-request-id"] == "r"
        assert {each["sigil-reply-bytes-max"] for each in seen} == {str(4 << 20)}


class RecordingProxy:
    """A proxy that writes down what it is asked for and refuses it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(4096).decode("latin-1").split("\r\n")[0])
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def proxy() -> Iterator[RecordingProxy]:
    made = RecordingProxy()
    yield made
    made.close()


PROXY_NAMES = ("grpc_proxy", "https_proxy", "http_proxy", "no_proxy", "no_grpc_proxy")


@pytest.mark.parametrize("name", PROXY_NAMES[:3])
def test_a_proxy_gets_nothing_that_stays_on_this_machine(
    name: str, proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in PROXY_NAMES:
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, proxy.url)
    given: list[Any] = [("grpc.enable_http_proxy", 1), ("grpc.http_proxy", proxy.url)]
    with FakeServer(always(allow())) as server:
        port = server.port
        for target in (server.target, f"localhost:{port}", f"dns:127.0.0.1:{port}", f"ipv4:127.0.0.1:{port}"):
            with Sigil(target, tls="insecure", channel_options=given) as sigil:
                assert sigil.check("read", "a"), target
    assert proxy.asked == []


def test_a_proxy_gets_nothing_in_the_clear_and_tls_to_another_machine(
    proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in PROXY_NAMES:
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv("http_proxy", proxy.url)
    with Sigil("sigil.invalid:50051", tls="insecure", deadline_seconds=3) as sigil, pytest.raises(SigilError):
        sigil.check("read", "a")
    assert proxy.asked == []
    with Sigil("sigil.invalid:50051", deadline_seconds=3) as sigil, pytest.raises(SigilError):
        sigil.check("read", "a")
    assert proxy.asked[0] == "CONNECT sigil.invalid:50051 HTTP/1.1"


def test_takes_no_policy_of_repeats_from_a_domain() -> None:
    options = dict(
        channel_options("sigil.example.org", Tls(), (("grpc.service_config_disable_resolution", 0),))
    )
    assert options["grpc.service_config_disable_resolution"] == 1


def test_calls_over_a_unix_socket(tmp_path: Path) -> None:
    class Unix(FakeServer):
        def __init__(self) -> None:
            super().__init__(always(allow()))
            self.target = f"unix:{tmp_path / 's'}"
            assert self._server.add_insecure_port(self.target)

    with (
        Unix() as server,
        Sigil(server.target, tls="insecure", principal="b", origin="o", private_key=PEM) as sigil,
    ):
        assert sigil.check("read", "a")


def test_a_closed_client_answers_nothing() -> None:
    with FakeServer(always(allow())) as server:
        sigil = Sigil(server.target, tls="insecure")
        assert sigil.check("read", "a")
        sigil.close()
        sigil.close()
        with pytest.raises(Denied) as caught:
            sigil.require("read", "a")
        assert caught.value.reason == "CLIENT_CLOSED"
        with pytest.raises(SigilError):
            list(sigil.check_stream([Question("read", "a")]))


async def test_a_closed_async_client_answers_nothing() -> None:
    with FakeServer(always(allow())) as server:
        sigil = AsyncSigil(server.target, tls="insecure")
        assert await sigil.check("read", "a")
        await sigil.close()
        await sigil.close()
        with pytest.raises(Denied) as caught:
            await sigil.require("read", "a")
        assert caught.value.reason == "CLIENT_CLOSED"


def test_closing_ends_what_waits() -> None:
    release = threading.Event()
    failures: list[BaseException] = []
    with FakeServer({"Check": hanging(release), "Run": failing(Times(), 99)}) as server:
        sigil = Sigil(server.target, tls="insecure", deadline_seconds=60)

        def ask() -> None:
            try:
                sigil.require("read", "a")
            except Denied as denied:
                failures.append(denied)

        asking = threading.Thread(target=ask)
        asking.start()
        while not server.seen.requests:
            time.sleep(0.01)
        sigil.close()
        asking.join(30)
        release.set()
    assert [failure.reason for failure in failures if isinstance(failure, Denied)] == ["CLIENT_CLOSED"]


async def test_a_task_that_is_cancelled_is_cancelled() -> None:
    release = threading.Event()
    with FakeServer({"Check": hanging(release)}) as server:
        async with AsyncSigil(server.target, tls="insecure", deadline_seconds=60) as sigil:
            task = asyncio.ensure_future(sigil.require("read", "a"))
            while not server.seen.requests:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            release.set()


def test_what_a_source_of_questions_raises_is_raised() -> None:
    def questions() -> Iterator[Question]:
        yield Question("read", "a")
        raise LookupError("mine")

    with FakeServer(always(allow())) as server, Sigil(server.target, tls="insecure") as sigil:
        with pytest.raises(LookupError, match="mine"):
            list(sigil.check_stream(questions()))


async def test_what_an_async_source_of_questions_raises_is_raised() -> None:
    async def questions() -> Any:
        yield Question("read", "a")
        raise LookupError("mine")

    with FakeServer(always(allow())) as server:
        async with AsyncSigil(server.target, tls="insecure") as sigil:
            with pytest.raises(LookupError, match="mine"):
                [each async for each in sigil.check_stream(questions())]


def test_leaving_a_stream_cancels_it() -> None:
    over = threading.Event()

    def stream(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        context.add_callback(over.set)
        for request in requests:
            yield trust_v1.StreamChecksResponse(correlation_id=request.correlation_id, decision=allow())

    def endless() -> Iterator[Question]:
        while True:
            yield Question("read", "a")

    with FakeServer({"StreamChecks": stream}) as server, Sigil(server.target, tls="insecure") as sigil:
        for _, decision in sigil.check_stream(endless()):
            assert decision
            break
        assert over.wait(30)


def test_gives_every_rpc_by_its_request() -> None:
    page = audit_v1.ListFrozenChainsResponse(ledger_size=3)
    with (
        FakeServer({"ListFrozenChains": lambda _request, _context: page}) as server,
        Sigil(server.target, tls="insecure") as sigil,
    ):
        assert sigil.call(audit_v1.ListFrozenChainsRequest()).ledger_size == 3
        with pytest.raises(TypeError, match="request of no call"):
            sigil.call(audit_v1.FrozenChain())
        with pytest.raises(TypeError, match="stream of requests"):
            sigil.call(trust_v1.StreamChecksRequest())
