"""Measure commit-to-visible time: single-row transactions at a steady rate, polled on the other side."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from cdc.connections import Connections

POLL_SECONDS = 0.025


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Commit-to-visible seconds of ``count`` rows; ``lost`` were not seen before the deadline."""

    count: int
    lost: int
    rate: float
    p50: float
    p90: float
    p99: float
    worst: float


@dataclass(kw_only=True)
class _Observer:
    connections: Connections
    first_id: int
    """Every row above it is looked for: keys arrive out of order, the topic has several partitions."""
    seen: dict[int, float] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        client = self.connections.clickhouse()
        last = self.first_id
        while not self.stop.is_set():
            rows = client.execute(
                "SELECT id FROM orders_current WHERE id > %(last)s ORDER BY id LIMIT 50000", {"last": last}
            )
            now = time.monotonic()
            for (order,) in rows:
                self.seen.setdefault(order, now)
            while last + 1 in self.seen:
                last += 1
            time.sleep(POLL_SECONDS)
        client.disconnect()


def measure(connections: Connections, *, rate: float, seconds: float, rows: int = 1, patience: float = 60.0) -> Latency:
    """Insert ``rate`` orders per second for ``seconds``; wait at most ``patience`` s for the last to be visible.

    ``rows`` orders share a transaction: beyond some hundred per second one connection can't commit each alone.

    The rows are deleted at the end.
    """
    with connections.postgres_application() as source:
        # Not the highest key that is there: one that somebody chose may lie far above what the sequence gives.
        row = source.execute("SELECT nextval(pg_get_serial_sequence('inventory.orders', 'id'))").fetchone()
        observer = _Observer(connections=connections, first_id=int(row[0]) if row else 0)
        thread = threading.Thread(target=observer.run, daemon=True)
        thread.start()
        committed: dict[int, float] = {}
        start = time.monotonic()
        customers = [key for (key,) in source.execute("SELECT id FROM inventory.customers ORDER BY id LIMIT 100")]
        for number in range(int(rate * seconds / rows)):
            time.sleep(max(0.0, start + number * rows / rate - time.monotonic()))
            answer = source.execute(
                "INSERT INTO inventory.orders (purchaser, quantity, product_id, unit_price)"
                " SELECT %s, 1, (SELECT min(id) FROM inventory.products), 9.99"
                " FROM generate_series(1, %s) RETURNING id",
                [customers[number % len(customers)], rows],
            ).fetchall()
            now = time.monotonic()
            committed |= {int(order): now for (order,) in answer}
        elapsed = time.monotonic() - start
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and not committed.keys() <= observer.seen.keys():
        time.sleep(0.05)
    observer.stop.set()
    thread.join()
    with connections.postgres_application() as source:
        source.execute("DELETE FROM inventory.orders WHERE id = ANY(%s)", [list(committed)])
    return _summary(committed, observer.seen, elapsed)


def _summary(committed: dict[int, float], seen: dict[int, float], elapsed: float) -> Latency:
    delays = sorted(max(0.0, seen[order] - at) for order, at in committed.items() if order in seen)

    def quantile(share: float) -> float:
        return delays[min(len(delays) - 1, int(share * len(delays)))] if delays else float("inf")

    return Latency(
        count=len(committed),
        lost=len(committed) - len(delays),
        rate=len(committed) / elapsed,
        p50=quantile(0.5),
        p90=quantile(0.9),
        p99=quantile(0.99),
        worst=delays[-1] if delays else float("inf"),
    )
