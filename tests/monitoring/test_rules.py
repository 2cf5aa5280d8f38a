"""Every alert is well-formed, tested both ways, explained by a runbook, and stands on metrics that exist."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.monitoring import rules
from tests.monitoring.promql import metrics

SECTIONS = ("## What it means", "## What to look at", "## What to do")
ALWAYS = frozenset({"Watchdog"})
"""Fires without a fault, and has no severity."""


def run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_are_well_formed(promtool: Path) -> None:
    run(promtool, "check", "rules", *rules.RULE_FILES)


@pytest.mark.parametrize("file", rules.TEST_FILES, ids=lambda file: file.stem)
def test_rules_fire_when_they_should(promtool: Path, file: Path) -> None:
    run(promtool, "test", "rules", file)


def test_every_rule_file_has_its_tests() -> None:
    assert [file.name for file in rules.TEST_FILES] == [file.name for file in rules.RULE_FILES]


@pytest.mark.parametrize("alert", rules.alerts(), ids=str)
def test_an_alert_says_what_an_engineer_needs(alert: rules.Alert) -> None:
    assert alert.labels["team"] == "data"
    assert alert.labels["severity"] in (("none",) if alert.name in ALWAYS else ("critical", "warning", "info"))
    assert "$value" in alert.annotations["summary"]
    assert alert.annotations["description"]
    assert alert.annotations["runbook_url"] == f"docs/runbooks/{alert.name}.md"
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}


@pytest.mark.parametrize("alert", rules.alerts(), ids=str)
def test_an_alert_is_tested_both_ways(alert: rules.Alert) -> None:
    cases = [case["exp_alerts"] for case in rules.cases() if case["alertname"] == alert.name]
    assert any(alert.labels.items() <= expected["exp_labels"].items() for case in cases for expected in case)
    assert alert.name in ALWAYS or [] in cases


@pytest.mark.parametrize("name", sorted({alert.name for alert in rules.alerts()}))
def test_an_alert_has_a_runbook(name: str) -> None:
    text = (rules.RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert [section for section in SECTIONS if section not in text] == []
    assert "```" in text, "no command"


def test_no_runbook_without_an_alert() -> None:
    """Playbooks that are not an alert's have lower-case names."""
    written = {path.stem for path in rules.RUNBOOKS.glob("[A-Z]*.md")} - {"README"}
    assert written == {alert.name for alert in rules.alerts()}


def test_names_are_unique() -> None:
    counted = Counter((alert.name, alert.labels.get("window")) for alert in rules.alerts())
    assert [name for name, count in counted.items() if count > 1] == []


@pytest.mark.parametrize(("name", "expression"), rules.expressions().items())
def test_a_rule_uses_known_metrics(name: str, expression: str) -> None:
    assert metrics(expression) - rules.known_metrics() - rules.records() == set(), name


LINK = re.compile(r"\]\(([^)#:]+)\)")


@pytest.mark.parametrize("page", sorted(rules.RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_links_of_a_runbook_lead_somewhere(page: Path) -> None:
    dead = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert dead == []
