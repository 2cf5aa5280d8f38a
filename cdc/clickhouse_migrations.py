"""Migrations on ClickHouse: what its statements mean, the history, the lease, and objects that are made to match.

ClickHouse has no transactions for DDL and no locks, so the history is a log of events that is only ever appended
to, and the lock is a lease (``cdc.clickhouse_lease``).
"""
# ruff: noqa: S608  (identifiers cannot be query parameters; these come from our own settings)

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from os import getpid

from cdc import sqltext
from cdc.clickhouse import ClickHouse, Endpoint
from cdc.clickhouse_lease import lease
from cdc.clickhouse_objects import Objects
from cdc.migration_model import (
    Kind,
    Meaning,
    MigrationError,
    MigrationFile,
    Plan,
    Record,
    State,
    Statement,
)

_NAME = r"(?:IF (?:NOT )?EXISTS )?[`\"]?(?:\w+[`\"]?\.[`\"]?)?(?P<name>\w+)[`\"]?"
_CREATE = re.compile(
    rf"CREATE (?:OR REPLACE )?(?P<what>MATERIALIZED VIEW|VIEW|TABLE|FUNCTION|DICTIONARY) {_NAME}", re.I
)
_DROP = re.compile(rf"DROP (?P<what>VIEW|TABLE|DICTIONARY|DATABASE) {_NAME}", re.I)
_ENGINE = re.compile(r"\bENGINE\s*=\s*(\w+)", re.I)
_REPEATABLE = re.compile(
    r"CREATE OR REPLACE (FUNCTION|DICTIONARY)|ALTER TABLE \S+( ON CLUSTER \S+)? MODIFY (TTL|SETTING|COMMENT)", re.I
)
_DESTROYS = re.compile(
    r"(DELETE\b|REPLACE\s+TABLE\b|CREATE\s+OR\s+REPLACE\s+TABLE\b"
    r"|ALTER\s+TABLE\b.*?\b(DELETE\s+WHERE|DROP\s+(DETACHED\s+)?PART(ITION)?|REPLACE\s+PARTITION|DROP\s+COLUMN"
    r"|CLEAR\s+COLUMN|MOVE\s+PARTITION|DETACH\s+PART(ITION)?)\b)",
    re.IGNORECASE | re.DOTALL,
)
_HOLDS_NO_DATA = frozenset({"kafka", "null", "distributed", "merge"})
_HISTORY_COLUMNS = ("version", "name", "statement", "checksum", "rendered", "state", "error", "duration_ms", "owner")


def _meaning(sql: str) -> Meaning:
    """Classify a statement of ClickHouse; raise MigrationError for one that migrations may not hold."""
    text = sqltext.bare(sql)
    if drop := _DROP.match(text):
        if drop["what"].upper() == "DATABASE":
            raise MigrationError("migrations never drop a database; remove the statement")
        return Meaning(kind=Kind.DEFINITION, name=drop["name"], retires=True)
    if re.match(r"(TRUNCATE|DETACH|EXCHANGE|RENAME)\b", text, re.I):
        raise MigrationError("migrations never empty, hide or swap a table; do it by hand after a backup")
    if _DESTROYS.match(text):
        raise MigrationError("migrations never delete or replace data; do it by hand after a backup")
    if _REPEATABLE.match(text):
        return Meaning(kind=Kind.REPEATABLE, resumable=True)
    create = _CREATE.match(text)
    if create and _holds_no_data(create["what"].upper(), text):
        return Meaning(kind=Kind.DEFINITION, name=create["name"])
    if create and create["what"].upper() == "TABLE" and "IF NOT EXISTS" not in text.upper():
        raise MigrationError("write CREATE TABLE IF NOT EXISTS, so that an interrupted run can go on")
    made = create["name"] if create and create["what"].upper() == "TABLE" else ""
    return Meaning(kind=Kind.ONCE, name=made, resumable=bool(re.search(r"\bIF (NOT )?EXISTS\b", text, re.I)))


def _holds_no_data(what: str, text: str) -> bool:
    engine = _ENGINE.search(text)
    if what == "MATERIALIZED VIEW":
        if not re.search(r"\bTO\s+[\w.`\"]+", text.split(" AS ", 1)[0], re.I):
            raise MigrationError("a materialized view without TO keeps its rows in itself; give it a table with TO")
        return True
    return what == "VIEW" or (what == "TABLE" and engine is not None and engine[1].lower() in _HOLDS_NO_DATA)


class ClickHouseDialect:
    """ClickHouse's statements, without a server."""

    backslash_escapes = True

    def meaning(self, sql: str) -> Meaning:
        """Classify a statement; raise MigrationError for one that migrations may not hold."""
        return _meaning(sql)


DIALECT = ClickHouseDialect()


