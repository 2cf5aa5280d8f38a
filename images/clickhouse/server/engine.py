"""The ClickHouse engine as a library: one per process and data folder, one connection for each session."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import shutil
import sys
import threading
import time
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from server import sql
from server.errors import SHUTTING_DOWN, SYNTAX_ERROR, TOO_MANY_QUERIES, ServerError

log = logging.getLogger("engine")


class RawResult(Protocol):
    """What the library answers: a whole result or one block of it."""

    def bytes(self) -> bytes: ...  # noqa: D102
    def rows_read(self) -> int: ...  # noqa: D102
    def rows_written(self) -> int: ...  # noqa: D102
    def bytes_written(self) -> int: ...  # noqa: D102
    def storage_rows_read(self) -> int: ...  # noqa: D102
    def storage_bytes_read(self) -> int: ...  # noqa: D102


class RawConnection(Protocol):
    """A connection of the library; one thread at a time may use it."""

    def query(self, sql: str, output_format: str, *, params: Mapping[str, str]) -> RawResult: ...  # noqa: D102
    def send_query(self, sql: str, output_format: str, *, params: Mapping[str, str]) -> object: ...  # noqa: D102
    def streaming_fetch_result(self, stream: object) -> RawResult | None: ...  # noqa: D102
    def streaming_cancel_query(self, stream: object) -> None: ...  # noqa: D102
    def classify_query(self, sql: str) -> dict[str, Any]: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


def load_library() -> Any:  # noqa: ANN401  (the library has no types)
    """Imports the engine without running chdb's package file.

    That file opens and closes an in-memory connection. It leaves the engine's registry of streaming tables shut down:
    each CREATE of a Kafka table would fail afterwards, and so would the next start on the same data folder.
    """
    if "chdb" not in sys.modules:
        spec = importlib.util.find_spec("chdb")
        if spec is None or not spec.submodule_search_locations:
            raise ImportError("The Python package chdb-core is missing: pip install --no-deps chdb-core")
        package = types.ModuleType("chdb")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["chdb"] = package
    library = importlib.import_module("chdb._chdb")
    library.set_signal_handlers_enabled(False)
    return library


class Engine:
    """The running engine. ``close`` ends it for good: a process can not open it twice."""

    def __init__(self, *, data: Path, config: Path, max_queries: int) -> None:
        self._library = load_library()
        self._target = f"{data}?config-file={config}"
        self.scratch = data / "insert_data"
        """Folder for the data of running INSERTs; what a crash left there is removed."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        self._max_queries = max_queries
        self._running = 0
        self._open = 0
        self._closing = False
        self._changed = threading.Condition()
        # The first connection stays open until the end: closing the last one shuts the engine down.
        self._control = self.connect()
        self._control_lock = threading.Lock()
        self.version = self.ask("SELECT version()").strip()
        self.timezone = self.ask("SELECT timezone()").strip()

    def connect(self) -> RawConnection:
        """A new connection with its own settings, database and temporary tables."""
        connection = cast(RawConnection, self._library.connect(self._target))
        with self._changed:
            self._open += 1
        return connection

    def disconnect(self, connection: RawConnection) -> None:
        """Closes a connection that ``connect`` made."""
        connection.close()
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def ask(self, query: str, output_format: str = "TSV") -> str:
        """Runs a statement of the server itself, beside the limit of concurrent queries."""
        with self._control_lock:
            return self._control.query(query, output_format, params={}).bytes().decode()

    def classify(self, connection: RawConnection, query: str) -> str:
        """READ_ONLY, MUTATING, CONTROL or UNKNOWN; raises for more than one statement."""
        answer = connection.classify_query(query)
        if answer["statement_count"] > 1:
            raise ServerError(SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed): send them one by one")
        return str(answer["query_class"].name)

    @property
    def running(self) -> int:
        """Queries that run now."""
        return self._running

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """A place among the concurrent queries; raises when all are taken or the server stops."""
        with self._changed:
            if self._closing:
                raise ServerError(SHUTTING_DOWN, "The server is shutting down")
            if self._running >= self._max_queries:
                raise ServerError(
                    TOO_MANY_QUERIES,
                    f"Too many simultaneous queries. Maximum: {self._max_queries} (max_concurrent_queries)",
                )
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def kill(self, token: str) -> None:
        """Asks the engine to stop the queries of the session with this token."""
        with contextlib.suppress(RuntimeError):
            self.ask(f"KILL QUERY WHERE Settings['log_comment'] = {sql.literal(token)} ASYNC")

    def drain(self, patience: float) -> bool:
        """Refuses new queries, waits ``patience`` seconds for running ones, then kills them; whether none is left."""
        with self._changed:
            self._closing = True
            self._changed.wait_for(lambda: not self._running, patience)
        if self._running:
            log.warning("cancelling %d running queries", self._running)
            with contextlib.suppress(RuntimeError):
                self.ask("KILL QUERY WHERE query NOT LIKE 'KILL QUERY%' ASYNC")
            with self._changed:
                self._changed.wait_for(lambda: not self._running, patience)
        return not self._running

    def close(self, patience: float) -> bool:
        """Shuts the engine down: Kafka consumers leave their groups, merges stop, files are closed.

        It goes down with its last connection, so this waits ``patience`` seconds for the others to be closed.
        False when some are still open: then the engine is still up.
        """
        started = time.monotonic()
        with self._changed:
            alone = self._changed.wait_for(lambda: self._open <= 1, patience)
        if alone:
            self._control.close()
            log.info("engine closed in %.1f s", time.monotonic() - started)
        return alone
