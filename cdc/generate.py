"""Play a shop on the source at a steady rate: what `generate` and `demo` do, and the load of fault tests."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

import psycopg

from cdc import shop_source
from cdc.connections import Connections
from cdc.shop import Shop
from cdc.shop_source import RowGoneError, ShopError
from cdc.waiting import Deadline

PATIENCE_SECONDS = 120.0
"""How long a source that is away is waited for."""
MOST_FAILURES_IN_A_ROW = 20
LONGEST_NAP = 0.05


@dataclass(kw_only=True)
class Progress:
    """What was committed so far. ``seconds`` since the start, ``behind`` seconds that the schedule is ahead."""

    rate: float
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    behind: float = 0.0
    changes: int = 0
    transactions: int = 0
    open_orders: int = 0
    reconnects: int = 0
    conflicts: int = 0
    tables: Counter[tuple[str, str]] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)

    def orders(self, kind: str) -> int:
        """Orders inserted, updated or deleted."""
        return self.tables["orders", kind]

    def summary(self) -> str:
        """The whole run in a few lines."""
        actions = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in self.actions.most_common())
        return (
            f"{self.changes:,} changes in {self.transactions:,} transactions in {self.seconds:.1f} s: "
            f"{self.changes / max(self.seconds, 1e-9):,.0f}/s of {self.rate:,.0f}/s wanted\n"
            f"orders: {self.orders('insert'):,} inserted, {self.orders('update'):,} updated, "
            f"{self.orders('delete'):,} deleted, {self.open_orders:,} open; "
            f"reconnected {self.reconnects}, conflicts with other writers {self.conflicts}\n"
            f"transactions: {actions or 'none'}"
        )


def run(
    connections: Connections,
    *,
    rate: float,
    seconds: float | None,
    seed: int | None,
    stop: threading.Event,
    show: Callable[[Progress], None],
) -> Progress:
    """Commit ``rate`` row changes per second for ``seconds``, or until ``stop`` is set; ``show`` is called each second.

    A source that goes away is waited for. Raises ShopError when the source is no shop or others keep changing its rows.
    """
    # Plays a shop; guards nothing.
    random = Random(seed)  # noqa: S311
    progress, fruitless = Progress(rate=rate), 0
    while not _over(progress, seconds, stop):
        before = progress.transactions
        try:
            with _connection(connections, stop, again=progress.reconnects > 0) as connection:
                _play(connection, random, progress, seconds, stop, show)
        except psycopg.OperationalError as error:
            fruitless = 0 if progress.transactions > before else fruitless + 1
            if fruitless > MOST_FAILURES_IN_A_ROW:
                raise ShopError(f"PostgreSQL takes no change any more: {error}") from None
            progress.reconnects += 1
            stop.wait(0.5)
    progress.seconds = time.monotonic() - progress.started
    return progress


def _over(progress: Progress, seconds: float | None, stop: threading.Event) -> bool:
    return stop.is_set() or (seconds is not None and time.monotonic() - progress.started >= seconds)


@contextmanager
def _connection(connections: Connections, stop: threading.Event, *, again: bool) -> Iterator[shop_source.Connection]:
    """A connection that holds the generator's lock. ``again``: after an outage the source is waited for, and so is the
    lock of the connection that died."""
    deadline, attempt = Deadline(PATIENCE_SECONDS), 0
    while True:
        try:
            connection = connections.postgres_application()
            shop_source.claim(connection)
            break
        except (psycopg.OperationalError, ShopError) as error:
            if not again or deadline.expired or stop.is_set():
                raise ShopError(f"PostgreSQL can't be worked: {str(error).strip()}") from None
            deadline.pause(attempt, most=2.0)
            attempt += 1
    with connection:
        yield connection


def _play(
    connection: shop_source.Connection,
    random: Random,
    progress: Progress,
    seconds: float | None,
    stop: threading.Event,
    show: Callable[[Progress], None],
) -> None:
    """Play until it is over. After an outage the schedule starts anew: what was missed is not made up in a burst."""
    shop, conflicts = _loaded(connection, random), 0
    started, done, shown = time.monotonic(), 0, time.monotonic()
    while not _over(progress, seconds, stop):
        now = time.monotonic()
        progress.seconds, progress.behind = now - progress.started, max(0.0, now - started - done / progress.rate)
        if now - shown >= 1.0:
            shown = now
            show(progress)
        if (early := started + done / progress.rate - now) > 0:
            # Short naps, so that the line of every second and the end come in time at any rate.
            time.sleep(min(early, LONGEST_NAP))
            continue
        transaction = shop.next()
        try:
            shop_source.commit(connection, transaction)
        except (RowGoneError, psycopg.IntegrityError, psycopg.errors.DeadlockDetected) as error:
            conflicts, progress.conflicts = conflicts + 1, progress.conflicts + 1
            if conflicts > MOST_FAILURES_IN_A_ROW:
                raise ShopError(f"other writers change the shop's rows faster than it can: {error}") from None
            shop = _loaded(connection, random)
            continue
        conflicts = 0
        done += len(transaction.changes)
        progress.changes += len(transaction.changes)
        progress.transactions += 1
        progress.actions[transaction.action] += 1
        progress.tables.update((change.table, change.kind) for change in transaction.changes)
        progress.open_orders = shop.open_orders


def _loaded(connection: shop_source.Connection, random: Random) -> Shop:
    shop = Shop(random=random, next_id=shop_source.Ids(connection))
    shop_source.load(connection, shop)
    return shop


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that a run ends with its summary."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Lines:
    """One line a second: what was committed in that second and so far."""

    def __init__(self) -> None:
        self._seconds, self._changes = 0.0, 0

    def __call__(self, progress: Progress) -> None:
        """Print the line."""
        pace = (progress.changes - self._changes) / max(progress.seconds - self._seconds, 1e-9)
        self._seconds, self._changes = progress.seconds, progress.changes
        print(
            f"{progress.seconds:6.0f} s  {pace:7,.0f} changes/s  {progress.changes:10,} so far  "
            f"orders +{progress.orders('insert'):,} ~{progress.orders('update'):,} -{progress.orders('delete'):,}  "
            f"open {progress.open_orders:,}" + (f"  {progress.behind:.1f} s behind" if progress.behind > 0.5 else ""),
            flush=True,
        )
