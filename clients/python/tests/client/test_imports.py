"""Who only verifies needs `cryptography` and nothing else of the package's dependencies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sigil_client

SOURCES = Path(sigil_client.__file__).parents[1]
WITHOUT_GRPC = f"""
import sys
sys.path.insert(0, {str(SOURCES)!r})

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("grpc", "google", "googleapis_common_protos"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


def run(program: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_GRPC + program, *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "program",
    [
        "from sigil_client.verify import Trust, verify; assert not verify(b'', Trust.of(genesis='00' * 32))",
        "from sigil_client import ProofError, Trust, verify; assert not verify(b'', Trust.of(genesis='00' * 32))",
        "from sigil_client import TokenSigner, key_thumbprint",
        "import sigil_client; assert 'Sigil' in dir(sigil_client)",
        "import runpy; sys.argv = ['verify', '--help']\n"
        "try: runpy.run_module('sigil_client.verify', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code",
    ],
)
def test_verifying_takes_no_grpc(program: str) -> None:
    done = run(program)
    assert done.returncode == 0, done.stderr


def test_a_client_without_grpc_says_what_is_missing() -> None:
    done = run("from sigil_client import Sigil")
    assert done.returncode == 1
    assert "No module named 'g" in done.stderr


def test_every_name_has_one_place() -> None:
    at_hand = {"ProofError", "Trust", "verify"}
    assert at_hand | set(sigil_client._PLACE_OF) == set(sigil_client.__all__)
    assert not at_hand & set(sigil_client._PLACE_OF)
    with pytest.raises(AttributeError, match="no attribute 'Sigill'"):
        _ = sigil_client.Sigill  # type: ignore[attr-defined]
