"""Our ClickHouse files as Altinity's operator wants them: paths and values, passwords by reference to a Secret."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from components.configs.clickhouse import users_config
from components.configs.resources import Memory

REPLICATED_SETTINGS = {
    "default_replica_path": "/clickhouse/tables/{uuid}/{shard}",
    "default_replica_name": "{replica}",
}
CLUSTER_PROFILE = {
    # The operator's default merges within partitions only: FINAL would show a row once for each month it changed in.
    "default/do_not_merge_across_partitions_select_final": 0,
    # A row counts as stored when its shard has it: offsets are committed after that.
    "default/distributed_foreground_insert": 1,
    "default/insert_distributed_one_random_shard": 0,
    # Schema changes are done when every server has them.
    "default/distributed_ddl_output_mode": "throw",
    "default/distributed_ddl_task_timeout": 300,
}


def users(memory: Memory, secret: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """``users`` and ``profiles`` of the reviewed file; each user's hash is the key of its name in ``secret``."""
    text = users_config(memory, admin_password="", operator_password="", reader_password="")
    root = ElementTree.fromstring(text)  # noqa: S314 - our own file
    found: dict[str, Any] = {}
    for user in root.findall("users/*"):
        if user.get("remove"):
            continue
        found |= _paths(user)
        found[f"{user.tag}/password_sha256_hex"] = reference(secret, user.tag)
    profiles = {key: value for profile in root.findall("profiles/*") for key, value in _paths(profile).items()}
    return found, profiles | CLUSTER_PROFILE


def reference(secret: str, key: str) -> dict[str, Any]:
    """A value that the operator takes from a Secret."""
    return {"valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _paths(element: ElementTree.Element, prefix: str = "") -> dict[str, Any]:
    """Leaves below ``element`` by their path; repeated ones as a list."""
    path = f"{prefix}{element.tag}"
    if not len(element):
        return {path: (element.text or "").strip()}
    found: dict[str, Any] = {}
    for child in element:
        for key, value in _paths(child, f"{path}/").items():
            found[key] = [*_listed(found[key]), value] if key in found else value
    return found


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - a leaf's text or several
    return value if isinstance(value, list) else [value]
