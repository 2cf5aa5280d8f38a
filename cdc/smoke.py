"""One order's life, seen on the other side: inserted, updated, deleted, each with its commit-to-visible time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from clickhouse_driver import Client

from cdc.connections import Connections

POLL_SECONDS = 0.01
COLUMNS = "id, purchaser, quantity, product_id, unit_price, total_amount, status"


class NotVisibleError(Exception):
    """A committed change did not arrive in time; the message says which and where to look."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One change and what ClickHouse showed of it."""

    change: str
    seconds: float
    row: tuple[Any, ...] | None


def run(connections: Connections, *, timeout: float = 60.0) -> list[Step]:
    """Insert, update and delete one order; return when each change was visible.

    Raises NotVisibleError when one takes longer than ``timeout`` seconds.
    """
    client = connections.clickhouse()
    try:
        with connections.postgres_application() as source:
            order = _scalar(
                source.execute(
                    "INSERT INTO inventory.orders (purchaser, quantity, product_id, unit_price)"
                    " SELECT c.id, 3, p.id, 19.99 FROM inventory.customers c, inventory.products p"
                    " ORDER BY c.id, p.id LIMIT 1 RETURNING id"
                ).fetchone()
            )
            inserted = _wait(client, order, "insert", timeout, lambda row: row is not None)
            source.execute("UPDATE inventory.orders SET quantity = 7, status = 'CONFIRMED' WHERE id = %s", [order])
            updated = _wait(
                client, order, "update", timeout, lambda row: row is not None and row[2] == 7 and row[6] == "CONFIRMED"
            )
            source.execute("DELETE FROM inventory.orders WHERE id = %s", [order])
            deleted = _wait(client, order, "delete", timeout, lambda row: row is None)
    finally:
        client.disconnect()
    _check_amount(inserted, Decimal("59.97"))
    _check_amount(updated, Decimal("139.93"))
    return [inserted, updated, deleted]


def _wait(
    client: Client, order: int, change: str, timeout: float, arrived: Callable[[tuple[Any, ...] | None], bool]
) -> Step:
    committed = time.monotonic()
    while True:
        rows = client.execute(f"SELECT {COLUMNS} FROM orders WHERE id = %(id)s", {"id": order})  # noqa: S608
        row = rows[0] if rows else None
        waited = time.monotonic() - committed
        if arrived(row):
            return Step(change=change, seconds=waited, row=row)
        if waited > timeout:
            raise NotVisibleError(
                f"the {change} of order {order} is not visible in ClickHouse after {timeout:.0f} s; it shows {row}. "
                "`make status` shows which part is down; docker logs <part> says why"
            )
        time.sleep(POLL_SECONDS)


def _check_amount(step: Step, expected: Decimal) -> None:
    if step.row is None or step.row[5] != expected:
        raise NotVisibleError(f"the {step.change} arrived with a wrong total_amount: {step.row}, not {expected}")


def _scalar(row: tuple[Any, ...] | None) -> int:
    if row is None:
        raise NotVisibleError("inventory.customers or inventory.products is empty, so no order can be placed")
    return int(row[0])
