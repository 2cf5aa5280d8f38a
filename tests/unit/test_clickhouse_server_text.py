"""The built ClickHouse image's server: SQL as far as it reads it, configuration and users, HTTP answers."""

from __future__ import annotations

import hashlib
import io
import sys
import xml.etree.ElementTree as ET
import zlib
from email.message import Message
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "images" / "clickhouse"))

from server import compression, config, formats, sql, users
from server.errors import ServerError
from server.request import Body, decompressed, read_parameters, read_request
from server.users import ConfigurationError
from server.wire import EndOfStreamError

INSERTS = [
    ("INSERT INTO t VALUES", "t", None, "Values", ""),
    ("insert into db.t (a, `b c`) values (1, 2)", "db.t", ("a", "b c"), "Values", "(1, 2)"),
    ('INSERT INTO TABLE t FORMAT JSONEachRow\n{"a": 1}', "t", None, "JSONEachRow", '{"a": 1}'),
    ("INSERT INTO t (a) SETTINGS async_insert = 0 FORMAT CSV\r\n1;2", "t", ("a",), "CSV", "1;2"),
    (
        "INSERT INTO FUNCTION file('x', 'CSV', 'a Int8') (a) VALUES (1)",
        "file('x', 'CSV', 'a Int8')",
        ("a",),
        "Values",
        "(1)",
    ),
    ("/* VALUES */ INSERT INTO t -- VALUES\n (n.a) FORMAT Native", "t", ("n.a",), "Native", ""),
    ("INSERT INTO t", "t", None, None, ""),
]


@pytest.mark.parametrize(("statement", "table", "listed", "name", "data"), INSERTS)
def test_insert_with_data(
    statement: str, table: str, listed: tuple[str, ...] | None, name: str | None, data: str
) -> None:
    insert = sql.parse_insert(statement)
    assert insert is not None
    assert (insert.table, insert.columns, insert.format) == (table, listed, name)
    assert statement[insert.data_start :] == data
    assert "FORMAT" not in insert.head.upper()
    assert insert.settings.strip() in ("", "SETTINGS async_insert = 0")
    assert "SETTINGS" not in insert.head
    assert not insert.head.upper().rstrip().endswith("VALUES")


@pytest.mark.parametrize("statement", [
    "SELECT 1", "INSERT INTO t SELECT 1", "INSERT INTO t (a) SELECT 'VALUES'", "INSERT INTO t (SELECT 1)",
    "INSERT INTO t WITH 1 AS x SELECT x", "CREATE TABLE t (a Int8)", "",
])  # fmt: skip
def test_no_data_follows(statement: str) -> None:
    assert sql.parse_insert(statement) is None


def test_insert_without_some_columns() -> None:
    insert = sql.parse_insert("INSERT INTO t (* EXCEPT(a, `b`)) VALUES")
    assert insert is not None
    assert (insert.columns, insert.excluded) == (None, ("a", "b"))


@pytest.mark.parametrize(("statement", "name"), [
    ("SELECT 1 FORMAT JSON", "JSON"), ("SELECT 1 format CSV SETTINGS max_threads = 1", "CSV"),
    ("SELECT 1 FORMAT TSV;", "TSV"), ("SELECT format FROM t", None), ("SELECT 'x FORMAT y'", None),
    ("SELECT (SELECT 1 FORMAT CSV)", None), ("SELECT a.format b FROM t", None), ("SELECT 1 AS FORMAT", None),
])  # fmt: skip
def test_format_clause(statement: str, name: str | None) -> None:
    text, found = sql.output_format(statement)
    assert found == name
    assert (text == statement) == (name is None)


def test_files_are_refused() -> None:
    for statement in ("SELECT 1 INTO OUTFILE '/x'", "INSERT INTO t FROM/**/INFILE '/x' FORMAT CSV"):
        with pytest.raises(ServerError, match="for clients"):
            sql.refuse_files(statement)
    sql.refuse_files("SELECT 'INTO OUTFILE'")


def test_first_word_and_streaming() -> None:
    assert sql.first_word("-- x\n select 1") == "SELECT"
    assert sql.can_stream("(SELECT 1) UNION ALL (SELECT 2)")
    assert not sql.can_stream("SHOW TABLES")
    assert sql.has_header("SHOW TABLES")
    assert not sql.has_header("DROP TABLE t")


def test_literals() -> None:
    assert sql.literal("a'b\\c") == "'a\\'b\\\\c'"
    assert sql.identifier("a`b") == "`a\\`b`"


def _folder(path: Path, **files: str) -> Path:
    for name, text in files.items():
        file = path / name.replace("_xml", ".xml")
        file.write_text(f"<clickhouse>{text}</clickhouse>")
    return path


def test_configuration_is_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_PORT", "7")
    folder = _folder(
        tmp_path, config_xml="<http_port>1</http_port><kafka><a>1</a><b>2</b></kafka><gone/><whole><x/></whole>"
    )
    (folder / "config.d").mkdir()
    (folder / "config.d" / "a.xml").write_text(
        "<clickhouse><http_port>2</http_port><kafka><b>3</b><c>4</c></kafka><gone remove='1'/>"
        "<whole replace='1'><y/></whole></clickhouse>"
    )
    (folder / "config.d" / "b.xml").write_text("<clickhouse><tcp_port from_env='A_PORT'/></clickhouse>")
    (folder / "users.xml").write_text("<clickhouse><users><u><password>x</password></u></users></clickhouse>")
    root = config.load_tree(folder, "config")
    assert [(e.tag, e.text) for e in root.findall("kafka/*")] == [("a", "1"), ("b", "3"), ("c", "4")]
    assert root.find("gone") is None
    assert [e.tag for e in root.findall("whole/*")] == ["y"]
    loaded = config.load(folder)
    assert (loaded.http_port, loaded.native_port, loaded.metrics_port) == (2, 7, 0)


