"""The shop's transactions fit the source's constraints, whatever it is drawn to do; no database here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.shop import BACKLOG, KEPT_CLOSED, Shop
from cdc.shop_model import Change, Now, Order, Plus, Product, Transaction
from cdc.shop_source import KEYS, statement

REFERENCES = {
    "orders": {"purchaser": "customers", "product_id": "products"},
    "shipments": {"order_id": "orders"},
    "inventory": {"product_id": "products"},
}
STEPS = {
    ("PENDING", "CONFIRMED"),
    ("PENDING", "CANCELLED"),
    ("CONFIRMED", "SHIPPED"),
    ("CONFIRMED", "CANCELLED"),
    ("SHIPPED", "DELIVERED"),
}


@dataclass
class Tables:
    """The source's tables with its constraints, in memory."""

    rows: dict[str, dict[int, dict[str, Any]]] = field(
        default_factory=lambda: {name: {} for name in ("customers", "products", "inventory", "orders", "shipments")}
    )

    def apply(self, transaction: Transaction) -> None:
        for change in transaction.changes:
            self._change(change)
        for stock in self.rows["inventory"].values():
            assert 0 <= stock["reserved"] <= stock["quantity"]

    def _change(self, change: Change) -> None:
        rows = self.rows[change.table]
        if change.kind == "insert":
            assert change.key not in rows
            defaults: dict[str, dict[str, Any]] = {
                "orders": {"status": "PENDING"},
                "inventory": {"quantity": 0, "reserved": 0},
            }
            rows[change.key] = {KEYS.get(change.table, "id"): change.key, **defaults.get(change.table, {})}
        assert change.key in rows
        if change.kind == "delete":
            assert not any(
                s["order_id"] == change.key for s in self.rows["shipments"].values() if change.table == "orders"
            )
            del rows[change.key]
            return
        row = rows[change.key]
        for column, value in change.values.items():
            if change.table == "orders" and column == "status":
                assert (row["status"], value) in STEPS
            row[column] = row[column] + value.amount if isinstance(value, Plus) else value
        for column, other in REFERENCES.get(change.table, {}).items():
            assert row[column] in self.rows[other]
        if change.table == "orders":
            assert row["quantity"] > 0
            assert row["unit_price"] == round(row["unit_price"], 2) >= 0

    def reserved(self) -> Counter[int]:
        waiting = [o for o in self.rows["orders"].values() if o["status"] in ("PENDING", "CONFIRMED")]
        total: Counter[int] = Counter()
        for order in waiting:
            total[order["product_id"]] += order["quantity"]
        return total


def opened(seed: int, customers: int = 3, products: int = 4, stock: int = 30) -> tuple[Shop, Tables]:
    """A shop and the tables it knows."""
    tables = Tables()
    used = Counter(dict.fromkeys(tables.rows, 1000))

    def next_id(table: str) -> int:
        used[table] += 1
        return used[table]

    shop = Shop(random=Random(seed), next_id=next_id)
    for key in range(1, customers + 1):
        tables.rows["customers"][key] = {"id": key}
        shop.know_customer(key)
    for key in range(1, products + 1):
        tables.rows["products"][key] = {"id": key, "active": True, "price": Decimal("9.99")}
        tables.rows["inventory"][key] = {"product_id": key, "quantity": stock, "reserved": 0}
        shop.know_product(Product(id=key, price=Decimal("9.99"), active=True, stock=stock, reserved=0))
    return shop, tables


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    customers=st.integers(0, 3),
    products=st.integers(0, 12),
    stock=st.integers(0, 60),
    steps=st.integers(1, 1500),
)
def test_no_transaction_breaks_a_constraint(seed: int, customers: int, products: int, stock: int, steps: int) -> None:
    shop, tables = opened(seed, customers, products, stock)
    for _ in range(steps):
        transaction = shop.next()
        assert transaction.changes
        tables.apply(transaction)
    held = {key: row["reserved"] for key, row in tables.rows["inventory"].items() if row["reserved"]}
    assert held == dict(tables.reserved())
    for key, order in shop.orders.items():
        row = tables.rows["orders"][key]
        assert (order.status, order.quantity, order.unit_price) == (row["status"], row["quantity"], row["unit_price"])


def test_the_same_seed_does_the_same() -> None:
    first, second = opened(7)[0], opened(7)[0]
    assert [first.next() for _ in range(500)] == [second.next() for _ in range(500)]


def test_a_long_day_has_everything_and_keeps_its_backlog() -> None:
    shop, tables = opened(1, customers=20, products=15, stock=200)
    seen: Counter[str] = Counter()
    kinds: Counter[tuple[str, str]] = Counter()
    for _ in range(20_000):
        transaction = shop.next()
        tables.apply(transaction)
        seen[transaction.action] += 1
        kinds.update((change.table, change.kind) for change in transaction.changes)
    assert set(seen) == {
        "place", "advance", "correct", "cancel", "delete", "hand_over", "register", "edit_customer", "reprice",
        "launch", "retire", "restock",
    }  # fmt: skip
    assert {("orders", kind) for kind in ("insert", "update", "delete")} <= set(kinds)
    assert {("shipments", kind) for kind in ("insert", "update", "delete")} <= set(kinds)
    assert BACKLOG - 50 < shop.open_orders < BACKLOG + 50
    assert len(shop.orders) <= 2 * KEPT_CLOSED + BACKLOG + 50


def test_an_order_without_shipment_is_delivered_without_one() -> None:
    shop, _ = opened(3)
    for key in range(1, BACKLOG + 1):
        shop.know_order(Order(id=key, purchaser=1, product=1, quantity=1, unit_price=Decimal(1), status="SHIPPED"))
    delivered = [
        change for _ in range(200) for change in shop.next().changes if change.values.get("status") == "DELIVERED"
    ]
    assert delivered
    assert {change.table for change in delivered} == {"orders"}


@pytest.mark.parametrize(
    ("change", "text", "parameters"),
    [
        (
            Change(table="orders", kind="insert", key=5, values={"quantity": 2, "product_id": 7}),
            'INSERT INTO "inventory"."orders" ("id", "quantity", "product_id") VALUES (%s, %s, %s)',
            [5, 2, 7],
        ),
        (
            Change(table="inventory", kind="update", key=7, values={"reserved": Plus(-2)}),
            'UPDATE "inventory"."inventory" SET "reserved" = "reserved" + %s WHERE "product_id" = %s',
            [-2, 7],
        ),
        (
            Change(table="shipments", kind="update", key=9, values={"status": "DELIVERED", "delivered_at": Now()}),
            'UPDATE "inventory"."shipments" SET "status" = %s, "delivered_at" = CURRENT_TIMESTAMP WHERE "id" = %s',
            ["DELIVERED", 9],
        ),
        (
            Change(table="orders", kind="delete", key=5),
            'DELETE FROM "inventory"."orders" WHERE "id" = %s',
            [5],
        ),
    ],
)
def test_a_change_becomes_one_statement(change: Change, text: str, parameters: list[Any]) -> None:
    composed, values = statement(change)
    assert (composed.as_string(), values) == (text, parameters)
