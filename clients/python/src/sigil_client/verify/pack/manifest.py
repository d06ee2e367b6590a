"""The manifest of a pack, and the lines of its files. Pure; what is parsed is not verified.

Source: docs/spec/pack.md §2 to §5. Strict: what is read and written again is the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ..ecma import stringify
from ..limits import PACK_GAPS_MAX
from ..merkle.checkpoint import Checkpoint, parse_checkpoint
from ..merkle.note import parse_note
from .reading import (
    Json,
    format_time,
    invalid,
    parse_json,
    read_count,
    read_list,
    read_map,
    read_position,
    read_text,
    read_time,
    require_same,
)

MANIFEST_NAME: Final = "manifest.json"
_NEEDED: Final = ("callers.jsonl", "decisions.csv", "decisions.jsonl", "proof", "records.jsonl")
_CONTROLS: Final = ("controls.csv", "controls.json")
PACK_FILE_NAMES: Final = (*_NEEDED, *_CONTROLS)
CALLER_ENDS: Final = ("decision", "head", "newest")

_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PackFile:
    name: str
    length: int
    """In bytes."""
    sha256: str


@dataclass(frozen=True)
class Manifest:
    tool: str
    origin: str
    genesis: bytes
    tenant: str
    from_ms: int | None
    """Of the times of its decisions: included, or None for the beginning of the ledger."""
    to_ms: int
    """Excluded."""
    checkpoint: str
    decisions: int
    records: int
    callers: int
    gaps: tuple[Json, ...]
    """As they are written: each a `kind` with its keys in order."""
    files: tuple[PackFile, ...]
    tree: Checkpoint

    def includes(self, time_ms: int) -> bool:
        return time_ms < self.to_ms and (self.from_ms is None or time_ms >= self.from_ms)


def _read_hash(value: object, field: str) -> bytes:
    text = read_text(value, field)
    return bytes.fromhex(text) if _HASH.fullmatch(text) else invalid(field, "must be 64 hexadecimal digits")


def _read_gap(value: object, field: str) -> Json:
    gap = read_map(value, field)
    kind = gap.get("kind")
    keys = {
        "restoration": ("position",),
        "damaged": ("position",),
        "numbers": ("caller", "from", "to"),
        "open": ("caller",),
        "unnumbered": ("caller", "decisions"),
        "anonymous": ("decisions",),
    }.get(kind if isinstance(kind, str) else "")
    if keys is None:
        invalid(f"{field}.kind", "must be a kind of gap that this version knows")
    read: Json = {"kind": kind}
    for key in keys:
        at = f"{field}.{key}"
        if key == "position":
            read[key] = str(read_position(gap.get(key), at))
        elif key == "caller":
            read[key] = read_text(gap.get(key), at)
        else:
            read[key] = read_count(gap.get(key), at)
    return read


def _read_file(value: object, field: str) -> PackFile:
    file = read_map(value, field)
    name = file.get("name")
    # No other name is ever opened, so none can lead out of the pack.
    if not isinstance(name, str) or name not in PACK_FILE_NAMES:
        invalid(f"{field}.name", f"must be one of {', '.join(PACK_FILE_NAMES)}")
    length = read_count(file.get("bytes"), f"{field}.bytes")
    return PackFile(name, length, _read_hash(file.get("sha256"), f"{field}.sha256").hex())


def _check_names(files: tuple[PackFile, ...]) -> None:
    names = [file.name for file in files]
    wanted = sorted(PACK_FILE_NAMES if "controls.json" in names else _NEEDED)
    if names != wanted:
        invalid("files", f"must be {', '.join(wanted)}, in this order")


def _format_manifest(manifest: Manifest) -> str:
    value: Json = {
        "format": "sigil-evidence-pack",
        "version": 1,
        "tool": manifest.tool,
        "origin": manifest.origin,
        "genesis": manifest.genesis.hex(),
        "tenant": manifest.tenant,
        "from": None if manifest.from_ms is None else format_time(manifest.from_ms),
        "to": format_time(manifest.to_ms),
        "checkpoint": manifest.checkpoint,
        "counts": {
            "decisions": manifest.decisions,
            "records": manifest.records,
            "callers": manifest.callers,
        },
        "gaps": list(manifest.gaps),
        "files": [
            {"name": file.name, "bytes": file.length, "sha256": file.sha256} for file in manifest.files
        ],
    }
    return stringify(value, 2) + "\n"


def parse_manifest(text: str) -> Manifest:
    """Raises PackRefused, MalformedCheckpoint."""
    fields = read_map(parse_json(text, "manifest"), "manifest")
    if fields.get("format") != "sigil-evidence-pack":
        invalid("format", 'must be "sigil-evidence-pack"')
    if read_count(fields.get("version"), "version") != 1:
        invalid("version", "must be 1")
    counts = read_map(fields.get("counts"), "counts")
    note = read_text(fields.get("checkpoint"), "checkpoint")
    has_start = "from" not in fields or fields["from"] is not None
    files = read_list(fields.get("files"), "files", (0, len(PACK_FILE_NAMES)), _read_file)
    _check_names(files)
    manifest = Manifest(
        tool=read_text(fields.get("tool"), "tool"),
        origin=read_text(fields.get("origin"), "origin"),
        genesis=_read_hash(fields.get("genesis"), "genesis"),
        tenant=read_text(fields.get("tenant"), "tenant"),
        from_ms=read_time(fields.get("from"), "from") if has_start else None,
        to_ms=read_time(fields.get("to"), "to"),
        checkpoint=note,
        decisions=read_count(counts.get("decisions"), "counts.decisions"),
        records=read_count(counts.get("records"), "counts.records"),
        callers=read_count(counts.get("callers"), "counts.callers"),
        gaps=read_list(fields.get("gaps"), "gaps", (0, PACK_GAPS_MAX), _read_gap),
        files=files,
        tree=parse_checkpoint(parse_note(note).text),
    )
    require_same(_format_manifest(manifest), text, "manifest")
    return manifest


@dataclass(frozen=True)
class Line:
    """A record as a line holds it. `text` is the whole line of a decision, None for another record."""

    position: int
    envelope: str
    """Padded base64."""
    text: str | None = None
    disclosures: str | None = None
    """Padded base64; None where nothing is disclosed."""


def parse_record_line(text: str) -> Line:
    fields = read_map(parse_json(text, "line"), "line")
    line = Line(
        read_position(fields.get("position"), "position"), read_text(fields.get("envelope"), "envelope")
    )
    require_same(stringify({"position": str(line.position), "envelope": line.envelope}), text, "line")
    return line


def parse_decision_line(text: str) -> Line:
    """Whether it is what its record makes is up to whoever has read the record."""
    fields = read_map(parse_json(text, "line"), "line")
    disclosures = read_text(fields["disclosures"], "disclosures") if "disclosures" in fields else None
    position = read_position(fields.get("position"), "position")
    return Line(position, read_text(fields.get("envelope"), "envelope"), text, disclosures)


@dataclass(frozen=True)
class Place:
    position: int
    number: int


@dataclass(frozen=True)
class CallerLine:
    """What is claimed of a caller: its numbers around the span, and how many lie within."""

    caller: str
    before: Place | None
    """None if numbers begin at 1."""
    after: Place
    end: str
    decisions: int

    @property
    def last_claimed(self) -> int:
        """The newest number that is claimed to be in the span."""
        return self.after.number - (1 if self.end == "decision" else 0)

    @property
    def first_claimed(self) -> int:
        return 1 if self.before is None else self.before.number + 1

    @property
    def claimed(self) -> int:
        """How many decisions follow from the numbers."""
        return self.last_claimed - self.first_claimed + 1


def _read_place(value: object, field: str) -> Place:
    fields = read_map(value, field)
    position = read_position(fields.get("position"), f"{field}.position")
    return Place(position, read_count(fields.get("number"), f"{field}.number"))


def _place_json(place: Place) -> Json:
    return {"position": str(place.position), "number": place.number}


def parse_caller_line(text: str) -> CallerLine:
    fields = read_map(parse_json(text, "line"), "line")
    end = fields.get("end")
    if not isinstance(end, str) or end not in CALLER_ENDS:
        invalid("end", f"must be one of {', '.join(CALLER_ENDS)}")
    has_before = "before" not in fields or fields["before"] is not None
    line = CallerLine(
        caller=read_text(fields.get("caller"), "caller"),
        before=_read_place(fields.get("before"), "before") if has_before else None,
        after=_read_place(fields.get("after"), "after"),
        end=end,
        decisions=read_count(fields.get("decisions"), "decisions"),
    )
    made: Json = {
        "caller": line.caller,
        "before": None if line.before is None else _place_json(line.before),
        "after": _place_json(line.after),
        "end": line.end,
        "decisions": line.decisions,
    }
    require_same(stringify(made), text, "line")
    return line
