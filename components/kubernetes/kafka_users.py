"""Kafka's users, one per duty, each with exactly the rights of its duty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from components.configs.edges import KAFKA
from components.kubernetes.manifests import READY, Manifest, named
from components.names import CONNECT_GROUP, Names

API: Final = "kafka.strimzi.io/v1"
CONNECT_USER: Final = "kafka-connect"
CLICKHOUSE_USER: Final = "kafka-clickhouse"
OPERATOR_USER: Final = "kafka-operator"
REPLAY_USER: Final = "kafka-replay"
USERS: Final = (CONNECT_USER, CLICKHOUSE_USER, OPERATOR_USER, REPLAY_USER)
"""Strimzi puts each one's password into a Secret of the same name."""
CLICKHOUSE_GROUPS: Final = "clickhouse_"
"""How the consumer groups of sql/clickhouse begin."""
OWN_GROUPS: Final = "cdc-"
"""How Connect's group and those of `python -m cdc` begin."""


def kafka_user(user: str, names: Names, namespace: str) -> Manifest:
    """A user that logs in with SCRAM-SHA-512."""
    rights = {
        CONNECT_USER: _connect,
        CLICKHOUSE_USER: _clickhouse,
        OPERATOR_USER: _operator,
        REPLAY_USER: _replay,
    }[user]
    return named("KafkaUser", API, user, namespace, labels={"strimzi.io/cluster": KAFKA}, annotations=READY) | {
        "spec": {
            "authentication": {"type": "scram-sha-512"},
            "authorization": {"type": "simple", "acls": rights(names)},
        }
    }


def _connect(names: Names) -> list[dict[str, Any]]:
    """Exactly-once: one transactional id for the leader's view of the configuration, one for each task."""
    internal = [
        _acl("topic", topic, ("Read", "Write", "Describe", "DescribeConfigs"))
        for topic in names.connect_topics.values()
    ]
    written = [_acl("topic", topic.name, ("Write", "Describe", "DescribeConfigs")) for topic in names.topics()]
    ids = (f"connect-cluster-{CONNECT_GROUP}", f"{CONNECT_GROUP}-{names.settings.connector}-0")
    transactions = [_acl("transactionalId", each, ("Write", "Describe")) for each in ids]
    return [*internal, *written, _acl("group", CONNECT_GROUP, ("Read", "Describe")), *transactions]


def _clickhouse(names: Names) -> list[dict[str, Any]]:
    read = [_acl("topic", topic.name, ("Read", "Describe")) for topic in names.topics()]
    return [*read, _acl("group", CLICKHOUSE_GROUPS, ("Read", "Describe"), prefix=True)]


def _operator(names: Names) -> list[dict[str, Any]]:
    """Watches and compares: reads messages (how old is the first unread one, which is the last), takes none away.

    Its consumers join no group, but a client asks for its group's coordinator nevertheless.
    """
    seen = [_acl("topic", topic.name, ("Read", "Describe", "DescribeConfigs")) for topic in names.topics()]
    groups = [_acl("group", prefix, ("Describe",), prefix=True) for prefix in (CLICKHOUSE_GROUPS, OWN_GROUPS)]
    return [*seen, *groups, {"resource": {"type": "cluster"}, "operations": ["Describe"]}]


def _replay(names: Names) -> list[dict[str, Any]]:
    """Sends quarantined messages again and sees when they are read."""
    return [*_operator(names), *(_acl("topic", topic.name, ("Write",)) for topic in names.topics())]


def _acl(kind: str, name: str, operations: Sequence[str], *, prefix: bool = False) -> dict[str, Any]:
    pattern = "prefix" if prefix else "literal"
    return {"resource": {"type": kind, "name": name, "patternType": pattern}, "operations": list(operations)}
