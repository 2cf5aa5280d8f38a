"""Know that ClickHouse has everything that PostgreSQL had committed up to a point, on a system that runs on.

The connector has one task, which passes transactions on in the order of their commits, in Kafka transactions. So when a
heartbeat written after the point can be read from Kafka, everything committed before it is there, too, in every topic;
and what a topic then ends with is in ClickHouse once the consumer group of its Kafka table has stored that offset.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from clickhouse_driver import Client
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from cdc.waiting import Deadline

CALL_SECONDS = 10.0
TAIL = 16
"""Offsets before the end where the last message is looked for first: markers of transactions take offsets, too."""
HEARTBEAT = "heartbeat"
PROGRESS_SECONDS = 5.0
_SETTING = re.compile(r"(\w+) = '([^']*)'")


class FenceError(Exception):
    """It can't be told that ClickHouse has it all; the message says which part stands still."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A Kafka table of ClickHouse: ``table`` is what it feeds."""

    table: str
    topic: str
    group: str


def queues(client: Client) -> dict[str, Queue]:
    """The Kafka tables of the client's database by the table they feed."""
    query = "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase() AND engine = 'Kafka'"
    found = {}
    for name, engine in client.execute(query):
        settings = dict(_SETTING.findall(engine))
        table = str(name).removesuffix("_queue")
        found[table] = Queue(table=table, topic=settings["kafka_topic_list"], group=settings["kafka_group_name"])
    return found


class Fence:
    """Waits until ClickHouse is past a position. One object for a run; close it."""

    def __init__(self, kafka: Mapping[str, Any], queues_: Mapping[str, Queue]) -> None:
        """``kafka`` are the client options of ``Connections.kafka``."""
        self._queues = queues_
        self._bootstrap = kafka["bootstrap.servers"]
        self._admin = AdminClient(dict(kafka))
        self._consumer = Consumer(
            {
                **kafka,
                "group.id": "cdc-fence",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                # The end of a partition is told after a fetch that found nothing: that shall not wait for more.
                "fetch.wait.max.ms": 20,
            }
        )

    def close(self) -> None:
        """Let go of the brokers."""
        with suppress(KafkaException, RuntimeError):
            self._consumer.close()

    def wait(self, position: int, tables: Iterable[str], deadline: Deadline, report: Callable[[str], None]) -> None:
        """Return when ClickHouse has all that was committed before WAL ``position``; raises FenceError."""
        try:
            self._wait_for_kafka(position, deadline, report)
            wanted = [self._queues[table] for table in tables]
            self._wait_for_clickhouse(wanted, self.ends([queue.topic for queue in wanted]), deadline, report)
        except KafkaException as error:
            raise FenceError(f"Kafka at {self._bootstrap}: {error.args[0].str()}") from None

    def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """For each partition the offset behind its last committed message; 0 for an empty one."""
        bounds = {}
        for topic in topics:
            metadata = self._consumer.list_topics(topic, timeout=CALL_SECONDS).topics[topic]
            for partition in metadata.partitions:
                place = TopicPartition(topic, partition)
                bounds[topic, partition] = self._consumer.get_watermark_offsets(place, timeout=CALL_SECONDS)
        return self._last_messages(bounds, TAIL)

    def _last_messages(
        self, bounds: Mapping[tuple[str, int], tuple[int, int]], tail: int
    ) -> dict[tuple[str, int], int]:
        """Read the last ``tail`` offsets of each partition, and further back where they hold only markers."""
        found = dict.fromkeys(bounds, 0)
        starts = {place: max(low, high - tail) for place, (low, high) in bounds.items()}
        reading = {place for place, (_, high) in bounds.items() if starts[place] < high}
        self._consumer.assign([TopicPartition(*place, starts[place]) for place in reading])
        deadline = Deadline(CALL_SECONDS)
        unread = set(reading)
        while unread:
            for message in self._consumer.consume(500, timeout=0.05):
                place = (message.topic(), message.partition())
                if message.error() is None:
                    found[place] = message.offset() + 1
                elif message.error().code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(message.error())
                if message.error() is not None or message.offset() + 1 >= bounds[place][1]:
                    unread.discard(place)
            if deadline.expired:
                raise FenceError(f"the end of {sorted(unread)} could not be read within {deadline.seconds:.0f} s")
        further = {place: bounds[place] for place in reading if not found[place] and starts[place] > bounds[place][0]}
        return {**found, **(self._last_messages(further, tail * 16) if further else {})}

    def _wait_for_kafka(self, position: int, deadline: Deadline, report: Callable[[str], None]) -> None:
        if HEARTBEAT not in self._queues:
            raise FenceError("ClickHouse has no heartbeat_queue: run `make up`, which makes it")
        topic = self._queues[HEARTBEAT].topic
        low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=CALL_SECONDS)
        self._consumer.assign([TopicPartition(topic, 0, max(low, high - TAIL))])
        told = Deadline(PROGRESS_SECONDS)
        seen = 0
        while seen <= position:
            for message in self._consumer.consume(100, timeout=0.05):
                if message.error() is None:
                    seen = max(seen, _lsn(message.value()))
            if told.expired:
                report(f"waiting for the connector: it is at {lsn_text(seen)}, the fence at {lsn_text(position)}")
                told = Deadline(PROGRESS_SECONDS)
            if deadline.expired:
                raise FenceError(
                    f"no heartbeat from beyond {lsn_text(position)} reached Kafka within {deadline.seconds:.0f} s (the"
                    f" last is of {lsn_text(seen)}): the connector is behind or down. `make status` shows its state"
                )

    def _wait_for_clickhouse(
        self,
        wanted: Sequence[Queue],
        ends: Mapping[tuple[str, int], int],
        deadline: Deadline,
        report: Callable[[str], None],
    ) -> None:
        told = Deadline(PROGRESS_SECONDS)
        while True:
            lag = {}
            for queue in wanted:
                stored = self.stored(queue.group)
                behind = sum(
                    max(0, end - stored.get(place, 0)) for place, end in ends.items() if place[0] == queue.topic
                )
                if behind:
                    lag[queue.table] = behind
            if not lag:
                return
            shown = ", ".join(f"{table} {count:,}" for table, count in sorted(lag.items()))
            if told.expired:
                report(f"waiting for ClickHouse, messages to read: {shown}")
                told = Deadline(PROGRESS_SECONDS)
            if deadline.expired:
                raise FenceError(
                    f"ClickHouse did not catch up within {deadline.seconds:.0f} s, messages to read: {shown}. "
                    "system.kafka_consumers shows why; or allow more time"
                )
            deadline.sleep(0.1)

    def stored(self, group: str) -> dict[tuple[str, int], int]:
        """Offsets that a consumer group has stored."""
        answer = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
        found: Any = answer[group].result(timeout=CALL_SECONDS)
        return {
            (place.topic, place.partition): place.offset
            for place in found.topic_partitions
            if place.offset not in (OFFSET_INVALID, None)
        }


def lsn_text(position: int) -> str:
    """A WAL position as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def _lsn(value: bytes | None) -> int:
    try:
        return int(json.loads(value or b"{}")["source"]["lsn"])
    except (ValueError, KeyError, TypeError):
        return 0
