"""The one way an object of the cluster is made: a manifest as Kubernetes has it, registered as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi

from components import versions
from components.settings import Settings

Manifest = dict[str, Any]

WAIT: Final = "pulumi.com/waitFor"
READY: Final = {WAIT: "condition=Ready"}
"""Annotation of a custom resource that the next step needs ready."""
RESTRICTED_CONTAINER: Final[Manifest] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def restricted_pod(user: int) -> Manifest:
    """A pod's security context under Pod Security "restricted"; ``user`` is the image's own."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def pull_secrets(settings: Settings) -> Manifest:
    """What a pod's spec says of the registry's login; nothing where none is needed."""
    name = settings.kubernetes.image_pull_secret
    return {"imagePullSecrets": [{"name": name}]} if name else {}


def register(manifest: Mapping[str, Any], opts: pulumi.ResourceOptions, *, name: str = "") -> pulumi.CustomResource:
    """Make one object; its name in Pulumi is kind and name unless ``name`` is given."""
    api, kind = manifest["apiVersion"], manifest["kind"]
    token = f"kubernetes:{api if '/' in api else f'core/{api}'}:{kind}"
    resource = name or f"{kind.lower()}-{manifest['metadata']['name']}"
    return pulumi.CustomResource(
        token, resource, dict(manifest), opts.merge(pulumi.ResourceOptions(version=versions.PLUGIN_KUBERNETES))
    )


def named(kind: str, api: str, name: str, namespace: str, **metadata: Any) -> Manifest:  # noqa: ANN401
    """Head of a manifest; ``metadata`` may hold labels and annotations."""
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace, **metadata}}


def secret(name: str, namespace: str, data: Mapping[str, pulumi.Input[str]], *, kind: str = "Opaque") -> Manifest:
    """A Secret of texts; the values are secret in Pulumi's state too."""
    values = {key: pulumi.Output.secret(value) for key, value in data.items()}
    return {**named("Secret", "v1", name, namespace), "type": kind, "stringData": values}


def apart(labels: Mapping[str, str], zone_key: str) -> Manifest:
    """Scheduling of replicas: never two on one node, spread over zones as evenly as there is room."""
    selector = {"matchLabels": dict(labels)}
    return {
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}
                ]
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": zone_key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": selector,
            }
        ],
    }
