"""The HTTP interface on port 8123."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import re
import socket
import uuid
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from server import formats, sql
from server.compression import compress
from server.errors import BAD_ARGUMENTS, SYNTAX_ERROR, ServerError
from server.request import Body, Parameters, Request, decompressed, read_parameters, read_request
from server.session import Session, Statement
from server.users import authenticate
from server.wire import EndOfStreamError

if TYPE_CHECKING:
    from server.service import Service

log = logging.getLogger("http")

_FIXED: Final = {"/ping": b"Ok.\n", "/replicas_status": b"Ok.\n"}
_TOTALS: Final = re.compile(r"\bTOTALS\b", re.IGNORECASE)
_BUFFERED: Final = 1 << 20
_QUERY_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}\Z")


class HttpHandler(BaseHTTPRequestHandler):
    """One client of port 8123, served by one thread, request after request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    service: Service
    connection: socket.socket
    _query_id = ""
    _body: Body | None = None

    def do_GET(self) -> None:
        """Answers fixed pages and read-only queries."""
        self._handle(read_only=True)

    def do_HEAD(self) -> None:
        """Like GET without a body."""
        self._handle(read_only=True)

    def do_POST(self) -> None:
        """Answers queries."""
        self._handle(read_only=False)

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are logged only for debugging."""
        log.debug(format, *arguments)

    def _handle(self, *, read_only: bool) -> None:
        url = urlsplit(self.path)
        self._query_id = ""
        self._body = None
        if url.path in _FIXED:
            self._reply(200, _FIXED[url.path])
            return
        statement = ""
        try:
            self._body = Body(self.rfile, self.headers)
            parameters = read_parameters(url.query, self.headers)
            statement = parameters.values.get("query", "")
            if url.path != "/":
                self._reply(404, f"There is no handle {url.path}. Use / or /ping for health checks.\n".encode())
            elif not statement and self.command in ("GET", "HEAD"):
                self._reply(200, _FIXED["/ping"])
            else:
                self._query(parameters, self._body, read_only=read_only)
        except ServerError as error:
            self.service.log_error("", statement, error)
            self._error(error)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except (ValueError, EndOfStreamError, zlib.error) as error:
            self._error(ServerError(BAD_ARGUMENTS, f"The request can not be read: {error}"))

    def _query(self, parameters: Parameters, body: Body, *, read_only: bool) -> None:
        user = authenticate(self.service.users, parameters.user, parameters.password)
        wanted = parameters.values.get("query_id", "")
        self._query_id = wanted if _QUERY_ID.match(wanted) else str(uuid.uuid4())
        pieces = decompressed(body.pieces()) if parameters.flag("decompress") else body.pieces()
        request = read_request(parameters.values.get("query", ""), pieces, whole=bool(parameters.params))
        if not request.statement.strip():
            raise ServerError(SYNTAX_ERROR, "Syntax error: Empty query")
        opened = self.service.session(user, parameters.database, parameters.values.get("session_id", ""),
                                      parameters.number("session_timeout"))  # fmt: skip
        with opened as session:
            kind = session.check(request.statement)
            session.apply(session.limit(request.statement, kind, parameters.settings, read_only=read_only))
            if request.insert is not None:
                self._insert(session, request.insert, request.data)
            else:
                reads = kind == "READ_ONLY"
                with self.service.watch(self.connection, session) if reads else contextlib.nullcontext():
                    self._select(session, request, parameters)

    def _insert(self, session: Session, insert: sql.Insert, data: Iterator[bytes]) -> None:
        session.insert(insert, insert.format or "Values", data)
        self._reply(200, b"", self._headers(session, "TabSeparated", summary=True))

    def _select(self, session: Session, request: Request, parameters: Parameters) -> None:
        name = sql.output_format(request.statement)[1] or parameters.default_format
        statement = Statement(sql=request.statement, format=parameters.default_format, params=parameters.params)
        streamed = formats.can_stream(name) and not _TOTALS.search(request.statement)
        if not streamed or "output_format_json_array_of_rows" in parameters.values:
            data = session.whole(statement)
            self._reply_packed(data, self._headers(session, name, summary=True), parameters)
            return
        with contextlib.closing(session.stream(statement)) as pieces:
            parts = formats.join(name, pieces, parameters.number("client_protocol_version"))
            begin, ended = _begin(parts)
            if ended:
                data = b"".join(begin)
                self._reply_packed(data, self._headers(session, name, summary=True), parameters)
            else:
                self._stream(itertools.chain(begin, parts), self._headers(session, name, summary=False), parameters)

    def _stream(self, parts: Iterator[bytes], headers: dict[str, str], parameters: Parameters) -> None:
        self.send_response(200)
        pack = self._packer(parameters)
        for name, value in {**headers, **self._encoding(parameters), "Transfer-Encoding": "chunked"}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for part in parts:
                self._chunk(pack(part, False))
        except ServerError as error:
            # The status is sent: tell the error in the body, and break the stream so that nobody takes it for whole.
            self.service.log_error("", "", error)
            self._chunk(pack(f"\n{error.text(self.service.version)}\n".encode(), True))
            self.close_connection = True
            return
        self._chunk(pack(b"", True))
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _chunk(self, data: bytes) -> None:
        if data and self.command != "HEAD":
            self.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")

    def _headers(self, session: Session, name: str, *, summary: bool) -> dict[str, str]:
        headers = {"Content-Type": formats.content_type(name), "X-ClickHouse-Format": name}
        if summary:
            seen = session.statistics
            numbers = {"read_rows": seen.read_rows, "read_bytes": seen.read_bytes, "written_rows": seen.written_rows,
                       "written_bytes": seen.written_bytes, "total_rows_to_read": 0, "result_rows": 0,
                       "result_bytes": 0, "elapsed_ns": 0}  # fmt: skip
            headers["X-ClickHouse-Summary"] = json.dumps({key: str(value) for key, value in numbers.items()})
        return headers

    def _wants_gzip(self, parameters: Parameters) -> bool:
        wanted = parameters.flag("enable_http_compression") and not parameters.flag("compress")
        return wanted and "gzip" in self.headers.get("Accept-Encoding", "")

    def _encoding(self, parameters: Parameters) -> dict[str, str]:
        return {"Content-Encoding": "gzip"} if self._wants_gzip(parameters) else {}

    def _packer(self, parameters: Parameters) -> Callable[[bytes, bool], bytes]:
        if parameters.flag("compress"):
            return lambda data, _last: compress(data)
        if not self._wants_gzip(parameters):
            return lambda data, _last: data
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        return lambda data, last: packer.compress(data) + (packer.flush() if last else b"")

    def _reply_packed(self, data: bytes, headers: dict[str, str], parameters: Parameters) -> None:
        self._reply(200, self._packer(parameters)(data, True), {**headers, **self._encoding(parameters)})

    def _error(self, error: ServerError) -> None:
        self._reply(error.http_status, f"{error.text(self.service.version)}\n".encode(),
                    {"X-ClickHouse-Exception-Code": str(error.code)})  # fmt: skip

    def _reply(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            if self._body is not None:
                self._body.skip()
        self.send_response(status)
        fields = {"Content-Type": "text/plain; charset=UTF-8", "Content-Length": str(len(data)), **(headers or {})}
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.wfile.flush()

    def end_headers(self) -> None:
        """Adds the fields that every answer has."""
        self.send_header("X-ClickHouse-Server-Display-Name", self.service.display_name)
        self.send_header("X-ClickHouse-Timezone", self.service.timezone)
        if self._query_id:
            self.send_header("X-ClickHouse-Query-Id", self._query_id)
        super().end_headers()

    def version_string(self) -> str:
        """The field Server."""
        return "ClickHouse (chDB)"


def _begin(parts: Iterator[bytes]) -> tuple[list[bytes], bool]:
    """The first pieces, and whether they are all: an error in a short answer still gets its own status."""
    begin: list[bytes] = []
    size = 0
    for part in parts:
        begin.append(part)
        size += len(part)
        if size >= _BUFFERED:
            return begin, False
    return begin, True
