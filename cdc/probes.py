"""Look at each hop of a running pipeline, once and cheaply: what is there, as frozen values, without a judgement.

Every function takes an open client and raises the client's own error when its part can't be asked. Exporter, health
check and terminal view stand on these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from clickhouse_driver import Client

from cdc.postgres import Connection


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A logical replication slot of this database. Sizes in bytes."""

    name: str
    active: bool
    wal_status: str
    """reserved, extended, unreserved or lost."""
    retained_bytes: int
    """WAL that the server keeps for it."""
    behind_bytes: int
    """WAL written since the position that the reader confirmed."""
    safe_bytes: int | None
    """WAL that may still be written before the slot is in danger; None where nothing limits it or it is lost."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """PostgreSQL as the pipeline's source."""

    slots: tuple[Slot, ...]
    wal_position: int
    """Byte position of the WAL's end: its growth is the write rate."""
    connections: int
    max_connections: int
    longest_transaction_seconds: float
    """Age of the oldest open transaction; an old one keeps WAL from being given back."""
    beat: int
    """The canary's newest beat here."""
    beat_age_seconds: float
    archived_age_seconds: float | None = None
    """Since the last WAL file was archived; None where nothing is."""


_SLOTS = """
    SELECT slot_name, active, coalesce(wal_status, 'lost'),
           coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint,
           coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), 0)::bigint,
           safe_wal_size
      FROM pg_replication_slots
     WHERE slot_type = 'logical' AND database = current_database()
     ORDER BY slot_name
"""
_ACTIVITY = """
    SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint,
           count(*) FILTER (WHERE backend_type = 'client backend'),
           current_setting('max_connections')::int,
           coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)
                    FILTER (WHERE backend_type = 'client backend')), 0)::float8
      FROM pg_stat_activity
"""
_ARCHIVED = "SELECT extract(epoch FROM clock_timestamp() - last_archived_time)::float8 FROM pg_stat_archiver"
_SOURCE_BEAT = "SELECT beat, extract(epoch FROM clock_timestamp() - committed_at)::float8 FROM cdc.heartbeat"


def source(connection: Connection) -> Source:
    """PostgreSQL's side; needs pg_monitor and SELECT on cdc.heartbeat. Raises psycopg.Error."""
    slots = tuple(
        Slot(
            name=name,
            active=active,
            wal_status=status,
            retained_bytes=retained,
            behind_bytes=behind,
            safe_bytes=safe,
        )
        for name, active, status, retained, behind, safe in connection.execute(_SLOTS).fetchall()
    )
    position, used, most, oldest = _only(connection.execute(_ACTIVITY).fetchone())
    beat, age = connection.execute(_SOURCE_BEAT).fetchone() or (0, float("inf"))
    return Source(
        slots=slots,
        wal_position=position,
        connections=used,
        max_connections=most,
        longest_transaction_seconds=max(0.0, oldest),
        beat=beat,
        beat_age_seconds=age,
        archived_age_seconds=_only(connection.execute(_ARCHIVED).fetchone())[0],
    )


@dataclass(frozen=True, kw_only=True)
class Beat:
    """The newest beat that ClickHouse shows; seconds by the clocks of the parts that it passed."""

    number: int
    age_seconds: float
    """Since its commit: the freshness of the whole pipeline."""
    commit_to_kafka_seconds: float
    kafka_to_clickhouse_seconds: float
    missing: int
    """Beats that lie between the oldest and the newest and never came: lost changes."""


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """The last comparison of one table with its source that came to its end: one that failed proves nothing."""

    source_table: str
    differences: int
    age_seconds: float
    """Since it ended; since the first try where none ever did."""
    error: str
    """Of the newest try; empty where that is the comparison itself."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """ClickHouse as the pipeline's target."""

    beat: Beat | None
    """None while no beat has ever arrived."""
    errors: Mapping[str, int]
    """Messages that could not be read, by source table."""
    parts: Mapping[str, int]
    """Most active parts in one partition, by table."""
    rows: Mapping[str, int]
    """Rows in active parts (all versions), by table."""
    disk_free_bytes: int
    disk_total_bytes: int
    reconciled: tuple[Reconciled, ...]
    """Empty while nothing was compared."""
    schema_changes: int | None
    """DDL statements seen; None where they are not carried."""
    backup_age_seconds: float | None = None
    """Since the last backup that this server made and remembers; None where there is none."""


