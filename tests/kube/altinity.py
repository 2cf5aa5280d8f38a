"""Definitions for the kinds of Altinity's ClickHouse operator, whose own are in no package registry.

They hold the documented fields of release 0.25.6 that a stack may use, no others, so that a misspelt one is refused.
What is inside the templates for pods, volumes and services the operator's own definition leaves open; `embedded` takes
it out to be checked as the Kubernetes object that it becomes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from policies.resources import items
from tests.kube.client import Manifest

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
PORT: Schema = {"type": "integer", "minimum": 0, "maximum": 65535}
FLAG: Schema = {"type": "string", "enum": ["yes", "no"]}
"""The operator takes more spellings; one is enough for us."""
OPEN: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
KEEP: Schema = {"type": "string", "enum": ["Retain", "Delete"]}


def definitions() -> dict[str, str]:
    """The definitions of both kinds by name, as the server takes them."""
    secret_key = _object("name", "key", name=TEXT, key=TEXT)
    cluster = {
        "name": TEXT,
        "layout": _object(shardsCount=COUNT, replicasCount=COUNT),
        "templates": _chosen(),
        "pdbManaged": FLAG,
        "pdbMaxUnavailable": COUNT,
    }
    guarded = {"secure": FLAG, "insecure": FLAG, "secret": _object(valueFrom=_object(secretKeyRef=secret_key))}
    node = _object(host=TEXT, port=PORT, secure=FLAG)
    server = {
        "zookeeper": _object(nodes=_list(node), session_timeout_ms=COUNT, operation_timeout_ms=COUNT, root=TEXT),
        **dict.fromkeys(("users", "profiles", "quotas", "settings", "files"), OPEN),
        "clusters": _list(_object(**cluster, **guarded)),
    }
    keeper = {"settings": OPEN, "files": OPEN, "clusters": _list(_object(**cluster))}
    return dict(
        [
            _definition("clickhouse.altinity.com", "ClickHouseInstallation", server),
            _definition("clickhouse-keeper.altinity.com", "ClickHouseKeeperInstallation", keeper),
        ]
    )


def embedded(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """The pods, volume claims and services that an installation has templates for."""
    kinds = {"podTemplates": "Pod", "volumeClaimTemplates": "PersistentVolumeClaim", "serviceTemplates": "Service"}
    for group, kind in kinds.items():
        for template in items(manifest, "spec", "templates", group):
            metadata = {"name": template["name"], "namespace": manifest["metadata"]["namespace"]}
            more = template.get("metadata", {})
            yield {"apiVersion": "v1", "kind": kind, "metadata": {**more, **metadata}, "spec": template["spec"]}


def _definition(group: str, kind: str, configuration: Schema) -> tuple[str, str]:
    plural = f"{kind.lower()}s"
    template = {"name": TEXT, "metadata": OPEN, "spec": OPEN}
    spec = {
        "configuration": _object(**configuration),
        "defaults": _object(
            storageManagement=_object(provisioner=TEXT, reclaimPolicy=KEEP),
            distributedDDL=_object(profile=TEXT),
            templates=_chosen(),
        ),
        "templates": _object(
            podTemplates=_list(_object(**template)),
            volumeClaimTemplates=_list(_object(**template, reclaimPolicy=KEEP)),
            serviceTemplates=_list(_object(**template, generateName=TEXT)),
        ),
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object(spec=_object(**spec), status=OPEN)},
    }
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    manifest = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }
    return f"{plural}.{group}", json.dumps(manifest)


def _chosen() -> Schema:
    """Names of the templates that a cluster or all of them use."""
    names = ("podTemplate", "dataVolumeClaimTemplate", "logVolumeClaimTemplate", "serviceTemplate")
    return _object(**dict.fromkeys((*names, "clusterServiceTemplate", "replicaServiceTemplate"), TEXT))


def _object(*required: str, **properties: Schema) -> Schema:
    """An object with these fields and no others; ``required`` names those that must be there."""
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _list(element: Schema) -> Schema:
    return {"type": "array", "items": element}
