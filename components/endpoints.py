"""What one component hands the next: addresses and credentials, never resources of another platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A user of one duty; the password is a secret output."""

    user: str
    password: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class Address:
    """Host and port as one side sees them."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class PostgresEndpoint:
    """The source: ``inside`` as Kafka Connect reaches it, ``outside`` as the operator's machine does."""

    inside: Address
    outside: Address
    database: str
    admin: Credential
    ca: pulumi.Output[str] | None = None
    """Authority that the server's certificate is verified against, PEM; without one there is no TLS."""


@dataclass(frozen=True, kw_only=True)
class KafkaEndpoint:
    """Bootstrap addresses of the cluster."""

    inside: Address
    outside: Address
    replication: int


@dataclass(frozen=True, kw_only=True)
class ConnectEndpoint:
    """Kafka Connect's REST API; ``source_options`` are those of a connector that only this platform needs."""

    inside: Address
    outside: Address
    scheme: str = "http"
    ca: pulumi.Output[str] | None = None
    source_options: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """REST address for the operator's machine."""
        return f"{self.scheme}://{self.outside}"


@dataclass(frozen=True, kw_only=True)
class ClickHouseEndpoint:
    """ClickHouse over HTTP and the native protocol; ``admin`` migrates, ``operator`` checks, ``reader`` queries."""

    http: Address
    native: Address
    inside_http: Address
    inside_native: Address
    admin: Credential
    operator: Credential
    reader: Credential
    scheme: str = "http"
    ca: pulumi.Output[str] | None = None
    cluster: str = ""
    """Name of the cluster where there is more than one server."""

    @property
    def url(self) -> str:
        """HTTP address for the operator's machine."""
        return f"{self.scheme}://{self.http}"


@dataclass(frozen=True, kw_only=True)
class Watched:
    """All that is to be watched: the parts, and who watches the source (ClickHouse has its own)."""

    source: PostgresEndpoint
    source_operator: Credential
    source_reader: Credential
    kafka: KafkaEndpoint
    connect: ConnectEndpoint
    clickhouse: ClickHouseEndpoint
