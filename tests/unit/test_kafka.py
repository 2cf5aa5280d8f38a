"""Topic decisions that need no broker; the rest runs in tests/e2e."""

from __future__ import annotations

import pytest

from cdc.kafka import KafkaAdmin, KafkaError, KafkaUnreachableError, Topic, _refuse
from cdc.waiting import Deadline
from components.providers.kafka_topics import KafkaTopicsProvider

INPUTS = {"bootstrap": "127.0.0.1:9", "topics": {"t": {"partitions": 3.0, "replication": 1.0, "config": {"a": "1"}}}}


def test_shrinking_and_rereplication_are_refused_together() -> None:
    wanted = {"a": Topic(partitions=1, replication=1), "b": Topic(partitions=3, replication=3)}
    actual = {"a": Topic(partitions=3, replication=1), "b": Topic(partitions=3, replication=1)}
    with pytest.raises(KafkaError) as caught:
        _refuse(wanted, actual)
    assert "a: 3 partitions can't become 1" in str(caught.value)
    assert "Set kafkaPartitions to 3 or more" in str(caught.value)
    assert "b: has 1 replicas, not 3" in str(caught.value)
    _refuse(actual, actual)


def test_no_broker_ends_at_the_deadline() -> None:
    deadline = Deadline(1.5)
    with pytest.raises(KafkaUnreachableError, match=r"127\.0\.0\.1:9 did not answer within 2 s"):
        KafkaAdmin("127.0.0.1:9", deadline).cluster_id()


def test_diff_sees_missing_and_changed_topics() -> None:
    provider = KafkaTopicsProvider()
    same = {**INPUTS, "topics": {"t": {"partitions": "3", "replication": 1, "config": {"a": "1"}}}}
    assert provider.diff("x", INPUTS, same).changes is False
    assert provider.diff("x", {**INPUTS, "topics": {}}, INPUTS).changes is True
    fewer = {**INPUTS, "topics": {"t": {"partitions": 1, "replication": 1, "config": {"a": "1"}}}}
    assert provider.diff("x", fewer, INPUTS).changes is True


def test_delete_keeps_data_unless_told() -> None:
    KafkaTopicsProvider().delete("x", dict(INPUTS))
