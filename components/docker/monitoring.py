"""Monitoring on Docker: exporters, Prometheus, Alertmanager, and Grafana and Kafdrop where their images can be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_random as random

from components.configs import grafana, prometheus
from components.configs.alertmanager import alertmanager_config
from components.configs.images import Image
from components.configs.resources import memory
from components.docker import clickhouse, kafka, kafka_connect, operations
from components.docker.jmx import has_agent
from components.docker.network import Network
from components.docker.service import PUBLISHED_ON, File, ServiceArgs, service
from components.endpoints import Watched
from components.names import ANALYTICS_DATABASE, Names

SECRETS: Final = "/run/secrets/cdc"
KAFDROP_HEALTH: Final = ["CMD", "/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9001"]


@dataclass(frozen=True, kw_only=True)
class MonitoringArgs:
    """Images by part (the optional ones may be missing), network, and what is watched."""

    names: Names
    images: Mapping[str, Image]
    network: Network
    watched: Watched


class Monitoring(pulumi.ComponentResource):
    """``urls`` are the stack outputs of what runs."""

    urls: dict[str, Any]

    def __init__(self, name: str, *, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cdc:docker:Monitoring", name, None, opts)
        self._args = args
        self._settings = settings = args.names.settings
        self._node_exporter()
        self._postgres_exporter()
        self._alertmanager()
        self._prometheus()
        self.urls = {
            "prometheusUrl": f"http://{PUBLISHED_ON}:{settings.prometheus_port}",
            "alertmanagerUrl": f"http://{PUBLISHED_ON}:{settings.alertmanager_port}",
        }
        if "kafka-exporter" in args.images:
            self._kafka_exporter()
        if "kafdrop" in args.images:
            self._kafdrop()
            self.urls["kafdropUrl"] = f"http://{PUBLISHED_ON}:{settings.kafdrop_port}"
        if "grafana" in args.images:
            self.urls |= self._grafana()
        self.register_outputs({})

    def _service(
        self,
        part: str,
        *,
        ports: Mapping[int, int],
        health: str | Sequence[str],
        env: Mapping[str, str] | None = None,
        files: Sequence[File] = (),
        command: Sequence[str] | None = None,
        volumes: Mapping[str, str] | None = None,
        host_paths: Mapping[str, str] | None = None,
    ) -> None:
        """A container of this component; ``health`` is a path on its own port, or a command."""
        (port,) = ports
        asked = ["CMD", "wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{port}{health}"]
        service(
            part,
            ServiceArgs(
                names=self._args.names,
                image=self._args.images[part],
                network=self._args.network,
                memory=memory(part, self._settings.resource_scale),
                ports=ports,
                health=asked if isinstance(health, str) else health,
                env=env or {},
                files=files,
                command=command,
                volumes=volumes or {},
                host_paths=host_paths or {},
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _node_exporter(self) -> None:
        """Sees the host's processes, devices and disks, read-only; network figures are the container's own."""
        self._service(
            "node-exporter",
            ports={9100: self._settings.node_exporter_port},
            health="/",
            host_paths={"/proc": "/host/proc", "/sys": "/host/sys", "/": "/host/root"},
            command=[
                "--path.procfs=/host/proc",
                "--path.sysfs=/host/sys",
                "--path.rootfs=/host/root",
                "--collector.filesystem.mount-points-exclude=^/(dev|proc|run|sys|var/lib/docker/.+)($|/)",
            ],
        )

    def _postgres_exporter(self) -> None:
        source, reader = self._args.watched.source, self._args.watched.source_reader
        self._service(
            "postgres-exporter",
            ports={9187: self._settings.postgres_exporter_port},
            health="/",
            env={
                "DATA_SOURCE_URI": f"{source.inside}/{source.database}?sslmode={self._sslmode}",
                "DATA_SOURCE_USER": reader.user,
                "DATA_SOURCE_PASS_FILE": f"{SECRETS}/postgres",
            },
            files=[File(path=f"{SECRETS}/postgres", content=reader.password)],
        )

    @property
    def _sslmode(self) -> str:
        """Our own source speaks no TLS on the stack's networks; anybody else's should."""
        return "disable" if self._settings.source == "managed" else "require"

    def _kafka_exporter(self) -> None:
        self._service(
            "kafka-exporter",
            ports={9308: self._settings.kafka_exporter_port},
            health="/",
            command=[f"--kafka.server={self._args.watched.kafka.inside}"],
        )

    def _kafdrop(self) -> None:
        self._service(
            "kafdrop",
            ports={9001: self._settings.kafdrop_port},
            health=KAFDROP_HEALTH,
            env={
                "KAFKA_BROKERCONNECT": str(self._args.watched.kafka.inside),
                "SERVER_PORT": "9001",
                "JVM_OPTS": "-Xms32M -Xmx128M",
            },
        )

    def _alertmanager(self) -> None:
        port = self._settings.alertmanager_port
        self._service(
            "alertmanager",
            ports={9093: port},
            health="/-/healthy",
            command=[
                "--config.file=/etc/alertmanager/alertmanager.yml",
                "--storage.path=/alertmanager",
                "--cluster.listen-address=",
                f"--web.external-url=http://{PUBLISHED_ON}:{port}",
            ],
            # A webhook's address and a mail password are secrets.
            files=[
                File(
                    path="/etc/alertmanager/alertmanager.yml",
                    content=pulumi.Output.secret(alertmanager_config(self._settings)),
                )
            ],
            volumes={"data": "/alertmanager"},
        )

    def _prometheus(self) -> None:
        port, settings = self._settings.prometheus_port, self._settings
        config = prometheus.prometheus_config(
            interval_seconds=settings.scrape_interval_seconds, targets=targets(self._args)
        )
        rules = prometheus.rule_files()
        self._service(
            "prometheus",
            ports={9090: port},
            health="/-/healthy",
            command=[
                "--config.file=/etc/prometheus/prometheus.yml",
                "--storage.tsdb.path=/prometheus",
                f"--storage.tsdb.retention.time={settings.prometheus_retention_days}d",
                f"--web.external-url=http://{PUBLISHED_ON}:{port}",
            ],
            files=[
                File(path="/etc/prometheus/prometheus.yml", content=config),
                *(File(path=f"/etc/prometheus/rules/{name}", content=text) for name, text in rules.items()),
            ],
            volumes={"data": "/prometheus"},
        )

    def _grafana(self) -> dict[str, Any]:
        """Grafana with its data sources and dashboards; returns its outputs."""
        settings, watched = self._settings, self._args.watched
        admin = random.RandomPassword(
            "grafana-admin", length=32, special=False, opts=pulumi.ResourceOptions(parent=self)
        ).result
        sources = grafana.datasources(
            interval_seconds=settings.scrape_interval_seconds,
            prometheus_url="http://prometheus:9090",
            clickhouse=grafana.Database(
                host=watched.clickhouse.inside_http.host,
                port=watched.clickhouse.inside_http.port,
                database=ANALYTICS_DATABASE,
                user=watched.clickhouse.reader.user,
                password_file=f"{SECRETS}/clickhouse",
            ),
            postgres=grafana.Database(
                host=watched.source.inside.host,
                port=watched.source.inside.port,
                database=watched.source.database,
                user=watched.source_reader.user,
                password_file=f"{SECRETS}/postgres",
            ),
            postgres_sslmode=self._sslmode,
        )
        provisioning, dashboards = "/etc/grafana/provisioning", grafana.dashboard_files()
        self._service(
            "grafana",
            ports={3000: settings.grafana_port},
            health="/api/health",
            env={
                "GF_SECURITY_ADMIN_PASSWORD__FILE": f"{SECRETS}/admin",
                "GF_PLUGINS_PREINSTALL": grafana.PLUGINS,
                "GF_ANALYTICS_REPORTING_ENABLED": "false",
                "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            },
            files=[
                File(path=f"{SECRETS}/admin", content=admin),
                File(path=f"{SECRETS}/clickhouse", content=watched.clickhouse.reader.password),
                File(path=f"{SECRETS}/postgres", content=watched.source_reader.password),
                File(path=f"{provisioning}/datasources/cdc.yml", content=sources),
                File(path=f"{provisioning}/dashboards/cdc.yml", content=grafana.dashboard_provider()),
                *(File(path=f"{grafana.DASHBOARDS_PATH}/{name}", content=text) for name, text in dashboards.items()),
                *(
                    File(path=f"{grafana.RUNBOOKS_PATH}/{name}", content=text)
                    for name, text in grafana.runbook_files().items()
                ),
            ],
            volumes={"data": "/var/lib/grafana"},
        )
        url = f"http://{PUBLISHED_ON}:{settings.grafana_port}"
        return {
            "grafanaUrl": url,
            "grafanaUser": "admin",
            "grafanaPassword": admin,
            "dashboards": grafana.dashboard_links(url),
        }


def targets(args: MonitoringArgs) -> dict[str, str]:
    """Whom Prometheus asks, by job: every exporter that runs."""
    settings, images, watched = args.names.settings, args.images, args.watched
    found = {
        "prometheus": "localhost:9090",
        "alertmanager": "alertmanager:9093",
        "node": "node-exporter:9100",
        "postgres": "postgres-exporter:9187",
        "clickhouse": f"{watched.clickhouse.inside_http.host}:{clickhouse.METRICS_PORT}",
        "cdc": f"{operations.EXPORTER}:{operations.EXPORTER_PORT}",
    }
    if has_agent(settings, images["kafka"]):
        found["kafka"] = f"{watched.kafka.inside.host}:{kafka.JMX_PORT}"
    if has_agent(settings, images["kafka-connect"]):
        found["connect"] = f"{watched.connect.inside.host}:{kafka_connect.JMX_PORT}"
    if "kafka-exporter" in images:
        found["kafka-exporter"] = "kafka-exporter:9308"
    return found
