"""The pipeline is watched for real: every target answers, and the right alert reaches a webhook and is taken back."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from components.configs.alertmanager import alertmanager_config
from components.settings import Settings
from tests.e2e.alerts import Webhook, webhook
from tests.e2e.conftest import WEBHOOK
from tests.e2e.running import ROOT, Live, docker, eventually

LATER = {"cdc_schema_changes"}
"""There once a comparison or a DDL statement has been seen."""
FIRES_WITHIN = 200.0
"""`for: 1m`, the scrapes before it and Alertmanager's wait; the machine may be busy."""


@pytest.fixture(scope="module")
def received(live: Live) -> Iterator[Webhook]:
    with webhook(WEBHOOK) as received:
        yield received


def query(live: Live, expression: str) -> list[dict[str, Any]]:
    """PromQL, now."""
    url = f"{live.connections.outputs['prometheusUrl']}/api/v1/query"
    answer = requests.get(url, params={"query": expression}, timeout=10).json()
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def figure(live: Live, expression: str) -> float:
    (one,) = query(live, expression)
    return float(one["value"][1])


def scrape(live: Live) -> str:
    return requests.get(live.connections.outputs["cdcExporterUrl"], timeout=5).text


def inside(live: Live, part: str, *command: str, stdin: str = "") -> str:
    """Run a command in a part's container; returns what it printed, fails when it did."""
    done = subprocess.run(
        ["docker", "exec", "-i", live.container(part), *command],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_target_is_up(live: Live) -> None:
    def states() -> dict[str, str]:
        url = f"{live.connections.outputs['prometheusUrl']}/api/v1/targets"
        targets = requests.get(url, timeout=10).json()["data"]["activeTargets"]
        return {target["labels"]["job"]: target["health"] for target in targets}

    eventually(lambda: set(states().values()) == {"up"}, 60, f"all targets up: {states()}")
    assert {"node", "postgres", "kafka", "connect", "clickhouse", "cdc", "prometheus", "alertmanager"} <= set(states())


def test_every_documented_metric_exists(live: Live) -> None:
    document = (ROOT / "docs" / "metrics.md").read_text()
    names = set(re.findall(r"^\| `([a-z_]+)", document, re.MULTILINE)) - LATER
    assert len(names) > 35

    def missing() -> list[str]:
        return sorted(name for name in names if not query(live, f"count({name})"))

    eventually(lambda: not missing(), 90, f"in Prometheus: {missing()}", every=2)


def test_the_configuration_in_the_containers_is_valid(live: Live) -> None:
    printed = inside(live, "prometheus", "promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    assert "SUCCESS" in printed
    mail = {"alertEmailTo": "a@b.c", "alertEmailFrom": "d@e.f", "alertSmtpHost": "mail.example:25"}
    hook = {"alertWebhookUrl": "http://pager.example/x"}
    for values in ({}, hook, mail, {**hook, **mail, "alertSmtpUser": "u", "alertSmtpPassword": 'p"#: '}):
        text = alertmanager_config(Settings.from_mapping(values))
        assert "SUCCESS" in inside(live, "alertmanager", "amtool", "check-config", "/dev/stdin", stdin=text)


def test_the_watchdog_reaches_the_webhook(live: Live, received: Webhook) -> None:
    """The way from a rule to whoever is told; Alertmanager tells again what it could not deliver before."""
    eventually(lambda: "firing" in received.statuses("Watchdog"), 400, "the Watchdog at the webhook", every=1)


def test_a_stopped_connect_is_told_and_taken_back(live: Live, received: Webhook) -> None:
    docker("stop", live.container("kafka-connect"))
    eventually(lambda: 'cdc_up{part="connect"} 0.0' in scrape(live), 30, "the exporter sees it", every=1)
    assert "cdc_freshness_seconds" in scrape(live)
    assert "cdc_connector_state{" not in scrape(live)
    seconds = eventually(
        lambda: "firing" in received.statuses("DebeziumConnectorDown"), FIRES_WITHIN, "the alert", every=1
    )
    print(f"DebeziumConnectorDown at the webhook {seconds:.0f} s after the exporter saw it")
    assert "does not answer" in received.summary("DebeziumConnectorDown")
    assert "ClickHouseDown" not in {alert["labels"]["alertname"] for alert in received.alerts}
    docker("start", live.container("kafka-connect"))
    eventually(lambda: 'state="RUNNING"' in scrape(live), 90, "the connector runs again", every=1)
    eventually(lambda: "resolved" in received.statuses("DebeziumConnectorDown"), FIRES_WITHIN, "taken back", every=1)


def test_a_stopped_clickhouse_and_its_lag_are_told_and_taken_back(live: Live, received: Webhook) -> None:
    docker("stop", live.container("clickhouse"))
    live.source(
        "INSERT INTO inventory.orders (purchaser, product_id, quantity, unit_price)"
        " SELECT (SELECT min(id) FROM inventory.customers), (SELECT min(id) FROM inventory.products), 1, 1.00"
        " FROM generate_series(1, 5000)"
    )
    eventually(lambda: 'cdc_up{part="clickhouse"} 0.0' in scrape(live), 40, "the exporter sees it", every=1)
    before, at = _freshness(live), time.monotonic()
    eventually(lambda: "firing" in received.statuses("ClickHouseDown"), FIRES_WITHIN, "the alert", every=1)
    assert _freshness(live) - before == pytest.approx(time.monotonic() - at, abs=3), "freshness must grow with time"
    eventually(lambda: figure(live, "sum(kafka_consumergroup_lag)") > 1000, 30, "lag in Prometheus", every=1)
    eventually(lambda: "firing" in received.statuses("KafkaConsumerLag"), 500, "the lag alert", every=1)
    docker("start", live.container("clickhouse"))
    live.wait_equal(120)
    eventually(lambda: "resolved" in received.statuses("ClickHouseDown"), FIRES_WITHIN, "taken back", every=1)
    eventually(lambda: "resolved" in received.statuses("KafkaConsumerLag"), FIRES_WITHIN, "lag taken back", every=1)
    eventually(lambda: _freshness(live) < 10, 60, "fresh again", every=1)


def _freshness(live: Live) -> float:
    found = re.search(r"^cdc_freshness_seconds (\S+)", scrape(live), re.MULTILINE)
    assert found
    return float(found.group(1))
