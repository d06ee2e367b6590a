"""Signed notes, C2SP signed-note: text, an empty line, signature lines. Pure; nothing is verified here.

Source: docs/spec/ledger.md §4. At most 512 KiB and 64 signatures.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from ..crypto import sha256
from ..errors import MalformedCheckpoint
from ..limits import NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX

TYPE_ED25519: Final = 0x01
TYPE_COSIGNATURE: Final = 0x04
TYPE_MLDSA44: Final = 0x06

_KEY_ID_BYTES: Final = 4
_SIGNATURE_PREFIX: Final = "\u2014 "
_WHITE_SPACE: Final = frozenset(
    "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""Of the Unicode property White_Space."""


@dataclass(frozen=True)
class NoteSignature:
    name: str
    key_id: bytes
    signature: bytes
    """64 bytes for Ed25519; a time before it in a cosignature and under ML-DSA-44."""


@dataclass(frozen=True)
class Note:
    text: str
    """The signed text, ending in a newline."""
    signatures: tuple[NoteSignature, ...]
    """In order, including those by unknown keys."""

    def by(self, name: str, key_id: bytes) -> tuple[NoteSignature, ...]:
        """The signatures that claim to be by that key."""
        return tuple(line for line in self.signatures if line.name == name and line.key_id == key_id)


def _refuse(rule: str) -> NoReturn:
    raise MalformedCheckpoint(rule)


def parse_base64(text: str, rule: str) -> bytes:
    """Padded standard base64 in its one form, unused bits zero. Raises MalformedCheckpoint with the rule."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        _refuse(rule)
    return data if base64.b64encode(data).decode() == text else _refuse(rule)


def parse_base64_hash(text: str, rule: str) -> bytes:
    data = parse_base64(text, rule)
    return data if len(data) == 32 else _refuse(rule)


def check_note_text(text: str) -> None:
    if len(text.encode("utf-8", "surrogatepass")) > NOTE_BYTES_MAX:
        _refuse(f"must be at most {NOTE_BYTES_MAX} bytes")
    if any("\ud800" <= character <= "\udfff" for character in text):
        _refuse("must be well-formed Unicode")
    if any(character < " " and character != "\n" for character in text):
        _refuse("must hold no control character")
    if not text.endswith("\n"):
        _refuse("must end in a newline")


def check_key_name(name: str) -> None:
    if name == "" or "+" in name or not _WHITE_SPACE.isdisjoint(name):
        _refuse("a key name must be non-empty, without white space and plus signs")


def _parse_signature_line(line: str) -> NoteSignature:
    words = line[len(_SIGNATURE_PREFIX) :].split(" ") if line.startswith(_SIGNATURE_PREFIX) else []
    if len(words) != 2:
        _refuse("a signature line must be an em dash, a key name and base64, one space apart")
    name, blob_text = words
    check_key_name(name)
    blob = parse_base64(blob_text, "a signature must be padded standard base64")
    if len(blob) <= _KEY_ID_BYTES:
        _refuse("a signature must be a 4-byte key id and at least one byte more")
    return NoteSignature(name, blob[:_KEY_ID_BYTES], blob[_KEY_ID_BYTES:])


def parse_note(note: str) -> Note:
    """Strict. Lines of any key are kept; a malformed line refuses the note. Raises MalformedCheckpoint."""
    check_note_text(note)
    blank = note.rfind("\n\n")
    if blank < 0:
        _refuse("must have a blank line before its signatures")
    lines = note[blank + 2 :].split("\n")[:-1]
    if not lines:
        _refuse("must have at least one signature")
    if len(lines) > NOTE_SIGNATURES_MAX:
        _refuse(f"must have at most {NOTE_SIGNATURES_MAX} signatures")
    return Note(note[: blank + 1], tuple(map(_parse_signature_line, lines)))


def format_note(text: str, signatures: Sequence[NoteSignature]) -> str:
    """Raises MalformedCheckpoint if the result would not parse back."""
    lines = [
        f"{_SIGNATURE_PREFIX}{line.name} {base64.b64encode(line.key_id + line.signature).decode()}\n"
        for line in signatures
    ]
    note = f"{text}\n{''.join(lines)}"
    if parse_note(note) != Note(text, tuple(signatures)):
        _refuse("must parse back to what it was made of")
    return note


def key_id_of(name: str, kind: int, public_key: bytes) -> bytes:
    """The first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key)."""
    check_key_name(name)
    return sha256(name.encode() + bytes((0x0A, kind)) + public_key)[:_KEY_ID_BYTES]
