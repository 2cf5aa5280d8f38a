"""Topics and consumer groups as metrics, under the names of the Kafka exporter, which runs where it can be had."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from prometheus_client.core import Metric

from cdc.metrics import gauge, plain
from cdc.probes_kafka import Kafka, Partition, Position

GroupTopic = tuple[str, str]
MARKERS = 1
"""A transaction's end mark occupies an offset: a group that has read everything stands one behind."""
READ_SECONDS = 3.0


def cluster(seen: Kafka) -> Iterator[Metric]:
    """Brokers, topics and groups: the Kafka exporter's metrics."""
    yield plain("kafka_brokers", "Brokers in the cluster", seen.brokers)
    topics = Counter(partition.topic for partition in seen.partitions)
    counted = [((topic,), float(count)) for topic, count in topics.items()]
    yield gauge("kafka_topic_partitions", "Partitions of the topic", ["topic"], counted)
    labels = ["topic", "partition"]
    text = "Offset that the next message gets"
    yield gauge("kafka_topic_partition_current_offset", text, labels, _places(seen.partitions, "newest"))
    text = "Offset of the oldest message that is kept"
    yield gauge("kafka_topic_partition_oldest_offset", text, labels, _places(seen.partitions, "oldest"))
    short = [((p.topic, str(p.number)), float(p.in_sync < p.replicas)) for p in seen.partitions]
    text = "1 when a replica is not in sync"
    yield gauge("kafka_topic_partition_under_replicated_partition", text, labels, short)
    labels = ["consumergroup", "topic", "partition"]
    offsets = [((p.group, p.topic, str(p.partition)), float(p.offset)) for p in seen.positions]
    yield gauge("kafka_consumergroup_current_offset", "Offset up to which the group has read", labels, offsets)
    behind = [((p.group, p.topic, str(p.partition)), float(p.lag)) for p in seen.positions]
    yield gauge("kafka_consumergroup_lag", "Messages that the group has not read", labels, behind)
    sums: Counter[GroupTopic] = Counter()
    for position in seen.positions:
        sums[position.group, position.topic] += position.lag
    text = "Messages of the topic that the group has not read"
    values = [(key, float(lag)) for key, lag in sums.items()]
    yield gauge("kafka_consumergroup_lag_sum", text, ["consumergroup", "topic"], values)
    members = [((group,), float(count)) for group, count in seen.members.items()]
    yield gauge("kafka_consumergroup_members", "Consumers of the group", ["consumergroup"], members)


def lag_seconds(ages: Mapping[GroupTopic, float]) -> Metric:
    """How long the oldest unread message of each topic waits."""
    text = "Age of the oldest message that the group has not read; 0 when it has read all"
    return gauge("cdc_consumer_lag_seconds", text, ["consumergroup", "topic"], list(ages.items()))


def _places(partitions: Sequence[Partition], attribute: str) -> list[tuple[tuple[str, str], float]]:
    return [((p.topic, str(p.number)), float(getattr(p, attribute))) for p in partitions]


class LagReader:
    """Reads the first unread message of each lagging partition for its time; commits nothing, joins no group."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._consumer: Any = Consumer(
            {
                **options,
                "group.id": "cdc-exporter-reads-only",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.message.max.bytes": 65536,
            }
        )

    def ages(self, positions: Sequence[Position], *, now: float | None = None) -> dict[GroupTopic, float]:
        """Seconds that the oldest unread message of each group and topic has waited."""
        ages = {(position.group, position.topic): 0.0 for position in positions}
        # Two groups may stand at one place of one topic: the message there is read once for both.
        lagging = [position for position in positions if position.lag > MARKERS]
        for group in sorted({position.group for position in lagging}):
            of_group = [position for position in lagging if position.group == group]
            times = self._times(of_group)
            for position in of_group:
                if written := times.get((position.topic, position.partition)):
                    age = max(0.0, (now or time.time()) - written)
                    ages[group, position.topic] = max(ages[group, position.topic], age)
        return ages

    def _times(self, positions: Sequence[Position]) -> dict[tuple[str, int], float]:
        """When the first readable message at each position was written; only end marks behind it: none."""
        wanted = {(position.topic, position.partition) for position in positions}
        self._consumer.assign([TopicPartition(p.topic, p.partition, p.offset) for p in positions])
        times: dict[tuple[str, int], float] = {}
        end = time.monotonic() + READ_SECONDS
        while wanted and time.monotonic() < end:
            message = self._consumer.poll(0.2)
            if message is None:
                continue
            place = (message.topic(), message.partition())
            wanted.discard(place)
            if message.error() is None and place not in times:
                times[place] = message.timestamp()[1] / 1000
        self._consumer.unassign()
        return times
