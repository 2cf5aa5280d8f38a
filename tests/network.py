"""What NetworkPolicies let through, by the rules of networking.k8s.io/v1: a pure function over manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Manifest = Mapping[str, Any]
NAME_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True, kw_only=True)
class End:
    """One end of a connection: a pod (``namespace`` and ``labels``), or an address outside the cluster."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the namespace besides its name's."""
    address: str = ""


def allowed(policies: Iterable[Manifest], source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether ``source`` may open a connection: its egress and the target's ingress must both let it."""
    every = list(policies)
    out = _lets(every, source, "Egress", "to", target, port, protocol)
    return out and _lets(every, target, "Ingress", "from", source, port, protocol)


def isolated(policies: Iterable[Manifest], pod: End) -> set[str]:
    """Directions in which only what a policy allows goes through; {"Ingress", "Egress"} is default deny."""
    return {direction for direction in ("Ingress", "Egress") for policy in policies if _selects(policy, pod, direction)}


def _lets(policies: list[Manifest], pod: End, direction: str, key: str, other: End, port: int, protocol: str) -> bool:
    if pod.address:
        return True
    selected = [policy for policy in policies if _selects(policy, pod, direction)]
    rules = [rule for policy in selected for rule in policy["spec"].get(direction.lower()) or []]
    return not selected or any(
        _covers(rule.get("ports"), port, protocol)
        and (not rule.get(key) or any(_is(peer, other, pod.namespace) for peer in rule[key]))
        for rule in rules
    )


def _selects(policy: Manifest, pod: End, direction: str) -> bool:
    spec = policy["spec"]
    # Without policyTypes: ingress always, egress where there are egress rules.
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]
    same = policy["metadata"]["namespace"] == pod.namespace
    return same and direction in types and _matches(spec["podSelector"], pod.labels)


def _is(peer: Manifest, end: End, own_namespace: str) -> bool:
    if "ipBlock" in peer:
        return bool(end.address) and _inside(peer["ipBlock"], end.address)
    if end.address:
        return False
    if "namespaceSelector" in peer:
        there = _matches(peer["namespaceSelector"], {**end.namespace_labels, NAME_LABEL: end.namespace})
    else:
        there = end.namespace == own_namespace
    return there and _matches(peer.get("podSelector", {}), end.labels)


def _inside(block: Manifest, address: str) -> bool:
    spared = any(ip_address(address) in ip_network(each) for each in block.get("except", []))
    return ip_address(address) in ip_network(block["cidr"]) and not spared


def _covers(ports: list[Manifest] | None, port: int, protocol: str) -> bool:
    return not ports or any(
        each.get("protocol", "TCP") == protocol
        and ("port" not in each or each["port"] <= port <= each.get("endPort", each["port"]))
        for each in ports
    )


def _matches(selector: Manifest, labels: Mapping[str, str]) -> bool:
    exact = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return exact and all(_meets(each, labels) for each in selector.get("matchExpressions") or [])


def _meets(expression: Manifest, labels: Mapping[str, str]) -> bool:
    found, values = labels.get(expression["key"]), expression.get("values", [])
    return {
        "In": found in values,
        "NotIn": found not in values,
        "Exists": found is not None,
        "DoesNotExist": found is None,
    }[expression["operator"]]
