"""`KafkaTopics`: the topics of the change stream, made explicitly because brokers don't make them here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from cdc.kafka import KafkaAdmin, KafkaUnreachableError, Topic
from components.providers import base

PROVIDER_VERSION = "1"
"""Bumped when every topic is to be looked at again although no input changed."""
COMPARED = ("bootstrap", "topics", "triggers", "provider_version")
READ_SECONDS = 10.0


class KafkaTopicsProvider(base.Provider):
    """Creates, grows and reconfigures; data goes only where ``delete_topics`` says so."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Only whether all is given."""
        return CheckResult(dict(news), base.required(news, ("bootstrap", "topics")))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Changed inputs and what `refresh` found different; never a replacement, which would lose data."""
        return DiffResult(changes=bool(base.changed(olds, news, (*COMPARED, "delete_topics"))))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make what is missing; topics that exist are adopted."""
        outs = _ensure(props, {})
        return CreateResult(str(outs["cluster_id"]), outs)

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Grow and reconfigure. Topics that left the inputs stay, with their data."""
        before, after = _topics(olds), _topics(news)
        unset = {name: before[name].config.keys() - after[name].config.keys() for name in before if name in after}
        if left := sorted(before.keys() - after.keys()):
            print(f"kafka: kept though no longer wanted: {', '.join(left)}", flush=True)
        return UpdateResult(_ensure(news, unset))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """The topics as they are; a missing one is missing here too, so that `up` makes it again."""
        with base.explained(_title(props)):
            admin = KafkaAdmin(base.text(props, "bootstrap"), base.Deadline(READ_SECONDS))
            try:
                actual = admin.topics(_topics(props))
            except KafkaUnreachableError as error:
                # Nothing is known, so nothing is as wanted: the next `up` looks again.
                print(f"kafka: {error}", flush=True)
                actual = {}
        topics = {name: {**asdict(topic), "config": dict(topic.config)} for name, topic in actual.items()}
        return ReadResult(id_, {**props, "topics": topics})

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        """Forget the topics, or delete them with their data where ``delete_topics`` is set."""
        if base.flag(props, "delete_topics"):
            with base.explained(_title(props)):
                deleted = KafkaAdmin(base.text(props, "bootstrap"), base.Deadline(60)).delete(_topics(props))
                print(f"kafka: deleted {', '.join(deleted) or 'nothing'}", flush=True)


def _ensure(props: Mapping[str, Any], unset: Mapping[str, set[str]]) -> dict[str, Any]:
    with base.explained(_title(props)):
        admin = KafkaAdmin(base.text(props, "bootstrap"), base.Deadline(base.integer(props, "timeout_seconds", 300)))
        for line in admin.ensure(_topics(props), unset=unset):
            print(f"kafka: {line}", flush=True)
        cluster = admin.cluster_id()
    return {**{key: value for key, value in props.items() if key != "__provider"}, "cluster_id": cluster}


def _topics(props: Mapping[str, Any]) -> dict[str, Topic]:
    return {
        name: Topic(
            partitions=base.integer(topic, "partitions"),
            replication=base.integer(topic, "replication"),
            config={key: base.text(topic["config"], key) for key in topic.get("config") or {}},
        )
        for name, topic in base.mapping(props, "topics").items()
    }


def _title(props: Mapping[str, Any]) -> str:
    return f"KafkaTopics at {base.text(props, 'bootstrap')}"


@dataclass(frozen=True, kw_only=True)
class KafkaTopicsArgs:
    """``topics`` maps a name to ``partitions``, ``replication`` and ``config`` (Kafka's topic settings)."""

    bootstrap: pulumi.Input[str]
    topics: pulumi.Input[dict[str, Any]]
    delete_topics: pulumi.Input[bool] = False
    timeout_seconds: pulumi.Input[int] = 300
    triggers: pulumi.Input[list[str]] | None = None


class KafkaTopics(Resource, module="cdc", name="KafkaTopics"):
    """Topics that exist, with as many partitions and the settings that are wanted."""

    topics: pulumi.Output[dict[str, Any]]
    cluster_id: pulumi.Output[str]

    def __init__(self, name: str, *, args: KafkaTopicsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        props = {**vars(args), "provider_version": PROVIDER_VERSION, "cluster_id": None}
        super().__init__(KafkaTopicsProvider(), name, props, opts)
