"""Blocks of the native protocol and of FORMAT Native: the same columns with small differences by revision.

Format Native of the engine has neither block information nor a serialization byte for each column; the protocol has
the first since revision 51903 and the second since 54454. This module adds and removes them; values pass untouched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from server import wire
from server.columns import walker
from server.errors import NOT_IMPLEMENTED, ServerError
from server.wire import EndOfStreamError, MemorySource, Reader

REVISION_BLOCK_INFO: Final = 51903
REVISION_CUSTOM_SERIALIZATION: Final = 54454
_BLOCK_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block: columns as (name, type, values as bytes)."""

    rows: int
    columns: tuple[tuple[str, str, bytes], ...]

    @property
    def header(self) -> tuple[tuple[str, str], ...]:
        """Names and types."""
        return tuple((name, type_name) for name, type_name, _ in self.columns)

    @property
    def size(self) -> int:
        """Bytes of all values."""
        return sum(len(values) for _, _, values in self.columns)


def read(reader: Reader, revision: int) -> Block:
    """Reads one block; ``revision`` 0 is format Native. Waits for data when the source does."""
    if revision >= REVISION_BLOCK_INFO:
        _skip_block_info(reader)
    count, rows = reader.varint(), reader.varint()
    columns = []
    for _ in range(count):
        name, type_name = reader.string(), reader.string()
        if revision >= REVISION_CUSTOM_SERIALIZATION and reader.byte():
            raise ServerError(NOT_IMPLEMENTED, f"Column {name} has a sparse serialization, which is not supported")
        start = reader.pos
        reader.pos = walker(type_name).column(reader.source, start, rows)
        columns.append((name, type_name, bytes(memoryview(reader.source.buf)[start : reader.pos])))
    return Block(rows=rows, columns=tuple(columns))


def read_all(data: bytes) -> list[Block]:
    """All blocks of an answer in format Native."""
    reader, blocks = Reader(MemorySource(data)), []
    while reader.pos < len(reader.source.buf):
        try:
            blocks.append(read(reader, 0))
        except EndOfStreamError as error:
            raise ServerError(NOT_IMPLEMENTED, "The engine's block was not understood by this server") from error
    return blocks


def write(block: Block, revision: int) -> bytes:
    """The block as the protocol of ``revision`` has it; 0 is format Native."""
    parts = [_BLOCK_INFO] if revision >= REVISION_BLOCK_INFO else []
    parts += [wire.varint(len(block.columns)), wire.varint(block.rows)]
    flag = b"\x00" if revision >= REVISION_CUSTOM_SERIALIZATION else b""
    for name, type_name, values in block.columns:
        parts += [wire.string(name), wire.string(type_name), flag, values]
    return b"".join(parts)


def empty(header: tuple[tuple[str, str], ...]) -> Block:
    """A block without rows, which tells names and types."""
    return Block(rows=0, columns=tuple((name, type_name, b"") for name, type_name in header))


def _skip_block_info(reader: Reader) -> None:
    while field := reader.varint():
        if field == 1:
            reader.byte()
        elif field == 2:
            reader.bytes(4)
        elif field == 3:
            reader.bytes(4 * reader.varint())
        else:
            raise ServerError(NOT_IMPLEMENTED, f"Unknown field {field} in the block's information")


def strings(values: bytes, rows: int) -> list[str]:
    """The values of a String column."""
    reader = Reader(MemorySource(values))
    return [reader.string() for _ in range(rows)]
