"""Small objects that are right, for tests that spoil them."""

from __future__ import annotations

from typing import Any

NAMESPACE = "cdc-samples"


def restricted_namespace(name: str = NAMESPACE) -> dict[str, Any]:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def deployment(**pod: Any) -> dict[str, Any]:
    """A Deployment that Pod Security "restricted" lets in; ``pod`` are more fields of its pods."""
    container = {
        "name": "main",
        "image": "example.test/app:1.0",
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    labels = {"app": "sample"}
    context = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "sample", "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "securityContext": context, **pod},
            },
        },
    }


def custom(version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "sample", "namespace": NAMESPACE}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


CUSTOM = {
    "cloudnative-pg": custom("postgresql.cnpg.io/v1", "Cluster", {"instances": 3, "storage": {"size": "1Gi"}}),
    "plugin-barman-cloud": custom(
        "barmancloud.cnpg.io/v1", "ObjectStore", {"configuration": {"destinationPath": "s3://backups/"}}
    ),
    "cert-manager": custom(
        "cert-manager.io/v1", "Certificate", {"secretName": "tls", "dnsNames": ["a.test"], "issuerRef": {"name": "ca"}}
    ),
    "prometheus-operator": custom(
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": "up == 0", "for": "5m"}]}]},
    ),
    "strimzi": custom(
        "kafka.strimzi.io/v1",
        "KafkaNodePool",
        {"replicas": 3, "roles": ["broker"], "storage": {"type": "jbod", "volumes": []}},
    ),
}
"""One object of each operator whose definitions are loaded."""
