"""Bugs planted in a copy of the decoder and encoder, at least one for each rule of docs/spec/record.md §1.

The vectors notice each. test/vectors/README.md has the format of the table, which all languages share.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from .codec_vectors import wrong_golden, wrong_refusals, wrong_values
from .vectors import REPOSITORY, read_vectors

_SOURCES = "clients/python/src/sigil_client/verify"
_TABLE = json.loads((REPOSITORY / "clients/python/planted.json").read_text("utf-8"))


@contextmanager
def _codec_of(folder: Path, bug: dict[str, str] | None = None) -> Iterator[ModuleType]:
    """The codec of a copy of the sources, with a bug if one is given, as a package of another name."""
    copy = folder / "planted_verify"
    copy.mkdir()
    for name in ("cbor.py", "errors.py", "limits.py"):
        shutil.copy(REPOSITORY / _SOURCES / name, copy)
    (copy / "__init__.py").touch()
    if bug is not None:
        path = copy / Path(bug["file"]).name
        text = path.read_text("utf-8")
        assert text.count(bug["find"]) == 1, f"{bug['find']} in {bug['file']}"
        path.write_text(text.replace(bug["find"], bug["replace"]), "utf-8")
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        yield _imported(copy)
    finally:
        sys.dont_write_bytecode = before
        for name in [name for name in sys.modules if name.split(".")[0] == "planted_verify"]:
            del sys.modules[name]


def _imported(package: Path) -> ModuleType:
    for name, file in (
        ("planted_verify", "__init__.py"),
        ("planted_verify.limits", "limits.py"),
        ("planted_verify.errors", "errors.py"),
        ("planted_verify.cbor", "cbor.py"),
    ):
        spec = importlib.util.spec_from_file_location(
            name,
            package / file,
            submodule_search_locations=[str(package)] if file == "__init__.py" else None,
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules["planted_verify.cbor"]


def _is_noticed(codec: ModuleType) -> bool:
    """The cheap vectors first, and the others only if those notice nothing."""
    return any(next(wrong(codec), None) is not None for wrong in (wrong_golden, wrong_refusals, wrong_values))


def test_the_table_has_a_bug_for_each_rule() -> None:
    ids = {rule["id"] for rule in read_vectors("rules.json")["rules"]}
    assert {bug["rule"] for bug in _TABLE} == ids


def test_an_unchanged_copy_has_no_bug(tmp_path: Path) -> None:
    with _codec_of(tmp_path) as codec:
        assert not _is_noticed(codec)


@pytest.mark.parametrize(
    "bug", _TABLE, ids=[f"row {index + 1}, {bug['rule']}" for index, bug in enumerate(_TABLE)]
)
def test_the_vectors_notice_a_bug(tmp_path: Path, bug: dict[str, str]) -> None:
    assert bug["file"].startswith(_SOURCES + "/")
    with _codec_of(tmp_path, bug) as codec:
        assert _is_noticed(codec)
