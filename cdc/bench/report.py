"""The benchmark's figures as a page: what is between two marks is written, the rest of the page is left alone."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cdc.bench.load import BenchError
from cdc.bench.run import Results
from cdc.connections import Connections

BEGIN: Final = "<!-- written by `make bench` -->"
END: Final = "<!-- end of what `make bench` writes -->"


def write(path: Path, text: str) -> None:
    """Put ``text`` between the marks of the page. Raises BenchError when it has none."""
    page = path.read_text()
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise BenchError(f"{path} does not have the lines {BEGIN} and {END} once each; restore them")
    before, rest = page.split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


def render(results: Results, connections: Connections, loads: tuple[float, float]) -> str:
    """Markdown of the figures; ``loads`` are the machine's load averages before and after."""
    versions = ", ".join(
        f"{part} {image['version']} ({image['source']})" for part, image in connections.outputs["images"].items()
    )
    inserted, one, mixed, snapshot = results.inserted, results.one_transaction, results.mixed, results.snapshot
    compared = results.compared
    lines = [
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC in {results.seconds / 60:.0f} min at scale {results.scale:g} "
        f"on {os.cpu_count()} cores ({_processor()}), {_memory_gib():.0f} GiB, "
        f"{platform.system()} {platform.release()}; "
        f"load average {loads[0]:.1f} before, {loads[1]:.1f} after (the benchmark's own included).",
        f"Versions: {versions}.",
        "",
        "| throughput, end to end | rows | committed within | all visible after | rows/s |",
        "|---|---|---|---|---|",
        _row("inserts, 10,000 a transaction", inserted.rows, inserted.source_seconds, inserted.seconds, inserted.rate),
        _row("inserts, one transaction", one.rows, one.source_seconds, one.seconds, one.rate),
        _row("60/30/10 inserts, updates, deletes", mixed.rows, mixed.source_seconds, mixed.seconds, mixed.rate),
        f"| initial snapshot, PostgreSQL to Kafka | {snapshot.rows:,} | | {snapshot.seconds:.1f} s "
        f"| {snapshot.rate:,.0f} |",
        "",
        f"`reconcile` of {compared.rows:,} orders right after these loads: {compared.seconds:.1f} s, "
        f"{compared.differences} keys differ.",
        "",
        "| commit to visible at | rows | p50 | p90 | p99 | max | lost |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {rate:,} rows/s wanted, {found.rate:,.0f} reached | {found.count:,} | {found.p50:.3f} s "
            f"| {found.p90:.3f} s | {found.p99:.3f} s | {found.worst:.3f} s | {found.lost} |"
            for rate, found in results.latencies.items()
        ),
        "",
        f"| query with {results.orders:,} orders loaded | median |",
        "|---|---|",
        *(f"| {name} | {seconds:.3f} s |" for name, seconds in results.queries.items()),
        "",
        "| container | highest memory |",
        "|---|---|",
        *(f"| {name} | {used:,.0f} MiB |" for name, used in sorted(results.memory.items())),
        f"| all | {sum(results.memory.values()):,.0f} MiB |",
    ]
    return "\n".join(lines)


def _row(name: str, rows: int, committed: float, seconds: float, rate: float) -> str:
    return f"| {name} | {rows:,} | {committed:.1f} s | {seconds:.1f} s | {rate:,.0f} |"


def _processor() -> str:
    found = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return found[0].split(":", 1)[1].strip() if found else platform.machine()


def _memory_gib() -> float:
    found = [line for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return int(found[0].split()[1]) / 1024**2 if found else 0.0


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []
