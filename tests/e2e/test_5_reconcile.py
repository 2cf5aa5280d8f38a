"""``python -m cdc reconcile``: it says equal only where it is, names what is not, mends it, and cries no wolf."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

from tests.e2e.running import ROOT, Live, eventually

KEYS = {
    "orders": "id",
    "customers": "id",
    "products": "id",
    "inventory": "product_id",
    "shipments": "id",
}
HEALED = re.compile(r"^inventory\.(\w+): .*, 0 differences, (\d) healed", re.MULTILINE)
FAR = 100_000_000 + int(time.time()) % 100_000_000
"""Beyond every key that the shop uses, and another one each time: a healed ghost stays dead."""


def test_nothing_differs_while_the_shop_plays_on(live: Live) -> None:
    with _shop(live):
        for _ in range(2):
            printed = live.cdc("reconcile")
            assert len(re.findall(r"^inventory\.\w+: .*, 0 differences", printed, re.MULTILINE)) == len(KEYS)
    live.wait_equal()


def test_missing_surplus_and_changed_rows_are_named_and_mended(live: Live) -> None:
    ((started,),) = live.analytics("SELECT toString(now64(3, 'UTC'))")
    tampered = {table: _tamper(live, table) for table in KEYS}
    printed = live.cdc("reconcile", expect=1)
    for table, (lost, surplus, changed) in tampered.items():
        key = KEYS[table]
        assert re.search(
            rf"^inventory\.{table}: .* 3 differences \(1 missing, 1 surplus, 1 different\).*\n"
            rf"  missing +{key} {lost}\n"
            rf"  different {key} {changed}: updated_at .* \(ClickHouse .*\)\n"
            rf"  surplus +{key} {surplus}\n",
            printed,
            re.MULTILINE,
        ), printed
    with _shop(live):
        printed = live.cdc("reconcile", "--heal")
        # What comes behind the snapshots is read right, too: bare Debezium ends at the next change of orders.
        behind = _orders(live)
        eventually(lambda: _orders(live) > behind + 100, 30, "the shop plays on")
    # A falsified row that the shop changes meanwhile is right again by itself; a surplus one never is.
    healed = {table: int(count) for table, count in HEALED.findall(printed)}
    assert healed.keys() == KEYS.keys(), printed
    assert all(1 <= count <= 3 for count in healed.values()), printed
    live.cdc("reconcile")
    live.wait_equal()
    for table in KEYS:
        results = live.analytics(
            "SELECT differences, healed FROM reconcile_results WHERE source_table = %(table)s"
            " AND finished_at > %(started)s ORDER BY finished_at",
            {"table": f"inventory.{table}", "started": started},
        )
        # The stack's own runs by the clock may lie between, and see what is not healed yet.
        seen = [result for result, _ in groupby(results)]
        assert (3, 0) in seen
        assert seen[-2:] == [(0, healed[table]), (0, 0)]


def test_values_that_clickhouse_can_not_hold_are_no_difference(live: Live) -> None:
    """They are there as the nearest that fits, and their text in _extra."""
    dates = ["infinity", "-infinity", "0044-03-15 BC", "2500-01-01", "1899-12-31"]
    ids = [
        int(
            live.source(
                "INSERT INTO inventory.customers (first_name, last_name, email, registration_date, updated_at)"
                " VALUES ('Far', 'Off', %s, %s, %s) RETURNING id",
                f"{number}@far.example",
                date,
                date,
            )[0][0]
        )
        for number, date in enumerate(dates)
    ]
    here = "SELECT count() FROM customers WHERE id IN %(ids)s AND mapContains(_extra, 'registration_date')"
    eventually(lambda: live.analytics(here, {"ids": ids}) == [(len(ids),)], 60, "the far dates arrive")
    live.cdc("reconcile")
    live.source("DELETE FROM inventory.customers WHERE id = ANY(%s)", ids)
    live.wait_equal(tables=["inventory.customers"])


def test_rows_from_before_a_truncate_are_no_surplus(live: Live) -> None:
    before = live.source("SELECT * FROM inventory.shipments")
    assert before
    live.source("TRUNCATE inventory.shipments")
    printed = live.cdc("reconcile", "--table", "shipments")
    assert "inventory.shipments: 0 rows in PostgreSQL, 0 in ClickHouse, 0 differences" in printed
    assert live.analytics("SELECT count() FROM shipments_current WHERE is_deleted = 0")[0][0] > 0


def _tamper(live: Live, table: str) -> tuple[int, int, int]:
    """Falsify the current rows: one is lost, one is there twice, one has another value. Returns the keys."""
    key = KEYS[table]
    live.wait_equal(tables=[f"inventory.{table}"])
    lost, copied, changed = (
        int(row[0]) for row in live.source(f"SELECT {key} FROM inventory.{table} ORDER BY {key} LIMIT 3")
    )
    names = [
        str(name)
        for (name,) in live.admin(
            "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = %(table)s"
            " AND default_kind NOT IN ('MATERIALIZED', 'ALIAS')",
            {"table": f"{table}_current"},
        )
    ]
    for number, false in (
        (lost, {"is_deleted": "1"}),
        (copied, {key: f"{key} + {FAR}"}),
        (changed, {"updated_at": "updated_at + INTERVAL 1 DAY"}),
    ):
        values = {"version": "version + 1", **false}
        live.admin(
            f"INSERT INTO {table}_current ({', '.join(names)}) SELECT {', '.join(values.get(n, n) for n in names)}"
            f" FROM (SELECT * FROM {table}_current FINAL WHERE {key} = {number})"
        )
    return lost, copied + FAR, changed


@contextmanager
def _shop(live: Live) -> Iterator[None]:
    """The generator beside, for the length of a block."""
    playing = subprocess.Popen(
        [sys.executable, "-m", "cdc", "--outputs", "-", "generate", "--rate", "100"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert playing.stdin is not None
    playing.stdin.write(json.dumps(dict(live.connections.outputs)))
    playing.stdin.close()
    before = _orders(live)
    try:
        eventually(lambda: _orders(live) > before, 30, "the shop plays")
        yield
    finally:
        playing.terminate()
        assert playing.wait(30) == 0


def _orders(live: Live) -> int:
    return int(live.source("SELECT max(id) FROM inventory.orders")[0][0])
