"""The benchmark's page: only the marked part is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc.bench.load import BenchError, Throughput
from cdc.bench.report import BEGIN, END, render, write
from cdc.bench.run import Compared, Results, _mebibytes
from cdc.connections import Connections
from cdc.latency import Latency

PAGE = f"# Page\n\nbefore\n{BEGIN}\nold\n{END}\nafter\n"


def results() -> Results:
    latency = Latency(count=10, lost=1, rate=99.0, p50=0.4, p90=0.5, p99=0.6, worst=0.7)
    return Results(
        scale=0.5,
        inserted=Throughput(rows=1000, source_seconds=1.0, seconds=4.0),
        one_transaction=Throughput(rows=1000, source_seconds=3.0, seconds=8.0),
        mixed=Throughput(rows=100, source_seconds=1.0, seconds=2.0),
        compared=Compared(rows=1234, seconds=5.5, differences=0),
        snapshot=Throughput(rows=5000, source_seconds=0, seconds=2.0),
        latencies={100: latency},
        orders=77,
        queries={"orders: number": 0.25},
        memory={"b": 1024.0, "a": 512.0},
        seconds=90.0,
    )


def test_the_marked_part_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    write(page, "new")
    assert page.read_text() == PAGE.replace("old", "new")
    write(page, "newer")
    assert page.read_text() == PAGE.replace("old", "newer")


@pytest.mark.parametrize("text", ["# Page\n", PAGE + BEGIN, PAGE.replace(END, "")])
def test_a_page_without_its_marks_is_refused(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(BenchError, match="does not have the lines"):
        write(page, "new")
    assert page.read_text() == text


def test_every_figure_is_on_the_page() -> None:
    images = {"kafka": {"version": "4.3.1", "source": "built"}}
    text = render(results(), Connections(outputs={"images": images}), (0.1, 2.5))
    for part in (
        "scale 0.5",
        "load average 0.1 before, 2.5 after",
        "kafka 4.3.1 (built)",
        "| 1,000 | 1.0 s | 4.0 s | 250 |",
        "| inserts, one transaction | 1,000 | 3.0 s | 8.0 s | 125 |",
        "reconcile` of 1,234 orders right after these loads: 5.5 s, 0 keys differ",
        "| 100 | 1.0 s | 2.0 s | 50 |",
        "| 5,000 | | 2.0 s | 2,500 |",
        "| 100 rows/s wanted, 99 reached | 10 | 0.400 s | 0.500 s | 0.600 s | 0.700 s | 1 |",
        "| query with 77 orders loaded | median |",
        "| orders: number | 0.250 s |",
        "| a | 512 MiB |\n| b | 1,024 MiB |\n| all | 1,536 MiB |",
    ):
        assert part in text


@pytest.mark.parametrize(("text", "mebibytes"), [("512MiB", 512), ("1.5GiB", 1536), ("2048KiB", 2), ("1048576B", 1)])
def test_docker_units(text: str, mebibytes: float) -> None:
    assert _mebibytes(text) == mebibytes
