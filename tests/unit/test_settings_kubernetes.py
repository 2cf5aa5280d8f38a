"""A stack on Kubernetes that can't be deployed is refused with key, value and cure, before any resource is made."""

from __future__ import annotations

from typing import Any

import pytest

from components.settings import Settings, SettingsError
from tests.stacks import prod_config


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"kafkaReplication": 5}, "cdc:kubernetes.kafkaReplication = 5: exceeds kafkaBrokers 3"),
        ({"kafkaMinInsync": 4}, "cdc:kubernetes.kafkaMinInsync = 4: exceeds kafkaReplication 3"),
        ({"kafkaMinInsync": 3}, "one broker's restart would stop writes"),
        ({"kafkaControllers": 2}, "cdc:kubernetes.kafkaControllers = 2: is even"),
        ({"clickhouseKeepers": 0}, "cdc:kubernetes.clickhouseKeepers = 0: shards and replicas coordinate over Keeper"),
        ({"clickhouseKeepers": 4}, "cdc:kubernetes.clickhouseKeepers = 4: is even"),
        ({"postgresSyncReplicas": 3}, "needs more standbys than postgresInstances 3 has"),
        ({"storageClass": ""}, "cdc:kubernetes.storageClass = '': name a storage class"),
        ({"postgresHost": ""}, "cdc:kubernetes.postgresHost = '': give the DNS name"),
        ({"clickhouseHost": ""}, "cdc:kubernetes.clickhouseHost = ''"),
        ({"connectHost": ""}, "cdc:kubernetes.connectHost = ''"),
        ({"connectImage": ""}, "set either connectImage or connectBuildImage"),
        ({"connectBuildImage": "registry.example.com/x:1"}, "set either connectImage or connectBuildImage"),
        ({"connectImage": "registry.example.com/x:latest"}, "a tag other than latest, or a digest"),
        ({"operationsImage": "registry.example.com/x"}, "cdc:kubernetes.operationsImage"),
        ({"operationsImage": ""}, "push images/operations to your registry"),
        (
            {"grafanaHost": "grafana.example.com"},
            "cdc:kubernetes.grafanaTlsSecret = '': grafanaHost is served over HTTPS",
        ),
        ({"backupBucket": ""}, "cdc:kubernetes.backupBucket = ''"),
        ({"backupEndpoint": "http://plain.example.com"}, "cdc:kubernetes.backupEndpoint"),
        ({"digests": {"clickhouse": "sha256:abc"}}, "is not sha256:"),
        ({"endpointCidrs": ["everywhere"]}, "an address range such as 10.0.0.0/8"),
        ({"postgresStorage": "100GB"}, "cdc:kubernetes.postgresStorage = '100GB'"),
        ({"brokers": 3}, "cdc:kubernetes.brokers is not a key of this project"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, Any], expected: str) -> None:
    config = prod_config()
    config["kubernetes"] = {**config["kubernetes"], **values}
    with pytest.raises(SettingsError) as refused:
        Settings.from_mapping(config)
    assert expected in str(refused.value)


@pytest.mark.parametrize("key", ["backupAccessKey", "backupSecretKey"])
def test_an_absent_secret_is_refused_with_the_command_that_sets_it(key: str) -> None:
    with pytest.raises(SettingsError, match=f"cdc:{key} is absent: pulumi config set --secret {key} <value>"):
        Settings.from_mapping({**prod_config(), key: ""})


def test_several_servers_need_replicated_tables() -> None:
    with pytest.raises(SettingsError, match="cdc:replicated = False: 4 ClickHouse servers"):
        Settings.from_mapping({**prod_config(), "replicated": False})


def test_all_that_is_missing_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_mapping({"platform": "kubernetes"})
    text = str(refused.value)
    for key in ("storageClass", "postgresHost", "clickhouseHost", "connectHost", "backupBucket", "connectImage"):
        assert f"cdc:kubernetes.{key} = ''" in text
    assert "cdc:backupSecretKey is absent" in text


def test_docker_needs_none_of_it() -> None:
    assert Settings.from_mapping({"platform": "docker"}).kubernetes.kafka_brokers == 3
