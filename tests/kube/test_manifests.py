"""Every object of the prod stack is accepted by a real API server that knows the operators' kinds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from policies.resources import WORKLOADS, mapping
from tests.kube.altinity import embedded
from tests.kube.client import Kubernetes, RefusedError, label
from tests.program.manifests import render

pytestmark = pytest.mark.kube

Manifest = dict[str, Any]
FIRST = ("Namespace", "PriorityClass")
"""Kinds that other objects need to be there; the rest is only tried."""
LEVEL = "pod-security.kubernetes.io/enforce"


@pytest.fixture(scope="module")
def rendered() -> list[Manifest]:
    return render("prod")


@pytest.fixture(scope="module")
def prepared(cluster: Kubernetes, rendered: list[Manifest]) -> Kubernetes:
    """The server with the stack's namespaces and priority classes in place."""
    for manifest in rendered:
        if manifest["kind"] in FIRST:
            cluster.apply(manifest, dry_run=False)
    for manifest in rendered:
        if namespace := manifest["metadata"].get("namespace"):
            cluster.ensure_namespace(namespace)
    return cluster


def tried(cluster: Kubernetes, manifests: list[Manifest]) -> Iterator[str]:
    """What the server says against each."""
    for manifest in manifests:
        try:
            yield from (f"{label(manifest)} warns: {warning}" for warning in cluster.apply(manifest, dry_run=True))
        except RefusedError as error:
            yield str(error)


def test_every_object_is_accepted_without_a_warning(prepared: Kubernetes, rendered: list[Manifest]) -> None:
    kinds = {manifest["kind"] for manifest in rendered}
    operators = {"Kafka", "KafkaNodePool", "KafkaTopic", "KafkaUser", "KafkaConnect", "Cluster", "Certificate"}
    assert kinds >= operators | {"ClickHouseInstallation", "ClickHouseKeeperInstallation", "NetworkPolicy", "Secret"}
    said = list(tried(prepared, rendered))
    assert not said, "\n".join(said)


def test_what_installations_of_clickhouse_embed_is_accepted(prepared: Kubernetes, rendered: list[Manifest]) -> None:
    inner = [each for manifest in rendered if manifest["kind"].startswith("ClickHouse") for each in embedded(manifest)]
    assert {manifest["kind"] for manifest in inner} == {"Pod", "PersistentVolumeClaim", "Service"}
    said = list(tried(prepared, inner))
    assert not said, "\n".join(said)


def test_the_pipelines_namespace_takes_restricted_pods_only(prepared: Kubernetes, rendered: list[Manifest]) -> None:
    levels = {
        manifest["metadata"]["name"]: mapping(manifest, "metadata", "labels").get(LEVEL)
        for manifest in rendered
        if manifest["kind"] == "Namespace"
    }
    pods = list(workload_pods(rendered)) + [
        each
        for manifest in rendered
        if manifest["kind"].startswith("ClickHouse")
        for each in embedded(manifest)
        if each["kind"] == "Pod"
    ]
    assert pods
    assert {levels[pod["metadata"]["namespace"]] for pod in pods} == {"restricted"}
    said = list(tried(prepared, pods))
    assert not said, "\n".join(said)


def workload_pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    """One pod of each workload: unlike the workload it is refused where its namespace does not let it in."""
    for manifest in manifests:
        if manifest["kind"] in WORKLOADS:
            spec = manifest["spec"]
            template = mapping(spec, "jobTemplate", "spec", "template") or mapping(spec, "template")
            name = {"name": manifest["metadata"]["name"], "namespace": manifest["metadata"]["namespace"]}
            metadata = {**mapping(template, "metadata"), **name}
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.mark.parametrize("kind", ["Kafka", "KafkaConnect", "Cluster", "ClickHouseInstallation", "Certificate", "Role"])
def test_the_same_object_with_one_wrong_field_is_refused(
    prepared: Kubernetes, rendered: list[Manifest], kind: str
) -> None:
    manifest = next(each for each in rendered if each["kind"] == kind)
    part = "rules" if kind == "Role" else "spec"
    spoilt = [{**manifest[part][0], "noSuchField": 1}] if part == "rules" else {**manifest[part], "noSuchField": 1}
    with pytest.raises(RefusedError, match="noSuchField"):
        prepared.apply({**manifest, part: spoilt}, dry_run=True)
