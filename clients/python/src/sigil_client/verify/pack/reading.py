"""Reads the files of a pack, and fields of its JSON, strictly: one spelling for each content.

Source: docs/spec/pack.md §1 to §5. A line has at most 8 MiB; nothing is opened but plain files of known names.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, TypeVar

from ..errors import ProofError
from ..limits import PACK_LINE_BYTES_MAX, SAFE_INTEGER_MAX, UINT64_MAX

Item = TypeVar("Item")
Json = dict[str, Any]

_CHUNK_BYTES: Final = 1 << 16
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,19}")
_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{3})Z", re.ASCII)
_TIME_MS_MAX: Final = 253_402_300_799_999


class PackRefused(ProofError):
    """A pack is refused; `step` is None where it is the step under way."""

    def __init__(self, rule: str, step: str | None = None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.step = step


def invalid(field: str, rule: str) -> NoReturn:
    raise PackRefused(f"{field} {rule}")


def in_step(step: str, work: Callable[[], Item]) -> Item:
    """Names the step of what its work refuses."""
    try:
        return work()
    except PackRefused as refused:
        if refused.step is not None:
            raise
        raise PackRefused(refused.rule, step) from refused
    except ProofError as error:
        raise PackRefused(str(error), step) from error


class PackFolder:
    """Where a pack lies: one level of plain files. Raises OSError for what cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        """Of everything that lies there; what is no plain file, a link too, has another name than any of the format."""
        return [
            entry.name if entry.is_file() and not entry.is_symlink() else f"{entry.name} (no plain file)"
            for entry in sorted(self._path.iterdir())
        ]

    def open(self, name: str) -> BinaryIO:
        return (self._path / name).open("rb")

    def digest(self, name: str) -> tuple[int, str]:
        """Length in bytes, and SHA-256 in hexadecimal."""
        digest, length = hashlib.sha256(), 0
        with self.open(name) as source:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                length += len(chunk)
        return length, digest.hexdigest()

    def text(self, name: str, bytes_max: int) -> str:
        """Raises PackRefused for a longer file, and for what is no UTF-8."""
        with self.open(name) as source:
            raw = source.read(bytes_max + 1)
        if len(raw) > bytes_max:
            raise PackRefused(f"{name} is longer than {bytes_max} bytes")
        try:
            return raw.decode("utf-8", "strict")
        except UnicodeDecodeError as error:
            raise PackRefused(f"{name} is not UTF-8") from error

    def lines(self, name: str) -> Iterator[str]:
        """Without their ends. Raises PackRefused for a line that is too long, before it is read whole."""
        with self.open(name) as source:
            while raw := source.readline(PACK_LINE_BYTES_MAX + 2):
                if len(raw.rstrip(b"\n")) > PACK_LINE_BYTES_MAX:
                    invalid("line", f"must be at most {PACK_LINE_BYTES_MAX} bytes")
                if not raw.endswith(b"\n"):
                    invalid("line", "must end with a line feed: the file was cut off")
                try:
                    yield raw[:-1].decode("utf-8", "strict")
                except UnicodeDecodeError:
                    invalid("line", "must be UTF-8")


def parse_json(text: str, field: str) -> object:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        invalid(field, "must be JSON")


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and the infinities are no JSON")


def require_same(made: str, text: str, field: str) -> None:
    """Other spellings of the same, and what nobody reads, have no place in a file that is compared."""
    if made != text:
        invalid(field, "must be written as its own content is, with nothing besides")


def read_map(value: object, field: str) -> Json:
    return value if isinstance(value, dict) else invalid(field, "must be an object")


def read_text(value: object, field: str) -> str:
    return value if isinstance(value, str) else invalid(field, "must be a text")


def read_count(value: object, field: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= SAFE_INTEGER_MAX:
        return value
    invalid(field, "must be a whole number")


def read_position(value: object, field: str) -> int:
    if isinstance(value, str) and _DECIMAL.fullmatch(value) and int(value) < UINT64_MAX:
        return int(value)
    invalid(field, "must be a position, as a decimal string")


def read_list(
    value: object, field: str, sizes: tuple[int, int], read: Callable[[object, str], Item]
) -> tuple[Item, ...]:
    """`sizes` are the least and the most of its items."""
    least, most = sizes
    if not isinstance(value, list) or not least <= len(value) <= most:
        invalid(
            field,
            f"must be a list of {least} to {most}" if least > 0 else f"must be a list of at most {most}",
        )
    return tuple(read(item, f"{field}[{index}]") for index, item in enumerate(value))


def _days_before(year: int) -> int:
    """Days from 1970-01-01 to January 1 of the year."""
    past = year - 1
    return (year - 1970) * 365 + past // 4 - past // 100 + past // 400 - 477


def _month_lengths(year: int) -> Sequence[int]:
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return (31, 29 if is_leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def format_time(time_ms: int) -> str:
    """ISO 8601 in UTC to the millisecond. Raises PackRefused past the year 9999."""
    if not 0 <= time_ms <= _TIME_MS_MAX:
        invalid("time", "must be within the years 1970 to 9999")
    days, of_day = divmod(time_ms, 86_400_000)
    year = 1970 + days // 366
    while _days_before(year + 1) <= days:
        year += 1
    days -= _days_before(year)
    month = 1
    for length in _month_lengths(year):
        if days < length:
            break
        days -= length
        month += 1
    seconds, ms = divmod(of_day, 1000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"
    return f"{year:04}-{month:02}-{days + 1:02}T{clock}Z"


def read_time(value: object, field: str) -> int:
    """Milliseconds. Strict: `format_time` of the result is the text."""
    match = _TIME.fullmatch(read_text(value, field))
    if match is not None:
        year, month, day, hours, minutes, seconds, ms = map(int, match.groups())
        if year >= 1970:
            days = _days_before(year) + sum(_month_lengths(year)[: max(0, month - 1)]) + day - 1
            time_ms = days * 86_400_000 + hours * 3_600_000 + minutes * 60_000 + seconds * 1000 + ms
            if 0 <= time_ms <= _TIME_MS_MAX and format_time(time_ms) == value:
                return time_ms
    invalid(field, "must be a time, ISO 8601 in UTC with milliseconds")
