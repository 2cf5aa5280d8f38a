"""What the pipeline wants of a source database, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

Report = Callable[[str], None]
"""Takes one line about something that was done."""

PIPELINE_SCHEMA = "cdc"
HEARTBEAT, SIGNAL, SCHEMA_CHANGES = "cdc.heartbeat", "cdc.signal", "cdc.schema_changes"
PIPELINE_TABLES = {
    HEARTBEAT: frozenset({"SELECT", "INSERT", "UPDATE"}),
    SIGNAL: frozenset({"SELECT", "INSERT"}),
    SCHEMA_CHANGES: frozenset({"SELECT"}),
}
"""The pipeline's published tables, and what the connector may do with each (it signals watermarks by INSERT)."""
EVENT_TRIGGERS = {"cdc_ddl_command_end": "ddl_command_end", "cdc_sql_drop": "sql_drop"}


class Duty(Enum):
    """What a role is for; its rights follow from it."""

    CAPTURE = "capture"
    """Debezium: replicates, reads the captured tables, writes heartbeat and watermarks."""
    OPERATE = "operate"
    """Whoever watches and checks the pipeline: reads the captured tables and ``cdc``, sends signals."""
    READ = "read"
    """Exporters and dashboards: as OPERATE, but writes nothing at all."""
    APPLICATION = "application"
    """Writes rows as the shop would; only where the source is ours."""


@dataclass(frozen=True, kw_only=True)
class Role:
    """A role that can log in, with one duty."""

    name: str
    password: str = field(repr=False)
    duty: Duty


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """Desired state of one source. ``tables`` are the captured ones, ``schema.table``; ``roles`` one of each duty."""

    database: str
    roles: tuple[Role, ...]
    publication: str
    slot: str
    tables: tuple[str, ...]

    @property
    def schemas(self) -> tuple[str, ...]:
        """Schemas of the captured tables, sorted."""
        return tuple(sorted({table.partition(".")[0] for table in self.tables}))

    @property
    def published(self) -> frozenset[str]:
        """Everything that belongs in the publication."""
        return frozenset(self.tables) | PIPELINE_TABLES.keys()

    @property
    def mark(self) -> str:
        """Comment on role and publication that says whose they are: roles are shared by all databases."""
        return f"cdc pipeline of {self.database}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing the preflight saw; ``cure`` says what to do about it, in SQL where that helps."""

    level: Literal["error", "warning", "info"]
    thing: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.thing}. {self.cure}" if self.cure else self.thing


class SourceError(Exception):
    """The source can't be captured as asked; holds every finding, one a line."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        count = "1 thing stands" if len(findings) == 1 else f"{len(findings)} things stand"
        lines = "\n".join(f"  {number}. {finding}" for number, finding in enumerate(findings, 1))
        super().__init__(f"{count} in the way of capturing this database:\n{lines}")
