"""Checkpoints, C2SP tlog-checkpoint: origin, size and root as a signed note; cosignatures on them. Pure.

Source: docs/spec/ledger.md §4. Whose key it must be is known in advance, and never taken from the note.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

from ..crypto import MLDSA44_SIGNATURE_BYTES, SIGNATURE_BYTES, verify_ed25519, verify_mldsa44
from ..errors import MalformedCheckpoint
from ..limits import UINT64_MAX
from .note import (
    TYPE_COSIGNATURE,
    TYPE_ED25519,
    TYPE_MLDSA44,
    Note,
    check_note_text,
    key_id_of,
    parse_base64_hash,
    parse_note,
)

_TIME_BYTES: Final = 8
_TIME_SECONDS_MAX: Final = 2**63 - 1
_NAME_BYTES_MAX: Final = 255
_SIZE: Final = re.compile(r"0|[1-9][0-9]*")


@dataclass(frozen=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()
    """Opaque lines of other logs. Sigil writes none."""


@dataclass(frozen=True)
class TrustedLog:
    """The log that the reader trusts. It may have no ML-DSA-44 key, and a checkpoint no line by it."""

    origin: str
    public_key: bytes
    mldsa44_key: bytes | None = None


MldsaLines = Literal["none", "verified", "ignored"]
"""Ignored: there are lines by the log's ML-DSA-44 key, and no implementation of the algorithm is installed.
"""


def _refuse(rule: str) -> NoReturn:
    raise MalformedCheckpoint(rule)


def parse_checkpoint(text: str) -> Checkpoint:
    """Parses the unsigned text. Strict. Raises MalformedCheckpoint."""
    check_note_text(text)
    lines = text[:-1].split("\n")
    if len(lines) < 3:
        _refuse("must have an origin, a size and a root line")
    origin, size_text, root_text, *extensions = lines
    if origin == "":
        _refuse("origin must not be empty")
    if _SIZE.fullmatch(size_text) is None:
        _refuse("size must be decimal without leading zeroes")
    # The length first: conversion is superlinear in it.
    if len(size_text) > 20 or int(size_text) > UINT64_MAX:
        _refuse("size must be a uint64")
    root = parse_base64_hash(root_text, "root must be padded standard base64 of 32 bytes")
    if "" in extensions:
        _refuse("an extension line must not be empty")
    return Checkpoint(origin, int(size_text), root, tuple(extensions))


def format_checkpoint(checkpoint: Checkpoint) -> str:
    """The unsigned text, ending in a newline. Raises MalformedCheckpoint if it would not parse back."""
    root = base64.b64encode(checkpoint.root).decode()
    lines = [checkpoint.origin, str(checkpoint.size), root, *checkpoint.extensions]
    if any("\n" in line for line in lines):
        _refuse("a line must hold no newline")
    text = "\n".join(lines) + "\n"
    parse_checkpoint(text)
    return text


def verify_checkpoint(note: str, log: TrustedLog) -> Checkpoint:
    """Verifies a note and gives its checkpoint.

    Signatures by other keys are ignored; each that names a key of this log must verify, and one by its
    Ed25519 key must be there. Raises MalformedCheckpoint.
    """
    parsed = parse_note(note)
    checkpoint = parse_checkpoint(parsed.text)
    if checkpoint.origin != log.origin:
        _refuse("origin must be the one expected")
    own = parsed.by(log.origin, key_id_of(log.origin, TYPE_ED25519, log.public_key))
    if not own:
        _refuse("must be signed by the log's key")
    for line in own:
        if len(line.signature) != SIGNATURE_BYTES:
            _refuse("an Ed25519 signature must be 64 bytes")
        if not verify_ed25519(log.public_key, parsed.text.encode(), line.signature):
            _refuse("the signature must verify")
    if log.mldsa44_key is not None:
        verify_mldsa44_lines(parsed, checkpoint, log.mldsa44_key)
    return checkpoint


def subtree_message(checkpoint: Checkpoint, time_seconds: int) -> bytes:
    """What an ML-DSA-44 line signs (C2SP tlog-cosignature, type 0x06). Raises MalformedCheckpoint."""
    if time_seconds > _TIME_SECONDS_MAX:
        _refuse("a time under ML-DSA-44 must be below 2^63 seconds")
    name = checkpoint.origin.encode()
    if len(name) > _NAME_BYTES_MAX:
        _refuse(f"an origin under ML-DSA-44 has at most {_NAME_BYTES_MAX} bytes")
    short = bytes((len(name),)) + name
    sizes = (0).to_bytes(8, "big") + checkpoint.size.to_bytes(8, "big")
    return b"subtree/v1\n\0" + short + time_seconds.to_bytes(8, "big") + short + sizes + checkpoint.root


def verify_mldsa44_lines(note: Note, checkpoint: Checkpoint, public_key: bytes) -> MldsaLines:
    """Verifies each line that names this key; there may be none. Raises MalformedCheckpoint.

    Where the algorithm is not installed the lines are ignored, as docs/spec/ledger.md §4 lets a reader do:
    the checkpoint stands by its Ed25519 signature.
    """
    lines = note.by(checkpoint.origin, key_id_of(checkpoint.origin, TYPE_MLDSA44, public_key))
    outcome: MldsaLines = "none"
    for line in lines:
        if checkpoint.extensions:
            _refuse("a checkpoint with extension lines must have no ML-DSA-44 signature")
        if len(line.signature) != _TIME_BYTES + MLDSA44_SIGNATURE_BYTES:
            _refuse("an ML-DSA-44 signature with its time must be 2,428 bytes")
        time_seconds = int.from_bytes(line.signature[:_TIME_BYTES], "big")
        message = subtree_message(checkpoint, time_seconds)
        verified = verify_mldsa44(public_key, message, line.signature[_TIME_BYTES:])
        if verified is None:
            return "ignored"
        if not verified:
            _refuse("the ML-DSA-44 signature must verify")
        outcome = "verified"
    return outcome


@dataclass(frozen=True)
class Cosigner:
    name: str
    public_key: bytes


def cosignature_message(text: str, time_seconds: int) -> bytes:
    """The bytes that a cosigner signs; `text` is the checkpoint's. Raises MalformedCheckpoint."""
    if not 0 <= time_seconds <= _TIME_SECONDS_MAX:
        _refuse("a cosignature's time must be below 2^63 seconds")
    parse_checkpoint(text)
    return f"cosignature/v1\ntime {time_seconds}\n{text}".encode()


