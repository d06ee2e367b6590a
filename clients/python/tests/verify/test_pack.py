"""Evidence packs: the golden one, each step's refusals, and what else may lie in a folder."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from sigil_client.verify import PACK_STEPS, PackVerdict, Trust, verify_pack
from sigil_client.verify.command import main
from sigil_client.verify.ecma import number_text, stringify
from sigil_client.verify.errors import MalformedCheckpoint, ProofError
from sigil_client.verify.pack.manifest import parse_manifest
from sigil_client.verify.pack.reading import PackRefused, format_time, read_time

from .vectors import read_vectors

_VECTORS = read_vectors("pack.json")
_ACCEPT: dict[str, str] = _VECTORS["accept"]


def _write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(bytes.fromhex(content) if name == "proof" else content.encode())
    return folder


def _trust(given: dict[str, Any]) -> Trust:
    return Trust.of(given["genesis"], given["policy"])


def test_the_golden_pack_holds_by_genesis_and_policy_and_by_either_alone(tmp_path: Path) -> None:
    folder = _write(tmp_path / "pack", _ACCEPT)
    trust = _VECTORS["trust"]
    for given in (trust, {**trust, "policy": None}, {**trust, "genesis": None}):
        verdict = verify_pack(folder, _trust(given))
        assert verdict.failed is None
        assert verdict
        assert tuple(step.name for step in verdict.steps) == PACK_STEPS
    manifest = verify_pack(folder, _trust(trust)).require().manifest
    assert manifest is not None
    assert manifest.decisions == len(_ACCEPT["decisions.jsonl"].splitlines())


@pytest.mark.parametrize("case", [pytest.param(case, id=case["what"]) for case in _VECTORS["refuse"]])
def test_a_changed_pack_is_refused_by_the_step_that_is_there_for_it(tmp_path: Path, case: Any) -> None:
    folder = _write(tmp_path / "pack", {**_ACCEPT, **case["files"]})
    verdict = verify_pack(folder, _trust(case["trust"]))
    assert verdict.failed is not None
    assert verdict.failed.name == case["step"]
    assert tuple(step.name for step in verdict.steps) == PACK_STEPS
    assert not verdict
    with pytest.raises(ProofError, match=f"^{case['step']}: "):
        verdict.require()


def test_each_step_has_a_vector_that_it_refuses() -> None:
    assert {case["step"] for case in _VECTORS["refuse"]} == set(PACK_STEPS)


def test_the_command_takes_a_pack_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _write(tmp_path / "pack", _ACCEPT)
    genesis = _VECTORS["trust"]["genesis"]
    assert main([str(folder), "--genesis", genesis, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    keys = [
        "pack",
        "verified",
        "steps",
        "genesis",
        "origin",
        "tenant",
        "from",
        "to",
        "counts",
        "gaps",
        "controls",
    ]
    assert list(said) == keys
    assert main([str(folder), "--genesis", genesis]) == 0
    assert capsys.readouterr().out.startswith(f"VERIFIED  {folder}\n")
    (folder / "controls.csv").write_text("x")
    assert main([str(folder), "--genesis", genesis]) == 1
    (folder / "manifest.json").write_text("{}")
    assert main([str(folder), "--genesis", genesis]) == 2
    (folder / "manifest.json").unlink()
    assert main([str(folder), "--genesis", genesis]) == 2


def _failed(verdict: PackVerdict) -> str:
    assert verdict.failed is not None
    return verdict.failed.name


def test_nothing_else_may_lie_in_the_folder(tmp_path: Path) -> None:
    trust = _trust(_VECTORS["trust"])
    folder = _write(tmp_path / "pack", _ACCEPT)
    (folder / "more").write_text("x")
    assert _failed(verify_pack(folder, trust)) == "files"
    (folder / "more").unlink()
    (folder / "folder").mkdir()
    assert _failed(verify_pack(folder, trust)) == "files"
    (folder / "folder").rmdir()
    elsewhere = tmp_path / "elsewhere"
    os.replace(folder / "proof", elsewhere)
    (folder / "proof").symlink_to(elsewhere)
    assert _failed(verify_pack(folder, trust)) == "files"
    (folder / "proof").unlink()
    assert _failed(verify_pack(folder, trust)) == "files"


def _with_digests(files: dict[str, str]) -> dict[str, str]:
    """A manifest whose digests are those of the changed files: whoever changes a file can change them as well."""
    manifest = json.loads(files["manifest.json"])
    for file in manifest["files"]:
        name = file["name"]
        raw = bytes.fromhex(files[name]) if name == "proof" else files[name].encode()
        file["bytes"], file["sha256"] = len(raw), hashlib.sha256(raw).hexdigest()
    return {**files, "manifest.json": stringify(manifest, 2) + "\n"}


def test_no_changed_file_passes_with_its_digest_made_again(tmp_path: Path) -> None:
    assert _with_digests(_ACCEPT) == _ACCEPT
    chance = random.Random(3)
    trust = _trust(_VECTORS["trust"])
    for _ in range(60):
        name = chance.choice([name for name in _ACCEPT if name != "manifest.json"])
        text = _ACCEPT[name]
        at = chance.randrange(len(text))
        other = "0" if text[at] != "0" else "1"
        changed = _with_digests({**_ACCEPT, name: text[:at] + other + text[at + 1 :]})
        assert not verify_pack(_write(tmp_path / "pack", changed), trust), (name, at)


def test_a_manifest_is_accepted_in_one_form_only() -> None:
    text = _ACCEPT["manifest.json"]
    value = json.loads(text)
    assert stringify(value, 2) + "\n" == text
    parse_manifest(text)
    others = [
        stringify(value),
        stringify(value, 2),
        stringify(value, 4) + "\n",
        text + "\n",
        " " + text,
        stringify(dict(reversed(value.items())), 2) + "\n",
        stringify({**value, "note": ""}, 2) + "\n",
        stringify({**value, "counts": {**value["counts"], "gaps": 0}}, 2) + "\n",
        text.replace('"version": 1,', '"version": 1.0,'),
        text.replace('"version": 1,', '"version": 1,\n  "version": 1,'),
        text.replace('"tool": "s', '"tool": "\\u0073'),
        text.replace('"format"', '"forma\\u0074"'),
        text.replace("sigil-evidence-pack", "sigil-evidence-pac"),
        text.replace('"name": "proof"', '"name": "../proof"'),
    ]
    for other in [*others, "[" * 100_000, "NaN", "1" * 5000, "{}", "[]", "null", ""]:
        assert other != text
        with pytest.raises((PackRefused, MalformedCheckpoint)):
            parse_manifest(other)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1e21, "1e+21"),
        (123456789012345680000.0, "123456789012345680000"),
        (1.2345678901234567e20, "123456789012345670000"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (-1e-7, "-1e-7"),
        (0.1, "0.1"),
        (-2.0, "-2"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (1234.5, "1234.5"),
    ],
)
def test_numbers_are_written_as_ecmascript_writes_them(value: float, text: str) -> None:
    assert number_text(value) == text


def test_json_is_written_as_ecmascript_writes_it() -> None:
    value = {"a": [], "b": {}, "c": [1, '\u2028\x7f\x01"\\\n', None, True, {"d": -0.0}], "e": "\ud800"}
    assert (
        stringify(value)
        == '{"a":[],"b":{},"c":[1,"\u2028\x7f\\u0001\\"\\\\\\n",null,true,{"d":0}],"e":"\\ud800"}'
    )
    assert stringify({"a": [1, {"b": 2}], "c": []}, 2) == (
        '{\n  "a": [\n    1,\n    {\n      "b": 2\n    }\n  ],\n  "c": []\n}'
    )


def test_times_are_those_of_the_calendar() -> None:
    for time_ms, text in (
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_399_999, "2000-02-28T23:59:59.999Z"),
        (951_868_799_999, "2000-02-29T23:59:59.999Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
    ):
        assert format_time(time_ms) == text
        assert read_time(text, "t") == time_ms
    for text in (
        "2001-02-29T00:00:00.000Z",
        "2001-13-01T00:00:00.000Z",
        "2001-01-01T24:00:00.000Z",
        "1969-12-31T23:59:59.999Z",
    ):
        with pytest.raises(PackRefused):
            read_time(text, "t")
