"""The native protocol on one connection: hello, queries, inserts, ping, cancel."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Final

from server import blocks, packets, sql
from server.blocks import Block
from server.compression import CompressedSource, compress
from server.errors import CANCELLED, NO_SUCH_COLUMN, NOT_IMPLEMENTED, UNKNOWN_PACKET, ServerError
from server.session import Session, Statement
from server.users import authenticate
from server.wire import EndOfStreamError, Reader, SocketSource

if TYPE_CHECKING:
    from server.service import Service

log = logging.getLogger("native")

_HELLO_TIMEOUT: Final = 30
_HIDDEN_KINDS: Final = frozenset(("MATERIALIZED", "ALIAS"))


class NativeConnection:
    """One client of port 9000, served by one thread."""

    def __init__(self, service: Service, sock: socket.socket) -> None:
        self._service = service
        self._socket = sock
        self._reader = Reader(SocketSource(sock))
        self._revision = packets.REVISION
        self._session: Session | None = None
        self._in_step = True
        self._compressed = False

    def run(self) -> None:
        """Serves the client until it leaves."""
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(_HELLO_TIMEOUT)
            session = self._greet()
            if session is not None:
                self._session = session
                self._socket.settimeout(None)
                self._serve(session)
        except (EndOfStreamError, OSError, ValueError) as error:
            log.debug("connection ended: %s", error)
        finally:
            if self._session is not None:
                self._session.close()

    def _greet(self) -> Session | None:
        service = self._service
        try:
            hello = packets.read_hello(self._reader)
            user = authenticate(service.users, hello.user, hello.password)
            session = service.open_session(user, hello.database)
        except ServerError as error:
            self._send(packets.exception(error, service.version))
            return None
        self._revision = hello.revision
        self._send(packets.hello(service.version, service.timezone, service.display_name))
        if self._revision >= packets.REVISION_ADDENDUM:
            self._reader.string()
        return session

    def _serve(self, session: Session) -> None:
        while True:
            self._reader.compact()
            kind = self._reader.varint()
            if kind == packets.CLIENT_PING:
                self._send(packets.pong())
            elif kind == packets.CLIENT_QUERY:
                self._query(session, packets.read_query(self._reader, self._revision))
            elif kind == packets.CLIENT_DATA:
                # An INSERT failed before its data came, and the client sends it nevertheless.
                self._read_block(self._compressed, with_type=False)
            elif kind != packets.CLIENT_CANCEL:
                raise ValueError(f"unknown packet {kind} from the client")

    def _query(self, session: Session, query: packets.Query) -> None:
        started = time.monotonic()
        self._compressed = query.compressed
        try:
            self._read_external_tables(query.compressed)
            kind = session.check(query.sql)
            settings = session.limit(query.sql, kind, query.settings)
            if kind == "CONTROL":
                session.restore()
            else:
                session.apply(settings, ignore_unknown=not query.important)
            insert = sql.parse_insert(query.sql)
            with self._service.watch(self._socket, session) if insert is None else contextlib.nullcontext():
                inline = "" if insert is None else query.sql[insert.data_start :]
                if insert is not None and not inline.strip(" \t\r\n;"):
                    self._insert(session, insert, query.compressed)
                elif insert is not None and not query.params:
                    data = inline.encode("utf-8", "surrogateescape")
                    session.insert(insert, insert.format or "Values", iter((data,)))
                else:
                    self._answer(session, query, started)
            self._send(packets.end_of_stream())
        except ServerError as error:
            if error.code == CANCELLED and session.cancelled.is_set():
                self._send(packets.end_of_stream())
                return
            self._service.log_error(session.user.name, query.sql, error)
            self._send(packets.exception(error, self._service.version))
            if not self._in_step:
                raise ValueError("the rest of the client's data can not be skipped") from None

    def _answer(self, session: Session, query: packets.Query, started: float) -> None:
        text = sql.output_format(query.sql)[0]
        statement = Statement(sql=text, format="Native", params=query.params)
        rows = size = count = 0
        header: tuple[tuple[str, str], ...] | None = None
        with contextlib.closing(_blocks(session, statement)) as answer:
            for block in answer:
                if header is None:
                    header = block.header
                    self._send(self._data(blocks.empty(header), query.compressed))
                self._send(self._data(block, query.compressed))
                rows, size, count = rows + block.rows, size + block.size, count + 1
        seen = session.statistics
        if header is None and sql.has_header(text):
            header = _header(session, statement)
            self._send(self._data(blocks.empty(header), query.compressed))
        self._send(
            packets.profile(rows=rows, block_count=count, size=size)
            + packets.progress(rows=seen.read_rows, size=seen.read_bytes, written_rows=seen.written_rows,
                               written_bytes=seen.written_bytes, elapsed=time.monotonic() - started,
                               revision=self._revision)
        )  # fmt: skip

    def _insert(self, session: Session, insert: sql.Insert, compressed: bool) -> None:
        header = insert_header(session, insert)
        self._send(self._data(blocks.empty(header), compressed))
        session.insert(insert, "Native", self._insert_data(compressed))
        self._send_profile_events()
        seen = session.statistics
        self._send(packets.progress(rows=0, size=0, written_rows=seen.written_rows, written_bytes=seen.written_bytes,
                                    elapsed=0, revision=self._revision))  # fmt: skip

    def _insert_data(self, compressed: bool) -> Iterator[bytes]:
        """The client's blocks in format Native; after each one the client waits for profile events."""
        for block in self._client_blocks(compressed):
            yield blocks.write(block, 0)
            self._send_profile_events()

    def _client_blocks(self, compressed: bool) -> Iterator[Block]:
        while True:
            self._reader.compact()
            kind = self._reader.varint()
            if kind == packets.CLIENT_CANCEL:
                raise ServerError(CANCELLED, "Query was cancelled")
            if kind != packets.CLIENT_DATA:
                self._in_step = False
                raise ServerError(UNKNOWN_PACKET, f"Packet {kind} instead of the INSERT's data")
            try:
                block = self._read_block(compressed, with_type=False)
            except ServerError:
                self._in_step = False
                raise
            if not block.rows:
                return
            yield block

    def _read_external_tables(self, compressed: bool) -> None:
        if not self._read_block(compressed).columns:
            return
        for _ in self._client_blocks(compressed):
            pass
        raise ServerError(NOT_IMPLEMENTED, "External tables are not supported; use a temporary table")

    def _read_block(self, compressed: bool, *, with_type: bool = True) -> Block:
        if with_type and self._reader.varint() != packets.CLIENT_DATA:
            raise ValueError("the client did not send the data packet that follows a query")
        self._reader.string()
        if not compressed:
            return blocks.read(self._reader, self._revision)
        self._reader.compact()
        return blocks.read(Reader(CompressedSource(self._reader)), self._revision)

    def _data(self, block: Block, compressed: bool) -> bytes:
        body = blocks.write(block, self._revision)
        return packets.data(compress(body) if compressed else body)

    def _send_profile_events(self) -> None:
        if self._revision >= packets.REVISION_PROFILE_EVENTS:
            self._send(packets.profile_events())

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)


