"""Debezium change events as they lie in Kafka, and a schema that takes them without Kafka.

``install`` makes everything in ``sql/clickhouse`` as it is written, except that each Kafka table becomes a Null table
with the Kafka engine's virtual columns as real ones. So the very SELECT of each materialized view sees
what a test sends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cdc import migrations
from cdc.clickhouse import ClickHouse, Row
from cdc.clickhouse_migrations import DIALECT
from components.configs.clickhouse import shard_parameters

FOLDER = Path(__file__).resolve().parents[2] / "sql" / "clickhouse"
TOAST = "__debezium_unavailable_value"
MICROS = 1_767_225_600_000_000
"""2026-01-01 00:00:00 UTC in microseconds since 1970."""
DAYS = 20_454
"""The same day in days since 1970."""

_KAFKA_TABLE = re.compile(r"\(\s*raw String\s*\)\s*ENGINE = Kafka\b.*", re.DOTALL)
_FED_TABLE = """(raw String, _topic LowCardinality(String), _key String, _partition UInt64, _offset UInt64,
    _timestamp_ms Nullable(DateTime64(3)), _error String, _raw_message String) ENGINE = Null"""


def parameters(database: str, **changed: str) -> dict[str, str]:
    """Return values for every parameter of the files; nothing listens at the broker's address."""
    values = {
        "database": database,
        "replicated": "",
        "on_cluster": "",
        "kafka_brokers": "127.0.0.1:1",
        "topic_prefix": "postgres-server",
        "kafka_consumers": "1",
        "flush_interval_ms": "200",
        "aggregate_seconds": "3600",
        **shard_parameters(database, ""),
        "epoch": "0",
        "history_ttl_days": "36500",
    }
    return {**values, **changed}


