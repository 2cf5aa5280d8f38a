"""The parts of a pipeline as containers on one host."""

from __future__ import annotations

from typing import Any

import pulumi

from components.configs.images import Image, container_name, containers, require_built, resolve
from components.docker.clickhouse import ClickHouse, ClickHouseArgs
from components.docker.kafka import Kafka, KafkaArgs
from components.docker.kafka_connect import KafkaConnect, KafkaConnectArgs
from components.docker.monitoring import Monitoring, MonitoringArgs
from components.docker.network import Network
from components.docker.operations import Operations, OperationsArgs
from components.docker.source_database import SourceDatabase, SourceDatabaseArgs
from components.endpoints import (
    ClickHouseEndpoint,
    ConnectEndpoint,
    Credential,
    KafkaEndpoint,
    PostgresEndpoint,
    Watched,
)
from components.names import Names
from components.platform import Part
from components.providers.kafka_topics import KafkaTopics, KafkaTopicsArgs


class DockerPlatform:
    """``components.platform.Platform`` on Docker; ``parent`` owns all that is made here."""

    images: dict[str, Image]

    def __init__(self, *, names: Names, parent: pulumi.Resource) -> None:
        self._names = names
        self._parent = parent
        self.images = resolve(names.settings)
        if not pulumi.runtime.is_dry_run():
            require_built(self.images)
        self._network = Network("network", names=names, opts=self._child())

    def source_database(self) -> Part[PostgresEndpoint]:
        """PostgreSQL in one container."""
        args = SourceDatabaseArgs(names=self._names, image=self.images["postgres"], network=self._network)
        return SourceDatabase("source-database", args=args, opts=self._child())

    def kafka(self) -> Part[KafkaEndpoint]:
        """One KRaft node."""
        args = KafkaArgs(names=self._names, image=self.images["kafka"], network=self._network)
        return Kafka("kafka", args=args, opts=self._child())

    def topics(self, kafka: Part[KafkaEndpoint]) -> pulumi.Resource:
        """Topics by Kafka's admin API over the published port."""
        topics = {
            topic.name: {
                "partitions": topic.partitions,
                "replication": kafka.endpoint.replication,
                "config": topic.config,
            }
            for topic in self._names.topics()
        }
        args = KafkaTopicsArgs(
            bootstrap=str(kafka.endpoint.outside),
            topics=topics,
            triggers=pulumi.Output.all(kafka.identity),
            timeout_seconds=self._names.settings.timeout_seconds,
        )
        return KafkaTopics("topics", args=args, opts=self._child(kafka))

    def kafka_connect(self, kafka: Part[KafkaEndpoint], source_user: Credential) -> Part[ConnectEndpoint]:
        """One worker."""
        args = KafkaConnectArgs(
            names=self._names,
            image=self.images["kafka-connect"],
            network=self._network,
            kafka=kafka.endpoint,
            source_user=source_user,
        )
        return KafkaConnect("kafka-connect", args=args, opts=self._child(kafka))

    def clickhouse(self, kafka: Part[KafkaEndpoint]) -> Part[ClickHouseEndpoint]:
        """One server, and Keeper where tables are replicated."""
        args = ClickHouseArgs(
            names=self._names,
            image=self.images["clickhouse"],
            network=self._network,
            keeper_image=self.images.get("clickhouse-keeper"),
        )
        return ClickHouse("clickhouse", args=args, opts=self._child())

    def monitoring(self, watched: Watched) -> dict[str, Any]:
        """The pipeline exporter, and beside it what is nobody's but monitoring's."""
        exporter = Operations("operations", args=self._operations(watched), opts=self._child())
        args = MonitoringArgs(names=self._names, images=self.images, network=self._network, watched=watched)
        monitoring = Monitoring("monitoring", args=args, opts=self._child())
        return {"cdcExporterUrl": exporter.url} | monitoring.urls

    def _operations(self, watched: Watched) -> OperationsArgs:
        return OperationsArgs(
            names=self._names,
            image=self.images["operations"],
            network=self._network,
            watched=watched,
            kafka_exporter="kafka-exporter" in self.images,
        )

    def outputs(self) -> dict[str, Any]:
        """Names of the containers, for `docker logs`."""
        return {"containers": {part: self._names.resource(container_name(part)) for part in containers(self.images)}}

    def _child(self, *after: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self._parent, depends_on=list(after))
