"""The evaluator of NetworkPolicies that tests/kube relies on, against the cases that the API's documentation gives."""

from __future__ import annotations

from typing import Any

import pytest

from tests.network import End, allowed, isolated

DB = End(namespace="data", labels={"app": "db"})
WEB = End(namespace="data", labels={"app": "web"})
FAR = End(namespace="far", labels={"app": "web"}, namespace_labels={"team": "b"})
OUTSIDE = End(address="10.1.2.3")


def policy(selector: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": "data"}, "spec": {"podSelector": selector or {}, **spec}}


def db_from(*peers: dict[str, Any], ports: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    rule: dict[str, Any] = {"from": list(peers), **({"ports": ports} if ports else {})}
    return [policy({"matchLabels": {"app": "db"}}, policyTypes=["Ingress"], ingress=[rule])]


DENY = policy(policyTypes=["Ingress", "Egress"])
PODS = {"podSelector": {"matchLabels": {"app": "web"}}}
ANYWHERE: dict[str, Any] = {"namespaceSelector": {}}
TEAM = {"namespaceSelector": {"matchLabels": {"team": "b"}}}
BLOCK = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16"]}}


@pytest.mark.parametrize(
    ("policies", "source", "expected"),
    [
        ([], WEB, True),
        ([DENY], WEB, False),
        (db_from(PODS), WEB, True),
        (db_from(PODS), FAR, False),
        (db_from({**PODS, **ANYWHERE}), FAR, True),
        (db_from({**PODS, **TEAM}), FAR, True),
        (db_from({**PODS, **TEAM}), WEB, False),
        (db_from(TEAM), End(namespace="far", namespace_labels={"team": "b"}), True),
        (db_from(BLOCK), OUTSIDE, True),
        (db_from(BLOCK), End(address="10.9.1.1"), False),
        (db_from(BLOCK), WEB, False),
        (db_from(ANYWHERE), OUTSIDE, False),
        (db_from(PODS, ports=[{"port": 5432}]), WEB, True),
        (db_from(PODS, ports=[{"port": 5433}]), WEB, False),
        (db_from(PODS, ports=[{"port": 5000, "endPort": 6000}]), WEB, True),
        (db_from(PODS, ports=[{"port": 5432, "protocol": "UDP"}]), WEB, False),
        (db_from(PODS, ports=[{"protocol": "TCP"}]), WEB, True),
        (db_from(), WEB, True),
        ([policy({"matchLabels": {"app": "db"}}, ingress=[])], WEB, False),
        # A policy allows; none takes away what another allows.
        ([policy(policyTypes=["Ingress"]), *db_from(PODS)], WEB, True),
        # The source's own egress counts too.
        ([*db_from(PODS), policy({"matchLabels": {"app": "web"}}, policyTypes=["Egress"])], WEB, False),
        ([policy({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]})], WEB, True),
        ([policy({"matchExpressions": [{"key": "app", "operator": "Exists"}]})], WEB, False),
        ([policy({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]})], WEB, True),
        ([policy({"matchExpressions": [{"key": "app", "operator": "In", "values": ["db"]}]})], WEB, False),
    ],
)
def test_who_reaches_the_database(policies: list[dict[str, Any]], source: End, *, expected: bool) -> None:
    assert allowed(policies, source, DB, 5432) is expected


def test_egress_to_an_address() -> None:
    policies = [policy(policyTypes=["Egress"], egress=[{"to": [BLOCK], "ports": [{"port": 443}]}])]
    assert allowed(policies, WEB, OUTSIDE, 443)
    assert not allowed(policies, WEB, OUTSIDE, 80)
    assert not allowed(policies, WEB, End(address="11.0.0.1"), 443)
    assert not allowed(policies, WEB, DB, 443)


def test_isolation_by_direction() -> None:
    assert isolated([], DB) == set()
    assert isolated([DENY], DB) == {"Ingress", "Egress"}
    assert isolated(db_from(PODS), DB) == {"Ingress"}
    assert isolated(db_from(PODS), WEB) == set()
    assert isolated([policy(egress=[])], DB) == {"Ingress", "Egress"}
    assert isolated([DENY], FAR) == set()
