"""The benchmark, part by part, on a running stack."""
# ruff: noqa: S608  (the numbers in these queries are this module's own)

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from clickhouse_driver import Client

from cdc import latency, reconcile_run
from cdc.bench import load
from cdc.bench.load import FIRST_KEY, Show, Throughput
from cdc.connections import Connections
from cdc.latency import Latency

INSERTED: Final = 1_000_000
MIXED: Final = 1_000_000
SNAPSHOT: Final = 5_000_000
ORDERS: Final = 10_000_000
LATENCY_SECONDS: Final = 20.0
RATES: Final = ((100, 1), (1000, 5), (5000, 25))
"""Rows per second, and rows of a transaction."""
QUERIES: Final = {
    "orders: number": "SELECT count() FROM orders",
    "orders: one by key": f"SELECT * FROM orders WHERE id = {FIRST_KEY + 4711}",
    "orders_by_status": "SELECT * FROM orders_by_status",
    "orders_hourly_agg: all hours": "SELECT * FROM orders_hourly_agg",
    "orders_hourly_agg: last day": "SELECT * FROM orders_hourly_agg WHERE hour >= now() - INTERVAL 1 DAY",
    "revenue_hourly: last day": "SELECT * FROM revenue_hourly WHERE hour >= now() - INTERVAL 1 DAY",
    "customer_activity_daily: 30 days": "SELECT * FROM customer_activity_daily WHERE day >= today() - 30",
    "orders_hourly_changes: last day": "SELECT * FROM orders_hourly_changes WHERE hour >= now() - INTERVAL 1 DAY",
    "pipeline_daily_report: today": "SELECT * FROM pipeline_daily_report WHERE report_date = today()",
    "revenue by customer, 90 days": "SELECT purchaser, sum(total_amount) AS revenue FROM orders"
    " WHERE order_date >= today() - 90 GROUP BY purchaser ORDER BY revenue DESC LIMIT 50",
}
REPEATS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What `reconcile` compared of ``orders``, and how long that took once all had arrived."""

    rows: int
    seconds: float
    differences: int


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that was measured; ``memory`` is each container's highest in MiB."""

    scale: float
    inserted: Throughput
    one_transaction: Throughput
    mixed: Throughput
    compared: Compared
    snapshot: Throughput
    latencies: dict[int, Latency]
    orders: int
    queries: dict[str, float]
    memory: dict[str, float]
    seconds: float


def run(connections: Connections, *, scale: float, show: Show) -> Results:
    """Measure everything at ``scale`` times the full size. Raises BenchError when rows do not arrive."""
    started = time.monotonic()

    def size(full: int) -> int:
        return max(1000, round(full * scale))

    with _memory(connections) as memory:
        show(f"warming up: {size(100_000):,} rows")
        load.inserts(connections, size(100_000), show)
        latencies = {}
        for rate, rows in RATES:
            show(f"commit to visible at {rate:,} rows/s")
            seconds = max(3.0, LATENCY_SECONDS * min(1.0, scale * 10))
            latencies[rate] = latency.measure(connections, rate=rate, seconds=seconds, rows=rows)
            show(f"p50 {latencies[rate].p50:.3f} s, p99 {latencies[rate].p99:.3f} s, lost {latencies[rate].lost}")
        show(f"inserting {size(INSERTED):,} rows")
        inserted = load.inserts(connections, size(INSERTED), show)
        show(f"{inserted.rate:,.0f} rows/s; {size(INSERTED):,} rows in one transaction")
        one = load.inserts(connections, size(INSERTED), show, batch=size(INSERTED), patience=600)
        show(f"{one.rate:,.0f} rows/s; {size(MIXED):,} changes, 60/30/10")
        mixed = load.mixed(connections, size(MIXED), show)
        show(f"{mixed.rate:,.0f} changes/s; reconcile")
        compared = _compare(connections)
        show(f"{compared.rows:,} rows in {compared.seconds:.1f} s, {compared.differences} differ")
        show(f"snapshot of {size(SNAPSHOT):,} rows")
        snapshot = load.snapshot(connections, size(SNAPSHOT), show)
        show(f"{snapshot.rate:,.0f} rows/s; {size(ORDERS):,} orders for the queries")
        queries = _queries(connections, size(ORDERS), show)
    return Results(
        scale=scale,
        inserted=inserted,
        one_transaction=one,
        mixed=mixed,
        compared=compared,
        snapshot=snapshot,
        latencies=latencies,
        orders=size(ORDERS),
        queries=queries,
        memory=memory.highest,
        seconds=time.monotonic() - started,
    )


