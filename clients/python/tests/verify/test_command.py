"""`python -m sigil_client.verify`: what it prints, how it exits; it needs no gRPC and no protobuf."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sigil_client.verify.command import main

from .vectors import read_vectors

_VECTORS = read_vectors("evidence.json")
_GENESIS = _VECTORS["genesis"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "decision.sigil"
    path.write_bytes(bytes.fromhex(_VECTORS["accept"][0]["hex"]))
    return path


def test_a_file_that_holds_exits_with_0(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(file), "--genesis", _GENESIS]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"VERIFIED  {file}\n")
    assert "allow" in printed


def test_json_says_what_the_command_of_the_server_says(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = file.with_suffix(".policy")
    policy.write_text(_VECTORS["policy"], "utf-8")
    assert main([str(file), "--genesis", _GENESIS, "--policy", str(policy), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said) == [
        "file",
        "verified",
        "steps",
        "genesis",
        "checkpoint",
        "cosigned",
        "record",
        "replay",
    ]
    assert said["verified"] is True
    assert said["genesis"] == _GENESIS
    assert said["record"]["time"] == "2023-11-14T22:13:20.000Z"
    assert said["replay"]["outcome"] == "equal"


def test_another_genesis_or_nobodys_word_exits_with_1(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(file), "--genesis", "00" * 32]) == 1
    assert main([str(file)]) == 1
    printed = capsys.readouterr().out
    assert printed.count("NOT VERIFIED") == 2
    # What a refused file says of itself is not repeated.
    assert "verdict" not in printed


def test_what_is_no_evidence_exits_with_2(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = file.with_suffix(".broken")
    broken.write_bytes(b"\x00" + file.read_bytes())
    assert main([str(broken), "--genesis", _GENESIS]) == 2
    assert main([str(file.with_suffix(".none")), "--genesis", _GENESIS]) == 2
    assert main([str(file), str(broken), "--genesis", _GENESIS]) == 2
    long = file.with_suffix(".long")
    with long.open("wb") as sparse:
        sparse.truncate((16 << 20) + 1)
    assert main([str(long), "--genesis", _GENESIS]) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["x", "--genesis", "12"], ["x", "--policy", "/nonexistent"], ["x", "--other"]]
)
def test_a_usage_error_exits_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(words)
    assert raised.value.code == 2


def test_control_characters_of_a_file_reach_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "a\x1b[2Jb"), "--genesis", _GENESIS]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_it_runs_as_a_module_without_grpc_or_protobuf(file: Path) -> None:
    program = (
        "import runpy, sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('grpc', 'google') or name.startswith('sigil_client._proto'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"sys.argv = ['verify', {str(file)!r}, '--genesis', {_GENESIS!r}, '--json']\n"
        "runpy.run_module('sigil_client.verify', run_name='__main__')\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verified"] is True
