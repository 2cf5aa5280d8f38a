"""Kafka Connect on Kubernetes: Strimzi runs the workers; the connector itself is the DebeziumConnector provider's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from components.configs.edges import CONNECT
from components.configs.kafka import worker_properties
from components.configs.properties import parse
from components.configs.quantities import memory_mib, resources
from components.configs.resources import HEAP_SHARE
from components.endpoints import Address, ConnectEndpoint, Credential, KafkaEndpoint
from components.kubernetes.certificates import AUTHORITY, tls_secret
from components.kubernetes.kafka import CA_SECRET, METRICS
from components.kubernetes.kafka_users import CONNECT_USER
from components.kubernetes.manifests import READY, Manifest, apart, named, pull_secrets, register, secret
from components.kubernetes.network import PRIORITY_CLASS, Namespaces
from components.kubernetes.source_database import slot_options
from components.names import CONNECT_GROUP, Names
from components.platform import Part

API = "kafka.strimzi.io/v1"
PORT = 8083
SOURCE_SECRET = "debezium-source"  # noqa: S105 - what it is called, not what it is
SERVICE = f"{CONNECT}-connect-api"
SERVICE_ACCOUNT = f"{CONNECT}-connect"
CA_MOUNT = "/mnt/cdc-ca"
PLUGIN_URL = (
    "https://repo1.maven.org/maven2/io/debezium/debezium-connector-postgres/{version}/"
    "debezium-connector-postgres-{version}-plugin.tar.gz"
)
OPERATORS_OWN = (
    "bootstrap.servers",
    "group.id",
    "config.storage.topic",
    "offset.storage.topic",
    "status.storage.topic",
    "listeners",
    "rest.",
    "plugin.path",
    "config.providers",
)
"""Settings of our file that are fields of the resource, or that the operator insists on making itself."""


@dataclass(frozen=True, kw_only=True)
class KafkaConnectArgs:
    """Namespaces, the brokers, and the source user whose password connectors read from a Secret."""

    names: Names
    namespaces: Namespaces
    image: str
    kafka: KafkaEndpoint
    source_user: Credential
    ca: pulumi.Output[str]
    ca_config: str


class KafkaConnect(Part[ConnectEndpoint]):
    """Workers that take over each other's tasks, behind an ingress with TLS."""

    def __init__(self, name: str, *, args: KafkaConnectArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("cdc:kubernetes:KafkaConnect", name, None, opts)
        namespace, host = args.namespaces.pipeline, args.names.settings.kubernetes.connect_host
        child = pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on)
        data: dict[str, pulumi.Input[str]] = {"user": args.source_user.user, "password": args.source_user.password}
        before = [register(secret(SOURCE_SECRET, namespace, data), child)]
        before += [register(each, child) for each in secret_reader(namespace)]
        made = register(cluster(args), child.merge(pulumi.ResourceOptions(depends_on=before)))
        front = register(ingress(args.names, namespace), pulumi.ResourceOptions(parent=self, depends_on=[made]))
        self.identity = pulumi.Output.all(made.id, front.id).apply("/".join)
        self.endpoint = ConnectEndpoint(
            inside=Address(host=args.namespaces.host(SERVICE), port=PORT),
            outside=Address(host=host, port=443),
            scheme="https",
            ca=args.ca,
            source_options={
                "database.password": f"${{secrets:{namespace}/{SOURCE_SECRET}:password}}",
                "database.sslmode": "verify-full",
                "database.sslrootcert": f"{CA_MOUNT}/ca.crt",
                **slot_options(args.names.settings),
            },
        )
        self.register_outputs({})


