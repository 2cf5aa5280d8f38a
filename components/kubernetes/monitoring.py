"""Monitoring on Kubernetes: the rules and dashboards of the repository, and a monitor for every exporter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi
import pulumi_random as random
import yaml

from components import versions
from components.configs.alertmanager import alertmanager_config
from components.configs.edges import PODS
from components.configs.prometheus import rule_files
from components.configs.quantities import resources
from components.endpoints import Watched
from components.kubernetes import grafana
from components.kubernetes.manifests import Manifest, apart, named, register, secret
from components.kubernetes.network import PRIORITY_CLASS, Namespaces
from components.kubernetes.operations import hardened
from components.kubernetes.operators import Chart, release
from components.names import Names
from components.settings import Settings

API: Final = "monitoring.coreos.com/v1"
STACK: Final = "kube-prometheus-stack"
FOUND_BY: Final = {"release": STACK}
"""Label by which Prometheus and Grafana take rules, monitors and dashboards up."""
SCRAPED: Final = {
    "kafka": ("kafka", "tcp-prometheus"),
    "connect": ("connect", "tcp-prometheus"),
    "kafka-exporter": ("kafka-exporter", "tcp-prometheus"),
    "clickhouse": ("clickhouse", "metrics"),
    "clickhouse-keeper": ("keeper", "metrics"),
    "cloudnative-pg": ("postgres", "metrics"),
    "postgres": ("postgres-exporter", "metrics"),
    "cdc": ("exporter", "metrics"),
}
"""Prometheus job, the pods' role, and the name of their port; the jobs are those of Docker, so that the rules hold."""
ALERTMANAGER_SECRET: Final = "alertmanager-cdc"  # noqa: S105 - what it is called


class Monitoring(pulumi.ComponentResource):
    """Prometheus, Alertmanager and Grafana from one chart, unless the cluster has them; what they show is ours."""

    urls: dict[str, Any]

    def __init__(
        self, name: str, *, names: Names, namespaces: Namespaces, watched: Watched, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("cdc:kubernetes:Monitoring", name, None, opts)
        settings = names.settings
        child = pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on)
        self.urls = grafana.urls(settings)
        after: list[pulumi.Resource] = []
        if settings.kubernetes.operators == "install":
            admin = random.RandomPassword("grafana-admin", length=32, special=False, opts=child).result
            routes = register(alertmanager_secret(settings, namespaces.monitoring), child)
            login: dict[str, pulumi.Input[str]] = {"admin-user": "admin", "admin-password": admin}
            account = register(secret(grafana.ADMIN, namespaces.monitoring, login), child)
            books = register(grafana.runbooks(namespaces.monitoring), child)
            before = child.merge(pulumi.ResourceOptions(depends_on=[routes, account, books]))
            after = [release(chart(settings), namespaces.monitoring, settings, before)]
            self.urls |= {"grafanaUser": "admin", "grafanaPassword": admin}
        later = child.merge(pulumi.ResourceOptions(depends_on=after))
        shown = [
            *grafana.dashboards(namespaces.monitoring),
            grafana.datasources(settings, namespaces.monitoring, watched),
        ]
        for manifest in [*rules(namespaces), *shown, *monitors(settings, namespaces)]:
            register(manifest, later)
        for manifest in postgres_exporter(settings, namespaces, watched):
            register(manifest, later)
        self.register_outputs({})


def chart(settings: Settings) -> Chart:
    """The chart's values: two of each, volumes, limits, and all monitors and rules that carry our label."""
    scale, kubernetes = settings.resource_scale, settings.kubernetes
    storage = {
        "storageClassName": kubernetes.storage_class,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": kubernetes.monitoring_storage}},
    }
    agent = {"resources": resources("agent", scale)}
    return Chart(
        name=STACK,
        repository="oci://ghcr.io/prometheus-community/charts",
        values={
            "fullnameOverride": STACK,
            # The repository's own rules are what is tested here.
            "defaultRules": {"create": False},
            "prometheus": {
                "prometheusSpec": {
                    "replicas": 2,
                    "retention": f"{settings.prometheus_retention_days}d",
                    "scrapeInterval": f"{settings.scrape_interval_seconds}s",
                    "resources": resources("prometheus", scale),
                    "podAntiAffinity": "hard",
                    "storageSpec": {"volumeClaimTemplate": {"spec": storage}},
                }
            },
            "alertmanager": {
                "alertmanagerSpec": {
                    "replicas": 2,
                    "useExistingSecret": True,
                    "configSecret": ALERTMANAGER_SECRET,
                    "resources": resources("alertmanager", scale),
                }
            },
            "grafana": grafana.values(settings),
            "prometheusOperator": {
                "resources": resources("operator", scale),
                "prometheusConfigReloader": agent,
                "admissionWebhooks": {"patch": agent},
            },
            "kube-state-metrics": agent,
            # The rules' name of the job.
            "prometheus-node-exporter": {
                **agent,
                "prometheus": {"monitor": {"jobLabel": "jobLabel"}},
                "podLabels": {"jobLabel": "node"},
            },
        },
    )


