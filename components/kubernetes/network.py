"""Namespaces with their Pod Security level, and who may talk to whom in the pipeline's."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components.configs.edges import Surroundings, policies
from components.kubernetes.manifests import Manifest, named, register
from components.names import Names

PRIORITY_CLASS = "cdc-data"


@dataclass(frozen=True, kw_only=True)
class Namespaces:
    """Names of the three namespaces."""

    pipeline: str
    operators: str
    monitoring: str

    @classmethod
    def of(cls, names: Names) -> Namespaces:
        """Namespaces of a stack; operators and monitoring may exist already."""
        kubernetes = names.settings.kubernetes
        return cls(
            pipeline=names.resource("cdc"),
            operators=kubernetes.operators_namespace,
            monitoring=kubernetes.monitoring_namespace,
        )

    def host(self, service: str) -> str:
        """DNS name of a Service in the pipeline's namespace."""
        return f"{service}.{self.pipeline}.svc"


class Network(pulumi.ComponentResource):
    """The namespaces (those of operators only when this stack installs them) and the network policies."""

    namespaces: Namespaces

    def __init__(self, name: str, *, names: Names, opts: pulumi.ResourceOptions) -> None:
        super().__init__("cdc:kubernetes:Network", name, None, opts)
        self.namespaces = Namespaces.of(names)
        settings = names.settings.kubernetes
        child = pulumi.ResourceOptions(parent=self)
        # Node exporter looks at its node from outside any container: "restricted" would keep it from starting.
        levels = {self.namespaces.pipeline: "restricted"}
        if settings.operators == "install":
            levels |= {self.namespaces.operators: "restricted", self.namespaces.monitoring: "privileged"}
        made = [register(namespace(each, level), child) for each, level in levels.items()]
        register(priority_class(settings.priority), child)
        inside = pulumi.ResourceOptions(parent=self, depends_on=made)
        for policy in policies(self.namespaces.pipeline, surroundings(names)):
            register(policy, inside)
        self.register_outputs({})


def namespace(name: str, level: str) -> Manifest:
    """A namespace that enforces a Pod Security level."""
    labels = {f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "warn", "audit")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def priority_class(value: int) -> Manifest:
    """What is evicted last: pods that hold data or move it."""
    manifest = named("PriorityClass", "scheduling.k8s.io/v1", PRIORITY_CLASS, "")
    del manifest["metadata"]["namespace"]
    return manifest | {
        "value": value,
        "globalDefault": False,
        "description": "Parts of the change data capture pipeline",
    }


def surroundings(names: Names) -> Surroundings:
    """What lies around the pipeline's namespace in this cluster."""
    settings, namespaces = names.settings.kubernetes, Namespaces.of(names)
    return Surroundings(
        namespaces={
            "operators": namespaces.operators,
            "monitoring": namespaces.monitoring,
            "ingress": settings.ingress_namespace,
        },
        cidrs={
            "clients": settings.endpoint_cidrs,
            "api-server": [settings.api_server_cidr],
            "object-store": [settings.object_store_cidr],
            "internet": ["0.0.0.0/0"],
        },
    )
