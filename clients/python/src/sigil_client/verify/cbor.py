"""Canonical CBOR: a profile of RFC 8949 §4.2.1 in which values and encodings correspond one to one. Pure.

Source: docs/spec/record.md §1. At most 1 MiB, 16 containers deep, 4,096 entries a container. A count or a
length is checked against the bytes that are left before anything is made for it.
"""

from __future__ import annotations

import math
import struct
from typing import Final, NoReturn, TypeAlias, Union

from .errors import MalformedCbor, UnencodableValue
from .limits import CBOR_BYTES_MAX, CBOR_DEPTH_MAX, CBOR_ENTRIES_MAX, SAFE_INTEGER_MAX, UINT64_MAX

CborValue: TypeAlias = Union[
    bool, int, float, str, bytes, "list[CborValue]", "tuple[CborValue, ...]", "dict[str, CborValue]", None
]
CborMap: TypeAlias = "dict[str, CborValue]"
HeaderValue: TypeAlias = Union[
    bool,
    int,
    float,
    str,
    bytes,
    "list[HeaderValue]",
    "tuple[HeaderValue, ...]",
    "dict[int | str, HeaderValue]",
    None,
]
"""In a COSE header, and only there, keys may also be integers."""
HeaderMap: TypeAlias = "dict[int | str, HeaderValue]"

TRUNCATED: Final = "input ends inside the item"
TRAILING: Final = "bytes follow the value"
TOO_DEEP: Final = f"nested deeper than {CBOR_DEPTH_MAX}"
TOO_MANY: Final = f"more than {CBOR_ENTRIES_MAX} entries"
RESERVED: Final = "additional information 28 to 30 is reserved"
INDEFINITE: Final = "indefinite length is not canonical"
NOT_SHORTEST: Final = "integer or length is not in its shortest form"
BELOW_RANGE: Final = "integer is below -2^63"
TAG: Final = "tags are outside the profile"
SIMPLE: Final = "only false, true and null are simple values of the profile"
NOT_FINITE: Final = "NaN and infinities are outside the profile"
INTEGRAL_FLOAT: Final = "an integral value within 2^53-1 must be an integer"
LONG_FLOAT: Final = "float is not in its shortest form"
UTF8: Final = "text is not UTF-8"
KEY_TYPE: Final = "map key has the wrong type"
KEY_ORDER: Final = "map keys are out of order"
KEY_TWICE: Final = "map key occurs twice"

MAJOR_UNSIGNED, MAJOR_NEGATIVE, MAJOR_BYTES, MAJOR_TEXT, MAJOR_ARRAY, MAJOR_MAP, MAJOR_TAG = range(7)

_INTEGER_MIN: Final = -(2**63)


def decode(data: bytes, bytes_max: int = CBOR_BYTES_MAX) -> CborValue:
    """Accepts exactly what `encode` produces. Raises MalformedCbor with the offset of the item that breaks
    the rule.
    """
    return Reader(data, bytes_max=bytes_max).only()  # type: ignore[return-value]


def decode_header(data: bytes) -> HeaderValue:
    """`decode` for a COSE header. Raises MalformedCbor."""
    return Reader(data, integer_keys=True).only()


def encode(value: CborValue, bytes_max: int = CBOR_BYTES_MAX) -> bytes:
    """The one encoding of a value. Raises UnencodableValue with a JSON pointer to the part that has none."""
    writer = Writer(bytes_max=bytes_max)
    writer.value(value)
    return writer.finish()


def encode_header(value: HeaderValue) -> bytes:
    """`encode` for a COSE header. Raises UnencodableValue."""
    writer = Writer(integer_keys=True)
    writer.value(value)
    return writer.finish()


