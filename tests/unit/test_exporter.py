"""The exporter shows what it knows, never makes up what it does not, and outlives every part."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.core import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from cdc import probes, probes_kafka
from cdc.connect import Status
from cdc.exporter import Growth, KafkaSeen, Kept, PipelineCollector, Pollers, SourceSeen
from cdc.metrics_business import Business
from cdc.metrics_kafka import LagReader
from cdc.polling import Poller

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
SLOT = probes.Slot(
    name="debezium_slot", active=True, wal_status="reserved", retained_bytes=100, behind_bytes=10, safe_bytes=1000
)
SOURCE = probes.Source(
    slots=(SLOT,),
    wal_position=5000,
    connections=3,
    max_connections=100,
    longest_transaction_seconds=0.5,
    beat=41,
    beat_age_seconds=1.0,
)
BEAT = probes.Beat(number=40, age_seconds=1.5, commit_to_kafka_seconds=0.2, kafka_to_clickhouse_seconds=0.3, missing=2)
RECONCILED = probes.Reconciled(source_table="inventory.orders", differences=0, age_seconds=60, error="")
DELIVERY = probes.Delivery(
    beat=BEAT,
    errors={"orders": 4},
    parts={"orders_final": 7},
    rows={"orders_final": 1000},
    disk_free_bytes=1,
    disk_total_bytes=2,
    reconciled=(RECONCILED,),
    schema_changes=3,
)
PARTITION = probes_kafka.Partition(topic="t", number=0, leader=1, replicas=2, in_sync=1, oldest=5, newest=30)
POSITION = probes_kafka.Position(group="g", topic="t", partition=0, offset=20, lag=10, above_oldest=15)
KAFKA = KafkaSeen(
    cluster=probes_kafka.Kafka(brokers=1, partitions=(PARTITION,), positions=(POSITION,), members={"g": 2}),
    ages={("g", "t"): 12.5},
)
BUSINESS = Business(orders={"PENDING": 4}, orders_last_hour=2, revenue_last_hour=10.5, revenue_today=99.0)


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Part:
    """A part that answers until it is told to fail."""

    def __init__(self, value: object) -> None:
        self.value = value
        self.error: Exception | None = None

    def __call__(self) -> object:
        if self.error:
            raise self.error
        return self.value


class World:
    """An exporter on parts that obey."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.parts = {
            "postgres": Part(SourceSeen(source=SOURCE, growth={"debezium_slot": 10.0})),
            "kafka": Part(KAFKA),
            "connect": Part(Status(connector="RUNNING", tasks=("RUNNING", "FAILED"))),
            "clickhouse": Part(DELIVERY),
            "business": Part(BUSINESS),
        }
        pollers = {name: Poller(name, part, every=5, stale=20, clock=self.clock) for name, part in self.parts.items()}
        self.pollers = Pollers(**pollers)  # type: ignore[arg-type]
        self.collector = PipelineCollector(
            self.pollers, connector="c", tables=["inventory.orders"], kafka_names=True, clock=self.clock
        )

    def poll(self) -> None:
        for poller in (
            *(self.pollers.postgres, self.pollers.kafka, self.pollers.connect),
            *(self.pollers.clickhouse, self.pollers.business),
        ):
            poller.poll()

    def scrape(self) -> dict[str, dict[str, float]]:
        """Metric -> labels as text -> value."""
        registry = CollectorRegistry()
        registry.register(self.collector)
        shown: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(generate_latest(registry).decode()):
            for sample in family.samples:
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                shown.setdefault(sample.name, {})[labels] = sample.value
        return shown


@pytest.fixture
def world() -> World:
    world = World()
    world.poll()
    return world


