"""The dashboards as data, and what Grafana would send of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILES = sorted((Path(__file__).parents[1] / "dashboards").glob("*.json"))


@dataclass(frozen=True, kw_only=True)
class Query:
    """One target of a panel; ``text`` is PromQL or SQL as it is written."""

    dashboard: str
    panel: str
    ref: str
    datasource: str
    text: str

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel} {self.ref}"


@cache
def load(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def panels(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every panel, those in rows too."""
    return [each for panel in document["panels"] for each in (panel, *panel.get("panels", []))]


def queries() -> Iterator[Query]:
    for file in FILES:
        document = load(file)
        for panel in panels(document):
            for target in panel.get("targets", []):
                yield Query(
                    dashboard=document["uid"],
                    panel=panel["title"],
                    ref=target["refId"],
                    datasource=target["datasource"]["uid"],
                    text=target.get("expr") or target["rawSql"],
                )
        for annotation in document["annotations"]["list"]:
            yield Query(
                dashboard=document["uid"],
                panel=f"annotation {annotation['name']}",
                ref="",
                datasource=annotation["datasource"]["uid"],
                text=annotation["expr"],
            )
