"""The daily check in one screen: every hop, well or not."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cdc.connections import Connections
from cdc.findings import Finding, Level, Place, worst
from cdc.judgement import judge
from cdc.survey import Surveyor

PARTS = ("PostgreSQL", "Kafka Connect", "Kafka", "ClickHouse")
"""In the order of the data."""
MARKS = {Level.OK: ("ok", "green"), Level.WARNING: ("WARNING", "yellow"), Level.CRITICAL: ("CRITICAL", "bold red")}


def run(connections: Connections, console: Console) -> Level:
    """Look once, print, and return how bad it is."""
    findings = judge(Surveyor(connections).look(), Place.of(connections))
    console.print(screen(findings))
    level = worst(findings)
    if level is Level.OK:
        console.print(Text("all is well", style="green"))
    else:
        bad = sum(finding.level > Level.OK for finding in findings)
        console.print(Text(f"{bad} of {len(findings)} checks are not well: `make doctor` names the cause"))
    return level


def screen(findings: list[Finding]) -> Table:
    """The findings by part."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("part", "state", "what was seen", "docs/runbooks/"):
        table.add_column(column, overflow="fold", no_wrap=column == "docs/runbooks/")
    for part in PARTS:
        shown = part
        for finding in (each for each in findings if each.part == part):
            mark, style = MARKS[finding.level]
            table.add_row(shown, Text(mark, style=style), Text(finding.text), finding.runbook)
            shown = ""
    return table
