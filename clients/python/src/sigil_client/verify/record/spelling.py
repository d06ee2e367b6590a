"""Canonical spelling of targets, subjects, actions, sessions, and of globs over them. Pure.

Source: docs/spec/trust.md §10. The Unicode version is that of Python's `unicodedata`; a text with characters
that are assigned only in a later one is refused here. Linear in the text, which is refused unread if it is
more than three times as long as its canonical form may be.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final, NoReturn

from ..crypto import sha256
from ..limits import ACTION_BYTES_MAX, PRINCIPAL_ID_BYTES_MAX, SESSION_BYTES_MAX, TARGET_BYTES_MAX
from .fields import text_units
from .names import record_id_fault


class SpellingFault(Exception):
    """A text has no canonical spelling; the message is the rule that it breaks."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


_ESCAPED_UNITS_PER_BYTE: Final = 3
_MUST_BE_ESCAPED: Final = re.compile(r'["#$&<>?\[\\\]^`{}]')
_ESCAPES: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_ESCAPED_TWICE: Final = re.compile(r"%(?:25)*(?:2[ef]|5c|[01][0-9a-f]|7f)", re.IGNORECASE | re.ASCII)
_DOT_SEGMENT: Final = re.compile(r"(?:^|[/\\])\.{1,2}(?:[/\\]|\Z)")
_PLAIN_ASCII: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ._~:@+=|,;!*'()-"
)
_STRUCTURE_LOOK_ALIKES: Final = frozenset(
    "\u2044\u2215\u2571\u27cb\u29f8\uff0f\u2100\u2101\u2105\u2106\u2216\u2572\u27cd\u29f5\u29f9\ufe68\uff3c"
    "\u2024\u2025\ufe30\ufe52\uff0e\ufe6a\uff05\ufe61\uff0a"
)
_LOST: Final = frozenset("\ufffc\ufffd")
_BLANK_RANGES: Final = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D159, 0x1D159),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
"""Drawn as nothing: Default_Ignorable_Code_Point of Unicode, U+2800 and U+1D159."""
_WRITTEN_CATEGORIES: Final = frozenset("LMNPS")

