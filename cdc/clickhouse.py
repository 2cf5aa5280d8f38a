"""A thin client of ClickHouse over the native protocol: patient while the server starts, plain about what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as DriverError
from clickhouse_driver.errors import NetworkError, ServerException, SocketTimeoutError

from cdc.trust import verified_clickhouse
from cdc.waiting import Deadline

_WRONG_LOGIN = frozenset({192, 193, 194, 516})
"""Server codes for an unknown user or a wrong password."""

Row = tuple[Any, ...]


class ClickHouseError(Exception):
    """The server refused or could not be reached; the message names the address and, where one is known, the cure."""

    def __init__(self, message: str, *, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a server is and who asks. Timeouts in seconds; ``query_timeout`` is the longest silence of one query."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str = "default"
    connect_timeout: float = 5.0
    query_timeout: float = 300.0
    ca: str = field(default="", repr=False)
    """Authority that the server's certificate and name are verified against, PEM; empty: no TLS."""

    def __str__(self) -> str:
        return f"ClickHouse at {self.host}:{self.port}"


class ClickHouse:
    """One connection; not for use by two threads at once. Every failure is a ClickHouseError."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._client = Client(
            host=endpoint.host,
            port=endpoint.port,
            user=endpoint.user,
            password=endpoint.password,
            database=endpoint.database,
            connect_timeout=endpoint.connect_timeout,
            send_receive_timeout=endpoint.query_timeout,
            sync_request_timeout=endpoint.connect_timeout,
            client_name="cdc",
            **verified_clickhouse(endpoint.ca),
        )

    @classmethod
    def connect(cls, endpoint: Endpoint, deadline: Deadline) -> Self:
        """Connect as soon as the server answers; raise ClickHouseError for a wrong login or when time is up."""
        attempt = 0
        while True:
            connection = cls(endpoint)
            try:
                connection.rows("SELECT 1")
            except ClickHouseError as error:
                connection.close()
                if error.code:
                    raise
                if deadline.expired:
                    raise ClickHouseError(
                        f"{error} (tried for {deadline.seconds:.0f} s). Is it running, and is the port published? "
                        "See `docker ps` and the server's log"
                    ) from error
                deadline.pause(attempt)
                attempt += 1
            else:
                return connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; harmless when it is closed."""
        self._client.disconnect()

    def rows(self, sql: str, values: Mapping[str, object] | None = None) -> list[Row]:
        """Run a query and return its rows; ``%(name)s`` in it are replaced by quoted ``values``."""
        return list(self._execute(sql, values or None) or [])

    def run(self, sql: str) -> None:
        """Run a statement that returns nothing; its text is sent as it is."""
        self._execute(sql, None)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert a few rows at once, as quoted values in one statement; not meant for bulk."""
        names = [[f"r{row}_{column}" for column in columns] for row in range(len(rows))]
        values = dict(zip((name for row in names for name in row), (item for row in rows for item in row), strict=True))
        selects = " UNION ALL ".join("SELECT " + ", ".join(f"%({name})s" for name in row) for row in names)
        self._execute(f"INSERT INTO {table} ({', '.join(columns)}) {selects}", values)

    def _execute(self, sql: str, values: object) -> Any:  # noqa: ANN401 - rows or nothing, as the driver has it
        try:
            return self._client.execute(sql, values)
        except ServerException as error:
            raise self._explained(error) from error
        except (NetworkError, SocketTimeoutError, EOFError, OSError) as error:
            raise ClickHouseError(f"{self.endpoint} does not answer: {_first_line(str(error))}") from error
        except DriverError as error:
            raise ClickHouseError(f"{self.endpoint}: {_first_line(str(error))}", code=-1) from error

    def _explained(self, error: ServerException) -> ClickHouseError:
        code = int(error.code or 0) or -1
        if code in _WRONG_LOGIN:
            return ClickHouseError(
                f"{self.endpoint} refuses user {self.endpoint.user!r}: the password is wrong or there is no such user. "
                "Compare the setting with the server's users.d files; after a change there, restart the server",
                code=code,
            )
        message = str(error.message).split("Stack trace:", 1)[0]
        return ClickHouseError(f"code {code}: {message.removeprefix('DB::Exception: ').strip().rstrip('.')}", code=code)


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0] or "connection closed"
