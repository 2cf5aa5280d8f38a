"""The settings of one stack: the only reader of Pulumi configuration.

Every key is checked before any resource is made; all findings come in one message with key, value and cure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pulumi
import yaml
from pulumi.runtime import config as pulumi_config
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from components import versions
from components.settings_kubernetes import KubernetesSettings

PROJECT = "cdc"
Port = Annotated[int, Field(ge=1, le=65535)]
TABLE_NAME = re.compile(r"^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$")
MONITORING_PORTS = [
    f"{part}_port"
    for part in (
        *("prometheus", "alertmanager", "node_exporter", "postgres_exporter", "kafka_exporter"),
        *("clickhouse_metrics", "kafka_jmx", "cdc_exporter", "grafana", "kafdrop"),
    )
]
IDENTIFIER = r"^[a-z_][a-z0-9_]{0,62}$"


class SettingsError(ValueError):
    """Configuration that can't be deployed; the message lists every key, its value and the cure."""


class Settings(BaseModel):
    """One stack's configuration; keys are ``cdc:<camelCase name>`` in ``Pulumi.<stack>.yaml``."""

    model_config = ConfigDict(
        alias_generator=to_camel, frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=False
    )

    platform: Literal["docker", "kubernetes"] = Field("docker", description="Where the stack runs")
    images: Literal["auto", "pull", "build"] = Field(
        "auto", description="Pull upstream images, build them from packages, or pull where a registry answers"
    )
    name_prefix: str = Field(
        "", pattern=r"^([a-z0-9][a-z0-9-]{0,20}-)?$", description="Prefix of container, network and volume names"
    )

    source: Literal["managed", "external"] = Field(
        "managed", description="managed: this stack runs the PostgreSQL; external: it exists already"
    )
    source_host: str = Field("", description="Host of an external PostgreSQL, as containers and operator reach it")
    source_port: Port = Field(5432, description="Port of an external PostgreSQL")
    source_admin_user: str = Field("postgres", description="User that creates role, publication and trigger")
    source_admin_password: SecretStr = Field(
        SecretStr(""), description="Its password, set with --secret (external source only)"
    )
    database: str = Field("inventory", pattern=IDENTIFIER, description="Captured database")
    tables: list[str] = Field(
        [f"inventory.{name}" for name in ("customers", "products", "orders", "inventory", "shipments")],
        min_length=1,
        description="Captured tables, schema.table",
    )
    message_keys: dict[str, str] = Field(
        {"inventory.orders": "purchaser"}, description="Column that keys a table's topic instead of its primary key"
    )
    publication: str = Field("debezium_pub", pattern=IDENTIFIER, description="Publication the connector reads")
    slot: str = Field("debezium_slot", pattern=IDENTIFIER, description="Replication slot the connector makes")
    epoch: int = Field(0, ge=0, le=32767, description="Ranks above the LSN in a row's version; raised after a restore")
    max_slot_wal_keep_mb: int = Field(
        4096, ge=64, description="WAL a stopped connector may hold back before the slot is given up, MiB"
    )

    topic_prefix: str = Field("postgres-server", pattern=r"^[a-z0-9][a-z0-9._-]*$", description="Debezium topic.prefix")
    connector: str = Field("inventory-connector", pattern=r"^[a-z0-9][a-z0-9-]*$", description="Connector name")
    connector_overrides: dict[str, str] = Field({}, description="Debezium options that win over the derived ones")
    kafka_partitions: int = Field(3, ge=1, le=1000, description="Partitions of each table's topic")
    kafka_retention_hours: int = Field(168, ge=1, description="Retention of change events, hours")
    heartbeat_interval_ms: int = Field(2000, ge=100, description="Interval of the canary row, ms")
    poll_interval_ms: int = Field(50, ge=1, description="Debezium poll.interval.ms, ms")
    flush_interval_ms: int = Field(100, ge=10, le=30000, description="ClickHouse Kafka table flush interval, ms")
    kafka_consumers: int = Field(1, ge=1, le=64, description="ClickHouse consumers of each topic")
    aggregate_seconds: int = Field(2, ge=1, le=3600, description="Interval at which changed aggregates are computed, s")
    history_ttl_days: int = Field(365, ge=1, le=36500, description="How long change history is kept, days")
    replicated: bool = Field(False, description="Replicated table engines (needs Keeper)")

    monitoring: bool = Field(True, description="Prometheus, Alertmanager, exporters, Grafana and Kafdrop beside it")
    scrape_interval_seconds: int = Field(15, ge=1, le=300, description="How often Prometheus asks and judges, s")
    reconcile_every_seconds: int = Field(900, ge=60, description="How often ClickHouse is compared with the source, s")
    prometheus_retention_days: int = Field(30, ge=1, le=3650, description="How long Prometheus keeps metrics, days")
    alert_webhook_url: SecretStr = Field(
        SecretStr(""), description="Where alerts are posted to as Alertmanager's JSON, set with --secret"
    )
    alert_email_to: str = Field("", description="Address that alerts are mailed to")
    alert_email_from: str = Field("", description="Sender of those mails")
    alert_smtp_host: str = Field("", description="Mail server as host:port (alertEmailTo only)")
    alert_smtp_user: str = Field("", description="User of the mail server, where it wants one")
    alert_smtp_password: SecretStr = Field(SecretStr(""), description="Its password, set with --secret")

    postgres_version: str = Field(versions.POSTGRES, description="PostgreSQL version")
    kafka_version: str = Field(versions.KAFKA, description="Kafka version")
    debezium_version: str = Field(versions.DEBEZIUM, description="Debezium version")
    clickhouse_version: str = Field(versions.CLICKHOUSE, description="ClickHouse version where its image is pulled")

    postgres_port: Port = Field(5432, description="Port of PostgreSQL on 127.0.0.1")
    kafka_port: Port = Field(9092, description="Port of Kafka on 127.0.0.1")
    connect_port: Port = Field(8083, description="Port of the Kafka Connect REST API on 127.0.0.1")
    clickhouse_http_port: Port = Field(8123, description="Port of ClickHouse HTTP on 127.0.0.1")
    clickhouse_native_port: Port = Field(9000, description="Port of the ClickHouse native protocol on 127.0.0.1")
    prometheus_port: Port = Field(9090, description="Port of Prometheus on 127.0.0.1")
    alertmanager_port: Port = Field(9093, description="Port of Alertmanager on 127.0.0.1")
    node_exporter_port: Port = Field(9100, description="Port of the host's metrics on 127.0.0.1")
    postgres_exporter_port: Port = Field(9187, description="Port of PostgreSQL's metrics on 127.0.0.1")
    kafka_exporter_port: Port = Field(9308, description="Port of the Kafka exporter's metrics on 127.0.0.1")
    clickhouse_metrics_port: Port = Field(9116, description="Port of ClickHouse's metrics on 127.0.0.1")
    kafka_jmx_port: Port = Field(9101, description="Port of the broker's JMX metrics on 127.0.0.1")
    cdc_exporter_port: Port = Field(9117, description="Port of the pipeline's metrics on 127.0.0.1")
    grafana_port: Port = Field(3000, description="Port of Grafana on 127.0.0.1")
    kafdrop_port: Port = Field(9001, description="Port of Kafdrop on 127.0.0.1")
    backend_subnet: str = Field("172.20.0.0/16", description="Internal network, no way out")
    frontend_subnet: str = Field("172.21.0.0/16", description="Network of what the host must reach")
    resource_scale: float = Field(
        0.25, ge=0.1, le=16, description="Memory limits as a share of the resource matrix's lower bound"
    )
    timeout_seconds: int = Field(300, ge=30, description="How long each step waits for its part to be ready, s")

    backup_access_key: SecretStr = Field(SecretStr(""), description="Object store's access key, set with --secret")
    backup_secret_key: SecretStr = Field(SecretStr(""), description="Object store's secret key, set with --secret")
    kubernetes: KubernetesSettings = Field(
        KubernetesSettings(), description="Topology, storage, endpoints and backups of a stack on Kubernetes"
    )

    @field_validator("tables")
    @classmethod
    def _tables_are_qualified(cls, tables: list[str]) -> list[str]:
        for table in tables:
            if not TABLE_NAME.match(table):
                raise ValueError(f"{table!r} is not schema.table in lower case, for example inventory.orders")
        if len(set(tables)) != len(tables):
            raise ValueError("a table is named twice; name each once")
        return tables

    @field_validator("backend_subnet", "frontend_subnet")
    @classmethod
    def _subnets_are_networks(cls, subnet: str) -> str:
        try:
            return str(ip_network(subnet))
        except ValueError as error:
            raise ValueError(f"{error}; an address range such as 172.20.0.0/16 is meant") from None

    @field_validator("debezium_version", "kafka_version", "postgres_version", "clickhouse_version")
    @classmethod
    def _versions_start_with_numbers(cls, version: str) -> str:
        if not re.match(r"^\d+\.\d+", version):
            raise ValueError("a pinned version such as 16.15 or 3.7.0.Final is meant, not a moving tag")
        return version

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if stray := sorted(set(self.message_keys) - set(self.tables)):
            raise ValueError(f"messageKeys names {', '.join(stray)}, not in tables; add it there or drop the key")
        if self.source == "external" and not (self.source_host and self.source_admin_password.get_secret_value()):
            raise ValueError(
                "source external needs sourceHost and sourceAdminPassword "
                "(pulumi config set --secret sourceAdminPassword)"
            )
        if self.kafka_consumers > self.kafka_partitions:
            raise ValueError(
                f"kafkaConsumers {self.kafka_consumers} exceeds kafkaPartitions {self.kafka_partitions}; "
                "the surplus would idle: lower one or raise the other"
            )
        if self.platform == "docker" and self.replicated and self.images == "build":
            raise ValueError("replicated true needs Keeper, which only the pulled image has; set images to pull")
        if ip_network(self.backend_subnet).overlaps(ip_network(self.frontend_subnet)):
            raise ValueError("backendSubnet and frontendSubnet overlap; give them ranges apart from each other")
        if self.alert_email_to and not (self.alert_email_from and self.alert_smtp_host):
            raise ValueError("alertEmailTo needs alertEmailFrom and alertSmtpHost (host:port)")
        self._ports_differ()
        if self.platform == "kubernetes" and (findings := self._kubernetes_findings()):
            raise ValueError("\n  - ".join(findings))
        return self

    def _kubernetes_findings(self) -> list[str]:
        """What is missing or impossible for this platform."""
        findings = self.kubernetes.findings()
        for key in ("backup_access_key", "backup_secret_key"):
            if not getattr(self, key).get_secret_value():
                name = to_camel(key)
                findings.append(f"{PROJECT}:{name} is absent: pulumi config set --secret {name} <value>")
        if self.kubernetes.clickhouse_hosts > 1 and not self.replicated:
            findings.append(
                f"{PROJECT}:replicated = False: {self.kubernetes.clickhouse_hosts} ClickHouse servers hold the same "
                "rows only as replicated tables; set it to true"
            )
        return findings

    def _ports_differ(self) -> None:
        seen: dict[int, str] = {}
        for name, port in self.ports.items():
            if port in seen:
                raise ValueError(f"{seen[port]} and {name} both want port {port}; give one of them another")
            seen[port] = name

    @property
    def ports(self) -> dict[str, int]:
        """Ports published on 127.0.0.1, by configuration key."""
        names = ["kafka_port", "connect_port", "clickhouse_http_port", "clickhouse_native_port"]
        if self.source == "managed":
            names.insert(0, "postgres_port")
        if self.monitoring:
            names += MONITORING_PORTS
        return {to_camel(name): getattr(self, name) for name in names}

    @property
    def warnings(self) -> list[str]:
        """Choices that work but that the operator should know the price of."""
        major_minor = tuple(int(part) for part in self.debezium_version.split(".")[:2])
        if major_minor < versions.DEBEZIUM_SAFE:
            return [
                f"debeziumVersion {self.debezium_version} by itself loses rows when Kafka Connect is killed in the "
                f"middle of a COPY (18 of 19 trials), and what prevents it here was tried with {versions.DEBEZIUM} only"
            ]
        return []

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Settings:
        """Check ``values`` (camelCase keys). Raises SettingsError that lists every finding at once."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise SettingsError(_explain(error)) from None

    @classmethod
    def from_stack_file(cls, path: Path) -> Settings:
        """Read ``Pulumi.<stack>.yaml`` without Pulumi; a secret there is not decrypted, only seen to be present."""
        if not path.is_file():
            raise SettingsError(f"{path} does not exist; stacks are Pulumi.dev.yaml and Pulumi.prod.yaml")
        document = yaml.safe_load(path.read_text()) or {}
        values = {
            key.split(":", 1)[1]: value["secure"] if isinstance(value, dict) and "secure" in value else value
            for key, value in (document.get("config") or {}).items()
            if key.startswith(f"{PROJECT}:")
        }
        return cls.from_mapping(values)

    @classmethod
    def load(cls) -> Settings:
        """Read the running stack's configuration from Pulumi."""
        return cls.from_mapping(_pulumi_values())