def _blocks(session: Session, statement: Statement) -> Generator[Block, None, None]:
    with contextlib.closing(session.stream(statement)) as pieces:
        for piece, _ in pieces:
            yield from blocks.read_all(piece)


def _header(session: Session, statement: Statement) -> tuple[tuple[str, str], ...]:
    """Names and types of an answer without rows, which format Native leaves out."""
    text = statement.sql.rstrip().rstrip(";")
    if sql.can_stream(text):
        describe = Statement(sql=f"DESCRIBE TABLE ({text}\n)", format="Native", params=statement.params)
        with contextlib.suppress(ServerError):
            return tuple((row[0], row[1]) for row in described(session, describe))
    answer = session.whole(Statement(sql=text, format="JSONCompactEachRowWithNamesAndTypes", params=statement.params))
    return names_and_types(answer)


def names_and_types(answer: bytes) -> tuple[tuple[str, str], ...]:
    """The first two lines of JSONCompactEachRowWithNamesAndTypes."""
    lines = answer.split(b"\n")
    if len(lines) < 2:
        return ()
    return tuple(zip(json.loads(lines[0]), json.loads(lines[1]), strict=True))


def described(session: Session, statement: Statement) -> list[tuple[str, str, str]]:
    """Rows of a DESCRIBE: name, type, kind of default."""
    rows: list[tuple[str, str, str]] = []
    for block in blocks.read_all(session.whole(statement)):
        names, types, kinds = (blocks.strings(values, block.rows) for _, _, values in block.columns[:3])
        rows += zip(names, types, kinds, strict=True)
    return rows


def insert_header(session: Session, insert: sql.Insert) -> tuple[tuple[str, str], ...]:
    """Names and types of the columns that an INSERT expects."""
    rows = described(session, Statement(sql=f"DESCRIBE TABLE {insert.table}", format="Native"))
    types = {name: type_name for name, type_name, _ in rows}
    if insert.columns is None:
        kinds = {name: kind for name, _, kind in rows}
        hidden = _HIDDEN_KINDS | {"EPHEMERAL"}
        return tuple((n, t) for n, t in types.items() if kinds[n] not in hidden and n not in insert.excluded)
    if missing := [name for name in insert.columns if name not in types]:
        raise ServerError(NO_SUCH_COLUMN, f"No such column {missing[0]} in table {insert.table}")
    return tuple((name, types[name]) for name in insert.columns)
