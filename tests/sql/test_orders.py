"""What becomes of one change: types, values, operations, quarantine."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.events import DAYS, MICROS, TOAST, Feed, Message, change, order

pytestmark = pytest.mark.sql

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def test_an_insert_arrives_with_its_types_and_values(feed: Feed) -> None:
    feed.send(change("c", lsn=10, after=order()))
    columns = (
        "id, order_number, order_date, order_time, purchaser, quantity, product_id, unit_price, total_amount, status"
    )
    assert feed.rows(f"{columns}, created_at, updated_at, order_month, order_hour FROM @orders") == [
        (
            1,
            "ORD-1001",
            date(2026, 1, 1),
            NEW_YEAR.replace(microsecond=123456),
            7,
            3,
            11,
            Decimal("12.50"),
            Decimal("37.50"),
            "PENDING",
            NEW_YEAR,
            NEW_YEAR,
            202601,
            0,
        )
    ]
    types: dict[str, str] = dict(
        feed.rows(f"name, type FROM system.columns WHERE database = '{feed.database}' AND table = 'orders'")
    )
    assert types["unit_price"] == "Decimal(10, 2)"
    assert types["total_amount"] == "Decimal(12, 2)"
    assert types["order_time"] == "Nullable(DateTime64(6, 'UTC'))"
    assert types["id"] == "Int32"


@pytest.mark.parametrize(
    ("column", "sent", "expected"),
    [
        ("id", -2147483648, -2147483648),
        ("id", 2147483647, 2147483647),
        ("unit_price", "99999999.99", Decimal("99999999.99")),
        ("unit_price", "0.00", Decimal("0.00")),
        ("unit_price", "-0.01", Decimal("-0.01")),
        ("unit_price", "5", Decimal("5.00")),
        ("order_date", -25567, date(1900, 1, 1)),
        ("order_date", -1, date(1969, 12, 31)),
        ("order_date", 120529, date(2299, 12, 31)),
        ("order_time", None, None),
        ("order_time", -1, datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("order_time", MICROS + 1, NEW_YEAR.replace(microsecond=1)),
        ("status", None, None),
        ("status", "", ""),
        ("created_at", None, None),
        ("order_number", "", ""),
        ("order_number", 'O\'Brien "quoted" \\ back\tslash\n', 'O\'Brien "quoted" \\ back\tslash\n'),
        ("order_number", "日本語 🎉 ñ Ω", "日本語 🎉 ñ Ω"),
        ("order_number", "null", "null"),
    ],
)
def test_edges_of_each_type_arrive_unchanged(feed: Feed, column: str, sent: object, expected: object) -> None:
    # One of it: 99999999.99 three times is more than total_amount holds, in PostgreSQL too.
    feed.send(change("c", lsn=10, after=order(**{"quantity": 1, column: sent})))
    assert feed.reasons() == []
    assert feed.rows(f"{column} FROM @orders") == [(expected,)]


@pytest.mark.parametrize(
    ("column", "sent", "expected"),
    [
        ("order_date", 120530, "2299-12-31"),
        ("order_date", -25568, "1900-01-01"),
        ("order_time", 2**63 - 1, "2299-12-31 23:59:59.999999"),
        ("order_time", -(2**63), "1900-01-01 00:00:00.000000"),
    ],
)
def test_a_time_beyond_the_column_is_the_nearest_and_its_text_is_kept(
    feed: Feed, column: str, sent: int, expected: str
) -> None:
    feed.send(change("c", lsn=10, after=order(**{column: sent})))
    assert feed.reasons() == []
    assert feed.rows(f"toString({column}), _extra FROM @orders") == [(expected, {column: str(sent)})]
    assert feed.rows("_extra FROM @orders_final") == [({column: str(sent)},)]


def test_what_has_no_column_yet_is_kept(feed: Feed) -> None:
    feed.send(change("c", lsn=10, after=order(gift=True, note="", weight=None, tags=["a", "b"])))
    kept = {"gift": "true", "note": "", "tags": '["a","b"]'}
    assert feed.rows("_extra FROM @orders") == [(kept,)]
    feed.send(change("d", lsn=20, before=order(gift=False)))
    assert feed.rows("_extra FROM @orders_final FINAL ORDER BY version") == [(kept,), ({"gift": "false"},)]


def test_a_renamed_column_of_null_values_does_not_go_by_unseen(feed: Feed) -> None:
    """As many columns as before, but one of them is another."""
    row = order(state="PENDING")
    del row["status"]
    feed.send(change("c", lsn=10, after=row))
    assert feed.rows("status, _extra FROM @orders") == [(None, {"state": "PENDING"})]


def test_truncate_takes_what_was_there_before_in_whatever_order_it_comes(feed: Feed) -> None:
    first, second, truncated = (
        change("c", lsn=10, after=order()),
        change("c", lsn=12, after=order(id=2)),
        change("t", lsn=20),
    )
    later = change("c", lsn=21, after=order(id=3))
    feed.send(first, later)
    feed.send(truncated, truncated)
    feed.send(second)
    assert feed.rows("id FROM @orders") == [(3,)]
    assert feed.reasons() == []
    assert feed.rows("count() FROM @orders_final FINAL") == [(3,)]
    assert feed.rows("id FROM @orders_as_of(at = '2026-01-01 00:00:19') ORDER BY id") == [(1,), (2,)]
    assert feed.rows("id FROM @orders_as_of(at = '2026-01-01 00:00:20')") == []
    assert feed.rows("source_table, lsn FROM @truncations FINAL") == [("orders", 20)]


def test_a_row_written_after_truncate_in_the_same_transaction_stays(feed: Feed) -> None:
    feed.send(
        change("c", lsn=18, after=order(), commit=5),
        change("t", lsn=20, commit=5),
        change("c", lsn=22, after=order(id=2), commit=5),
    )
    assert feed.rows("id FROM @orders") == [(2,)]


def test_escaped_unicode_is_the_same_text(feed: Feed) -> None:
    message = change("c", lsn=1, after=order(order_number="日本語 🎉"))
    feed.send(Message(raw=json.dumps(json.loads(message.raw), ensure_ascii=True)))
    assert feed.rows("order_number FROM @orders") == [("日本語 🎉",)]


def test_an_update_keeps_both_images(feed: Feed) -> None:
    feed.send(change("c", lsn=10, after=order()))
    feed.send(change("u", lsn=20, before=order(), after=order(quantity=5, status="SHIPPED")))
    assert feed.rows("quantity, total_amount, status FROM @orders") == [(5, Decimal("62.50"), "SHIPPED")]
    assert feed.rows(
        "operation_name, quantity, before_quantity, total_amount, before_total_amount, before_status, "
        "before_order_date FROM @orders_final FINAL ORDER BY version"
    ) == [
        ("INSERT", 3, None, Decimal("37.50"), None, None, None),
        ("UPDATE", 5, 3, Decimal("62.50"), Decimal("37.50"), "PENDING", date(2026, 1, 1)),
    ]


def test_a_delete_takes_its_values_from_before(feed: Feed) -> None:
    feed.send(change("c", lsn=10, after=order()))
    feed.send(change("d", lsn=20, before=order(quantity=4)))
    assert feed.rows("count() FROM @orders") == [(0,)]
    assert feed.rows("id, quantity, is_deleted, operation_name FROM @orders_final FINAL ORDER BY version") == [
        (1, 3, 0, "INSERT"),
        (1, 4, 1, "DELETE"),
    ]


def test_a_change_of_the_primary_key_moves_the_row(feed: Feed) -> None:
    feed.send(change("c", lsn=10, after=order()))
    feed.send(change("d", lsn=20, before=order(), offset=20), change("c", lsn=20, after=order(id=2), offset=21))
    assert feed.rows("id FROM @orders") == [(2,)]


def test_a_primary_key_changed_by_one_update_leaves_no_ghost(feed: Feed) -> None:
    """What Debezium sends where the topic is keyed by purchaser: one update, its images of different keys."""
    feed.send(change("c", lsn=10, after=order()))
    moved = change("u", lsn=20, before=order(), after=order(id=2, quantity=5))
    feed.send(moved)
    feed.send(moved)
    assert feed.rows("id, quantity FROM @orders") == [(2, 5)]
    assert feed.rows("id, operation, before_quantity FROM @orders_final FINAL ORDER BY lsn, id") == [
        (1, "c", None),
        (1, "d", 3),
        (2, "c", None),
    ]
    feed.send(change("c", lsn=30, after=order()))
    assert feed.rows("id FROM @orders ORDER BY id") == [(1,), (2,)]


def test_an_update_to_a_key_that_cannot_be_read_is_quarantined_whole(feed: Feed) -> None:
    feed.send(change("c", lsn=10, after=order()))
    feed.send(change("u", lsn=20, before=order(), after=order(id=False)))
    assert feed.rows("id FROM @orders") == [(1,)]
    assert feed.reasons() == ["id is not Int32: false"]


def test_a_row_of_an_incremental_snapshot_is_placed_by_its_sequence(feed: Feed) -> None:
    read = json.loads(change("r", lsn=20, after=order(quantity=8)).raw)
    read["source"] |= {"lsn": None, "snapshot": "incremental", "sequence": '["15","20"]'}
    feed.send(change("c", lsn=10, after=order()), Message(raw=json.dumps(read), offset=20))
    assert feed.rows("quantity, lsn FROM @orders") == [(8, 20)]
    feed.send(change("u", lsn=21, before=order(), after=order(quantity=9)))
    assert feed.rows("quantity FROM @orders") == [(9,)]


def test_the_generated_column_is_computed_and_a_snapshots_value_ignored(feed: Feed) -> None:
    feed.send(change("r", lsn=10, after=order(total_amount="999.99")))
    assert feed.rows("total_amount FROM @orders") == [(Decimal("37.50"),)]


def test_metadata_of_a_change_is_kept(feed: Feed) -> None:
    feed.send(change("c", lsn=10, after=order()).at(77, partition=2))
    assert feed.rows(
        "operation, source_time, source_ts_ms, lsn, tx_id, version, kafka_partition, kafka_offset, kafka_time "
        "FROM @orders_final"
    ) == [
        (
            "c",
            NEW_YEAR.replace(second=10),
            1_767_225_610_000,
            10,
            800,
            (9 << 58) + (1 << 57) + 10 * 4 + 3,
            2,
            77,
            NEW_YEAR.replace(microsecond=500_000),
        )
    ]


def _without(column: str) -> dict[str, Any]:
    return {key: value for key, value in order().items() if key != column}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (change("c", lsn=1, after=order(id="abc")), "id is not Int32: abc"),
        (change("c", lsn=2**55, after=order()), f"source.lsn is beyond 2^55: {2**55}"),
        (change("c", lsn=1, after=order(id=2**31)), "id is not Int32: 2147483648"),
        (change("c", lsn=1, after=order(id=1.5)), "id is not Int32: 1.5"),
        (change("c", lsn=1, after=order(id=None)), "id is not Int32: missing"),
        (change("c", lsn=1, after=_without("id")), "id is not Int32: missing"),
        (change("c", lsn=1, after=_without("quantity")), "quantity is not Int32: missing"),
        (change("c", lsn=1, after=order(quantity={"a": 1})), 'quantity is not Int32: {"a":1}'),
        (change("c", lsn=1, after=order(unit_price="NaN")), "unit_price is not Decimal(10, 2): NaN"),
        (change("c", lsn=1, after=order(unit_price="1.005")), "unit_price is not Decimal(10, 2): 1.005"),
        (change("c", lsn=1, after=order(unit_price="100000000.00")), "unit_price is not Decimal(10, 2): 100000000.00"),
        (change("c", lsn=1, after=order(unit_price="BNI=")), "unit_price is not Decimal(10, 2): BNI="),
        (change("c", lsn=1, after=order(unit_price="9" * 60)), "unit_price is not Decimal(10, 2): " + "9" * 60),
        (change("c", lsn=1, after=order(unit_price="99999999.99", quantity=2**31 - 1)), "total_amount is out of range"),
        (change("c", lsn=1, after=order(order_date="2026-01-01")), "order_date is not days since 1970: 2026-01-01"),
        (change("c", lsn=1, after=order(updated_at=True)), "updated_at is not microseconds since 1970: true"),
        (change("c", lsn=1, after=order(order_number=TOAST)), f"order_number is not text: {TOAST}"),
        (change("u", lsn=1, before=order(), after=order(status=TOAST)), f"status is not text: {TOAST}"),
        (change("u", lsn=1, before=order(status=TOAST), after=order()), f"before.status is not text: {TOAST}"),
        (change("u", lsn=1, before=order(quantity="x"), after=order()), "before.quantity is not Int32: x"),
        (change("d", lsn=1, before={"id": 1}), "order_number is not text: missing"),
        (change("d", lsn=1), "id is not Int32: missing"),
        (change("m", lsn=1), "logical decoding message, not a row"),
        (change("x", lsn=1, after=order()), 'no change event: op is "x"'),
        (change("c", lsn=1, after=order(), ts_us=2**62), "source.ts_us is missing or out of range"),
        (Message(raw='{"payload": 1}'), 'no change event: op is ""'),
        (Message(raw='{"op": "c", '), "no change event: op is missing, the text is not JSON"),
        (Message(raw="{}"), 'no change event: op is ""'),
        (Message(raw='{"op":"c","after":{"id":1},"source":{}}'), "source.lsn is missing"),
        (Message(raw='{"op":"c","after":7,"before":[],"source":"x"}'), "source.lsn is missing"),
        (Message(raw="plain text", error="Cannot parse input"), "not JSON: Cannot parse input"),
    ],
)
def test_what_cannot_be_a_row_is_kept_with_its_reason(feed: Feed, message: Message, reason: str) -> None:
    good = change("c", lsn=5, after=order(id=500))
    feed.send(message.at(41, partition=3), good)
    assert feed.rows("topic, partition, offset, key, raw, reason, source_table FROM @ingest_errors") == [
        ("postgres-server.inventory.orders", 3, 41, '{"purchaser":7}', message.raw, reason, "orders")
    ]
    assert feed.rows("id FROM @orders_final") == [(500,)]
    assert feed.rows("id FROM @orders") == [(500,)]


def test_a_redelivered_error_stays_one_row(feed: Feed) -> None:
    message = Message(raw="{}", offset=9)
    feed.send(message, message)
    feed.send(message)
    assert feed.rows("count() FROM @ingest_errors FINAL") == [(1,)]


def test_a_null_source_microsecond_falls_back_to_milliseconds(feed: Feed) -> None:
    envelope = json.loads(change("c", lsn=10, after=order()).raw)
    del envelope["source"]["ts_us"]
    feed.send(Message(raw=json.dumps(envelope)))
    assert feed.rows("source_time FROM @orders_final") == [(NEW_YEAR.replace(second=10),)]


def test_the_reader_of_a_view_needs_no_deleted_rows_filter(feed: Feed) -> None:
    feed.send(change("c", lsn=1, after=order()), change("d", lsn=2, before=order()))
    feed.connection.run(f"OPTIMIZE TABLE {feed.database}.orders_current FINAL")
    # The marker survives the merge: without it a late older update would bring the row back.
    assert feed.rows("count() FROM @orders_current") == [(1,)]
    feed.send(change("u", lsn=1, before=order(), after=order(quantity=9)))
    assert feed.rows("count() FROM @orders") == [(0,)]


def test_as_of_shows_the_rows_of_a_moment(feed: Feed) -> None:
    feed.send(
        change("c", lsn=10, after=order()),
        change("u", lsn=20, before=order(), after=order(quantity=5)),
        change("c", lsn=25, after=order(id=2)),
        change("d", lsn=30, before=order(quantity=5)),
    )

    def as_of(second: float) -> list[Any]:
        at = f"2026-01-01 00:00:{second:09.6f}"
        return feed.rows(f"id, quantity FROM @orders_as_of(at = '{at}') ORDER BY id")

    assert as_of(9.999999) == []
    assert as_of(10) == [(1, 3)]
    assert as_of(20) == [(1, 5)]
    assert as_of(29.5) == [(1, 5), (2, 3)]
    assert as_of(30) == [(2, 3)]


def test_as_of_still_has_rows_whose_history_has_expired(feed: Feed) -> None:
    feed.send(change("c", lsn=10, after=order()))
    feed.connection.run(f"TRUNCATE TABLE {feed.database}.orders_final")
    assert feed.rows("id FROM @orders_as_of(at = '2026-01-01 00:00:11')") == [(1,)]


def test_the_date_constants_of_these_tests_agree() -> None:
    assert datetime.fromtimestamp(MICROS / 1e6, UTC) == NEW_YEAR
    assert (date(2026, 1, 1) - date(1970, 1, 1)).days == DAYS


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.from_regex(r"-?[0-9]{1,45}(\.[0-9]{1,45})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
ROWS = st.one_of(st.none(), st.dictionaries(st.sampled_from(sorted(order())), VALUES).map(lambda odd: order(**odd)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    op=st.sampled_from("cudr"),
    before=ROWS,
    after=ROWS,
    lsn=st.one_of(st.none(), st.integers(0, 2**64)),
    ts_us=st.one_of(st.none(), st.integers(-(2**63), 2**63)),
)
def test_any_values_become_a_row_or_an_error_and_never_stop_the_stream(
    feed: Feed, op: str, before: dict[str, Any], after: dict[str, Any], lsn: int | None, ts_us: int | None
) -> None:
    envelope = {"op": op, "before": before, "after": after, "source": {"lsn": lsn, "ts_us": ts_us}}
    feed.clear()
    feed.send(Message(raw=json.dumps(envelope)))
    errors = feed.rows("count() FROM @ingest_errors")[0][0]
    current = feed.rows("count() FROM @orders_current")[0][0]
    shown = (before if op == "d" else after) or {}
    if op == "u" and before and after and str(before["id"]) != str(after["id"]):
        # Another primary key: what was under the old one goes, what is under the new one comes, each a row or an error.
        assert 1 <= errors + current <= 2
        return
    assert (errors, current) in ((1, 0), (0, 1))
    if current:
        assert feed.rows("toString(id) FROM @orders_current") == [(str(shown["id"]),)]
