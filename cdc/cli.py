"""``python -m cdc <verb>``: work a running pipeline."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cdc import latency, reconcile_run, smoke
from cdc.connections import Connections, NoStackError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; 0 when it succeeded, 1 when the pipeline failed it, 2 when it could not be asked."""
    options = _parser().parse_args(arguments)
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

    verb = verbs.add_parser("reconcile", help="compare ClickHouse with the source row by row: 0 equal, 1 different")
    verb.add_argument("--table", action="append", default=[], help="only this table; can be given more than once")
    verb.add_argument("--heal", action="store_true", help="read differing rows again, delete what the source has not")
    verb.add_argument("--every", type=float, metavar="SECONDS", help="again and again, from start to start")
    verb.add_argument("--timeout", type=float, default=120.0, help="seconds that ClickHouse may take to catch up")
    verb.set_defaults(run=_reconcile)
    return parser


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


def _reconcile(connections: Connections, options: argparse.Namespace) -> int:
    wanted = reconcile_run.Options(tables=tuple(options.table), heal=options.heal, timeout=options.timeout)
    if options.every:
        reconcile_run.every(connections, wanted, options.every)
    try:
        return reconcile_run.status(reconcile_run.once(connections, wanted))
    except reconcile_run.FAILURES as error:
        print(f"reconcile: {error}", file=sys.stderr)
        return 2
