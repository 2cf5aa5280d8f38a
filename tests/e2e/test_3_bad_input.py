"""A wrong input gives one clear message that names the thing and the cure; the next good ``make up`` goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.running import ROOT, Live, eventually, listening_on


@pytest.fixture(autouse=True)
def _settings_as_before(live: Live) -> Iterator[None]:
    yield
    live.stack.write_config()


@pytest.fixture
def mended(live: Live) -> Iterator[None]:
    """After the test, a good configuration comes up again and the data is right."""
    yield
    live.stack.write_config()
    live.stack.make("up")
    assert live.stack.planned_changes() == []
    live.wait_equal()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"kafkaPartition": 3}, "did you mean cdc:kafkaPartitions?"),
        ({"kafkaPort": 99999}, "cdc:kafkaPort = 99999"),
        ({"platform": "kubernetes"}, "cdc:kubernetes.storageClass"),
    ],
)
def test_wrong_settings_are_refused(live: Live, config: dict[str, Any], expected: str) -> None:
    live.stack.write_config(config)
    assert expected in live.stack.make("up", expect=1, timeout=120)


def test_a_port_in_use_is_named_with_who_has_it(live: Live) -> None:
    with listening_on(28999):
        live.stack.write_config({"connectPort": 28999})
        printed = live.stack.make("up", expect=1, timeout=120)
    assert "port 28999 is in use" in printed
    assert f"(pid {os.getpid()})" in printed
    assert "pulumi config set connectPort" in printed


@pytest.mark.usefixtures("mended")
def test_a_table_without_a_key_and_one_that_is_missing_are_both_listed(live: Live) -> None:
    live.source("CREATE TABLE inventory.keyless (a int)")
    try:
        live.stack.write_config({"tables": ["inventory.orders", "inventory.keyless", "inventory.nowhere"]})
        printed = live.stack.make("up", expect=1, timeout=300)
    finally:
        live.source("DROP TABLE inventory.keyless")
    assert "inventory.keyless" in printed
    assert "PRIMARY KEY" in printed
    assert "inventory.nowhere" in printed


@pytest.mark.usefixtures("mended")
def test_an_edited_applied_migration_is_refused(live: Live) -> None:
    path = next((ROOT / "sql" / "clickhouse").glob("0001_*.sql"))
    with edited(path, path.read_text() + "\n-- changed afterwards\n"):
        printed = live.stack.make("up", expect=1, timeout=300)
    assert path.name in printed


@pytest.mark.usefixtures("mended")
def test_an_invalid_sql_file_is_named_with_its_statement(live: Live) -> None:
    path = ROOT / "sql" / "clickhouse" / "9000_broken.sql"
    with edited(path, "CREATE TABLE {{database}}.broken (a Int32) ENGINE = NoSuchEngine;\n"):
        printed = live.stack.make("up", expect=1, timeout=300)
    assert "9000_broken.sql" in printed
    assert "NoSuchEngine" in printed


@pytest.mark.usefixtures("mended")
def test_a_wrong_password_is_named_by_user(live: Live) -> None:
    live.source("ALTER ROLE debezium_user PASSWORD 'not what the stack knows'")
    url = f"{live.connections.connect_url}/connectors/{live.connections.outputs['connectorName']}/restart"
    requests.post(url, params={"includeTasks": "true"}, timeout=30).raise_for_status()
    eventually(lambda: live.connector()["tasks"][0]["state"] == "FAILED", 120, "the task fails")
    assert "debezium_user" in live.connector()["tasks"][0]["trace"]
    live.stack.pulumi("refresh", "--yes", "--skip-preview", "--non-interactive")
    assert live.stack.planned_changes() != []


def test_a_connector_paused_outside_is_seen_and_mended(live: Live) -> None:
    url = f"{live.connections.connect_url}/connectors/{live.connections.outputs['connectorName']}"
    requests.put(f"{url}/pause", timeout=30).raise_for_status()
    eventually(lambda: live.connector()["connector"]["state"] == "PAUSED", 30, "paused")
    live.stack.pulumi("refresh", "--yes", "--skip-preview", "--non-interactive")
    live.stack.make("up")
    assert live.connector()["connector"]["state"] == "RUNNING"
    live.wait_equal()


def test_a_connector_changed_outside_is_seen_and_mended(live: Live) -> None:
    url = f"{live.connections.connect_url}/connectors/{live.connections.outputs['connectorName']}/config"
    config = requests.get(url, timeout=30).json()
    requests.put(url, json={**config, "poll.interval.ms": "999"}, timeout=30).raise_for_status()
    live.stack.pulumi("refresh", "--yes", "--skip-preview", "--non-interactive")
    assert live.stack.planned_changes() == ["update pulumi-python:dynamic/cdc:DebeziumConnector"]
    live.stack.make("up")
    assert requests.get(url, timeout=30).json()["poll.interval.ms"] == config["poll.interval.ms"]


def test_a_connector_deleted_outside_is_made_again_and_goes_on(live: Live) -> None:
    url = f"{live.connections.connect_url}/connectors/{live.connections.outputs['connectorName']}"
    requests.delete(url, timeout=30).raise_for_status()
    live.source("UPDATE inventory.orders SET quantity = quantity + 1 WHERE id = (SELECT min(id) FROM inventory.orders)")
    live.stack.pulumi("refresh", "--yes", "--skip-preview", "--non-interactive")
    live.stack.make("up")
    live.wait_equal()


class edited:  # noqa: N801 - reads as a word where it is used
    """A file with another content for the length of a block."""

    def __init__(self, path: Path, content: str) -> None:
        self.path, self.content = path, content
        self.before = path.read_text() if path.exists() else None

    def __enter__(self) -> None:
        self.path.write_text(self.content)

    def __exit__(self, *_: object) -> None:
        if self.before is None:
            self.path.unlink()
        else:
            self.path.write_text(self.before)
