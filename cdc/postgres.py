"""PostgreSQL client: logins that hide their password, a patient connect, the target of SQL migrations."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from cdc.trust import verified_postgres
from cdc.waiting import Deadline

Connection = psycopg.Connection[tuple[Any, ...]]
CONNECT_TIMEOUT = 5
"""Seconds for one attempt; the deadline bounds all attempts together."""
LOCK_TIMEOUT = "10s"
"""How long our DDL waits behind a user's transaction before it gives up: a waiting ALTER blocks everybody."""


class PostgresError(Exception):
    """PostgreSQL can't be used as asked; the text names the server and the cure, never a password."""


class PostgresUnreachableError(PostgresError):
    """Nobody answered before the deadline."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """Where a database is and who asks. ``port`` is a TCP port."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    ca: str = field(default="", repr=False)
    """Authority that the server's certificate and name are verified against, PEM; empty: no TLS is asked for."""

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}/{self.database}"


def connect(login: Login, deadline: Deadline) -> Connection:
    """Open a connection in autocommit, waiting for a server that is still starting.

    A refused password or a missing database is final at once. Raises PostgresError or its subclass
    PostgresUnreachableError.
    """
    attempt = 0
    while True:
        try:
            connection: Connection = psycopg.connect(
                host=login.host,
                port=login.port,
                dbname=login.database,
                user=login.user,
                password=login.password,
                connect_timeout=CONNECT_TIMEOUT,
                **verified_postgres(login.ca),
                application_name="cdc",
                autocommit=True,
            )
        except psycopg.OperationalError as error:
            reason = _final_reason(login, str(error))
            if reason:
                raise PostgresError(reason) from None
            if deadline.expired:
                raise PostgresUnreachableError(
                    f"PostgreSQL {login} did not answer within {deadline.seconds:.0f} s: "
                    f"{_first_line(error)}. Check that the server runs and that host and port are right."
                ) from None
            deadline.pause(attempt)
            attempt += 1
        else:
            return connection


def _final_reason(login: Login, message: str) -> str | None:
    """Why trying again is no use; None for a server that may still come up."""
    if "password authentication failed" in message or "no password supplied" in message:
        return (
            f"PostgreSQL refused the password of {login}. The volume may hold a database made with another "
            "password: set that one, or remove the volume to start afresh."
        )
    if "no pg_hba.conf entry" in message:
        return f"PostgreSQL lets nobody in as {login} from here: add a line to pg_hba.conf and reload it."
    if "does not exist" in message:
        detail = message.strip().splitlines()[-1].strip()
        return f"PostgreSQL {login}: {detail}. Create it, or correct the name."
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def session(login: Login, deadline: Deadline) -> Iterator[Connection]:
    """A connection for the pipeline's own work: its DDL is not recorded, its waits for locks are short."""
    connection = connect(login, deadline)
    try:
        connection.execute("SELECT set_config('cdc.quiet', 'on', false)")
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
        connection.execute("SELECT set_config('client_min_messages', 'warning', false)")
        yield connection
    except psycopg.errors.LockNotAvailable as error:
        raise PostgresError(
            f"PostgreSQL {login}: a long transaction holds a lock that is needed ({_first_line(error)}). "
            "Find it in pg_stat_activity (state, query, xact_start), end it, then run again."
        ) from None
    finally:
        connection.close()


def rows(connection: Connection, query: str, *values: object) -> list[tuple[Any, ...]]:
    """All rows of a query; ``values`` fill its %s."""
    # The queries are this package's constants; psycopg types queries as literals, hence bytes.
    return connection.execute(query.encode(), values or None).fetchall()


def value(connection: Connection, query: str, *values: object) -> Any:  # noqa: ANN401 - any SQL type
    """First column of the first row, None without a row."""
    found = rows(connection, query, *values)
    return found[0][0] if found else None


def table_identifier(name: str) -> sql.Identifier:
    """``schema.table`` as a quoted identifier; the schema ends at the first dot."""
    schema, _, table = name.partition(".")
    return sql.Identifier(schema, table)


def scram_verifier(connection: Connection, user: str, password: str) -> str:
    """What PostgreSQL stores for a password, computed here so that the server's log never has the password."""
    return connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()


def verifier_matches(verifier: str | None, password: str) -> bool:
    """Whether a stored verifier (``SCRAM-SHA-256$iterations:salt$stored:server``) is of this password."""
    try:
        scheme, salting, keys = (verifier or "").split("$")
        iterations, salt = salting.split(":")
        stored = b64decode(keys.split(":")[0])
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b64decode(salt), int(iterations))
    except ValueError:
        return False
    client = hmac.new(salted, b"Client Key", "sha256").digest()
    return scheme == "SCRAM-SHA-256" and hmac.compare_digest(hashlib.sha256(client).digest(), stored)