def config_keys() -> list[str]:
    """Every configuration key, camelCase, in the order of the class."""
    return [field.alias or name for name, field in Settings.model_fields.items()]


def _pulumi_values() -> dict[str, Any]:
    config = pulumi.Config(PROJECT)
    values: dict[str, Any] = {}
    # pulumi.Config can't list its keys, and a key that nobody reads must be seen.
    for full_key in pulumi_config.CONFIG.get() or pulumi_config.get_config_env():
        namespace, _, key = full_key.partition(":")
        if namespace != PROJECT:
            continue
        text = config.get(key) or ""
        values[key] = text if _wants_text(key) else _decoded(text)
    return values


def _decoded(text: str) -> Any:  # noqa: ANN401 - whatever the value's JSON holds
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _wants_text(key: str) -> bool:
    """Whether a key's type is text: neither the version 16.15 nor the password null is anything else."""
    field = next((f for name, f in Settings.model_fields.items() if key in (name, f.alias)), None)
    return field is not None and field.annotation in (str, SecretStr)


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "string_type" and isinstance(item["input"], int | float):
            message = "is a number to YAML; quote it"
        if item["type"] == "extra_forbidden":
            close = get_close_matches(key, config_keys(), n=1)
            hint = f"did you mean {PROJECT}:{close[0]}?" if close else f"known keys: {', '.join(config_keys())}"
            lines.append(f"{PROJECT}:{key} is not a key of this project; {hint}")
        elif key:
            shown = "a secret" if re.search("password|webhook|key$", key.lower()) else repr(item["input"])
            lines.append(f"{PROJECT}:{key} = {shown}: {message}")
        else:
            lines.append(message)
    cure = "Set a key with `pulumi config set <key> <value>` or in Pulumi.<stack>.yaml."
    return "\n".join(["configuration refused:", *(f"  - {line}" for line in lines), cure])