_ACTION_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._:/-]+")
_ACTION_GLOB_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._:/*-]+")
_ACTION_RULE: Final = f"must be 1 to {ACTION_BYTES_MAX} bytes of letters, digits and . _ : / -"
_SPIFFE_SCHEME: Final = "spiffe:"
_HASHED_NAME: Final = re.compile(r"~[0-9A-Fa-f]{64}")


def _refuse(rule: str) -> NoReturn:
    raise SpellingFault(rule)


def _is_drawn(character: str) -> bool:
    point = ord(character)
    return not any(first <= point <= last for first, last in _BLANK_RANGES)


def _character_fault(character: str) -> str | None:
    """Why the character is refused in names, escaped or not; None if it is allowed."""
    category = unicodedata.category(character)
    if category == "Cc":
        return "must hold no control characters"
    if character < "\u0080":
        return None
    name = f"U+{ord(character):04X}"
    if character in _LOST:
        return f"must not hold {name}, which stands for what was lost"
    if character in _STRUCTURE_LOOK_ALIKES:
        return f"must not hold {name}, which looks like one of / \\ . % *"
    if category[0] in _WRITTEN_CATEGORIES and _is_drawn(character):
        return None
    return f"must not hold {name}: only letters, marks, digits, punctuation and symbols that can be seen"


def _stays(character: str) -> bool:
    return character in _PLAIN_ASCII or character >= "\u0080"


def _unescape(match: re.Match[str]) -> str:
    try:
        return bytes.fromhex(match.group().replace("%", "")).decode("utf-8", "strict")
    except UnicodeDecodeError:
        _refuse("must not hold escapes that are no UTF-8")


def _decoded(text: str) -> str:
    """Decodes escapes once."""
    bare = _MUST_BE_ESCAPED.search(text)
    if bare is not None:
        _refuse(f"must not hold {bare.group()} as it is: write %{ord(bare.group()):02X}")
    if "%" in _ESCAPES.sub("", text):
        _refuse("must not hold a % that begins no escape")
    return _ESCAPES.sub(_unescape, text)


def _encoded(text: str, *, escapes_star: bool) -> str:
    form: list[str] = []
    may_take_mark = False
    for character in text:
        fault = _character_fault(character)
        if fault is not None:
            _refuse(fault)
        if unicodedata.category(character)[0] == "M" and not may_take_mark:
            _refuse("must not hold a combining mark with no character before it")
        stays = _stays(character) and not (escapes_star and character == "*")
        form.append(character if stays else f"%{ord(character):02X}")
        may_take_mark = stays and character != " "
    return "".join(form)


def _spell_segment(segment: str, *, is_glob: bool) -> str:
    raw = segment.split("*") if is_glob else [segment]
    pieces = [unicodedata.normalize("NFC", _decoded(piece)) for piece in raw]
    whole = "*".join(pieces)
    if _DOT_SEGMENT.search(whole):
        _refuse('must have no "." and no ".." segment, escaped or not')
    if _ESCAPED_TWICE.search(whole):
        _refuse("must not hold a dot, a slash or a control character that is escaped twice")
    if whole.startswith(" ") or whole.endswith(" "):
        _refuse("must have no segment that begins or ends with a space")
    return "*".join(_encoded(piece, escapes_star=is_glob) for piece in pieces)


def _spell_segments(raw: str, bytes_max: int, *, is_glob: bool) -> list[str]:
    too_long = f"must be 1 to {bytes_max} bytes"
    if text_units(raw) > bytes_max * _ESCAPED_UNITS_PER_BYTE:
        _refuse(too_long)
    if any("\ud800" <= character <= "\udfff" for character in raw):
        _refuse("must be valid UTF-8")
    segments = [_spell_segment(segment, is_glob=is_glob) for segment in raw.split("/") if segment != ""]
    if not segments or len("/".join(segments).encode()) > bytes_max:
        _refuse(too_long)
    return segments


def canonical_target(raw: str) -> str:
    """Raises SpellingFault."""
    return "/".join(_spell_segments(raw, TARGET_BYTES_MAX, is_glob=False))


def canonical_target_glob(raw: str) -> str:
    """A glob over targets: `*` is wild, a literal one is written `%2A`. Raises SpellingFault."""
    return "/".join(_spell_segments(raw, TARGET_BYTES_MAX, is_glob=True))


def canonical_action(raw: str) -> str:
    """Actions are program identifiers: ASCII only, no escapes. Raises SpellingFault."""
    if len(raw) > ACTION_BYTES_MAX or _ACTION_CHARACTERS.fullmatch(raw) is None:
        _refuse(_ACTION_RULE)
    return "/".join(_spell_segments(raw, ACTION_BYTES_MAX, is_glob=False))


def canonical_action_glob(raw: str) -> str:
    """Raises SpellingFault."""
    if len(raw) > ACTION_BYTES_MAX or _ACTION_GLOB_CHARACTERS.fullmatch(raw) is None:
        _refuse(f"{_ACTION_RULE}, and *")
    return "/".join(_spell_segments(raw, ACTION_BYTES_MAX, is_glob=True))


def canonical_subject(raw: str, trust_domain: str) -> str:
    """A principal's id. `spiffe://<trust domain>/<id>` is another spelling of `<id>`. Raises SpellingFault.

    `trust_domain` is the deployment's origin; it and the scheme are compared without case.
    """
    segments = _spell_segments(raw, TARGET_BYTES_MAX, is_glob=False)
    while segments[0].lower() == _SPIFFE_SCHEME:
        if len(segments) < 3:
            _refuse("must name a principal behind the SPIFFE trust domain")
        domain = segments[1].lower()
        if domain != trust_domain.lower():
            segments = [_SPIFFE_SCHEME, domain, *segments[2:]]
            break
        segments = segments[2:]
    if any(_HASHED_NAME.fullmatch(segment) for segment in segments):
        _refuse("must have no segment of ~ and 64 hexadecimal digits")
    return "/".join(segments)


def canonical_session(raw: str) -> str:
    """An opaque label, compared for equality: only normalised to NFC. Raises SpellingFault."""
    too_long = f"must be at most {SESSION_BYTES_MAX} bytes"
    if text_units(raw) > SESSION_BYTES_MAX:
        _refuse(too_long)
    if any("\ud800" <= character <= "\udfff" for character in raw):
        _refuse("must be valid UTF-8")
    text = unicodedata.normalize("NFC", raw)
    if len(raw.encode()) > SESSION_BYTES_MAX or len(text.encode()) > SESSION_BYTES_MAX:
        _refuse(too_long)
    return text


def spelling_or(spell: Callable[[str], str], text: str) -> str:
    """The canonical spelling, or the text itself if it has none."""
    try:
        return spell(text)
    except SpellingFault:
        return text


def enrolled_name(name: str) -> str:
    """The last part of the record id for a canonical name: the name if an id can hold it, else `~` and its
    SHA-256.
    """
    is_literal = len(name) <= PRINCIPAL_ID_BYTES_MAX and record_id_fault(name) is None
    return name if is_literal else f"~{sha256(name.encode()).hex()}"
