"""Settings refuse what can't be deployed, all findings at once, each with key, value and cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, SecretStr

from components import versions
from components.settings import PROJECT, Settings, SettingsError, config_keys
from components.settings_kubernetes import KubernetesSettings

ROOT = Path(__file__).parents[2]


def test_defaults_are_a_deployable_stack() -> None:
    settings = Settings.from_mapping({})
    assert settings.platform == "docker"
    assert set(settings.tables) == {
        f"inventory.{name}" for name in ("customers", "products", "orders", "inventory", "shipments")
    }
    assert settings.message_keys == {"inventory.orders": "purchaser"}
    assert settings.warnings == []


def test_every_finding_is_reported_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_mapping({"postgresPort": 99999, "images": "fetch", "kafkaPartition": 3, "heartbeatIntervalMs": 1})
    text = str(refused.value)
    assert "cdc:postgresPort = 99999" in text
    assert "cdc:images = 'fetch'" in text
    assert "'auto', 'pull' or 'build'" in text
    assert "cdc:kafkaPartition is not a key of this project; did you mean cdc:kafkaPartitions?" in text
    assert "cdc:heartbeatIntervalMs = 1" in text
    assert "pulumi config set" in text


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"tables": []}, "cdc:tables"),
        ({"tables": ["orders"]}, "'orders' is not schema.table"),
        ({"tables": ["inventory.orders", "inventory.orders"]}, "named twice"),
        ({"messageKeys": {"inventory.returns": "id"}}, "messageKeys names inventory.returns"),
        ({"source": "external"}, "source external needs sourceHost and sourceAdminPassword"),
        ({"kafkaConsumers": 9}, "kafkaConsumers 9 exceeds kafkaPartitions 3"),
        ({"kafkaPort": 8123}, "kafkaPort and clickhouseHttpPort both want port 8123"),
        ({"replicated": True, "images": "build"}, "needs Keeper"),
        ({"slot": "Bad-Slot"}, "cdc:slot = 'Bad-Slot'"),
        ({"namePrefix": "no_dash"}, "cdc:namePrefix"),
        ({"debeziumVersion": "latest"}, "a pinned version"),
        ({"backendSubnet": "nonsense"}, "cdc:backendSubnet = 'nonsense'"),
        ({"frontendSubnet": "172.20.8.0/24"}, "backendSubnet and frontendSubnet overlap"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_mapping(values)
    assert expected in str(refused.value)


def test_a_wrong_password_is_not_shown() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_mapping({"source": "external", "sourceHost": "db", "sourceAdminPassword": ["hunter2"]})
    assert "hunter2" not in str(refused.value)


def test_an_external_source_publishes_no_postgres_port() -> None:
    settings = Settings.from_mapping(
        {"source": "external", "sourceHost": "db", "sourceAdminPassword": "x", "postgresPort": 9092}
    )
    assert "postgresPort" not in settings.ports


@pytest.mark.parametrize(("version", "warned"), [("2.6.0.Final", True), ("3.6.3.Final", True), ("3.7.0.Final", False)])
def test_a_debezium_that_loses_rows_is_warned_about(version: str, *, warned: bool) -> None:
    warnings = Settings.from_mapping({"debeziumVersion": version}).warnings
    assert bool(warnings) is warned
    assert all("COPY" in warning for warning in warnings)


def test_a_stack_file_is_read_without_pulumi(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.x.yaml"
    path.write_text("config:\n  cdc:kafkaPort: 19092\n  cdc:sourceAdminPassword:\n    secure: v1:abc\n  other:key: 1\n")
    settings = Settings.from_stack_file(path)
    assert settings.kafka_port == 19092
    assert settings.source_admin_password == SecretStr("v1:abc")


def test_a_missing_stack_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"Pulumi\.nope\.yaml does not exist"):
        Settings.from_stack_file(tmp_path / "Pulumi.nope.yaml")


def test_an_unquoted_version_gets_the_cure() -> None:
    with pytest.raises(SettingsError, match="quote"):
        Settings.from_mapping({"postgresVersion": 16.3})


def test_pulumi_yaml_lists_every_key_with_the_same_default() -> None:
    schema = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    assert list(schema) == config_keys()
    for name, field in Settings.model_fields.items():
        declared = schema[field.alias or name]
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        default = default.model_dump(exclude_defaults=True) if isinstance(default, BaseModel) else default
        assert declared["description"] == field.description
        shown = declared["default"]
        assert shown == (str(default) if declared["type"] == "string" else default), field.alias


def test_the_dev_stacks_settings_are_valid() -> None:
    assert Settings.from_stack_file(ROOT / "Pulumi.dev.yaml").platform == "docker"


def test_the_prod_stacks_settings_lack_nothing_but_the_secrets() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_stack_file(ROOT / "Pulumi.prod.yaml")
    findings = [line for line in str(refused.value).splitlines() if line.startswith("  - ")]
    assert [finding.split()[1] for finding in findings] == ["cdc:backupAccessKey", "cdc:backupSecretKey"]
    assert all("pulumi config set --secret" in finding for finding in findings)


def test_the_project_and_the_pinned_sdk_agree() -> None:
    assert yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["name"] == PROJECT
    pins = dict(line.split("==") for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line)
    assert pins["pulumi"] == versions.PULUMI_CLI
    assert pins["pulumi-docker"] == versions.PLUGIN_DOCKER
    assert pins["pulumi-random"] == versions.PLUGIN_RANDOM


def test_the_readme_lists_every_key_of_kubernetes_with_its_default() -> None:
    readme = (ROOT / "README.md").read_text()
    for field in KubernetesSettings.model_fields.values():
        default = json.dumps(field.default) if isinstance(field.default, list | dict) else str(field.default)
        row = f"| `{field.alias}` | {f'`{default}`' if default else ''} | {field.description} |"
        assert row in readme, row


def test_the_readme_lists_every_key_with_its_default() -> None:
    readme = (ROOT / "README.md").read_text()
    for key, declared in yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"].items():
        default = (
            json.dumps(declared["default"]) if declared["type"] in ("array", "object") else str(declared["default"])
        )
        row = f"| `{key}` | {f'`{default}`' if default else ''} | {declared['description']} |"
        assert row in readme, row