class Reader:
    """Reads one value after the other; offsets in errors count from the start of `data`."""

    def __init__(self, data: bytes, *, integer_keys: bool = False, bytes_max: int = CBOR_BYTES_MAX) -> None:
        self._data = bytes(data)
        self._end = len(self._data)
        self._at = 0
        self._depth = 0
        self._integer_keys = integer_keys
        if self._end > bytes_max:
            self._refuse(0, f"input is longer than {bytes_max} bytes")

    def only(self) -> HeaderValue:
        """Reads one value and requires the end of input."""
        value = self.value()
        self.done()
        return value

    def done(self) -> None:
        if self._at != self._end:
            self._refuse(self._at, TRAILING)

    def take(self, expected: int) -> bool:
        """Consumes the next byte if it is `expected`; tells whether it was."""
        if self._at >= self._end or self._data[self._at] != expected:
            return False
        self._at += 1
        return True

    def byte_string(self) -> bytes | None:
        """Reads a byte string; None if the next item is something else."""
        start = self._at
        if start >= self._end:
            self._refuse(start, TRUNCATED)
        initial = self._data[start]
        if initial >> 5 != MAJOR_BYTES:
            return None
        self._at += 1
        return self._string(start, initial & 31)

    def value(self) -> HeaderValue:
        start = self._at
        if start >= self._end:
            self._refuse(start, TRUNCATED)
        initial = self._data[start]
        self._at = start + 1
        major, info = initial >> 5, initial & 31
        if major == MAJOR_UNSIGNED:
            return self._argument(start, info)
        if major == MAJOR_NEGATIVE:
            argument = self._argument(start, info)
            if argument >= 2**63:
                self._refuse(start, BELOW_RANGE)
            return -1 - argument
        if major == MAJOR_BYTES:
            return self._string(start, info)
        if major == MAJOR_TEXT:
            return self._text(start, info)
        if major == MAJOR_ARRAY:
            return self._array(start, info)
        if major == MAJOR_MAP:
            return self._map(start, info)
        if major == MAJOR_TAG:
            self._refuse(start, TAG)
        return self._simple(start, info)

    def _argument(self, start: int, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            self._refuse(start, INDEFINITE if info == 31 else RESERVED)
        width = 1 << (info - 24)
        if width > self._end - self._at:
            self._refuse(start, TRUNCATED)
        argument = int.from_bytes(self._data[self._at : self._at + width], "big")
        self._at += width
        least = 24 if width == 1 else 1 << (4 * width)
        if argument < least:
            self._refuse(start, NOT_SHORTEST)
        return argument

    def _string(self, start: int, info: int) -> bytes:
        length = self._argument(start, info)
        if length > self._end - self._at:
            self._refuse(start, TRUNCATED)
        self._at += length
        return self._data[self._at - length : self._at]

    def _text(self, start: int, info: int) -> str:
        raw = self._string(start, info)
        try:
            return raw.decode("utf-8", "strict")
        except UnicodeDecodeError:
            self._refuse(start, UTF8)

    def _enter(self, start: int, info: int, entry_bytes: int) -> int:
        """Enters a container, gives its count; the input has at least `entry_bytes` bytes for each entry."""
        count = self._argument(start, info)
        if count > CBOR_ENTRIES_MAX:
            self._refuse(start, TOO_MANY)
        if count * entry_bytes > self._end - self._at:
            self._refuse(start, TRUNCATED)
        if self._depth >= CBOR_DEPTH_MAX:
            self._refuse(start, TOO_DEEP)
        self._depth += 1
        return count

    def _array(self, start: int, info: int) -> list[HeaderValue]:
        items = [self.value() for _ in range(self._enter(start, info, 1))]
        self._depth -= 1
        return items

    def _map(self, start: int, info: int) -> HeaderMap:
        entries: HeaderMap = {}
        before: bytes | None = None
        for _ in range(self._enter(start, info, 2)):
            key_start = self._at
            key = self._key(key_start)
            encoded = self._data[key_start : self._at]
            if before is not None and encoded <= before:
                self._refuse(key_start, KEY_TWICE if encoded == before else KEY_ORDER)
            before = encoded
            entries[key] = self.value()
        self._depth -= 1
        return entries

    def _key(self, start: int) -> int | str:
        if start >= self._end:
            self._refuse(start, TRUNCATED)
        major = self._data[start] >> 5
        is_integer = major in (MAJOR_UNSIGNED, MAJOR_NEGATIVE)
        if major != MAJOR_TEXT and not (is_integer and self._integer_keys):
            self._refuse(start, KEY_TYPE)
        return self.value()  # type: ignore[return-value]

    def _simple(self, start: int, info: int) -> bool | float | None:
        if info in (20, 21):
            return info == 21
        if info == 22:
            return None
        if info in (25, 26, 27):
            return self._float(start, info)
        if info == 31:
            self._refuse(start, INDEFINITE)
        self._refuse(start, RESERVED if info >= 28 else SIMPLE)

    def _float(self, start: int, info: int) -> float:
        width = 1 << (info - 24)
        if width > self._end - self._at:
            self._refuse(start, TRUNCATED)
        raw = self._data[self._at : self._at + width]
        self._at += width
        value: float = struct.unpack({2: ">e", 4: ">f", 8: ">d"}[width], raw)[0]
        if not math.isfinite(value):
            self._refuse(start, NOT_FINITE)
        if _is_safe_integral(value):
            self._refuse(start, INTEGRAL_FLOAT)
        if len(_float_bytes(value)) < width:
            self._refuse(start, LONG_FLOAT)
        return value

    def _refuse(self, offset: int, rule: str) -> NoReturn:
        raise MalformedCbor(offset, rule)


def _is_safe_integral(value: float) -> bool:
    return value.is_integer() and -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX


def _float_bytes(value: float) -> bytes:
    """The shortest of 2, 4 and 8 bytes that keeps the value."""
    for form in (">e", ">f"):
        try:
            packed = struct.pack(form, value)
        except OverflowError:
            continue
        if struct.unpack(form, packed)[0] == value:
            return packed
    return struct.pack(">d", value)


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((major << 5 | argument,))
    for info, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * width):
            return bytes((major << 5 | info,)) + argument.to_bytes(width, "big")
    raise AssertionError("an argument is below 2^64")


