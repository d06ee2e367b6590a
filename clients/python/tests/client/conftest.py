"""A server started from this repository, one for all tests that need one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sigil_client import Sigil, canon_v1, read_proposal

REPOSITORY = Path(__file__).parents[4]


def node() -> str:
    """The Node.js of the repository."""
    return os.environ.get("SIGIL_TEST_NODE", str(REPOSITORY / "node_modules/.bin/node"))


@dataclass(frozen=True)
class Deployment:
    """A development deployment that is served."""

    target: str
    origin: str
    folder: Path

    def key(self, name: str) -> bytes:
        """PEM of a sample principal or witness."""
        return (self.folder / ".sigil/keys" / f"{name}.pem").read_bytes()

    @property
    def genesis(self) -> bytes:
        """The hash of the genesis record."""
        return bytes.fromhex(json.loads((self.folder / ".sigil/data/deployment.json").read_text())["genesis"])


PORTS = ("--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0", "--http-listen", "off")


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Of `sigil dev`, without TLS, on this machine."""
    folder = tmp_path_factory.mktemp("deployment")
    command = [
        node(),
        "--disable-warning=ExperimentalWarning",
        str(REPOSITORY / "src/main.ts"),
        "dev",
        *PORTS,
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIGIL_")}
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        umask=0o077,
    ) as server:
        assert server.stdout is not None
        target = ""
        for line in server.stdout:
            entry = json.loads(line)
            if entry["msg"] == "serving":
                target = entry["target"]
                break
        assert target, "the server did not start"
        try:
            yield Deployment(target, "sigil.dev", folder)
        finally:
            server.terminate()
            server.stdout.read()


def caller(deployment: Deployment, name: str, **more: Any) -> dict[str, Any]:
    """What a client of a sample principal or witness is made with."""
    return {
        "target": deployment.target,
        "tls": "insecure",
        "principal": name,
        "origin": deployment.origin,
        "private_key": deployment.key(name.removeprefix("witness/")),
        "deadline_seconds": 60,
        **more,
    }


@pytest.fixture(scope="session")
def notes(deployment: Deployment) -> None:
    """A kind of records, "note": proposed by one, reviewed and attested by two witnesses with their own keys."""
    body = '{"kind":"note","schema":{"type":"object"}}'
    with Sigil(**caller(deployment, "mentor")) as mentor:
        proposed = mentor.call(canon_v1.ProposeRecordRequest(id="schema/note", payload_json=body))
    for name in ("witness-1", "witness-2"):
        with Sigil(**caller(deployment, f"witness/{name}")) as sigil:
            proposal = sigil.canon.proposal(proposed.proposal.id)
            assert read_proposal(proposal, origin=deployment.origin).id == "schema/note"
            reply = sigil.canon.attest(proposal, "approve", deployment.key(name))
    assert reply.HasField("committed")
