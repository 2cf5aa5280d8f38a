"""ClickHouse Keeper on Kubernetes: an odd number of nodes that only speak TLS."""

from __future__ import annotations

from typing import Any, Final

from components.configs.edges import KEEPER, PODS
from components.configs.quantities import resources
from components.configs.render import render
from components.kubernetes.certificates import MOUNT, tls_secret
from components.kubernetes.manifests import WAIT, Manifest, apart, named, pull_secrets, restricted_pod
from components.kubernetes.network import PRIORITY_CLASS, Namespaces
from components.settings import Settings

API: Final = "clickhouse-keeper.altinity.com/v1"
CLUSTER: Final = "main"
PORT: Final = 2281
UID: Final = 101


def nodes(settings: Settings, namespaces: Namespaces) -> list[dict[str, Any]]:
    """Where servers find the nodes: the Service that the operator makes for each."""
    return [
        {"host": namespaces.host(f"chk-{KEEPER}-{CLUSTER}-0-{number}"), "port": PORT, "secure": "yes"}
        for number in range(settings.kubernetes.clickhouse_keepers)
    ]


def keeper(settings: Settings, namespaces: Namespaces, image: str) -> Manifest:
    """The ClickHouseKeeperInstallation."""
    kubernetes = settings.kubernetes
    spec: dict[str, Any] = {
        "defaults": {
            "templates": {"podTemplate": "keeper", "dataVolumeClaimTemplate": "data"},
            "storageManagement": {"reclaimPolicy": "Retain"},
        },
        "configuration": {
            "settings": {
                "logger/level": "information",
                "logger/console": "true",
                "listen_host": "0.0.0.0",  # noqa: S104 - of the pod
                "keeper_server/tcp_port": "_removed_",
                "keeper_server/tcp_port_secure": str(PORT),
                "keeper_server/raft_configuration/secure": "true",
                "prometheus/endpoint": "/metrics",
                "prometheus/port": "7000",
                "prometheus/metrics": "true",
                "prometheus/events": "true",
                "prometheus/asynchronous_metrics": "true",
            },
            "files": {"cdc-tls.xml": render("clickhouse-tls.xml", folder=MOUNT)},
            "clusters": [
                {
                    "name": CLUSTER,
                    "pdbManaged": "yes",
                    "pdbMaxUnavailable": 1,
                    "layout": {"replicasCount": kubernetes.clickhouse_keepers},
                }
            ],
        },
        "templates": {
            "podTemplates": [{"name": "keeper", "spec": _pod(settings, image)}],
            "volumeClaimTemplates": [
                {
                    "name": "data",
                    "reclaimPolicy": "Retain",
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "storageClassName": kubernetes.storage_class,
                        "resources": {"requests": {"storage": kubernetes.keeper_storage}},
                    },
                }
            ],
        },
    }
    completed = {WAIT: "jsonpath={.status.status}=Completed"}
    return named("ClickHouseKeeperInstallation", API, KEEPER, namespaces.pipeline, annotations=completed) | {
        "spec": spec
    }


def _pod(settings: Settings, image: str) -> dict[str, Any]:
    # The operator's own probe talks to the port without TLS, which is not there.
    probe = {"httpGet": {"path": "/ready", "port": 9182}, "periodSeconds": 5, "timeoutSeconds": 5}
    pod: dict[str, Any] = {
        "priorityClassName": PRIORITY_CLASS,
        "securityContext": restricted_pod(UID),
        **apart(PODS["keeper"], settings.kubernetes.zone_key),
        "containers": [
            {
                "name": "clickhouse-keeper",
                "image": image,
                "env": [{"name": "CLICKHOUSE_DATA_DIR", "value": "/var/lib/clickhouse-keeper"}],
                "ports": [
                    {"name": "zk-secure", "containerPort": PORT},
                    {"name": "raft", "containerPort": 9444},
                    {"name": "metrics", "containerPort": 7000},
                ],
                "resources": resources("clickhouse-keeper", settings.resource_scale),
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "livenessProbe": {"tcpSocket": {"port": PORT}, "initialDelaySeconds": 30, "failureThreshold": 6},
                "readinessProbe": probe | {"failureThreshold": 12},
                "volumeMounts": [{"name": "tls", "mountPath": MOUNT, "readOnly": True}],
            }
        ],
        "volumes": [{"name": "tls", "secret": {"secretName": tls_secret(KEEPER), "defaultMode": 0o440}}],
    }
    return pod | pull_secrets(settings)
