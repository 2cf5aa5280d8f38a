"""Every version of the system, once. Standard library only: the toolchain reads it before anything is installed."""

from typing import Final

PULUMI_CLI: Final = "3.250.0"
"""CLI and Python SDK; requirements.txt pins the same SDK (a test compares them)."""
PULUMI_PYTHON_HOST: Final = "3.70.0"
"""Last tagged Go module that holds the Python language host; it runs programs for newer CLIs."""
PLUGIN_DOCKER: Final = "5.2.0"
PLUGIN_RANDOM: Final = "4.21.4"
PLUGIN_KUBERNETES: Final = "4.34.2"

KUBERNETES: Final = "1.34.1"
"""API server that the manifests are checked against: the oldest release that the operators below support."""
ETCD: Final = "3.6.4"
"""Its store, of the version that this Kubernetes is built with."""
CLOUDNATIVE_PG: Final = "1.30.0"
BARMAN_PLUGIN: Final = "0.13.0"
CERT_MANAGER: Final = "1.19.1"
PROMETHEUS_OPERATOR: Final = "0.93.1"
STRIMZI: Final = "1.2.0"

POSTGRES: Final = "16.15"
KAFKA: Final = "4.3.1"
DEBEZIUM: Final = "3.7.0.Final"
"""Below 3.7 rows are lost when Connect is killed in the middle of a COPY (docs/decisions/0005)."""
DEBEZIUM_SAFE: Final = (3, 7)
"""The first release line that restarts inside a group of events with one LSN."""
CLICKHOUSE: Final = "26.3"
"""The pulled server; the built image is chDB, the same engine as a library."""
CHDB: Final = "26.9.0"
JMX_EXPORTER: Final = "1.0.1"

PROMETHEUS: Final = "3.5.0"
ALERTMANAGER: Final = "0.28.1"
NODE_EXPORTER: Final = "1.9.1"
DEBIAN_PROMETHEUS: Final = "2.42.0"
"""This and the next two: what Debian 12 packages, where the images are built."""
DEBIAN_ALERTMANAGER: Final = "0.25.0"
DEBIAN_NODE_EXPORTER: Final = "1.5.0"
POSTGRES_EXPORTER: Final = "0.17.1"
"""Pulled or built alike: 0.20 renames the slot metrics."""
KAFKA_EXPORTER: Final = "1.9.0"
GRAFANA: Final = "12.1.1"
KAFDROP: Final = "4.2.0"
RCLONE: Final = "1.75.1"
OPERATIONS: Final = "0.1.0"
"""The image of our own programs (cdc/)."""

UPSTREAM_IMAGES: Final[dict[str, str]] = {
    "postgres": "postgres:{version}",
    "kafka": "apache/kafka:{version}",
    "kafka-connect": "quay.io/debezium/connect:{version}",
    "clickhouse": "clickhouse/clickhouse-server:{version}",
    "clickhouse-keeper": "clickhouse/clickhouse-keeper:{version}",
    "prometheus": "prom/prometheus:v{version}",
    "alertmanager": "prom/alertmanager:v{version}",
    "node-exporter": "prom/node-exporter:v{version}",
    "postgres-exporter": "quay.io/prometheuscommunity/postgres-exporter:v{version}",
    "kafka-exporter": "danielqsj/kafka-exporter:v{version}",
    "grafana": "grafana/grafana:{version}",
    "kafdrop": "obsidiandynamics/kafdrop:{version}",
}
"""Where each part is pulled from when a registry answers; ``{version}`` comes from the settings."""

OPTIONAL_PARTS: Final = ("kafka-exporter", "grafana", "kafdrop")
"""Nothing packages these: where no registry answers they are left out, with a warning, and all else works."""

CHARTS: Final[dict[str, str]] = {
    "cert-manager": "v1.19.1",
    "strimzi-kafka-operator": "1.2.0",
    "cloudnative-pg": "0.29.0",
    "plugin-barman-cloud": "0.7.0",
    "altinity-clickhouse-operator": "0.25.6",
    "kube-prometheus-stack": "88.5.3",
}
"""Helm charts of the stack on Kubernetes; CloudNativePG's 0.29.0 brings 1.30.0, its plugin's 0.7.0 brings 0.13.0."""

CLUSTER_IMAGES: Final[dict[str, str]] = {
    "postgres": "ghcr.io/cloudnative-pg/postgresql:{version}-standard-trixie",
    "kafka": "quay.io/strimzi/kafka:1.2.0-kafka-{version}",
    "clickhouse": "clickhouse/clickhouse-server:{version}",
    "clickhouse-keeper": "clickhouse/clickhouse-keeper:{version}",
    "rclone": "rclone/rclone:{version}",
}
"""Images of the parts there: those that the operators expect. The standard PostgreSQL image has pg_failover_slots."""
