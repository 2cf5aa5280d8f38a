"""Configuration files carry the settings, hold no password, and keep the recovery promises."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from components.configs import alertmanager, clickhouse, grafana, images, kafka, prometheus, source
from components.configs.render import FILES, render
from components.configs.resources import FLOOR_MIB, MATRIX_MIB, memory
from components.names import Names
from components.settings import Settings, SettingsError
from tests.unit.test_monitoring_configs import grafana_datasources


def settings(**values: object) -> Settings:
    return Settings.from_mapping(values)


def properties(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_a_value_without_placeholder_is_refused() -> None:
    with pytest.raises(ValueError, match="no placeholder for colour"):
        render("pg_hba.conf", colour="red")


def test_a_placeholder_without_value_is_refused() -> None:
    with pytest.raises(KeyError):
        render("server.properties")


def test_no_placeholder_is_left_in_any_file() -> None:
    limits = memory("clickhouse", 0.25)
    texts = [
        source.postgresql_conf(limits, max_slot_wal_keep_mb=512),
        source.pg_hba_conf(),
        kafka.broker_properties(external_port=19092),
        kafka.worker_properties(Names(settings=settings()), bootstrap="kafka:29092", replication=1),
        clickhouse.server_config(limits, keeper=("clickhouse-keeper", 9181)),
        clickhouse.keeper_config(port=9181),
        render("clickhouse-client.xml", user="u", password="p", ca_file="/ca.crt"),
        render("clickhouse-tls.xml", folder="/etc/cdc/tls"),
        prometheus.prometheus_config(interval_seconds=15, targets={"node": "node-exporter:9100"}),
        alertmanager.alertmanager_config(settings()),
        grafana_datasources(),
        grafana.dashboard_provider(),
        clickhouse.users_config(limits, admin_password="a", operator_password="c", reader_password="b"),
    ]
    inside_another = {
        "clickhouse-replication.xml",
        "clickhouse-backup.sh",
        "backup-retention.sh",
        "prometheus-job.yml",
        "alertmanager-operator.yml",
        "alertmanager-webhook.yml",
        "alertmanager-email.yml",
    }
    assert len(texts) == len({path.name for path in FILES.iterdir()} - inside_another)
    assert not [text for text in texts if re.search(r"\$\{\w+\}", text)]


def test_the_source_decodes_logically_and_caps_what_a_slot_holds_back() -> None:
    conf = source.postgresql_conf(memory("postgres-source", 0.25), max_slot_wal_keep_mb=777)
    assert re.search(r"^wal_level = logical$", conf, re.M)
    assert re.search(r"^max_slot_wal_keep_size = '777MB'$", conf, re.M)
    assert re.search(r"^shared_buffers = '128MB'$", conf, re.M)


def test_host_authentication_trusts_nobody_and_copies_no_cluster() -> None:
    rules = [line.split() for line in source.pg_hba_conf().splitlines() if line and not line.startswith("#")]
    assert rules
    assert {rule[-1] for rule in rules} == {"scram-sha-256"}
    assert not [rule for rule in rules if rule[1] == "replication"]


def test_the_broker_makes_no_topic_by_itself_and_aborts_dead_transactions_quickly() -> None:
    broker = properties(kafka.broker_properties(external_port=19092))
    assert broker["auto.create.topics.enable"] == "false"
    assert broker["transaction.abort.timed.out.transaction.cleanup.interval.ms"] == "500"
    assert "EXTERNAL://127.0.0.1:19092" in broker["advertised.listeners"]


def test_the_worker_is_exactly_once_and_replaced_within_seconds() -> None:
    worker = properties(kafka.worker_properties(Names(settings=settings()), bootstrap="kafka:29092", replication=1))
    assert worker["exactly.once.source.support"] == "enabled"
    assert worker["scheduled.rebalance.max.delay.ms"] == "0"
    assert int(worker["session.timeout.ms"]) <= 6000
    assert worker["config.storage.topic"] == "cdc-connect-configs"
    assert worker["plugin.discovery"] == "service_load"


def test_clickhouse_users_are_one_per_duty_with_hashes_only() -> None:
    text = clickhouse.users_config(
        memory("clickhouse", 0.25),
        admin_password="s3cret-a",
        operator_password="s3cret-c",
        reader_password="s3cret-b",
    )
    assert "s3cret" not in text
    users = ElementTree.fromstring(text).find("users")
    assert users is not None
    assert {user.tag for user in users} == {"default", "cdc_admin", "cdc_operator", "analytics_user"}
    assert users.find("default[@remove='remove']") is not None
    hashes = [user.findtext("password_sha256_hex") for user in users if user.tag != "default"]
    assert len(set(hashes)) == 3
    assert users.findtext("analytics_user/grants/query") == "GRANT SELECT, SHOW ON analytics.*"
    operator = [query.text or "" for query in users.iterfind("cdc_operator/grants/query")]
    assert operator[0] == "GRANT SELECT, INSERT, SHOW ON analytics.*"
    assert all(grant.startswith("GRANT SELECT ON system.") for grant in operator[1:])


def test_memory_follows_the_scale_down_to_the_floor() -> None:
    assert memory("clickhouse", 1).limit_mib == MATRIX_MIB["clickhouse"]
    assert memory("clickhouse", 0.25).limit_mib == MATRIX_MIB["clickhouse"] // 4
    assert memory("kafka", 0.1).limit_mib == FLOOR_MIB["kafka"]
    assert memory("kafka", 0.25).jvm_options == "-Xms256m -Xmx512m"


def test_without_a_record_the_upstream_image_is_used(tmp_path: Path) -> None:
    image = images.resolve(settings(kafkaVersion="4.3.1"), record=tmp_path / "none.json")["kafka"]
    assert (image.reference, image.source) == ("apache/kafka:4.3.1", "pulled")


def test_a_built_image_is_used_and_said_to_be_built(tmp_path: Path) -> None:
    record = tmp_path / "images.json"
    record.write_text(
        json.dumps({"postgres": {"reference": "cdc/postgres:abc", "source": "built", "version": "16.15"}})
    )
    image = images.resolve(settings(), record=record)["postgres"]
    assert (image.reference, image.source, image.version) == ("cdc/postgres:abc", "built", "16.15")


def test_an_image_of_another_version_is_refused_with_the_cure(tmp_path: Path) -> None:
    record = tmp_path / "images.json"
    record.write_text(
        json.dumps({"postgres": {"reference": "cdc/postgres:abc", "source": "built", "version": "16.15"}})
    )
    with pytest.raises(SettingsError, match=r"postgres on this host is 16\.15, the settings ask for 16\.3; run `make"):
        images.resolve(settings(postgresVersion="16.3"), record=record)


def test_replicated_tables_are_refused_of_a_built_clickhouse(tmp_path: Path) -> None:
    record = tmp_path / "images.json"
    entry = {"reference": "cdc/clickhouse:abc", "source": "built", "version": "26.9.0", "requested": "26.3"}
    record.write_text(json.dumps({"clickhouse": entry}))
    with pytest.raises(SettingsError, match="the built ClickHouse has no replicated tables"):
        images.resolve(settings(replicated=True), record=record)


def test_keeper_is_named_only_where_tables_are_replicated() -> None:
    limits = memory("clickhouse", 0.25)
    plain = ElementTree.fromstring(clickhouse.server_config(limits))
    replicated = ElementTree.fromstring(clickhouse.server_config(limits, keeper=("clickhouse-keeper", 9181)))
    assert plain.find("zookeeper") is None
    assert replicated.findtext("zookeeper/node/host") == "clickhouse-keeper"
    assert replicated.findtext("macros/shard") == "1"
    assert ElementTree.fromstring(clickhouse.keeper_config(port=9181)).findtext("keeper_server/tcp_port") == "9181"
