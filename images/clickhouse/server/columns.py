"""Where a column of a native block ends: a walker for each data type that moves over values without decoding them."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from server.errors import NOT_IMPLEMENTED, ServerError
from server.wire import Source

Skip = Callable[[Source, int, int], int]
"""(source, position, rows) -> position behind the values; may let the source grow."""

_FIXED: Final = {
    "UInt8": 1, "UInt16": 2, "UInt32": 4, "UInt64": 8, "UInt128": 16, "UInt256": 32,
    "Int8": 1, "Int16": 2, "Int32": 4, "Int64": 8, "Int128": 16, "Int256": 32,
    "Float32": 4, "Float64": 8, "BFloat16": 2, "Bool": 1, "Date": 2, "Date32": 4, "DateTime": 4, "DateTime32": 4,
    "DateTime64": 8, "Time": 4, "Time64": 8, "UUID": 16, "IPv4": 4, "IPv6": 16, "Enum8": 1, "Enum16": 2, "Nothing": 1,
    "Decimal32": 4, "Decimal64": 8, "Decimal128": 16, "Decimal256": 32,
}  # fmt: skip
_ALIASES: Final = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Tuple(Float64, Float64))",
    "LineString": "Array(Tuple(Float64, Float64))",
    "Polygon": "Array(Array(Tuple(Float64, Float64)))",
    "MultiLineString": "Array(Array(Tuple(Float64, Float64)))",
    "MultiPolygon": "Array(Array(Array(Tuple(Float64, Float64))))",
}
_DECIMAL_BYTES: Final = ((9, 4), (18, 8), (38, 16), (76, 32))
_NAMED: Final = re.compile(r"(?:`(?:[^`\\]|\\.)*`|[A-Za-z_][A-Za-z0-9_]*) +(?=\S)")
_HAS_ADDITIONAL_KEYS: Final = 1 << 9


class UnsupportedTypeError(ServerError):
    """A type whose values cannot be walked over."""

    def __init__(self, name: str) -> None:
        super().__init__(
            NOT_IMPLEMENTED,
            f"Type {name} is not supported in native blocks by this chDB based server. "
            "Cast the column to String, or ask over HTTP in another format",
        )


class Walker:
    """How to move over one type: ``prefix`` bytes of state in front of the column, then the values."""

    def __init__(self, prefix: int, skip: Skip) -> None:
        self.prefix = prefix
        self._skip = skip

    def values(self, source: Source, pos: int, rows: int) -> int:
        """The position behind ``rows`` values that start at ``pos``."""
        return self._skip(source, pos, rows) if rows else pos

    def column(self, source: Source, pos: int, rows: int) -> int:
        """The position behind a whole column: its state and its values."""
        return self.values(source, pos + self.prefix, rows) if rows else pos


def need(source: Source, end: int) -> int:
    """Lets the source grow up to the position ``end`` and returns it."""
    while len(source.buf) < end:
        source.fill()
    return end


@lru_cache(maxsize=1024)
def walker(type_name: str) -> Walker:
    """The walker of a type; raises UnsupportedTypeError for types with an open layout (JSON, AggregateFunction...)."""
    name, inner = _split(type_name)
    name = name.strip()
    if name in _ALIASES:
        return walker(_ALIASES[name])
    if name in _FIXED:
        return Walker(0, _fixed(_FIXED[name]))
    if name.startswith("Interval"):
        return Walker(0, _fixed(8))
    if name == "String":
        return Walker(0, _strings)
    if build := _COMPOSED.get(name):
        return build(inner)
    raise UnsupportedTypeError(type_name)


def _split(type_name: str) -> tuple[str, list[str]]:
    """``Map(String, Array(Int8))`` as its name and its arguments."""
    opened = type_name.find("(")
    if opened < 0:
        return type_name, []
    arguments, depth, start, quote, index = [], 0, opened + 1, "", opened + 1
    while index < len(type_name):
        char = type_name[index]
        if quote:
            if char == "\\":
                index += 1
            elif char == quote:
                quote = ""
        elif char in "'`\"":
            quote = char
        elif char == "(":
            depth += 1
        elif char == ")" and depth:
            depth -= 1
        elif char in {",", ")"} and not depth:
            arguments.append(type_name[start:index].strip())
            start = index + 1
        index += 1
    return type_name[:opened], [argument for argument in arguments if argument]


def _fixed(size: int) -> Skip:
    return lambda source, pos, rows: need(source, pos + size * rows)


def _strings(source: Source, pos: int, rows: int) -> int:
    buf, done = source.buf, 0
    while done < rows:
        try:
            for _ in range(rows - done):
                length = buf[pos]
                if length < 0x80:
                    pos += length + 1
                else:
                    pos = _long_string(buf, pos)
                done += 1
        except IndexError:
            need(source, max(pos, len(buf)) + 1)
    return need(source, pos)


def _long_string(buf: bytearray, pos: int) -> int:
    value = shift = 0
    while True:
        part = buf[pos]
        pos += 1
        value |= (part & 0x7F) << shift
        if part < 0x80:
            return pos + value
        shift += 7


def _decimal(arguments: list[str]) -> Walker:
    precision = int(arguments[0])
    return Walker(0, _fixed(next(size for limit, size in _DECIMAL_BYTES if precision <= limit)))


def _nullable(arguments: list[str]) -> Walker:
    inner = walker(arguments[0])
    return Walker(inner.prefix, lambda source, pos, rows: inner.values(source, need(source, pos + rows), rows))


def _array(arguments: list[str]) -> Walker:
    inner = walker(arguments[0])

    def skip(source: Source, pos: int, rows: int) -> int:
        pos = need(source, pos + 8 * rows)
        return inner.values(source, pos, int(struct.unpack_from("<Q", source.buf, pos - 8)[0]))

    return Walker(inner.prefix, skip)


def _tuple(arguments: list[str]) -> Walker:
    if not arguments:
        return Walker(0, _fixed(1))
    parts = [walker(_element_type(argument)) for argument in arguments]

    def skip(source: Source, pos: int, rows: int) -> int:
        for part in parts:
            pos = part.values(source, pos, rows)
        return pos

    return Walker(sum(part.prefix for part in parts), skip)


def _element_type(argument: str) -> str:
    """The type of a tuple element, which may have a name in front."""
    return _NAMED.sub("", argument, count=1) if _NAMED.match(argument) else argument


def _low_cardinality(arguments: list[str]) -> Walker:
    name, inner = _split(arguments[0])
    keys = walker(inner[0] if name == "Nullable" else arguments[0])

    def skip(source: Source, pos: int, rows: int) -> int:
        done = 0
        while done < rows:
            pos = need(source, pos + 8)
            flags = int(struct.unpack_from("<Q", source.buf, pos - 8)[0])
            if flags & _HAS_ADDITIONAL_KEYS:
                pos = need(source, pos + 8)
                pos = keys.values(source, pos, int(struct.unpack_from("<Q", source.buf, pos - 8)[0]))
            pos = need(source, pos + 8)
            count = int(struct.unpack_from("<Q", source.buf, pos - 8)[0])
            pos = need(source, pos + (count << (flags & 0xFF)))
            done += max(count, 1)
        return pos

    return Walker(8, skip)


_COMPOSED: Final[dict[str, Callable[[list[str]], Walker]]] = {
    "FixedString": lambda arguments: Walker(0, _fixed(int(arguments[0]))),
    "Decimal": _decimal,
    "Nullable": _nullable,
    "Array": _array,
    "Tuple": _tuple,
    "Nested": lambda arguments: _array([f"Tuple({', '.join(arguments)})"]),
    "Map": lambda arguments: _array([f"Tuple({', '.join(arguments)})"]),
    "LowCardinality": _low_cardinality,
    "SimpleAggregateFunction": lambda arguments: walker(arguments[-1]),
}
