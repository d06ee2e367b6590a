"""Reads the vector files of `test/vectors`, and makes the values that they describe."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from sigil_client.verify.cbor import CborValue

REPOSITORY = Path(__file__).resolve().parents[4]
VECTORS = REPOSITORY / "test/vectors"


def read_vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text("utf-8"))


def from_notation(notation: Any) -> CborValue:
    """Of `cbor.json` and `record.json`: JSON numbers are safe integers or floats."""
    if isinstance(notation, list):
        return [from_notation(item) for item in notation]
    if not isinstance(notation, dict):
        is_written_whole = isinstance(notation, int) and abs(notation) > 2**53 - 1
        return float(notation) if is_written_whole and not isinstance(notation, bool) else notation
    if "$int" in notation:
        return int(notation["$int"])
    if "$bytes" in notation:
        return bytes.fromhex(notation["$bytes"])
    return {key: from_notation(item) for key, item in notation["$map"]}


def from_typed(typed: Any) -> CborValue:
    """Of `values.json`: every value says its type (test/vectors/README.md)."""
    if typed is None or isinstance(typed, bool):
        return typed
    kind, times = next(name for name in typed if name != "times"), int(typed.get("times", 1))
    described = typed[kind]
    if kind in ("i64", "u64"):
        return int(described)
    if kind in ("f16", "f32", "f64"):
        form = {"f16": ">e", "f32": ">f", "f64": ">d"}[kind]
        return float(struct.unpack(form, bytes.fromhex(described))[0])
    if kind == "bytes":
        return bytes.fromhex(described) * times
    if kind == "text":
        return str(described) * times
    if kind == "array":
        return [from_typed(item) for item in described] * times
    if kind == "map":
        return {key: from_typed(item) for key, item in described}
    raise AssertionError(f"unknown type {kind}")


def bytes_of(case: Any) -> bytes:
    """`hex`, or `parts` that repeat."""
    if "hex" in case:
        return bytes.fromhex(case["hex"])
    return b"".join(bytes.fromhex(part["hex"]) * part["times"] for part in case["parts"])
