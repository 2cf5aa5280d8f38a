"""The part of a stack's settings that only Kubernetes needs: the object key ``cdc:kubernetes``."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

Count = Annotated[int, Field(ge=1, le=99)]
Quantity = Annotated[str, Field(pattern=r"^[1-9][0-9]*(Mi|Gi|Ti)$")]
Host = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+)?$")]
NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
PINNED = re.compile(r"^[^\s@]+(:[A-Za-z0-9_][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64})$")


class KubernetesSettings(BaseModel):
    """Keys are ``cdc:kubernetes.<camelCase name>``; ``pulumi config set --path 'cdc:kubernetes.storageClass' …``."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="forbid", populate_by_name=True)

    context: str = Field("", description="kubeconfig context; empty is the current one")
    operators: Literal["install", "existing"] = Field(
        "install", description="install: this stack installs the operators; existing: the cluster has them"
    )
    operators_namespace: str = Field("cdc-operators", pattern=NAME, description="Namespace of the operators")
    monitoring_namespace: str = Field("cdc-monitoring", pattern=NAME, description="Namespace of Prometheus and Grafana")
    storage_class: str = Field("", description="Storage class of every volume")
    priority: int = Field(100000, ge=0, le=1000000000, description="Priority of the pods that hold or move data")
    zone_key: str = Field("topology.kubernetes.io/zone", description="Node label that replicas are spread over")
    image_pull_secret: str = Field("", description="Existing Secret with the registry's login, if it needs one")
    digests: dict[str, str] = Field({}, description="Digest of a part's image, sha256:…; it wins over the tag")

    postgres_instances: Count = Field(3, description="PostgreSQL instances, one of them primary")
    postgres_sync_replicas: int = Field(1, ge=0, le=9, description="Standbys that confirm a commit")
    postgres_storage: Quantity = Field("100Gi", description="Volume of each PostgreSQL instance")
    postgres_wal_storage: Quantity = Field("50Gi", description="WAL volume of each PostgreSQL instance")

    kafka_controllers: Count = Field(3, description="KRaft controllers")
    kafka_brokers: Count = Field(3, description="Kafka brokers")
    kafka_replication: Count = Field(3, description="Replicas of each partition")
    kafka_min_insync: Count = Field(2, description="Replicas that confirm a write")
    kafka_storage: Quantity = Field("200Gi", description="Volume of each broker")
    connect_workers: Count = Field(2, description="Kafka Connect workers")
    connect_image: str = Field("", description="Image of Strimzi's Kafka with the Debezium plugin")
    connect_build_image: str = Field("", description="Instead of connectImage: where Strimzi pushes what it builds")
    connect_build_secret: str = Field("", description="Existing Secret with the login for connectBuildImage")

    clickhouse_shards: Count = Field(2, description="ClickHouse shards")
    clickhouse_replicas: Count = Field(2, description="Replicas of each shard")
    clickhouse_keepers: int = Field(3, ge=0, le=9, description="ClickHouse Keepers, an odd number")
    clickhouse_storage: Quantity = Field("500Gi", description="Volume of each ClickHouse server")
    keeper_storage: Quantity = Field("10Gi", description="Volume of each Keeper")

    operations_image: str = Field("", description="Image of images/operations: exporter and reconciliation")
    reconcile_schedule: str = Field("17 * * * *", description="When source and target are compared, as cron")
    monitoring_storage: Quantity = Field("50Gi", description="Volume of each Prometheus")

    postgres_host: Host = Field("", description="Name under which this machine reaches PostgreSQL")
    clickhouse_host: Host = Field("", description="Name under which this machine reaches ClickHouse")
    connect_host: Host = Field("", description="Name under which this machine reaches Kafka Connect (HTTPS)")
    grafana_host: Host = Field("", description="Name under which people reach Grafana (HTTPS); empty is no ingress")
    grafana_tls_secret: str = Field("", description="Existing Secret with its certificate, in monitoringNamespace")
    endpoint_cidrs: list[str] = Field(["10.0.0.0/8"], min_length=1, description="Who may reach these three")
    service_annotations: dict[str, str] = Field({}, description="Annotations of the load balancers: internal, DNS name")
    ingress_class: str = Field("nginx", description="Ingress class in front of Kafka Connect")
    ingress_namespace: str = Field("ingress-nginx", description="Namespace of its controller")
    api_server_cidr: str = Field("0.0.0.0/0", description="Addresses of the API server, for network policies")
    object_store_cidr: str = Field("0.0.0.0/0", description="Addresses of the object store, for network policies")

    backup_bucket: str = Field(
        "", pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$", description="Bucket of the backups"
    )
    backup_endpoint: str = Field(
        "", pattern=r"^(https://[^\s/]+)?$", description="Object store that speaks S3, https://host[:port]"
    )
    backup_retention_days: int = Field(30, ge=1, description="How long daily backups and WAL are kept, days")
    backup_retention_weeks: int = Field(12, ge=1, description="How many weekly long-term backups are kept")

    @field_validator("endpoint_cidrs", "api_server_cidr", "object_store_cidr")
    @classmethod
    def _are_networks(cls, value: list[str] | str) -> list[str] | str:
        for each in [value] if isinstance(value, str) else value:
            try:
                ip_network(each)
            except ValueError as error:
                raise ValueError(f"{error}; an address range such as 10.0.0.0/8 is meant") from None
        return value

    @field_validator("digests")
    @classmethod
    def _are_digests(cls, digests: dict[str, str]) -> dict[str, str]:
        for part, digest in digests.items():
            if not DIGEST.match(digest):
                raise ValueError(f"{part}: {digest!r} is not sha256: and 64 hexadecimal digits")
        return digests

    @field_validator("connect_image", "connect_build_image", "operations_image")
    @classmethod
    def _are_pinned(cls, image: str) -> str:
        if image and (not PINNED.match(image) or image.endswith(":latest")):
            raise ValueError("a tag other than latest, or a digest, must be named: registry/name:1.2.3 or …@sha256:…")
        return image

    def findings(self) -> list[str]:
        """What of this can't be deployed, each with key, value and cure."""
        return [*self._absent(), *self._impossible()]

    def _absent(self) -> list[str]:
        needed = {
            "storage_class": "name a storage class of the cluster (kubectl get storageclass)",
            "postgres_host": "give the DNS name of PostgreSQL's load balancer: Pulumi applies source roles over it",
            "clickhouse_host": "give the DNS name of ClickHouse's load balancer: Pulumi applies its schema over it",
            "connect_host": "give the DNS name of Kafka Connect's ingress: Pulumi registers the connector over it",
            "operations_image": "push images/operations to your registry and name it here",
            "backup_bucket": "name a bucket",
            "backup_endpoint": "name the object store, https://host",
        }
        found = [_finding(self, name, cure) for name, cure in needed.items() if not getattr(self, name)]
        if self.grafana_host and not self.grafana_tls_secret:
            cure = "grafanaHost is served over HTTPS only: name the Secret that holds its certificate"
            found.append(_finding(self, "grafana_tls_secret", cure))
        if bool(self.connect_image) == bool(self.connect_build_image):
            cure = "set either connectImage or connectBuildImage, to which Strimzi pushes the image it builds"
            found.append(_finding(self, "connect_image", cure))
        return found

    def _impossible(self) -> list[str]:
        rules = [
            (
                self.kafka_replication > self.kafka_brokers,
                "kafka_replication",
                f"exceeds kafkaBrokers {self.kafka_brokers}",
            ),
            (
                self.kafka_min_insync > self.kafka_replication,
                "kafka_min_insync",
                f"exceeds kafkaReplication {self.kafka_replication}",
            ),
            (
                self.kafka_replication > 1 and self.kafka_min_insync == self.kafka_replication,
                "kafka_min_insync",
                "equals kafkaReplication: one broker's restart would stop writes; lower it",
            ),
            (self.kafka_controllers % 2 == 0, "kafka_controllers", "is even: a quorum needs an odd number"),
            (
                self.postgres_sync_replicas >= self.postgres_instances,
                "postgres_sync_replicas",
                f"needs more standbys than postgresInstances {self.postgres_instances} has",
            ),
            (
                self.clickhouse_hosts > 1 and not self.clickhouse_keepers,
                "clickhouse_keepers",
                "shards and replicas coordinate over Keeper; set 3",
            ),
            (
                self.clickhouse_keepers > 0 and self.clickhouse_keepers % 2 == 0,
                "clickhouse_keepers",
                "is even: a quorum needs an odd number",
            ),
        ]
        return [_finding(self, name, cure) for wrong, name, cure in rules if wrong]

    @property
    def clickhouse_hosts(self) -> int:
        """Number of ClickHouse servers."""
        return self.clickhouse_shards * self.clickhouse_replicas


def _finding(settings: KubernetesSettings, name: str, cure: str) -> str:
    return f"cdc:kubernetes.{to_camel(name)} = {getattr(settings, name)!r}: {cure}"
