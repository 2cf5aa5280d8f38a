"""What the probes saw, as Prometheus metrics: pure functions, one a part. Names are documented in docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from cdc.connect import Status
from cdc.polling import Sample
from cdc.probes import Delivery, Slot

PARTS = ("postgres", "kafka", "connect", "clickhouse")
Labelled = Iterable[tuple[Sequence[str], float]]


def gauge(name: str, text: str, labels: Sequence[str], values: Labelled) -> Metric:
    """A gauge with one sample for each of ``values``: label values and figure."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def plain(name: str, text: str, value: float) -> Metric:
    """A gauge without labels."""
    return gauge(name, text, (), [((), value)])


def up(parts: Mapping[str, bool]) -> Metric:
    """Which parts answer."""
    text = "Whether the part answers the exporter"
    return gauge("cdc_up", text, ["part"], [((part,), float(answers)) for part, answers in parts.items()])


def freshness(last: Sample[Delivery] | None, now: float) -> Iterator[Metric]:
    """Age of the newest beat that was ever seen, growing while nobody can be asked: what stands still is not fresh."""
    if last is not None and last.value.beat is not None:
        age = last.value.beat.age_seconds + (now - last.at)
        yield plain("cdc_freshness_seconds", "Age of the newest change of the canary that ClickHouse shows", age)


def delivery(seen: Delivery, carried: Iterable[str]) -> Iterator[Metric]:
    """ClickHouse's side; each of the ``carried`` tables shows its errors, none being a figure too."""
    if (beat := seen.beat) is not None:
        hops = {
            "commit_to_kafka": beat.commit_to_kafka_seconds,
            "kafka_to_clickhouse": beat.kafka_to_clickhouse_seconds,
            "commit_to_clickhouse": beat.commit_to_kafka_seconds + beat.kafka_to_clickhouse_seconds,
        }
        yield gauge("cdc_hop_seconds", "Time of the newest beat on each hop", ["hop"], _by_name(hops))
        yield plain("cdc_heartbeat_beat", "Number of the newest beat in ClickHouse", beat.number)
        yield plain("cdc_heartbeat_gaps", "Beats that never came: lost changes", beat.missing)
    errors = dict.fromkeys(carried, 0) | dict(seen.errors)
    yield gauge("cdc_ingest_errors", "Messages that could not be read", ["source_table"], _by_name(errors))
    yield gauge("cdc_parts_max", "Most active parts in one partition", ["table"], _by_name(seen.parts))
    yield gauge("cdc_clickhouse_rows", "Rows in active parts, all versions", ["table"], _by_name(seen.rows))
    if seen.schema_changes is not None:
        yield plain("cdc_schema_changes", "DDL statements that were captured", seen.schema_changes)
    if seen.reconciled:
        differences = {one.source_table: one.differences for one in seen.reconciled}
        ages = {one.source_table: one.age_seconds for one in seen.reconciled}
        text = "Rows that differed from the source at the last comparison that came to its end"
        yield gauge("cdc_reconcile_differences", text, ["source_table"], _by_name(differences))
        text = "Time since the last comparison that came to its end"
        yield gauge("cdc_reconcile_age_seconds", text, ["source_table"], _by_name(ages))


def slots(seen: Sequence[Slot], growth: Mapping[str, float]) -> Iterator[Metric]:
    """Replication slots; ``growth`` is the bytes per second by which each slot's retained WAL grows."""
    yield gauge(
        "cdc_slot_active", "Whether a connector reads the slot", ["slot"], [((s.name,), s.active) for s in seen]
    )
    text = "WAL that the server keeps for the slot"
    yield gauge("cdc_slot_retained_wal_bytes", text, ["slot"], [((s.name,), s.retained_bytes) for s in seen])
    text = "WAL that may still be written before the slot is in danger"
    limited = [((s.name,), float(s.safe_bytes)) for s in seen if s.safe_bytes is not None]
    yield gauge("cdc_slot_safe_wal_bytes", text, ["slot"], limited)
    text = "1 for the state of the slot's WAL: reserved, extended, unreserved or lost"
    yield gauge("cdc_slot_wal_status", text, ["slot", "status"], [((s.name, s.wal_status), 1) for s in seen])
    text = "Time until the slot's WAL is given up if it grows on as it does; +Inf when it does not grow"
    left = [((s.name,), _time_left(s, growth.get(s.name, 0.0))) for s in seen]
    yield gauge("cdc_slot_invalidation_seconds", text, ["slot"], left)


def _time_left(slot: Slot, growth: float) -> float:
    if slot.wal_status == "lost":
        return 0.0
    if slot.safe_bytes is None or growth <= 0:
        return float("inf")
    return max(0.0, slot.safe_bytes / growth)


def connector(name: str, status: Status | None) -> Iterator[Metric]:
    """States of connector and tasks; a connector that does not exist is MISSING."""
    text = "1 for the state of the connector"
    state = status.connector if status else "MISSING"
    yield gauge("cdc_connector_state", text, ["connector", "state"], [((name, state), 1)])
    tasks = status.tasks if status else ()
    text = "1 for the state of each task"
    states = [((name, str(number), state), 1.0) for number, state in enumerate(tasks)]
    yield gauge("cdc_connector_task_state", text, ["connector", "task", "state"], states)


def _by_name(values: Mapping[str, float]) -> Labelled:
    return [((name,), float(value)) for name, value in values.items()]