def test_what_the_parts_say_is_shown(world: World) -> None:
    shown = world.scrape()
    assert shown["cdc_up"] == {f"part={part}": 1 for part in ("postgres", "kafka", "connect", "clickhouse")}
    assert shown["cdc_freshness_seconds"] == {"": 1.5}
    assert shown["cdc_hop_seconds"]["hop=commit_to_clickhouse"] == pytest.approx(0.5)
    assert shown["cdc_heartbeat_gaps"] == {"": 2}
    assert shown["cdc_ingest_errors"] == {"source_table=heartbeat": 0, "source_table=orders": 4}
    assert shown["cdc_connector_task_state"] == {
        "connector=c,state=RUNNING,task=0": 1,
        "connector=c,state=FAILED,task=1": 1,
    }
    assert shown["cdc_slot_invalidation_seconds"] == {"slot=debezium_slot": 100}
    assert shown["kafka_consumergroup_lag"] == {"consumergroup=g,partition=0,topic=t": 10}
    assert shown["kafka_topic_partition_under_replicated_partition"] == {"partition=0,topic=t": 1}
    assert shown["cdc_consumer_lag_seconds"] == {"consumergroup=g,topic=t": 12.5}
    assert shown["cdc_orders"] == {"status=PENDING": 4}


def test_every_metric_is_documented_and_no_other(world: World) -> None:
    documented = set(re.findall(r"^\| `([a-z_]+)", DOCUMENT.read_text(), re.MULTILINE))
    ours = {name for name in documented if name.startswith("cdc_")}
    kafka = {name for name in documented if name.startswith(("kafka_topic_", "kafka_consumergroup_", "kafka_brokers"))}
    assert set(world.scrape()) == ours | kafka


@pytest.mark.parametrize(
    ("part", "gone"),
    [
        ("postgres", "cdc_slot_active"),
        ("kafka", "kafka_consumergroup_lag"),
        ("connect", "cdc_connector_state"),
        ("clickhouse", "cdc_hop_seconds"),
        ("business", "cdc_orders"),
    ],
)
def test_a_part_that_is_away_takes_only_its_own_figures_along(world: World, part: str, gone: str) -> None:
    before = world.scrape()
    world.parts[part].error = ConnectionError("refused")
    world.poll()
    after = world.scrape()
    assert gone not in after
    assert after["cdc_up"] == before["cdc_up"] | ({f"part={part}": 0} if part != "business" else {})
    world.parts[part].error = None
    world.poll()
    assert world.scrape() == before


def test_freshness_grows_while_clickhouse_is_away(world: World) -> None:
    world.parts["clickhouse"].error = ConnectionError("refused")
    world.clock.now += 90
    world.poll()
    assert world.scrape()["cdc_freshness_seconds"] == {"": 91.5}
    world.clock.now += 10
    assert world.scrape()["cdc_freshness_seconds"] == {"": 101.5}


def test_freshness_is_not_made_up_before_a_beat_was_seen() -> None:
    world = World()
    world.parts["clickhouse"].error = ConnectionError("refused")
    world.poll()
    assert "cdc_freshness_seconds" not in world.scrape()


def test_a_part_that_hangs_is_not_up(world: World) -> None:
    world.clock.now += 21
    assert set(world.scrape()["cdc_up"].values()) == {0}


def test_a_connector_that_does_not_exist_is_missing(world: World) -> None:
    world.parts["connect"].value = None
    world.poll()
    shown = world.scrape()
    assert shown["cdc_up"]["part=connect"] == 1
    assert shown["cdc_connector_state"] == {"connector=c,state=MISSING": 1}


def test_a_kafka_exporter_beside_ours_keeps_its_names(world: World) -> None:
    alone = PipelineCollector(world.pollers, connector="c", tables=[], kafka_names=False, clock=world.clock)
    names = {family.name for family in alone.collect()}
    assert not [name for name in names if name.startswith("kafka_")]
    assert "cdc_consumer_lag_seconds" in names


def test_a_scrape_does_not_wait_for_a_part() -> None:
    released, stop = threading.Event(), threading.Event()
    slow: Poller[object] = Poller("clickhouse", lambda: released.wait(10), every=5, stale=20)
    thread = threading.Thread(target=slow.run, args=(stop,), daemon=True)
    thread.start()
    started = time.monotonic()
    assert slow.fresh() is None
    assert time.monotonic() - started < 0.1
    stop.set()
    released.set()
    thread.join(5)


