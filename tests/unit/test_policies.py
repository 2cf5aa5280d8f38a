"""Each policy refuses what it is there for, says what and the cure, and lets the right thing pass."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from policies.resources import Resource
from policies.rules import DOCKER, DOCKER_CONTAINER, DOCKER_IMAGE, HELM_RELEASE, KUBERNETES, RULES, findings

DIGEST = "@sha256:" + "0" * 64
CONTAINER: dict[str, Any] = {
    "image": "sha256:abc",
    "envs": ["TZ=UTC", "POSTGRES_PASSWORD_FILE=/run/secrets/postgres"],
    "ports": [{"internal": 5432, "external": 5432, "ip": "127.0.0.1"}],
    "healthcheck": {"tests": ["CMD", "true"]},
    "memory": 256,
    "securityOpts": ["no-new-privileges:true"],
}
PROGRAM: dict[str, Any] = {
    "name": "main",
    "image": "example.test/app:1.2.3",
    "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}],
    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    "readinessProbe": {"tcpSocket": {"port": 1}},
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}
UNWATCHED = {key: value for key, value in PROGRAM.items() if key != "readinessProbe"}


def docker(**changes: Any) -> Resource:
    return Resource(type=DOCKER_CONTAINER, name="part", inputs={**CONTAINER, **changes}, secrets=[])


def manifest(kind: str, **fields: Any) -> Resource:
    secrets = fields.pop("secrets", [])
    inputs = {"apiVersion": "x/v1", "kind": kind, "metadata": {"name": "part"}, **fields}
    return Resource(type=f"kubernetes:x/v1:{kind}", name="part", inputs=inputs, secrets=secrets)


def workload(kind: str = "Deployment", *, pod: dict[str, Any] | None = None, **changes: Any) -> Resource:
    container = {**copy.deepcopy(PROGRAM), **changes}
    spec: dict[str, Any] = {
        "containers": [{key: value for key, value in container.items() if value is not None}],
        "securityContext": {"runAsNonRoot": True},
        **(pod or {}),
    }
    template = {"template": {"spec": spec}}
    return manifest(kind, spec={"jobTemplate": {"spec": template}} if kind == "CronJob" else template)


def kafka(**config: Any) -> Resource:
    right = {
        "default.replication.factor": 3,
        "offsets.topic.replication.factor": 3,
        "transaction.state.log.replication.factor": 3,
        "min.insync.replicas": 2,
    }
    return manifest("Kafka", spec={"kafka": {"config": {**right, **config}}})


def clickhouse(kind: str, copies: int) -> Resource:
    cluster = {"name": "main", "layout": {"shardsCount": 2, "replicasCount": copies}}
    return manifest(kind, spec={"configuration": {"clusters": [cluster]}})


RIGHT = {
    "a container": (docker(), DOCKER),
    "an image by tag": (Resource(type=DOCKER_IMAGE, name="a", inputs={"name": "host:5000/a/b:16.3"}), DOCKER),
    "a deployment": (workload(), KUBERNETES),
    "an image by digest": (workload(image=f"example.test/app{DIGEST}"), KUBERNETES),
    "a job without probes": (workload("CronJob", readinessProbe=None), KUBERNETES),
    "a replicated kafka": (kafka(), KUBERNETES),
    "three brokers": (
        manifest("KafkaNodePool", spec={"replicas": 3, "resources": PROGRAM["resources"]}),
        KUBERNETES,
    ),
    "replicated clickhouse": (clickhouse("ClickHouseInstallation", 2), KUBERNETES),
    "three keepers": (clickhouse("ClickHouseKeeperInstallation", 3), KUBERNETES),
    "a chart": (Resource(type=HELM_RELEASE, name="a", inputs={"version": "1.0.0"}), KUBERNETES),
    "a config map with a reference": (
        manifest(
            "ConfigMap", data={"a.properties": "database.password=${secrets:cdc/debezium:password}\n# password=x"}
        ),
        KUBERNETES,
    ),
    "a secret": (manifest("Secret", stringData={"password": "hidden"}, secrets=["stringData"]), KUBERNETES),
    "one copy in dev": (
        Resource(type="cdc:KafkaTopics", name="t", inputs={"topics": {"a": {"replication": 1}}}, secrets=[]),
        DOCKER,
    ),
}

WRONG: dict[str, tuple[Resource, str, str]] = {
    "an image without a tag": (
        Resource(type=DOCKER_IMAGE, name="a", inputs={"name": "host:5000/a/b"}),
        DOCKER,
        "pinned-images: name = 'host:5000/a/b'",
    ),
    "an image by a moving tag": (workload(image="app:latest"), KUBERNETES, "pinned-images: .*app:latest"),
    "an operator's image by a moving tag": (
        manifest("Cluster", spec={"imageName": "pg:stable", "instances": 3, "resources": PROGRAM["resources"]}),
        KUBERNETES,
        "pinned-images: spec.imageName",
    ),
    "a chart without a version": (
        Resource(type=HELM_RELEASE, name="a", inputs={"chart": "strimzi"}),
        KUBERNETES,
        "pinned-images: version",
    ),
    "a password in a container's environment": (
        docker(envs=["POSTGRES_PASSWORD=hunter2"]),
        DOCKER,
        "no-plain-passwords: environment variable POSTGRES_PASSWORD",
    ),
    "a password in a pod's environment": (
        workload(env=[{"name": "API_TOKEN", "value": "hunter2"}]),
        KUBERNETES,
        "no-plain-passwords: environment variable API_TOKEN",
    ),
    "a password in a config map": (
        manifest("ConfigMap", data={"a.properties": "user=x\ndatabase.password = hunter2\n"}),
        KUBERNETES,
        "no-plain-passwords: data.a.properties",
    ),
    "a password in a config map's xml": (
        manifest("ConfigMap", data={"users.xml": "<user><password>hunter2</password></user>"}),
        KUBERNETES,
        "no-plain-passwords: data.users.xml",
    ),
    "a password under a config map's key": (
        manifest("ConfigMap", data={"password": "hunter2"}),
        KUBERNETES,
        "no-plain-passwords: data.password",
    ),
    "a password in clear in the state": (
        Resource(type="cdc:SourceSchema", name="s", inputs={"debezium_password": "hunter2"}, secrets=[]),
        DOCKER,
        "no-plain-passwords: debezium_password",
    ),
    "a secret in clear in the state": (
        manifest("Secret", stringData={"users.xml": "anything"}),
        KUBERNETES,
        "no-plain-passwords: stringData.users.xml",
    ),
    "a container without a limit": (docker(memory=None), DOCKER, "limits: memory"),
    "a pod without limits": (
        workload(resources={"requests": {"cpu": "1"}}),
        KUBERNETES,
        "limits: main: resources lack requests.memory, limits.memory",
    ),
    "a job without limits": (workload("CronJob", resources=None), KUBERNETES, "limits: main"),
    "brokers without limits": (
        manifest("KafkaNodePool", spec={"replicas": 3}),
        KUBERNETES,
        "limits: spec: resources lack",
    ),
    "a container that nobody watches": (docker(healthcheck=None), DOCKER, "health-checks: healthcheck"),
    "a pod that nobody watches": (workload(readinessProbe=None), KUBERNETES, "health-checks: main"),
    "a sidecar that nobody watches": (
        workload(pod={"initContainers": [{**UNWATCHED, "name": "side", "restartPolicy": "Always"}]}),
        KUBERNETES,
        "health-checks: side",
    ),
    "topics with one copy": (
        Resource(type="cdc:KafkaTopics", name="t", inputs={"topics": {"a": {"replication": 1}}}, secrets=[]),
        KUBERNETES,
        "copies: topic a: replication = 1: below 3",
    ),
    "kafka with two copies": (kafka(**{"default.replication.factor": 2}), KUBERNETES, "copies: default.replication"),
    "kafka that confirms after one write": (kafka(**{"min.insync.replicas": 1}), KUBERNETES, "copies: min.insync"),
    "kafka that says nothing of copies": (manifest("Kafka", spec={"kafka": {}}), KUBERNETES, "= None: below 3"),
    "two databases": (
        manifest("Cluster", spec={"instances": 2, "resources": PROGRAM["resources"]}),
        KUBERNETES,
        "copies: spec.instances = 2",
    ),
    "clickhouse without a replica": (
        clickhouse("ClickHouseInstallation", 1),
        KUBERNETES,
        "copies: main: replicasCount = 1: below 2",
    ),
    "two keepers": (clickhouse("ClickHouseKeeperInstallation", 2), KUBERNETES, "copies: main: replicasCount = 2"),
    "a port for everyone": (
        docker(ports=[{"internal": 1, "external": 5432}]),
        DOCKER,
        "loopback-ports: port 5432: published on every address",
    ),
    "a privileged container": (docker(privileged=True), DOCKER, "unprivileged: privileged"),
    "a container that may gain rights": (docker(securityOpts=[]), DOCKER, "unprivileged: securityOpts"),
    "a container on the host's network": (docker(networkMode="host"), DOCKER, "unprivileged: networkMode"),
    "a container with the engine's socket": (
        docker(mounts=[{"type": "bind", "source": "/var/run/docker.sock", "target": "/s"}]),
        DOCKER,
        "unprivileged: mounts the engine's socket",
    ),
    "a container with more capabilities": (
        docker(capabilities={"adds": ["NET_ADMIN"]}),
        DOCKER,
        "unprivileged: capabilities: adds NET_ADMIN",
    ),
    "a privileged pod": (
        workload(securityContext={**PROGRAM["securityContext"], "privileged": True}),
        KUBERNETES,
        "unprivileged: main: privileged",
    ),
    "a pod that may run as root": (workload(pod={"securityContext": {}}), KUBERNETES, "lacks runAsNonRoot"),
    "a pod that may gain rights": (workload(securityContext={}), KUBERNETES, "lacks allowPrivilegeEscalation: false"),
    "a pod that keeps capabilities": (
        workload(securityContext={"allowPrivilegeEscalation": False}),
        KUBERNETES,
        "does not drop ALL",
    ),
    "a pod on the host's network": (workload(pod={"hostNetwork": True}), KUBERNETES, "unprivileged: main: hostNetwork"),
    "a pod on the host's disk": (
        workload(pod={"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}),
        KUBERNETES,
        "unprivileged: main: mounts the host's /",
    ),
}


@pytest.mark.parametrize("what", RIGHT)
def test_lets_pass(what: str) -> None:
    resource, platform = RIGHT[what]
    assert findings(resource, platform) == []


@pytest.mark.parametrize("what", WRONG)
def test_refuses(what: str) -> None:
    resource, platform, said = WRONG[what]
    found = findings(resource, platform)
    assert any(re.search(said, each) for each in found), found
    assert len({each.split(": ")[1] for each in found}) == 1, "the example breaks more than the one rule"


def test_every_rule_is_seen_to_refuse_on_each_of_its_platforms() -> None:
    seen = {(text.split(": ")[1], platform) for item in WRONG.values() for text, platform in _found(item)}
    assert seen == {(rule.name, platform) for rule in RULES for platform in rule.platforms}


def _found(item: tuple[Resource, str, str]) -> list[tuple[str, str]]:
    return [(text, item[1]) for text in findings(item[0], item[1])]
