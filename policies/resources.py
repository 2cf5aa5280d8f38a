"""One view of what both platforms deploy: a resource, the containers in it, and its texts by path."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicaSet", "Pod")
STEADY = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod")
"""Workloads that serve until they are stopped, so that their health matters."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """What a rule sees of a resource; a Kubernetes object's ``inputs`` are its manifest."""

    type: str
    """Pulumi's type token."""
    name: str
    inputs: Mapping[str, Any]
    secrets: Collection[str] | None = None
    """Paths of the secret inputs (``spec.a[0].b``); None where the caller can't know them."""

    @property
    def kind(self) -> str:
        """Kind of a Kubernetes object; empty for anything else."""
        return str(self.inputs.get("kind", "")) if "apiVersion" in self.inputs else ""

    @property
    def spec(self) -> Mapping[str, Any]:
        """Specification of a Kubernetes object."""
        return mapping(self.inputs, "spec")

    def is_secret(self, path: str) -> bool:
        """Whether the input at ``path`` is encrypted in the state, by itself or with what encloses it."""
        return any(path == each or path.startswith((f"{each}.", f"{each}[")) for each in self.secrets or ())


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container of a pod, and the pod around it."""

    name: str
    fields: Mapping[str, Any]
    pod: Mapping[str, Any]
    steady: bool
    """Whether it runs until stopped: neither a job nor an initial step."""


def mapping(value: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The mapping below ``keys``; an empty one where there is none."""
    for key in keys:
        found = value.get(key)
        value = found if isinstance(found, Mapping) else {}
    return value


def items(value: Mapping[str, Any], *keys: str) -> Sequence[Any]:
    """The list below ``keys``; an empty one where there is none."""
    found = mapping(value, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, Sequence) and not isinstance(found, str) else []


def pod_containers(resource: Resource) -> Iterator[Container]:
    """Containers of a Kubernetes workload, and of the pod templates in a ClickHouse installation."""
    for pod, steady in _pods(resource):
        for group in ("initContainers", "containers"):
            for fields in items(pod, group):
                # An initial container that restarts is a sidecar.
                served = steady and (group == "containers" or fields.get("restartPolicy") == "Always")
                yield Container(name=str(fields.get("name", "?")), fields=fields, pod=pod, steady=served)


def _pods(resource: Resource) -> Iterator[tuple[Mapping[str, Any], bool]]:
    spec = resource.spec
    if resource.kind in WORKLOADS:
        steps = {"Pod": (), "CronJob": ("jobTemplate", "spec", "template", "spec")}
        yield mapping(spec, *steps.get(resource.kind, ("template", "spec"))), resource.kind in STEADY
    for template in items(spec, "templates", "podTemplates"):
        # The ClickHouse operator adds the probes itself.
        yield mapping(template, "spec"), False


def texts(value: object, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, last key and text of every text in ``value``."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts_below(item, f"{path}.{key}".lstrip("."), str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, item in enumerate(value):
            yield from _texts_below(item, f"{path}[{index}]", path.rpartition(".")[2].partition("[")[0])


def _texts_below(item: object, path: str, key: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(item, str):
        yield path, key, item
    else:
        yield from texts(item, path)