_BEAT = """
    SELECT beat, dateDiff('millisecond', min(committed_at), now64(3)) / 1000,
           dateDiff('millisecond', min(committed_at), min(kafka_time)) / 1000,
           dateDiff('millisecond', min(kafka_time), min(visible_at)) / 1000
      FROM heartbeat WHERE id = 1 AND beat = (SELECT max(beat) FROM heartbeat WHERE id = 1)
     GROUP BY beat
"""
_MISSING = "SELECT max(beat) - min(beat) + 1 - uniqExact(beat) FROM heartbeat WHERE id = 1"
_ERRORS = """
    SELECT source_table, count() FROM ingest_errors FINAL WHERE replayed_at IS NULL
     GROUP BY source_table ORDER BY source_table
"""
_PARTS = """
    SELECT table, max(parts), sum(rows)
      FROM (SELECT table, partition_id, count() AS parts, sum(rows) AS rows FROM system.parts
             WHERE active AND database = currentDatabase() GROUP BY table, partition_id)
     GROUP BY table ORDER BY table
"""
_BACKUP = """
    SELECT if(count() = 0, NULL, toFloat64(dateDiff('second', max(end_time), now())))
      FROM system.backups WHERE status = 'BACKUP_CREATED'
"""
_DISK = "SELECT sum(free_space), sum(total_space) FROM system.disks"
_RECONCILED = """
    SELECT source_table, argMaxIf(differences, finished_at, error = ''),
           dateDiff('millisecond',
                    if(countIf(error = '') > 0, maxIf(finished_at, error = ''), min(finished_at)), now64(3)) / 1000,
           argMax(error, finished_at)
      FROM reconcile_results WHERE has(%(tables)s, source_table) GROUP BY source_table ORDER BY source_table
"""


def delivery(client: Client, tables: Collection[str]) -> Delivery:
    """ClickHouse's side; ``tables`` are the captured ones: what was compared before is no concern any more.

    Raises clickhouse_driver.errors.Error.
    """
    parts = client.execute(_PARTS)
    free, total = client.execute(_DISK)[0]
    return Delivery(
        beat=_beat(client),
        errors=dict(client.execute(_ERRORS)),
        parts={table: most for table, most, _ in parts},
        rows={table: rows for table, _, rows in parts},
        disk_free_bytes=free,
        disk_total_bytes=total,
        reconciled=_reconciled(client, tables),
        schema_changes=_schema_changes(client),
        backup_age_seconds=client.execute(_BACKUP)[0][0],
    )


def _beat(client: Client) -> Beat | None:
    newest = client.execute(_BEAT)
    if not newest:
        return None
    number, age, to_kafka, to_clickhouse = newest[0]
    return Beat(
        number=number,
        age_seconds=age,
        commit_to_kafka_seconds=to_kafka,
        kafka_to_clickhouse_seconds=to_clickhouse,
        missing=client.execute(_MISSING)[0][0],
    )


def _reconciled(client: Client, tables: Collection[str]) -> tuple[Reconciled, ...]:
    if not client.execute("EXISTS TABLE reconcile_results")[0][0]:
        return ()
    return tuple(
        Reconciled(source_table=table, differences=differences, age_seconds=age, error=error)
        for table, differences, age, error in client.execute(_RECONCILED, {"tables": list(tables)})
    )


def _schema_changes(client: Client) -> int | None:
    if not client.execute("EXISTS TABLE schema_changes")[0][0]:
        return None
    return int(client.execute("SELECT count() FROM schema_changes")[0][0])


def _only(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    """The one row of a query that always has one."""
    if row is None:
        raise AssertionError("an aggregate without GROUP BY gives one row")
    return row
