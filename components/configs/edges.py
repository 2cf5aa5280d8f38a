"""Who talks to whom on Kubernetes: the list from which network policies are made and against which they are tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

KAFKA: Final = "kafka"
"""Name of the Kafka cluster; names of its Services and Secrets start with it."""
CONNECT: Final = "connect"
POSTGRES: Final = "source"
CLICKHOUSE: Final = "analytics"
KEEPER: Final = "keeper"

PODS: Final[dict[str, dict[str, str]]] = {
    "postgres": {"cnpg.io/cluster": POSTGRES},
    "kafka": {"strimzi.io/name": f"{KAFKA}-kafka"},
    "entity-operator": {"strimzi.io/name": f"{KAFKA}-entity-operator"},
    "kafka-exporter": {"strimzi.io/name": f"{KAFKA}-kafka-exporter"},
    "connect": {"strimzi.io/name": f"{CONNECT}-connect"},
    "connect-build": {"strimzi.io/name": f"{CONNECT}-connect-build"},
    "clickhouse": {"clickhouse.altinity.com/chi": CLICKHOUSE},
    "keeper": {"clickhouse-keeper.altinity.com/chk": KEEPER},
    "postgres-exporter": {"app.kubernetes.io/name": "postgres-exporter"},
    "exporter": {"app.kubernetes.io/name": "cdc-exporter"},
    "reconcile": {"app.kubernetes.io/name": "cdc-reconcile"},
    "replay": {"app.kubernetes.io/name": "cdc-replay-errors"},
    "backup": {"app.kubernetes.io/name": "clickhouse-backup"},
    "backup-retention": {"app.kubernetes.io/name": "backup-retention"},
}
"""Labels, as their operators set them, of every pod in the pipeline's namespace."""

OUTSIDE: Final = ("operators", "monitoring", "ingress", "clients", "api-server", "object-store", "internet")
"""Roles beyond the namespace: three namespaces, and addresses."""

DNS_PORT: Final = 53


@dataclass(frozen=True, kw_only=True)
class Edge:
    """``source`` opens TCP connections to ``ports`` of ``target``; both are roles."""

    source: str
    target: str
    ports: tuple[int, ...]
    why: str


