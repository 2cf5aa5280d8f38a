"""The reader of metric names, which other tests trust."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.monitoring.promql import metrics


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("up == 0", {"up"}),
        ('sum by (a) (rate(b_total{c="d_e", f=~"g{2}"}[5m])) > bool 14.4 * 0.001', {"b_total"}),
        ("a - on (x, y) group_left () b offset 15m or c:d:ratio_5m * 1e9", {"a", "b", "c:d:ratio_5m"}),
        ("absent(a) and on () vector(1) unless +Inf", {"a"}),
        ("max_over_time(rate(x_y[$__rate_interval])[$__range:1m])", {"x_y"}),
    ],
)
def test_names_are_found(expression: str, expected: set[str]) -> None:
    assert metrics(expression) == expected


def test_a_checker_is_brought_without_being_installed(promtool: Path, amtool: Path) -> None:
    """A Debian package would start its server; only the program is taken out of it."""
    for program in (promtool, amtool):
        assert "version" in subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
