"""What health, doctor and top make of a survey: the right part is blamed, causes come before effects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cdc import doctor, health, top
from cdc.connect import Status
from cdc.findings import Finding, Level, Place, worst
from cdc.judgement import judge
from cdc.probes import Beat, Delivery, Reconciled, Slot, Source
from cdc.probes_kafka import Kafka, Partition, Position
from cdc.survey import Away, Survey

GIB = 1024**3
PLACE = Place(
    connect_url="http://127.0.0.1:8083",
    connector="inventory-connector",
    containers={"postgres": "x-postgres-source", "kafka": "x-kafka", "kafka-connect": "x-kafka-connect"},
)
SLOT = Slot(
    name="debezium_slot",
    active=True,
    wal_status="reserved",
    retained_bytes=1024,
    behind_bytes=512,
    safe_bytes=4 * GIB,
)
SOURCE = Source(
    slots=(SLOT,),
    wal_position=1000,
    connections=6,
    max_connections=100,
    longest_transaction_seconds=0.1,
    beat=100,
    beat_age_seconds=1.0,
)
TOPIC = "postgres-server.inventory.orders"
PARTITION = Partition(topic=TOPIC, number=0, leader=1, replicas=1, in_sync=1, oldest=0, newest=101)
POSITION = Position(group="clickhouse_orders_group", topic=TOPIC, partition=0, offset=100, lag=1, above_oldest=100)
KAFKA = Kafka(brokers=1, partitions=(PARTITION,), positions=(POSITION,), members={"clickhouse_orders_group": 1})
RUNNING = Status(connector="RUNNING", tasks=("RUNNING",))
BEAT = Beat(number=100, age_seconds=1.2, commit_to_kafka_seconds=0.1, kafka_to_clickhouse_seconds=0.4, missing=0)
DELIVERY = Delivery(
    beat=BEAT,
    errors={},
    parts={"orders_final": 3},
    rows={"orders_current": 60},
    disk_free_bytes=60 * GIB,
    disk_total_bytes=100 * GIB,
    reconciled=(),
    schema_changes=None,
)
WELL = Survey(source=SOURCE, kafka=KAFKA, connector=RUNNING, delivery=DELIVERY)
AWAY = Away(reason="connection refused")


def blamed(survey: Survey) -> Finding:
    """What the doctor names."""
    found = doctor.cause(judge(survey, PLACE))
    assert found is not None
    return found


def test_a_healthy_pipeline_has_no_bad_finding() -> None:
    findings = judge(WELL, PLACE)
    assert worst(findings) is Level.OK
    assert doctor.cause(findings) is None
    assert {finding.part for finding in findings} == set(health.PARTS)


@pytest.mark.parametrize(
    ("survey", "runbook", "level"),
    [
        (replace(WELL, source=AWAY), "PostgresDown", Level.CRITICAL),
        (replace(WELL, kafka=AWAY), "KafkaBrokerDown", Level.CRITICAL),
        (replace(WELL, connector=AWAY), "DebeziumConnectorDown", Level.CRITICAL),
        (replace(WELL, connector=None), "DebeziumConnectorDown", Level.CRITICAL),
        (replace(WELL, delivery=AWAY), "ClickHouseDown", Level.CRITICAL),
        (
            replace(WELL, connector=Status(connector="RUNNING", tasks=("FAILED",), trace="java.lang.X: boom")),
            "ConnectorTaskFailed",
            Level.CRITICAL,
        ),
        (replace(WELL, connector=Status(connector="PAUSED", tasks=("PAUSED",))), "ConnectorPaused", Level.CRITICAL),
        (replace(WELL, source=replace(SOURCE, slots=())), "ReplicationSlotMissing", Level.CRITICAL),
        (
            replace(WELL, source=replace(SOURCE, slots=(replace(SLOT, wal_status="lost", safe_bytes=None),))),
            "ReplicationSlotLost",
            Level.CRITICAL,
        ),
        (
            replace(WELL, source=replace(SOURCE, slots=(replace(SLOT, active=False),))),
            "ReplicationSlotInactive",
            Level.CRITICAL,
        ),
        (
            replace(WELL, source=replace(SOURCE, slots=(replace(SLOT, safe_bytes=GIB, retained_bytes=9 * GIB),))),
            "SlotWalAtRisk",
            Level.CRITICAL,
        ),
        (replace(WELL, source=replace(SOURCE, beat_age_seconds=45)), "CDCPipelineDown", Level.CRITICAL),
        (replace(WELL, source=replace(SOURCE, connections=90)), "PostgresConnectionsHigh", Level.WARNING),
        (
            replace(WELL, source=replace(SOURCE, longest_transaction_seconds=3600)),
            "PostgresLongTransaction",
            Level.WARNING,
        ),
        (
            replace(WELL, kafka=replace(KAFKA, partitions=(replace(PARTITION, leader=-1),))),
            "KafkaOfflinePartitions",
            Level.CRITICAL,
        ),
        (
            replace(WELL, kafka=replace(KAFKA, partitions=(replace(PARTITION, replicas=3, in_sync=2),))),
            "KafkaUnderReplicated",
            Level.WARNING,
        ),
        (
            replace(WELL, kafka=replace(KAFKA, positions=(replace(POSITION, lag=1001),))),
            "KafkaConsumerLag",
            Level.WARNING,
        ),
        (
            replace(WELL, kafka=replace(KAFKA, members={"clickhouse_orders_group": 0})),
            "ClickHouseIngestStalled",
            Level.CRITICAL,
        ),
        (
            replace(WELL, kafka=replace(KAFKA, positions=(replace(POSITION, above_oldest=-11),))),
            "ConsumerOffsetsOverrun",
            Level.CRITICAL,
        ),
        (replace(WELL, delivery=replace(DELIVERY, beat=None)), "CDCPipelineDown", Level.CRITICAL),
        (
            replace(WELL, delivery=replace(DELIVERY, beat=replace(BEAT, age_seconds=61))),
            "HighCDCLatency",
            Level.WARNING,
        ),
        (
            replace(WELL, delivery=replace(DELIVERY, beat=replace(BEAT, age_seconds=301))),
            "CDCPipelineDown",
            Level.CRITICAL,
        ),
        (replace(WELL, delivery=replace(DELIVERY, beat=replace(BEAT, missing=2))), "LostChanges", Level.CRITICAL),
        (replace(WELL, delivery=replace(DELIVERY, errors={"orders": 4})), "IngestErrors", Level.WARNING),
        (
            replace(WELL, delivery=replace(DELIVERY, parts={"orders_final": 301})),
            "ClickHouseTooManyParts",
            Level.WARNING,
        ),
        (replace(WELL, delivery=replace(DELIVERY, disk_free_bytes=15 * GIB)), "DiskSpaceLow", Level.WARNING),
        (replace(WELL, delivery=replace(DELIVERY, disk_free_bytes=5 * GIB)), "DiskSpaceCritical", Level.CRITICAL),
    ],
)
def test_each_fault_is_named(survey: Survey, runbook: str, level: Level) -> None:
    finding = blamed(survey)
    assert (finding.runbook, finding.level) == (runbook, level)
    assert finding.cause
    assert finding.command
    assert worst(judge(survey, PLACE)) is level


@pytest.mark.parametrize(
    ("result", "runbook"),
    [
        (Reconciled(source_table="inventory.orders", differences=3, age_seconds=60, error=""), "ReconcileDrift"),
        (
            Reconciled(source_table="inventory.orders", differences=0, age_seconds=27 * 3600, error=""),
            "ReconcileTooOld",
        ),
        (Reconciled(source_table="inventory.orders", differences=0, age_seconds=60, error="fence"), "ReconcileTooOld"),
    ],
)
def test_a_comparison_is_judged(result: Reconciled, runbook: str) -> None:
    assert blamed(replace(WELL, delivery=replace(DELIVERY, reconciled=(result,)))).runbook == runbook


def test_the_cause_comes_before_its_effects() -> None:
    """Kafka Connect is down: the slot is read by nobody, the beat is old, ClickHouse is late. Connect is to blame."""
    survey = Survey(
        source=replace(SOURCE, slots=(replace(SLOT, active=False),), beat_age_seconds=400),
        kafka=KAFKA,
        connector=AWAY,
        delivery=replace(DELIVERY, beat=replace(BEAT, age_seconds=400)),
    )
    finding = blamed(survey)
    assert finding.part == "Kafka Connect"
    assert finding.command == "docker restart x-kafka-connect"


def test_a_lost_slot_is_the_cause_of_a_failed_connector() -> None:
    lost = replace(SOURCE, slots=(replace(SLOT, wal_status="lost", active=False, safe_bytes=None),))
    failed = Status(connector="RUNNING", tasks=("FAILED",), trace="slot was invalidated")
    assert blamed(replace(WELL, source=lost, connector=failed)).runbook == "ReplicationSlotLost"


def test_an_idle_group_of_somebody_else_is_nobodys_trouble() -> None:
    other = replace(POSITION, group="somebody_else", lag=10**6, above_oldest=-1000)
    kafka = replace(KAFKA, positions=(POSITION, other), members={"clickhouse_orders_group": 1, "somebody_else": 0})
    assert worst(judge(replace(WELL, kafka=kafka), PLACE)) is Level.OK


def test_every_named_runbook_exists() -> None:
    surveys = [
        Survey(source=AWAY, kafka=AWAY, connector=AWAY, delivery=AWAY),
        replace(WELL, delivery=replace(DELIVERY, beat=None, disk_free_bytes=0, errors={"orders": 1})),
    ]
    named = {finding.runbook for survey in surveys for finding in judge(survey, PLACE) if finding.runbook}
    assert named
    assert [name for name in named if not Path("docs/runbooks", f"{name}.md").exists()] == []


def test_the_screens_hold_what_was_seen() -> None:
    console = Console(width=120, record=True, quiet=False, file=None)
    survey = replace(WELL, connector=AWAY)
    with console.capture() as capture:
        console.print(health.screen(judge(survey, PLACE)))
        later = replace(WELL, kafka=replace(KAFKA, partitions=(replace(PARTITION, newest=301),)))
        console.print(top.frame([top.Look(at=10.0, survey=WELL), top.Look(at=12.0, survey=later)], PLACE))
    text = capture.get()
    assert "CRITICAL  does not answer: connection refused" in text
    assert "DebeziumConnectorDown" in text
    assert "100 messages/s" in text, "200 messages in 2 s"


def test_a_view_survives_every_part_being_away() -> None:
    gone = Survey(source=AWAY, kafka=AWAY, connector=AWAY, delivery=AWAY)
    console = Console(width=120)
    with console.capture() as capture:
        console.print(top.frame([top.Look(at=1.0, survey=WELL), top.Look(at=2.0, survey=gone)], PLACE))
    assert capture.get().count("away: connection refused") == 4
