"""Plan and apply numbered SQL files (``0001_name.sql``) to a database, once each and in order.

The planner is pure and knows no engine; what differs between ClickHouse and PostgreSQL is behind ``MigrationTarget``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic

from cdc import sqltext
from cdc.migration_model import (
    Dialect,
    Kind,
    Meaning,
    MigrationError,
    MigrationFile,
    MigrationTarget,
    Plan,
    Record,
    State,
    Statement,
    checksum,
)

__all__ = [
    "Dialect",
    "Kind",
    "Meaning",
    "MigrationError",
    "MigrationFile",
    "MigrationTarget",
    "Plan",
    "Record",
    "State",
    "Statement",
    "apply",
    "checksum",
    "load",
    "make_plan",
]

_FILE_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")


def load(folder: Path, parameters: Mapping[str, str], dialect: Dialect) -> tuple[MigrationFile, ...]:
    """Read, split and fill in every file of the folder; raise one MigrationError with all findings."""
    findings: list[str] = []
    files: list[MigrationFile] = []
    for path in sorted(folder.glob("*.sql")):
        try:
            files.append(_load_file(path, parameters, dialect))
        except (sqltext.SqlTextError, MigrationError) as error:
            findings.append(f"{path.name}: {error}")
    findings += _numbering(files) if not findings else []
    if not files and not findings:
        findings.append(f"no file NNNN_name.sql in {folder}; check the path")
    _raise(findings, "The migration files cannot be used")
    return tuple(files)


def _load_file(path: Path, parameters: Mapping[str, str], dialect: Dialect) -> MigrationFile:
    name = _FILE_NAME.match(path.name)
    if not name:
        raise MigrationError("is not named NNNN_name.sql (four digits, lower case); rename it")
    text = path.read_text(encoding="utf-8")
    statements = []
    for number, (line, source) in enumerate(sqltext.split(text, backslash_escapes=dialect.backslash_escapes), start=1):
        sql = sqltext.fill(source, parameters)
        try:
            meaning = dialect.meaning(sql)
        except MigrationError as error:
            raise MigrationError(f"statement {number} (line {line}: {sqltext.first_line(sql)}): {error}") from error
        statements.append(
            Statement(
                version=int(name[1]),
                file=path.name,
                number=number,
                line=line,
                source=source,
                sql=sql,
                meaning=meaning,
            )
        )
    if not statements:
        raise MigrationError("holds no statement; write one or remove the file")
    return MigrationFile(version=int(name[1]), name=path.name, checksum=checksum(text), statements=tuple(statements))


def _numbering(files: Iterable[MigrationFile]) -> Iterable[str]:
    """Numbers may leave room: files that are written side by side take theirs from ranges of their own."""
    last = 0
    for file in files:
        if file.version <= last:
            yield f"{file.name}: its number is used twice; give it the next free one"
        last = file.version


def make_plan(files: Sequence[MigrationFile], history: Sequence[Record], target: MigrationTarget) -> Plan:
    """Compare files with history; return what is to be done or raise one MigrationError with every finding."""
    latest = {(record.version, record.statement): record for record in history}
    done = {version: record for (version, statement), record in latest.items() if not statement}
    findings = list(_history_findings(files, done, latest))
    steps: list[Statement] = []
    for file in files:
        for statement in file.statements:
            record = latest.get((file.version, statement.number))
            try:
                steps += [statement] if _is_due(statement, record, target, file_done=file.version in done) else []
            except MigrationError as error:
                findings.append(str(error))
    _raise(findings, "The migrations are refused; nothing was changed")
    definitions, retired = _fold(files)
    return Plan(
        files=tuple(files),
        pending=tuple(file for file in files if file.version not in done),
        steps=tuple(steps),
        definitions=definitions,
        retired=retired,
    )


def _history_findings(
    files: Sequence[MigrationFile], done: Mapping[int, Record], latest: Mapping[tuple[int, int], Record]
) -> Iterable[str]:
    known = {file.version: file for file in files}
    for record in {version: record for (version, _), record in latest.items()}.values():
        if record.version not in known:
            yield (
                f"{record.name} was applied to this database but is not in the folder; check out the version of the "
                "project that has it, or a newer one"
            )
    for version, record in done.items():
        file = known.get(version)
        if file and file.checksum != record.checksum:
            yield (
                f"{file.name} was edited after it was applied (as {record.name}); restore it "
                f"(git log -- {record.name}) and put the change into a new file"
            )
    for file in files:
        if file.version not in done and any(version > file.version for version in done):
            yield f"{file.name} is new but a higher number is applied already; give it the next free number"


def _is_due(statement: Statement, record: Record | None, target: MigrationTarget, *, file_done: bool) -> bool:
    """Say whether the statement is to run now; raise MigrationError when a person has to decide."""
    if statement.meaning.kind is Kind.DEFINITION:
        return False
    if record is None:
        # A finished file has a record of each statement: this one was added, which the file's checksum reports.
        return not file_done
    if record.state == "done":
        return _is_changed(statement, record)
    if record.state == "started" and not statement.meaning.resumable:
        raise MigrationError(
            f"{statement} was begun and its end was never recorded. Look whether it took effect, then run "
            f"`{target.settle(statement, 'done')}` if it did, or the same with 'again' if not, and start again"
        )
    return True


def _is_changed(statement: Statement, record: Record) -> bool:
    if record.checksum != checksum(statement.source):
        raise MigrationError(
            f"{statement}: an earlier text of this statement is applied already; restore it, and put the change "
            "after the statements that ran"
        )
    changed = record.rendered != checksum(statement.sql)
    if changed and statement.meaning.kind is not Kind.REPEATABLE:
        used = ", ".join(sqltext.placeholders(statement.source))
        raise MigrationError(
            f"{statement} holds data and was made with other parameters than now (it uses {used}); set them back, "
            "or write a new file that changes the table"
        )
    return changed


def _fold(files: Iterable[MigrationFile]) -> tuple[dict[str, Statement], frozenset[str]]:
    definitions: dict[str, Statement] = {}
    retired: set[str] = set()
    for statement in (s for file in files for s in file.statements if s.meaning.kind is Kind.DEFINITION):
        name = statement.meaning.name
        # A restated object moves to the end: what it reads from may have been stated in between.
        previous = definitions.pop(name, None)
        if statement.meaning.retires:
            if previous is None and name not in retired:
                raise MigrationError(
                    f"{statement} would drop {name}, which no migration defines as an object without data. Migrations "
                    "never drop data: do it by hand after a backup, and remove the statement"
                )
            retired.add(name)
        else:
            definitions[name] = statement
            retired.discard(name)
    return definitions, frozenset(retired)


def apply(target: MigrationTarget, folder: Path, parameters: Mapping[str, str]) -> Plan:
    """Bring the database to the folder's state; idempotent. Return the plan that ran.

    Raises MigrationError; what was done until then is recorded, and the next run goes on from there.
    """
    files = load(folder, parameters, target)
    with target.lock():
        plan = make_plan(files, target.history(), target)
        try:
            target.prepare(plan)
            for file in plan.files:
                _apply_file(target, file, plan)
            target.finish(plan)
            for file in plan.pending:
                if _has_definitions(file):
                    _record_file(target, file)
        except BaseException:
            target.abandon(plan)
            raise
    return plan


def _apply_file(target: MigrationTarget, file: MigrationFile, plan: Plan) -> None:
    steps = [step for step in plan.steps if step.version == file.version]
    if not steps and file not in plan.pending:
        return
    with target.scope(file):
        for step in steps:
            run_step(target, step)
        if file in plan.pending and not _has_definitions(file):
            _record_file(target, file)


def _has_definitions(file: MigrationFile) -> bool:
    """Such a file is done only when its definitions are: until then it can still be corrected."""
    return any(statement.meaning.kind is Kind.DEFINITION for statement in file.statements)


def _record_file(target: MigrationTarget, file: MigrationFile) -> None:
    rendered = checksum("\n".join(statement.sql for statement in file.statements))
    done = Record(
        version=file.version, name=file.name, statement=0, checksum=file.checksum, rendered=rendered, state="done"
    )
    target.record(done)


def run_step(target: MigrationTarget, step: Statement) -> None:
    """Run one statement between its two records, so that a crash at any line is seen."""
    began = monotonic()

    def note(state: State, error: str = "") -> None:
        target.record(
            Record(
                version=step.version,
                name=step.file,
                statement=step.number,
                checksum=checksum(step.source),
                rendered=checksum(step.sql),
                state=state,
                error=error,
                duration_ms=int((monotonic() - began) * 1000),
            )
        )

    note("started")
    try:
        target.execute(step.sql)
    except Exception as error:
        failure = MigrationError(
            f"{step} failed: {error}. Statements before it are applied and recorded; "
            f"correct this one (not the ones before it) and start again: it goes on here"
        )
        # Without an answer nobody knows whether it ran: it stays begun, and the next run asks for a decision.
        if getattr(error, "code", None) == 0:
            raise failure from error
        try:
            note("failed", str(error))
        except Exception as second:
            raise failure from second
        raise failure from error
    note("done")


def _raise(findings: Sequence[str], title: str) -> None:
    if findings:
        raise MigrationError(f"{title}:\n" + "\n".join(f"  - {finding}" for finding in findings))
