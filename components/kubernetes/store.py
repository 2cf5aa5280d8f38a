"""The object store that holds the backups: its keys, and PostgreSQL's place in it."""

from __future__ import annotations

from typing import Final

import pulumi

from components.configs.quantities import resources
from components.kubernetes.manifests import Manifest, named, secret
from components.settings import Settings

BACKUP_STORE: Final = "backup-store"
OBJECT_STORE: Final = "source-backups"


def store_secret(settings: Settings, namespace: str) -> Manifest:
    """Keys of the object store that holds the backups."""
    data: dict[str, pulumi.Input[str]] = {
        "access-key": settings.backup_access_key.get_secret_value(),
        "secret-key": settings.backup_secret_key.get_secret_value(),
    }
    return secret(BACKUP_STORE, namespace, data)


def object_store(settings: Settings, namespace: str) -> Manifest:
    """Where PostgreSQL's WAL and base backups go, and how long they stay."""
    kubernetes = settings.kubernetes
    keys = {"accessKeyId": "access-key", "secretAccessKey": "secret-key"}
    return named("ObjectStore", "barmancloud.cnpg.io/v1", OBJECT_STORE, namespace) | {
        "spec": {
            "retentionPolicy": f"{kubernetes.backup_retention_days}d",
            "configuration": {
                "destinationPath": f"s3://{kubernetes.backup_bucket}/postgres",
                "endpointURL": kubernetes.backup_endpoint,
                "s3Credentials": {field: {"name": BACKUP_STORE, "key": key} for field, key in keys.items()},
                "wal": {"compression": "gzip", "maxParallel": 4},
                "data": {"compression": "gzip", "jobs": 2},
            },
            "instanceSidecarConfiguration": {"resources": resources("agent", settings.resource_scale)},
        }
    }
