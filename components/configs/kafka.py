"""Files of the broker and of the Kafka Connect worker."""

from __future__ import annotations

from components.configs.render import render
from components.names import CONNECT_GROUP, Names

FIRST_SERVICE_LOADED = (2, 5)
"""From this Debezium on, plugins announce themselves; before, Connect must scan every class of every jar."""


def broker_properties(*, external_port: int) -> str:
    """``server.properties`` of the single node; ``external_port`` is the one published on 127.0.0.1."""
    return render("server.properties", external_port=external_port)


def worker_properties(names: Names, *, bootstrap: str, replication: int) -> str:
    """``connect-distributed.properties`` of a worker that talks to ``bootstrap``."""
    topics = names.connect_topics
    version = tuple(int(part) for part in names.settings.debezium_version.split(".")[:2])
    return render(
        "connect-distributed.properties",
        bootstrap=bootstrap,
        group=CONNECT_GROUP,
        config_topic=topics["config.storage.topic"],
        offset_topic=topics["offset.storage.topic"],
        status_topic=topics["status.storage.topic"],
        replication=replication,
        plugin_discovery="service_load" if version >= FIRST_SERVICE_LOADED else "hybrid_warn",
    )