def verify_cosignature(note: Note, cosigner: Cosigner) -> int:
    """Verifies every cosignature that names this key; gives the newest time, in seconds. Raises
    MalformedCheckpoint.
    """
    own = note.by(cosigner.name, key_id_of(cosigner.name, TYPE_COSIGNATURE, cosigner.public_key))
    if not own:
        _refuse("must be cosigned by the witness's key")
    newest = 0
    for line in own:
        if len(line.signature) != _TIME_BYTES + SIGNATURE_BYTES:
            _refuse("a cosignature must be 72 bytes")
        time_seconds = int.from_bytes(line.signature[:_TIME_BYTES], "big")
        message = cosignature_message(note.text, time_seconds)
        if not verify_ed25519(cosigner.public_key, message, line.signature[_TIME_BYTES:]):
            _refuse("the cosignature must verify")
        newest = max(newest, time_seconds)
    return newest


def verify_cosigners(note: Note, cosigners: Sequence[Cosigner]) -> tuple[str, ...]:
    """Names of the cosigners that the note names, in their order; lines of other keys are ignored.

    Raises MalformedCheckpoint if a line that names one of them does not verify.
    """
    found: list[str] = []
    for cosigner in cosigners:
        key_id = key_id_of(cosigner.name, TYPE_COSIGNATURE, cosigner.public_key)
        if note.by(cosigner.name, key_id):
            verify_cosignature(note, cosigner)
            found.append(cosigner.name)
    return tuple(found)
