"""Files of the source database."""

from __future__ import annotations

from components.configs.render import render
from components.configs.resources import Memory


def postgresql_conf(memory: Memory, *, max_slot_wal_keep_mb: int) -> str:
    """``postgresql.conf`` with a quarter of the memory as shared buffers."""
    return render(
        "postgresql.conf",
        shared_buffers_mb=memory.limit_mib // 4,
        max_slot_wal_keep_mb=max_slot_wal_keep_mb,
    )


def pg_hba_conf() -> str:
    """``pg_hba.conf``: scram everywhere, no physical replication."""
    return render("pg_hba.conf")
