"""What a survey means. Pure: findings come in the order of causes, so that the first bad one explains the next.

Here: does data flow, asked part by part from the source on. Limits are those of the alert rules in monitoring/rules.
"""

from __future__ import annotations

from collections.abc import Iterator

from cdc import probes, probes_kafka
from cdc.connect import Status
from cdc.connect_failures import explain
from cdc.findings import Finding, Level, Place, Question, ago, check, size
from cdc.judgement_state import late, missing, resources
from cdc.survey import Away, Survey

BEAT_SECONDS = 30.0
"""The connector writes a beat every few seconds; older than this, it does not work whatever it says."""
LAG_MESSAGES = 1000


def judge(survey: Survey, place: Place) -> list[Finding]:
    """Every check of a survey, causes before effects."""
    findings = [*_flows(survey, place)]
    if isinstance(survey.delivery, probes.Delivery):
        findings += [*late(survey.delivery, place), *missing(survey, survey.delivery)]
    return [*findings, *resources(survey)]


def _flows(survey: Survey, place: Place) -> Iterator[Finding]:
    yield from _source_flows(survey.source, place)
    yield from _kafka_flows(survey.kafka, place)
    yield from _connector_flows(survey.connector, place)
    if isinstance(survey.source, probes.Source):
        yield from _capture_flows(survey.source, place)
    yield from _delivery_flows(survey, place)


def _away(part: str, away: Away, *, cause: str, command: str, runbook: str) -> Finding:
    text = f"does not answer: {away.reason}"
    return check(Question.FLOWS, part, True, text, cause=cause, command=command, runbook=runbook)


def _source_flows(source: probes.Source | Away, place: Place) -> Iterator[Finding]:
    if isinstance(source, Away):
        yield _away(
            "PostgreSQL",
            source,
            cause="PostgreSQL is down or refuses the operator",
            command=place.logs("postgres"),
            runbook="PostgresDown",
        )
        return
    yield Finding(question=Question.FLOWS, part="PostgreSQL", level=Level.OK, text="answers")
    lost = [slot.name for slot in source.slots if slot.wal_status == "lost"]
    names = ", ".join(slot.name for slot in source.slots)
    yield check(
        Question.FLOWS,
        "PostgreSQL",
        bool(lost) or not source.slots,
        f"slot {', '.join(lost)} is lost" if lost else f"slot {names} is there" if names else "there is no slot",
        cause="PostgreSQL gave the slot up: changes are lost until a new snapshot"
        if lost
        else "the replication slot was dropped or never made: PostgreSQL keeps no changes for the pipeline",
        command=place.call("PUT", "stop") + "  # then follow docs/runbooks/slot-lost.md",
        runbook="ReplicationSlotLost" if lost else "ReplicationSlotMissing",
    )


def _kafka_flows(kafka: probes_kafka.Kafka | Away, place: Place) -> Iterator[Finding]:
    if isinstance(kafka, Away):
        yield _away(
            "Kafka", kafka, cause="no Kafka broker runs", command=place.restart("kafka"), runbook="KafkaBrokerDown"
        )
        return
    offline = sum(partition.leader < 0 for partition in kafka.partitions)
    yield check(
        Question.FLOWS,
        "Kafka",
        offline > 0,
        f"{kafka.brokers} broker(s), {len(kafka.partitions)} partitions, {offline} without a leader",
        cause="the brokers that hold these partitions are down",
        command=place.restart("kafka"),
        runbook="KafkaOfflinePartitions",
    )


def _connector_flows(connector: Status | Away | None, place: Place) -> Iterator[Finding]:
    part = "Kafka Connect"
    if isinstance(connector, Away):
        yield _away(
            part,
            connector,
            cause="Kafka Connect is down, or starting",
            command=place.restart("kafka-connect"),
            runbook="DebeziumConnectorDown",
        )
    elif connector is None:
        yield check(
            Question.FLOWS,
            part,
            True,
            f"{place.connector} does not exist",
            cause="the connector was deleted",
            command="pulumi refresh --yes && make up",
            runbook="DebeziumConnectorDown",
        )
    else:
        cause, command, runbook = _not_running(connector, place)
        text = f"{place.connector} is {connector}"
        running = connector.running
        yield check(Question.FLOWS, part, not running, text, cause=cause, command=command, runbook=runbook)


def _not_running(connector: Status, place: Place) -> tuple[str, str, str]:
    """Cause, command and runbook of a connector that does not run."""
    if connector.connector in ("PAUSED", "STOPPED"):
        cause = f"somebody set the connector to {connector.connector}"
        return cause, place.call("PUT", "resume"), "ConnectorPaused"
    if connector.failed:
        cause = f"the connector failed:\n{explain(connector.trace)}"
        return cause, place.call("POST", "restart?includeTasks=true&onlyFailed=true"), "ConnectorTaskFailed"
    cause = "Kafka Connect has just started or shares out its tasks anew; this takes some seconds"
    return cause, place.logs("kafka-connect"), "DebeziumConnectorDown"


def _capture_flows(source: probes.Source, place: Place) -> Iterator[Finding]:
    for slot in source.slots:
        yield check(
            Question.FLOWS,
            "PostgreSQL",
            not slot.active,
            f"slot {slot.name} is read{'' if slot.active else ' by nobody'}, {size(slot.retained_bytes)} of WAL kept",
            cause="the connector is not connected to PostgreSQL, though it may say RUNNING while it retries",
            command=place.logs("kafka-connect"),
            runbook="ReplicationSlotInactive",
        )
    yield check(
        Question.FLOWS,
        "PostgreSQL",
        source.beat_age_seconds > BEAT_SECONDS,
        f"beat {source.beat} written {ago(source.beat_age_seconds)}",
        cause="the connector hangs: it no longer writes its heartbeat",
        command=place.restart("kafka-connect"),
        runbook="CDCPipelineDown",
    )


def _delivery_flows(survey: Survey, place: Place) -> Iterator[Finding]:
    if isinstance(survey.delivery, Away):
        yield _away(
            "ClickHouse",
            survey.delivery,
            cause="ClickHouse is down or refuses the operator",
            command=place.restart("clickhouse"),
            runbook="ClickHouseDown",
        )
    if isinstance(survey.kafka, Away):
        return
    for group in survey.kafka.groups:
        if not group.startswith("clickhouse_"):
            continue
        lag, members = survey.kafka.lag(group), survey.kafka.members.get(group, 0)
        level = Level.CRITICAL if not members else Level.WARNING if lag > LAG_MESSAGES else Level.OK
        yield check(
            Question.FLOWS,
            "Kafka",
            level,
            f"{group}: {members} reader(s), {lag:,} messages behind",
            cause="ClickHouse reads more slowly than messages arrive"
            if members
            else "ClickHouse does not read this topic",
            command=place.logs("clickhouse"),
            runbook="KafkaConsumerLag" if members else "ClickHouseIngestStalled",
        )
