"""What the shop wants to see of its orders, from the views that everybody queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clickhouse_driver import Client
from prometheus_client.core import Metric

from cdc.metrics import gauge, plain

MOST_STATUSES = 20
"""A status is free text in the source: a label must not grow with it."""
_STATUSES = (
    "SELECT ifNull(status, 'none') AS s, count() AS orders FROM orders GROUP BY s ORDER BY orders DESC LIMIT %(most)s"
)
_WINDOWS = """
    SELECT countIf(order_time > now() - INTERVAL 1 HOUR),
           sumIf(total_amount, order_time > now() - INTERVAL 1 HOUR AND status IS DISTINCT FROM 'CANCELLED'),
           sumIf(total_amount, order_time >= toStartOfDay(now()) AND status IS DISTINCT FROM 'CANCELLED')
      FROM orders WHERE order_time >= toStartOfDay(now()) - INTERVAL 1 HOUR
"""


@dataclass(frozen=True, kw_only=True)
class Business:
    """Orders as they are now; revenue leaves out what was cancelled. Days and hours are UTC's."""

    orders: Mapping[str, int]
    orders_last_hour: int
    revenue_last_hour: float
    revenue_today: float


def business(client: Client) -> Business:
    """Ask the views. Raises clickhouse_driver.errors.Error."""
    count, hour, day = client.execute(_WINDOWS)[0]
    return Business(
        orders=dict(client.execute(_STATUSES, {"most": MOST_STATUSES})),
        orders_last_hour=count,
        revenue_last_hour=float(hour or 0),
        revenue_today=float(day or 0),
    )


def families(seen: Business) -> Iterator[Metric]:
    """The business metrics."""
    counts = [((status,), float(orders)) for status, orders in seen.orders.items()]
    yield gauge("cdc_orders", "Orders by status", ["status"], counts)
    yield plain("cdc_orders_last_hour", "Orders placed within the last hour", seen.orders_last_hour)
    yield plain("cdc_revenue_last_hour", "Amount of the orders placed within the last hour", seen.revenue_last_hour)
    yield plain("cdc_revenue_today", "Amount of the orders placed since midnight UTC", seen.revenue_today)
