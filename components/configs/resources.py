"""Memory of each part: the resource matrix's lower bounds, scaled by the stack's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024

MATRIX_MIB: Final[dict[str, int]] = {
    "postgres-source": 2048,
    "kafka": 4096,
    "kafka-connect": 5120,
    "clickhouse": 8192,
    "clickhouse-keeper": 1024,
    "prometheus": 1024,
    "alertmanager": 256,
    "node-exporter": 192,
    "postgres-exporter": 192,
    "kafka-exporter": 256,
    "grafana": 1024,
    "kafdrop": 1024,
    "cdc-exporter": 640,
    "cdc-reconcile": 1024,
}
"""Lower bounds of the resource matrix; Connect's and Keeper's rows are ours (most of Connect's is heap), and so is how
the monitoring's row is shared out."""

FLOOR_MIB: Final[dict[str, int]] = {
    "postgres-source": 256,
    "kafka": 640,
    "kafka-connect": 896,
    "clickhouse": 1024,
    "clickhouse-keeper": 256,
    "prometheus": 192,
    "alertmanager": 48,
    "node-exporter": 32,
    "postgres-exporter": 32,
    "kafka-exporter": 48,
    "grafana": 192,
    "kafdrop": 256,
    "cdc-exporter": 128,
    "cdc-reconcile": 192,
}
"""Below this a part does not start or is killed under its first load."""

HEAP_SHARE: Final[dict[str, float]] = {"kafka": 0.5, "kafka-connect": 0.6}


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory of one part in MiB; ``heap_mib`` is 0 where there is no JVM."""

    limit_mib: int
    heap_mib: int

    @property
    def jvm_options(self) -> str:
        """Heap options of a JVM part."""
        return f"-Xms{self.heap_mib // 2}m -Xmx{self.heap_mib}m"


def memory(part: str, scale: float) -> Memory:
    """Memory of ``part`` at ``scale`` times the matrix, never below what it needs to start."""
    limit = max(FLOOR_MIB[part], round(MATRIX_MIB[part] * scale))
    return Memory(limit_mib=limit, heap_mib=round(limit * HEAP_SHARE.get(part, 0)))
