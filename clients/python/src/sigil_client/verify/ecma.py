"""Numbers and JSON as ECMAScript writes them, which some formats compare byte for byte. Pure. Source: ECMA-262."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Final

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def number_text(value: float) -> str:
    """Number::toString of ECMA-262: `-2` and not `-2.0`, an exponent from 1e21 on and below 1e-6."""
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    # Decimal has words in place of an exponent for what is not finite.
    exponent = int(exponent)
    text, minus = "".join(map(str, digits)), "-" if sign else ""
    point = len(text) + exponent
    if len(text) <= point <= 21:
        return minus + text.ljust(point, "0")
    if 0 < point <= 21:
        return f"{minus}{text[:point]}.{text[point:]}"
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    fraction = f".{text[1:]}" if len(text) > 1 else ""
    return f"{minus}{text[0]}{fraction}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def stringify(value: object, indent: int = 0) -> str:
    """`JSON.stringify`, with that many spaces of indentation; keys stand in the order of the dict."""
    return "".join(_parts(value, "" if indent == 0 else "\n", " " * indent))


def _parts(value: object, line: str, step: str) -> list[str]:
    if isinstance(value, dict):
        return _container(
            "{", "}", [(f"{_text(str(key))}:", item) for key, item in value.items()], line, step
        )
    if isinstance(value, (list, tuple)):
        return _container("[", "]", [("", item) for item in value], line, step)
    if value is None or isinstance(value, bool):
        return [{None: "null", True: "true", False: "false"}[value]]
    if isinstance(value, (int, float)):
        return [number_text(value)]
    if isinstance(value, str):
        return [_text(value)]
    raise TypeError(f"{type(value).__name__} is no JSON")


def _container(start: str, end: str, items: list[tuple[str, object]], line: str, step: str) -> list[str]:
    if not items:
        return [start, end]
    inner = line + step if line else ""
    parts = [start]
    for index, (name, item) in enumerate(items):
        parts.append(("," if index > 0 else "") + inner + name + (" " if name and line else ""))
        parts += _parts(item, inner, step)
    return [*parts, line, end]


def _text(text: str) -> str:
    return _SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", json.dumps(text, ensure_ascii=False))
