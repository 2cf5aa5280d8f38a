"""The tests of this folder can fail: each rule of the flow, taken out, is missed by the test that is there for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from cdc.clickhouse_migrations import DIALECT
from tests.sql import test_aggregates, test_orders, test_redelivery
from tests.sql.events import TOAST, Feed, change, order, remake, statements

pytestmark = pytest.mark.sql


@pytest.mark.parametrize(
    ("rule", "broken", "missed_by"),
    [
        pytest.param(
            "if(_message.op = 'u' AND (",
            "if(_message.op = 'never' AND (",
            test_orders.test_a_primary_key_changed_by_one_update_leaves_no_ghost,
            id="a changed primary key deletes the old row",
        ),
        pytest.param(
            "nullIf(text, '__debezium_unavailable_value') AS _to_text",
            "text AS _to_text",
            lambda feed: test_orders.test_what_cannot_be_a_row_is_kept_with_its_reason(
                feed, change("u", lsn=1, before=order(), after=order(status=TOAST)), f"status is not text: {TOAST}"
            ),
            id="a value that PostgreSQL did not send is no value",
        ),
        pytest.param(
            " + bitShiftLeft(toUInt128(_commit), 58)",
            "",
            test_redelivery.test_transactions_rank_by_commit_and_not_by_lsn,
            id="a version begins with the commit",
        ),
        pytest.param(
            "['r', 'd', 'u', 'c'], operation)",
            "['r', 'c', 'u', 'd'], operation)",
            lambda feed: test_redelivery.test_a_changed_message_key_keeps_the_row(feed, False, True),
            id="on one LSN the create wins over the delete",
        ),
        pytest.param(
            "orders_here\n    WHERE intDiv",
            "orders_final\n    WHERE is_deleted = 0 AND intDiv",
            test_aggregates.test_a_late_update_moves_an_order_to_another_hour_and_status,
            id="aggregates are of the rows, not of the changes",
        ),
        pytest.param(
            "LEFT JOIN\n",
            "INNER JOIN\n",
            test_aggregates.test_a_bucket_that_became_empty_counts_nothing,
            id="an emptied bucket is computed, too",
        ),
        pytest.param(
            "orders_current FINAL\nWHERE is_deleted",
            "orders_current\nWHERE is_deleted",
            test_orders.test_the_reader_of_a_view_needs_no_deleted_rows_filter,
            id="of a row's versions only the newest is shown",
        ),
        pytest.param(
            "WHERE is_deleted = 0 AND version > (SELECT max(version) FROM",
            "WHERE is_deleted = 0 AND version > (SELECT max(version) * 0 FROM",
            test_orders.test_truncate_takes_what_was_there_before_in_whatever_order_it_comes,
            id="a row from before the last TRUNCATE is not shown",
        ),
    ],
)
def test_a_broken_rule_is_noticed(feed: Feed, rule: str, broken: str, missed_by: Callable[[Feed], None]) -> None:
    missed_by(feed)
    feed.clear()
    with _restated(feed, rule, broken), pytest.raises(AssertionError):
        missed_by(feed)


@contextmanager
def _restated(feed: Feed, rule: str, broken: str) -> Iterator[None]:
    """What of orders has the rule is made with the broken one, for the length of a block."""
    found = {
        name: sql
        for sql in statements(feed.database)
        if rule in sql and (name := DIALECT.meaning(sql).name).startswith("orders")
    }
    assert found
    try:
        for name, sql in found.items():
            remake(feed, name, sql.replace(rule, broken))
        yield
    finally:
        for name, sql in found.items():
            remake(feed, name, sql)
