"""A client's session: its own engine connection with the user's role, profile, settings and database."""

from __future__ import annotations

import contextlib
import re
import threading
import uuid
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from server import blocks, sql
from server.engine import Engine, RawResult
from server.errors import ACCESS_DENIED, CANCELLED, READONLY, UNKNOWN_SETTING, ServerError, from_engine
from server.sql import Insert
from server.users import User

# What the library sets differently from a server for every session.
_LIKE_A_SERVER: Final = "implicit_select = 0, allow_introspection_functions = 0"
_SETTING_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")
_NOT_STREAMED: Final = "Streaming query is not supported"


@dataclass(kw_only=True)
class Statistics:
    """What a finished statement read and wrote, in rows and bytes."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0

    def take(self, result: RawResult) -> None:
        """Takes the numbers of a result of the engine."""
        self.read_rows, self.read_bytes = result.storage_rows_read(), result.storage_bytes_read()
        self.written_rows, self.written_bytes = result.rows_written(), result.bytes_written()


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A statement with its output format and the values of its ``{name:Type}`` parameters."""

    sql: str
    format: str = "TabSeparated"
    params: Mapping[str, str] = field(default_factory=dict)


class Session:
    """Runs the statements of one client, one after the other."""

    def __init__(self, *, engine: Engine, user: User, database: str = "") -> None:
        self.engine = engine
        self.user = user
        self.token = f"session-{uuid.uuid4().hex}"
        self.cancelled = threading.Event()
        self.statistics = Statistics()
        self._applied: dict[str, str] = {}
        self._saved: dict[str, str] = {}
        self._connection = engine.connect()
        try:
            self._prepare(database)
        except BaseException:
            engine.disconnect(self._connection)
            raise

    def _prepare(self, database: str) -> None:
        # The profile comes last: with readonly = 1 nothing can be set after it.
        self._plain(f"SET {_LIKE_A_SERVER}, log_comment = {sql.literal(self.token)}")
        if database and database != "default":
            self._plain(f"USE {sql.identifier(database)}")
        if self.user.role:
            self._plain(f"SET ROLE {sql.identifier(self.user.role)}")
        for name, value in sorted(self.user.settings.items(), key=lambda item: item[0] == "readonly"):
            self._set(name, value)

    def close(self) -> None:
        """Ends the session; its temporary tables go with it."""
        self.engine.disconnect(self._connection)

    def cancel(self) -> None:
        """Stops the running statement; for another thread than the one that runs it."""
        self.cancelled.set()
        self.engine.kill(self.token)

    def check(self, statement: str) -> str:
        """The statement's class; raises for what a server, or this user, must not run."""
        kind = self.engine.classify(self._connection, statement)
        sql.refuse_files(statement)
        if self.user.role and kind == "CONTROL":
            words = {token.upper for token in sql.tokens(statement) if token.kind != "string"}
            if {"ROLE", "KILL"} & words:
                raise ServerError(ACCESS_DENIED, f"{self.user.name}: Not enough privileges. Roles and KILL are not "
                                                 "available to a user with <grants> on this server")  # fmt: skip
        return kind

    def limit(
        self, statement: str, kind: str, settings: Mapping[str, str], *, read_only: bool = False
    ) -> dict[str, str]:
        """Enforces readonly for one statement and returns the other settings.

        The engine could not take a session's readonly back afterwards, so it is not set there; a user whose profile
        has it is held by the engine. ``read_only``: the request itself only reads (HTTP GET).
        """
        others = dict(settings)
        if "readonly" in self.user.settings:
            return others
        wanted = others.pop("readonly", "0") not in ("0", "")
        writes = kind not in ("READ_ONLY", "UNKNOWN") and sql.first_word(statement) not in ("SET", "USE")
        if writes and (wanted or read_only):
            raise ServerError(READONLY, f"{self.user.name}: Cannot execute query in readonly mode. "
                                        "For queries over HTTP, method GET implies readonly")  # fmt: skip
        return others

    def apply(self, settings: Mapping[str, str], *, ignore_unknown: bool = False) -> None:
        """Makes ``settings`` the settings of the next statement, and undoes those of the statement before."""
        wanted = dict(settings)
        if wanted == self._applied:
            return
        self.restore()
        if not wanted:
            return
        self._saved = self._values(list(wanted))
        for name, value in wanted.items():
            try:
                self._set(name, value)
            except ServerError as error:
                if error.code != UNKNOWN_SETTING or not ignore_unknown:
                    raise
            self._applied[name] = value

    def _set(self, name: str, value: str) -> None:
        if not _SETTING_NAME.match(name):
            raise ServerError(UNKNOWN_SETTING, f"Unknown setting '{name}'", "UNKNOWN_SETTING")
        self._plain(f"SET {name} = {sql.literal(value)}")

    def restore(self) -> None:
        """Puts back the values that ``apply`` changed."""
        saved, self._saved, self._applied = self._saved, {}, {}
        # readonly first: the others can be put back only where settings may change.
        for name in sorted(saved, key=lambda name: name != "readonly"):
            with contextlib.suppress(ServerError):
                self._plain(f"SET {name} = {saved[name]}")

    def _values(self, names: list[str]) -> dict[str, str]:
        """The values to put back, as SQL, of the settings that exist."""
        listed = ", ".join(sql.literal(name) for name in names)
        query = f"SELECT name, value, toString(changed) FROM system.settings WHERE name IN ({listed})"  # noqa: S608
        found: dict[str, str] = {}
        for block in blocks.read_all(self._query(Statement(sql=query, format="Native")).bytes()):
            texts = [blocks.strings(values, block.rows) for _, _, values in block.columns]
            for name, value, changed in zip(*texts, strict=True):
                found[name] = sql.literal(value) if changed == "1" else "DEFAULT"
        return found

    def stream(self, statement: Statement) -> Generator[tuple[bytes, int], None, None]:
        """Runs a statement and yields (bytes, rows): one or more whole documents of its format.

        A statement that the engine can not stream yields once. Raises ServerError, also between two pieces.
        """
        self.statistics = Statistics()
        self.cancelled.clear()
        with self.engine.slot():
            if not sql.can_stream(statement.sql):
                yield self._whole(statement)
                return
            try:
                stream = self._connection.send_query(statement.sql, statement.format, params=dict(statement.params))
            except RuntimeError as error:
                if _NOT_STREAMED not in str(error):
                    raise from_engine(str(error), self.user.name) from None
                yield self._whole(statement)
                return
            yield from self._fetch(stream)

    def _fetch(self, stream: object) -> Iterator[tuple[bytes, int]]:
        finished = False
        first = True
        try:
            while True:
                if self.cancelled.is_set():
                    raise ServerError(CANCELLED, "Query was cancelled")
                try:
                    piece = self._connection.streaming_fetch_result(stream)
                except RuntimeError as error:
                    finished = True
                    raise from_engine(str(error), self.user.name) from None
                if piece is None or (not piece.rows_read() and not first):
                    finished = True
                    return
                self.statistics.take(piece)
                yield piece.bytes() or b"", piece.rows_read()
                if not piece.rows_read():
                    finished = True
                    return
                first = False
        finally:
            if not finished:
                with contextlib.suppress(RuntimeError):
                    self._connection.streaming_cancel_query(stream)

    def whole(self, statement: Statement) -> bytes:
        """Runs a statement and returns its whole answer."""
        self.statistics = Statistics()
        with self.engine.slot():
            return self._whole(statement)[0]

    def _whole(self, statement: Statement) -> tuple[bytes, int]:
        result = self._query(statement)
        self.statistics.take(result)
        return result.bytes() or b"", result.rows_read()

    def _query(self, statement: Statement) -> RawResult:
        try:
            return self._connection.query(statement.sql, statement.format, params=dict(statement.params))
        except RuntimeError as error:
            raise from_engine(str(error), self.user.name) from None

    def _plain(self, statement: str) -> None:
        self._query(Statement(sql=statement))

    def insert(self, insert: Insert, data_format: str, data: Iterator[bytes]) -> None:
        """Runs an INSERT with ``data``, which comes in pieces and is read to its end first.

        The data goes through a file. The library can take pieces (send_insert), but then drops rows in silence when a
        constraint or a materialized view refuses them; and data behind a statement ends at its first empty line.
        """
        self.statistics = Statistics()
        file = self.engine.scratch / f"{self.token}.insert"
        try:
            with file.open("wb") as target:
                for piece in data:
                    target.write(piece)
            statement = (
                f"{insert.head} FROM INFILE {sql.literal(str(file))} COMPRESSION 'none' {insert.settings} "
                f"FORMAT {data_format}"
            )
            with self.engine.slot():
                self._whole(Statement(sql=statement))
        finally:
            file.unlink(missing_ok=True)
