"""The troubleshooting tree, walked from the source on until something is not well: that is the likely cause."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from cdc.connections import Connections
from cdc.findings import Finding, Level, Place, Question
from cdc.judgement import judge
from cdc.survey import Surveyor


def run(connections: Connections, console: Console) -> bool:
    """Look once and explain; whether all is well."""
    findings = judge(Surveyor(connections).look(), Place.of(connections))
    root = cause(findings)
    for line in walk(findings, root):
        console.print(line, soft_wrap=True)
    if root is None:
        console.print(Text("\nNothing is wrong that could be seen from here.", style="green"))
        return True
    console.print(Text(f"\nLikely cause: {root.cause}", style="bold"), soft_wrap=True)
    console.print(Text(f"Next:         {root.command}"), soft_wrap=True)
    console.print(Text(f"Runbook:      docs/runbooks/{root.runbook}.md"))
    return False


def cause(findings: list[Finding]) -> Finding | None:
    """The first critical finding, else the first that is not well: findings come in the order of causes."""
    critical = [finding for finding in findings if finding.level is Level.CRITICAL]
    return next(iter(critical or [finding for finding in findings if finding.level is Level.WARNING]), None)


def walk(findings: list[Finding], root: Finding | None) -> list[Text]:
    """Each question with the answers up to the root cause, and what else is not well."""
    lines: list[Text] = []
    for question in Question:
        answers = [finding for finding in findings if finding.question is question]
        if not answers:
            continue
        bad = [finding for finding in answers if finding.level > Level.OK]
        lines.append(Text(str(question), style="bold"))
        for finding in bad or answers[-1:]:
            mark, style = ("no ", "red") if bad else ("ok ", "green")
            pointer = "  <--" if finding is root else ""
            lines.append(Text(f"  {mark} {finding.part}: {finding.text}{pointer}", style=style))
    return lines
