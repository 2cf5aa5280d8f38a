"""Names of topics, groups, users and tables, derived once from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cdc.source_spec import HEARTBEAT, SCHEMA_CHANGES, SIGNAL
from components.settings import Settings

ANALYTICS_DATABASE: Final = "analytics"
HEARTBEAT_TABLE: Final = HEARTBEAT
SIGNAL_TABLE: Final = SIGNAL
DDL_TABLE: Final = SCHEMA_CHANGES

POSTGRES_ADMIN: Final = "postgres"
DEBEZIUM_USER: Final = "debezium_user"
OPERATOR_USER: Final = "cdc_operator"
"""Watches, checks and heals; the same name in PostgreSQL and in ClickHouse, with a password of its own in each."""
READER_USER: Final = "cdc_reader"
"""Exporters and dashboards on PostgreSQL: reads, writes nothing."""
APPLICATION_USER: Final = "shop"
"""Writes to a managed source as an application would."""
CLICKHOUSE_ADMIN: Final = "cdc_admin"
CLICKHOUSE_READER: Final = "analytics_user"

CONNECT_GROUP: Final = "cdc-connect"

STACK_LABEL: Final = "cdc.stack"
"""The label of every container, volume and network: the stack that made it."""


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A Kafka topic as it is to be; ``config`` holds Kafka's own topic settings."""

    name: str
    partitions: int
    config: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Names:
    """What is called how in one stack."""

    settings: Settings

    def resource(self, name: str) -> str:
        """Name of a container, network or volume on the host."""
        return f"{self.settings.name_prefix}{name}"

    def table_topic(self, table: str) -> str:
        """Topic of ``schema.table``."""
        return f"{self.settings.topic_prefix}.{table}"

    @property
    def heartbeat_topic(self) -> str:
        """Topic of the canary row: its commit time travels the whole chain."""
        return f"{self.settings.topic_prefix}.heartbeat"

    @property
    def schema_changes_topic(self) -> str:
        """Topic of the DDL that the event trigger wrote down."""
        return f"{self.settings.topic_prefix}.schema-changes"

    @property
    def signal_topic(self) -> str:
        """Topic of Debezium's signal table (watermarks of incremental snapshots)."""
        return self.table_topic(SIGNAL_TABLE)

    @property
    def connector_heartbeat_topic(self) -> str:
        """Topic of Debezium's own heartbeat, which moves the slot on when nothing is captured."""
        return f"__debezium-heartbeat.{self.settings.topic_prefix}"

    @property
    def connect_topics(self) -> dict[str, str]:
        """Kafka Connect's internal topics by the worker setting that names them."""
        return {
            f"{kind}.storage.topic": f"{CONNECT_GROUP}-{topic}"
            for kind, topic in (("config", "configs"), ("offset", "offsets"), ("status", "status"))
        }

    def topics(self) -> list[Topic]:
        """Every topic of the change stream; auto-creation is off, so what is not here does not exist."""
        retention = {"retention.ms": str(self.settings.kafka_retention_hours * 3_600_000), "cleanup.policy": "delete"}
        day = {"retention.ms": str(24 * 3_600_000), "cleanup.policy": "delete"}
        tables = [
            Topic(name=self.table_topic(table), partitions=self.settings.kafka_partitions, config=retention)
            for table in self.settings.tables
        ]
        return [
            *tables,
            Topic(name=self.heartbeat_topic, partitions=1, config=day),
            Topic(name=self.schema_changes_topic, partitions=1, config=retention),
            Topic(name=self.signal_topic, partitions=1, config=day),
            Topic(name=self.connector_heartbeat_topic, partitions=1, config=day),
        ]
