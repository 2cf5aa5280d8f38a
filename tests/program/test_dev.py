"""The dev stack as the program declares it: who is wired to whom, in which order, and what stays secret."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from components.names import CONNECT_GROUP
from tests.program.harness import Deployment, deploy

PIPELINE = {"postgres-source", "kafka", "kafka-connect", "clickhouse"}
MONITORING = {"prometheus", "alertmanager", "node-exporter", "postgres-exporter", "cdc-exporter", "cdc-reconcile"}
CONTAINERS = PIPELINE | MONITORING


@pytest.fixture(scope="module")
def dev() -> Deployment:
    return deploy("dev")


def test_one_container_of_each_part(dev: Deployment) -> None:
    assert set(dev.of_type("container:Container")) == CONTAINERS


def test_every_container_is_watched_limited_rotated_and_comes_back(dev: Deployment) -> None:
    for container in dev.of_type("container:Container").values():
        inputs = container.inputs
        assert inputs["healthcheck"]["tests"], container.name
        assert inputs["wait"] is True
        assert inputs["memory"] == inputs["memorySwap"] > 0
        assert inputs["restart"] == "unless-stopped"
        assert inputs["logOpts"] == {"max-size": "10m", "max-file": "3"}
        assert inputs["securityOpts"] == ["no-new-privileges:true"]


def test_ports_are_published_on_loopback_only(dev: Deployment) -> None:
    ports = [port for each in dev.of_type("container:Container").values() for port in each.inputs["ports"]]
    pipeline, monitoring = {5432, 9092, 8083, 8123, 9000}, {9090, 9093, 9100, 9101, 9116, 9117, 9187}
    assert {port["external"] for port in ports} == pipeline | monitoring
    assert {port["ip"] for port in ports} == {"127.0.0.1"}


def test_both_networks_with_their_subnets(dev: Deployment) -> None:
    networks = dev.of_type("network:Network")
    assert networks["backend"].inputs["internal"] is True
    assert networks["backend"].inputs["ipamConfigs"] == [{"subnet": "172.20.0.0/16"}]
    assert not networks["frontend"].inputs.get("internal")
    assert networks["frontend"].inputs["ipamConfigs"] == [{"subnet": "172.21.0.0/16"}]


def test_data_lives_in_volumes(dev: Deployment) -> None:
    assert set(dev.of_type("volume:Volume")) == {
        "postgres-source-data",
        "kafka-data",
        "clickhouse-data",
        "prometheus-data",
        "alertmanager-data",
    }


def test_one_password_per_duty(dev: Deployment) -> None:
    assert set(dev.of_type("RandomPassword")) == {
        "postgres-admin",
        "debezium",
        "postgres-operator",
        "application",
        "clickhouse-admin",
        "clickhouse-operator",
        "clickhouse-reader",
        "postgres-reader",
    }


def test_no_password_is_in_an_environment_a_command_or_the_connector(dev: Deployment) -> None:
    for container in dev.of_type("container:Container").values():
        shown = json.dumps([container.inputs.get(key) for key in ("envs", "command", "entrypoints", "labels")])
        assert "password-of-" not in shown, container.name
    connector = dev.one("DebeziumConnector")
    assert "password-of-" not in json.dumps(connector.inputs)
    assert connector.inputs["config"]["database.password"] == "${file:/run/secrets/cdc/source.properties:password}"


def test_every_password_that_is_handed_on_is_secret(dev: Deployment) -> None:
    for resource in dev.resources:
        leaks = _leaks(resource.inputs, "", resource.secrets)
        assert not leaks, f"{resource.type} {resource.name} holds a password in clear at {leaks}"
    assert {
        "applicationPassword",
        "clickhouseAdminPassword",
        "clickhouseOperatorPassword",
        "clickhousePassword",
        "postgresOperatorPassword",
        "postgresPassword",
    } == {name for name in dev.secret_outputs if name.endswith("Password")}


def test_passwords_are_handed_over_as_read_only_files(dev: Deployment) -> None:
    modes = {
        upload["file"]: upload["permissions"]
        for container in dev.of_type("container:Container").values()
        for upload in container.inputs["uploads"]
    }
    assert modes["/run/secrets/postgres_password"] == "0400"
    assert modes["/run/secrets/cdc/source.properties"] == "0444"


def test_the_order_of_the_start(dev: Deployment) -> None:
    containers = dev.of_type("container:Container")
    connector = dev.one("DebeziumConnector")
    source, topics = dev.one("SourceSchema"), dev.one("KafkaTopics")
    schema = dev.one("ClickHouseSchema")
    assert dev.comes_after(containers["kafka-connect"], containers["kafka"])
    assert dev.comes_after(source, containers["postgres-source"])
    assert dev.comes_after(topics, containers["kafka"])
    assert dev.comes_after(schema, containers["clickhouse"])
    assert dev.comes_after(schema, topics)
    for earlier in (source, topics, containers["kafka-connect"]):
        assert dev.comes_after(connector, earlier)
    assert not dev.comes_after(containers["kafka"], containers["kafka-connect"])


def test_the_connector_leaves_out_generated_columns(dev: Deployment) -> None:
    config = dev.one("DebeziumConnector").inputs["config"]
    assert config["column.exclude.list"] == "inventory.orders.total_amount"
    assert config["publication.name"] == dev.one("SourceSchema").inputs["publication"]
    assert config["slot.name"] == dev.one("SourceSchema").inputs["slot"]


def test_topics_are_those_the_connector_writes_and_clickhouse_reads(dev: Deployment) -> None:
    topics = dev.one("KafkaTopics").inputs["topics"]
    prefix = dev.one("ClickHouseSchema").inputs["parameters"]["topic_prefix"]
    assert f"{prefix}.inventory.orders" in topics
    assert f"{prefix}.heartbeat" in topics
    assert dev.one("DebeziumConnector").inputs["config"]["topic.prefix"] == prefix


def test_connect_works_under_its_own_group(dev: Deployment) -> None:
    uploads = dev.of_type("container:Container")["kafka-connect"].inputs["uploads"]
    worker = next(upload["content"] for upload in uploads if upload["file"].endswith(".properties"))
    assert f"group.id={CONNECT_GROUP}" in worker


def test_the_connectors_class_is_put_beside_debezium(dev: Deployment) -> None:
    uploads = {
        upload["file"]: upload for upload in dev.of_type("container:Container")["kafka-connect"].inputs["uploads"]
    }
    jar = b64decode(uploads["/kafka/connect/debezium-connector-postgres/whole-lsn.jar"]["contentBase64"])
    with ZipFile(BytesIO(jar)) as archive:
        classes = {name.removesuffix(".class").replace("/", ".") for name in archive.namelist()}
    assert dev.one("DebeziumConnector").inputs["config"]["connector.class"] in classes


def test_outputs_lead_to_the_running_parts(dev: Deployment) -> None:
    assert dev.outputs["connectUrl"] == "http://127.0.0.1:8083"
    assert dev.outputs["clickhouseUrl"] == "http://127.0.0.1:8123"
    assert set(dev.outputs["containers"].values()) == CONTAINERS
    assert dev.outputs["connectorState"] == "RUNNING"
    assert dev.outputs["tables"] == dev.one("SourceSchema").inputs["tables"]
    assert dev.outputs["topicPrefix"] == dev.one("ClickHouseSchema").inputs["parameters"]["topic_prefix"]


def test_the_operator_has_one_name_and_a_password_of_its_own_on_each_side(dev: Deployment) -> None:
    source = dev.one("SourceSchema").inputs
    users = next(
        upload["content"]
        for upload in dev.of_type("container:Container")["clickhouse"].inputs["uploads"]
        if upload["file"].endswith("users.d/cdc.xml")
    )
    assert dev.outputs["operatorUser"] == source["operator_user"]
    assert f"<{dev.outputs['operatorUser']}>" in users
    assert dev.outputs["postgresOperatorPassword"] == source["operator_password"]
    assert hashlib.sha256(dev.outputs["clickhouseOperatorPassword"].encode()).hexdigest() in users
    assert dev.outputs["postgresOperatorPassword"] != dev.outputs["clickhouseOperatorPassword"]


def test_the_application_writes_to_a_managed_source(dev: Deployment) -> None:
    source = dev.one("SourceSchema").inputs
    assert dev.outputs["applicationUser"] == source["application_user"]
    assert dev.outputs["applicationPassword"] == source["application_password"]


def test_settings_reach_the_parts() -> None:
    moved = deploy(
        "dev",
        {
            "kafkaPort": 19092,
            "namePrefix": "x-",
            "tables": ["inventory.orders", "inventory.customers"],
            "kafkaPartitions": 6,
            "epoch": 2,
        },
    )
    kafka = moved.of_type("container:Container")["kafka"].inputs
    assert kafka["name"] == "x-kafka"
    assert kafka["ports"][:1] == [{"internal": 9092, "external": 19092, "ip": "127.0.0.1"}]
    assert moved.one("KafkaTopics").inputs["bootstrap"] == "127.0.0.1:19092"
    assert moved.one("KafkaTopics").inputs["topics"]["postgres-server.inventory.customers"]["partitions"] == 6
    assert moved.one("SourceSchema").inputs["tables"] == ["inventory.orders", "inventory.customers"]
    assert moved.one("ClickHouseSchema").inputs["parameters"]["epoch"] == "2"


def test_an_external_source_is_not_run_here() -> None:
    external = deploy(
        "dev", {"source": "external", "sourceHost": "db.example", "sourceAdminPassword": "password-of-theirs"}
    )
    assert "postgres-source" not in external.of_type("container:Container")
    schema = external.one("SourceSchema")
    assert schema.inputs["host"] == "db.example"
    assert schema.inputs["managed"] is False
    assert not schema.inputs.get("application_user")
    assert "applicationUser" not in external.outputs
    assert not [leak for each in external.resources for leak in _leaks(each.inputs, "", each.secrets)]


def test_replicated_tables_bring_keeper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("components.configs.images.RECORD", tmp_path / "none.json")
    replicated = deploy("dev", {"replicated": True, "monitoring": False})
    containers = replicated.of_type("container:Container")
    assert set(containers) == PIPELINE | {"clickhouse-keeper"}
    assert not containers["clickhouse-keeper"].inputs.get("ports")
    assert replicated.comes_after(containers["clickhouse"], containers["clickhouse-keeper"])
    assert replicated.one("ClickHouseSchema").inputs["parameters"]["replicated"] == "Replicated"


def _leaks(value: object, path: str, secrets: set[str]) -> list[str]:
    """Paths of passwords that no enclosing secret covers."""
    if isinstance(value, dict):
        return [leak for key, item in value.items() for leak in _leaks(item, f"{path}.{key}".lstrip("."), secrets)]
    if isinstance(value, list):
        return [leak for index, item in enumerate(value) for leak in _leaks(item, f"{path}[{index}]", secrets)]
    covered = any(path == secret or path.startswith((f"{secret}.", f"{secret}[")) for secret in secrets)
    return [path] if isinstance(value, str) and "password-of-" in value and not covered else []
