"""Findings of a look at the pipeline: what was checked, how it is, and if not well the cause and the next command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Self

from cdc.connections import Connections


class Level(IntEnum):
    """How bad a finding is; also the exit status."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


class Question(StrEnum):
    """The troubleshooting tree, asked from top to bottom."""

    FLOWS = "Is data flowing?"
    LATE = "Is it late?"
    MISSING = "Is anything missing?"
    RESOURCES = "Are resources short?"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check. ``cause``, ``command`` and ``runbook`` (its file's name) are empty when all is well."""

    question: Question
    part: str
    level: Level
    text: str
    cause: str = ""
    command: str = ""
    runbook: str = ""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the parts are, for commands that can be pasted."""

    connect_url: str
    connector: str
    containers: Mapping[str, str]

    @classmethod
    def of(cls, connections: Connections) -> Self:
        """The place that the stack's outputs tell."""
        outputs = connections.outputs
        return cls(
            connect_url=connections.connect_url,
            connector=str(outputs["connectorName"]),
            containers=outputs.get("containers", {}),
        )

    def restart(self, part: str) -> str:
        """Restart the container of a part."""
        return f"docker restart {self.containers.get(part, part)}"

    def logs(self, part: str) -> str:
        """Show what a part said last."""
        return f"docker logs --tail 50 {self.containers.get(part, part)}"

    def call(self, method: str, action: str) -> str:
        """Ask Kafka Connect to do something with the connector."""
        return f"curl -X {method} '{self.connect_url}/connectors/{self.connector}/{action}'"


def worst(findings: list[Finding]) -> Level:
    """The level of the worst finding."""
    return max((finding.level for finding in findings), default=Level.OK)


def check(
    question: Question,
    part: str,
    bad: Level | bool,
    text: str,
    *,
    cause: str,
    command: str,
    runbook: str,
) -> Finding:
    """A finding that is well unless ``bad``; True means critical."""
    level = (Level.CRITICAL if bad else Level.OK) if isinstance(bad, bool) else bad
    if level is Level.OK:
        return Finding(question=question, part=part, level=level, text=text)
    return Finding(question=question, part=part, level=level, text=text, cause=cause, command=command, runbook=runbook)


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def span(seconds: float) -> str:
    """A length of time, rounded."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days" if seconds < float("inf") else "for ever"


def ago(seconds: float) -> str:
    """How long ago something was."""
    return f"{seconds:.1f} s ago" if seconds < 10 else f"{span(seconds)} ago"
