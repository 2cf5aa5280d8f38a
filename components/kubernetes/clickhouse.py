"""ClickHouse on Kubernetes: Altinity's custom resources; shards of replicas, TLS on every port, users from a Secret."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_random as random

from components.configs.clickhouse import server_config
from components.configs.clickhouse_operator import REPLICATED_SETTINGS, reference, users
from components.configs.edges import CLICKHOUSE, PODS
from components.configs.quantities import memory_mib, resources
from components.configs.render import render
from components.configs.resources import Memory
from components.endpoints import Address, ClickHouseEndpoint, Credential
from components.kubernetes.certificates import MOUNT, tls_secret
from components.kubernetes.kafka import CA_SECRET
from components.kubernetes.kafka_users import CLICKHOUSE_USER
from components.kubernetes.keeper import keeper, nodes
from components.kubernetes.manifests import WAIT, Manifest, apart, named, pull_secrets, register, restricted_pod, secret
from components.kubernetes.network import PRIORITY_CLASS, Namespaces
from components.kubernetes.store import BACKUP_STORE
from components.names import CLICKHOUSE_ADMIN, CLICKHOUSE_READER, OPERATOR_USER, Names
from components.platform import Part
from components.settings import Settings

API: Final = "clickhouse.altinity.com/v1"
CLUSTER: Final = "main"
"""Name of the cluster in ON CLUSTER and Distributed."""
SERVICE: Final = f"clickhouse-{CLICKHOUSE}"
USERS_SECRET: Final = f"{CLICKHOUSE}-users"
"""SHA-256 of each user's password, and what servers tell each other."""
BACKUP_USER: Final = "cdc_backup"
HTTPS_PORT: Final = 8443
NATIVE_PORT: Final = 9440
UID: Final = 101
COMPLETED: Final = {WAIT: "jsonpath={.status.status}=Completed"}
KAFKA_CA: Final = "/etc/cdc/kafka"


@dataclass(frozen=True, kw_only=True)
class ClickHouseArgs:
    """Images, namespaces and the stack's authority."""

    names: Names
    image: str
    keeper_image: str
    namespaces: Namespaces
    ca: pulumi.Output[str]


class ClickHouse(Part[ClickHouseEndpoint]):
    """Servers and Keepers; their schema is the ClickHouseSchema provider's work."""

    backup_password: pulumi.Output[str]

    def __init__(self, name: str, *, args: ClickHouseArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("cdc:kubernetes:ClickHouse", name, None, opts)
        settings, namespace = args.names.settings, args.namespaces.pipeline
        child = pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on)
        data = child.merge(pulumi.ResourceOptions(protect=True))
        accounts = {
            user: random.RandomPassword(f"clickhouse-{duty}", length=32, special=False, opts=child).result
            for user, duty in _DUTIES.items()
        }
        self.backup_password = accounts[BACKUP_USER]
        before: list[pulumi.Resource] = [register(users_secret(namespace, accounts), child)]
        if settings.kubernetes.clickhouse_keepers:
            before.append(register(keeper(settings, args.namespaces, args.keeper_image), data))
        made = register(installation(args), data.merge(pulumi.ResourceOptions(depends_on=before)))
        self.identity = made.id
        self.endpoint = ClickHouseEndpoint(
            http=Address(host=settings.kubernetes.clickhouse_host, port=HTTPS_PORT),
            native=Address(host=settings.kubernetes.clickhouse_host, port=NATIVE_PORT),
            inside_http=Address(host=args.namespaces.host(SERVICE), port=HTTPS_PORT),
            inside_native=Address(host=args.namespaces.host(SERVICE), port=NATIVE_PORT),
            admin=Credential(user=CLICKHOUSE_ADMIN, password=accounts[CLICKHOUSE_ADMIN]),
            operator=Credential(user=OPERATOR_USER, password=accounts[OPERATOR_USER]),
            reader=Credential(user=CLICKHOUSE_READER, password=accounts[CLICKHOUSE_READER]),
            scheme="https",
            ca=args.ca,
            cluster=CLUSTER,
        )
        self.register_outputs({})


