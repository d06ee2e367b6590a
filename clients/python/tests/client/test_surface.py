"""The two clients have one surface, and neither shows a secret."""

from __future__ import annotations

import inspect
import json
import pickle
import traceback
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fake_server import FakeServer, allow, always, fail

import sigil_client
from sigil_client import (
    AsyncSigil,
    Denied,
    Question,
    Sigil,
    SigilError,
    Tls,
    TokenSigner,
    to_dict,
    to_json,
    trust_v1,
    type_v1,
)
from sigil_client.calls.methods import all_methods
from sigil_client.services.audit import AsyncAudit, Audit
from sigil_client.services.canon import AsyncCanon, Canon
from sigil_client.services.modules import AsyncModules, Modules


def surface(kind: type) -> dict[str, list[str]]:
    """Public methods with the names, kinds and defaults of what they take."""
    return {
        name: [
            f"{each.kind.name} {each.name}={each.default}"
            for each in inspect.signature(method).parameters.values()
        ]
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") or name == "__init__"
    }


@pytest.mark.parametrize(
    ("blocking", "later"),
    [(Sigil, AsyncSigil), (Canon, AsyncCanon), (Audit, AsyncAudit), (Modules, AsyncModules)],
)
def test_both_clients_have_one_surface(blocking: type, later: type) -> None:
    assert surface(blocking) == surface(later)
    for name in surface(blocking):
        if name != "__init__":
            assert inspect.getdoc(getattr(blocking, name)), name


def test_every_name_that_is_exported_is_there() -> None:
    assert all(hasattr(sigil_client, name) for name in sigil_client.__all__)
    assert sorted(sigil_client.__all__) == list(sigil_client.__all__)


def test_every_rpc_has_a_request_of_its_own() -> None:
    paths = [method.path for method in all_methods()]
    assert len(paths) == len(set(paths)) > 40


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
SECRET_TEXTS = [PEM.decode().split("\n")[1], "s3cret", "Bearer"]


def shown(error: BaseException) -> str:
    """All that a log may hold of an error: its texts, and those of what led to it."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


def assert_no_secret(text: str) -> None:
    for secret in SECRET_TEXTS:
        assert secret not in text


class Tokens:
    """Gives a token, or fails as somebody's own source would."""

    def __init__(self, token: Any) -> None:
        self._token = token

    def token(self) -> Any:
        if isinstance(self._token, Exception):
            raise self._token
        return self._token


class LaterTokens(Tokens):
    """The same, that has to be waited for."""

    async def token(self) -> Any:
        return super().token()


@pytest.mark.parametrize(
    ("token", "rule"),
    [
        ("s3cret\n", "begins or ends with white space"),
        ("s3cret\r\n", "begins or ends with white space"),
        (" s3cret", "begins or ends with white space"),
        ("\ufeffs3cret", "not ASCII"),
        ("s3cret s3cret", "holds white space"),
        ("s3cret\r\ns3cret", "holds white space"),
        ("s3cret\x00", "control character"),
        ("", "is empty"),
        ("s3crét", "not ASCII"),
        (None, "is empty"),
        (b"s3cret", "of type bytes"),
        (7, "of type int"),
        ("s3cret" * 1000, "it has 6000"),
    ],
)
async def test_a_token_that_cannot_be_sent_is_one_error_that_names_the_rule(token: Any, rule: str) -> None:
    refused: list[BaseException] = []
    with FakeServer(always(allow())) as server:
        with Sigil(server.target, tls="insecure", tokens=Tokens(token)) as sigil:
            guarded = sigil.guard("read", "a")(lambda: None)
            for ask in (lambda: sigil.check("read", "a"), lambda: sigil.require("read", "a"), guarded):
                with pytest.raises(SigilError) as caught:
                    ask()
                refused.append(caught.value)
        for source in (Tokens(token), LaterTokens(token)):
            async with AsyncSigil(server.target, tls="insecure", tokens=source) as later:

                @later.guard("read", "a")
                async def work() -> None:
                    raise AssertionError("it was not guarded")

                for pending in (later.check("read", "a"), later.require("read", "a"), work()):
                    with pytest.raises(SigilError) as caught:
                        await pending
                    refused.append(caught.value)
        assert server.seen.requests == []
    assert len(refused) == 9
    for error in refused:
        assert isinstance(error, SigilError)
        assert (error.reason, error.field) == ("TOKEN_SOURCE_FAILED", "tokens")
        assert rule in str(error)
        assert_no_secret(shown(error))