def _compare(connections: Connections) -> Compared:
    """Raises BenchError when source and target could not be compared."""
    started = time.monotonic()
    (result,) = reconcile_run.once(connections, reconcile_run.Options(tables=("inventory.orders",), quiet=True))
    if result.error:
        raise load.BenchError(f"reconcile could not compare: {result.error}")
    seconds = time.monotonic() - started
    return Compared(rows=result.rows_source, seconds=seconds, differences=result.differing)


def _queries(connections: Connections, orders: int, show: Show) -> dict[str, float]:
    """Median seconds of each query, with ``orders`` orders of two years loaded straight into the history."""
    operator = connections.clickhouse_operator()
    step = 1_000_000
    for low in range(0, orders, step):
        high = min(orders, low + step)
        _load_orders(operator, low, high, orders)
        show(f"{high:,} orders loaded")
    _settle(operator, show)
    operator.disconnect()
    reader, found = connections.clickhouse(), {}
    for name, query in QUERIES.items():
        times = []
        for _ in range(REPEATS):
            started = time.monotonic()
            reader.execute(query)
            times.append(time.monotonic() - started)
        found[name] = statistics.median(times)
        show(f"{found[name]:7.3f} s  {name}")
    reader.disconnect()
    return found


def _load_orders(client: Client, low: int, high: int, orders: int) -> None:
    """Insert orders ``low`` to ``high``; the oldest has the lowest key, the newest is of now."""
    client.execute(
        "INSERT INTO orders_final (id, order_number, order_date, order_time, purchaser, quantity, product_id,"
        " unit_price, total_amount, status, created_at, updated_at, operation, source_time, lsn, version, is_deleted)"
        f" WITH now64(6, 'UTC') - toIntervalSecond(intDiv(({orders} - number) * 63072000, {orders})) AS time,"
        " toInt32(1 + cityHash64(number, 2) % 5) AS count, toDecimal64((cityHash64(number, 4) % 40000 + 500) / 100, 2)"
        f" AS price SELECT toInt32({FIRST_KEY} + number), concat('ORD-B', toString(number)), toDate32(time), time,"
        " toInt32(1 + cityHash64(number, 1) % 100000), count, toInt32(1 + cityHash64(number, 3) % 500), price,"
        " price * count, ['PENDING', 'CONFIRMED', 'SHIPPED', 'DELIVERED', 'CANCELLED'][1 + cityHash64(number, 5) % 5],"
        " time, time, 'c', time, number + 1, toUInt128(number + 1) * 4 + 3, 0"
        f" FROM (SELECT arrayJoin(range(toUInt64({low}), toUInt64({high}))) AS number)"
        " SETTINGS max_partitions_per_insert_block = 0"
    )


def _settle(client: Client, show: Show, patience: float = 120) -> None:
    """Wait until the aggregates know every order, so that queries meet no first computation."""
    started = time.monotonic()
    while time.monotonic() - started < patience:
        expected = client.execute("SELECT count() FROM orders")[0][0]
        if client.execute("SELECT sum(record_count) FROM orders_by_status")[0][0] == expected:
            show(f"aggregates are equal after {time.monotonic() - started:.1f} s")
            return
        time.sleep(1)
    raise load.BenchError(f"orders_by_status does not count what orders counts after {patience:.0f} s")


@dataclass(kw_only=True)
class _Memory:
    names: Sequence[str]
    highest: dict[str, float] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        while not self.stop.wait(5):
            self.look()

    def look(self) -> None:
        command = ["docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *self.names]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        for line in done.stdout.splitlines():
            name, used = line.split()[:2]
            self.highest[name] = max(self.highest.get(name, 0.0), _mebibytes(used))


@contextmanager
def _memory(connections: Connections) -> Iterator[_Memory]:
    memory = _Memory(names=list(connections.outputs["containers"].values()))
    thread = threading.Thread(target=memory.watch, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        memory.look()
        memory.stop.set()
        thread.join(70)


def _mebibytes(text: str) -> float:
    """``1.2GiB`` as 1228.8."""
    units = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0, "B": 1 / 1024**2}
    unit = next(unit for unit in units if text.endswith(unit))
    return float(text.removesuffix(unit)) * units[unit]
