"""PostgreSQL as the target of numbered SQL files: each file is one transaction, one run at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from cdc.migration_model import Kind, Meaning, MigrationError, MigrationFile, Plan, Record, State, Statement
from cdc.migrations import apply as apply_files
from cdc.postgres import Connection, rows, value
from cdc.sqltext import bare
from cdc.waiting import Deadline

FOLDER = Path(__file__).resolve().parent.parent / "sql" / "postgres"
LOCK_KEY = 0x63646321
"""Any number that all versions of this program share."""
OUTSIDE_A_TRANSACTION = re.compile(
    r"^(BEGIN|START TRANSACTION|COMMIT|ROLLBACK|VACUUM|ALTER SYSTEM|CREATE DATABASE|DROP DATABASE|"
    r"(CREATE|DROP) (UNIQUE )?INDEX CONCURRENTLY)\b",
    re.IGNORECASE,
)
HISTORY_TABLE = """
CREATE TABLE IF NOT EXISTS cdc.schema_migrations (
    seq         bigserial PRIMARY KEY,
    series      text NOT NULL,
    version     integer NOT NULL,
    name        text NOT NULL,
    statement   integer NOT NULL,
    checksum    text NOT NULL,
    rendered    text NOT NULL,
    state       text NOT NULL,
    error       text NOT NULL,
    duration_ms integer NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
)"""


def migrate(connection: Connection, series: str, deadline: Deadline) -> Plan:
    """Apply ``sql/postgres/<series>/NNNN_*.sql``; idempotent. Raises MigrationError."""
    return apply_files(PostgresMigrations(connection, series, deadline), FOLDER / series, {})


class PostgresMigrations:
    """Target of one ``series`` of files; all series share the history table ``cdc.schema_migrations``."""

    backslash_escapes = False

    def __init__(self, connection: Connection, series: str, deadline: Deadline) -> None:
        self._connection = connection
        self._series = series
        self._deadline = deadline

    def meaning(self, sql: str) -> Meaning:
        """Every statement runs once; those that PostgreSQL refuses in a transaction are refused here, early."""
        if found := OUTSIDE_A_TRANSACTION.match(bare(sql)):
            raise MigrationError(f"{found[1]} can't run in a file, which is one transaction; run it by hand")
        return Meaning(kind=Kind.ONCE)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the advisory lock, waiting for another run until the deadline."""
        attempt = 0
        while not value(self._connection, "SELECT pg_try_advisory_lock(%s)", LOCK_KEY):
            if self._deadline.expired:
                raise MigrationError(
                    f"another run has held the lock of this database's migrations for {self._deadline.seconds:.0f} s; "
                    "let it finish, or end its session (pg_locks, locktype advisory), then start again"
                )
            self._deadline.pause(attempt)
            attempt += 1
        try:
            # Looked up first: IF NOT EXISTS would still ask for the right to create.
            if not value(self._connection, "SELECT to_regclass('cdc.schema_migrations')"):
                self._connection.execute("CREATE SCHEMA IF NOT EXISTS cdc")
                self._connection.execute(HISTORY_TABLE)
            yield
        finally:
            self._connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK_KEY])

    def scope(self, file: MigrationFile) -> AbstractContextManager[None]:
        """One transaction: a file is applied whole or not at all."""
        return self._scope()

    @contextmanager
    def _scope(self) -> Iterator[None]:
        with self._connection.transaction():
            yield

    def history(self) -> Sequence[Record]:
        """Records of this series, oldest first."""
        return [
            Record(version=row[0], name=row[1], statement=row[2], checksum=row[3], rendered=row[4], state=row[5])
            for row in rows(
                self._connection,
                "SELECT version, name, statement, checksum, rendered, state FROM cdc.schema_migrations"
                " WHERE series = %s ORDER BY seq",
                self._series,
            )
        ]

    def record(self, record: Record) -> None:
        """Append a record; inside the file's transaction, so it tells only of what is there."""
        self._connection.execute(
            "INSERT INTO cdc.schema_migrations"
            " (series, version, name, statement, checksum, rendered, state, error, duration_ms)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                self._series,
                record.version,
                record.name,
                record.statement,
                record.checksum,
                record.rendered,
                record.state,
                record.error,
                record.duration_ms,
            ],
        )

    def execute(self, sql: str) -> None:
        """Run one statement."""
        self._connection.execute(sql.encode())

    def prepare(self, plan: Plan) -> None:
        """Nothing to do ahead of the steps."""

    def finish(self, plan: Plan) -> None:
        """Nothing is defined apart from the steps."""

    def abandon(self, plan: Plan) -> None:
        """The transaction has undone what there was to undo."""

    def settle(self, statement: Statement, state: State) -> str:
        """SQL that settles an interrupted statement by hand."""
        return (
            f"UPDATE cdc.schema_migrations SET state = '{state}' WHERE series = '{self._series}'"  # noqa: S608
            f" AND version = {statement.version} AND statement = {statement.number}"
        )