_DUTIES: Final = {
    CLICKHOUSE_ADMIN: "admin",
    OPERATOR_USER: "operator",
    CLICKHOUSE_READER: "reader",
    BACKUP_USER: "backup",
    "default": "default",
    "interserver": "interserver",
    "cluster": "cluster",
}
"""Who has a password: users, and what servers authenticate each other with."""
_IN_CLEAR: Final = ("interserver", "cluster")
"""Servers send these to each other, so that they need more than a hash."""


def users_secret(namespace: str, accounts: dict[str, pulumi.Output[str]]) -> Manifest:
    """Hashes of the users' passwords, by user."""
    data: dict[str, pulumi.Input[str]] = {
        user: password if user in _IN_CLEAR else password.apply(lambda text: hashlib.sha256(text.encode()).hexdigest())
        for user, password in accounts.items()
    }
    return secret(USERS_SECRET, namespace, data)


def installation(args: ClickHouseArgs) -> Manifest:
    """The ClickHouseInstallation."""
    kubernetes = args.names.settings.kubernetes
    spec: dict[str, Any] = {
        "defaults": {
            "templates": {"podTemplate": "server", "dataVolumeClaimTemplate": "data", "serviceTemplate": "outside"},
            "storageManagement": {"reclaimPolicy": "Retain"},
        },
        "configuration": _configuration(args),
        "templates": {
            "podTemplates": [{"name": "server", "spec": _pod(args)}],
            "volumeClaimTemplates": [_claim(kubernetes.storage_class, kubernetes.clickhouse_storage)],
            "serviceTemplates": [_outside(args.names.settings)],
        },
    }
    return named("ClickHouseInstallation", API, CLICKHOUSE, args.namespaces.pipeline, annotations=COMPLETED) | {
        "spec": spec
    }


def _configuration(args: ClickHouseArgs) -> dict[str, Any]:
    settings, kubernetes = args.names.settings, args.names.settings.kubernetes
    memory = Memory(limit_mib=memory_mib("clickhouse", settings.resource_scale), heap_mib=0)
    accounts, profiles = users(memory, USERS_SECRET)
    configuration: dict[str, Any] = {
        "users": accounts | _more_users(),
        "profiles": profiles,
        "settings": _settings(settings),
        "files": {
            "config.d/cdc.xml": server_config(memory),
            "config.d/cdc-tls.xml": render("clickhouse-tls.xml", folder=MOUNT),
        },
        "clusters": [
            {
                "name": CLUSTER,
                "secure": "yes",
                "insecure": "no",
                "secret": reference(USERS_SECRET, "cluster"),
                "pdbManaged": "yes",
                "pdbMaxUnavailable": 1,
                "layout": {
                    "shardsCount": kubernetes.clickhouse_shards,
                    "replicasCount": kubernetes.clickhouse_replicas,
                },
            }
        ],
    }
    if kubernetes.clickhouse_keepers:
        configuration["zookeeper"] = {"nodes": nodes(settings, args.namespaces)}
    return configuration


def _more_users() -> dict[str, Any]:
    """Users that only a cluster has: one for backups; the operator's default user, kept to its own server."""
    return {
        "default/password_sha256_hex": reference(USERS_SECRET, "default"),
        "default/networks/ip": ["127.0.0.1", "::1"],
        f"{BACKUP_USER}/password_sha256_hex": reference(USERS_SECRET, BACKUP_USER),
        f"{BACKUP_USER}/networks/ip": "::/0",
        f"{BACKUP_USER}/profile": "default",
        f"{BACKUP_USER}/quota": "default",
        f"{BACKUP_USER}/grants/query": [
            "GRANT BACKUP, SHOW ON *.*",
            "GRANT SELECT ON system.backups",
            "GRANT CLUSTER, S3 ON *.*",
        ],
    }


