"""A lease in a ClickHouse table: two runs of the migrations do not work at the same time.

ClickHouse has neither locks nor compare-and-set, so a claim is a row: whoever claimed first among the claims that have
not expired holds the lease. A claim counts only after a pause and a second look, because a row can become visible a
little after the time that is written in it. The limit: two runs can both win if an insert of one row takes longer than
``SETTLE_SECONDS``, or on a cluster if the replicas lag by more than that.
"""
# ruff: noqa: S608  (identifiers cannot be query parameters; these come from our own settings)

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cdc.clickhouse import ClickHouse, ClickHouseError, Endpoint
from cdc.migration_model import MigrationError
from cdc.waiting import Deadline

LEASE_SECONDS = 30
"""After a crash the next run waits this long."""
SETTLE_SECONDS = 0.3


@contextmanager
def lease(
    endpoint: Endpoint, table: str, owner: str, *, wait_seconds: float, report: Callable[[str], None]
) -> Iterator[None]:
    """Hold the lease while the context is open; raise MigrationError after ``wait_seconds`` without it."""
    deadline = Deadline(wait_seconds)
    with ClickHouse.connect(endpoint, deadline) as connection:
        _acquire(connection, table, owner, deadline, report)
        stop = threading.Event()
        renewer = threading.Thread(target=_renew, args=(connection, table, owner, stop), daemon=True)
        renewer.start()
        try:
            yield
        finally:
            stop.set()
            renewer.join()
            _release(connection, table, owner)


def _acquire(connection: ClickHouse, table: str, owner: str, deadline: Deadline, report: Callable[[str], None]) -> None:
    told = False
    while True:
        _claim(connection, table, owner)
        holder = _holder(connection, table)
        if holder == owner:
            Deadline(SETTLE_SECONDS).sleep(SETTLE_SECONDS)
            holder = _holder(connection, table)
        if holder == owner:
            return
        _release(connection, table, owner)
        if deadline.expired:
            raise MigrationError(
                f"{holder} (host:process) is applying migrations and did not finish within {deadline.seconds:.0f} s. "
                f"Wait for it; if that process is dead, its lease ends by itself after {LEASE_SECONDS} s"
            )
        if not told:
            report(f"waiting for {holder}, which is applying migrations")
            told = True
        deadline.sleep(1.0)


def _claim(connection: ClickHouse, table: str, owner: str) -> None:
    """Insert a claim; a renewed one keeps the time at which it was first made."""
    connection.run(
        f"INSERT INTO {table} (owner, acquired, expires) SELECT '{owner}', "
        f"if(countIf(expires > now64(6)) = 0, now64(6), argMax(acquired, at)), "
        f"now64(6) + INTERVAL {LEASE_SECONDS} SECOND FROM (SELECT * FROM {table} WHERE owner = '{owner}' "
        f"ORDER BY at DESC LIMIT 1)"
    )


def _release(connection: ClickHouse, table: str, owner: str) -> None:
    connection.run(f"INSERT INTO {table} (owner, acquired, expires) SELECT '{owner}', now64(6), now64(6)")


def _holder(connection: ClickHouse, table: str) -> str:
    """Return who claimed first among those whose newest row has not expired; empty when nobody did."""
    rows = connection.rows(
        f"SELECT owner FROM (SELECT owner, argMax(acquired, at) AS since, argMax(expires, at) AS until "
        f"FROM {table} GROUP BY owner) WHERE until > now64(6) ORDER BY since, owner LIMIT 1"
    )
    return str(rows[0][0]) if rows else ""


def _renew(connection: ClickHouse, table: str, owner: str, stop: threading.Event) -> None:
    while not stop.wait(LEASE_SECONDS / 3):
        try:
            _claim(connection, table, owner)
        except ClickHouseError:
            # The server may be gone for a moment; the lease outlives two missed renewals.
            continue
