"""The living demo: a shop plays on the source, and everything it did is seen."""

from __future__ import annotations

import re

from tests.e2e.aggregates import wait_exact
from tests.e2e.running import Live


def test_the_demo_plays_a_shop_and_shows_what_arrives(live: Live) -> None:
    printed = live.stack.make("demo", DEMO_RATE="200", DEMO_SECONDS="8")
    assert len(re.findall(r"committed +[\d,]+ +\| +[\d,]+ orders", printed)) >= 5
    assert "ClickHouse has all" in printed
    done = re.search(r"([\d,]+) changes in ([\d,]+) transactions", printed)
    assert done is not None
    assert 1200 <= int(done[1].replace(",", "")) <= 1700
    assert live.wait_equal() > 100


def test_the_aggregates_equal_a_recomputation_in_postgres(live: Live) -> None:
    live.stack.make("demo", DEMO_RATE="200", DEMO_SECONDS="5")
    live.source("UPDATE inventory.orders SET quantity = quantity + 1, order_time = order_time - interval '3 hours'"
                " WHERE id % 5 = 0")  # fmt: skip
    live.source("DELETE FROM inventory.orders WHERE status = 'CANCELLED' AND id % 2 = 0")
    live.wait_equal()
    wait_exact(live)
