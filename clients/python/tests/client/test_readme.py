"""What README.md shows, run against a server of this repository."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Deployment, caller
from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient

from sigil_client import Question, Sigil

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("notes")
def test_every_example_runs(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(BLOCKS) >= 8
    with Sigil(**caller(deployment, "operator")) as sigil:
        names: dict[str, Any] = {
            "target": deployment.target,
            "tls": "insecure",
            "private_key": deployment.key("operator"),
            "genesis": deployment.genesis.hex(),
        }
        for block in BLOCKS:
            names |= {"sigil": sigil, "questions": [Question("read", "public/docs")]}
            source = block.replace('"billing"', '"operator"').replace('"sigil.example.org"', '"sigil.dev"')
            exec(compile(source, str(README), "exec"), names)
            if (main := names.pop("main", None)) is not None:
                asyncio.run(main())
    instrumentor: Any = GrpcInstrumentorClient
    instrumentor().uninstrument()
    printed = capsys.readouterr().out.split("\n")
    # The quick start and the guard refund it, and the proof of a decision holds, here and without the server.
    assert printed[0] == "refunded"
    assert "refunded 7" in printed
    assert printed.count("True") == 2
    assert '{"greeting":"hello, Ada"}' in printed


def test_the_quick_start_has_ten_lines() -> None:
    assert len(BLOCKS[0].strip().split("\n")) <= 10
