"""Kafka topics as desired state: created explicitly, grown and reconfigured in place, never shrunk or emptied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from cdc.waiting import Deadline

CALL_TIMEOUT = 10.0


class KafkaError(Exception):
    """The cluster can't be used as asked; the text names the topics and the cure."""


class KafkaUnreachableError(KafkaError):
    """No broker answered before the deadline."""


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic; ``config`` holds Kafka's topic settings as text."""

    partitions: int
    replication: int
    config: Mapping[str, str] = field(default_factory=dict)


class KafkaAdmin:
    """Admin calls against the cluster at ``bootstrap``; ``deadline`` bounds all of them together."""

    def __init__(self, bootstrap: str, deadline: Deadline) -> None:
        self._bootstrap = bootstrap
        self._deadline = deadline
        # Connection refusals while a broker starts are expected here; the deadline reports them once.
        self._admin = AdminClient(
            {"bootstrap.servers": bootstrap, "log_level": 0, "socket.timeout.ms": 10000, "error_cb": _ignore}
        )

    def cluster_id(self) -> str:
        """The cluster's id; waits for a broker. Raises KafkaUnreachableError."""
        return str(self._metadata().cluster_id)

    def topics(self, wanted: Mapping[str, Topic]) -> dict[str, Topic]:
        """Those of the ``wanted`` topics that exist, as they are; of the settings only the wanted keys."""
        found = self._metadata().topics
        there = [name for name in wanted if name in found and found[name].error is None]
        configs = self._configs(there)
        return {
            name: Topic(
                partitions=len(found[name].partitions),
                replication=min((len(part.replicas) for part in found[name].partitions.values()), default=0),
                config={key: configs[name][key] for key in wanted[name].config if key in configs[name]},
            )
            for name in there
        }

    def ensure(self, wanted: Mapping[str, Topic], *, unset: Mapping[str, Iterable[str]] | None = None) -> list[str]:
        """Bring the topics to ``wanted``; settings in ``unset`` (by topic) go back to the broker's default.

        Returns what was done. Raises KafkaError with every refusal before anything is changed.
        """
        actual = self.topics(wanted)
        _refuse(wanted, actual)
        missing = {name: topic for name, topic in wanted.items() if name not in actual}
        growing = {name: topic for name, topic in wanted.items() if _grows(topic, actual.get(name))}
        self._create(missing)
        self._grow(growing)
        changes = [self._alteration(name, topic, actual.get(name), unset or {}) for name, topic in wanted.items()]
        changes = [change for change in changes if change.incremental_configs]
        if changes:
            self._finish("alter the settings of", self._admin.incremental_alter_configs(changes))
        self._wait_for_leaders(wanted)
        return (
            [f"topic {name} created ({topic.partitions} partitions)" for name, topic in missing.items()]
            + [f"topic {name} grown to {topic.partitions} partitions" for name, topic in growing.items()]
            + [f"topic {change.name} reconfigured" for change in changes if change.name not in missing]
        )

    def delete(self, names: Iterable[str]) -> list[str]:
        """Delete topics with their data; absent ones are passed over. Returns the deleted names."""
        found = self._metadata().topics
        there = [name for name in names if name in found]
        if there:
            self._finish("delete", self._admin.delete_topics(there))
        return there

    def _create(self, topics: Mapping[str, Topic]) -> None:
        if topics:
            new = [
                NewTopic(name, topic.partitions, topic.replication, config=dict(topic.config))
                for name, topic in topics.items()
            ]
            self._finish("create", self._admin.create_topics(new))

    def _grow(self, topics: Mapping[str, Topic]) -> None:
        if topics:
            new = [NewPartitions(name, topic.partitions) for name, topic in topics.items()]
            self._finish("add partitions to", self._admin.create_partitions(new))

    def _alteration(
        self, name: str, topic: Topic, actual: Topic | None, unset: Mapping[str, Iterable[str]]
    ) -> ConfigResource:
        """The settings of one topic that must change; empty when none."""
        entries = []
        if actual is not None:
            entries = [
                ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
                for key, value in topic.config.items()
                if actual.config.get(key) != value
            ]
            entries += [
                ConfigEntry(key, None, incremental_operation=AlterConfigOpType.DELETE)
                for key in unset.get(name, ())
                if key not in topic.config
            ]
        return ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)

    def _configs(self, names: list[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        futures = self._admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
        results = self._finish("read the settings of", {resource.name: each for resource, each in futures.items()})
        return {
            name: {key: entry.value for key, entry in entries.items() if entry.value is not None}
            for name, entries in results.items()
        }

    def _finish(self, verb: str, futures: Mapping[Any, Future[Any]]) -> dict[str, Any]:
        """Results of all futures; every failure in one KafkaError."""
        results, failures = {}, []
        for key, future in futures.items():
            name = key if isinstance(key, str) else key.name
            try:
                results[name] = future.result(timeout=max(1.0, min(30.0, self._deadline.remaining)))
            except KafkaException as error:
                failures.append(f"  {name}: {error.args[0].str()}")
            except TimeoutError:
                failures.append(f"  {name}: no answer in time")
        if failures:
            raise KafkaError(f"Kafka at {self._bootstrap} could not {verb} topics:\n" + "\n".join(failures))
        return results

    def _metadata(self) -> Any:  # noqa: ANN401 - confluent_kafka has no types
        attempt = 0
        while True:
            try:
                return self._admin.list_topics(timeout=max(1.0, min(CALL_TIMEOUT, self._deadline.remaining)))
            except KafkaException as error:
                if self._deadline.expired:
                    raise KafkaUnreachableError(
                        f"Kafka at {self._bootstrap} did not answer within {self._deadline.seconds:.0f} s: "
                        f"{error.args[0].str()}. Check that the broker runs and that its port is published."
                    ) from None
            self._deadline.pause(attempt)
            attempt += 1

    def _wait_for_leaders(self, wanted: Mapping[str, Topic]) -> None:
        """A new topic can't be written until each partition has a leader."""
        while True:
            found = self._metadata().topics
            unready = [name for name, topic in wanted.items() if not _ready(found.get(name), topic.partitions)]
            if not unready:
                return
            if self._deadline.expired:
                raise KafkaError(f"topics without a leader after {self._deadline.seconds:.0f} s: {', '.join(unready)}")
            self._deadline.sleep(0.2)


def _ready(found: Any, partitions: int) -> bool:  # noqa: ANN401
    return (
        found is not None
        and found.error is None
        and len(found.partitions) >= partitions
        and all(part.leader >= 0 for part in found.partitions.values())
    )


def _grows(topic: Topic, actual: Topic | None) -> bool:
    return actual is not None and topic.partitions > actual.partitions


def _refuse(wanted: Mapping[str, Topic], actual: Mapping[str, Topic]) -> None:
    """Stop at what Kafka can't do without losing data or order."""
    refusals = []
    for name, there in actual.items():
        topic = wanted[name]
        if topic.partitions < there.partitions:
            refusals.append(
                f"  {name}: {there.partitions} partitions can't become {topic.partitions}; Kafka never removes "
                f"partitions. Set kafkaPartitions to {there.partitions} or more, or use another topicPrefix."
            )
        if topic.replication != there.replication:
            refusals.append(
                f"  {name}: has {there.replication} replicas, not {topic.replication}; reassign its partitions with "
                "kafka-reassign-partitions.sh, then run again."
            )
    if refusals:
        raise KafkaError("topics that can't be changed this way:\n" + "\n".join(refusals))


def _ignore(_error: object) -> None:
    """Connection errors reach the caller through the deadline."""
