"""The objects of the ClickHouse schema, as they should be and as they are.

Tables with data are never dropped and never made anew: what is wrong with them is reported. Everything else (Kafka
and Null tables, views, materialized views) is made to match: what was not consumed waits in Kafka, and the offsets are
there too. To make one of the objects on the ingest path anew, all of them are: first the views that read from Kafka
tables go, which stops consumption; they come back last.
"""
# ruff: noqa: S608  (identifiers cannot be query parameters; these come from our own migrations)

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from cdc import sqltext
from cdc.clickhouse import ClickHouse, ClickHouseError
from cdc.migration_model import Kind, MigrationError, Plan, Statement, checksum

_VIEW = "View"
_PATH_ENGINES = frozenset({"Kafka", "Null", "Distributed", "Merge", "MaterializedView"})


@dataclass(frozen=True, kw_only=True)
class Live:
    """An object as the server describes it."""

    engine: str
    definition: str


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """An object as it was after the migrations last touched it; ``statement`` is empty for a table with data."""

    statement: str
    definition: str
    server: str


class Objects:
    """The objects of one database."""

    def __init__(
        self, connection: ClickHouse, database: str, *, on_cluster: str, report: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self._database = database
        self._cluster = on_cluster
        self._report = report
        self._before: dict[str, str] = {}
        self._rebuilding = False

    def live(self) -> dict[str, Live]:
        """Return every object of the database by name."""
        rows = self._connection.rows(
            f"SELECT name, engine, create_table_query FROM system.tables WHERE database = '{self._database}'"
        )
        return {str(name): Live(engine=str(engine), definition=str(query)) for name, engine, query in rows}

    def remembered(self) -> dict[str, Remembered]:
        """Return what the migrations noted down about their objects; empty before the first run."""
        if not self._connection.rows(
            f"SELECT 1 FROM system.tables WHERE database = '{self._database}' AND name = 'schema_objects'"
        ):
            return {}
        rows = self._connection.rows(
            f"SELECT name, statement, definition, server FROM {self._database}.schema_objects FINAL "
            "WHERE definition != ''"
        )
        return {str(n): Remembered(statement=str(s), definition=str(d), server=str(v)) for n, s, d, v in rows}

    def server(self) -> str:
        """Return the server's version."""
        return str(self._connection.rows("SELECT version()")[0][0])

    def drift(self) -> list[str]:
        """Say which objects are gone or differ from what the migrations made, and the cure; empty when none.

        After an upgrade of the server nothing is compared until the next run: another version may write the same
        definition in other words.
        """
        live, server = self.live(), self.server()
        return [
            _finding(self._database, name, live.get(name), note)
            for name, note in sorted(self.remembered().items())
            if _differs(live.get(name), note, server)
        ]

    def prepare(self, plan: Plan) -> None:
        """Decide what is to be made anew, and pause ingestion if that is on its path."""
        live, remembered, server = self.live(), self.remembered(), self.server()
        _refuse_tables_with_data(self._database, plan, live)
        stale = [name for name, note in remembered.items() if note.statement and _differs(live.get(name), note, server)]
        stale += [
            name
            for name, statement in plan.definitions.items()
            if name in live and (name not in remembered or remembered[name].statement != checksum(statement.sql))
        ]
        stale += [name for name in plan.retired if name in live]
        self._rebuilding = any(_is_on_path(name, plan, live) for name in stale)
        if self._rebuilding:
            self._before = {name: item.definition for name, item in live.items() if item.engine in _PATH_ENGINES}
            self._report("pausing ingestion: " + ", ".join(sorted(stale)) + " will be made anew")
            self._drop(_heads(self._before, live))

    def finish(self, plan: Plan) -> None:
        """Make every object without data match, note all definitions down, refuse to go on over drifted tables."""
        live, remembered = self.live(), self.remembered()
        self._drop(name for name in plan.retired if name in live)
        for statement in self._due(plan, live, remembered):
            self._create(statement, exists=statement.meaning.name in live)
        self._before, self._rebuilding = {}, False
        drifted = self._remember(plan, remembered)
        if drifted:
            raise MigrationError("Tables with data differ from what the migrations made:\n" + "\n".join(drifted))

    def abandon(self) -> None:
        """Put the ingest path back as it was before ``prepare``; a failure is reported, and mended by the next run."""
        if not self._rebuilding:
            return
        try:
            live = self.live()
            on_path = {name: item.definition for name, item in live.items() if item.engine in _PATH_ENGINES}
            changed = {name for name, text in on_path.items() if self._before.get(name) != text}
            if changed:
                heads = _heads(on_path, live)
                self._drop([*heads, *(name for name in on_path if name not in heads)])
            for name, text in _creation_order(self._before):
                if changed or name not in on_path:
                    target = f"{self._database}.{name}"
                    self._connection.run(text.replace(target, f"{target} {self._cluster}", 1))
            self._report("ingestion goes on as before")
        except ClickHouseError as error:
            self._report(f"ingestion stays paused, messages wait in Kafka; the next run mends it: {error}")

    def _due(self, plan: Plan, live: Mapping[str, Live], remembered: Mapping[str, Remembered]) -> Iterator[Statement]:
        """Yield the statements to run: what writes to the path first, what starts the flow last."""
        server = self.server()
        if self._rebuilding:
            on_path = [name for name, item in live.items() if item.engine in _PATH_ENGINES and name in plan.definitions]
            order = {name: place for place, name in enumerate(plan.definitions)}
            self._drop(sorted(on_path, key=lambda name: order[name], reverse=True))
        sql = {name: statement.sql for name, statement in plan.definitions.items()}
        heads = _heads(sql, live)
        for name in [*(name for name in sql if name not in heads), *heads]:
            note = remembered.get(name)
            restated = note is None or note.statement != checksum(sql[name])
            rebuilt = self._rebuilding and not _is_view(sql[name])
            if rebuilt or restated or (note is not None and _differs(live.get(name), note, server)):
                yield plan.definitions[name]

    def _create(self, statement: Statement, *, exists: bool) -> None:
        name = statement.meaning.name
        try:
            if exists and not sqltext.bare(statement.sql).upper().startswith("CREATE OR REPLACE"):
                self._drop([name])
            self._connection.run(statement.sql)
        except ClickHouseError as error:
            raise MigrationError(f"{statement} failed: {error}. Correct it and start again") from error

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            self._connection.run(f"DROP TABLE IF EXISTS {self._database}.{name} {self._cluster} SYNC")

    def _remember(self, plan: Plan, remembered: Mapping[str, Remembered]) -> list[str]:
        """Note down what is there now; return findings about tables with data that no step of this run explains."""
        live, server = self.live(), self.server()
        touched = " ".join(step.sql for step in plan.steps)
        rows: list[tuple[str, str, str, str, str]] = []
        findings = []
        for name, statement in _tables_with_data(plan).items():
            note = remembered.get(name)
            explained = note is None or re.search(rf"\b{name}\b", touched) is not None
            if name not in live or (note and not explained and _differs(live[name], note, server)):
                findings.append(_finding(self._database, name, live.get(name), note, statement))
            else:
                rows.append((name, "", live[name].definition, live[name].engine, server))
        for name, statement in plan.definitions.items():
            if name in live:
                item = live[name]
                rows.append((name, checksum(statement.sql), item.definition, item.engine, server))
        rows += [(name, "", "", "", server) for name in plan.retired if name in remembered]
        new = [
            row
            for row in rows
            if remembered.get(row[0]) != Remembered(statement=row[1], definition=row[2], server=row[4])
        ]
        if new:
            columns = ("name", "statement", "definition", "engine", "server")
            self._connection.insert(f"{self._database}.schema_objects", columns, new)
        return findings


def _is_view(sql: str) -> bool:
    return re.match(r"CREATE (OR REPLACE )?VIEW\b", sqltext.bare(sql), re.I) is not None


def _is_on_path(name: str, plan: Plan, live: Mapping[str, Live]) -> bool:
    """Say whether rows flow through the object: then ingestion must stand still while it is made anew."""
    if name in plan.definitions and not _is_view(plan.definitions[name].sql):
        return True
    return name in live and live[name].engine in _PATH_ENGINES


def _heads(queries: Mapping[str, str], live: Mapping[str, Live]) -> list[str]:
    """Return the materialized views that read from Kafka tables: where every flow begins."""
    queues = {name for name, item in live.items() if item.engine == "Kafka"}
    queues |= {name for name, text in queries.items() if re.search(r"\bENGINE\s*=\s*Kafka\b", text, re.I)}
    return [
        name
        for name, text in queries.items()
        if re.match(r"CREATE MATERIALIZED VIEW", sqltext.bare(text), re.I) and queues & _sources(text)
    ]


def _sources(text: str) -> set[str]:
    return set(re.findall(r"\b(?:FROM|JOIN)\s+(?:\w+\.)?(\w+)", sqltext.bare(text), re.I))


def _creation_order(queries: Mapping[str, str]) -> list[tuple[str, str]]:
    """Order by what reads from what: tables, then views, then those that start a flow."""
    heads = _heads(queries, {})
    return sorted(queries.items(), key=lambda item: (item[0] in heads, "CREATE TABLE" not in item[1]))


def _tables_with_data(plan: Plan) -> dict[str, Statement]:
    return {
        statement.meaning.name: statement
        for file in plan.files
        for statement in file.statements
        if statement.meaning.kind is Kind.ONCE and statement.meaning.name
    }


def _refuse_tables_with_data(database: str, plan: Plan, live: Mapping[str, Live]) -> None:
    for name in [*plan.definitions, *plan.retired]:
        if name in live and live[name].engine != _VIEW and live[name].engine not in _PATH_ENGINES:
            raise MigrationError(
                f"{database}.{name} is a table with data ({live[name].engine}) where the migrations have an object "
                "without: it is left alone. Rename it or the object"
            )


def _differs(live: Live | None, note: Remembered, server: str) -> bool:
    return live is None or (note.server == server and live.definition != note.definition)


def _finding(
    database: str, name: str, live: Live | None, note: Remembered | None, statement: Statement | None = None
) -> str:
    """Say what is wrong with one object, and the cure."""
    if note is not None and note.statement:
        what = "is missing" if live is None else f"was changed: {_difference(note.definition, live.definition)}"
        fed = live is None and "CREATE MATERIALIZED VIEW" in note.definition
        read_again = (
            "; changes since then are not in its table: set the consumer group back to before that" if fed else ""
        )
        return f"{database}.{name} {what}. The next `pulumi up` makes it anew{read_again}"
    if live is None:
        made_by = f" (made by {statement.file} statement {statement.number})" if statement else ""
        return (
            f"{database}.{name}{made_by} holds data and is missing; it is not made anew, because an empty table would "
            "pass for a full one. Restore it from a backup, or make it empty with its statement and load it again"
        )
    changed = _difference(note.definition, live.definition) if note else ""
    return (
        f"{database}.{name} holds data and was changed outside the migrations: {changed}. "
        "Change it back, or put the same change (with IF NOT EXISTS) into a new file"
    )


def _difference(before: str, now: str) -> str:
    """Return the parts of two definitions that differ, the old ones with -, the new ones with +."""

    def parts(text: str) -> list[str]:
        return [
            part.strip() for part in re.split(r",\s(?=`)|\s(?=ENGINE|PARTITION BY|ORDER BY|TTL|SETTINGS|AS )", text)
        ]

    changed = [line for line in difflib.ndiff(parts(before), parts(now)) if line[:2] in ("- ", "+ ")]
    return "; ".join(changed[:6]) + (f"; and {len(changed) - 6} more" if len(changed) > 6 else "")
