"""``python -m cdc reconcile``: compare, heal where asked, print, keep the result; once or on a schedule."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import psycopg
from clickhouse_driver.errors import Error as ClickHouseError
from confluent_kafka import KafkaException

from cdc import heal, reconcile
from cdc.compared_tables import SourceTable, TargetTable
from cdc.connect import ConnectError
from cdc.connections import Connections, NoStackError
from cdc.fence import FenceError, lsn_text
from cdc.postgres import PostgresError
from cdc.reconcile import KINDS, Comparison, ReconcileError, Result

SHOWN = 20
"""Differing keys printed for each table."""
RETRY_SECONDS = 60.0
"""After a scheduled run that could not compare, such as one that started before ClickHouse answered."""
FAILURES = (
    FenceError,
    ConnectError,
    ReconcileError,
    PostgresError,
    psycopg.Error,
    ClickHouseError,
    KafkaException,
    OSError,
    EOFError,
)
RESULT_COLUMNS = (
    "run_id, finished_at, source_table, fence_lsn, rows_source, rows_target, differences, missing, surplus, different,"
    " healed, seconds, error"
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """``tables`` as ``schema.table`` or by name alone, empty for all; ``timeout`` in seconds."""

    tables: tuple[str, ...] = ()
    heal: bool = False
    timeout: float = 120.0
    quiet: bool = False


def once(connections: Connections, options: Options) -> list[Result]:
    """Compare (and heal) once; prints and records. Raises one of FAILURES when nothing could be compared."""
    tables = chosen(connections, options.tables)
    with reconcile.comparison(connections, timeout=options.timeout, report=_reporter(options)) as running:
        results = reconcile.run(running, tables)
        if options.heal:
            results = [_healed(running, result) for result in results]
        for result in results:
            _print(running, result)
        record(running, results)
    return results


def status(results: Sequence[Result]) -> int:
    """Exit status: 0 all equal, 1 something differs, 2 something could not be compared."""
    if any(result.error for result in results):
        return 2
    return 0 if all(result.equal for result in results) else 1


def every(connections: Connections, options: Options, seconds: float) -> None:
    """Compare again and again, ``seconds`` from start to start; a run that fails is recorded, and
    the next comes sooner."""
    # As the first process of a container it would not hear SIGTERM otherwise.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        started, whole = time.monotonic(), False
        try:
            whole = not any(result.error for result in once(connections, replace(options, quiet=True)))
        except FAILURES as error:
            print(f"reconcile: {error}", file=sys.stderr, flush=True)
            _record_failure(connections, options, str(error), time.monotonic() - started)
        pause = seconds if whole else min(seconds, RETRY_SECONDS)
        time.sleep(max(0.0, started + pause - time.monotonic()))


def chosen(connections: Connections, names: Sequence[str]) -> list[str]:
    """The captured tables that ``names`` mean; all of them where there are none."""
    captured = [str(table) for table in connections.outputs["tables"]]
    if not names:
        return captured
    found = []
    for name in names:
        fitting = [table for table in captured if name in (table, table.partition(".")[2])]
        if len(fitting) != 1:
            raise NoStackError(f"{name} is not a captured table; there are {', '.join(captured)}")
        found += fitting
    return found


def record(running: Comparison, results: Sequence[Result]) -> None:
    """Keep the results in ``reconcile_results``: their metrics are made of it."""
    now = datetime.now(UTC)
    rows = [
        (
            running.run_id,
            now,
            result.table,
            result.fence,
            result.rows_source,
            result.rows_target,
            result.differing,
            result.count("missing"),
            result.count("surplus"),
            result.count("different"),
            result.healed,
            result.seconds,
            result.error,
        )
        for result in results
    ]
    running.client.execute(f"INSERT INTO reconcile_results ({RESULT_COLUMNS}) VALUES", rows)


def _healed(running: Comparison, result: Result) -> Result:
    if not result.differences:
        return result
    with running.snapshot() as (connection, _):
        shape = running.shape(connection, result.table)
    started = time.monotonic()
    left = heal.heal(running, shape, result.differences)
    return replace(
        result,
        differences=left,
        healed=len(result.differences) - len(left),
        seconds=result.seconds + time.monotonic() - started,
    )


def _print(running: Comparison, result: Result) -> None:
    if result.error:
        print(f"{result.table}: not compared: {result.error}", flush=True)
        return
    counts = f"{len(result.differences)} differences"
    if result.differences:
        kinds = (f"{result.count(kind)} {kind}" for kind in KINDS)
        counts += f" ({', '.join(kinds)})"
    print(
        f"{result.table}: {result.rows_source:,} rows in PostgreSQL, {result.rows_target:,} in ClickHouse, {counts}"
        f"{f', {result.healed} healed' if result.healed else ''}"
        f"{f', {result.unsettled} keys changed too fast to compare' if result.unsettled else ''}"
        f"; fence {lsn_text(result.fence)}, {result.seconds:.1f} s",
        flush=True,
    )
    for note in result.skipped:
        print(f"  not compared: {note}", flush=True)
    for line in _details(running, result):
        print(f"  {line}", flush=True)


def _details(running: Comparison, result: Result) -> list[str]:
    shown = result.differences[:SHOWN]
    lines = []
    if shown:
        with running.snapshot() as (connection, _):
            shape = running.shape(connection, result.table)
            keys = [difference.key for difference in shown if difference.kind == "different"]
            source = SourceTable(connection, shape).values(keys)
        target = TargetTable(running.client, shape).values(keys)
        names = [column.name for column in shape.columns]
        key_names = [column.name for column in shape.key]
        for difference in shown:
            key = ", ".join(f"{name} {text}" for name, text in zip(key_names, difference.key, strict=True))
            values = _columns(names, source.get(difference.key), target.get(difference.key))
            lines.append(f"{difference.kind:<9} {key}{values}")
    if len(result.differences) > SHOWN:
        lines.append(f"and {len(result.differences) - SHOWN} more")
    lines += [f"not looked into, but different: keys {each}" for each in result.cut_off[:SHOWN]]
    return lines


def _columns(names: Sequence[str], source: tuple[str | None, ...] | None, target: tuple[str | None, ...] | None) -> str:
    if source is None or target is None:
        return ""
    parts = [
        f"{name} {_text(left)} (ClickHouse {_text(right)})"
        for name, left, right in zip(names, source, target, strict=True)
        if left != right
    ]
    return f": {', '.join(parts)}" if parts else ""


def _text(value: str | None) -> str:
    return "NULL" if value is None else value if len(value) <= 60 else f"{value[:57]}..."


def _reporter(options: Options) -> reconcile.Report:
    def report(line: str) -> None:
        if not options.quiet:
            print(f"  {line}", file=sys.stderr, flush=True)

    return report


def _record_failure(connections: Connections, options: Options, message: str, seconds: float) -> None:
    """The failure is worth a row for each table, if ClickHouse can take it."""
    results = [Result(table=table, error=message, seconds=seconds) for table in chosen(connections, options.tables)]
    try:
        with reconcile.comparison(connections, timeout=1, report=lambda _line: None) as running:
            record(running, results)
    except FAILURES as error:
        print(f"reconcile: could not be recorded either: {error}", file=sys.stderr, flush=True)