def cluster(args: KafkaConnectArgs) -> Manifest:
    """The workers. Strimzi's own connector resources stay off: a connector has one owner."""
    settings, kubernetes = args.names.settings, args.names.settings.kubernetes
    topics = args.names.connect_topics
    heap = round(memory_mib("kafka-connect", settings.resource_scale) * HEAP_SHARE["kafka-connect"])
    labels = {"strimzi.io/cluster": CONNECT, "strimzi.io/kind": "KafkaConnect"}
    pod: dict[str, Any] = {
        "priorityClassName": PRIORITY_CLASS,
        "volumes": [{"name": "cdc-ca", "configMap": {"name": args.ca_config}}],
        **apart(labels, kubernetes.zone_key),
        **pull_secrets(settings),
    }
    spec: dict[str, Any] = {
        "version": settings.kafka_version,
        "replicas": kubernetes.connect_workers,
        "bootstrapServers": str(args.kafka.inside),
        "groupId": CONNECT_GROUP,
        "configStorageTopic": topics["config.storage.topic"],
        "offsetStorageTopic": topics["offset.storage.topic"],
        "statusStorageTopic": topics["status.storage.topic"],
        "tls": {"trustedCertificates": [{"secretName": CA_SECRET, "certificate": "ca.crt"}]},
        "authentication": {
            "type": "scram-sha-512",
            "username": CONNECT_USER,
            "passwordSecret": {"secretName": CONNECT_USER, "password": "password"},
        },
        "config": worker_config(args),
        "resources": resources("kafka-connect", settings.resource_scale),
        "jvmOptions": {"-Xms": f"{heap // 2}m", "-Xmx": f"{heap}m"},
        "readinessProbe": {"initialDelaySeconds": 15, "timeoutSeconds": 10},
        "livenessProbe": {"initialDelaySeconds": 60, "timeoutSeconds": 10},
        "metricsConfig": {
            "type": "jmxPrometheusExporter",
            "valueFrom": {"configMapKeyRef": {"name": METRICS, "key": "connect.yml"}},
        },
        "template": {
            "pod": pod,
            "connectContainer": {"volumeMounts": [{"name": "cdc-ca", "mountPath": CA_MOUNT, "readOnly": True}]},
            "podDisruptionBudget": {"maxUnavailable": 1},
        },
    }
    if args.image:
        spec["image"] = args.image
    else:
        spec["build"] = _build(args)
    return named("KafkaConnect", API, CONNECT, args.namespaces.pipeline, annotations=READY) | {"spec": spec}


def worker_config(args: KafkaConnectArgs) -> dict[str, str]:
    """The settings of the file that Docker's worker reads, but for what the operator makes itself."""
    text = worker_properties(args.names, bootstrap=str(args.kafka.inside), replication=args.kafka.replication)
    kept = {key: value for key, value in parse(text).items() if not key.startswith(OPERATORS_OWN)}
    return kept | {
        "config.providers": "secrets",
        "config.providers.secrets.class": "io.strimzi.kafka.KubernetesSecretConfigProvider",
    }


def secret_reader(namespace: str) -> list[Manifest]:
    """Lets the workers read one Secret and no other."""
    rbac = "rbac.authorization.k8s.io/v1"
    name = f"{CONNECT}-reads-{SOURCE_SECRET}"
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [SOURCE_SECRET], "verbs": ["get"]}
    return [
        named("Role", rbac, name, namespace) | {"rules": [rule]},
        named("RoleBinding", rbac, name, namespace)
        | {
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": namespace}],
        },
    ]


def ingress(names: Names, namespace: str) -> Manifest:
    """TLS and an address filter in front of the REST API, which has neither and asks for no login."""
    kubernetes = names.settings.kubernetes
    backend = {"service": {"name": SERVICE, "port": {"number": PORT}}}
    annotations = {"nginx.ingress.kubernetes.io/whitelist-source-range": ",".join(kubernetes.endpoint_cidrs)}
    return named("Ingress", "networking.k8s.io/v1", CONNECT, namespace, annotations=annotations) | {
        "spec": {
            "ingressClassName": kubernetes.ingress_class,
            "tls": [{"hosts": [kubernetes.connect_host], "secretName": tls_secret(CONNECT)}],
            "rules": [
                {
                    "host": kubernetes.connect_host,
                    "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
                }
            ],
        }
    }


def ca_config(namespace: str, ca: pulumi.Input[str]) -> Manifest:
    """The authority's certificate for whoever verifies a server; its key stays in cert-manager's Secret."""
    return named("ConfigMap", "v1", AUTHORITY, namespace) | {"data": {"ca.crt": ca}}


def _build(args: KafkaConnectArgs) -> Manifest:
    kubernetes = args.names.settings.kubernetes
    output = {"type": "docker", "image": kubernetes.connect_build_image}
    if kubernetes.connect_build_secret:
        output["pushSecret"] = kubernetes.connect_build_secret
    url = PLUGIN_URL.format(version=args.names.settings.debezium_version)
    return {
        "output": output,
        "plugins": [{"name": "debezium-postgres", "artifacts": [{"type": "tgz", "url": url}]}],
        "resources": resources("operator", args.names.settings.resource_scale),
    }
