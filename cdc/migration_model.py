"""What the migrations are made of, for every engine: statements with a meaning, records, and what a target must offer.

Every statement has one of three meanings:

* ``ONCE``        runs once (tables that hold data, ALTER, INSERT). Never run again, never changed.
* ``REPEATABLE``  may run again at any time (MODIFY TTL, CREATE OR REPLACE FUNCTION), and does when a parameter changes.
* ``DEFINITION``  defines an object that holds no data (view, Kafka table). The newest file that states the object is
  the truth, and the target makes the database match it at the end of every run.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from cdc import sqltext

State = Literal["started", "done", "failed", "again"]


class MigrationError(Exception):
    """A plan was refused or a statement failed; the message names the file, the statement and the cure."""


class Kind(Enum):
    """How often a statement runs; see the module's text."""

    ONCE = "once"
    REPEATABLE = "repeatable"
    DEFINITION = "definition"


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a target reads in a statement.

    ``name`` is the object that the statement makes (or, with ``retires``, removes); empty for other statements.
    ``resumable`` says that running it a second time does no harm, so that a run whose end nobody saw may be repeated.
    """

    kind: Kind
    name: str = ""
    retires: bool = False
    resumable: bool = False


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement of a file: ``source`` as written, ``sql`` with its parameters filled in."""

    version: int
    file: str
    number: int
    line: int
    source: str
    sql: str
    meaning: Meaning

    def __str__(self) -> str:
        """Return where the statement is and how it begins, for messages."""
        return f"{self.file} statement {self.number} (line {self.line}: {sqltext.first_line(self.sql)})"


@dataclass(frozen=True, kw_only=True)
class MigrationFile:
    """A numbered file with its statements; ``checksum`` is the sha256 of its bytes."""

    version: int
    name: str
    checksum: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of the history. ``statement`` 0 stands for the whole file.

    ``checksum`` is that of the source, ``rendered`` that of the SQL with its parameters filled in.
    """

    version: int
    name: str
    statement: int
    checksum: str
    rendered: str
    state: State
    error: str = ""
    duration_ms: int = 0


class Dialect(Protocol):
    """What can be said about an engine's statements without asking a server."""

    backslash_escapes: bool
    """Whether a backslash escapes inside a plain string of this engine."""

    def meaning(self, sql: str) -> Meaning:
        """Classify a statement; raise MigrationError for one that this engine's migrations may not hold."""


class MigrationTarget(Dialect, Protocol):
    """What a database must offer to be migrated."""

    def lock(self) -> AbstractContextManager[None]:
        """Hold off every other run while the context is open; also make the history table exist."""

    def scope(self, file: MigrationFile) -> AbstractContextManager[None]:
        """Wrap one file: a transaction where DDL is transactional, nothing elsewhere."""

    def history(self) -> Sequence[Record]:
        """Return all records, oldest first; empty when there is no history yet."""

    def record(self, record: Record) -> None:
        """Append a record."""

    def execute(self, sql: str) -> None:
        """Run one statement; whatever it raises becomes a MigrationError that names the statement."""

    def prepare(self, plan: "Plan") -> None:
        """Run before the steps, inside the lock."""

    def finish(self, plan: "Plan") -> None:
        """Make the definitions match, inside the lock, after the steps."""

    def abandon(self, plan: "Plan") -> None:
        """Undo ``prepare`` as far as possible after an error."""

    def settle(self, statement: Statement, state: State) -> str:
        """Return the SQL that records by hand how an interrupted statement ended."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does: ``steps`` in order, then ``definitions`` (by name) match, ``retired`` ones are gone."""

    files: tuple[MigrationFile, ...]
    pending: tuple[MigrationFile, ...]
    steps: tuple[Statement, ...]
    definitions: Mapping[str, Statement]
    retired: frozenset[str]

    @property
    def version(self) -> int:
        """The schema's version once the plan has run."""
        return self.files[-1].version if self.files else 0


def checksum(text: str) -> str:
    """Return the sha256 of a text as hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
