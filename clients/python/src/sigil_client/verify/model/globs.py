"""Glob patterns over actions and targets, and tables of them in which the most specific match wins. Pure.

Source: docs/spec/trust.md §2. One match takes at most pattern length times text length steps.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final, Generic, TypeVar

from ..limits import TARGET_BYTES_MAX

Value = TypeVar("Value")

_DOT_SEGMENT: Final = re.compile(r"(?:^|/)\.{1,2}(?:/|\Z)")


def _holds_control(text: str) -> bool:
    return any(unicodedata.category(character) == "Cc" for character in text)


def glob_fault(pattern: str) -> str | None:
    """The rule that the pattern breaks, or None."""
    if pattern == "":
        return "must not be empty"
    if len(pattern.encode("utf-8", "surrogatepass")) > TARGET_BYTES_MAX:
        return f"must be at most {TARGET_BYTES_MAX} bytes"
    if _holds_control(pattern):
        return "must hold no control characters"
    if _DOT_SEGMENT.search(pattern):
        return 'must hold no "." or ".." segment'
    if any("**" in segment and segment != "**" for segment in pattern.split("/")):
        return "must have ** as a whole segment between slashes"
    return None


def _matches_segment(pattern: str, text: str) -> bool:
    """Leftmost placement of each literal piece is enough, since `*` matches anything."""
    first, *rest = [piece.replace("%2A", "*") for piece in pattern.split("*")]
    if not rest:
        return text == first
    *middle, last = rest
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def matches(pattern: str, text: str) -> bool:
    """The pattern has passed `glob_fault`."""
    segments, texts = pattern.split("/"), text.split("/")
    # How many segments of the text the pattern so far may have taken.
    taken = {0}
    for index, segment in enumerate(segments):
        if segment == "**":
            is_tail = index > 0 and index == len(segments) - 1
            taken = set(range(min(taken) + (1 if is_tail else 0), len(texts) + 1))
        else:
            taken = {at + 1 for at in taken if at < len(texts) and _matches_segment(segment, texts[at])}
        if not taken:
            return False
    return len(texts) in taken


def _rank(pattern: str) -> tuple[int, int, bytes]:
    """Most specific first: more literal bytes, then fewer stars, then byte order."""
    literal_bytes = len(pattern.replace("**/", "").replace("*", "").encode())
    return -literal_bytes, pattern.count("*"), pattern.encode()


class GlobTable(Generic[Value]):
    """Rows by pattern; the patterns are distinct and have passed `glob_fault`."""

    def __init__(self, rows: Mapping[str, Value]) -> None:
        self._rows = sorted(rows.items(), key=lambda row: _rank(row[0]))

    def find(self, text: str) -> Value | None:
        """The most specific row that matches. A text with a dot segment or a control character matches
        nothing.
        """
        if text == "" or _holds_control(text) or _DOT_SEGMENT.search(text):
            return None
        return next((value for pattern, value in self._rows if matches(pattern, text)), None)
