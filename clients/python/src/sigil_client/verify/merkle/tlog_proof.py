"""Proofs of inclusion as files, C2SP tlog-proof: an index, the path, the checkpoint verbatim. Pure; nothing
is verified.

Source: docs/spec/ledger.md §3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from ..errors import MalformedCheckpoint
from ..limits import NOTE_BYTES_MAX, PATH_HASHES_MAX, UINT64_MAX
from ..record.fields import text_units
from .checkpoint import parse_checkpoint
from .note import parse_base64, parse_base64_hash, parse_note

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,19})")
_FILE_UNITS_MAX: Final = 4 * NOTE_BYTES_MAX


@dataclass(frozen=True)
class TlogProof:
    leaf_index: int
    proof: tuple[bytes, ...]
    """From the leaf's sibling to the root's child."""
    checkpoint: str


def _refuse(rule: str) -> NoReturn:
    raise MalformedCheckpoint(f"tlog-proof: {rule}")


def parse_tlog_proof(text: str) -> TlogProof:
    """Strict. Extra data is read and dropped: nobody signed it. Raises MalformedCheckpoint."""
    if text_units(text) > _FILE_UNITS_MAX:
        _refuse(f"must be at most {_FILE_UNITS_MAX} characters")
    blank = text.find("\n\n")
    if blank < 0:
        _refuse("must have an empty line before its checkpoint")
    lines = text[:blank].split("\n")
    if lines.pop(0) != _HEADER:
        _refuse(f"must begin with {_HEADER}")
    extra = lines.pop(0)[6:] if lines and lines[0].startswith("extra ") else None
    match = _INDEX.fullmatch(lines.pop(0)) if lines else None
    if match is None:
        _refuse("must name the index in decimal without leading zeroes")
    leaf_index = int(match.group(1))
    if leaf_index > UINT64_MAX:
        _refuse("the index must be a uint64")
    if len(lines) > PATH_HASHES_MAX:
        _refuse(f"the path must have at most {PATH_HASHES_MAX} lines")
    rule = "tlog-proof: a line of the path must be padded standard base64 of 32 bytes"
    proof = tuple(parse_base64_hash(line, rule) for line in lines)
    checkpoint = text[blank + 2 :]
    parse_checkpoint(parse_note(checkpoint).text)
    if extra is not None:
        parse_base64(extra, "tlog-proof: extra data must be padded standard base64")
    return TlogProof(leaf_index, proof, checkpoint)
