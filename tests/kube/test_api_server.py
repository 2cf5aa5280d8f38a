"""The check itself can fail: the server takes what is right and refuses what is wrong, and says what."""

from __future__ import annotations

import copy
import socket
from typing import Any

import pytest

from components import versions
from tests.kube.client import Kubernetes, RefusedError
from tests.kube.samples import CUSTOM, NAMESPACE, custom, deployment, restricted_namespace

pytestmark = pytest.mark.kube


@pytest.fixture(scope="module", autouse=True)
def namespace(cluster: Kubernetes) -> str:
    cluster.apply(restricted_namespace(), dry_run=False)
    return NAMESPACE


def test_it_is_the_pinned_version_and_answers_on_loopback_only(cluster: Kubernetes) -> None:
    answer = cluster.session.get(f"{cluster.url}/version", timeout=10).json()
    assert answer["gitVersion"] == f"v{versions.KUBERNETES}"
    port = int(cluster.url.rsplit(":", 1)[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        route.connect(("192.0.2.1", 9))
        own = route.getsockname()[0]
    assert not own.startswith("127.")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((own, port), timeout=5)


def test_a_right_object_of_a_built_in_kind_is_taken_without_a_warning(cluster: Kubernetes) -> None:
    assert cluster.apply(deployment(), dry_run=True) == []


@pytest.mark.parametrize("operator", sorted(CUSTOM))
def test_a_right_object_of_each_operator_is_taken(cluster: Kubernetes, operator: str) -> None:
    assert cluster.apply(CUSTOM[operator], dry_run=True) == []


@pytest.mark.parametrize("operator", sorted(CUSTOM))
def test_a_field_that_the_operator_does_not_know_is_refused(cluster: Kubernetes, operator: str) -> None:
    wrong = copy.deepcopy(CUSTOM[operator])
    wrong["spec"]["noSuchField"] = 1
    with pytest.raises(RefusedError, match="noSuchField"):
        cluster.apply(wrong, dry_run=True)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (deployment(noSuchField=1), "noSuchField"),
        (deployment(terminationGracePeriodSeconds="soon"), "terminationGracePeriodSeconds"),
        (custom("kafka.strimzi.io/v1", "KafkaNodePool", {**CUSTOM["strimzi"]["spec"], "roles": ["king"]}), "king"),
        (custom("kafka.strimzi.io/v1beta2", "KafkaTopic", {"partitions": 1}), "no such kind"),
        (custom("postgresql.cnpg.io/v1", "Cluster", {"storage": {"size": "1Gi"}, "instances": 0}), "instances"),
        (custom("v1", "NoSuchKind", {}), "no such kind"),
    ],
)
def test_what_is_wrong_is_refused_by_name(cluster: Kubernetes, manifest: dict[str, Any], said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        cluster.apply(manifest, dry_run=True)


def test_an_object_without_a_namespace_is_refused(cluster: Kubernetes) -> None:
    homeless = deployment()
    del homeless["metadata"]["namespace"]
    with pytest.raises(RefusedError, match=r"metadata\.namespace is missing"):
        cluster.apply(homeless, dry_run=True)


def test_pod_security_warns_of_a_workload_and_refuses_its_pod(cluster: Kubernetes) -> None:
    rooted = deployment(hostNetwork=True)
    warnings = cluster.apply(rooted, dry_run=True)
    assert len(warnings) == 1
    assert "hostNetwork" in warnings[0]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "sample", "namespace": NAMESPACE},
        "spec": rooted["spec"]["template"]["spec"],
    }
    with pytest.raises(RefusedError, match='violates PodSecurity "restricted'):
        cluster.apply(pod, dry_run=True)


def test_a_dry_run_leaves_nothing_behind(cluster: Kubernetes) -> None:
    cluster.apply(deployment(), dry_run=True)
    url = f"{cluster.url}/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
    assert cluster.session.get(url, timeout=10).json()["items"] == []
