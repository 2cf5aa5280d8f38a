"""The parts of a pipeline as custom resources of their operators."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pulumi_random as random

from components import versions
from components.configs.images import Image
from components.endpoints import (
    ClickHouseEndpoint,
    ConnectEndpoint,
    Credential,
    KafkaEndpoint,
    PostgresEndpoint,
    Watched,
)
from components.kubernetes.backups import Backups
from components.kubernetes.certificates import Certificates
from components.kubernetes.clickhouse import ClickHouse, ClickHouseArgs
from components.kubernetes.kafka import Kafka, KafkaArgs, topics
from components.kubernetes.kafka_connect import KafkaConnect, KafkaConnectArgs, ca_config
from components.kubernetes.manifests import register
from components.kubernetes.monitoring import Monitoring
from components.kubernetes.network import Network
from components.kubernetes.operations import Operations
from components.kubernetes.operators import Operators
from components.kubernetes.source_database import SourceDatabase, SourceDatabaseArgs
from components.kubernetes.store import object_store, store_secret
from components.names import Names
from components.platform import Part
from components.settings import Settings


class KubernetesPlatform:
    """``components.platform.Platform`` on Kubernetes; ``parent`` owns all that is made here."""

    images: dict[str, Image]

    def __init__(self, *, names: Names, parent: pulumi.Resource) -> None:
        self._names = names
        settings = names.settings
        self.images = cluster_images(settings)
        # Strict about unknown fields and about what it did not make; the kubeconfig itself stays out of the state.
        cluster = k8s.Provider(
            "cluster",
            context=settings.kubernetes.context or None,
            enable_server_side_apply=True,
            opts=pulumi.ResourceOptions(parent=parent),
        )
        self._opts = pulumi.ResourceOptions(parent=parent, provider=cluster)
        network = Network("network", names=names, opts=self._opts)
        self._namespaces = network.namespaces
        self._operators = Operators(
            "operators",
            settings=settings,
            namespaces=self._namespaces,
            clickhouse_password=self._password("clickhouse-operator-account"),
            opts=self._child(network),
        )
        self._certificates = Certificates(
            "certificates", names=names, namespaces=self._namespaces, opts=self._child(self._operators)
        )
        self._ca_config = register(
            ca_config(self._namespaces.pipeline, self._certificates.ca), self._child(self._certificates)
        )

        pipeline = self._namespaces.pipeline
        keys = register(store_secret(settings, pipeline), self._child(network))
        self._store = register(object_store(settings, pipeline), self._child(self._operators, keys))

    def source_database(self) -> Part[PostgresEndpoint]:
        """Instances of PostgreSQL, one of them primary."""
        args = SourceDatabaseArgs(
            names=self._names,
            image=self.images["postgres"].reference,
            namespaces=self._namespaces,
            ca=self._certificates.ca,
        )
        return SourceDatabase("source-database", args=args, opts=self._child(self._certificates, self._store))

    def kafka(self) -> Part[KafkaEndpoint]:
        """Controllers and brokers."""
        args = KafkaArgs(names=self._names, image=self.images["kafka"].reference, namespaces=self._namespaces)
        return Kafka("kafka", args=args, opts=self._child(self._operators))

    def topics(self, kafka: Part[KafkaEndpoint]) -> pulumi.Resource:
        """Topics as resources that Strimzi keeps."""
        return Topics("topics", names=self._names, namespace=self._namespaces.pipeline, opts=self._child(kafka))

    def kafka_connect(self, kafka: Part[KafkaEndpoint], source_user: Credential) -> Part[ConnectEndpoint]:
        """Workers behind an ingress."""
        args = KafkaConnectArgs(
            names=self._names,
            namespaces=self._namespaces,
            image=self.images["kafka-connect"].reference if self._names.settings.kubernetes.connect_image else "",
            kafka=kafka.endpoint,
            source_user=source_user,
            ca=self._certificates.ca,
            ca_config=ca_config(self._namespaces.pipeline, "")["metadata"]["name"],
        )
        return KafkaConnect("kafka-connect", args=args, opts=self._child(kafka, self._ca_config))

    def clickhouse(self, kafka: Part[KafkaEndpoint]) -> Part[ClickHouseEndpoint]:
        """Shards of replicas, and their Keepers; they mount the brokers' authority and log in as a Kafka user."""
        args = ClickHouseArgs(
            names=self._names,
            image=self.images["clickhouse"].reference,
            keeper_image=self.images["clickhouse-keeper"].reference,
            namespaces=self._namespaces,
            ca=self._certificates.ca,
        )
        made = ClickHouse("clickhouse", args=args, opts=self._child(self._certificates, self._store, kafka))
        Backups(
            "backups",
            names=self._names,
            namespaces=self._namespaces,
            image=args.image,
            retention_image=self.images["rclone"].reference,
            password=made.backup_password,
            opts=self._child(made, self._ca_config),
        )
        return made

    def monitoring(self, watched: Watched) -> dict[str, Any]:
        """Rules, dashboards and monitors; our own programs."""
        after = self._child(self._operators, self._ca_config)
        shown = Monitoring("monitoring", names=self._names, namespaces=self._namespaces, watched=watched, opts=after)
        Operations(
            "operations",
            names=self._names,
            namespaces=self._namespaces,
            image=self.images["operations"].reference,
            watched=watched,
            opts=after,
        )
        return shown.urls

    def outputs(self) -> dict[str, Any]:
        """Where `kubectl` finds the parts, and the authority that clients verify servers against."""
        return {"namespace": self._namespaces.pipeline, "ca": self._certificates.ca}

    def _password(self, name: str) -> pulumi.Output[str]:
        opts = pulumi.ResourceOptions(parent=self._opts.parent)
        return random.RandomPassword(name, length=32, special=False, opts=opts).result

    def _child(self, *after: pulumi.Resource) -> pulumi.ResourceOptions:
        return self._opts.merge(pulumi.ResourceOptions(depends_on=list(after)))


class Topics(pulumi.ComponentResource):
    """Every topic, before anything writes to one."""

    def __init__(self, name: str, *, names: Names, namespace: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__("cdc:kubernetes:Topics", name, None, opts)
        for each in topics(names, namespace):
            # Deleting the resource deletes the topic with its data.
            register(each, pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on, protect=True))
        self.register_outputs({})


def cluster_images(settings: Settings) -> dict[str, Image]:
    """Image of every part, by digest where the settings name one."""
    kubernetes = settings.kubernetes
    parts = {
        "postgres": settings.postgres_version,
        "kafka": settings.kafka_version,
        "clickhouse": settings.clickhouse_version,
        "clickhouse-keeper": settings.clickhouse_version,
        "rclone": versions.RCLONE,
    }
    references = {part: versions.CLUSTER_IMAGES[part].format(version=version) for part, version in parts.items()}
    parts |= {"kafka-connect": settings.debezium_version, "operations": versions.OPERATIONS}
    references["kafka-connect"] = kubernetes.connect_image or kubernetes.connect_build_image
    references["operations"] = kubernetes.operations_image
    return {
        part: Image(
            part=part,
            reference=_by_digest(reference, kubernetes.digests.get(part, "")),
            source="pulled",
            version=parts[part],
        )
        for part, reference in references.items()
    }


def _by_digest(reference: str, digest: str) -> str:
    return f"{reference.split('@')[0]}@{digest}" if digest else reference
