"""`python -m sigil_client.verify`: what it prints, how it exits; it needs no gRPC and no protobuf."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sigil_client.verify.command import main

from .vectors import read_vectors

_VECTORS = read_vectors("evidence.json")
_GENESIS = _VECTORS["genesis"]
_SOURCES = Path(__file__).parents[2] / "src"


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


def test_it_runs_as_a_module(file: Path) -> None:
    command = [sys.executable, "-m", "sigil_client.verify", str(file), "--genesis", _GENESIS, "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(_SOURCES)}
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verified"] is True


def test_it_needs_nothing_of_the_client_and_neither_grpc_nor_protobuf(file: Path) -> None:
    """As a package of its own, with everything but `cryptography` and the standard library out of reach."""
    program = (
        "import importlib.util, sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('grpc', 'google', 'sigil_client'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"folder = {str(_SOURCES / 'sigil_client/verify')!r}\n"
        "spec = importlib.util.spec_from_file_location(\n"
        "    'alone', folder + '/__init__.py', submodule_search_locations=[folder]\n"
        ")\n"
        "sys.modules['alone'] = package = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(package)\n"
        "from alone.command import main\n"
        f"sys.exit(main([{str(file)!r}, '--genesis', {_GENESIS!r}, '--json']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env={}
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verified"] is True


def test_its_sources_import_nothing_else() -> None:
    allowed = {*sys.stdlib_module_names, "cryptography"}
    sources = sorted((_SOURCES / "sigil_client/verify").rglob("*.py"))
    assert len(sources) > 40
    for path in sources:
        depth = len(path.relative_to(_SOURCES / "sigil_client/verify").parts)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= depth, f"{path} imports from outside of the package"
                assert node.level > 0 or (node.module or "").split(".")[0] in allowed, path
            if isinstance(node, ast.Import):
                assert all(alias.name.split(".")[0] in allowed for alias in node.names), path
