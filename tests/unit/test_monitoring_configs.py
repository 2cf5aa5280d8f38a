"""Prometheus, Alertmanager and Grafana get valid files that do what the settings say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.configs import alertmanager, grafana, images, prometheus
from components.configs.images import MONITORING_PARTS, Image
from components.configs.readme import readme
from components.settings import Settings, SettingsError

EMAIL = {"alertEmailTo": "ops@example.org", "alertEmailFrom": "cdc@example.org", "alertSmtpHost": "mail:25"}


def settings(**values: object) -> Settings:
    return Settings.from_mapping(values)


def grafana_datasources() -> str:
    clickhouse = grafana.Database(host="ch", port=8123, database="analytics", user="reader", password_file="/s/ch")
    postgres = grafana.Database(host="pg", port=5432, database="inventory", user="looker", password_file="/s/pg")
    return grafana.datasources(
        interval_seconds=15,
        prometheus_url="http://prometheus:9090",
        clickhouse=clickhouse,
        postgres=postgres,
        postgres_sslmode="disable",
    )


def routes(**values: object) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(alertmanager.alertmanager_config(settings(**values)))
    return found


@pytest.mark.parametrize(("interval", "timeout"), [(15, "10s"), (5, "5s")])
def test_prometheus_asks_every_target_at_the_interval(interval: int, timeout: str) -> None:
    text = prometheus.prometheus_config(interval_seconds=interval, targets={"node": "n:9100", "cdc": "c:9117"})
    config = yaml.safe_load(text)
    assert config["global"]["scrape_interval"] == config["global"]["evaluation_interval"] == f"{interval}s"
    assert config["global"]["scrape_timeout"] == timeout
    found = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert found == {"node": ["n:9100"], "cdc": ["c:9117"]}


def test_a_rule_file_reaches_prometheus_under_its_name() -> None:
    found = prometheus.rule_files()
    assert found
    for name, text in found.items():
        assert name.endswith(".yml")
        assert yaml.safe_load(text)["groups"]


def test_without_an_address_nobody_is_told() -> None:
    config = routes()
    assert config["route"]["receiver"] == "none"
    assert config["receivers"] == [{"name": "none"}]


def test_a_webhook_is_told_of_warnings_and_of_critical_alerts() -> None:
    config = routes(alertWebhookUrl='http://pager.example/hook?a="b"')
    operator = next(receiver for receiver in config["receivers"] if receiver["name"] == "operator")
    assert operator["webhook_configs"] == [{"url": 'http://pager.example/hook?a="b"', "send_resolved": True}]
    assert "email_configs" not in operator
    assert config["route"]["receiver"] == "operator"
    overriding = {route["receiver"]: route["matchers"] for route in config["route"]["routes"] if "receiver" in route}
    assert overriding == {"none": ['severity = "info"']}


def test_mail_and_webhook_go_together() -> None:
    config = routes(alertWebhookUrl="http://pager.example", **EMAIL, alertSmtpUser="u", alertSmtpPassword="p: #")
    operator = config["receivers"][1]
    assert operator["webhook_configs"]
    assert operator["email_configs"][0] | {"send_resolved": True} == {
        "to": "ops@example.org",
        "from": "cdc@example.org",
        "smarthost": "mail:25",
        "auth_username": "u",
        "auth_password": "p: #",
        "send_resolved": True,
    }


def test_mail_without_a_server_is_refused_with_the_cure() -> None:
    with pytest.raises(SettingsError, match="alertEmailTo needs alertEmailFrom and alertSmtpHost"):
        settings(alertEmailTo="ops@example.org")


def test_a_wrong_webhook_is_not_shown() -> None:
    with pytest.raises(SettingsError) as refused:
        settings(alertWebhookUrl=["http://pager.example/token"])
    assert "token" not in str(refused.value)


def test_data_sources_have_stable_ids_and_no_password() -> None:
    sources = {source["uid"]: source for source in yaml.safe_load(grafana_datasources())["datasources"]}
    assert set(sources) == {"prometheus", "clickhouse", "postgres"}
    assert sources["clickhouse"]["secureJsonData"]["password"] == "$__file{/s/ch}"
    assert sources["postgres"]["secureJsonData"]["password"] == "$__file{/s/pg}"
    assert sources["postgres"]["url"] == "pg:5432"
    assert sources["clickhouse"]["type"] in grafana.PLUGINS.split(",")


def test_dashboards_are_provisioned_with_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"uid": "cdc-pipeline", "panels": []}))
    monkeypatch.setattr(grafana, "DASHBOARDS", tmp_path)
    assert set(grafana.dashboard_files()) == {"a.json"}
    assert grafana.dashboard_links("http://g:3000") == {"cdc-pipeline": "http://g:3000/d/cdc-pipeline"}
    provider = yaml.safe_load(grafana.dashboard_provider())["providers"][0]
    assert provider["options"]["path"] == grafana.DASHBOARDS_PATH


@pytest.mark.parametrize("part", ["kafka", "connect"])
def test_jmx_rules_name_metrics_as_prometheus_wants_them(part: str) -> None:
    rules = yaml.safe_load(prometheus.jmx_rules(part))
    assert rules["lowercaseOutputName"] is True
    for rule in rules["rules"]:
        re.compile(rule["pattern"])
        assert re.fullmatch(r"[a-z_][a-z0-9_$]*", rule["name"]), rule
        assert (rule["type"] == "COUNTER") == rule["name"].endswith("_total"), rule


def test_optional_parts_may_be_absent_others_not(tmp_path: Path) -> None:
    record = tmp_path / "images.json"
    record.write_text(json.dumps({"grafana": {"source": "absent"}}))
    assert "grafana" not in images.resolve(settings(), record=record)
    assert "kafdrop" in images.resolve(settings(), record=record)
    record.write_text(json.dumps({"prometheus": {"source": "absent"}}))
    with pytest.raises(SettingsError, match="no image for prometheus on this host; run `make images`"):
        images.resolve(settings(), record=record)


def test_one_image_serves_every_program_of_ours() -> None:
    image = Image(part="operations", reference="cdc/operations:0", source="built", version="0")
    assert set(images.containers({"operations": image})) == set(images.PROGRAMS)


def test_without_monitoring_none_of_its_images_is_asked_for() -> None:
    assert not set(MONITORING_PARTS) & set(images.part_versions(settings(monitoring=False)))
    assert set(MONITORING_PARTS) <= set(images.part_versions(settings()))


def test_the_page_leaves_out_what_does_not_run() -> None:
    page = readme({"prometheusUrl": "http://p:1", "dashboards": {"cdc-business": "http://g/d/cdc-business"}})
    assert "http://p:1" in page
    assert "http://g/d/cdc-business" in page
    assert "Kafdrop" not in page
    assert "${" not in page
