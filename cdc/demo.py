"""The generator with a live view beside it: each second, what was committed and what ClickHouse shows of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from clickhouse_driver import Client, errors

from cdc import generate
from cdc.connections import Connections
from cdc.generate import Progress

SETTLED_SECONDS = 30.0
"""How long the last changes may take to be visible."""
VIEW = """
SELECT
    (SELECT count() FROM orders),
    (SELECT sum(total_amount) FROM orders WHERE status != 'CANCELLED' AND order_time >= now() - INTERVAL 1 HOUR),
    (SELECT total_ms FROM heartbeat_hops ORDER BY beat DESC LIMIT 1),
    (SELECT count() FROM orders_final WHERE _synced_at >= now64(3) - 1)
"""
# Apart: a row as a scalar is a nullable tuple, which the driver can't read: it waits for bytes that never come.
NEWEST = "SELECT operation_name, order_number, status, total_amount FROM orders_final ORDER BY version DESC LIMIT 1"


def run(
    connections: Connections, *, rate: float, seconds: float | None, seed: int | None, stop: threading.Event
) -> Progress:
    """Generate and show until it is over, then wait until both sides count the same orders. Raises ShopError."""
    view = _View(connections)
    progress = generate.run(connections, rate=rate, seconds=seconds, seed=seed, stop=stop, show=view)
    view.settle()
    return progress


class _View:
    """One line a second. Its client is made anew when ClickHouse was away."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._client: Client | None = None

    def __call__(self, progress: Progress) -> None:
        rows, newest_rows = self._ask(VIEW), self._ask(NEWEST)
        if not rows or not newest_rows:
            print(
                f"{progress.seconds:5.0f} s  committed {progress.changes:9,}  | ClickHouse does not answer", flush=True
            )
            return
        orders, revenue, delay, arrived = rows[0]
        operation, number, status, amount = newest_rows[0]
        print(
            f"{progress.seconds:5.0f} s  committed {progress.changes:9,}  |  {orders:9,} orders  "
            f"{revenue or 0:14,} in the last hour  {arrived:6,} changes/s  heartbeat {(delay or 0) / 1000:.1f} s  "
            f"{operation} {number} {status} {amount}",
            flush=True,
        )

    def settle(self) -> None:
        """Wait until ClickHouse counts as many orders as PostgreSQL and say how long that took."""
        with self._connections.postgres_application() as source:
            row = source.execute("SELECT count(*) FROM inventory.orders").fetchone()
        expected, started = int(row[0]) if row else 0, time.monotonic()
        while time.monotonic() - started < SETTLED_SECONDS:
            if (rows := self._ask("SELECT count() FROM orders")) and rows[0][0] == expected:
                print(
                    f"ClickHouse has all {expected:,} orders {time.monotonic() - started:.1f} s after the last commit"
                )
                return
            time.sleep(0.05)
        print(f"ClickHouse does not count {expected:,} orders after {SETTLED_SECONDS:.0f} s: see `make status`")

    def _ask(self, query: str) -> Sequence[tuple[Any, ...]]:
        try:
            self._client = self._client or self._connections.clickhouse()
            rows: Sequence[tuple[Any, ...]] = self._client.execute(query)
        except (errors.Error, OSError):
            self._client = None
            return []
        return rows
