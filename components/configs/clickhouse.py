"""Files of the ClickHouse server; users are files too, which serves the official server and the built one alike."""

from __future__ import annotations

import hashlib

from components.configs.render import render
from components.configs.resources import MIB, Memory
from components.names import ANALYTICS_DATABASE, CLICKHOUSE_ADMIN, CLICKHOUSE_READER, OPERATOR_USER


def server_config(memory: Memory, *, keeper: tuple[str, int] | None = None) -> str:
    """``config.d/cdc.xml``: nine tenths of the container's memory; host and port of Keeper for replicated tables."""
    return render(
        "clickhouse-config.xml",
        max_memory_bytes=memory.limit_mib * MIB * 9 // 10,
        replication=render("clickhouse-replication.xml", keeper_host=keeper[0], keeper_port=keeper[1])
        if keeper
        else "",
    )


def keeper_config(*, port: int) -> str:
    """``keeper_config.xml`` of a single Keeper that clients reach at ``port``."""
    return render("keeper-config.xml", port=port)


def users_config(memory: Memory, *, admin_password: str, operator_password: str, reader_password: str) -> str:
    """``users.d/cdc.xml``: one user per duty, only hashes of their passwords."""
    return render(
        "clickhouse-users.xml",
        admin_user=CLICKHOUSE_ADMIN,
        operator_user=OPERATOR_USER,
        reader_user=CLICKHOUSE_READER,
        database=ANALYTICS_DATABASE,
        admin_sha256=hashlib.sha256(admin_password.encode()).hexdigest(),
        operator_sha256=hashlib.sha256(operator_password.encode()).hexdigest(),
        reader_sha256=hashlib.sha256(reader_password.encode()).hexdigest(),
        max_query_memory_bytes=memory.limit_mib * MIB * 6 // 10,
    )


def shard_parameters(database: str, cluster: str) -> dict[str, str]:
    """Parameters of the migrations that say how rows find their shard and queries all shards; no ``cluster``: one node.

    A table's name between ``everywhere`` and ``everywhere_end`` means its rows on all shards. ``on_all_shards`` follows
    the engine of a table whose rows every server of every shard has: it is small, and any server is asked for it.
    T_``history`` is where changes of T go; the engine of T_route is ``route``, T_final, ``route_by``, the primary key
    (so that all versions of a row meet), ``route_end``.
    """
    if not cluster:
        return {
            "everywhere": f"{database}.",
            "everywhere_end": "",
            "on_all_shards": "",
            "history": "final",
            "route": "Null COMMENT 'with several shards: to ",
            "route_by": " by ",
            "route_end": "'",
        }
    return {
        "everywhere": f"cluster('{cluster}', {database}.",
        "everywhere_end": ")",
        "on_all_shards": "('/clickhouse/tables/{uuid}', '{shard}-{replica}')",
        "history": "route",
        "route": f"Distributed('{cluster}', '{database}', '",
        "route_by": "', cityHash64(",
        "route_end": "))",
    }
