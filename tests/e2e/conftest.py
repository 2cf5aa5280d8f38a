"""One stack, brought up once by ``make up``, shared by all e2e tests, removed by ``make down``."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from components.names import STACK_LABEL
from tests.e2e.running import Live, Stack, docker

PORTS = {
    "postgresPort": 25432,
    "kafkaPort": 29192,
    "connectPort": 28083,
    "clickhouseHttpPort": 28123,
    "clickhouseNativePort": 29000,
    "prometheusPort": 28090,
    "alertmanagerPort": 28093,
    "nodeExporterPort": 28100,
    "postgresExporterPort": 28187,
    "kafkaExporterPort": 28308,
    "clickhouseMetricsPort": 28116,
    "kafkaJmxPort": 28101,
    "cdcExporterPort": 28117,
    "grafanaPort": 28300,
    "kafdropPort": 28001,
}
WEBHOOK = ("172.31.0.1", 28999)
"""Where containers reach this machine: the gateway of the frontend network below."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/e2e/" in str(item.path):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack's name and configuration; nothing runs yet. Whatever a test leaves behind is removed at the end."""
    stack = Stack(
        name="e2e",
        config={
            "platform": "docker",
            "namePrefix": "e2e-",
            "backendSubnet": "172.30.0.0/16",
            "frontendSubnet": "172.31.0.0/16",
            "scrapeIntervalSeconds": 5,
            "alertWebhookUrl": f"http://{WEBHOOK[0]}:{WEBHOOK[1]}/",
            **PORTS,
        },
    )
    stack.write_config()
    _remove_left_behind(stack)
    yield stack
    if os.environ.get("CDC_E2E_KEEP") != "1":
        stack.make("down")
        stack.file.unlink(missing_ok=True)


def _remove_left_behind(stack: Stack) -> None:
    """Remove what a test run that was cut off made, be it in another checkout: its label says whose it is."""
    stack.make("down")
    stack.printed.clear()
    label = f"label={STACK_LABEL}={stack.name}"
    for listing, removal in (
        (("ps", "--all", "--quiet"), ("rm", "--force", "--volumes")),
        (("volume", "ls", "--quiet"), ("volume", "rm")),
        (("network", "ls", "--quiet"), ("network", "rm")),
    ):
        if found := docker(*listing, "--filter", label).split():
            docker(*removal, *found)


@pytest.fixture(scope="session")
def live(stack: Stack) -> Live:
    """The running pipeline."""
    stack.make("up")
    return Live(stack=stack, connections=stack.connections())


@pytest.fixture(autouse=True, scope="module")
def _equal_afterwards(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each module ClickHouse holds what PostgreSQL holds, to the value, as the user's own command proves it."""
    yield
    stack: Stack = request.getfixturevalue("stack")
    if stack.is_up:
        Live(stack=stack, connections=stack.connections()).cdc("reconcile")
