"""Dashboards are reviewed files: what a reviewer should not have to look for is checked here."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from components.configs import grafana
from tests import dashboards
from tests.monitoring import rules
from tests.monitoring.promql import metrics

UIDS = {"cdc-pipeline", "cdc-infrastructure", "cdc-business"}
DATASOURCES = {
    "prometheus": "prometheus",
    "clickhouse": "grafana-clickhouse-datasource",
    "postgres": "grafana-postgresql-datasource",
}
WIDTH, SCREEN = 24, 24
"""Grid units; a screen of 1080 lines shows about 24 rows."""
EVERY_PANEL = [
    pytest.param(panel, id=f"{dashboards.load(file)['uid']}-{panel['id']}")
    for file in dashboards.FILES
    for panel in dashboards.panels(dashboards.load(file))
]
EVERY_FILE = pytest.mark.parametrize("file", dashboards.FILES, ids=lambda file: file.stem)


def test_the_three_dashboards_have_stable_uids() -> None:
    assert {dashboards.load(file)["uid"] for file in dashboards.FILES} == UIDS
    assert all(file.stem == dashboards.load(file)["uid"] for file in dashboards.FILES)


@EVERY_FILE
def test_a_file_is_formatted(file: Path) -> None:
    """Two spaces and a line end: a change shows as that change alone."""
    assert file.read_text() == json.dumps(dashboards.load(file), indent=2, ensure_ascii=False) + "\n"


@EVERY_FILE
def test_a_dashboard_is_for_the_grafana_that_we_run(file: Path) -> None:
    document = dashboards.load(file)
    assert document["schemaVersion"] >= 39
    assert "id" not in document, "an id belongs to one Grafana"
    assert document["title"]
    assert document["description"]
    assert document["tags"] == ["cdc"]
    assert [each["tags"] for each in document["links"]] == [["cdc"]], "links to the other dashboards"
    assert {each["name"] for each in document["annotations"]["list"]} == {"Deploys and restarts", "Alerts"}


@EVERY_FILE
def test_panels_have_ids_of_their_own_and_do_not_overlap(file: Path) -> None:
    panels = dashboards.panels(dashboards.load(file))
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        grid = panel["gridPos"]
        assert grid["x"] >= 0
        assert grid["x"] + grid["w"] <= WIDTH, panel["title"]
    for one, other in combinations(panels, 2):
        assert not _overlap(one["gridPos"], other["gridPos"]), f"{one['title']} and {other['title']}"


@EVERY_FILE
def test_the_first_screen_has_no_holes(file: Path) -> None:
    """What answers the question comes first, in full rows."""
    cells = {
        (x, y)
        for panel in dashboards.panels(dashboards.load(file))
        for grid in [panel["gridPos"]]
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
        if y < SCREEN
    }
    rows = max(y for _, y in cells) + 1
    assert len(cells) == WIDTH * rows


@pytest.mark.parametrize("panel", EVERY_PANEL)
def test_a_panel_explains_itself(panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["title"]
    assert len(panel["description"]) > 20
    assert defaults["unit"], "no unit"
    assert defaults["thresholds"]["steps"][0]["value"] is None, "no threshold for the lowest values"
    assert panel["targets"]
    refs = [target["refId"] for target in panel["targets"]]
    assert len(set(refs)) == len(refs)


@pytest.mark.parametrize("panel", EVERY_PANEL)
def test_a_panel_reads_provisioned_data_sources(panel: dict[str, Any]) -> None:
    for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
        assert DATASOURCES[source["uid"]] == source["type"]


def test_data_sources_are_those_that_are_provisioned() -> None:
    database = grafana.Database(host="h", port=1, database="d", user="u", password_file="/f")
    text = grafana.datasources(
        interval_seconds=15,
        prometheus_url="http://p",
        clickhouse=database,
        postgres=database,
        postgres_sslmode="disable",
    )
    for uid, kind in DATASOURCES.items():
        assert re.search(rf"uid: {uid}\n.*\n    type: {kind}\n", text), uid


@pytest.mark.parametrize("panel", EVERY_PANEL)
def test_links_lead_to_dashboards_and_runbooks(panel: dict[str, Any]) -> None:
    links = [*panel["links"], *(each for override in panel["fieldConfig"]["overrides"] for each in _links(override))]
    assert panel["links"], "nowhere to go from here"
    for each in links:
        target = each["url"].split("?")[0]
        if target.startswith("/d/"):
            assert target.removeprefix("/d/") in UIDS
        else:
            name = target.removeprefix(f"{grafana.RUNBOOKS_URL}/")
            assert "${" in name or (rules.RUNBOOKS / name).exists(), each


@EVERY_FILE
def test_no_variable_is_unused_or_unknown(file: Path) -> None:
    text = file.read_text()
    defined = {each["name"] for each in dashboards.load(file)["templating"]["list"]}
    used = {name for name in re.findall(r"\$\{?([A-Za-z_]\w*)", text) if not name.startswith("__")}
    assert used == defined


@pytest.mark.parametrize("query", [q for q in dashboards.queries() if q.datasource == "prometheus"], ids=str)
def test_a_panel_uses_known_metrics(query: dashboards.Query) -> None:
    assert metrics(query.text) - rules.known_metrics() - rules.records() == set()


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def _links(override: dict[str, Any]) -> list[dict[str, str]]:
    return [link for prop in override["properties"] if prop["id"] == "links" for link in prop["value"]]
