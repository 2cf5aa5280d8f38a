"""A killed part comes back by itself; nothing is lost, nothing is doubled."""

from __future__ import annotations

import threading
import time

import pytest

from tests.e2e.running import Live, docker, eventually

COPIED = 60_000
RECOVERY_SECONDS = 30


def _sentinel(live: Live) -> int:
    return int(
        live.source(
            "INSERT INTO inventory.orders (purchaser, product_id, quantity, unit_price)"
            " SELECT (SELECT min(id) FROM inventory.customers), (SELECT min(id) FROM inventory.products), 1, 1.00"
            " RETURNING id"
        )[0][0]
    )


@pytest.mark.parametrize("part", ["kafka-connect", "kafka", "clickhouse", "postgres"])
def test_a_killed_part_comes_back_and_the_rows_with_it(live: Live, part: str) -> None:
    killed = live.kill(part)
    if part == "postgres":
        eventually(lambda: bool(live.source("SELECT 1")), 60, "PostgreSQL answers again")
    order = _sentinel(live)
    eventually(lambda: live.arrived(order), 120, f"a row written after {part} was killed")
    seconds = time.monotonic() - killed
    print(f"{part}: visible again {seconds:.1f} s after the kill")
    live.wait_healthy(part)
    live.wait_equal(120)
    assert seconds < (RECOVERY_SECONDS if part == "kafka-connect" else 2 * RECOVERY_SECONDS), f"{seconds:.1f} s"


def test_a_part_that_was_stopped_is_started_by_up(live: Live) -> None:
    docker("stop", live.container("kafka-connect"))
    order = _sentinel(live)
    printed = live.stack.make("up")
    assert "not running: e2e-kafka-connect" in printed
    eventually(lambda: live.arrived(order), 60, "the row written meanwhile")
    live.wait_equal()


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_connect_killed_in_the_middle_of_a_copy_loses_nothing(live: Live, share: float) -> None:
    """Rows of a COPY share LSNs by the page; Debezium below 3.7 skipped the rest of the page it was killed in."""
    # Ids that no earlier trial used: its deleted rows must not be taken for ours.
    base = int(live.source("SELECT nextval(pg_get_serial_sequence('inventory.orders', 'id'))")[0][0])
    customer, product = live.source(
        "SELECT (SELECT min(id) FROM inventory.customers), (SELECT min(id) FROM inventory.products)"
    )[0]
    arrivals_at_kill: list[int] = []

    def kill_midway() -> None:
        eventually(lambda: _count_above(live, base) >= share * COPIED, 120, "the COPY is midway", every=0.02)
        arrivals_at_kill.append(_count_above(live, base))
        arrivals_at_kill.append(int(live.kill("kafka-connect")))

    killer = threading.Thread(target=kill_midway)
    with live.connections.postgres() as source, source.cursor() as cursor:
        with cursor.copy("COPY inventory.orders (id, purchaser, product_id, quantity, unit_price) FROM STDIN") as copy:
            for number in range(COPIED):
                copy.write_row((base + 1 + number, customer, product, 1 + number % 9, "3.50"))
        killer.start()
        cursor.execute("SELECT setval(pg_get_serial_sequence('inventory.orders', 'id'), %s)", [base + COPIED])
    killer.join()
    assert arrivals_at_kill[0] < COPIED, "the kill came after the end: nothing was tested"
    killed = time.monotonic()
    order = _sentinel(live)
    # Not more often: asking takes processor time from what is measured.
    eventually(lambda: live.arrived(order), 120, "the row behind the COPY", every=0.5)
    seconds = time.monotonic() - killed
    assert seconds < RECOVERY_SECONDS, f"{seconds:.1f} s"
    counted = live.analytics(
        "SELECT count(), uniqExact(id), sum(quantity) FROM orders WHERE id > %(base)s AND id <= %(last)s",
        {"base": base, "last": base + COPIED},
    )
    expected = live.source(
        "SELECT count(*), count(DISTINCT id), sum(quantity) FROM inventory.orders WHERE id > %s AND id <= %s",
        base,
        base + COPIED,
    )
    print(f"killed at {arrivals_at_kill[0]} of {COPIED}: all there {seconds:.1f} s later")
    assert counted == expected
    history = live.analytics(
        "SELECT count(), uniqExact(id) FROM orders_final FINAL WHERE id > %(base)s AND id <= %(last)s",
        {"base": base, "last": base + COPIED},
    )
    assert history == [(COPIED, COPIED)], "a change is in the history twice, or not at all"
    live.source("DELETE FROM inventory.orders WHERE id > %s", base)
    eventually(lambda: _count_above(live, base) == 0, 120, "the deletes of the COPY's rows")
    live.wait_equal()


def _count_above(live: Live, base: int) -> int:
    return int(live.analytics("SELECT count() FROM orders WHERE id > %(base)s", {"base": base})[0][0])
