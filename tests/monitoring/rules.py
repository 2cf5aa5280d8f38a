"""The rule files and their promtool tests, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULE_FILES = sorted((ROOT / "monitoring" / "rules").glob("*.yml"))
TEST_FILES = sorted((ROOT / "monitoring" / "tests").glob("*.yml"))
RUNBOOKS = ROOT / "docs" / "runbooks"
METRIC_LISTS = (ROOT / "docs" / "metrics.md", ROOT / "monitoring" / "exporter-metrics.txt")


@dataclass(frozen=True, kw_only=True)
class Alert:
    name: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]

    def __str__(self) -> str:
        return f"{self.name} {self.labels.get('window', '')}".strip()


@cache
def _rules() -> list[dict[str, Any]]:
    groups = [group for file in RULE_FILES for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


@cache
def alerts() -> list[Alert]:
    return [
        Alert(name=rule["alert"], expr=rule["expr"], labels=rule["labels"], annotations=rule["annotations"])
        for rule in _rules()
        if "alert" in rule
    ]


def expressions() -> dict[str, str]:
    """Expression of every rule, by the rule's name."""
    return {f"{rule.get('alert') or rule['record']} {rule.get('labels', {})}": rule["expr"] for rule in _rules()}


def records() -> set[str]:
    return {rule["record"] for rule in _rules() if "record" in rule}


@cache
def cases() -> list[dict[str, Any]]:
    """Every ``alert_rule_test`` of the promtool tests."""
    tests = [test for file in TEST_FILES for test in yaml.safe_load(file.read_text())["tests"]]
    return [case for test in tests for case in test["alert_rule_test"]]


@cache
def known_metrics() -> set[str]:
    """What our rules may count on: our own metrics (docs/metrics.md) and those of the exporters that we run."""
    text = "\n".join(path.read_text() for path in METRIC_LISTS if path.exists())
    return set(re.findall(r"[a-zA-Z_:][\w:]*", text))