@pytest.mark.parametrize(("text", "message"), [
    ("<http_port>x</http_port>", "whole number"), ("<a", "is not XML"), ("<p from_env='NO_SUCH_VARIABLE'/>", "NO_SUCH"),
])  # fmt: skip
def test_configuration_errors_name_the_place(tmp_path: Path, text: str, message: str) -> None:
    _folder(tmp_path, config_xml=text)
    with pytest.raises(ConfigurationError, match=message):
        config.load(tmp_path)


USERS = f"""<clickhouse>
  <profiles><default/><base><max_threads>1</max_threads></base>
    <ro><profile>base</profile><readonly>1</readonly></ro></profiles>
  <users>
    <plain><password>secret</password></plain>
    <hashed><password_sha256_hex>{hashlib.sha256(b"other").hexdigest().upper()}</password_sha256_hex><profile>ro</profile>
      <grants><query>GRANT SELECT ON analytics.*</query></grants></hashed>
    <open><no_password/></open>
  </users></clickhouse>"""


def test_users_and_passwords() -> None:
    known = users.read_users(ET.fromstring(USERS))
    assert users.authenticate(known, "plain", "secret").name == "plain"
    assert users.authenticate(known, "hashed", "other").settings == {"max_threads": "1", "readonly": "1"}
    assert users.authenticate(known, "open", "anything").role == ""
    for name, password in (("plain", ""), ("plain", "Secret"), ("hashed", "secret"), ("default", ""), ("", "")):
        with pytest.raises(ServerError) as caught:
            users.authenticate(known, name, password)
        assert caught.value.code == 516


def test_engine_users_have_no_passwords_but_roles() -> None:
    root = ET.fromstring(USERS)
    text = ET.tostring(users.engine_users(root, users.read_users(root))).decode()
    assert "secret" not in text
    assert "<cdc_user_hashed><grants><query>GRANT SELECT ON analytics.*</query></grants></cdc_user_hashed>" in text
    assert text.count("<default>") == 1


@pytest.mark.parametrize(("user", "message"), [
    ("<u/>", "needs one of"), ("<u><password>a</password><no_password/></u>", "needs one of"),
    ("<u><no_password/><profile>nope</profile></u>", "profile nope"),
])  # fmt: skip
def test_user_errors(user: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        users.read_users(ET.fromstring(f"<clickhouse><users>{user}</users></clickhouse>"))


def _headers(**fields: str) -> Message:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


def test_request_parameters() -> None:
    found = read_parameters("query=x&database=d&param_a=1&max_threads=2&default_format=CSV", _headers(
        X_ClickHouse_User="u", X_ClickHouse_Key="k"))  # fmt: skip
    assert (found.user, found.password, found.database, found.default_format) == ("u", "k", "d", "CSV")
    assert (found.settings, found.params) == ({"max_threads": "2"}, {"a": "1"})
    basic = read_parameters("user=other", _headers(Authorization="Basic dTpwOnE="))
    assert (basic.user, basic.password) == ("u", "p:q")
    with pytest.raises(ServerError, match="Roles"):
        read_parameters("role=x", _headers())
    with pytest.raises(ServerError, match="whole number"):
        read_parameters("session_timeout=x", _headers()).number("session_timeout")


def test_body_is_data_of_the_insert_in_the_query() -> None:
    body = Body(io.BytesIO(b"1\n2\n"), _headers(Content_Length="4"))
    request = read_request("INSERT INTO t FORMAT CSV", body.pieces(), whole=False)
    assert request.insert is not None
    assert b"".join(request.data) == b"1\n2\n"


def test_query_and_data_in_the_body_packed_and_chunked() -> None:
    packed = zlib.compress(b"INSERT INTO t FORMAT TSV\n" + b"x\n" * 9)
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    body = Body(io.BytesIO(chunks), _headers(Transfer_Encoding="chunked", Content_Encoding="deflate"))
    request = read_request("", body.pieces(), whole=False)
    assert request.statement == "INSERT INTO t FORMAT TSV\n"
    assert b"".join(request.data) == b"x\n" * 9


def test_compressed_frames() -> None:
    pytest.importorskip("clickhouse_cityhash", reason="pip install clickhouse-driver[lz4]")
    data = bytes(range(256)) * 9000
    packed = compression.compress(data)
    pieces = iter([packed[:5], packed[5:100], packed[100:]])
    assert b"".join(decompressed(pieces)) == data
    broken = bytearray(packed)
    broken[60] ^= 1
    with pytest.raises(ServerError, match="checksum"):
        list(decompressed(iter([bytes(broken)])))
    with pytest.raises(EndOfStreamError):
        list(decompressed(iter([packed[:-1]])))


def test_pieces_are_joined_with_one_header() -> None:
    pieces = iter([(b'"a\nb"\n1\n', 1), (b'"a\nb"\n2\n', 1), (b'"a\nb"\n', 0)])
    assert b"".join(formats.join("CSVWithNames", pieces, 0)) == b'"a\nb"\n1\n2\n'
    assert b"".join(formats.join("TSV", iter([(b"1\n", 1), (b"2\n", 1)]), 0)) == b"1\n2\n"
    assert not formats.can_stream("JSON")