def _settings(settings: Settings) -> dict[str, Any]:
    kubernetes = settings.kubernetes
    plain = ("http_port", "tcp_port", "mysql_port", "postgresql_port", "interserver_http_port")
    return {
        **dict.fromkeys(plain, "_removed_"),
        "https_port": HTTPS_PORT,
        "tcp_port_secure": NATIVE_PORT,
        "interserver_https_port": 9009,
        "interserver_http_credentials/user": "interserver",
        "interserver_http_credentials/password": reference(USERS_SECRET, "interserver"),
        **REPLICATED_SETTINGS,
        "kafka/security_protocol": "sasl_ssl",
        "kafka/sasl_mechanism": "SCRAM-SHA-512",
        "kafka/sasl_username": CLICKHOUSE_USER,
        "kafka/sasl_password": reference(CLICKHOUSE_USER, "password"),
        "kafka/ssl_ca_location": f"{KAFKA_CA}/ca.crt",
        "s3/backups/endpoint": f"{kubernetes.backup_endpoint}/{kubernetes.backup_bucket}/",
        "s3/backups/access_key_id": reference(BACKUP_STORE, "access-key"),
        "s3/backups/secret_access_key": reference(BACKUP_STORE, "secret-key"),
    }


def _pod(args: ClickHouseArgs) -> dict[str, Any]:
    settings = args.names.settings
    probe = {"httpGet": {"path": "/ping", "port": HTTPS_PORT, "scheme": "HTTPS"}, "timeoutSeconds": 5}
    pod: dict[str, Any] = {
        "priorityClassName": PRIORITY_CLASS,
        "securityContext": restricted_pod(UID),
        "terminationGracePeriodSeconds": 60,
        **apart(PODS["clickhouse"], settings.kubernetes.zone_key),
        "containers": [
            {
                "name": "clickhouse",
                "image": args.image,
                # Users come from the configuration; the image would add a default user of its own.
                "env": [{"name": "CLICKHOUSE_SKIP_USER_SETUP", "value": "1"}],
                "ports": [
                    {"name": "https", "containerPort": HTTPS_PORT},
                    {"name": "secureclient", "containerPort": NATIVE_PORT},
                    {"name": "interserver", "containerPort": 9009},
                    {"name": "metrics", "containerPort": 9363},
                ],
                "resources": resources("clickhouse", settings.resource_scale),
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "startupProbe": probe | {"periodSeconds": 5, "failureThreshold": 120},
                "livenessProbe": probe | {"periodSeconds": 10, "failureThreshold": 6},
                "readinessProbe": probe | {"periodSeconds": 5, "failureThreshold": 3},
                "volumeMounts": [
                    {"name": "tls", "mountPath": MOUNT, "readOnly": True},
                    {"name": "kafka-ca", "mountPath": KAFKA_CA, "readOnly": True},
                ],
            }
        ],
        "volumes": [
            {"name": "tls", "secret": {"secretName": tls_secret(CLICKHOUSE), "defaultMode": 0o440}},
            {
                "name": "kafka-ca",
                "secret": {"secretName": CA_SECRET, "items": [{"key": "ca.crt", "path": "ca.crt"}]},
            },
        ],
    }
    return pod | pull_secrets(settings)


def _claim(storage_class: str, size: str) -> dict[str, Any]:
    return {
        "name": "data",
        "reclaimPolicy": "Retain",
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": size}},
        },
    }


def _outside(settings: Settings) -> dict[str, Any]:
    kubernetes = settings.kubernetes
    annotations = {
        **kubernetes.service_annotations,
        "external-dns.alpha.kubernetes.io/hostname": kubernetes.clickhouse_host,
    }
    return {
        "name": "outside",
        "generateName": "clickhouse-{chi}",
        "metadata": {"annotations": annotations},
        "spec": {
            "type": "LoadBalancer",
            "loadBalancerSourceRanges": kubernetes.endpoint_cidrs,
            "ports": [
                {"name": "https", "port": HTTPS_PORT},
                {"name": "secureclient", "port": NATIVE_PORT},
            ],
        },
    }