@pytest.mark.parametrize(
    "key",
    [
        "keys/operator.pem",
        "",
        b"",
        PEM.replace(b"PRIVATE", b"PUBLIC"),
        PEM[:-40],
        PEM.decode() + "\udc80",
        "s3crét",
        7,
    ],
)
def test_a_key_that_is_none_is_one_error_that_names_it(key: Any) -> None:
    for kind in (Sigil, AsyncSigil):
        with pytest.raises(TypeError, match=r"^private_key must be an Ed25519 private key") as caught:
            kind("127.0.0.1:1", tls="insecure", principal="b", origin="o", private_key=key)
        assert_no_secret(shown(caught.value))


@pytest.mark.parametrize("changed", [b"\n\n", b"\r\n", b"  "])
def test_a_key_may_be_written_as_editors_do(changed: bytes) -> None:
    assert TokenSigner(principal="b", origin="o", private_key=PEM.replace(b"\n", b"\r\n") + changed).token()
    assert TokenSigner(principal="b", origin="o", private_key=b"\xef\xbb\xbf" + PEM).token()


def test_what_a_token_source_says_is_not_passed_on_in_the_message() -> None:
    with Sigil("127.0.0.1:1", tls="insecure", tokens=Tokens(RuntimeError("s3cret"))) as sigil:
        with pytest.raises(Denied) as caught:
            sigil.require("read", "a")
    assert_no_secret(str(caught.value) + repr(caught.value))
    assert "RuntimeError" in str(caught.value)


@pytest.mark.parametrize(
    "metadata",
    [{"x-a": "s3cret\n"}, {"x a": "s3cret"}, {"x-bin": "s3cret"}, {"x-a": b"s3cret"}, {"x-a": "s3crét"}],
)
def test_metadata_that_cannot_be_sent_is_not_shown(metadata: dict[str, Any]) -> None:
    with Sigil("127.0.0.1:1", tls="insecure", tokens=Tokens("s3cret")) as sigil:
        with pytest.raises(SigilError) as caught:
            sigil.check("read", "a", metadata=metadata)
    assert caught.value.field == "metadata"
    assert_no_secret(shown(caught.value))


def test_no_error_of_a_call_shows_a_token_or_an_input() -> None:
    def behaviour(_request: Any, context: grpc.ServicerContext) -> Any:
        fail(context, grpc.StatusCode.UNAUTHENTICATED, "no")

    with FakeServer({"Check": behaviour}) as server:
        for target in (server.target, "127.0.0.1:1"):
            with Sigil(target, tls="insecure", tokens=Tokens("s3cret"), retry=None) as sigil:
                with pytest.raises(Denied) as caught:
                    sigil.require("read", "a", input=SECRET_TEXTS[1].encode())
                assert_no_secret(shown(caught.value))


def test_nothing_that_holds_a_key_shows_it() -> None:
    caller = {"principal": "b", "origin": "o", "private_key": PEM}
    for each in (
        TokenSigner(**caller),  # type: ignore[arg-type]
        Sigil("127.0.0.1:1", tls="insecure", **caller),  # type: ignore[arg-type]
        AsyncSigil("127.0.0.1:1", tls="insecure", **caller),  # type: ignore[arg-type]
        Tls(cert=PEM, key=PEM),
        Question("read", "a", input=b"s3cret"),
    ):
        text = repr(each) if not isinstance(each, Tls) else repr(each).replace(repr(each.cert), "")
        assert_no_secret(text)


@pytest.mark.parametrize("wrong", [{"cert": b"c"}, {"key": b"k"}, {"ca": "text"}])
def test_refuses_half_a_certificate(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Tls(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": ""},
        {"target": "a", "tls": "secure"},
        {"target": "a", "insecure_tokens": "yes"},
        {"target": "a", "deadline_seconds": 0},
        {"target": "a", "verify_decisions": b"genesis"},
        {"target": "a", "verify_decisions": sigil_client.Trust()},
    ],
)
def test_refuses_to_connect(wrong: dict[str, Any]) -> None:
    for kind in (Sigil, AsyncSigil):
        with pytest.raises(TypeError):
            kind(**wrong)


def test_messages_print_as_proto3_json() -> None:
    reply = trust_v1.CheckResponse(
        verdict=type_v1.VERDICT_ALLOW, allowed=True, ledger_position=2**60, model_hash=b"\x01\x02"
    )
    wanted = {"verdict": "VERDICT_ALLOW", "allowed": True, "ledgerPosition": str(2**60), "modelHash": "AQI="}
    assert json.loads(str(reply)) == json.loads(to_json(reply)) == to_dict(reply) == wanted
    assert trust_v1.CheckResponse.FromString(reply.SerializeToString()) == reply
    assert pickle.loads(pickle.dumps(reply)) == reply


def test_a_decision_prints_as_its_answer() -> None:
    with FakeServer(always(allow())) as server, Sigil(server.target, tls="insecure") as sigil:
        assert json.loads(str(sigil.check("read", "a"))) == {
            "verdict": "VERDICT_ALLOW",
            "allowed": True,
            "auditId": "a",
        }
