"""Rules, dashboards and JMX settings as they lie in the repository: what is in the folders is what is deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = ROOT / "monitoring" / "rules"
JMX: Final = ROOT / "monitoring" / "jmx"
DASHBOARDS: Final = ROOT / "dashboards"
ANY_RULE: Final = "lowercaseOutputName: true\nrules:\n- pattern: '.*'\n"
"""What an agent exports where the folder has no file for it: everything."""


def rule_groups() -> dict[str, list[dict[str, Any]]]:
    """Groups of each Prometheus rule file, by the file's name; promtool's test files are left out."""
    files = sorted(path for kind in ("*.yml", "*.yaml") for path in RULES.glob(kind))
    documents = {path.stem: yaml.safe_load(path.read_text()) or {} for path in files}
    return {name: document["groups"] for name, document in documents.items() if "groups" in document}


def dashboards() -> dict[str, str]:
    """Text of each dashboard by file name."""
    return {path.name: path.read_text() for path in sorted(DASHBOARDS.glob("**/*.json"))}


def jmx_rules() -> dict[str, str]:
    """JMX exporter settings of ``kafka.yml`` and ``connect.yml``."""
    found = {path.name: path.read_text() for path in sorted(JMX.glob("*.yml"))}
    return {name: found.get(name, ANY_RULE) for name in ("kafka.yml", "connect.yml")}
