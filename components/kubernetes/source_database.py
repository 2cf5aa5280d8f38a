"""The source database on Kubernetes: a CloudNativePG cluster whose logical slot outlives its primary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_random as random

from components.configs.edges import POSTGRES
from components.configs.quantities import memory_mib, resources
from components.configs.resources import Memory
from components.configs.source import postgresql_conf
from components.endpoints import Address, Credential, PostgresEndpoint
from components.kubernetes.certificates import tls_secret
from components.kubernetes.manifests import READY, Manifest, named, register, secret
from components.kubernetes.network import PRIORITY_CLASS, Namespaces
from components.kubernetes.store import OBJECT_STORE
from components.names import POSTGRES_ADMIN, Names
from components.platform import Part
from components.settings import Settings

API = "postgresql.cnpg.io/v1"
ADMIN_SECRET = f"{POSTGRES}-admin"
OPERATORS_OWN = ("listen_addresses", "port")
"""Settings of our file that the operator insists on making itself."""
NATIVE_FAILOVER_SLOTS = 17
"""From this PostgreSQL on slots are synchronised without an extension."""


@dataclass(frozen=True, kw_only=True)
class SourceDatabaseArgs:
    """Image, namespaces and the stack's authority."""

    names: Names
    image: str
    namespaces: Namespaces
    ca: pulumi.Output[str]


class SourceDatabase(Part[PostgresEndpoint]):
    """Instances with synchronous replication; roles and publication are the SourceSchema provider's work."""

    def __init__(self, name: str, *, args: SourceDatabaseArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("cdc:kubernetes:SourceDatabase", name, None, opts)
        settings = args.names.settings
        child = pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on)
        password = random.RandomPassword("postgres-admin", length=32, special=False, opts=child).result
        admin = register(admin_secret(args.namespaces.pipeline, password), child)
        made = register(
            cluster(settings, args.namespaces.pipeline, args.image),
            child.merge(pulumi.ResourceOptions(depends_on=[admin], protect=True)),
        )
        self.identity = made.id
        self.endpoint = PostgresEndpoint(
            inside=Address(host=args.namespaces.host(f"{POSTGRES}-rw"), port=5432),
            outside=Address(host=settings.kubernetes.postgres_host, port=5432),
            database=settings.database,
            admin=Credential(user=POSTGRES_ADMIN, password=password),
            ca=args.ca,
        )
        self.register_outputs({})


def slot_options(settings: Settings) -> dict[str, str]:
    """Connector options that let the slot follow the primary."""
    return {"slot.failover": "true"} if _major(settings) >= NATIVE_FAILOVER_SLOTS else {}


def admin_secret(namespace: str, password: pulumi.Input[str]) -> Manifest:
    """Login of the superuser, which makes the event trigger and the roles."""
    data: dict[str, pulumi.Input[str]] = {"username": POSTGRES_ADMIN, "password": password}
    return secret(ADMIN_SECRET, namespace, data, kind="kubernetes.io/basic-auth")


def cluster(settings: Settings, namespace: str, image: str) -> Manifest:
    """The CloudNativePG cluster."""
    kubernetes = settings.kubernetes
    limits = resources("postgres-source", settings.resource_scale)
    spec: dict[str, Any] = {
        "instances": kubernetes.postgres_instances,
        "imageName": image,
        "imagePullSecrets": [{"name": kubernetes.image_pull_secret}] if kubernetes.image_pull_secret else [],
        "enableSuperuserAccess": True,
        "superuserSecret": {"name": ADMIN_SECRET},
        "bootstrap": {"initdb": {"database": settings.database, "owner": "app", "dataChecksums": True}},
        "certificates": {"serverTLSSecret": tls_secret(POSTGRES), "serverCASecret": tls_secret(POSTGRES)},
        "postgresql": _postgresql(settings),
        "replicationSlots": {
            "highAvailability": {"enabled": True, "synchronizeLogicalDecoding": True},
            "updateInterval": 5,
        },
        "storage": {"size": kubernetes.postgres_storage, "storageClass": kubernetes.storage_class},
        "walStorage": {"size": kubernetes.postgres_wal_storage, "storageClass": kubernetes.storage_class},
        "resources": limits,
        "priorityClassName": PRIORITY_CLASS,
        "enablePDB": True,
        "affinity": {
            "enablePodAntiAffinity": True,
            "podAntiAffinityType": "required",
            "topologyKey": "kubernetes.io/hostname",
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": kubernetes.zone_key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"cnpg.io/cluster": POSTGRES}},
            }
        ],
        "primaryUpdateStrategy": "unsupervised",
        "primaryUpdateMethod": "switchover",
        "managed": {"services": {"additional": [_load_balancer(settings)]}},
        "plugins": [
            {
                "name": "barman-cloud.cloudnative-pg.io",
                "isWALArchiver": True,
                "parameters": {"barmanObjectName": OBJECT_STORE},
            }
        ],
    }
    return named("Cluster", API, POSTGRES, namespace, annotations=READY) | {"spec": spec}


def _postgresql(settings: Settings) -> dict[str, Any]:
    sync = settings.kubernetes.postgres_sync_replicas
    parameters = _parameters(settings) | {
        "hot_standby_feedback": "on",
        # Bounds what is lost when all nodes are: at most five minutes are not in the archive.
        "archive_timeout": "5min",
    }
    if _major(settings) >= NATIVE_FAILOVER_SLOTS:
        parameters["sync_replication_slots"] = "on"
    else:
        # Any of its settings makes the operator load the extension and name the standbys' slots to it.
        parameters |= {"pg_failover_slots.standby_slots_min_confirmed": "1", "pg_failover_slots.worker_nap_time": "5s"}
    block: dict[str, Any] = {
        "parameters": parameters,
        "pg_hba": [f"hostssl {settings.database} streaming_replica all cert", "hostnossl all all all reject"],
    }
    if sync:
        # required: a commit waits rather than being on one node only. A failover would undo it, but not in ClickHouse.
        block["synchronous"] = {"method": "any", "number": sync, "dataDurability": "required"}
    return block


def _parameters(settings: Settings) -> dict[str, str]:
    """The settings of the file that Docker's server reads, but for what the operator makes itself."""
    limits = Memory(limit_mib=memory_mib("postgres-source", settings.resource_scale), heap_mib=0)
    text = postgresql_conf(limits, max_slot_wal_keep_mb=settings.max_slot_wal_keep_mb)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pairs = [(key.strip(), value.strip().strip("'")) for key, value in (line.split("=", 1) for line in lines)]
    return {key: value for key, value in pairs if key not in OPERATORS_OWN}


def _load_balancer(settings: Settings) -> Manifest:
    return {
        "selectorType": "rw",
        "serviceTemplate": {
            "metadata": {
                "name": f"{POSTGRES}-outside",
                "annotations": {
                    **settings.kubernetes.service_annotations,
                    "external-dns.alpha.kubernetes.io/hostname": settings.kubernetes.postgres_host,
                },
            },
            "spec": {"type": "LoadBalancer", "loadBalancerSourceRanges": settings.kubernetes.endpoint_cidrs},
        },
    }


def _major(settings: Settings) -> int:
    return int(settings.postgres_version.split(".")[0])
