"""Monitoring as the program declares it: with what can be had, without what can't, and not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from components.configs.images import MONITORING_PARTS, RECORD
from tests.program.harness import Deployment, deploy
from tests.program.test_dev import MONITORING, PIPELINE

OPTIONAL = {"grafana", "kafdrop", "kafka-exporter"}


@pytest.fixture(scope="module")
def built() -> Deployment:
    """No registry answers."""
    return deploy("dev")


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A registry answers: only our own image is built."""
    record = tmp_path_factory.mktemp("pulled") / "images.json"
    version = MONITORING_PARTS["operations"]
    entry = {"reference": "cdc/operations:0", "source": "built", "version": version, "requested": version}
    record.write_text(json.dumps({"operations": entry}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("components.configs.images.RECORD", record)
        return deploy("dev", {"alertWebhookUrl": "http://pager.example/password-of-hook"})


def uploads(deployment: Deployment, container: str) -> dict[str, str]:
    files = deployment.of_type("container:Container")[container].inputs["uploads"]
    return {file["file"]: file["content"] for file in files if "content" in file}


def jobs(deployment: Deployment) -> dict[str, str]:
    config = yaml.safe_load(uploads(deployment, "prometheus")["/etc/prometheus/prometheus.yml"])
    return {job["job_name"]: job["static_configs"][0]["targets"][0] for job in config["scrape_configs"]}


def test_prometheus_asks_every_exporter_that_runs(built: Deployment, pulled: Deployment) -> None:
    common = {"prometheus", "alertmanager", "node", "postgres", "clickhouse", "cdc"}
    assert set(jobs(built)) == common | {"kafka", "connect"}
    assert set(jobs(pulled)) == common | {"kafka-exporter"}
    for deployment in (built, pulled):
        hosts = {target.split(":")[0] for target in jobs(deployment).values()} - {"localhost"}
        assert hosts <= set(deployment.of_type("container:Container"))


def test_the_java_servers_start_with_their_agent_where_they_have_one(built: Deployment, pulled: Deployment) -> None:
    for part, port in (("kafka", 9101), ("kafka-connect", 9102)):
        started = built.of_type("container:Container")[part].inputs["entrypoints"][-1]
        assert f"jmx_prometheus_javaagent.jar={port}:/etc/kafka/cdc/jmx.yml exec" in started
        assert "/etc/kafka/cdc/jmx.yml" in uploads(built, part)
        assert "KAFKA_OPTS" not in json.dumps(built.of_type("container:Container")[part].inputs["envs"])
        assert "javaagent" not in json.dumps(pulled.of_type("container:Container")[part].inputs)


def test_what_needs_a_registry_is_there_with_one_and_left_out_without(built: Deployment, pulled: Deployment) -> None:
    assert set(built.of_type("container:Container")) == PIPELINE | MONITORING
    assert set(pulled.of_type("container:Container")) == PIPELINE | MONITORING | OPTIONAL
    assert pulled.outputs["grafanaUrl"] == "http://127.0.0.1:3000"
    assert pulled.outputs["kafdropUrl"] == "http://127.0.0.1:9001"
    assert "grafanaPassword" in pulled.secret_outputs
    assert {uid: url for uid, url in pulled.outputs["dashboards"].items() if url.endswith(f":3000/d/{uid}")}.keys() == {
        "cdc-pipeline",
        "cdc-infrastructure",
        "cdc-business",
    }
    assert not {"grafanaUrl", "kafdropUrl", "dashboards", "grafanaPassword"} & set(built.outputs)
    assert built.outputs["prometheusUrl"] == "http://127.0.0.1:9090"


def test_the_kafka_exporters_names_come_from_one_place(built: Deployment, pulled: Deployment) -> None:
    assert "--no-kafka-names" not in built.of_type("container:Container")["cdc-exporter"].inputs["command"]
    assert "--no-kafka-names" in pulled.of_type("container:Container")["cdc-exporter"].inputs["command"]


def test_the_readme_shows_what_runs_and_no_password(built: Deployment, pulled: Deployment) -> None:
    assert "${" not in pulled.outputs["readme"]
    assert "http://127.0.0.1:3000" in pulled.outputs["readme"]
    assert "http://127.0.0.1:3000" not in built.outputs["readme"]
    assert "http://127.0.0.1:9090" in built.outputs["readme"]
    assert "password-of-" not in built.outputs["readme"] + pulled.outputs["readme"]


def test_the_webhooks_address_is_a_secret(pulled: Deployment) -> None:
    alertmanager = pulled.of_type("container:Container")["alertmanager"]
    (index,) = [
        number
        for number, file in enumerate(alertmanager.inputs["uploads"])
        if file["file"].endswith("alertmanager.yml")
    ]
    assert "password-of-hook" in alertmanager.inputs["uploads"][index]["content"]
    assert any(path.startswith("uploads") for path in alertmanager.secrets)


def test_the_exporter_works_as_the_operator_with_inside_addresses(built: Deployment) -> None:
    outputs = json.loads(uploads(built, "cdc-exporter")["/run/secrets/cdc/outputs.json"])
    assert outputs["operatorUser"] == "cdc_operator"
    assert outputs["postgresOperatorPassword"] == "password-of-postgres-operator"
    assert outputs["clickhouseOperatorPassword"] == "password-of-clickhouse-operator"
    assert (outputs["kafkaBootstrap"], outputs["connectUrl"]) == ("kafka:29092", "http://kafka-connect:8083")
    assert "postgresPassword" not in outputs


def test_the_host_is_seen_read_only(built: Deployment) -> None:
    mounts = built.of_type("container:Container")["node-exporter"].inputs["mounts"]
    assert {mount["source"] for mount in mounts} == {"/proc", "/sys", "/"}
    assert all(mount["readOnly"] for mount in mounts)


def test_without_monitoring_nothing_of_it_is_there() -> None:
    plain = deploy("dev", {"monitoring": False})
    assert set(plain.of_type("container:Container")) == PIPELINE
    assert "prometheusUrl" not in plain.outputs
    published = [port["internal"] for port in plain.of_type("container:Container")["clickhouse"].inputs["ports"]]
    assert published == [8123, 9000]
    assert "javaagent" not in json.dumps(plain.of_type("container:Container")["kafka"].inputs)


def test_an_image_of_ours_that_was_never_built_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("components.configs.images.RECORD", tmp_path / RECORD.name)
    with pytest.raises(Exception, match="no image for operations on this host; run `make images`"):
        deploy("dev")