EDGES: Final[tuple[Edge, ...]] = (
    Edge(source="connect", target="postgres", ports=(5432,), why="Debezium reads the WAL"),
    Edge(source="connect", target="kafka", ports=(9093,), why="change events and Connect's own topics"),
    Edge(source="connect", target="connect", ports=(8083,), why="workers pass requests on to their leader"),
    Edge(source="connect", target="api-server", ports=(443, 6443), why="the password is read from its Secret"),
    Edge(source="clickhouse", target="kafka", ports=(9093,), why="Kafka tables consume"),
    Edge(source="clickhouse", target="clickhouse", ports=(9440, 9009), why="distributed queries; replication"),
    Edge(source="clickhouse", target="keeper", ports=(2281,), why="coordination of replicated tables"),
    Edge(source="clickhouse", target="object-store", ports=(443,), why="backups"),
    Edge(source="keeper", target="keeper", ports=(9444,), why="Raft"),
    Edge(source="kafka", target="kafka", ports=(9090, 9091), why="controllers; replication"),
    Edge(source="kafka", target="api-server", ports=(443, 6443), why="a broker asks for its node's zone"),
    Edge(source="entity-operator", target="kafka", ports=(9091,), why="topics and users"),
    Edge(source="entity-operator", target="api-server", ports=(443, 6443), why="watches KafkaTopic and KafkaUser"),
    Edge(source="kafka-exporter", target="kafka", ports=(9091,), why="offsets and lag"),
    Edge(source="postgres", target="postgres", ports=(5432, 8000), why="streaming replication; instance manager"),
    Edge(source="postgres", target="api-server", ports=(443, 6443), why="an instance learns who is primary"),
    Edge(source="postgres", target="object-store", ports=(443,), why="WAL archive and base backups"),
    Edge(source="exporter", target="postgres", ports=(5432,), why="slot and heartbeat"),
    Edge(source="exporter", target="kafka", ports=(9093,), why="offsets and lag"),
    Edge(source="exporter", target="connect", ports=(8083,), why="state of connector and tasks"),
    Edge(source="exporter", target="clickhouse", ports=(8443, 9440), why="freshness"),
    Edge(source="postgres-exporter", target="postgres", ports=(5432,), why="statistics"),
    Edge(source="monitoring", target="postgres-exporter", ports=(9187,), why="metrics"),
    Edge(source="reconcile", target="postgres", ports=(5432,), why="reads both sides"),
    Edge(source="reconcile", target="kafka", ports=(9093,), why="waits until ClickHouse has read what it compares"),
    Edge(source="reconcile", target="clickhouse", ports=(8443, 9440), why="reads both sides, writes results"),
    Edge(source="replay", target="kafka", ports=(9093,), why="sends quarantined messages again"),
    Edge(source="replay", target="clickhouse", ports=(9440,), why="reads and closes their entries"),
    Edge(source="backup", target="clickhouse", ports=(9440,), why="starts BACKUP"),
    Edge(source="backup-retention", target="object-store", ports=(443,), why="removes old backups"),
    Edge(source="operators", target="kafka", ports=(9090, 9091, 8443), why="Strimzi rolls and checks brokers"),
    Edge(source="operators", target="connect", ports=(8083,), why="Strimzi checks workers"),
    Edge(source="operators", target="postgres", ports=(8000,), why="CloudNativePG asks the instance manager"),
    Edge(source="operators", target="clickhouse", ports=(8443,), why="Altinity's operator checks hosts"),
    Edge(source="monitoring", target="postgres", ports=(9187, 5432), why="metrics; Grafana's queries"),
    Edge(source="monitoring", target="kafka", ports=(9404,), why="metrics"),
    Edge(source="monitoring", target="connect", ports=(9404,), why="metrics"),
    Edge(source="monitoring", target="kafka-exporter", ports=(9404,), why="metrics"),
    Edge(source="monitoring", target="clickhouse", ports=(9363, 8443), why="metrics; Grafana's queries"),
    Edge(source="monitoring", target="keeper", ports=(7000,), why="metrics"),
    Edge(source="monitoring", target="exporter", ports=(9117,), why="metrics"),
    Edge(source="ingress", target="connect", ports=(8083,), why="Pulumi registers the connector"),
    Edge(source="clients", target="postgres", ports=(5432,), why="Pulumi applies source roles; applications"),
    Edge(source="clients", target="clickhouse", ports=(8443, 9440), why="Pulumi applies the schema; analysts"),
    Edge(source="connect-build", target="internet", ports=(443,), why="Strimzi fetches the plugin and pushes"),
    Edge(source="connect-build", target="api-server", ports=(443, 6443), why="Strimzi reads the digest it pushed"),
)
"""All else is refused. Every pod may ask DNS besides."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the roles outside the namespace are in this cluster: names of namespaces, address ranges."""

    namespaces: Mapping[str, str]
    cidrs: Mapping[str, Sequence[str]]

    def peers(self, role: str) -> list[dict[str, Any]]:
        """NetworkPolicy peers of a role."""
        if role in PODS:
            return [{"podSelector": {"matchLabels": PODS[role]}}]
        if role in self.namespaces:
            return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespaces[role]}}}]
        return [{"ipBlock": {"cidr": cidr}} for cidr in self.cidrs[role]]


def policies(namespace: str, around: Surroundings) -> list[dict[str, Any]]:
    """NetworkPolicy manifests: nothing goes in or out of the namespace but DNS and the edges."""
    deny = _policy("default-deny", namespace, {}, ingress=[], egress=[])
    dns = [{"ports": [{"protocol": protocol, "port": DNS_PORT} for protocol in ("UDP", "TCP")]}]
    return [deny, _policy("dns", namespace, {}, egress=dns), *(_of_role(role, namespace, around) for role in PODS)]


def _of_role(role: str, namespace: str, around: Surroundings) -> dict[str, Any]:
    ingress = [{"from": around.peers(e.source), "ports": _ports(e)} for e in EDGES if e.target == role]
    egress = [{"to": around.peers(e.target), "ports": _ports(e)} for e in EDGES if e.source == role]
    return _policy(role, namespace, {"matchLabels": PODS[role]}, ingress=ingress, egress=egress)


def _policy(name: str, namespace: str, selector: dict[str, Any], **rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": selector, "policyTypes": [each.capitalize() for each in rules], **rules},
    }


def _ports(edge: Edge) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": port} for port in edge.ports]