class Writer:
    """Appends encodings; a cyclic value fails at the depth limit."""

    def __init__(self, *, integer_keys: bool = False, bytes_max: int = CBOR_BYTES_MAX) -> None:
        self._out = bytearray()
        self._bytes_max = bytes_max
        self._integer_keys = integer_keys
        self._path: list[str] = []

    def finish(self) -> bytes:
        return bytes(self._out)

    def head(self, major: int, argument: int) -> None:
        self._append(_head(major, argument))

    def raw(self, encoded: bytes) -> None:
        """Appends what the caller knows to be canonical, such as a tag of COSE."""
        self._append(encoded)

    def value(self, value: object) -> None:
        if value is None:
            self._append(b"\xf6")
        elif isinstance(value, bool):
            self._append(b"\xf5" if value else b"\xf4")
        elif isinstance(value, int):
            self._integer(int(value))
        elif isinstance(value, float):
            self._float(float(value))
        elif isinstance(value, str):
            self._text(value)
        elif isinstance(value, (bytes, bytearray, memoryview)):
            raw = bytes(value)
            self._append(_head(MAJOR_BYTES, len(raw)))
            self._append(raw)
        elif isinstance(value, (list, tuple)):
            self._array(value)
        elif isinstance(value, dict):
            self._map(value)
        else:
            self._refuse(f"{type(value).__name__} has no encoding")

    def _integer(self, value: int) -> None:
        if not _INTEGER_MIN <= value <= UINT64_MAX:
            self._refuse("integer is outside -2^63 to 2^64-1")
        self._append(_head(MAJOR_NEGATIVE, -1 - value) if value < 0 else _head(MAJOR_UNSIGNED, value))

    def _float(self, value: float) -> None:
        if not math.isfinite(value):
            self._refuse("NaN and infinities have no encoding")
        if _is_safe_integral(value):
            # Minus zero becomes 0 here.
            return self._integer(int(value))
        packed = _float_bytes(value)
        self._append(bytes(({2: 0xF9, 4: 0xFA, 8: 0xFB}[len(packed)],)) + packed)

    def _text(self, value: str) -> None:
        try:
            raw = value.encode("utf-8", "strict")
        except UnicodeEncodeError:
            self._refuse("text has a lone surrogate")
        self._append(_head(MAJOR_TEXT, len(raw)))
        self._append(raw)

    def _array(self, items: list[object] | tuple[object, ...]) -> None:
        self._enter(MAJOR_ARRAY, len(items))
        for index, item in enumerate(items):
            self._path[-1] = str(index)
            self.value(item)
        self._path.pop()

    def _map(self, entries: dict[object, object]) -> None:
        self._enter(MAJOR_MAP, len(entries))
        encoded: list[tuple[bytes, str, object]] = []
        for key, item in entries.items():
            self._path[-1] = str(key)
            encoded.append((self._encoded_key(key), str(key), item))
        encoded.sort(key=lambda entry: entry[0])
        for raw, name, item in encoded:
            self._path[-1] = name
            self._append(raw)
            self.value(item)
        self._path.pop()

    def _encoded_key(self, key: object) -> bytes:
        if isinstance(key, str):
            try:
                raw = key.encode("utf-8", "strict")
            except UnicodeEncodeError:
                self._refuse("text has a lone surrogate")
            return _head(MAJOR_TEXT, len(raw)) + raw
        if self._integer_keys and isinstance(key, int) and not isinstance(key, bool):
            aside = Writer()
            aside.value(key)
            return aside.finish()
        self._refuse("key must be an integer or text" if self._integer_keys else "key must be text")

    def _enter(self, major: int, entries: int) -> None:
        if len(self._path) >= CBOR_DEPTH_MAX:
            self._refuse(f"is nested deeper than {CBOR_DEPTH_MAX}")
        if entries > CBOR_ENTRIES_MAX:
            self._refuse(f"has more than {CBOR_ENTRIES_MAX} entries")
        self._append(_head(major, entries))
        self._path.append("")

    def _append(self, raw: bytes) -> None:
        if len(self._out) + len(raw) > self._bytes_max:
            self._refuse(f"is longer than {self._bytes_max} bytes")
        self._out += raw

    def _refuse(self, rule: str) -> NoReturn:
        pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in self._path)
        raise UnencodableValue(pointer, rule)
