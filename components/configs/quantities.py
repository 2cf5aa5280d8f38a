"""Requests and limits of every pod: the resource matrix's bounds, scaled by the stack's settings."""

from __future__ import annotations

from typing import Final

from components.configs.resources import MATRIX_MIB, memory

CPU_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "postgres-source": (2, 4),
    "kafka": (2, 6),
    "kafka-controller": (0.5, 2),
    "kafka-connect": (2, 4),
    "clickhouse": (4, 16),
    "clickhouse-keeper": (0.5, 2),
    "prometheus": (1, 2),
    "grafana": (0.25, 1),
    "alertmanager": (0.1, 0.5),
    "operator": (0.1, 1),
    "agent": (0.1, 0.5),
}
"""Cores, lower and upper bound. The matrix has no rows for Connect, controllers, Keeper and the small parts: ours."""

SMALL_MIB: Final[dict[str, int]] = {
    "kafka-controller": 2048,
    "prometheus": 2048,
    "grafana": 512,
    "alertmanager": 256,
    "operator": 512,
    "agent": 256,
}
"""Memory of what the matrix has no row for; `operator` is any operator's pod, `agent` an exporter, a job, a sidecar."""


def resources(part: str, scale: float) -> dict[str, dict[str, str]]:
    """``resources`` of one container of ``part``.

    Memory is asked for as much as it is limited to: heaps and buffers are sized by it, and an overcommitted node would
    kill a database. CPU may burst up to the matrix's upper bound.
    """
    size = f"{memory_mib(part, scale)}Mi"
    low, high = CPU_BOUNDS[part]
    return {
        "requests": {"cpu": _milli(low * scale), "memory": size},
        "limits": {"cpu": _milli(high * scale), "memory": size},
    }


def memory_mib(part: str, scale: float) -> int:
    """Memory limit of ``part``, MiB; small parts don't shrink below what they start with."""
    if part in MATRIX_MIB:
        return memory(part, scale).limit_mib
    return max(SMALL_MIB[part], round(SMALL_MIB[part] * scale))


def _milli(cores: float) -> str:
    return f"{max(50, round(cores * 1000))}m"