class ClickHouseTarget(ClickHouseDialect):
    """A ``MigrationTarget`` on one database. ``parameters`` are those of the files; ``report`` gets progress lines."""

    def __init__(
        self,
        connection: ClickHouse,
        parameters: Mapping[str, str],
        *,
        report: Callable[[str], None] = lambda _: None,
        lock_seconds: float = 120.0,
    ) -> None:
        self._connection = connection
        self._database = parameters["database"]
        self._cluster = parameters.get("on_cluster", "")
        self._replicated = parameters.get("replicated", "")
        self._report = report
        self._lock_seconds = lock_seconds
        self._owner = f"{socket.gethostname()}:{getpid()}:{id(self):x}"
        self.objects = Objects(connection, self._database, on_cluster=self._cluster, report=report)

    @property
    def endpoint(self) -> Endpoint:
        """Where the migrations go."""
        return self._connection.endpoint

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lease, on a connection of its own that renews it."""
        self._bootstrap()
        table = f"{self._database}.schema_lock"
        with lease(self.endpoint, table, self._owner, wait_seconds=self._lock_seconds, report=self._report):
            yield

    def scope(self, file: MigrationFile) -> AbstractContextManager[None]:
        """DDL is not transactional here: the records say how far a file came."""
        self._report(f"applying {file.name}")
        return nullcontext()

    def history(self) -> Sequence[Record]:
        """Return all records, oldest first."""
        rows = self._connection.rows(
            f"SELECT version, name, statement, checksum, rendered, state, error, duration_ms "
            f"FROM {self._database}.schema_migrations ORDER BY at, statement"
        )
        return [
            Record(
                version=int(version),
                name=str(name),
                statement=int(statement),
                checksum=str(checksum),
                rendered=str(rendered),
                state=state,
                error=str(error),
                duration_ms=int(duration),
            )
            for version, name, statement, checksum, rendered, state, error, duration in rows
        ]

    def record(self, record: Record) -> None:
        """Append a record."""
        row = (
            record.version,
            record.name,
            record.statement,
            record.checksum,
            record.rendered,
            record.state,
            record.error,
            record.duration_ms,
            self._owner,
        )
        self._connection.insert(f"{self._database}.schema_migrations", _HISTORY_COLUMNS, [row])

    def execute(self, sql: str) -> None:
        """Run one statement."""
        self._connection.run(sql)

    def prepare(self, plan: Plan) -> None:
        """Pause ingestion if objects on its path are going to be made anew; messages wait in Kafka."""
        self.objects.prepare(plan)

    def finish(self, plan: Plan) -> None:
        """Make the objects without data match, remember every definition, and report tables that drifted."""
        self.objects.finish(plan)

    def abandon(self, plan: Plan) -> None:
        """Let ingestion go on as it was before."""
        self.objects.abandon()

    def settle(self, statement: Statement, state: State) -> str:
        """Return the INSERT by which a person says how an interrupted statement ended."""
        return (
            f"INSERT INTO {self._database}.schema_migrations SELECT * REPLACE ('{state}' AS state, now64(6) AS at) "
            f"FROM {self._database}.schema_migrations WHERE version = {statement.version} "
            f"AND statement = {statement.number} ORDER BY at DESC LIMIT 1"
        )

    def _bootstrap(self) -> None:
        """Make the database and the tables that the migrations themselves need, where they are missing."""
        run, database, cluster = self._connection.run, self._database, self._cluster
        if {"schema_migrations", "schema_lock", "schema_objects"} <= self.objects.live().keys():
            return
        run(f"CREATE DATABASE IF NOT EXISTS {database} {cluster} ENGINE = Atomic")
        run(f"""
            CREATE TABLE IF NOT EXISTS {database}.schema_migrations {cluster}
            (
                version     UInt32,
                name        String,
                statement   UInt16 COMMENT '0 is the whole file',
                checksum    String COMMENT 'sha256 of the text in the file',
                rendered    String COMMENT 'sha256 of the text with its parameters',
                state       LowCardinality(String) COMMENT 'started, done, failed; again: run it again (by hand)',
                error       String,
                duration_ms UInt64,
                owner       String,
                at          DateTime64(6, 'UTC') DEFAULT now64(6)
            )
            ENGINE = {self._engine("MergeTree")} ORDER BY (version, statement, at)""")
        run(f"""
            CREATE TABLE IF NOT EXISTS {database}.schema_lock {cluster}
            (
                owner    String,
                acquired DateTime64(6, 'UTC'),
                expires  DateTime64(6, 'UTC'),
                at       DateTime64(6, 'UTC') DEFAULT now64(6)
            )
            ENGINE = {self._engine("MergeTree")} ORDER BY (owner, at) TTL toDateTime(at) + INTERVAL 7 DAY""")
        run(f"""
            CREATE TABLE IF NOT EXISTS {database}.schema_objects {cluster}
            (
                name       String,
                statement  String COMMENT 'sha256 of the statement that states the object; empty for a table with data',
                definition String COMMENT 'the create query as this server wrote it',
                engine     LowCardinality(String),
                server     LowCardinality(String),
                at         DateTime64(6, 'UTC') DEFAULT now64(6)
            )
            ENGINE = {self._engine("ReplacingMergeTree", "at")} ORDER BY name""")

    def _engine(self, name: str, *arguments: str) -> str:
        """Engine of a table of the migrations' own: on a cluster every server of every shard has the same rows."""
        places = ("'/clickhouse/tables/{uuid}'", "'{shard}-{replica}'") if self._replicated else ()
        return f"{self._replicated}{name}({', '.join((*places, *arguments))})"
