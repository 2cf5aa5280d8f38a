"""The hourly aggregate, and the same made of the source's rows."""

from __future__ import annotations

from tests.e2e.running import Live, eventually

RECOMPUTED = """
    SELECT date_trunc('hour', coalesce(order_time, order_date::timestamp)), coalesce(status, ''), count(*),
        sum(quantity),
        sum(total_amount), count(DISTINCT purchaser), count(DISTINCT product_id)
    FROM inventory.orders GROUP BY 1, 2 ORDER BY 1, 2
"""
AGGREGATE = """
    SELECT toDateTime64(hour, 6, 'UTC') AS at, ifNull(status, '') AS of, record_count, total_quantity, total_amount,
        unique_customers, unique_products
    FROM orders_hourly_agg ORDER BY at, of
"""


def wait_exact(live: Live, timeout: float = 30) -> None:
    """Wait until orders_hourly_agg is what PostgreSQL makes of its rows."""
    expected = live.source(RECOMPUTED)
    assert expected

    def equal() -> bool:
        shown = [(at.replace(tzinfo=None), *rest) for at, *rest in live.analytics(AGGREGATE)]
        return shown == expected

    eventually(equal, timeout, "orders_hourly_agg equal to its recomputation in PostgreSQL")
