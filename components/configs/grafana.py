"""Grafana's provisioning: data sources with users that only read, and the dashboards of ``dashboards/``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from components.configs.render import render

DASHBOARDS: Final = Path(__file__).parents[2] / "dashboards"
DASHBOARDS_PATH: Final = "/var/lib/grafana-dashboards"
RUNBOOKS: Final = Path(__file__).parents[2] / "docs" / "runbooks"
RUNBOOKS_PATH: Final = "/usr/share/grafana/public/runbooks"
RUNBOOKS_URL: Final = "/public/runbooks"
"""Grafana serves what lies in its public folder: the panels' links lead there."""
PLUGINS: Final = "grafana-clickhouse-datasource"
"""Fetched by Grafana at its first start; it needs a way to grafana.com, which a host with a registry has."""


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database as a data source: address seen from Grafana, user that only reads, file with its password."""

    host: str
    port: int
    database: str
    user: str
    password_file: str


def datasources(
    *, interval_seconds: int, prometheus_url: str, clickhouse: Database, postgres: Database, postgres_sslmode: str
) -> str:
    """``datasources.yml``; passwords stay in their files."""
    return render(
        "grafana-datasources.yml",
        interval=interval_seconds,
        prometheus_url=prometheus_url,
        clickhouse_host=clickhouse.host,
        clickhouse_port=clickhouse.port,
        clickhouse_user=clickhouse.user,
        clickhouse_database=clickhouse.database,
        clickhouse_password_file=clickhouse.password_file,
        postgres_address=f"{postgres.host}:{postgres.port}",
        postgres_user=postgres.user,
        postgres_database=postgres.database,
        postgres_sslmode=postgres_sslmode,
        postgres_password_file=postgres.password_file,
    )


def dashboard_provider() -> str:
    """``dashboards.yml``: everything in one folder."""
    return render("grafana-dashboards.yml", folder=DASHBOARDS_PATH)


def dashboard_files() -> dict[str, str]:
    """Text of each dashboard by its file's name."""
    return {path.name: path.read_text() for path in sorted(DASHBOARDS.glob("*.json"))}


def runbook_files() -> dict[str, str]:
    """Text of each runbook by its file's name."""
    return {path.name: path.read_text() for path in sorted(RUNBOOKS.glob("*.md"))}


def dashboard_links(grafana_url: str) -> dict[str, str]:
    """Address of each dashboard by its uid."""
    uids = [str(json.loads(text)["uid"]) for text in dashboard_files().values()]
    return {uid: f"{grafana_url}/d/{uid}" for uid in uids}
