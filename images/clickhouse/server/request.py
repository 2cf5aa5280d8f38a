"""An HTTP request as ClickHouse reads it: credentials, parameters, and a body that may be an INSERT's data."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from io import BufferedIOBase
from typing import Final
from urllib.parse import parse_qsl

from server.compression import CompressedSource
from server.errors import AUTHENTICATION_FAILED, BAD_ARGUMENTS, NOT_IMPLEMENTED, ServerError
from server.sql import Insert, parse_insert
from server.wire import EndOfStreamError, Reader

_PIECE: Final = 1 << 18
_QUERY_BYTES: Final = 1 << 20
_NOT_SETTINGS: Final = frozenset(
    (
        "query",
        "database",
        "user",
        "password",
        "quota_key",
        "query_id",
        "default_format",
        "session_id",
        "session_timeout",
        "session_check",
        "stacktrace",
        "compress",
        "decompress",
        "buffer_size",
        "wait_end_of_query",
        "client_protocol_version",
        "close_session",
        "role",
        "enable_http_compression",
        "http_write_exception_in_output_format",
        "send_progress_in_http_headers",
    )
)


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What the URL and the headers say."""

    values: Mapping[str, str]
    user: str
    password: str
    database: str
    default_format: str

    @property
    def settings(self) -> dict[str, str]:
        """Parameters that are settings."""
        return {
            name: value
            for name, value in self.values.items()
            if name not in _NOT_SETTINGS and not name.startswith("param_")
        }

    @property
    def params(self) -> dict[str, str]:
        """Values for ``{name:Type}`` in the query."""
        return {name.removeprefix("param_"): value for name, value in self.values.items() if name.startswith("param_")}

    def flag(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.values.get(name, "0") not in ("0", "", "false")

    def number(self, name: str) -> int:
        """A numeric parameter; 0 when it is absent."""
        text = self.values.get(name, "") or "0"
        if not text.isdigit():
            raise ServerError(BAD_ARGUMENTS, f"The parameter {name}={text} is not a whole number")
        return int(text)


def read_parameters(query_string: str, headers: Message) -> Parameters:
    """Reads URL parameters and headers; raises ServerError for contradictory or broken credentials."""
    values = dict(parse_qsl(query_string, keep_blank_values=True, errors="surrogateescape"))
    if values.get("role"):
        raise ServerError(NOT_IMPLEMENTED, "Roles can not be chosen on this server: each user has its own")
    user, password = _credentials(values, headers)
    return Parameters(
        values=values,
        user=user,
        password=password,
        database=values.get("database") or headers.get("X-ClickHouse-Database") or "",
        default_format=values.get("default_format") or headers.get("X-ClickHouse-Format") or "TabSeparated",
    )


def _credentials(values: Mapping[str, str], headers: Message) -> tuple[str, str]:
    given = headers.get("Authorization", "")
    if given.lower().startswith("basic "):
        try:
            user, _, password = base64.b64decode(given[6:], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise ServerError(AUTHENTICATION_FAILED, "The header Authorization is not valid for Basic") from None
        return user, password
    if given:
        raise ServerError(AUTHENTICATION_FAILED, "Only Basic is supported in the header Authorization")
    if headers.get("X-ClickHouse-User") or headers.get("X-ClickHouse-Key"):
        return headers.get("X-ClickHouse-User", ""), headers.get("X-ClickHouse-Key", "")
    return values.get("user", ""), values.get("password", "")


class Body:
    """A request body in pieces: by length, chunked, gzip or not."""

    def __init__(self, stream: BufferedIOBase, headers: Message) -> None:
        self._stream = stream
        self._left = int(headers.get("Content-Length") or 0)
        self._chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        encoding = headers.get("Content-Encoding", "").lower()
        if encoding not in ("", "identity", "gzip", "deflate"):
            raise ServerError(NOT_IMPLEMENTED, f"Content-Encoding {encoding} is not supported; send gzip or plain data")
        self._unpack = zlib.decompressobj(47) if encoding in ("gzip", "deflate") else None

    def pieces(self) -> Iterator[bytes]:
        """The body's bytes, unpacked."""
        for piece in self._chunks() if self._chunked else self._by_length():
            data = self._unpack.decompress(piece) if self._unpack else piece
            if data:
                yield data

    def _by_length(self) -> Iterator[bytes]:
        while self._left:
            piece = self._stream.read(min(self._left, _PIECE))
            if not piece:
                raise ConnectionError("the client left in the middle of the body")
            self._left -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while self._chunked:
            size = int(self._stream.readline(100).split(b";")[0] or b"0", 16)
            if not size:
                while self._stream.readline(1000).strip():
                    pass
                self._chunked = False
                return
            yield self._stream.read(size)
            self._stream.readline(10)

    def skip(self) -> None:
        """Reads what is left, so that the connection can serve the next request."""
        for _ in self._chunks() if self._chunked else self._by_length():
            pass


@dataclass(frozen=True, kw_only=True)
class Request:
    """A statement; for an INSERT with data its parsed head and the data in pieces."""

    statement: str
    insert: Insert | None
    data: Iterator[bytes]


class _PiecesSource:
    """Pieces of a body as a source for compressed frames."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.buf = bytearray()
        self._pieces = pieces

    def fill(self) -> None:
        piece = next(self._pieces, b"")
        if not piece:
            raise EndOfStreamError("the body ends in the middle of a compressed frame")
        self.buf += piece


def decompressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The data in a body of compressed frames (decompress=1)."""
    raw = _PiecesSource(pieces)
    reader = Reader(raw)
    frames = CompressedSource(reader)
    while True:
        if not raw.buf and not (first := next(pieces, b"")):
            return
        if not raw.buf:
            raw.buf += first
        frames.fill()
        yield bytes(frames.buf)
        frames.buf.clear()


def read_request(query: str, pieces: Iterator[bytes], *, whole: bool) -> Request:
    """Joins the parameter ``query`` and the body: the statement may be in either, an INSERT's data in both.

    ``whole`` reads everything into the statement (for INSERTs that have query parameters).
    """
    start = (query + "\n").encode("utf-8", "surrogateescape") if query else b""
    for piece in pieces:
        start += piece
        if len(start) > _QUERY_BYTES and not whole:
            break
    text = start.decode("utf-8", "surrogateescape")
    insert = parse_insert(text)
    if insert is None or whole:
        for piece in pieces:
            start += piece
        return Request(statement=start.decode("utf-8", "surrogateescape"), insert=None, data=iter(()))
    data_start = len(text[: insert.data_start].encode("utf-8", "surrogateescape"))
    return Request(statement=text[: insert.data_start], insert=insert, data=_chain(start[data_start:], pieces))


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
