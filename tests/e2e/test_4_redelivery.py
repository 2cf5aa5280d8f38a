"""Whatever is delivered a second time, in whatever way: tables and aggregates stay equal to the source."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import requests
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from cdc.connect import ConnectClient
from cdc.waiting import Deadline
from tests.e2e.aggregates import wait_exact
from tests.e2e.running import Live, eventually

HISTORY = "SELECT count() FROM orders_final FINAL WHERE kafka_time IS NOT NULL"
"""Changes of orders that came from Kafka: a healed ghost did not."""


@pytest.fixture(autouse=True)
def _with_a_past(live: Live) -> Iterator[None]:
    """Rows with several versions each, deleted ones and moved ones, before; the truth afterwards."""
    live.stack.make("demo", DEMO_RATE="100", DEMO_SECONDS="5")
    live.source("UPDATE inventory.orders SET quantity = quantity + 1, order_time = order_time - interval '2 hours'"
                " WHERE id % 7 = 0")  # fmt: skip
    live.wait_equal()
    yield
    live.cdc("reconcile")
    live.wait_equal()
    wait_exact(live)


def test_consumer_groups_set_back_to_the_beginning(live: Live) -> None:
    expected = live.analytics(HISTORY)[0][0]
    with _seen_again(live, expected):
        printed = live.cdc("rewind")
    for table in ("customers", "heartbeat", "inventory", "orders", "products", "schema_changes", "shipments"):
        assert f"{table}: clickhouse_{table}_group is back at offset 0" in printed
    assert live.analytics(HISTORY)[0][0] == expected


def test_consumer_group_set_back_by_an_hour(live: Live) -> None:
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    lately = "SELECT count() FROM orders_final FINAL WHERE kafka_time > %(time)s"
    with _seen_again(live, live.analytics(lately, {"time": an_hour_ago})[0][0]):
        live.cdc("rewind", "--table", "inventory.orders", "--since", an_hour_ago.isoformat())


def test_a_topic_produced_a_second_time(live: Live) -> None:
    prefix = live.connections.outputs["topicPrefix"]
    with _seen_again(live, live.analytics(HISTORY)[0][0]):
        for table in live.tables:
            assert _produce_again(live, f"{prefix}.{table}") > 0


def test_connect_offsets_set_back(live: Live) -> None:
    """PostgreSQL goes on where the slot is, whatever earlier place the offset names: nothing is lost or doubled."""
    client, name = _client(live)
    (early,) = client.offsets(name)
    live.source("UPDATE inventory.orders SET quantity = quantity + 1 WHERE id % 2 = 0")
    live.wait_equal()
    changes = live.analytics(HISTORY)
    with _stopped(live):
        (late,) = client.offsets(name)
        assert late["offset"]["lsn"] > early["offset"]["lsn"]
        client.set_offset(name, early["partition"], early["offset"])
        assert client.offsets(name) == [early]
    _arrives(live)
    assert live.analytics(HISTORY) == [(changes[0][0] + 1,)]


def test_connect_offsets_deleted(live: Live) -> None:
    """The connector reads every row again, as it does at first; what it reads covers nothing newer."""
    client, name = _client(live)
    rows = live.source("SELECT count(*) FROM inventory.orders")[0][0]
    with _seen_again(live, rows), _stopped(live):
        answer = requests.delete(f"{live.connections.connect_url}/connectors/{name}/offsets", timeout=30)
        answer.raise_for_status()
        assert client.offsets(name) == []
    _arrives(live)


def _client(live: Live) -> tuple[ConnectClient, str]:
    return ConnectClient(live.connections.connect_url, Deadline(240)), str(live.connections.outputs["connectorName"])


class _stopped:  # noqa: N801 - reads as a word where it is used
    """The connector in state STOPPED for the length of a block: only then its offsets can be changed."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.client, self.name = _client(live)

    def __enter__(self) -> None:
        self.client.act(self.name, "stop")
        eventually(
            lambda: self.client.status(self.name).connector == "STOPPED" and not self.client.status(self.name).tasks,
            60,
            "STOPPED",
        )
        eventually(
            lambda: self.live.source("SELECT active FROM pg_replication_slots") == [(False,)], 60, "the slot is free"
        )

    def __exit__(self, *_: object) -> None:
        self.client.act(self.name, "resume")
        self.client.wait_running(self.name)


class _seen_again:  # noqa: N801 - reads as a word where it is used
    """After the block ClickHouse stores at least ``count`` changes of orders that it already had."""

    def __init__(self, live: Live, count: int) -> None:
        self.live, self.count = live, count

    def __enter__(self) -> None:
        assert self.count > 0
        self.newest = self.live.analytics("SELECT max(id) FROM orders_final")[0][0]
        self.started = self.live.analytics("SELECT now64(3, 'UTC')")[0][0]

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            return
        query = "SELECT count() FROM orders_final WHERE _synced_at > %(started)s AND id <= %(newest)s"
        values = {"started": self.started.replace(tzinfo=None), "newest": self.newest}
        eventually(
            lambda: self.live.analytics(query, values)[0][0] >= self.count, 90, f"{self.count} changes stored again"
        )


def _arrives(live: Live) -> None:
    order = int(
        live.source(
            "INSERT INTO inventory.orders (purchaser, product_id, quantity, unit_price)"
            " SELECT purchaser, product_id, 1, 1.00 FROM inventory.orders ORDER BY id LIMIT 1 RETURNING id"
        )[0][0]
    )
    eventually(lambda: live.arrived(order), 90, "a row written afterwards")


def _produce_again(live: Live, topic: str) -> int:
    """Send every message of a topic once more, unchanged; returns how many."""
    server = {"bootstrap.servers": live.connections.outputs["kafkaBootstrap"]}
    producer, sent = Producer(server), 0
    for message in _messages(server, topic):
        producer.produce(topic, message.value(), message.key(), message.partition())
        sent += 1
        if sent % 1000 == 0:
            producer.flush(30)
    assert producer.flush(30) == 0
    return sent


def _messages(server: dict[str, str], topic: str) -> list[Message]:
    reader = Consumer({**server, "group.id": "test-again", "enable.auto.commit": False, "enable.partition.eof": True,
                       "isolation.level": "read_committed"})  # fmt: skip
    partitions = reader.list_topics(topic, timeout=10).topics[topic].partitions
    reader.assign([TopicPartition(topic, number, 0) for number in partitions])
    found, ended, limit = [], set[int](), time.monotonic() + 60
    while len(ended) < len(partitions):
        assert time.monotonic() < limit, f"{topic} was not read to its end"
        for message in reader.consume(1000, timeout=0.5):
            error = message.error()
            if error is None:
                found.append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                ended.add(message.partition())
    reader.close()
    return found
