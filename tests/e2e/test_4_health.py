"""Health, doctor and top on the running stack: well when it is well, and the right part blamed when one is stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.running import ROOT, Live, docker, eventually


def ask(live: Live, *arguments: str) -> tuple[int, str]:
    """Exit status and output of ``python -m cdc``."""
    done = subprocess.run(
        [sys.executable, "-m", "cdc", "--outputs", "-", *arguments],
        cwd=ROOT,
        input=json.dumps(live.connections.outputs),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def is_well(live: Live, *arguments: str) -> bool:
    """Raises with what was printed where something is not well: ``eventually`` shows it."""
    code, text = ask(live, *arguments)
    assert code == 0, text
    return True


@contextmanager
def stopped(live: Live, part: str) -> Iterator[None]:
    docker("stop", "--time", "5", live.container(part))
    try:
        yield
    finally:
        docker("start", live.container(part))
        live.wait_healthy(part)
        eventually(lambda: is_well(live, "doctor"), 120, f"all well after {part} came back", every=2)


def test_a_healthy_stack_is_well(live: Live) -> None:
    eventually(lambda: is_well(live, "health"), 60, "health ends with 0", every=2)
    code, text = ask(live, "health")
    assert code == 0, text
    assert "all is well" in text
    for part in ("PostgreSQL", "Kafka Connect", "Kafka", "ClickHouse"):
        assert part in text
    assert ask(live, "doctor")[0] == 0


def test_top_shows_rates_lag_and_freshness(live: Live) -> None:
    code, text = ask(live, "top", "--count", "2", "--every", "1")
    assert code == 0, text
    assert "postgres-server.inventory.orders" in text
    assert "messages/s" in text
    assert "freshness" in text


@pytest.mark.parametrize(
    ("part", "named", "runbook"),
    [
        ("kafka-connect", "Kafka Connect is down", "DebeziumConnectorDown"),
        ("clickhouse", "ClickHouse is down", "ClickHouseDown"),
        ("kafka", "no Kafka broker runs", "KafkaBrokerDown"),
        ("postgres", "PostgreSQL is down", "PostgresDown"),
    ],
)
def test_the_stopped_part_is_blamed(live: Live, part: str, named: str, runbook: str) -> None:
    with stopped(live, part):
        code, text = ask(live, "health")
        assert code == 2, text
        assert "CRITICAL" in text
        code, text = ask(live, "doctor")
        assert code == 1, text
        assert f"Likely cause: {named}" in text
        assert f"docs/runbooks/{runbook}.md" in text
        if part != "postgres":
            assert f"docker restart {live.container(part)}" in text


def test_a_paused_connector_is_named_with_the_command_that_resumes_it(live: Live) -> None:
    url = f"{live.connections.connect_url}/connectors/{live.connections.outputs['connectorName']}"
    subprocess.run(["curl", "-sf", "-X", "PUT", f"{url}/pause"], check=True)
    eventually(lambda: live.connector()["connector"]["state"] == "PAUSED", 30, "paused")
    try:
        code, text = ask(live, "doctor")
        assert code == 1, text
        assert f"curl -X PUT '{url}/resume'" in text
    finally:
        subprocess.run(["curl", "-sf", "-X", "PUT", f"{url}/resume"], check=True)
    eventually(lambda: is_well(live, "doctor"), 60, "all well after resume", every=2)
