"""What a platform offers the pipeline: the same roles on Docker and on Kubernetes, behind the same endpoints."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

import pulumi

from components.configs.images import Image
from components.endpoints import (
    ClickHouseEndpoint,
    ConnectEndpoint,
    Credential,
    KafkaEndpoint,
    PostgresEndpoint,
    Watched,
)

EndpointT = TypeVar("EndpointT")


class Part(pulumi.ComponentResource, Generic[EndpointT]):
    """One role of the pipeline as it runs: where it answers, and what tells one instance from its successor."""

    endpoint: EndpointT
    identity: pulumi.Output[str]
    """Changes when the part was made anew: the providers then visit it again."""


class Platform(Protocol):
    """Makes the parts; each is asked for once, in the order of the flow."""

    images: dict[str, Image]

    def source_database(self) -> Part[PostgresEndpoint]:
        """PostgreSQL with logical decoding."""

    def kafka(self) -> Part[KafkaEndpoint]:
        """The brokers."""

    def topics(self, kafka: Part[KafkaEndpoint]) -> pulumi.Resource:
        """Every topic of the change stream; ready when the resource is."""

    def kafka_connect(self, kafka: Part[KafkaEndpoint], source_user: Credential) -> Part[ConnectEndpoint]:
        """Kafka Connect workers that can read ``source_user``'s password."""

    def clickhouse(self, kafka: Part[KafkaEndpoint]) -> Part[ClickHouseEndpoint]:
        """The analytics servers."""

    def monitoring(self, watched: Watched) -> dict[str, Any]:
        """Exporters, Prometheus and what shows their figures; returns the stack outputs of what runs."""

    def outputs(self) -> dict[str, Any]:
        """Stack outputs that only this platform has."""
