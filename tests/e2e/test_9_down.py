"""``make down`` keeps what it is told to keep, and otherwise leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess

from tests.e2e.running import ROOT, Live, docker, eventually


def _left(kind: str, *all_of: str) -> list[str]:
    names = docker(kind, "ls", *all_of, "--format", "{{.Name}}" if kind != "container" else "{{.Names}}").split()
    return [name for name in names if name.startswith("e2e-")]


def _up_killed_half_way(live: Live) -> None:
    """Kill ``make up`` and all it started while containers are being made, as a closed terminal or a reboot would."""
    up = subprocess.Popen(
        ["make", "up"],
        cwd=ROOT,
        env={**os.environ, "STACK": live.stack.name},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    eventually(lambda: _left("container", "--all") != [], 120, "a container is being made", every=0.05)
    os.killpg(up.pid, signal.SIGKILL)
    up.wait()


def test_data_that_is_kept_is_gone_on_with(live: Live) -> None:
    before = live.wait_equal()
    live.stack.make("down", KEEP_DATA="1")
    assert _left("container", "--all") == []
    assert set(_left("volume")) == {
        "e2e-postgres-source-data",
        "e2e-kafka-data",
        "e2e-clickhouse-data",
        "e2e-prometheus-data",
        "e2e-alertmanager-data",
    }
    _up_killed_half_way(live)
    printed = live.stack.make("up")
    assert "mending" in printed or "lock of a run that died" in printed
    live.connections = live.stack.connections()
    assert live.wait_equal() == before
    live.source("UPDATE inventory.orders SET quantity = quantity + 1")
    live.wait_equal()


def test_down_leaves_nothing_although_connect_is_gone(live: Live) -> None:
    docker("rm", "--force", "--volumes", live.container("kafka-connect"))
    live.stack.make("down")
    assert _left("container", "--all") == []
    assert _left("volume") == []
    assert _left("network") == []
    assert "does not exist" in live.stack.make("down")
