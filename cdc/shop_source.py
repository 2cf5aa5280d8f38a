"""The shop's rows in PostgreSQL: what it starts from, and a transaction of it as statements."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any, Final

import psycopg
from psycopg import sql

from cdc.shop import CANCELLED, DELIVERED, OPEN, Shop
from cdc.shop_model import Change, Now, Order, Plus, Product, Transaction

SCHEMA: Final = "inventory"
KEYS: Final = {"inventory": "product_id"}
"""Primary keys that are not called id."""
ID_BLOCK: Final = 500
"""Ids that are taken from a sequence at once; what is left at the end is a gap, as rollbacks leave them."""
LOCK: Final = 4_871_206
"""Advisory lock of the one generator that may work a database: two would sell the same stock."""
MOST_LOADED: Final = 20_000

Connection = psycopg.Connection[tuple[Any, ...]]


class ShopError(Exception):
    """The database can't be worked as a shop; the message says why and what helps."""


class RowGoneError(Exception):
    """A row that the shop wanted to change is not there any more: somebody else works the same tables."""


class Ids:
    """Primary keys from the tables' own sequences, so that other writers never get the same."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._blocks: dict[str, deque[int]] = defaultdict(deque)

    def __call__(self, table: str) -> int:
        """Next key of ``inventory.<table>``."""
        block = self._blocks[table]
        if not block:
            taken = self._connection.execute(
                "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)",
                [f"{SCHEMA}.{table}", ID_BLOCK],
            )
            block.extend(int(row[0]) for row in taken)
        return block.popleft()


def claim(connection: Connection) -> None:
    """Become the only generator of this database. Raises ShopError when another is at work or there is no shop."""
    row = connection.execute("SELECT to_regclass('inventory.orders'), to_regclass('inventory.inventory')").fetchone()
    if row is None or None in row:
        raise ShopError(
            "this database has no inventory.orders and inventory.inventory: `generate` plays the demonstration's shop, "
            "which is there where `source` is managed"
        )
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone()
    if row is None or not row[0]:
        raise ShopError("another `generate` is at work on this database; end it first, or look on")


def load(connection: Connection, shop: Shop) -> None:
    """Tell the shop what is in the database: customers, products with stock, the newest orders."""
    for (customer,) in connection.execute(
        "SELECT id FROM inventory.customers ORDER BY id DESC LIMIT %s", [MOST_LOADED]
    ):
        shop.know_customer(customer)
    products = connection.execute(
        "SELECT id, price, active, quantity, reserved, reorder_level FROM inventory.products"
        " JOIN inventory.inventory ON product_id = id ORDER BY id LIMIT %s",
        [MOST_LOADED],
    )
    for key, price, active, stock, reserved, reorder_level in products:
        shop.know_product(
            Product(id=key, price=price, active=active, stock=stock, reserved=reserved, reorder_level=reorder_level)
        )
    # The newest by key, then by status: an index serves it however long the table is. Orders with several
    # shipments, or of products without stock, are somebody else's.
    orders = connection.execute(
        "SELECT o.id, purchaser, product_id, o.quantity, unit_price, o.status, min(s.id)"
        " FROM (SELECT * FROM inventory.orders ORDER BY id DESC LIMIT %s) AS o"
        " JOIN inventory.inventory USING (product_id) LEFT JOIN inventory.shipments AS s ON s.order_id = o.id"
        " WHERE o.status = ANY(%s)"
        " GROUP BY o.id, purchaser, product_id, o.quantity, unit_price, o.status HAVING count(s.id) < 2 ORDER BY o.id",
        [MOST_LOADED, [*OPEN, DELIVERED, CANCELLED]],
    )
    for key, purchaser, product, quantity, unit_price, status, shipment in orders:
        if product in shop.products:
            shop.know_order(
                Order(
                    id=key,
                    purchaser=purchaser,
                    product=product,
                    quantity=quantity,
                    unit_price=unit_price,
                    status=status,
                    shipment=shipment,
                )
            )


def commit(connection: Connection, transaction: Transaction) -> None:
    """Commit a transaction of the shop, its statements sent at once. A row that is gone rolls back: RowGoneError."""
    with connection.transaction():
        with connection.pipeline():
            cursors = [(change, connection.execute(*statement(change))) for change in transaction.changes]
        for change, cursor in cursors:
            if cursor.rowcount != 1:
                raise RowGoneError(f"{change.kind} of {SCHEMA}.{change.table} {change.key} met {cursor.rowcount} rows")


def statement(change: Change) -> tuple[sql.Composed, list[Any]]:
    """SQL text and parameters of one change."""
    table, key = sql.Identifier(SCHEMA, change.table), sql.Identifier(KEYS.get(change.table, "id"))
    if change.kind == "delete":
        return sql.SQL("DELETE FROM {} WHERE {} = %s").format(table, key), [change.key]
    columns = [sql.Identifier(column) for column in change.values]
    parameters = [value for value in map(_parameter, change.values.values()) if value is not None]
    if change.kind == "insert":
        names = sql.SQL(", ").join([key, *columns])
        values = sql.SQL(", ").join([sql.Placeholder(), *(_expression(value) for value in change.values.values())])
        return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(table, names, values), [change.key, *parameters]
    settings = [
        sql.SQL("{} = {}").format(
            column, sql.SQL("{} + %s").format(column) if isinstance(value, Plus) else _expression(value)
        )
        for column, value in zip(columns, change.values.values(), strict=True)
    ]
    text = sql.SQL("UPDATE {} SET {} WHERE {} = %s").format(table, sql.SQL(", ").join(settings), key)
    return text, [*parameters, change.key]


def _expression(value: object) -> sql.Composable:
    return sql.SQL("CURRENT_TIMESTAMP") if isinstance(value, Now) else sql.Placeholder()


def _parameter(value: Any) -> Any:  # noqa: ANN401 - any column's value
    if isinstance(value, Now):
        return None
    return value.amount if isinstance(value, Plus) else value