def order(**changed: Any) -> dict[str, Any]:
    """Return a row of inventory.orders as Debezium writes it: decimals as text, days and microseconds as numbers."""
    row = {
        "id": 1,
        "order_number": "ORD-1001",
        "order_date": DAYS,
        "order_time": MICROS + 123_456,
        "purchaser": 7,
        "quantity": 3,
        "product_id": 11,
        "unit_price": "12.50",
        "status": "PENDING",
        "created_at": MICROS,
        "updated_at": MICROS,
    }
    return {**row, **changed}


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message of a topic. ``error`` is what the Kafka engine reports for a text that is no JSON object."""

    raw: str
    offset: int = 0
    partition: int = 0
    topic: str = "postgres-server.inventory.orders"
    key: str = '{"purchaser":7}'
    error: str = ""

    def at(self, offset: int, partition: int = 0) -> Message:
        """Return the message at another place of the topic."""
        return replace(self, offset=offset, partition=partition)


def change(
    op: str,
    *,
    lsn: int,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    offset: int | None = None,
    ts_us: int | None = None,
    commit: int | None = None,
) -> Message:
    """Return a change event. The commit time follows the LSN (one second each) unless given.

    ``commit`` is the LSN of the commit before: for a change the LSN before unless given, for a read none.
    """
    before_it = lsn - 1 if commit is None and op != "r" else commit
    committed = MICROS + lsn * 1_000_000 if ts_us is None else ts_us
    envelope = {
        "before": before,
        "after": after,
        "source": {
            "version": "3.7.0.Final",
            "connector": "postgresql",
            "name": "postgres-server",
            "ts_ms": committed // 1000,
            "snapshot": "true" if op == "r" else "false",
            "db": "inventory",
            "sequence": json.dumps([None if before_it is None else str(before_it), str(lsn)], separators=(",", ":")),
            "ts_us": committed,
            "ts_ns": committed * 1000,
            "schema": "inventory",
            "table": "orders",
            "txId": 800,
            "lsn": lsn,
            "xmin": None,
        },
        "transaction": None,
        "op": op,
        "ts_ms": committed // 1000 + 40,
        "ts_us": committed + 40_000,
        "ts_ns": committed * 1000 + 40_000_000,
    }
    return Message(raw=json.dumps(envelope, ensure_ascii=False), offset=lsn if offset is None else offset)


@dataclass(frozen=True, kw_only=True)
class Feed:
    """A schema whose queues a test feeds."""

    connection: ClickHouse
    database: str

    def send(self, *messages: Message, table: str = "orders") -> None:
        """Deliver messages as one block of one consumer."""
        columns = ("raw", "_topic", "_key", "_partition", "_offset", "_timestamp_ms", "_error", "_raw_message")
        rows: list[Row] = []
        for message in messages:
            text = ("", message.raw) if message.error else (message.raw, "")
            place = (message.topic, message.key, message.partition, message.offset)
            rows.append((text[0], *place, "2026-01-01 00:00:00.500", message.error, text[1]))
        self.connection.insert(f"{self.database}.{table}_queue", columns, rows)

    def rows(self, what: str) -> list[Row]:
        """Run ``SELECT`` + ``what``, in which ``@`` stands for the database and a point."""
        return self.connection.rows(f"SELECT {what}".replace("@", f"{self.database}."))

    def clear(self) -> None:
        """Empty the tables."""
        for (table,) in self.rows(
            f"name FROM system.tables WHERE database = '{self.database}'"
            " AND engine LIKE '%MergeTree' AND total_rows > 0"
        ):
            self.connection.run(f"TRUNCATE TABLE {self.database}.{table}")

    def reasons(self) -> list[str]:
        """Return the reasons of the quarantined messages, in order of their offsets."""
        return [str(row[0]) for row in self.rows("reason FROM @ingest_errors FINAL ORDER BY partition, offset")]


def install(connection: ClickHouse, database: str, **changed: str) -> Feed:
    """Make the schema in ``database`` with fed queues."""
    connection.run(f"CREATE DATABASE {database} ENGINE = Atomic")
    for statement in statements(database, **changed):
        connection.run(_KAFKA_TABLE.sub(_FED_TABLE, statement))
    return Feed(connection=connection, database=database)


def extend(feed: Feed, folder: Path) -> None:
    """Run the migrations of another folder on top."""
    for file in migrations.load(folder, parameters(feed.database), DIALECT):
        # A restated flow is taken off first, as the migrations would.
        for statement in file.statements:
            if statement.meaning.kind is migrations.Kind.DEFINITION:
                feed.connection.run(f"DROP TABLE IF EXISTS {feed.database}.{statement.meaning.name} SYNC")
        for statement in file.statements:
            feed.connection.run(_KAFKA_TABLE.sub(_FED_TABLE, statement.sql))


def restate(feed: Feed, name: str, **changed: str) -> None:
    """Make one object without data anew with other parameters, as the migrations would."""
    for statement in statements(feed.database, **changed):
        if DIALECT.meaning(statement).name == name:
            remake(feed, name, statement)


def remake(feed: Feed, name: str, statement: str) -> None:
    """Take one object without data off and make it by ``statement``, whether or not it is there."""
    feed.connection.run(f"DROP TABLE IF EXISTS {feed.database}.{name} SYNC")
    feed.connection.run(statement)


def statements(database: str, **changed: str) -> Sequence[str]:
    """Return the statements that bring an empty database to the files' state, in the order of a real run."""
    files = migrations.load(FOLDER, parameters(database, **changed), DIALECT)
    once = [
        each.sql for file in files for each in file.statements if each.meaning.kind is not migrations.Kind.DEFINITION
    ]
    newest = {
        each.meaning.name: each.sql
        for file in files
        for each in file.statements
        if each.meaning.kind is migrations.Kind.DEFINITION
    }
    # What starts a flow comes last.
    return [*once, *sorted(newest.values(), key=lambda sql: re.search(r"\bFROM \S+_queue\b", sql) is not None)]
