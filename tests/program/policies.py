"""What network policies allow, by Kubernetes' rules: an edge is open when both of its ends let it through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One end of a connection: a pod of a namespace, or an address outside the cluster."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


def allowed(policies: Sequence[Policy], source: Peer, target: Peer, port: int) -> bool:
    """Whether ``source`` may open a TCP connection to ``port`` of ``target``."""
    return _passes(policies, source, target, port, "Egress") and _passes(policies, target, source, port, "Ingress")


def _passes(policies: Sequence[Policy], subject: Peer, other: Peer, port: int, direction: str) -> bool:
    """Whether the policies that select ``subject`` let the connection through; where none does, all passes."""
    selecting = [p for p in policies if direction in p["spec"]["policyTypes"] and _selects(p, subject)]
    rules = [rule for policy in selecting for rule in policy["spec"].get(direction.lower()) or []]
    side = "to" if direction == "Egress" else "from"
    return not selecting or any(_matches(rule, side, other, port, rules_namespace=subject.namespace) for rule in rules)


def _selects(policy: Policy, peer: Peer) -> bool:
    wanted = policy["spec"]["podSelector"].get("matchLabels", {})
    return bool(peer.namespace == policy["metadata"]["namespace"] and wanted.items() <= dict(peer.labels).items())


def _matches(rule: Mapping[str, Any], side: str, other: Peer, port: int, *, rules_namespace: str) -> bool:
    ports = rule.get("ports")
    if ports and not any(each["port"] == port and each["protocol"] == "TCP" for each in ports):
        return False
    return side not in rule or any(_is(each, other, rules_namespace) for each in rule[side])


def _is(selector: Mapping[str, Any], other: Peer, namespace: str) -> bool:
    if "ipBlock" in selector:
        return bool(other.address) and ip_address(other.address) in ip_network(selector["ipBlock"]["cidr"])
    if "namespaceSelector" in selector:
        labels = {"kubernetes.io/metadata.name": other.namespace}
        return bool(other.namespace) and selector["namespaceSelector"]["matchLabels"].items() <= labels.items()
    return other.namespace == namespace and selector["podSelector"]["matchLabels"].items() <= dict(other.labels).items()
