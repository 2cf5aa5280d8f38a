"""Compressed frames of the native protocol: checksum, method, sizes, data. LZ4 both ways."""

from __future__ import annotations

import importlib
import struct
from functools import cache
from typing import Any, Final

from server.errors import CANNOT_DECOMPRESS, ServerError
from server.wire import Reader

_LZ4: Final = 0x82
_NONE: Final = 0x02
_HEADER: Final = 9
_LARGEST: Final = 1 << 30
_FRAME: Final = 1 << 20


class CompressedSource:
    """The decompressed bytes behind a reader of compressed frames."""

    def __init__(self, raw: Reader) -> None:
        self.buf = bytearray()
        self._raw = raw

    def fill(self) -> None:
        """Reads and decompresses one frame."""
        raw = self._raw
        checksum = raw.bytes(16)
        method, packed, unpacked = struct.unpack("<BII", raw.bytes(_HEADER))
        if not _HEADER <= packed <= _LARGEST or unpacked > _LARGEST:
            raise ServerError(CANNOT_DECOMPRESS, f"A compressed frame claims {packed} bytes for {unpacked}")
        body = raw.bytes(packed - _HEADER)
        raw.compact()
        if _checksum(struct.pack("<BII", method, packed, unpacked) + body) != checksum:
            raise ServerError(CANNOT_DECOMPRESS, "The checksum of a compressed frame does not match its data")
        if method == _NONE:
            self.buf += body
        elif method == _LZ4:
            self.buf += _library("lz4.block").decompress(body, uncompressed_size=unpacked)
        else:
            raise ServerError(CANNOT_DECOMPRESS, f"Compression method {method:#x} is not supported; use lz4 or none")


@cache
def _library(name: str) -> Any:  # noqa: ANN401  (both libraries are without types)
    """A library for compression; they are only there where it is used, in the image."""
    return importlib.import_module(name)


def compress(data: bytes) -> bytes:
    """``data`` as LZ4 frames."""
    frames = []
    for start in range(0, len(data), _FRAME):
        piece = data[start : start + _FRAME]
        body = _library("lz4.block").compress(piece, store_size=False)
        frame = struct.pack("<BII", _LZ4, len(body) + _HEADER, len(piece)) + body
        frames += [_checksum(frame), frame]
    return b"".join(frames)


def _checksum(data: bytes) -> bytes:
    value = int(_library("clickhouse_cityhash.cityhash").CityHash128(data))
    return struct.pack("<QQ", value >> 64, value & 0xFFFFFFFFFFFFFFFF)
