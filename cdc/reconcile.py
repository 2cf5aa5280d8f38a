"""Prove that ClickHouse shows what PostgreSQL holds, on a live system and without locking it; say which rows do not.

One snapshot of PostgreSQL is compared with ClickHouse, which has everything of that snapshot (``cdc.fence``) and may
have newer changes. So a key that differs there is only a candidate: it counts when it differs although the source's row
did not change from before a later fence until after ClickHouse was read.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import psycopg
from clickhouse_driver import Client

from cdc.canonical import Shape, shape
from cdc.compared_tables import HASH_BITS, SourceRow, SourceTable, TargetRow, TargetTable, prepare
from cdc.connections import Connections
from cdc.fence import Fence, queues
from cdc.postgres import Connection, PostgresError, value
from cdc.ranges import Key, Range, compare
from cdc.table_model import read_table
from cdc.waiting import Deadline

MOST_KEYS = 100_000
"""Differing keys of a table that are looked at; beyond, something greater is wrong than single rows."""
ROUNDS = 5
"""How often a key that keeps changing is looked at again."""
WIDEST = 1 << 62
"""Whole-number keys that lie further apart are compared by their hashes."""
Kind = Literal["missing", "surplus", "different"]
KINDS: tuple[Kind, ...] = ("missing", "surplus", "different")
Report = Callable[[str], None]


class ReconcileError(Exception):
    """A table can't be compared; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A key that differs for certain. ``missing`` in ClickHouse, ``surplus`` there, or ``different`` in a value."""

    key: Key
    kind: Kind


Certain = dict[Shape, list[Difference]]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What comparing one table found. ``fence`` is a WAL position, ``unsettled`` keys changed faster than they could be
    compared, ``cut_off`` ranges differ and were not looked into."""

    table: str
    fence: int = 0
    rows_source: int = 0
    rows_target: int = 0
    differences: tuple[Difference, ...] = ()
    unsettled: int = 0
    cut_off: tuple[Range, ...] = ()
    skipped: tuple[str, ...] = ()
    healed: int = 0
    seconds: float = 0.0
    error: str = ""

    def count(self, kind: Kind) -> int:
        """How many keys differ in this way."""
        return sum(difference.kind == kind for difference in self.differences)

    @property
    def differing(self) -> int:
        """How many keys differ; a range that was not looked into counts as one."""
        return len(self.differences) + len(self.cut_off)

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same."""
        return not (self.differences or self.cut_off or self.error)


@dataclass(kw_only=True)
class Comparison:
    """Everything that a run needs, open for its time."""

    connections: Connections
    client: Client
    fence: Fence
    timeout: float
    report: Report
    run_id: uuid.UUID = field(default_factory=uuid.uuid4)

    @contextmanager
    def snapshot(self) -> Iterator[tuple[Connection, int]]:
        """One moment of the source, and a WAL position behind everything that was committed by then."""
        with self.connections.postgres_operator(autocommit=False) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            prepare(connection)
            yield connection, position(connection)

    def shape(self, connection: Connection, table: str) -> Shape:
        """How ``table`` is compared."""
        name = table.partition(".")[2]
        columns = self.client.execute(
            "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = %(name)s",
            {"name": name},
        )
        if not columns:
            raise ReconcileError(f"ClickHouse has no {name}: no migration in sql/clickhouse brings {table} there")
        return shape(read_table(connection, table), {str(column): str(kind) for column, kind in columns})

    def wait(self, fence: int, tables: Sequence[str]) -> None:
        """Wait until ClickHouse has what was committed before ``fence``."""
        names = [table.partition(".")[2] for table in tables]
        self.fence.wait(fence, names, Deadline(self.timeout), self.report)

    def recheck(self, pending: Mapping[Shape, Sequence[Key]]) -> tuple[Certain, dict[Shape, list[Key]]]:
        """Which keys differ for certain, and which were written to meanwhile and say nothing. One fence for all."""
        with self.snapshot() as (connection, low):
            before = {each: SourceTable(connection, each).rows(keys) for each, keys in pending.items()}
        self.wait(low, [each.table for each in pending])
        targets = {each: TargetTable(self.client, each).rows(keys) for each, keys in pending.items()}
        with self.snapshot() as (connection, high):
            after = {each: SourceTable(connection, each).rows(keys) for each, keys in pending.items()}
        certain: Certain = {}
        moving: dict[Shape, list[Key]] = {}
        for each, keys in pending.items():
            for key in keys:
                source, target = before[each].get(key), targets[each].get(key)
                changed = source != after[each].get(key)
                if changed or (source is None and target is not None and low < target.lsn <= high):
                    moving.setdefault(each, []).append(key)
                elif kind := _kind(source, target):
                    certain.setdefault(each, []).append(Difference(key=key, kind=kind))
        return certain, moving

    def settle(self, pending: Mapping[Shape, Sequence[Key]]) -> tuple[Certain, dict[Shape, int]]:
        """Look at keys again until each is certain; the second figure counts those that never were."""
        certain: Certain = {}
        left = {each: list(keys) for each, keys in pending.items() if keys}
        for _ in range(ROUNDS):
            if not left:
                break
            for each, keys in left.items():
                self.report(f"{each.table}: looking again at {len(keys)} keys that differed")
            differences, left = self.recheck(left)
            for each, found in differences.items():
                certain.setdefault(each, []).extend(found)
        for found in certain.values():
            found.sort(key=lambda difference: _sortable(difference.key))
        return certain, {each: len(keys) for each, keys in left.items()}


