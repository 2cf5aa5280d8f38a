"""Look at Kafka, once and cheaply: its partitions and where each consumer group stands, without a judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

INTERNAL = frozenset({"__consumer_offsets", "__transaction_state"})
"""Kafka's own topics: their leaders and replicas matter, their offsets don't."""
KAFKA_TIMEOUT = 10.0
"""Seconds for one admin call."""


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
