"""``make up``: what it says, and that a second one changes nothing."""

from __future__ import annotations

import json
import time

import requests

from tests.e2e.running import Live, docker


def test_up_ends_with_what_runs_and_the_first_rows(live: Live) -> None:
    printed = live.stack.printed[0]
    for part in ("postgres", "kafka", "kafka-connect", "clickhouse"):
        line = next(line for line in printed.splitlines() if line.startswith(f"{part} "))
        assert "healthy" in line.split()
        assert "127.0.0.1" in line
    assert "SELECT id, order_date" in printed
    live.wait_equal()


def test_a_second_up_changes_nothing_and_is_quick(live: Live) -> None:
    started = time.monotonic()
    printed = live.stack.make("up")
    seconds = time.monotonic() - started
    assert " created" not in printed
    assert " updated" not in printed
    assert " replaced" not in printed
    assert seconds < 30, f"{seconds:.1f} s"


def test_a_preview_shows_no_change(live: Live) -> None:
    assert live.stack.planned_changes() == []


def test_smoke_shows_each_change_arrive(live: Live) -> None:
    printed = live.stack.make("smoke")
    assert [line.split()[0] for line in printed.splitlines() if " visible after " in line] == [
        "insert",
        "update",
        "delete",
    ]


def test_no_password_shows(live: Live) -> None:
    """Not in Docker's view of the containers, not in Connect's answers, not in the state file, not in the logs."""
    outputs = live.connections.outputs
    resources = json.loads(live.stack.pulumi("stack", "export", "--show-secrets"))["deployment"]["resources"]
    passwords = [
        json.loads(each["outputs"]["result"]["plaintext"])
        for each in resources
        if each["type"] == "random:index/randomPassword:RandomPassword"
    ]
    assert len(passwords) == 8
    assert all(len(password) >= 24 for password in passwords)
    for part in outputs["containers"]:
        shown = docker("inspect", live.container(part)) + docker("logs", live.container(part))
        assert not [password for password in passwords if password in shown], part
    state = live.stack.pulumi("stack", "export")
    assert not [password for password in passwords if password in state]
    assert "plaintext" not in state
    url = f"{live.connections.connect_url}/connectors/{outputs['connectorName']}"
    for what in ("config", "tasks", "status"):
        answer = requests.get(f"{url}/{what}", timeout=30).text
        assert "inventory" in answer
        assert not [password for password in passwords if password in answer], what


def test_ports_answer_on_loopback_only(live: Live) -> None:
    for part in live.connections.outputs["containers"]:
        bindings = json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Ports}}", live.container(part)))
        hosts = {binding["HostIp"] for published in bindings.values() if published for binding in published}
        assert hosts <= {"127.0.0.1"}, part


def test_the_stack_stays_below_four_gibibytes(live: Live) -> None:
    names = [live.container(part) for part in live.connections.outputs["containers"]]
    used = [
        line.split("/")[0].strip()
        for line in docker("stats", "--no-stream", "--format", "{{.MemUsage}}", *names).splitlines()
    ]
    units = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
    total = sum(float(text[:-3]) * units[text[-3:]] for text in used)
    assert 0 < total < 4096, used
