"""Prometheus' own checkers, brought without installing a server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from toolchain.debian import unpacked
from toolchain.places import Places


def _checker(package: str, command: str) -> Path:
    if not shutil.which(command) and not shutil.which("apt-get"):
        pytest.skip(f"{command} is not on PATH and there is no apt-get to bring it")
    places = Places.of()
    return unpacked(package, command, cache=places.cache, logs=places.logs)


@pytest.fixture(scope="session")
def promtool() -> Path:
    return _checker("prometheus", "promtool")


@pytest.fixture(scope="session")
def amtool() -> Path:
    return _checker("prometheus-alertmanager", "amtool")
