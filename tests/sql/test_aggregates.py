"""Aggregates equal a recomputation from the rows of the source, whatever happened and however it was delivered."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.events import DAYS, MICROS, Feed, Message, change, order
from tests.sql.test_redelivery import STEPS, Source, _delivery

pytestmark = pytest.mark.sql
Row = tuple[Any, ...]
HOUR = 3_600_000_000
AGGREGATE = (
    "hour, status, record_count, total_quantity, total_amount, unique_customers, unique_products"
    " FROM @orders_hourly_agg ORDER BY hour, status NULLS FIRST"
)
STATUSES = ("PENDING", "CONFIRMED", "SHIPPED", None)


def spread(row: dict[str, Any]) -> dict[str, Any]:
    """The order with hour, status, customer and product that follow from its quantity, so that changes move it."""
    quantity = row["quantity"]
    return {
        **row,
        "id": row["id"] * 40_000,
        "order_time": None if quantity % 7 == 0 else MICROS + quantity % 5 * HOUR + quantity,
        "status": STATUSES[quantity % 4],
        "purchaser": quantity % 3,
        "product_id": quantity % 2,
    }


def spread_message(message: Message) -> Message:
    """The message of the order that ``spread`` makes."""
    envelope = json.loads(message.raw)
    for image in ("before", "after"):
        if envelope[image] is not None:
            envelope[image] = spread(envelope[image])
    return replace(message, raw=json.dumps(envelope))


def recomputed(rows: list[dict[str, Any]]) -> list[Row]:
    """The aggregate, from the rows of the source."""
    cells: dict[tuple[datetime, str | None], list[dict[str, Any]]] = defaultdict(list)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    for row in rows:
        micros = row["order_time"] if row["order_time"] is not None else row["order_date"] * 24 * HOUR
        hour = epoch + timedelta(microseconds=micros // HOUR * HOUR)
        cells[hour, row["status"]].append(row)
    return [
        (
            hour,
            status,
            len(group),
            sum(row["quantity"] for row in group),
            sum((row["quantity"] * Decimal(row["unit_price"]) for row in group), Decimal(0)),
            len({row["purchaser"] for row in group}),
            len({row["product_id"] for row in group}),
        )
        for (hour, status), group in sorted(cells.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    ]


def refresh(feed: Feed) -> None:
    """Compute what is due now, as happens every few seconds."""
    for verb in ("REFRESH", "WAIT"):
        feed.connection.run(f"SYSTEM {verb} VIEW {feed.database}.orders_hourly_cells_mv")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, random=st.randoms(use_true_random=False), between=st.integers(0, 3))
def test_any_history_in_any_order_with_any_repetition_gives_the_recomputed_aggregate(
    feed: Feed, steps: list[tuple[str, int]], random: Random, between: int
) -> None:
    source = Source()
    for kind, key in steps:
        source.step(kind, key)
    feed.clear()
    for number, block in enumerate(_delivery([spread_message(event) for event in source.events], random)):
        feed.send(*block)
        if number < between:
            refresh(feed)
    refresh(feed)
    rows = [spread(row) for row in source.rows.values()]
    assert feed.rows(AGGREGATE) == recomputed(rows)
    by_status = feed.rows("sum(record_count), sum(total_amount) FROM @orders_by_status")
    assert by_status == [(len(rows), sum((r["quantity"] * Decimal(r["unit_price"]) for r in rows), Decimal(0)))]


def test_a_late_update_moves_an_order_to_another_hour_and_status(feed: Feed) -> None:
    created = order(status="PENDING", order_time=MICROS)
    feed.send(change("c", lsn=10, after=created))
    refresh(feed)
    moved = {**created, "status": "SHIPPED", "order_time": MICROS + 50 * HOUR}
    feed.send(change("u", lsn=20, before=created, after=moved))
    refresh(feed)
    assert feed.rows(AGGREGATE) == recomputed([moved])
    feed.send(change("c", lsn=10, after=created))
    refresh(feed)
    assert feed.rows(AGGREGATE) == recomputed([moved])


def test_a_bucket_that_became_empty_counts_nothing(feed: Feed) -> None:
    feed.send(change("c", lsn=10, after=order()), change("c", lsn=11, after=order(id=70_000)))
    refresh(feed)
    feed.send(change("d", lsn=20, before=order()))
    refresh(feed)
    assert feed.rows(AGGREGATE) == recomputed([order(id=70_000)])
    feed.send(change("d", lsn=21, before=order(id=70_000)))
    refresh(feed)
    assert feed.rows(AGGREGATE) == []
    assert feed.rows("count() FROM @orders_by_status") == [(0,)]


@pytest.mark.parametrize("micros", [-2_208_988_800_000_000, -1, 4_294_967_296_000_000, 10_413_791_999_999_999])
def test_hours_before_1970_and_after_2106_are_hours(feed: Feed, micros: int) -> None:
    row = order(order_time=micros)
    feed.send(change("c", lsn=10, after=row))
    refresh(feed)
    assert feed.rows(AGGREGATE) == recomputed([row])


def test_a_wrong_cell_heals_by_itself(feed: Feed) -> None:
    """Whatever a computation missed: the buckets computed longest ago are always due."""
    feed.send(change("c", lsn=10, after=order()))
    cells = f"{feed.database}.orders_hourly_cells"
    feed.connection.run(
        f"INSERT INTO {cells} (hour, status, bucket, computed_at, record_count)"
        " VALUES ('2026-01-01 00:00:00', 'PENDING', 0, now64(3) - 0.001, 99)"
    )
    feed.connection.run(f"ALTER TABLE {feed.database}.orders_current UPDATE _synced_at = '2020-01-01' WHERE 1"
                        " SETTINGS mutations_sync = 2")  # fmt: skip
    assert feed.rows("sum(record_count) FROM @orders_hourly_agg") == [(99,)]
    refresh(feed)
    assert feed.rows(AGGREGATE) == recomputed([order()])


def test_the_views_of_the_day_and_of_revenue(feed: Feed) -> None:
    feed.send(
        change("c", lsn=10, after=order(id=1, purchaser=1, quantity=1)),
        change("c", lsn=11, after=order(id=2, purchaser=1, quantity=2, order_time=MICROS + HOUR)),
        change("c", lsn=12, after=order(id=3, purchaser=2, quantity=4, status="CANCELLED")),
        change("c", lsn=13, after=order(id=70_000, purchaser=3, quantity=8, order_time=MICROS + 30 * HOUR)),
    )
    refresh(feed)
    day = date(1970, 1, 1) + timedelta(days=DAYS)
    assert feed.rows(
        "day, active_customers, total_transactions, items_sold, avg_transaction_value, unique_products_sold"
        " FROM @customer_activity_daily ORDER BY day"
    ) == [(day, 1, 2, 3, 18.75, 1), (day + timedelta(days=1), 1, 1, 8, 100.0, 1)]
    assert feed.rows("revenue, cancelled_amount, orders, cancelled_orders FROM @revenue_hourly ORDER BY hour") == [
        (Decimal("12.50"), Decimal("50.00"), 1, 1),
        (Decimal("25.00"), Decimal(0), 1, 0),
        (Decimal("100.00"), Decimal(0), 1, 0),
    ]


def test_changes_by_hour_count_each_change_once(feed: Feed) -> None:
    created, updated = order(quantity=1), order(quantity=3)
    events = [
        change("c", lsn=10, after=created),
        change("u", lsn=20, before=created, after=updated),
        change("d", lsn=30, before=updated),
        change("r", lsn=40, after=order(id=2)),
    ]
    feed.send(*events, *events)
    feed.send(*reversed(events))
    assert feed.rows(
        "operation, record_count, total_quantity, revenue_change FROM @orders_hourly_changes ORDER BY operation"
    ) == [
        ("DELETE", 1, 3, Decimal("-37.50")),
        ("INSERT", 1, 1, Decimal("12.50")),
        ("READ", 1, 3, Decimal(0)),
        ("UPDATE", 1, 3, Decimal("25.00")),
    ]
    assert feed.rows(
        "total_events_processed, inserts, updates, deletes, reads, active_hours, avg_throughput_per_hour"
        " FROM @pipeline_daily_report"
    ) == [(4, 1, 1, 1, 1, 1, 4.0)]
