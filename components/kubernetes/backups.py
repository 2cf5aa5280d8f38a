"""Backups to the object store: PostgreSQL's WAL and base backups by its operator, ClickHouse's by its own BACKUP."""

from __future__ import annotations

from typing import Final

import pulumi

from components.configs.edges import CLICKHOUSE, PODS, POSTGRES
from components.configs.quantities import resources
from components.configs.render import FILES, render
from components.kubernetes.clickhouse import BACKUP_USER, CLUSTER, NATIVE_PORT, SERVICE
from components.kubernetes.clickhouse import UID as CLICKHOUSE_UID
from components.kubernetes.manifests import Manifest, named, pull_secrets, register, secret
from components.kubernetes.network import PRIORITY_CLASS, Namespaces
from components.kubernetes.operations import cron, hardened
from components.kubernetes.source_database import API as POSTGRES_API
from components.kubernetes.store import BACKUP_STORE
from components.names import ANALYTICS_DATABASE, Names
from components.settings import Settings

SCHEDULES: Final = {"full": "5 0 * * *", "increment": "20 4,8,12,16,20 * * *", "weekly": "35 1 * * 0"}
"""ClickHouse: a full backup each day, what changed since then every four hours, one a week to keep."""
RETENTION_SCHEDULE: Final = "50 3 * * *"
POSTGRES_SCHEDULE: Final = "0 30 2 * * *"
"""Base backup each night; cron with seconds, as CloudNativePG wants it."""
SCRIPT: Final = "clickhouse-backup.sh"
RETENTION_SCRIPT: Final = "backup-retention.sh"
NAME: Final = "clickhouse-backup"


class Backups(pulumi.ComponentResource):
    """What runs by the clock; how to go back is in docs/runbooks."""

    def __init__(
        self,
        name: str,
        *,
        names: Names,
        namespaces: Namespaces,
        image: str,
        retention_image: str,
        password: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("cdc:kubernetes:Backups", name, None, opts)
        settings, namespace = names.settings, namespaces.pipeline
        child = pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on)
        if settings.source == "managed":
            register(base_backups(namespace), child)
        login = pulumi.Output.from_input(password).apply(client_config)
        before = [
            register(secret(NAME, namespace, {"client.xml": login}), child),
            register(script(namespace), child),
        ]
        after = child.merge(pulumi.ResourceOptions(depends_on=before))
        for kind in SCHEDULES:
            register(clickhouse_backup(kind, settings, namespaces, image), after)
        register(clickhouse_retention(settings, namespaces, retention_image), after)
        self.register_outputs({})


def base_backups(namespace: str) -> Manifest:
    """A base backup each night, the first at once."""
    return named("ScheduledBackup", POSTGRES_API, f"{POSTGRES}-nightly", namespace) | {
        "spec": {
            "schedule": POSTGRES_SCHEDULE,
            "immediate": True,
            "backupOwnerReference": "self",
            "cluster": {"name": POSTGRES},
            "method": "plugin",
            "pluginConfiguration": {"name": "barman-cloud.cloudnative-pg.io"},
        }
    }


def script(namespace: str) -> Manifest:
    """What the jobs run."""
    texts = {name: (FILES / name).read_text() for name in (SCRIPT, RETENTION_SCRIPT)}
    return named("ConfigMap", "v1", NAME, namespace) | {"data": texts}


def client_config(password: str) -> str:
    """``client.xml`` of the backup user; a password in a command line would be seen in the process list."""
    return render("clickhouse-client.xml", user=BACKUP_USER, password=password, ca_file="/etc/cdc/ca/ca.crt")


def clickhouse_backup(kind: str, settings: Settings, namespaces: Namespaces, image: str) -> Manifest:
    """A job that asks one server for a backup of all shards, and waits for its end."""
    kubernetes = settings.kubernetes
    values = {
        "CLICKHOUSE_HOST": namespaces.host(SERVICE),
        "CLICKHOUSE_PORT": str(NATIVE_PORT),
        "CLUSTER": CLUSTER,
        "DATABASE": ANALYTICS_DATABASE,
        "STORE_URL": f"{kubernetes.backup_endpoint}/{kubernetes.backup_bucket}",
    }
    container: Manifest = {
        "name": NAME,
        "image": image,
        "command": ["/bin/bash", f"/etc/cdc/script/{SCRIPT}", kind],
        "env": [{"name": name, "value": value} for name, value in values.items()],
        "resources": resources("agent", settings.resource_scale),
    }
    volumes = [
        {"name": "login", "secret": {"secretName": NAME}},
        {"name": "script", "configMap": {"name": NAME}},
        {"name": "ca", "configMap": {"name": "cdc-ca"}},
    ]
    mounts = {"login": "/etc/cdc/backup", "script": "/etc/cdc/script", "ca": "/etc/cdc/ca"}
    pod = hardened(container, volumes, mounts, PRIORITY_CLASS, user=CLICKHOUSE_UID) | pull_secrets(settings)
    return cron(f"{CLICKHOUSE}-backup-{kind}", namespaces.pipeline, SCHEDULES[kind], PODS["backup"], pod)


def clickhouse_retention(settings: Settings, namespaces: Namespaces, image: str) -> Manifest:
    """A job that removes ClickHouse's old backups from the store: BACKUP itself removes nothing."""
    kubernetes = settings.kubernetes
    values = {
        "BUCKET": kubernetes.backup_bucket,
        "DAYS": str(kubernetes.backup_retention_days),
        "WEEKS": str(kubernetes.backup_retention_weeks),
        "RCLONE_CONFIG": "/tmp/rclone.conf",  # noqa: S108 - of the container, which has no home
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Other",
        "RCLONE_CONFIG_STORE_ENDPOINT": kubernetes.backup_endpoint,
        # The age of an object is the store's, not what its writer noted.
        "RCLONE_USE_SERVER_MODTIME": "true",
    }
    keys = {"ACCESS_KEY_ID": "access-key", "SECRET_ACCESS_KEY": "secret-key"}
    container: Manifest = {
        "name": PODS["backup-retention"]["app.kubernetes.io/name"],
        "image": image,
        "command": ["/bin/sh", f"/etc/cdc/script/{RETENTION_SCRIPT}"],
        "env": [{"name": name, "value": value} for name, value in values.items()]
        + [
            {
                "name": f"RCLONE_CONFIG_STORE_{name}",
                "valueFrom": {"secretKeyRef": {"name": BACKUP_STORE, "key": key}},
            }
            for name, key in keys.items()
        ],
        "resources": resources("agent", settings.resource_scale),
    }
    volumes = [{"name": "script", "configMap": {"name": NAME}}]
    pod = hardened(container, volumes, {"script": "/etc/cdc/script"}, PRIORITY_CLASS) | pull_secrets(settings)
    labels = PODS["backup-retention"]
    return cron(f"{CLICKHOUSE}-backup-retention", namespaces.pipeline, RETENTION_SCHEDULE, labels, pod)
