"""Bytes of the native protocol: varints and strings, a growing read buffer, and a write buffer."""

from __future__ import annotations

import socket
import struct
from typing import Final, Protocol

_CHUNK: Final = 1 << 18


class EndOfStreamError(Exception):
    """The other side closed the connection, or a block in memory ends too early."""


class Source(Protocol):
    """A byte buffer that can grow. Positions are indexes of ``buf``; it is only cut by its owner."""

    buf: bytearray

    def fill(self) -> None:
        """Appends at least one byte to ``buf`` or raises EndOfStreamError."""


class MemorySource:
    """A source that is complete from the start."""

    def __init__(self, data: bytes) -> None:
        self.buf = bytearray(data)

    def fill(self) -> None:
        """Always raises: there is nothing more."""
        raise EndOfStreamError("the data ends in the middle of a block")


class SocketSource:
    """A source over a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.buf = bytearray()
        self._socket = sock

    def fill(self) -> None:
        """Reads what the socket has, at least one byte."""
        data = self._socket.recv(_CHUNK)
        if not data:
            raise EndOfStreamError("the client closed the connection")
        self.buf += data


class Reader:
    """Reads values from a source and forgets what was read when ``compact`` is called."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.pos = 0

    def need(self, end: int) -> None:
        """Waits until the buffer reaches the position ``end``."""
        while len(self.source.buf) < end:
            self.source.fill()

    def compact(self) -> None:
        """Drops the bytes that were read."""
        del self.source.buf[: self.pos]
        self.pos = 0

    def byte(self) -> int:
        """One unsigned byte."""
        self.need(self.pos + 1)
        self.pos += 1
        return self.source.buf[self.pos - 1]

    def varint(self) -> int:
        """An unsigned LEB128 number."""
        shift = value = 0
        while True:
            part = self.byte()
            value |= (part & 0x7F) << shift
            if part < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number in the packet is longer than 64 bits")

    def bytes(self, length: int) -> bytes:
        """``length`` bytes."""
        self.need(self.pos + length)
        self.pos += length
        return bytes(self.source.buf[self.pos - length : self.pos])

    def string(self) -> str:
        """A length-prefixed string; bytes that are not UTF-8 survive as surrogates."""
        return self.bytes(self.varint()).decode("utf-8", "surrogateescape")

    def uint64(self) -> int:
        """A little-endian 64-bit number."""
        return int(struct.unpack("<Q", self.bytes(8))[0])


def varint(value: int) -> bytes:
    """``value`` as unsigned LEB128."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(value: str) -> bytes:
    """``value`` with its length in front."""
    data = value.encode("utf-8", "surrogateescape")
    return varint(len(data)) + data
