"""The checks of a pipeline whose parts work: is it late, is anything missing, are resources short."""

from __future__ import annotations

from collections.abc import Iterator

from cdc import probes, probes_kafka
from cdc.findings import Finding, Level, Place, Question, ago, check, size, span
from cdc.survey import Survey

LATE_SECONDS, DOWN_SECONDS = 60.0, 300.0
LONG_TRANSACTION_SECONDS = 1800.0
RECONCILE_SECONDS = 26 * 3600.0
USED_SHARE, FREE_LOW, FREE_CRITICAL, WAL_ROOM = 0.8, 0.2, 0.1, 0.2
MANY_PARTS = 300
OVERRUN = 10
"""Messages below the oldest that don't count: aborted transactions and markers at the end of an idle topic."""


def late(delivery: probes.Delivery, place: Place) -> Iterator[Finding]:
    """How old the newest change is."""
    beat = delivery.beat
    age = beat.age_seconds if beat else float("inf")
    yield check(
        Question.LATE,
        "ClickHouse",
        Level.CRITICAL if age > DOWN_SECONDS else Level.WARNING if age > LATE_SECONDS else Level.OK,
        f"newest change is from {ago(age)} (beat {beat.number}: {beat.commit_to_kafka_seconds:.1f} s to Kafka, "
        f"{beat.kafka_to_clickhouse_seconds:.1f} s on)"
        if beat
        else "no beat has ever arrived",
        cause="all parts say that they work, and nothing arrives: one of them hangs",
        command=f"{place.logs('kafka-connect')}; {place.logs('clickhouse')}",
        runbook="CDCPipelineDown" if age > DOWN_SECONDS else "HighCDCLatency",
    )


def missing(survey: Survey, delivery: probes.Delivery) -> Iterator[Finding]:
    """Whether changes did not arrive."""
    beats = delivery.beat.missing if delivery.beat else 0
    yield check(
        Question.MISSING,
        "ClickHouse",
        beats > 0,
        f"{beats:,} beats missing",
        cause="changes were lost on the way",
        command="python -m cdc reconcile",
        runbook="LostChanges",
    )
    if isinstance(survey.kafka, probes_kafka.Kafka):
        overrun = [p for p in survey.kafka.positions if p.group.startswith("clickhouse_") and p.above_oldest < -OVERRUN]
        yield check(
            Question.MISSING,
            "Kafka",
            bool(overrun),
            f"{sum(-position.above_oldest for position in overrun):,} messages deleted before they were read",
            cause="retention overran ClickHouse while it did not read",
            command="python -m cdc reconcile",
            runbook="ConsumerOffsetsOverrun",
        )
    errors = sum(delivery.errors.values())
    yield check(
        Question.MISSING,
        "ClickHouse",
        Level.WARNING if errors else Level.OK,
        f"{errors:,} messages could not be read"
        + (f" ({', '.join(f'{table} {count}' for table, count in delivery.errors.items())})" if errors else ""),
        cause="their reason is in analytics.ingest_errors",
        command="python -m cdc replay-errors --dry-run",
        runbook="IngestErrors",
    )
    yield from map(_compared, delivery.reconciled)


def _compared(result: probes.Reconciled) -> Finding:
    old = result.age_seconds > RECONCILE_SECONDS or bool(result.error)
    return check(
        Question.MISSING,
        "ClickHouse",
        Level.CRITICAL if result.differences else Level.WARNING if old else Level.OK,
        f"{result.source_table}: {result.differences:,} differences, compared {ago(result.age_seconds)}"
        + (f", failed: {result.error}" if result.error else ""),
        cause="rows differ from the source" if result.differences else "the comparison does not run to its end",
        command="python -m cdc reconcile",
        runbook="ReconcileDrift" if result.differences else "ReconcileTooOld",
    )


def resources(survey: Survey) -> Iterator[Finding]:
    """Whether something is running out."""
    if isinstance(survey.source, probes.Source):
        yield from _source_resources(survey.source)
    if isinstance(survey.kafka, probes_kafka.Kafka):
        behind = sum(partition.in_sync < partition.replicas for partition in survey.kafka.partitions)
        yield check(
            Question.RESOURCES,
            "Kafka",
            Level.WARNING if behind else Level.OK,
            f"{behind} partitions under-replicated",
            cause="a broker is down or does not keep up",
            command="kafka-topics.sh --bootstrap-server kafka:9092 --describe --under-replicated-partitions",
            runbook="KafkaUnderReplicated",
        )
    if isinstance(survey.delivery, probes.Delivery):
        yield from _delivery_resources(survey.delivery)


def _source_resources(source: probes.Source) -> Iterator[Finding]:
    for slot in source.slots:
        if slot.safe_bytes is not None:
            room = slot.safe_bytes / max(1, slot.safe_bytes + slot.retained_bytes)
            yield check(
                Question.RESOURCES,
                "PostgreSQL",
                room < WAL_ROOM,
                f"slot {slot.name}: {size(slot.safe_bytes)} of WAL room left",
                cause="the slot holds back almost as much WAL as it may; then PostgreSQL gives it up",
                command="psql -c \"ALTER SYSTEM SET max_slot_wal_keep_size = '16GB'\" -c 'SELECT pg_reload_conf()'",
                runbook="SlotWalAtRisk",
            )
    yield check(
        Question.RESOURCES,
        "PostgreSQL",
        Level.WARNING if source.connections > USED_SHARE * source.max_connections else Level.OK,
        f"{source.connections} of {source.max_connections} connections",
        cause="applications hold too many connections",
        command="psql -c 'SELECT usename, application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3'",
        runbook="PostgresConnectionsHigh",
    )
    oldest = source.longest_transaction_seconds
    yield check(
        Question.RESOURCES,
        "PostgreSQL",
        Level.WARNING if oldest > LONG_TRANSACTION_SECONDS else Level.OK,
        f"oldest transaction {span(oldest)}",
        cause="a transaction that stays open holds back the slot and vacuum",
        command="psql -c 'SELECT pid, usename, xact_start, query FROM pg_stat_activity ORDER BY xact_start LIMIT 3'",
        runbook="PostgresLongTransaction",
    )
    if source.archived_age_seconds is not None:
        text = f"last WAL archived {ago(source.archived_age_seconds)}"
        yield Finding(question=Question.RESOURCES, part="PostgreSQL", level=Level.OK, text=text)


def _delivery_resources(delivery: probes.Delivery) -> Iterator[Finding]:
    free = delivery.disk_free_bytes / max(1, delivery.disk_total_bytes)
    yield check(
        Question.RESOURCES,
        "ClickHouse",
        Level.CRITICAL if free < FREE_CRITICAL else Level.WARNING if free < FREE_LOW else Level.OK,
        f"disk {free:.0%} free ({size(delivery.disk_free_bytes)})",
        cause="the disk fills",
        command="df -h; docker system df",
        runbook="DiskSpaceCritical" if free < FREE_CRITICAL else "DiskSpaceLow",
    )
    table, parts = max(delivery.parts.items(), key=lambda item: item[1], default=("no table", 0))
    yield check(
        Question.RESOURCES,
        "ClickHouse",
        Level.WARNING if parts > MANY_PARTS else Level.OK,
        f"at most {parts} parts in a partition ({table})",
        cause="merges do not keep up with inserts",
        command="pulumi config set flushIntervalMs 500 && make up",
        runbook="ClickHouseTooManyParts",
    )
    if delivery.backup_age_seconds is not None:
        text = f"last backup {ago(delivery.backup_age_seconds)}"
        yield Finding(question=Question.RESOURCES, part="ClickHouse", level=Level.OK, text=text)
