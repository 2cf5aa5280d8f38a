"""The connector's configuration as a function of the settings."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.configs.connector import ConnectorConfigArgs, connector_config
from components.names import Names
from components.settings import Settings


def build(generated: list[str] | None = None, **values: Any) -> dict[str, str]:
    settings = Settings.from_mapping(values)
    args = ConnectorConfigArgs(
        host="postgres-source", port=5432, database="inventory", generated_columns=generated or [], settings=settings
    )
    return connector_config(args)


def test_all_values_are_text_and_no_password_is_in_them() -> None:
    config = build(["inventory.orders.total_amount"])
    assert {type(value) for value in config.values()} == {str}
    assert config["database.password"].startswith("${file:")
    assert "name" not in config


def test_captured_tables_and_what_is_left_out() -> None:
    config = build(["inventory.orders.total_amount"], tables=["inventory.orders", "inventory.products"])
    assert config["table.include.list"] == "inventory.orders,inventory.products,cdc.heartbeat,cdc.schema_changes"
    assert config["column.exclude.list"] == "inventory.orders.total_amount"
    assert config["signal.data.collection"] == "cdc.signal"
    assert "column.exclude.list" not in build()


def test_message_keys() -> None:
    assert build()["message.key.columns"] == "inventory.orders:purchaser"
    assert "message.key.columns" not in build(messageKeys={})


def test_position_options_are_one_triple_and_absent_before_3_4() -> None:
    new, old = build(), build(debeziumVersion="2.6.0.Final")
    assert (new["snapshot.mode"], new["lsn.flush.mode"], new["offset.mismatch.strategy"]) == (
        "initial", "connector", "trust_offset",
    )  # fmt: skip
    assert not {"lsn.flush.mode", "offset.mismatch.strategy"} & old.keys()


@pytest.mark.parametrize("prefix", ["postgres-server", "shop.v2"])
def test_routes_fit_their_topic_only(prefix: str) -> None:
    config = build(topicPrefix=prefix)
    names = Names(settings=Settings.from_mapping({"topicPrefix": prefix}))
    topics = {topic.name for topic in names.topics()}
    for route in config["transforms"].split(","):
        pattern = re.compile(config[f"transforms.{route}.regex"])
        assert config[f"transforms.{route}.replacement"] in topics, "a route must end in a topic that is made"
        matching = [table for table in ("heartbeat", "schema_changes") if pattern.fullmatch(f"{prefix}.cdc.{table}")]
        assert len(matching) == 1
        assert not any(pattern.fullmatch(topic) for topic in topics)
    assert not re.fullmatch(config["transforms.heartbeat.regex"], f"{prefix}.cdcxheartbeat")


def test_nulls_are_not_replaced_by_defaults() -> None:
    assert build()["value.converter.replace.null.with.default"] == "false"


def test_overrides_win() -> None:
    config = build(connectorOverrides={"poll.interval.ms": "7", "custom": "x"}, pollIntervalMs=99)
    assert (config["poll.interval.ms"], config["custom"]) == ("7", "x")
