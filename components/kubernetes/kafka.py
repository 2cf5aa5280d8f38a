"""Kafka on Kubernetes: Strimzi's custom resources; no listener without TLS and a login."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from components.configs.edges import KAFKA
from components.configs.prometheus import jmx_rules
from components.configs.properties import properties
from components.configs.quantities import memory_mib, resources
from components.endpoints import Address, KafkaEndpoint
from components.kubernetes.kafka_users import USERS, kafka_user
from components.kubernetes.manifests import READY, Manifest, apart, named, register
from components.kubernetes.network import PRIORITY_CLASS, Namespaces
from components.names import Names
from components.platform import Part
from components.settings import Settings

API = "kafka.strimzi.io/v1"
CLUSTER = {"strimzi.io/cluster": KAFKA}
LISTENER_PORT = 9093
CA_SECRET = f"{KAFKA}-cluster-ca-cert"
METRICS = "kafka-metrics"
OPERATORS_OWN = (
    "process.roles",
    "node.id",
    "controller.",
    "listener",
    "advertised.",
    "inter.broker.",
    "log.dirs",
)
"""Settings of our file that the operator insists on making itself, by how they begin."""


@dataclass(frozen=True, kw_only=True)
class KafkaArgs:
    """Namespaces and the version's image."""

    names: Names
    image: str
    namespaces: Namespaces


class Kafka(Part[KafkaEndpoint]):
    """Controllers, brokers, and one user per duty."""

    def __init__(self, name: str, *, args: KafkaArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("cdc:kubernetes:Kafka", name, None, opts)
        settings, namespace = args.names.settings, args.namespaces.pipeline
        child = pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on)
        rules = register(metrics(namespace), child)
        data = child.merge(pulumi.ResourceOptions(protect=True))
        pools = [register(pool(role, settings, namespace), data) for role in ("controller", "broker")]
        made = register(
            cluster(settings, namespace, args.image), data.merge(pulumi.ResourceOptions(depends_on=[*pools, rules]))
        )
        after = pulumi.ResourceOptions(parent=self, depends_on=[made])
        for user in USERS:
            register(kafka_user(user, args.names, namespace), after)
        self.identity = made.id
        bootstrap = Address(host=args.namespaces.host(f"{KAFKA}-kafka-bootstrap"), port=LISTENER_PORT)
        self.endpoint = KafkaEndpoint(
            inside=bootstrap, outside=bootstrap, replication=settings.kubernetes.kafka_replication
        )
        self.register_outputs({})


def topics(names: Names, namespace: str) -> list[Manifest]:
    """Every topic of the change stream, and Connect's own: nothing makes topics by itself."""
    compacted = {"cleanup.policy": "compact"}
    internal = {"config.storage.topic": 1, "offset.storage.topic": 25, "status.storage.topic": 5}
    wanted = [(topic.name, topic.partitions, topic.config) for topic in names.topics()]
    wanted += [(names.connect_topics[key], partitions, compacted) for key, partitions in internal.items()]
    return [_topic(name, partitions, config, names.settings, namespace) for name, partitions, config in wanted]


def _topic(name: str, partitions: int, config: dict[str, str], settings: Settings, namespace: str) -> Manifest:
    resource = name.lower().replace("_", "-").strip("-")
    return named("KafkaTopic", API, resource, namespace, labels=CLUSTER, annotations=READY) | {
        "spec": {
            "topicName": name,
            "partitions": partitions,
            "replicas": settings.kubernetes.kafka_replication,
            "config": {**config, "min.insync.replicas": str(settings.kubernetes.kafka_min_insync)},
        }
    }


def pool(role: str, settings: Settings, namespace: str) -> Manifest:
    """Nodes of one role, each with a volume that outlives them."""
    kubernetes = settings.kubernetes
    part = "kafka" if role == "broker" else "kafka-controller"
    heap = memory_mib(part, settings.resource_scale) // 2
    size = kubernetes.kafka_storage if role == "broker" else "10Gi"
    labels = {**CLUSTER, "strimzi.io/pool-name": role}
    spec: dict[str, Any] = {
        "replicas": kubernetes.kafka_brokers if role == "broker" else kubernetes.kafka_controllers,
        "roles": [role],
        "storage": {
            "type": "jbod",
            "volumes": [
                {
                    "id": 0,
                    "type": "persistent-claim",
                    "size": size,
                    "class": kubernetes.storage_class,
                    "deleteClaim": False,
                    "kraftMetadata": "shared",
                }
            ],
        },
        "resources": resources(part, settings.resource_scale),
        "jvmOptions": {"-Xms": f"{heap}m", "-Xmx": f"{heap}m"},
        "template": {"pod": {"priorityClassName": PRIORITY_CLASS, **apart(labels, kubernetes.zone_key)}},
    }
    return named("KafkaNodePool", API, role, namespace, labels=CLUSTER) | {"spec": spec}


def cluster(settings: Settings, namespace: str, image: str) -> Manifest:
    """The cluster: one listener, with TLS and SCRAM; ACLs deny what they do not name."""
    kubernetes = settings.kubernetes
    small = {"resources": resources("agent", settings.resource_scale)}
    spec: dict[str, Any] = {
        "kafka": {
            "version": settings.kafka_version,
            "image": image,
            "listeners": [
                {
                    "name": "tls",
                    "port": LISTENER_PORT,
                    "type": "internal",
                    "tls": True,
                    "authentication": {"type": "scram-sha-512"},
                }
            ],
            "authorization": {"type": "simple"},
            "rack": {"topologyKey": kubernetes.zone_key},
            "config": broker_config(settings),
            "metricsConfig": {
                "type": "jmxPrometheusExporter",
                "valueFrom": {"configMapKeyRef": {"name": METRICS, "key": "kafka.yml"}},
            },
            "template": {"podDisruptionBudget": {"maxUnavailable": 1}},
        },
        "entityOperator": {
            "topicOperator": small,
            "userOperator": small,
            "template": {"pod": {"priorityClassName": PRIORITY_CLASS}},
        },
        "kafkaExporter": {"topicRegex": ".*", "groupRegex": ".*", **small},
    }
    return named("Kafka", API, KAFKA, namespace, annotations=READY) | {"spec": spec}


def broker_config(settings: Settings) -> dict[str, Any]:
    """The settings of the file that Docker's broker reads, replicated, but for what the operator makes itself."""
    replication, insync = settings.kubernetes.kafka_replication, settings.kubernetes.kafka_min_insync
    single = properties("server.properties", external_port=0)
    kept = {key: value for key, value in single.items() if not key.startswith(OPERATORS_OWN)}
    return kept | {
        "default.replication.factor": replication,
        "min.insync.replicas": insync,
        "offsets.topic.replication.factor": replication,
        "transaction.state.log.replication.factor": replication,
        "transaction.state.log.min.isr": insync,
        "share.coordinator.state.topic.replication.factor": replication,
        "share.coordinator.state.topic.min.isr": insync,
        "unclean.leader.election.enable": False,
    }


def metrics(namespace: str) -> Manifest:
    """JMX rules of brokers and Connect: the files that Docker's agents read."""
    return named("ConfigMap", "v1", METRICS, namespace) | {
        "data": {f"{part}.yml": jmx_rules(part) for part in ("kafka", "connect")}
    }
