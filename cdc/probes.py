"""Look at each hop of a running pipeline, once and cheaply: what is there, as frozen values, without a judgement.

Every function takes an open client and raises the client's own error when its part can't be asked. Exporter, health
check and terminal view stand on these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from clickhouse_driver import Client
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from cdc.postgres import Connection

INTERNAL = frozenset({"__consumer_offsets", "__transaction_state"})
"""Kafka's own topics: their leaders and replicas matter, their offsets don't."""
KAFKA_TIMEOUT = 10.0
"""Seconds for one admin call."""


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
class Partition:
    """One partition of a topic; ``newest`` is the offset that the next message gets."""

    topic: str
    number: int
    leader: int
    """Broker id, -1 when nobody leads: the partition is offline."""
    replicas: int
    in_sync: int
    oldest: int
    newest: int
    """Both 0 for Kafka's own topics and while there is no leader."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a consumer group has read one partition. ``lag`` counts transaction markers too: idle is about 1."""

    group: str
    topic: str
    partition: int
    offset: int
    lag: int
    above_oldest: int
    """Messages from the oldest that is kept to the position; below zero: retention took some that were never read."""


@dataclass(frozen=True, kw_only=True)
class Kafka:
    """The cluster, its partitions and where each group stands."""

    brokers: int
    partitions: tuple[Partition, ...]
    positions: tuple[Position, ...]
    members: Mapping[str, int]
    """Consumers of each group."""

    def lag(self, group: str) -> int:
        """Messages that the group has not read."""
        return sum(position.lag for position in self.positions if position.group == group)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups that have a position."""
        return tuple(sorted({position.group for position in self.positions}))


def kafka_admin(options: Mapping[str, Any]) -> AdminClient:
    """An admin client with the options of ``Connections.kafka``; keep it, making one takes long."""
    return AdminClient({**options, "socket.timeout.ms": 10000})


def kafka(admin: AdminClient) -> Kafka:
    """The cluster's side. Raises confluent_kafka.KafkaException."""
    metadata = admin.list_topics(timeout=KAFKA_TIMEOUT)
    places = [
        TopicPartition(name, number)
        for name, topic in metadata.topics.items()
        for number, partition in topic.partitions.items()
        if partition.leader >= 0 and name not in INTERNAL
    ]
    oldest, newest = (_offsets(admin, places, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
    groups = [group.group_id for group in admin.list_consumer_groups(request_timeout=KAFKA_TIMEOUT).result().valid]
    return Kafka(
        brokers=len(metadata.brokers),
        partitions=tuple(
            Partition(
                topic=name,
                number=number,
                leader=partition.leader,
                replicas=len(partition.replicas),
                in_sync=len(partition.isrs),
                oldest=oldest.get((name, number), 0),
                newest=newest.get((name, number), 0),
            )
            for name, topic in sorted(metadata.topics.items())
            for number, partition in sorted(topic.partitions.items())
        ),
        positions=tuple(position for group in sorted(groups) for position in _positions(admin, group, oldest, newest)),
        members=_members(admin, groups),
    )


def _offsets(admin: AdminClient, places: list[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
    if not places:
        return {}
    futures = admin.list_offsets(
        {TopicPartition(p.topic, p.partition): spec for p in places}, request_timeout=KAFKA_TIMEOUT
    )
    return {(place.topic, place.partition): int(future.result().offset) for place, future in futures.items()}


def _positions(
    admin: AdminClient, group: str, oldest: Mapping[tuple[str, int], int], newest: Mapping[tuple[str, int], int]
) -> list[Position]:
    futures = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=KAFKA_TIMEOUT)
    return [
        Position(
            group=group,
            topic=place.topic,
            partition=place.partition,
            offset=place.offset,
            lag=max(0, newest[place.topic, place.partition] - place.offset),
            above_oldest=place.offset - oldest[place.topic, place.partition],
        )
        for place in futures[group].result().topic_partitions
        if place.offset >= 0 and (place.topic, place.partition) in newest
    ]


def _members(admin: AdminClient, groups: list[str]) -> dict[str, int]:
    if not groups:
        return {}
    futures = admin.describe_consumer_groups(groups, request_timeout=KAFKA_TIMEOUT)
    return {group: len(future.result().members) for group, future in futures.items()}


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
    """The last comparison of one table with its source."""

    source_table: str
    differences: int
    age_seconds: float
    error: str


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
    SELECT source_table, argMax(differences, finished_at),
           dateDiff('millisecond', max(finished_at), now64(3)) / 1000, argMax(error, finished_at)
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
