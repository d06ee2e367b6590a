"""Reads fields of a decoded map against a schema. Pure. Errors are MalformedRecord with the field's dotted
path.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from ..cbor import CborMap, CborValue
from ..crypto import MLDSA44_PUBLIC_KEY_BYTES
from ..errors import MalformedRecord
from ..limits import CBOR_ENTRIES_MAX, SAFE_INTEGER_MAX, UINT64_MAX

Item = TypeVar("Item")


def join(path: str, name: str) -> str:
    if path == "":
        return name
    return path if name == "" else f"{path}.{name}"


def refuse_field(path: str, name: str, rule: str) -> NoReturn:
    raise MalformedRecord(join(path, name), rule)


def is_number(value: object) -> bool:
    """An integer within ±(2^53-1) or a float: integers beyond are no numbers, since arithmetic on them is
    inexact.
    """
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX
    return isinstance(value, float) and math.isfinite(value)


def text_units(text: str) -> int:
    """UTF-16 units, of which a character beyond U+FFFF has two."""
    return len(text) + sum(character > "\uffff" for character in text)


def any_map(value: object, path: str) -> CborMap:
    """A map of any keys. `path` names the map itself."""
    if isinstance(value, dict):
        return value
    refuse_field(path, "", "must be a map")


def member_map(parent: CborMap, path: str, name: str) -> CborMap:
    """The map of any keys that stands under a name."""
    return any_map(parent[name], join(path, name))


def exact_map(value: object, path: str, keys: Sequence[str], optional: Sequence[str] = ()) -> CborMap:
    """A map with all of `keys`, any of `optional`, and nothing else."""
    entries = any_map(value, path)
    for key in keys:
        if key not in entries:
            refuse_field(path, key, "is missing")
    for name in entries:
        if name not in keys and name not in optional:
            refuse_field(path, name, "is not a field of this kind")
    return entries


def text_field(entries: CborMap, path: str, name: str, units_max: int | None = None) -> str:
    """Non-empty text of at most `units_max` UTF-16 units."""
    value = any_text_field(entries, path, name)
    if value == "":
        refuse_field(path, name, "must not be empty")
    if units_max is not None and text_units(value) > units_max:
        refuse_field(path, name, f"must be at most {units_max} characters")
    return value


def any_text_field(entries: CborMap, path: str, name: str) -> str:
    value = entries.get(name)
    return value if isinstance(value, str) else refuse_field(path, name, "must be text")


def one_of_field(entries: CborMap, path: str, name: str, choices: Sequence[str]) -> str:
    value = entries.get(name)
    if isinstance(value, str) and value in choices:
        return value
    refuse_field(path, name, f"must be one of {', '.join(choices)}")


def boolean_field(entries: CborMap, path: str, name: str) -> bool:
    value = entries.get(name)
    return value if isinstance(value, bool) else refuse_field(path, name, "must be true or false")


def number_field(entries: CborMap, path: str, name: str) -> float:
    value = entries.get(name)
    if isinstance(value, (int, float)) and is_number(value):
        return float(value)
    refuse_field(path, name, "must be a number")


def number_or_null_field(entries: CborMap, path: str, name: str) -> float | None:
    return None if entries.get(name) is None else number_field(entries, path, name)


def share_field(entries: CborMap, path: str, name: str) -> float:
    """A number from 0 to 1."""
    value = number_field(entries, path, name)
    return value if 0 <= value <= 1 else refuse_field(path, name, "must be from 0 to 1")


def uint_field(entries: CborMap, path: str, name: str, least: int = 0, most: int = SAFE_INTEGER_MAX) -> int:
    """An integer; a float is none, whatever its value."""
    value = entries.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    refuse_field(path, name, f"must be an integer from {least} to {most}")


def uint64_field(entries: CborMap, path: str, name: str) -> int:
    """A ledger position or another 64-bit count."""
    value = entries.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= UINT64_MAX:
        return value
    refuse_field(path, name, "must be an integer from 0 to 2^64-1")


def bytes_field(entries: CborMap, path: str, name: str) -> bytes:
    value = entries.get(name)
    return value if isinstance(value, bytes) else refuse_field(path, name, "must be a byte string")


def hash_field(entries: CborMap, path: str, name: str) -> bytes:
    value = bytes_field(entries, path, name)
    return value if len(value) == 32 else refuse_field(path, name, "must be 32 bytes")


def hash_or_null_field(entries: CborMap, path: str, name: str) -> bytes | None:
    return None if entries.get(name) is None else hash_field(entries, path, name)


def public_key_field(entries: CborMap, path: str, name: str) -> bytes:
    return hash_field(entries, path, name)


def mldsa44_public_key_field(entries: CborMap, path: str, name: str) -> bytes:
    value = bytes_field(entries, path, name)
    if len(value) == MLDSA44_PUBLIC_KEY_BYTES:
        return value
    refuse_field(path, name, "must be 1,312 bytes")


def list_field(
    entries: CborMap,
    path: str,
    name: str,
    read: Callable[[CborValue, str], Item],
    items_max: int = CBOR_ENTRIES_MAX,
) -> list[Item]:
    """A list, each item read with the path `path.name[index]`."""
    value = entries.get(name)
    if not isinstance(value, (list, tuple)):
        refuse_field(path, name, "must be a list")
    if len(value) > items_max:
        refuse_field(path, name, f"must have at most {items_max} items")
    list_path = join(path, name)
    return [read(item, f"{list_path}[{index}]") for index, item in enumerate(value)]


def table_field(
    entries: CborMap, path: str, name: str, read: Callable[[CborMap, str, str], Item]
) -> dict[str, Item]:
    """A map from text to the result of `read` for each entry."""
    table_path = join(path, name)
    if name not in entries:
        refuse_field(path, name, "is missing")
    source = any_map(entries[name], table_path)
    return {key: read(source, table_path, key) for key in source}


def text_item(item: CborValue, path: str) -> str:
    if isinstance(item, str) and item != "":
        return item
    refuse_field(path, "", "must be non-empty text")


def public_key_item(item: CborValue, path: str) -> bytes:
    if isinstance(item, bytes) and len(item) == 32:
        return item
    refuse_field(path, "", "must be a byte string of 32 bytes")


def hash_item(item: CborValue, path: str) -> bytes:
    return hash_field({"item": item}, path, "item")


def distinct(names: Sequence[object], path: str, rule: str) -> None:
    """Refuses a list with duplicates."""
    if len(set(names)) != len(names):
        refuse_field(path, "", rule)
