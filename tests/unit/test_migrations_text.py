"""Splitting and filling in SQL text."""

import pytest

from cdc import sqltext


def statements(text: str, *, backslash_escapes: bool = True) -> list[str]:
    return [sql for _, sql in sqltext.split(text, backslash_escapes=backslash_escapes)]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT ';'",
        "SELECT 'it''s; fine'",
        r"SELECT 'a\';b'",
        'SELECT ";"',
        'SELECT "a"";b"',
        "SELECT `;`",
        "SELECT 1 -- not here; nor 'here\n+ 1",
        "SELECT /* ; ' */ 1",
        "DO $$ BEGIN x; y; END $$",
        "DO $body$ BEGIN $$;$$; END $body$",
        "SELECT '日本;語'",
    ],
)
def test_a_semicolon_inside_something_ends_nothing(text: str) -> None:
    assert statements(f"{text}; SELECT 2;") == [text, "SELECT 2"]


def test_a_backslash_means_what_the_engine_says() -> None:
    text = r"SELECT 'C:\'; SELECT 'x'"
    assert statements(text, backslash_escapes=False) == [r"SELECT 'C:\'", "SELECT 'x'"]
    assert statements(r"SELECT E'a\';b'; SELECT 2", backslash_escapes=False) == [r"SELECT E'a\';b'", "SELECT 2"]
    with pytest.raises(sqltext.SqlTextError, match="line 1: ' is opened and never closed"):
        statements(text)


def test_comments_stay_with_their_statement_and_alone_are_none() -> None:
    assert list(
        sqltext.split("-- one\nSELECT 1;\n\n-- two\n/* more */\nSELECT 2;\n-- end\n", backslash_escapes=True)
    ) == [
        (2, "-- one\nSELECT 1"),
        (6, "-- two\n/* more */\nSELECT 2"),
    ]
    assert statements(";;\n;-- nothing\n") == []


@pytest.mark.parametrize(("text", "line"), [("SELECT 1;\nSELECT 'x", 2), ("\n\n/* open", 3), ('SELECT "x', 1)])
def test_what_is_never_closed_is_named_with_its_line(text: str, line: int) -> None:
    with pytest.raises(sqltext.SqlTextError, match=f"line {line}: .* never closed"):
        statements(text)


def test_parameters_are_filled_in() -> None:
    assert sqltext.fill("CREATE TABLE {{db}}.t {{ more }} {at:DateTime}", {"db": "a", "more": ""}) == (
        "CREATE TABLE a.t  {at:DateTime}"
    )
    assert sqltext.placeholders("{{a}} {{b}} {{a}}") == ["a", "b"]


def test_a_missing_parameter_is_named_with_those_that_exist() -> None:
    with pytest.raises(sqltext.SqlTextError, match=r"\{\{brokers\}\} is not known \(known: db, kafka_brokers\)"):
        sqltext.fill("{{brokers}}", {"kafka_brokers": "k", "db": "d"})


@pytest.mark.parametrize("value", ["a; DROP TABLE x", "a\nb", "a\\", "a -- b", "a /* b"])
def test_a_value_that_could_end_a_statement_is_refused(value: str) -> None:
    with pytest.raises(sqltext.SqlTextError, match=r"\{\{x\}\} has the value"):
        sqltext.fill("{{x}}", {"x": value})


def test_messages_show_the_first_line_that_says_something() -> None:
    assert sqltext.first_line("-- why\n\nCREATE TABLE t\n(a Int32)") == "CREATE TABLE t"
    assert sqltext.bare("-- why\nCREATE  /* x */ TABLE t\n(a)") == "CREATE TABLE t (a)"
