"""What can't be deployed is refused before any resource is made."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from tests.program.harness import deploy


@pytest.mark.parametrize(
    ("stack", "config", "expected"),
    [
        ("prod", {"backupAccessKey": ""}, "cdc:backupAccessKey is absent: pulumi config set --secret backupAccessKey"),
        (
            "prod",
            {"kubernetes": {"kafkaReplication": 4}},
            "cdc:kubernetes.kafkaReplication = 4: exceeds kafkaBrokers 3",
        ),
        ("dev", {"kafkaPartition": 3}, "did you mean cdc:kafkaPartitions?"),
        ("dev", {"postgresPort": 70000}, "cdc:postgresPort = 70000"),
        ("dev", {"postgresVersion": "9.6"}, "ask for 9.6; run `make images`"),
    ],
)
def test_a_refusal_names_the_key_and_the_cure(
    stack: str, config: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("components.configs.images.RECORD", _record(tmp_path))
    with pytest.raises(pulumi.RunError) as refused:
        deploy(stack, config)
    assert expected in str(refused.value)


def _record(folder: Any) -> Any:
    path = folder / "images.json"
    path.write_text('{"postgres": {"reference": "cdc/postgres:abc", "source": "built", "version": "16.15"}}')
    return path
