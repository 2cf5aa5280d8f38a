"""``python -m cdc <verb>``: work a running pipeline."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from cdc import (
    add_table,
    demo,
    doctor,
    exporter,
    generate,
    health,
    latency,
    reconcile_run,
    replay_errors,
    rewind,
    schema_diff,
    smoke,
    top,
)
from cdc.bench import load as bench_load
from cdc.bench import report as bench_report
from cdc.bench import run as bench_run
from cdc.connections import Connections, NoStackError
from cdc.shop_source import ShopError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; 0 when it succeeded, 1 when the pipeline failed it, 2 when it could not be asked."""
    options = _parser().parse_args(arguments)
    # The driver logs every refused connection with a trace; who asked says it in a line.
    logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)
    try:
        connections = Connections.load(options.outputs)
        return int(options.run(connections, options))
    except NoStackError as error:
        print(f"cdc: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cdc", description=__doc__)
    parser.add_argument("--outputs", help="file with the stack's outputs as JSON, - for standard input")
    verbs = parser.add_subparsers(required=True, metavar="verb")

    verb = verbs.add_parser("smoke", help="insert, update and delete an order and see each arrive")
    verb.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for each change")
    verb.set_defaults(run=_smoke)

    verb = verbs.add_parser("latency", help="commit-to-visible time at a steady rate")
    verb.add_argument("--rate", type=float, default=100.0, help="single-row transactions per second")
    verb.add_argument("--seconds", type=float, default=20.0, help="how long to insert")
    verb.set_defaults(run=_latency)

    verb = verbs.add_parser("add-table", help="write a table's ClickHouse migration from the live catalog, for review")
    verb.add_argument("table", help="schema.table")
    verb.add_argument("--number", type=int, help="number of the file (default: the next free one)")
    verb.add_argument("--without", action="append", default=[], metavar="COLUMN", help="leave a column out")
    verb.set_defaults(run=add_table.run)

    verb = verbs.add_parser("schema-diff", help="columns that differ between source and ClickHouse: 0 none, 1 some")
    verb.add_argument("--write", action="store_true", help="write the migrations that add what is missing, for review")
    verb.set_defaults(run=schema_diff.run)

    verb = verbs.add_parser("exporter", help="the pipeline's metrics for Prometheus, until it is ended")
    verb.add_argument("--port", type=int, default=9117, help="where to serve them")
    verb.add_argument(
        "--no-kafka-names", dest="kafka_names", action="store_false", help="leave topics and groups to a Kafka exporter"
    )
    verb.set_defaults(run=_exporter)

    for name, run, text in (
        (
            "generate",
            _generate,
            "play a shop on the source: orders placed, paid, shipped, corrected, cancelled, deleted",
        ),
        ("demo", _demo, "generate, and show each second what arrives in ClickHouse"),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("--rate", type=_positive, default=500.0, help="row changes per second, over all tables")
        verb.add_argument("--seconds", type=_positive, help="how long; without it until Ctrl-C or SIGTERM")
        verb.add_argument("--seed", type=int, help="make the same choices again on the same rows")
        verb.set_defaults(run=run)

    verb = verbs.add_parser("health", help="the daily check: every hop, well (0), with a warning (1) or broken (2)")
    verb.set_defaults(run=lambda connections, _: health.run(connections, Console()))

    verb = verbs.add_parser("doctor", help="name the likely cause of trouble and the next command")
    verb.set_defaults(run=lambda connections, _: 0 if doctor.run(connections, Console()) else 1)

    verb = verbs.add_parser("top", help="live view of the hops: rates, lag, freshness, slot, errors")
    verb.add_argument("--every", type=_positive, default=2.0, help="seconds between looks")
    verb.add_argument("--count", type=int, help="stop after so many looks; without it at Ctrl-C")
    verb.set_defaults(run=_top)

    verb = verbs.add_parser("bench", help="measure throughput, latency, queries and memory; leaves millions of rows")
    verb.add_argument("--scale", type=_positive, default=1.0, help="share of the full size; 0.01 for a trial")
    verb.add_argument("--write", type=Path, help="page whose marked part becomes the figures")
    verb.set_defaults(run=_bench)

    _add_proof_and_repair(verbs)
    return parser


def _add_proof_and_repair(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = verbs.add_parser("reconcile", help="compare ClickHouse with the source row by row: 0 equal, 1 different")
    verb.add_argument("--table", action="append", default=[], help="only this table; can be given more than once")
    verb.add_argument("--heal", action="store_true", help="read differing rows again, delete what the source has not")
    verb.add_argument("--every", type=float, metavar="SECONDS", help="again and again, from start to start")
    verb.add_argument("--timeout", type=float, default=120.0, help="seconds that ClickHouse may take to catch up")
    verb.set_defaults(run=_reconcile)

    verb = verbs.add_parser("replay-errors", help="send quarantined messages through again: 0 none left, 1 some are")
    verb.add_argument("--table", help="only those of this table")
    verb.add_argument("--dry-run", action="store_true", help="say what would be sent")
    verb.add_argument("--timeout", type=_positive, default=120.0, help="seconds that ClickHouse may take to read them")
    verb.set_defaults(run=_replay_errors)

    verb = verbs.add_parser("rewind", help="let ClickHouse read its topics again from the oldest message on")
    verb.add_argument("--table", action="append", default=[], help="only this table; can be given more than once")
    verb.add_argument("--since", type=_moment, help="from this time on, such as 2026-01-31T12:00:00+00:00")
    verb.set_defaults(run=lambda connections, o: rewind.run(connections, tables=o.table, since=o.since))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


def _exporter(connections: Connections, options: argparse.Namespace) -> int:
    return exporter.serve(connections, port=options.port, kafka_names=options.kafka_names)


def _smoke(connections: Connections, options: argparse.Namespace) -> int:
    try:
        steps = smoke.run(connections, timeout=options.timeout)
    except smoke.NotVisibleError as error:
        print(f"smoke: {error}", file=sys.stderr)
        return 1
    for step in steps:
        shown = "gone" if step.row is None else f"quantity {step.row[2]}, total {step.row[5]}, {step.row[6]}"
        print(f"{step.change:<7} visible after {step.seconds * 1000:5.0f} ms   {shown}")
    return 0


def _latency(connections: Connections, options: argparse.Namespace) -> int:
    figures = latency.measure(connections, rate=options.rate, seconds=options.seconds)
    print(
        f"{figures.count} rows at {figures.rate:.0f}/s, commit to visible: p50 {figures.p50:.3f} s, "
        f"p90 {figures.p90:.3f} s, p99 {figures.p99:.3f} s, max {figures.worst:.3f} s, lost {figures.lost}"
    )
    return 1 if figures.lost else 0


def _generate(connections: Connections, options: argparse.Namespace) -> int:
    return _played(
        lambda stop: generate.run(
            connections,
            rate=options.rate,
            seconds=options.seconds,
            seed=options.seed,
            stop=stop,
            show=generate.Lines(),
        )
    )


def _demo(connections: Connections, options: argparse.Namespace) -> int:
    return _played(
        lambda stop: demo.run(connections, rate=options.rate, seconds=options.seconds, seed=options.seed, stop=stop)
    )


def _played(play: Callable[[threading.Event], generate.Progress]) -> int:
    try:
        with generate.stopped_by_signals() as stop:
            progress = play(stop)
    except ShopError as error:
        print(f"generate: {error}", file=sys.stderr)
        return 1
    print(progress.summary())
    return 0


def _top(connections: Connections, options: argparse.Namespace) -> int:
    try:
        top.run(connections, Console(), every=options.every, count=options.count)
    except KeyboardInterrupt:
        return 0
    return 0


def _bench(connections: Connections, options: argparse.Namespace) -> int:
    started, before = time.monotonic(), os.getloadavg()[0]
    try:
        results = bench_run.run(
            connections,
            scale=options.scale,
            show=lambda line: print(f"{time.monotonic() - started:6.0f} s  {line}", flush=True),
        )
        text = bench_report.render(results, connections, (before, os.getloadavg()[0]))
        print(text)
        if options.write:
            bench_report.write(options.write, text)
    except bench_load.BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _reconcile(connections: Connections, options: argparse.Namespace) -> int:
    wanted = reconcile_run.Options(tables=tuple(options.table), heal=options.heal, timeout=options.timeout)
    if options.every:
        reconcile_run.every(connections, wanted, options.every)
    try:
        return reconcile_run.status(reconcile_run.once(connections, wanted))
    except reconcile_run.FAILURES as error:
        print(f"reconcile: {error}", file=sys.stderr)
        return 2


def _replay_errors(connections: Connections, options: argparse.Namespace) -> int:
    replay_errors.check_table(connections, options.table)
    return replay_errors.run(connections, table=options.table, dry_run=options.dry_run, timeout=options.timeout)
