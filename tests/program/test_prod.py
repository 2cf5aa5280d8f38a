"""The prod stack as the program declares it: topology, order, secrecy, limits, and who may talk to whom."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from components.configs.edges import EDGES, PODS
from tests.network import End, allowed
from tests.program.harness import Deployment, Registered, deploy
from tests.program.manifests import manifests
from tests.stacks import prod_config

Manifest = dict[str, Any]
OUTSIDE = {
    "operators": End(namespace="cdc-operators"),
    "monitoring": End(namespace="cdc-monitoring"),
    "ingress": End(namespace="ingress-nginx"),
    "clients": End(address="10.1.2.3"),
    "api-server": End(address="10.96.0.1"),
    "object-store": End(address="192.0.2.1"),
    "internet": End(address="192.0.2.2"),
}


@pytest.fixture(scope="module")
def prod() -> Deployment:
    return deploy("prod")


@pytest.fixture(scope="module")
def objects(prod: Deployment) -> list[Manifest]:
    return manifests(prod)


def of_kind(objects: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def peer(role: str) -> End:
    return OUTSIDE.get(role) or End(namespace="cdc", labels=PODS[role])


def containers(value: Any) -> Iterator[Manifest]:
    """Everything below ``value`` that is a container."""
    if isinstance(value, dict):
        yield from (each for key in ("containers", "initContainers") for each in value.get(key) or [])
        for item in value.values():
            yield from containers(item)
    elif isinstance(value, list):
        for item in value:
            yield from containers(item)


def test_docker_and_kubernetes_do_not_meet(prod: Deployment) -> None:
    assert not [each.type for each in prod.resources if each.type.startswith("docker:")]


def test_postgres_replicates_synchronously_and_keeps_its_slot(objects: list[Manifest]) -> None:
    spec = of_kind(objects, "Cluster")["source"]["spec"]
    assert spec["instances"] == 3
    assert spec["postgresql"]["synchronous"] == {"method": "any", "number": 1, "dataDurability": "required"}
    assert spec["replicationSlots"]["highAvailability"]["synchronizeLogicalDecoding"] is True
    parameters = spec["postgresql"]["parameters"]
    assert parameters["wal_level"] == "logical"
    assert parameters["hot_standby_feedback"] == "on"
    assert parameters["max_slot_wal_keep_size"] == "40960MB"
    assert parameters["pg_failover_slots.standby_slots_min_confirmed"] == "1"
    # The operator's webhook refuses these.
    assert not {"listen_addresses", "port", "pg_failover_slots.standby_slot_names"} & set(parameters)
    assert "hostssl inventory streaming_replica all cert" in spec["postgresql"]["pg_hba"]


def test_a_newer_postgres_needs_no_extension() -> None:
    newer = deploy("prod", {"postgresVersion": "17.6"})
    parameters = of_kind(manifests(newer), "Cluster")["source"]["spec"]["postgresql"]["parameters"]
    assert parameters["sync_replication_slots"] == "on"
    assert not [key for key in parameters if key.startswith("pg_failover_slots")]
    assert newer.one("DebeziumConnector").inputs["config"]["slot.failover"] == "true"


def test_kafka_has_three_of_each_and_no_plain_listener(objects: list[Manifest]) -> None:
    pools = of_kind(objects, "KafkaNodePool")
    assert {name: (pool["spec"]["roles"], pool["spec"]["replicas"]) for name, pool in pools.items()} == {
        "controller": (["controller"], 3),
        "broker": (["broker"], 3),
    }
    assert all(not volume["deleteClaim"] for p in pools.values() for volume in p["spec"]["storage"]["volumes"])
    kafka = of_kind(objects, "Kafka")["kafka"]["spec"]["kafka"]
    assert [(each["tls"], each["authentication"]["type"]) for each in kafka["listeners"]] == [(True, "scram-sha-512")]
    config = kafka["config"]
    assert config["default.replication.factor"] == config["transaction.state.log.replication.factor"] == 3
    assert config["min.insync.replicas"] == config["transaction.state.log.min.isr"] == 2
    assert config["auto.create.topics.enable"] == "false"
    assert not [key for key in config if key.startswith(("listener", "process.roles", "log.dirs", "node.id"))]


def test_every_topic_has_three_replicas_and_tables_twelve_partitions(objects: list[Manifest], prod: Deployment) -> None:
    topics = {each["spec"]["topicName"]: each["spec"] for each in of_kind(objects, "KafkaTopic").values()}
    assert topics["postgres-server.inventory.orders"]["partitions"] == 12
    assert {each["replicas"] for each in topics.values()} == {3}
    assert {each["config"]["min.insync.replicas"] for each in topics.values()} == {"2"}
    assert topics["cdc-connect-configs"]["partitions"] == 1
    assert topics["cdc-connect-configs"]["config"]["cleanup.policy"] == "compact"
    assert not prod.of_type("KafkaTopics")


def test_kafka_users_may_do_their_duty_and_nothing_else(objects: list[Manifest]) -> None:
    acls = {name: user["spec"]["authorization"]["acls"] for name, user in of_kind(objects, "KafkaUser").items()}
    assert set(acls) == {"kafka-connect", "kafka-clickhouse", "kafka-operator", "kafka-replay"}
    operations = {name: {op for acl in each for op in acl["operations"]} for name, each in acls.items()}
    assert operations["kafka-clickhouse"] == {"Read", "Describe"}
    assert operations["kafka-operator"] == {"Read", "Describe", "DescribeConfigs"}
    assert operations["kafka-replay"] == {"Read", "Describe", "DescribeConfigs", "Write"}
    groups = [a for a in acls["kafka-operator"] if a["resource"]["type"] == "group"]
    assert {operation for acl in groups for operation in acl["operations"]} == {"Describe"}
    assert not operations["kafka-connect"] & {"All", "Create", "Delete", "Alter"}
    ids = [a["resource"]["name"] for a in acls["kafka-connect"] if a["resource"]["type"] == "transactionalId"]
    assert ids == ["connect-cluster-cdc-connect", "cdc-connect-inventory-connector-0"]
    patterns = {acl["resource"].get("patternType") for acl in acls["kafka-connect"]}
    assert patterns == {"literal"}


def test_our_programs_log_in_to_kafka_with_what_their_pod_has(objects: list[Manifest]) -> None:
    secrets, jobs = of_kind(objects, "Secret"), of_kind(objects, "CronJob")
    pods = {"cdc-exporter": of_kind(objects, "Deployment")["cdc-exporter"]["spec"]["template"]["spec"]}
    for name in ("cdc-reconcile", "cdc-heal", "cdc-replay-errors"):
        pods[name] = jobs[name]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    users = {}
    for name, pod in pods.items():
        mounted = {each["name"]: each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each}
        (container,) = pod["containers"]
        files = {each["mountPath"]: mounted.get(each["name"], "") for each in container["volumeMounts"]}
        outputs = json.loads(secrets[files["/run/secrets/cdc"]]["stringData"]["outputs.json"])
        login = outputs["kafkaLogin"]
        assert files[login["passwordFile"].rpartition("/")[0]] == login["user"], name
        assert login["passwordFile"].endswith("/password")
        assert files[login["caFile"].rpartition("/")[0]] == "kafka-cluster-ca-cert", name
        users[name] = login["user"]
    assert {name for name, user in users.items() if user == "kafka-replay"} == {"cdc-replay-errors"}
    assert set(users.values()) == {"kafka-operator", "kafka-replay"}


def test_what_is_done_by_hand_waits_for_a_hand(objects: list[Manifest]) -> None:
    jobs = of_kind(objects, "CronJob")
    assert {name for name, job in jobs.items() if job["spec"].get("suspend")} == {"cdc-heal", "cdc-replay-errors"}
    (container,) = jobs["cdc-heal"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["args"][-2:] == ["reconcile", "--heal"]


def test_connect_runs_two_workers_exactly_once_and_owns_no_connector(objects: list[Manifest]) -> None:
    connect = of_kind(objects, "KafkaConnect")["connect"]
    assert connect["spec"]["replicas"] == 2
    assert "strimzi.io/use-connector-resources" not in connect["metadata"]["annotations"]
    config = connect["spec"]["config"]
    assert config["exactly.once.source.support"] == "enabled"
    assert config["config.providers"] == "secrets"
    assert config["offset.storage.replication.factor"] == "3"
    assert not [key for key in config if key.startswith(("listeners", "rest.", "bootstrap", "group.id", "plugin.path"))]


def test_clickhouse_is_two_by_two_over_three_keepers_with_tls_only(objects: list[Manifest]) -> None:
    configuration = of_kind(objects, "ClickHouseInstallation")["analytics"]["spec"]["configuration"]
    (cluster,) = configuration["clusters"]
    assert cluster["layout"] == {"shardsCount": 2, "replicasCount": 2}
    assert (cluster["secure"], cluster["insecure"]) == ("yes", "no")
    settings = configuration["settings"]
    for port in ("http_port", "tcp_port", "mysql_port", "postgresql_port", "interserver_http_port"):
        assert settings[port] == "_removed_"
    assert settings["kafka/security_protocol"] == "sasl_ssl"
    assert [node["secure"] for node in configuration["zookeeper"]["nodes"]] == ["yes"] * 3
    keeper = of_kind(objects, "ClickHouseKeeperInstallation")["keeper"]["spec"]["configuration"]
    assert keeper["clusters"][0]["layout"] == {"replicasCount": 3}
    assert keeper["settings"]["keeper_server/tcp_port"] == "_removed_"
    assert configuration["profiles"]["default/do_not_merge_across_partitions_select_final"] == 0


def test_clickhouse_users_are_those_of_the_file_with_hashes_from_a_secret(objects: list[Manifest]) -> None:
    users = of_kind(objects, "ClickHouseInstallation")["analytics"]["spec"]["configuration"]["users"]
    assert users["analytics_user/profile"] == "reader"
    assert "GRANT SELECT, SHOW ON analytics.*" in users["analytics_user/grants/query"]
    assert len(users["cdc_operator/grants/query"]) > 3
    hashes = {key: value for key, value in users.items() if "password" in key}
    assert set(hashes) >= {f"{user}/password_sha256_hex" for user in ("cdc_admin", "cdc_operator", "default")}
    assert all(value["valueFrom"]["secretKeyRef"]["name"] == "analytics-users" for value in hashes.values())


def test_the_providers_reach_the_cluster_by_the_configured_names_and_verify_them(prod: Deployment) -> None:
    source, schema, connector = (prod.one(kind) for kind in ("SourceSchema", "ClickHouseSchema", "DebeziumConnector"))
    assert source.inputs["host"] == "postgres.cdc.example.com"
    assert (schema.inputs["host"], schema.inputs["port"]) == ("clickhouse.cdc.example.com", 9440)
    assert connector.inputs["url"] == "https://connect.cdc.example.com:443"
    assert {each.inputs["ca"] for each in (source, schema, connector)} == {"the authority"}
    assert schema.inputs["parameters"]["on_cluster"] == "ON CLUSTER 'main'"
    assert schema.inputs["parameters"]["replicated"] == "Replicated"
    assert schema.inputs["parameters"]["history"] == "route"
    config = connector.inputs["config"]
    assert config["database.sslmode"] == "verify-full"
    assert config["database.password"] == "${secrets:cdc/debezium-source:password}"
    assert config["database.hostname"] == "source-rw.cdc.svc"


def test_the_order_of_the_start(prod: Deployment) -> None:
    def made(kind: str) -> Registered:
        return next(each for each in prod.resources if each.inputs.get("kind") == kind)

    connector = prod.one("DebeziumConnector")
    strimzi = next(each for each in prod.resources if each.name == "strimzi-kafka-operator")
    for earlier in ("Cluster", "Kafka", "KafkaConnect", "KafkaTopic"):
        assert prod.comes_after(connector, made(earlier)), earlier
    assert prod.comes_after(prod.one("ClickHouseSchema"), made("ClickHouseInstallation"))
    assert prod.comes_after(made("ClickHouseInstallation"), made("ClickHouseKeeperInstallation"))
    assert prod.comes_after(made("KafkaConnect"), made("Kafka"))
    assert prod.comes_after(made("Kafka"), strimzi)
    assert prod.comes_after(made("Cluster"), made("ObjectStore"))
    assert prod.comes_after(made("Cluster"), made("Certificate"))


def test_no_password_stands_outside_a_secret(objects: list[Manifest]) -> None:
    for each in objects:
        if each["kind"] != "Secret":
            assert "password-of-" not in json.dumps(each), (each["kind"], each["metadata"]["name"])


def test_every_password_that_is_handed_on_is_secret(prod: Deployment) -> None:
    for resource in prod.resources:
        leaks = _leaks(resource.inputs, "", resource.secrets)
        assert not leaks, f"{resource.type} {resource.name} holds a password in clear at {leaks}"


def test_every_container_has_requests_and_limits_and_a_pinned_image(objects: list[Manifest]) -> None:
    found = [container for each in objects for container in containers(each)]
    assert len(found) >= 7
    for container in found:
        limits = container["resources"]
        assert set(limits["requests"]) == set(limits["limits"]) == {"cpu", "memory"}, container["name"]
        name = container["image"].rsplit("/", 1)[-1]
        assert ":" in name, container["image"]
        assert not name.endswith(":latest"), container["image"]
    for kind in ("Cluster", "KafkaConnect", "KafkaNodePool"):
        for each in of_kind(objects, kind).values():
            assert set(each["spec"]["resources"]["limits"]) == {"cpu", "memory"}, each["metadata"]["name"]


def test_every_long_running_container_is_watched(objects: list[Manifest]) -> None:
    for kind in ("Deployment", "ClickHouseInstallation", "ClickHouseKeeperInstallation"):
        for each in of_kind(objects, kind).values():
            for container in containers(each):
                assert container["livenessProbe"], container["name"]
                assert container["readinessProbe"], container["name"]


def test_our_own_pods_are_restricted(objects: list[Manifest]) -> None:
    labels = of_kind(objects, "Namespace")["cdc"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for container in (c for each in objects for c in containers(each)):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, container["name"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_what_holds_data_is_protected(prod: Deployment) -> None:
    kinds = {each.inputs["kind"] for each in prod.resources if each.protect and each.type.startswith("kubernetes:")}
    assert kinds == {
        "Cluster",
        "Kafka",
        "KafkaNodePool",
        "KafkaTopic",
        "ClickHouseInstallation",
        "ClickHouseKeeperInstallation",
    }


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: f"{edge.source}-{edge.target}")
def test_every_needed_edge_is_open(edge: Any, objects: list[Manifest]) -> None:
    policies = list(of_kind(objects, "NetworkPolicy").values())
    for port in edge.ports:
        assert allowed(policies, peer(edge.source), peer(edge.target), port), (edge.why, port)


def test_every_other_edge_is_closed(objects: list[Manifest]) -> None:
    policies = list(of_kind(objects, "NetworkPolicy").values())
    ports = sorted({port for edge in EDGES for port in edge.ports})
    needed = {(edge.source, edge.target, port) for edge in EDGES for port in edge.ports}
    # An address may be that of anything outside: these rules can't tell the API server from the object store.
    named = [role for role in [*PODS, *OUTSIDE] if peer(role).namespace]
    open_ = {
        (source, target, port)
        for source in named
        for target in PODS
        for port in ports
        if allowed(policies, peer(source), peer(target), port)
    }
    assert open_ == {each for each in needed if each[0] in named and each[1] in PODS}
    stranger = End(namespace="default")
    assert not [role for role in PODS for port in ports if allowed(policies, stranger, peer(role), port)]
    assert not allowed(policies, End(address="203.0.113.9"), peer("postgres"), 5432)


def test_monitoring_shows_every_rule_and_every_exporter(objects: list[Manifest]) -> None:
    assert {"cdc-slo", "cdc-pipeline", "cdc-kafka", "cdc-postgres"} <= set(of_kind(objects, "PrometheusRule"))
    jobs = {
        m["spec"]["podMetricsEndpoints"][0]["relabelings"][0]["replacement"]
        for m in of_kind(objects, "PodMonitor").values()
    }
    assert jobs >= {"kafka", "connect", "kafka-exporter", "clickhouse", "postgres", "cdc"}
    metrics = of_kind(objects, "ConfigMap")["kafka-metrics"]["data"]
    assert set(metrics) == {"kafka.yml", "connect.yml"}


def test_grafana_asks_both_databases_over_verified_tls(objects: list[Manifest]) -> None:
    made = of_kind(objects, "Secret")["cdc-datasources"]
    assert made["metadata"]["labels"] == {"grafana_datasource": "1"}
    sources = {each["uid"]: each for each in yaml.safe_load(made["stringData"]["cdc.yaml"])["datasources"]}
    assert set(sources) == {"clickhouse", "postgres"}
    for each in sources.values():
        assert set(each["secureJsonData"]) == {"password", "tlsCACert"}
    assert (sources["clickhouse"]["jsonData"]["port"], sources["clickhouse"]["jsonData"]["secure"]) == (8443, True)
    assert sources["postgres"]["jsonData"]["sslmode"] == "verify-full"
    assert (sources["clickhouse"]["jsonData"]["username"], sources["postgres"]["user"]) == (
        "analytics_user",
        "cdc_reader",
    )


def test_grafana_has_an_address_where_one_is_given() -> None:
    config = prod_config()
    config["kubernetes"] = {
        **config["kubernetes"],
        "grafanaHost": "grafana.example.com",
        "grafanaTlsSecret": "grafana-tls",
    }
    made = deploy("prod", config)
    assert made.outputs["grafanaUrl"] == "https://grafana.example.com"
    assert "https://grafana.example.com/d/cdc-pipeline" in made.outputs["dashboards"].values()
    (chart,) = [each for each in made.resources if each.name == "kube-prometheus-stack"]
    assert chart.inputs["values"]["grafana"]["ingress"]["hosts"] == ["grafana.example.com"]


def test_backups_run_by_the_clock_and_are_kept_as_the_settings_say(objects: list[Manifest]) -> None:
    schedules = {name: job["spec"]["schedule"] for name, job in of_kind(objects, "CronJob").items()}
    assert schedules["analytics-backup-increment"] == "20 4,8,12,16,20 * * *"
    assert set(schedules) == {
        "analytics-backup-full",
        "analytics-backup-increment",
        "analytics-backup-weekly",
        "analytics-backup-retention",
        "cdc-heal",
        "cdc-reconcile",
        "cdc-replay-errors",
    }
    pod = of_kind(objects, "CronJob")["analytics-backup-retention"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    values = {each["name"]: each.get("value") or each["valueFrom"]["secretKeyRef"] for each in container["env"]}
    assert (values["DAYS"], values["WEEKS"]) == ("30", "12")
    assert values["RCLONE_CONFIG_STORE_ENDPOINT"] == "https://s3.example.com"
    assert values["RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY"] == {"name": "backup-store", "key": "secret-key"}
    assert container["command"] == ["/bin/sh", "/etc/cdc/script/backup-retention.sh"]
    assert "backup-retention.sh" in of_kind(objects, "ConfigMap")["clickhouse-backup"]["data"]
    store = of_kind(objects, "ObjectStore")["source-backups"]["spec"]
    assert store["retentionPolicy"] == "30d"
    assert of_kind(objects, "ScheduledBackup")["source-nightly"]["spec"]["method"] == "plugin"
    plugin = of_kind(objects, "Cluster")["source"]["spec"]["plugins"][0]
    assert plugin["isWALArchiver"] is True


def test_operators_that_exist_are_not_installed() -> None:
    config = deploy("prod").resources
    kubernetes = next(each for each in config if each.type == "pulumi:providers:kubernetes")
    assert kubernetes.inputs.get("kubeconfig") is None
    existing = deploy("prod", {"kubernetes": {**prod_config()["kubernetes"], "operators": "existing"}})
    assert not existing.of_type("helm.sh/v3:Release")
    assert set(of_kind(manifests(existing), "Namespace")) == {"cdc"}


def test_operators_come_from_pinned_charts_with_limits(prod: Deployment) -> None:
    releases = prod.of_type("helm.sh/v3:Release")
    assert len(releases) == 6
    for release in releases.values():
        assert release.inputs["version"], release.name
        assert "limits" in json.dumps(release.inputs["values"]), release.name


def test_a_digest_wins_over_the_tag() -> None:
    digest = "sha256:" + "a" * 64
    pinned = deploy("prod", {"kubernetes": {**prod_config()["kubernetes"], "digests": {"clickhouse": digest}}})
    server = of_kind(manifests(pinned), "ClickHouseInstallation")["analytics"]
    assert {each["image"].endswith(f"@{digest}") for each in containers(server)} == {True}


def _leaks(value: object, path: str, secrets: set[str]) -> list[str]:
    """Paths of passwords that no enclosing secret covers."""
    if isinstance(value, dict):
        return [leak for key, item in value.items() for leak in _leaks(item, f"{path}.{key}".lstrip("."), secrets)]
    if isinstance(value, list):
        return [leak for index, item in enumerate(value) for leak in _leaks(item, f"{path}[{index}]", secrets)]
    covered = any(path == secret or path.startswith((f"{secret}.", f"{secret}[")) for secret in secrets)
    return [path] if isinstance(value, str) and "password-of-" in value and not covered else []