def test_a_slow_probe_is_asked_less_often_and_stays_up_meanwhile() -> None:
    clock, part = Clock(), Part(1)
    slow: Poller[int] = Poller("orders", part, every=30, stale=45, sparing=True, clock=clock)  # type: ignore[arg-type]
    slow.poll()
    assert slow.pause(0.5) == 29.5
    clock.now += 50
    assert slow.fresh() is None
    slow.poll()
    assert slow.pause(4.0) == 76
    clock.now += 80
    assert slow.fresh() == 1
    clock.now += 15
    assert slow.fresh() is None
    part.error = TimeoutError()
    slow.poll()
    assert slow.pause(10.0) == 20, "a part that is away is asked at the usual pace"


def test_a_slots_end_is_predicted_from_its_growth() -> None:
    clock = Clock()
    growth = Growth(clock)
    sizes = [1000, 2000, 3000]
    for size in sizes:
        slot = probes.Slot(
            name="s", active=False, wal_status="reserved", retained_bytes=size, behind_bytes=0, safe_bytes=500
        )
        rates = growth.of((slot,))
        clock.now += 10
    assert rates == {"s": 100.0}
    assert growth.of(()) == {}


@pytest.mark.parametrize(
    ("status", "safe", "rate", "left"),
    [("reserved", 1000, 0.0, math.inf), ("reserved", 1000, -5.0, math.inf), ("reserved", None, 10.0, math.inf),
     ("lost", None, 0.0, 0.0), ("extended", 1000, 10.0, 100.0)],
)  # fmt: skip
def test_time_left(world: World, status: str, safe: int | None, rate: float, left: float) -> None:
    slot = probes.Slot(name="s", active=True, wal_status=status, retained_bytes=0, behind_bytes=0, safe_bytes=safe)
    source = probes.Source(**{**SOURCE.__dict__, "slots": (slot,)})
    world.parts["postgres"].value = SourceSeen(source=source, growth={"s": rate})
    world.poll()
    assert world.scrape()["cdc_slot_invalidation_seconds"] == {"slot=s": left}


def test_a_connection_is_kept_and_dropped_when_it_fails() -> None:
    opened: list[int] = []
    closed: list[int] = []
    answers: list[Callable[[], int]] = [lambda: 1, lambda: 2, lambda: 1 // 0, lambda: 4]

    def connect() -> int:
        opened.append(len(opened))
        return opened[-1]

    kept = Kept(connect, lambda _client: answers.pop(0)(), closed.append)
    assert (kept(), kept(), opened) == (1, 2, [0])
    with pytest.raises(ZeroDivisionError):
        kept()
    assert (kept(), opened, closed) == (4, [0, 1], [0])


class Message:
    """A message or the end of a partition."""

    def __init__(self, partition: int, at: float | None) -> None:
        self._partition = partition
        self._at = at

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return self._partition

    def error(self) -> str | None:
        return None if self._at else "end of partition"

    def timestamp(self) -> tuple[int, int]:
        return 1, int((self._at or 0) * 1000)


def test_lag_in_seconds_is_the_age_of_the_oldest_unread_message(monkeypatch: pytest.MonkeyPatch) -> None:
    class Consumer:
        messages = [Message(0, 100.0), Message(1, 60.0), Message(2, None)]  # noqa: RUF012 - one test's

        def __init__(self, _options: object) -> None: ...

        def assign(self, places: list[object]) -> None:
            assert len(places) == 3

        def unassign(self) -> None: ...

        def poll(self, _timeout: float) -> Message | None:
            return self.messages.pop(0) if self.messages else None

    monkeypatch.setattr("cdc.metrics_kafka.Consumer", Consumer)
    positions = [
        probes_kafka.Position(group="g", topic="t", partition=number, offset=5, lag=lag, above_oldest=5)
        for number, lag in ((0, 10), (1, 3), (2, 4), (3, 1))
    ]
    ages = LagReader({"bootstrap.servers": "kafka:9092"}).ages(positions, now=110.0)
    assert ages == {("g", "t"): 50.0}, json.dumps({str(key): value for key, value in ages.items()})
