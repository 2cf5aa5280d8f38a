"""Names are derived once, from the settings."""

from __future__ import annotations

from components.names import Names
from components.settings import Settings


def names(**values: object) -> Names:
    return Names(settings=Settings.from_mapping(values))


def test_topics_of_a_stack() -> None:
    topics = {topic.name: topic for topic in names(kafkaPartitions=6, kafkaRetentionHours=2).topics()}
    tables = ("customers", "products", "orders", "inventory", "shipments")
    assert set(topics) == {
        *(f"postgres-server.inventory.{table}" for table in tables),
        "postgres-server.heartbeat",
        "postgres-server.schema-changes",
        "postgres-server.cdc.signal",
        "__debezium-heartbeat.postgres-server",
    }
    orders = topics["postgres-server.inventory.orders"]
    assert orders.partitions == 6
    assert orders.config["retention.ms"] == "7200000"
    assert topics["postgres-server.heartbeat"].partitions == 1


def test_each_table_has_its_topic() -> None:
    both = names(tables=["inventory.orders", "sales.returns"], topicPrefix="shop").topics()
    assert {"shop.inventory.orders", "shop.sales.returns"} <= {topic.name for topic in both}


def test_two_stacks_on_one_host_differ_by_prefix() -> None:
    assert names().resource("kafka") == "kafka"
    assert names(namePrefix="e2e-").resource("kafka") == "e2e-kafka"
