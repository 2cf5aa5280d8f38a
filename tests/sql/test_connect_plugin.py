"""The Kafka Connect plugin of images/connect-plugin: its logic under random kills, and the jar that is shipped."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from components.configs.connector import PLUGIN, PLUGIN_CLASS

pytestmark = pytest.mark.sql
FOLDER = PLUGIN.parent


@pytest.fixture(scope="module")
def image() -> str:
    """The Connect image of this machine: it has Debezium, Kafka, and Java with its compiler."""
    record = Path(".local/images.json")
    known = json.loads(record.read_text()) if record.is_file() else {}
    if "kafka-connect" not in known:
        pytest.fail("no Kafka Connect image on this machine: run `make images`")
    return str(known["kafka-connect"]["reference"])


def run(*command: str) -> str:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_no_event_is_lost_however_the_task_is_killed(image: str) -> None:
    """Twenty thousand random logs with snapshots and kills, resumed by Debezium's own code; the bare connector must
    lose in some. And Debezium's schema, read anew by a snapshot."""
    printed = run(str(FOLDER / "test.sh"), image)
    print(printed)
    assert "whole LSNs: 0 of 20000" in printed
    assert "rows of the log are read by the log's own description" in printed


def test_the_shipped_jar_is_what_the_source_says(image: str, tmp_path: Path) -> None:
    run(str(FOLDER / "build.sh"), image, str(tmp_path))
    assert (tmp_path / PLUGIN.name).read_bytes() == PLUGIN.read_bytes(), f"run {FOLDER}/build.sh IMAGE {FOLDER}"


def test_the_plugin_announces_the_class_that_the_connector_uses() -> None:
    services = FOLDER / "services" / "org.apache.kafka.connect.source.SourceConnector"
    assert services.read_text().split() == [PLUGIN_CLASS]
