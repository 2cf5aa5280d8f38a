"""The operators that run the pipeline's parts, from pinned charts; or those the cluster has already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import versions
from components.configs.quantities import resources
from components.kubernetes.network import Namespaces
from components.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One Helm release; ``version`` stands in versions.py under the chart's name."""

    name: str
    repository: str
    values: Mapping[str, Any]
    after: tuple[str, ...] = field(default=())

    @property
    def version(self) -> str:
        """The pinned version."""
        return versions.CHARTS[self.name]


def charts(settings: Settings, namespaces: Namespaces, clickhouse_password: pulumi.Input[str]) -> list[Chart]:
    """Every operator but the monitoring stack, with limits on each of its pods."""
    limits = {"resources": resources("operator", settings.resource_scale)}
    return [
        Chart(
            name="cert-manager",
            repository="https://charts.jetstack.io",
            values={
                "crds": {"enabled": True},
                **limits,
                "webhook": limits,
                "cainjector": limits,
                "startupapicheck": limits,
            },
        ),
        Chart(
            name="strimzi-kafka-operator",
            repository="oci://quay.io/strimzi-helm",
            values={
                "replicas": 2,
                "watchNamespaces": [namespaces.pipeline],
                # Ours are made from the list of edges; these would open the client listener to everyone.
                "generateNetworkPolicy": False,
                "podDisruptionBudget": {"enabled": True},
                "extraEnvs": [{"name": "STRIMZI_POD_SECURITY_PROVIDER_CLASS", "value": "restricted"}],
                **limits,
            },
        ),
        Chart(
            name="cloudnative-pg",
            repository="https://cloudnative-pg.github.io/charts",
            values={"replicaCount": 2, **limits},
        ),
        Chart(
            name="plugin-barman-cloud",
            repository="https://cloudnative-pg.github.io/charts",
            values=limits,
            after=("cert-manager", "cloudnative-pg"),
        ),
        Chart(
            name="altinity-clickhouse-operator",
            repository="https://helm.altinity.com",
            values=_altinity(settings, namespaces, clickhouse_password),
        ),
    ]


def _altinity(settings: Settings, namespaces: Namespaces, password: pulumi.Input[str]) -> dict[str, Any]:
    limits = resources("operator", settings.resource_scale)
    container = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "secret": {"create": True, "username": "clickhouse_operator", "password": password},
        "podSecurityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "operator": {"resources": limits, "containerSecurityContext": container},
        # Servers have an endpoint of their own, with the names that the rules and dashboards use.
        "metrics": {"enabled": False, "resources": limits, "containerSecurityContext": container},
        "crdHook": {"resources": limits},
        "configs": {
            "files": {
                "config.yaml": {
                    "watch": {"namespaces": [namespaces.pipeline]},
                    "clickhouse": {"access": {"scheme": "https", "port": 8443}},
                }
            }
        },
    }


class Operators(pulumi.ComponentResource):
    """What understands the custom resources; depend on it before making one."""

    def __init__(
        self,
        name: str,
        *,
        settings: Settings,
        namespaces: Namespaces,
        clickhouse_password: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("cdc:kubernetes:Operators", name, None, opts)
        made: dict[str, pulumi.Resource] = {}
        if settings.kubernetes.operators == "install":
            for chart in charts(settings, namespaces, clickhouse_password):
                after = [made[earlier] for earlier in chart.after]
                made[chart.name] = release(
                    chart, namespaces.operators, settings, pulumi.ResourceOptions(parent=self, depends_on=after)
                )
        self.register_outputs({})


def release(chart: Chart, namespace: str, settings: Settings, opts: pulumi.ResourceOptions) -> k8s.helm.v3.Release:
    """Install a chart, and wait until its pods are ready."""
    oci = chart.repository.startswith("oci://")
    return k8s.helm.v3.Release(
        chart.name,
        name=chart.name,
        chart=f"{chart.repository}/{chart.name}" if oci else chart.name,
        repository_opts=None if oci else k8s.helm.v3.RepositoryOptsArgs(repo=chart.repository),
        version=chart.version,
        namespace=namespace,
        values=chart.values,
        timeout=settings.timeout_seconds,
        opts=opts,
    )