@contextmanager
def comparison(connections: Connections, *, timeout: float, report: Report) -> Iterator[Comparison]:
    """Open what a run needs; ``timeout`` is how long ClickHouse may take to catch up, in seconds."""
    client = connections.clickhouse_operator()
    fence = Fence(connections.kafka, queues(client))
    try:
        yield Comparison(connections=connections, client=client, fence=fence, timeout=timeout, report=report)
    finally:
        fence.close()
        client.disconnect()


def run(running: Comparison, tables: Sequence[str]) -> list[Result]:
    """Compare ``tables`` with one snapshot of the source. A table that can't be compared has its ``error``."""
    results: list[Result] = []
    pending: dict[Shape, tuple[Key, ...]] = {}
    with running.snapshot() as (connection, fence):
        shapes = {table: _shape(running, connection, table) for table in tables}
        running.report(f"waiting until ClickHouse is past the fence of {len(tables)} tables")
        running.wait(fence, [table for table, each in shapes.items() if isinstance(each, Shape)])
        for table, each in shapes.items():
            if isinstance(each, Shape):
                result, compared, keys = _compare(running, connection, each, fence)
                results.append(result)
                pending[compared] = keys
            else:
                results.append(Result(table=table, fence=fence, error=each))
    return _settled(running, results, pending)


def position(connection: Connection) -> int:
    """Where the source's WAL is written now."""
    return int(value(connection, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"))


def _shape(running: Comparison, connection: Connection, table: str) -> Shape | str:
    try:
        return running.shape(connection, table)
    except (ReconcileError, PostgresError, ValueError) as error:
        return str(error)


def _compare(
    running: Comparison, connection: Connection, shape_: Shape, fence: int
) -> tuple[Result, Shape, tuple[Key, ...]]:
    started = time.monotonic()
    shape_, whole = _whole(running, connection, shape_)
    running.report(f"{shape_.table}: comparing")
    found = compare(
        SourceTable(connection, shape_),
        TargetTable(running.client, shape_),
        whole,
        most_keys=MOST_KEYS,
        report=lambda line: running.report(f"{shape_.table}: {line}"),
    )
    result = Result(
        table=shape_.table,
        fence=fence,
        rows_source=found.rows_source,
        rows_target=found.rows_target,
        cut_off=found.cut_off,
        skipped=shape_.skipped,
        seconds=time.monotonic() - started,
    )
    return result, shape_, found.keys


def _whole(running: Comparison, connection: Connection, shape_: Shape) -> tuple[Shape, list[Range]]:
    """The ranges that hold all rows of both sides: the source's own, and what ClickHouse has before and behind it.

    Apart, because one stray key far away would put all others into one bucket.
    """
    if shape_.position:
        source, target = SourceTable(connection, shape_).bounds(), TargetTable(running.client, shape_).bounds()
        ends = [end for bounds in (source, target) if bounds for end in bounds]
        if not ends:
            return shape_, []
        if max(map(abs, ends)) < WIDEST:
            low, high = source or (min(ends), max(ends))
            cuts = sorted({min(ends), low, high + 1, max(ends) + 1})
            return shape_, [Range(low=start, high=end) for start, end in pairwise(cuts)]
    return replace(shape_, position=""), [Range(low=0, high=1 << HASH_BITS)]


def _settled(running: Comparison, results: list[Result], pending: Mapping[Shape, Sequence[Key]]) -> list[Result]:
    started = time.monotonic()
    certain, moving = running.settle(pending)
    seconds = time.monotonic() - started
    differences = {each.table: tuple(found) for each, found in certain.items()}
    unsettled = {each.table: count for each, count in moving.items()}
    waited = {each.table for each, keys in pending.items() if keys}
    return [
        replace(
            result,
            differences=differences.get(result.table, ()),
            unsettled=unsettled.get(result.table, 0),
            seconds=result.seconds + (seconds if result.table in waited else 0),
        )
        for result in results
    ]


def _kind(source: SourceRow | None, target: TargetRow | None) -> Kind | None:
    """How a row that stands still differs; None where it does not."""
    if source is None:
        return None if target is None else "surplus"
    if target is None:
        return "missing"
    return None if source.hash == target.hash else "different"


def _sortable(key: Key) -> tuple[tuple[int, str], ...]:
    """Numbers in their order: shorter ones first."""
    return tuple((len(text), text) for text in key)
