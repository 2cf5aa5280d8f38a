"""The planner: what runs, in which order, and what is refused with which cure. Works on a database in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from cdc import migrations
from cdc.migrations import Kind, Meaning, MigrationError, MigrationFile, Plan, Record, State, Statement


class Memory:
    """A target that remembers what ran. Statements say what they are: once, again, view NAME, retire NAME."""

    backslash_escapes = False

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.records: list[Record] = []
        self.calls: list[str] = []
        self.fail_on = ""
        self.crash_on = ""

    def meaning(self, sql: str) -> Meaning:
        words = sql.split()
        if words[0] == "forbidden":
            raise MigrationError("not allowed here")
        if words[0] in ("view", "retire"):
            return Meaning(kind=Kind.DEFINITION, name=words[1], retires=words[0] == "retire")
        return Meaning(kind=Kind.REPEATABLE if words[0] == "again" else Kind.ONCE, resumable=words[0] != "insert")

    @contextmanager
    def lock(self) -> Iterator[None]:
        self.calls.append("lock")
        try:
            yield
        finally:
            self.calls.append("unlock")

    def scope(self, _file: MigrationFile) -> AbstractContextManager[None]:
        return nullcontext()

    def history(self) -> Sequence[Record]:
        return self.records

    def record(self, record: Record) -> None:
        self.records.append(record)

    def execute(self, sql: str) -> None:
        if sql == self.crash_on:
            raise KeyboardInterrupt
        if sql == self.fail_on:
            raise ValueError("engine says no")
        self.ran.append(sql)

    def prepare(self, _plan: Plan) -> None:
        self.calls.append("prepare")

    def finish(self, plan: Plan) -> None:
        self.calls.append("finish " + ",".join(plan.definitions))

    def abandon(self, _plan: Plan) -> None:
        self.calls.append("abandon")

    def settle(self, statement: Statement, state: State) -> str:
        return f"SETTLE {statement.version}.{statement.number} {state}"


@pytest.fixture
def memory() -> Memory:
    return Memory()


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name.removeprefix('f')}.sql").write_text(text)
    return folder


def refused(memory: Memory, folder: Path, **parameters: str) -> str:
    before = list(memory.ran)
    with pytest.raises(MigrationError) as error:
        migrations.apply(memory, folder, parameters)
    assert memory.ran == before
    return str(error.value)


def test_files_run_once_and_in_order(memory: Memory, tmp_path: Path) -> None:
    write(tmp_path, f0002_b="insert b;", f0001_a="once a; again c {{n}};")
    plan = migrations.apply(memory, tmp_path, {"n": "1"})
    assert memory.ran == ["once a", "again c 1", "insert b"]
    assert plan.version == 2
    assert [(r.version, r.statement, r.state) for r in memory.records] == [
        (1, 1, "started"),
        (1, 1, "done"),
        (1, 2, "started"),
        (1, 2, "done"),
        (1, 0, "done"),
        (2, 1, "started"),
        (2, 1, "done"),
        (2, 0, "done"),
    ]
    assert migrations.apply(memory, tmp_path, {"n": "1"}).steps == ()
    assert len(memory.ran) == 3
    assert memory.calls == ["lock", "prepare", "finish ", "unlock"] * 2


def test_a_new_file_runs_alone(memory: Memory, tmp_path: Path) -> None:
    migrations.apply(memory, write(tmp_path, f0001_a="once a;"), {})
    migrations.apply(memory, write(tmp_path, f0002_b="once b;"), {})
    assert memory.ran == ["once a", "once b"]


def test_a_changed_parameter_repeats_what_may_be_repeated(memory: Memory, tmp_path: Path) -> None:
    write(tmp_path, f0001_a="once a; again ttl {{days}};")
    migrations.apply(memory, tmp_path, {"days": "7"})
    migrations.apply(memory, tmp_path, {"days": "9"})
    assert memory.ran == ["once a", "again ttl 7", "again ttl 9"]
    assert migrations.apply(memory, tmp_path, {"days": "9"}).steps == ()


def test_a_changed_parameter_of_a_table_is_refused(memory: Memory, tmp_path: Path) -> None:
    write(tmp_path, f0001_a="once a {{engine}};")
    migrations.apply(memory, tmp_path, {"engine": "plain"})
    text = refused(memory, tmp_path, engine="replicated")
    assert "0001_a.sql statement 1 (line 1: once a replicated)" in text
    assert "it uses engine" in text
    assert "set them back" in text


def test_a_changed_parameter_of_a_definition_is_no_step(memory: Memory, tmp_path: Path) -> None:
    write(tmp_path, f0001_a="once a; view v {{brokers}};")
    migrations.apply(memory, tmp_path, {"brokers": "x"})
    plan = migrations.apply(memory, tmp_path, {"brokers": "y"})
    assert plan.steps == ()
    assert plan.definitions["v"].sql == "view v y"


def test_the_newest_definition_is_the_truth(memory: Memory, tmp_path: Path) -> None:
    write(tmp_path, f0001_a="view v 1; view w 1;", f0002_b="view v 2; retire w;", f0003_c="view x; retire x; view x 2;")
    plan = migrations.apply(memory, tmp_path, {})
    assert {name: s.sql for name, s in plan.definitions.items()} == {"v": "view v 2", "x": "view x 2"}
    assert plan.retired == {"w"}


def test_only_definitions_can_be_retired(memory: Memory, tmp_path: Path) -> None:
    text = refused(memory, write(tmp_path, f0001_a="once t; retire t;"))
    assert "0001_a.sql statement 2" in text
    assert "never drop data" in text


def test_an_edited_applied_file_is_refused(memory: Memory, tmp_path: Path) -> None:
    migrations.apply(memory, write(tmp_path, f0001_a="once a;"), {})
    text = refused(memory, write(tmp_path, f0001_a="once a; -- edited"))
    assert "0001_a.sql was edited" in text
    assert "put the change into a new file" in text


def test_an_unknown_applied_file_is_refused(memory: Memory, tmp_path: Path) -> None:
    migrations.apply(memory, write(tmp_path, f0001_a="once a;", f0002_b="once b;"), {})
    (tmp_path / "0002_b.sql").unlink()
    text = refused(memory, tmp_path)
    assert "0002_b.sql was applied to this database but is not in the folder; check out" in text


def test_every_finding_is_told_at_once(memory: Memory, tmp_path: Path) -> None:
    migrations.apply(memory, write(tmp_path, f0001_a="once a;", f0002_b="once b;", f0003_c="once c;"), {})
    (tmp_path / "0003_c.sql").unlink()
    text = refused(memory, write(tmp_path, f0001_a="once x;", f0002_b="once y;"))
    assert all(name in text for name in ("0001_a.sql was edited", "0002_b.sql was edited", "0003_c.sql was applied"))


@pytest.mark.parametrize(
    ("files", "finding"),
    [
        ({"f0001_a": "once a;", "f0001_b": "once b;"}, "0001_b.sql: its number is used twice"),
        ({"f1_a": "once a;"}, "1_a.sql: is not named NNNN_name.sql"),
        ({"f0001_a": "-- nothing\n"}, "0001_a.sql: holds no statement"),
        ({"f0001_a": "once 'a;"}, "0001_a.sql: line 1: ' is opened and never closed"),
        ({"f0001_a": "once {{x}};"}, "0001_a.sql: parameter {{x}} is not known"),
        ({"f0001_a": "once a;\nforbidden b;"}, "0001_a.sql: statement 2 (line 2: forbidden b): not allowed here"),
        ({}, "no file NNNN_name.sql in"),
    ],
)
def test_unusable_files_are_refused_before_any_lock(
    memory: Memory, tmp_path: Path, files: dict[str, str], finding: str
) -> None:
    assert finding in refused(memory, write(tmp_path, **files))
    assert memory.calls == []


def test_a_number_below_an_applied_one_is_refused(memory: Memory, tmp_path: Path) -> None:
    migrations.apply(memory, write(tmp_path, f0001_a="once a;", f0002_b="once b;"), {})
    memory.records = [record for record in memory.records if record.version == 2]
    assert "0001_a.sql is new but a higher number is applied already" in refused(memory, tmp_path)


def test_a_failed_statement_is_named_and_the_next_run_goes_on_there(memory: Memory, tmp_path: Path) -> None:
    write(tmp_path, f0001_a="once a;\n\n-- why\nonce broken\nmore;\nonce c;")
    memory.fail_on = "-- why\nonce broken\nmore"
    with pytest.raises(MigrationError, match=r"0001_a.sql statement 2 \(line 4: once broken\) failed: engine says no"):
        migrations.apply(memory, tmp_path, {})
    assert memory.records[-1].state == "failed"
    assert memory.records[-1].error == "engine says no"
    assert memory.calls == ["lock", "prepare", "abandon", "unlock"]
    migrations.apply(memory, write(tmp_path, f0001_a="once a;\n\nonce mended;\nonce c;"), {})
    assert memory.ran == ["once a", "once mended", "once c"]


def test_a_half_applied_file_keeps_what_ran(memory: Memory, tmp_path: Path) -> None:
    memory.fail_on = "once b"
    with pytest.raises(MigrationError):
        migrations.apply(memory, write(tmp_path, f0001_a="once a; once b;"), {})
    text = refused(memory, write(tmp_path, f0001_a="once changed; once mended;"))
    assert (
        "statement 1 (line 1: once changed): an earlier text of this statement is applied already; restore it" in text
    )


def test_a_crash_inside_a_harmless_statement_is_gone_on_from(memory: Memory, tmp_path: Path) -> None:
    write(tmp_path, f0001_a="once a; once b;")
    memory.crash_on = "once b"
    with pytest.raises(KeyboardInterrupt):
        migrations.apply(memory, tmp_path, {})
    assert memory.calls[-2:] == ["abandon", "unlock"]
    memory.crash_on = ""
    migrations.apply(memory, tmp_path, {})
    assert memory.ran == ["once a", "once b"]


@pytest.mark.parametrize(("answer", "ran"), [("done", ["once a"]), ("again", ["once a", "insert b"])])
def test_a_crash_inside_an_insert_asks_a_person(memory: Memory, tmp_path: Path, answer: State, ran: list[str]) -> None:
    write(tmp_path, f0001_a="once a; insert b;")
    memory.crash_on = "insert b"
    with pytest.raises(KeyboardInterrupt):
        migrations.apply(memory, tmp_path, {})
    memory.crash_on = ""
    text = refused(memory, tmp_path)
    assert "statement 2 (line 1: insert b) was begun and its end was never recorded" in text
    assert "SETTLE 1.2 done" in text
    started = memory.records[-1]
    memory.records.append(Record(**{**vars(started), "state": answer}))
    migrations.apply(memory, tmp_path, {})
    assert memory.ran == ran
    assert memory.records[-1].statement == 0


def test_a_file_is_done_when_its_definitions_are(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_plan: Plan) -> None:
        raise MigrationError("0001_a.sql statement 2 failed")

    monkeypatch.setattr(memory, "finish", fail)
    with pytest.raises(MigrationError):
        migrations.apply(memory, write(tmp_path, f0001_a="once a; view broken;"), {})
    monkeypatch.undo()
    migrations.apply(memory, write(tmp_path, f0001_a="once a; view mended;"), {})
    assert memory.ran == ["once a"]
    assert memory.records[-1].statement == 0
