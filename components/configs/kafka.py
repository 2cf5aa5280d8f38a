"""Files of the broker and of the Kafka Connect worker."""

from __future__ import annotations

from pathlib import Path

from components.configs.render import render
from components.names import CONNECT_GROUP, Names

LOGGING = Path(__file__).parents[2] / "images" / "kafka" / "config" / "connect-log4j2.yaml"
"""To standard output only: the official images would write files of their own, or nothing below an error."""
LOGGING_PATH = "/etc/kafka/cdc/log4j2.yaml"
LOGGING_OPTION = f"KAFKA_LOG4J_OPTS=-Dlog4j2.configurationFile={LOGGING_PATH}"
"""Set for the server alone; in the container's environment it would make Kafka's command-line tools talkative."""
FIRST_SERVICE_LOADED = (2, 5)
"""From this Debezium on, plugins announce themselves; before, Connect must scan every class of every jar."""


def broker_properties(*, external_port: int) -> str:
    """``server.properties`` of the single node; ``external_port`` is the one published on 127.0.0.1."""
    return render("server.properties", external_port=external_port)


def logging_config() -> str:
    """``log4j2.yaml`` of the broker and of Kafka Connect."""
    return LOGGING.read_text()


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
