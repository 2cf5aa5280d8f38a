"""Restarts in the middle of what shares one LSN: the rows of a COPY by the heap page."""

from __future__ import annotations

import time
from collections import Counter

from cdc.connect import ConnectClient
from cdc.waiting import Deadline
from tests.e2e.running import Live, eventually

COPIED = 40_000
RESTARTS = 8


def _client(live: Live) -> tuple[ConnectClient, str]:
    return ConnectClient(live.connections.connect_url, Deadline(180)), str(live.connections.outputs["connectorName"])


def _copy(live: Live, count: int) -> int:
    """COPY ``count`` orders in one transaction; returns the id before the first."""
    base = int(live.source("SELECT nextval(pg_get_serial_sequence('inventory.orders', 'id'))")[0][0])
    customer, product = live.source(
        "SELECT (SELECT min(id) FROM inventory.customers), (SELECT min(id) FROM inventory.products)"
    )[0]
    with live.connections.postgres() as source, source.cursor() as cursor:
        with cursor.copy("COPY inventory.orders (id, purchaser, product_id, quantity, unit_price) FROM STDIN") as copy:
            for number in range(count):
                copy.write_row((base + 1 + number, customer, product, 1 + number % 9, "3.50"))
        cursor.execute("SELECT setval(pg_get_serial_sequence('inventory.orders', 'id'), %s)", [base + count])
    return base


def _pages(live: Live) -> list[tuple[int, int]]:
    """LSN and rows of each heap page of inserts that the connector's slot has yet to deliver."""
    rows = live.source(
        "SELECT (lsn - '0/0')::bigint FROM pg_logical_slot_peek_binary_changes("
        "  (SELECT slot_name FROM pg_replication_slots), NULL, NULL,"
        "  'proto_version', '1', 'publication_names', (SELECT pubname FROM pg_publication))"
        " WHERE get_byte(data, 0) = ascii('I')"
    )
    return list(Counter(int(lsn) for (lsn,) in rows).items())


def test_an_offset_in_the_middle_of_a_page_is_not_trusted(live: Live) -> None:
    """Debezium 3.7.0 takes the first row of a page for the whole of it, and skips the others."""
    client, name = _client(live)
    client.act(name, "stop")
    eventually(lambda: client.status(name).connector == "STOPPED" and not client.status(name).tasks, 60, "STOPPED")
    eventually(lambda: live.source("SELECT active FROM pg_replication_slots") == [(False,)], 60, "the slot is free")
    base = _copy(live, 400)
    pages = _pages(live)
    before, (third, rows) = sum(rows for _, rows in pages[:2]), pages[2]
    assert rows > 1, f"the COPY shares no LSN: {pages}"
    (stored,) = client.offsets(name)
    place = {"lsn": third, "lsn_proc": third, "messageType": "INSERT", "lsn_events_processed": 1}
    client.set_offset(name, stored["partition"], {**stored["offset"], **place})
    client.act(name, "resume")
    client.wait_running(name)
    order = int(
        live.source(
            "INSERT INTO inventory.orders (purchaser, product_id, quantity, unit_price)"
            " SELECT purchaser, product_id, 1, 1.00 FROM inventory.orders WHERE id = %s RETURNING id",
            base + 1,
        )[0][0]
    )
    eventually(lambda: live.arrived(order), 60, "the row behind the COPY")
    arrived = {row[0] for row in live.analytics("SELECT id FROM orders WHERE id > %(base)s", {"base": base})}
    missing = sorted(set(range(base + before + 2, base + 401)) - arrived)
    assert not missing, f"row {before + 1} of 400 was said to be stored; {len(missing)} rows behind it never arrived"
    live.source("DELETE FROM inventory.orders WHERE id > %s", base)
    eventually(lambda: _arrived(live, base) == 0, 60, "the deletes of the COPY's rows")
    live.wait_equal()


def test_a_task_restarted_in_the_middle_of_a_copy_loses_nothing(live: Live) -> None:
    """Restarts, as a rebalance or a changed configuration makes them, while the rows of a COPY go through."""
    client, name = _client(live)
    before = _arrived(live, 0)
    base = _copy(live, COPIED)
    restarted = 0
    while restarted < RESTARTS and (here := _arrived(live, base)) < COPIED:
        if here > restarted * COPIED // (2 * RESTARTS):
            client.restart(name)
            restarted += 1
        time.sleep(0.05)
    assert restarted > 1, "the COPY was through before the task was restarted: nothing was tested"
    client.wait_running(name)
    eventually(lambda: _arrived(live, base) == COPIED, 120, "all rows of the COPY")
    history = live.analytics(
        "SELECT count(), uniqExact(id) FROM orders_final FINAL WHERE id > %(base)s AND id <= %(last)s",
        {"base": base, "last": base + COPIED},
    )
    assert history == [(COPIED, COPIED)], "a change is in the history twice, or not at all"
    for (offset,) in [[entry["offset"]] for entry in client.offsets(name)]:
        assert "lsn_events_processed" not in offset, "an offset that can point into the middle of an LSN was stored"
    live.source("DELETE FROM inventory.orders WHERE id > %s", base)
    eventually(lambda: _arrived(live, 0) == before, 120, "the deletes of the COPY's rows")
    live.wait_equal()


def _arrived(live: Live, base: int) -> int:
    return int(live.analytics("SELECT count() FROM orders WHERE id > %(base)s", {"base": base})[0][0])