def alertmanager_secret(settings: Settings, namespace: str) -> Manifest:
    """Alertmanager's file, the same as Docker's: whom it tells holds secrets."""
    data: dict[str, pulumi.Input[str]] = {"alertmanager.yaml": alertmanager_config(settings)}
    return secret(ALERTMANAGER_SECRET, namespace, data)


def rules(namespaces: Namespaces) -> list[Manifest]:
    """One PrometheusRule for each file of monitoring/rules."""
    return [
        named("PrometheusRule", API, f"cdc-{name.removesuffix('.yml')}", namespaces.pipeline, labels=FOUND_BY)
        | {"spec": {"groups": yaml.safe_load(text)["groups"]}}
        for name, text in rule_files().items()
    ]


def monitors(settings: Settings, namespaces: Namespaces) -> list[Manifest]:
    """One PodMonitor for each exporter."""
    return [_monitor(job, role, port, settings, namespaces) for job, (role, port) in SCRAPED.items()]


def _monitor(job: str, role: str, port: str, settings: Settings, namespaces: Namespaces) -> Manifest:
    endpoint: dict[str, Any] = {
        "port": port,
        "interval": f"{settings.scrape_interval_seconds}s",
        "relabelings": [{"targetLabel": "job", "replacement": job}],
    }
    return named("PodMonitor", API, f"cdc-{job}", namespaces.pipeline, labels=FOUND_BY) | {
        "spec": {"selector": {"matchLabels": PODS[role]}, "podMetricsEndpoints": [endpoint]}
    }


def postgres_exporter(settings: Settings, namespaces: Namespaces, watched: Watched) -> list[Manifest]:
    """The exporter whose names the rules use; CloudNativePG's own has others."""
    name, namespace = "postgres-exporter", namespaces.pipeline
    source, operator = watched.source, watched.source_operator
    reference = versions.UPSTREAM_IMAGES[name].format(version=versions.POSTGRES_EXPORTER)
    sslmode = "verify-full&sslrootcert=/etc/cdc/ca/ca.crt" if source.ca is not None else "require"
    probe = {"httpGet": {"path": "/", "port": 9187}, "periodSeconds": 10}
    container: dict[str, Any] = {
        "name": name,
        "image": reference,
        "env": [
            {"name": "DATA_SOURCE_URI", "value": f"{source.inside}/{source.database}?sslmode={sslmode}"},
            {"name": "DATA_SOURCE_USER", "value": operator.user},
            {"name": "DATA_SOURCE_PASS_FILE", "value": "/run/secrets/cdc/password"},
        ],
        "ports": [{"name": "metrics", "containerPort": 9187}],
        "resources": resources("agent", settings.resource_scale),
        "livenessProbe": probe,
        "readinessProbe": probe,
    }
    mounts: Mapping[str, str] = {"password": "/run/secrets/cdc", "ca": "/etc/cdc/ca"}
    volumes = [
        {"name": "password", "secret": {"secretName": name}},
        {"name": "ca", "configMap": {"name": "cdc-ca"}},
    ]
    pod = hardened(container, volumes, mounts, PRIORITY_CLASS) | apart(PODS[name], settings.kubernetes.zone_key)
    return [
        secret(name, namespace, {"password": operator.password}),
        deployment(name, namespace, PODS[name], pod),
    ]


def deployment(name: str, namespace: str, labels: Mapping[str, str], pod: Manifest) -> Manifest:
    """One pod, made anew wherever there is room."""
    return named("Deployment", "apps/v1", name, namespace, labels=dict(labels)) | {
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": dict(labels)},
            "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
        }
    }
