"""Grafana on Kubernetes: the chart's values, and as Secret and ConfigMaps what its sidecars and pod take up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi
import yaml

from components.configs import grafana
from components.configs.quantities import resources
from components.endpoints import Watched
from components.kubernetes.manifests import Manifest, named, secret
from components.names import ANALYTICS_DATABASE
from components.settings import Settings

ADMIN: Final = "grafana-admin"
RUNBOOKS: Final = "cdc-runbooks"
CHARTS_OWN: Final = "prometheus"
"""uid of the data source that the chart makes itself, which is also the one our dashboards ask."""


def values(settings: Settings) -> dict[str, Any]:
    """The chart's ``grafana``: dashboards and data sources by sidecar, runbooks where the panels' links lead."""
    kubernetes, agent = settings.kubernetes, {"resources": resources("agent", settings.resource_scale)}
    found: dict[str, Any] = {
        "admin": {"existingSecret": ADMIN},
        "resources": resources("grafana", settings.resource_scale),
        "plugins": [grafana.PLUGINS],
        "sidecar": {
            **agent,
            "dashboards": {"enabled": True, "label": "grafana_dashboard"},
            "datasources": {"enabled": True, "label": "grafana_datasource", "uid": CHARTS_OWN},
        },
        "extraConfigmapMounts": [
            {"name": RUNBOOKS, "configMap": RUNBOOKS, "mountPath": grafana.RUNBOOKS_PATH, "readOnly": True}
        ],
    }
    if host := kubernetes.grafana_host:
        found["grafana.ini"] = {"server": {"root_url": f"https://{host}"}}
        found["ingress"] = {
            "enabled": True,
            "ingressClassName": kubernetes.ingress_class,
            "hosts": [host],
            "tls": [{"secretName": kubernetes.grafana_tls_secret, "hosts": [host]}],
        }
    return found


def datasources(settings: Settings, namespace: str, watched: Watched) -> Manifest:
    """ClickHouse and PostgreSQL with users that only read: Docker's file, but over TLS that is verified."""
    clickhouse, source = watched.clickhouse, watched.source
    text = grafana.datasources(
        interval_seconds=settings.scrape_interval_seconds,
        prometheus_url="",
        clickhouse=grafana.Database(
            host=clickhouse.inside_http.host,
            port=clickhouse.inside_http.port,
            database=ANALYTICS_DATABASE,
            user=clickhouse.reader.user,
            password_file="",
        ),
        postgres=grafana.Database(
            host=source.inside.host,
            port=source.inside.port,
            database=source.database,
            user=watched.source_reader.user,
            password_file="",
        ),
        postgres_sslmode="verify-full" if source.ca is not None else "require",
    )
    trusted = {
        "clickhouse": {"secure": True, "tlsAuthWithCACert": True} if clickhouse.ca is not None else {},
        "postgres": {"tlsConfigurationMethod": "file-content"} if source.ca is not None else {},
    }
    passwords = {"clickhouse": clickhouse.reader.password, "postgres": watched.source_reader.password}
    authorities = {"clickhouse": clickhouse.ca, "postgres": source.ca}

    def complete(known: Mapping[str, Any]) -> str:
        found = [each for each in yaml.safe_load(text)["datasources"] if each["uid"] in trusted]
        for each in found:
            each["jsonData"] |= trusted[each["uid"]]
            # Grafana reads $ as the start of a variable's name.
            each["secureJsonData"] = {"password": known["passwords"][each["uid"]].replace("$", "$$")}
            if authority := known["authorities"][each["uid"]]:
                each["secureJsonData"]["tlsCACert"] = authority
        return str(yaml.safe_dump({"apiVersion": 1, "datasources": found}, sort_keys=False))

    content = pulumi.Output.all(passwords=passwords, authorities=authorities).apply(complete)
    made = secret("cdc-datasources", namespace, {"cdc.yaml": content})
    made["metadata"]["labels"] = {"grafana_datasource": "1"}
    return made


def dashboards(namespace: str) -> list[Manifest]:
    """One ConfigMap for each file of dashboards/."""
    labels = {"grafana_dashboard": "1"}
    return [
        named("ConfigMap", "v1", f"dashboard-{name.removesuffix('.json')}", namespace, labels=labels)
        | {"data": {name: text}}
        for name, text in grafana.dashboard_files().items()
    ]


def runbooks(namespace: str) -> Manifest:
    """Every file of docs/runbooks."""
    return named("ConfigMap", "v1", RUNBOOKS, namespace) | {"data": grafana.runbook_files()}


def urls(settings: Settings) -> dict[str, Any]:
    """The stack's outputs that lead to Grafana, where people have a name for it."""
    if not settings.kubernetes.grafana_host:
        return {}
    url = f"https://{settings.kubernetes.grafana_host}"
    return {"grafanaUrl": url, "dashboards": grafana.dashboard_links(url)}
