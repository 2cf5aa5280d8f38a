"""The built ClickHouse image's server: packets, blocks and columns of the native protocol."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "images" / "clickhouse"))

from server import blocks, columns, packets, wire
from server.errors import ServerError, from_engine
from server.wire import EndOfStreamError, MemorySource, Reader


class Dripping:
    """A source that gives one byte at a time, as a slow network may."""

    def __init__(self, data: bytes) -> None:
        self.buf = bytearray()
        self._rest = data

    def fill(self) -> None:
        if not self._rest:
            raise EndOfStreamError("end")
        self.buf += self._rest[:1]
        self._rest = self._rest[1:]


@given(st.integers(0, 2**64 - 1))
def test_varint_roundtrip(value: int) -> None:
    assert Reader(MemorySource(wire.varint(value))).varint() == value


@pytest.mark.parametrize(("value", "data"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02")])
def test_varint_is_leb128(value: int, data: bytes) -> None:
    assert wire.varint(value) == data


def test_varint_refuses_endless_numbers() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        Reader(MemorySource(b"\xff" * 20)).varint()


@given(st.binary(max_size=400))
def test_string_keeps_bytes_that_are_not_utf8(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert wire.string(text) == wire.varint(len(data)) + data
    assert Reader(MemorySource(wire.string(text))).string() == text


U64 = struct.Struct("<Q").pack
LOW_CARDINALITY = U64(1) + U64(0x600) + U64(2) + b"\0\1a" + U64(3) + b"\0\1\1"
COLUMNS = [
    ("UInt8", 3, b"\1\2\3"),
    ("Decimal(12, 2)", 2, b"\0" * 16),
    ("Decimal(38, 9)", 1, b"\0" * 16),
    ("DateTime64(6, 'UTC')", 2, b"\0" * 16),
    ("UInt128", 1, b"\0" * 16),
    ("Enum8('a)' = 1, 'b\\'' = 2)", 2, b"\1\2"),
    ("FixedString(3)", 2, b"abcdef"),
    ("String", 2, b"\1a" + wire.varint(200) + b"x" * 200),
    ("Nullable(String)", 2, b"\0\1" + b"\1a\0"),
    ("Array(Int16)", 2, U64(1) + U64(3) + b"\0" * 6),
    ("Array(Array(UInt8))", 1, U64(2) + U64(1) + U64(3) + b"\0" * 3),
    ("Map(String, UInt8)", 1, U64(1) + b"\1k" + b"\7"),
    ("Tuple(a Int8, `b c` String)", 2, b"\1\2" + b"\1x\1y"),
    ("Tuple(DateTime('UTC'), Array(Int8))", 1, b"\0" * 4 + U64(1) + b"\1"),
    ("Nested(a Int8, b Int8)", 1, U64(2) + b"\1\2" + b"\3\4"),
    ("LowCardinality(String)", 3, LOW_CARDINALITY),
    ("LowCardinality(Nullable(String))", 3, LOW_CARDINALITY),
    ("Array(LowCardinality(String))", 2, U64(1) + U64(1) + U64(3) + LOW_CARDINALITY[8:]),
    ("SimpleAggregateFunction(sum, UInt64)", 1, b"\0" * 8),
    ("Point", 1, b"\0" * 16),
    ("IntervalDay", 1, b"\0" * 8),
]


@pytest.mark.parametrize(("type_name", "rows", "data"), COLUMNS, ids=[name for name, _, _ in COLUMNS])
def test_walker_finds_the_end_of_a_column(type_name: str, rows: int, data: bytes) -> None:
    walker = columns.walker(type_name)
    assert walker.column(MemorySource(data + b"rest"), 0, rows) == len(data)
    assert walker.column(Dripping(data), 0, rows) == len(data)
    assert walker.column(MemorySource(b""), 0, 0) == 0
    with pytest.raises(EndOfStreamError):
        walker.column(MemorySource(data[:-1]), 0, rows)


@pytest.mark.parametrize("name", ["JSON", "AggregateFunction(sum, UInt64)", "Array(Dynamic)", "Variant(Int8, String)"])
def test_walker_names_types_that_it_can_not_walk(name: str) -> None:
    with pytest.raises(ServerError, match="Cast the column to String") as caught:
        columns.walker(name)
    assert caught.value.code == 48


@pytest.mark.parametrize("revision", [0, 54453, packets.REVISION])
def test_block_roundtrip(revision: int) -> None:
    block = blocks.Block(rows=2, columns=(("a", "UInt8", b"\1\2"), ("b", "String", b"\1x\1y")))
    data = blocks.write(block, revision)
    assert blocks.read(Reader(Dripping(data)), revision) == block
    assert len(data) == len(blocks.write(block, 0)) + (8 if revision else 0) + (2 if revision >= 54454 else 0)


def test_blocks_of_an_answer() -> None:
    block = blocks.Block(rows=1, columns=(("a", "UInt8", b"\1"),))
    assert blocks.read_all(blocks.write(block, 0) * 3) == [block] * 3
    assert blocks.empty(block.header).columns == (("a", "UInt8", b""),)


def test_sparse_columns_are_refused() -> None:
    data = bytearray(blocks.write(blocks.Block(rows=1, columns=(("a", "UInt8", b"\1"),)), packets.REVISION))
    data[-2] = 1
    with pytest.raises(ServerError, match="sparse"):
        blocks.read(Reader(MemorySource(bytes(data))), packets.REVISION)


def test_http_on_the_native_port_is_told_so() -> None:
    with pytest.raises(ServerError, match="HTTP has its own port"):
        packets.read_hello(Reader(MemorySource(b"GET / HTTP/1.1\r\n")))


def test_hello_takes_the_lower_revision() -> None:
    head = wire.varint(0) + wire.string("c") + wire.varint(1) + wire.varint(1)
    tail = wire.string("db") + wire.string("u") + wire.string("p")
    new = packets.read_hello(Reader(MemorySource(head + wire.varint(99999) + tail)))
    assert (new.revision, new.database, new.user, new.password) == (packets.REVISION, "db", "u", "p")
    with pytest.raises(ServerError, match="older than"):
        packets.read_hello(Reader(MemorySource(head + wire.varint(54000) + tail)))


def test_engine_messages_become_errors() -> None:
    error = from_engine(
        "Code: 164. DB::Exception: Code: 164. DB::Exception: Cannot modify 'x' setting in readonly mode. (READONLY) "
        "(version 26.9.2.1). (READONLY)",
        "u",
    )
    assert (error.code, error.name) == (164, "READONLY")
    assert error.message.startswith("Cannot modify 'x' setting in readonly mode.")
    denied = from_engine("Code: 497. DB::Exception: default: Not enough privileges. (ACCESS_DENIED)", "reader")
    assert denied.message == "reader: Not enough privileges."
    assert from_engine("something else", "u").code == 1001
