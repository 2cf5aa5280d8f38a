"""Every panel's query is run against the running stack and returns rows; every metric of a rule is there."""

from __future__ import annotations

import pytest

from tests import dashboards
from tests.e2e import grafana
from tests.e2e.running import Live, eventually
from tests.monitoring import rules
from tests.monitoring.promql import metrics

CONDITIONAL = {
    "cdc_ingest_errors": "once a message could not be read",
    "cdc_reconcile_differences": "once tables were compared",
    "cdc_reconcile_age_seconds": "once tables were compared",
    "cdc_schema_changes": "where schema changes are carried to ClickHouse",
}
"""Metrics that docs/metrics.md calls missing until something happened."""
JMX = ("kafka_server_", "kafka_controller_", "kafka_log_", "debezium_")
"""Come from the agent in the images that are built here."""
RANGES = {dashboards.load(file)["uid"]: dashboards.load(file)["time"]["from"] for file in dashboards.FILES}
QUERIES = [query for query in dashboards.queries() if query.ref]
ANNOTATIONS = [query for query in dashboards.queries() if not query.ref]
SCRAPED_SECONDS = 150
"""Rates need some scrapes, rules some evaluations."""


@pytest.fixture(scope="module")
def traded(live: Live) -> Live:
    """Somebody has ordered something today."""
    live.source(
        "INSERT INTO inventory.orders (purchaser, quantity, product_id, unit_price)"
        " SELECT c.id, 2, p.id, 5.00 FROM inventory.customers c, inventory.products p ORDER BY c.id, p.id LIMIT 3"
    )
    live.wait_equal()
    return live


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_a_panel_shows_rows(traded: Live, query: dashboards.Query) -> None:
    if _needs_jmx(query.text) and not _has_jmx(traded):
        pytest.skip("the pulled image has no JMX agent")
    span = grafana.seconds(RANGES[query.dashboard])
    eventually(
        lambda: bool(grafana.rows(traded.connections, query, span)), SCRAPED_SECONDS, f"rows: {query.text}", every=2
    )


@pytest.mark.parametrize("query", ANNOTATIONS, ids=str)
def test_an_annotation_can_be_asked(live: Live, query: dashboards.Query) -> None:
    """It has rows only when something happened."""
    grafana.rows(live.connections, query, 3600)


@pytest.mark.parametrize("name", sorted(set().union(*map(metrics, rules.expressions().values())) - set(CONDITIONAL)))
def test_a_metric_of_a_rule_is_there(live: Live, name: str) -> None:
    if _needs_jmx(name) and not _has_jmx(live):
        pytest.skip("the pulled image has no JMX agent")
    eventually(lambda: bool(grafana.promql(live.connections, name)), SCRAPED_SECONDS, name, every=2)


def test_prometheus_has_loaded_every_rule(live: Live) -> None:
    import requests  # noqa: PLC0415

    groups = requests.get(f"{live.connections.outputs['prometheusUrl']}/api/v1/rules", timeout=10).json()["data"][
        "groups"
    ]
    loaded = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in loaded} == {alert.name for alert in rules.alerts()} | rules.records()
    assert [rule["lastError"] for rule in loaded if rule.get("lastError")] == []


def _needs_jmx(text: str) -> bool:
    return any(name.startswith(JMX) for name in metrics(text))


def _has_jmx(live: Live) -> bool:
    return str(live.connections.outputs["images"]["kafka"]["source"]) == "built"
