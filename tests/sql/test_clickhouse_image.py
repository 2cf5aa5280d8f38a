"""The ClickHouse that a stack gets: types, errors, inserts, parameters and formats over both protocols."""

from __future__ import annotations

import gzip
import json
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from http.client import IncompleteRead
from typing import Any
from uuid import UUID

import pytest
from clickhouse_driver.errors import ServerException

from tests.sql.clickhouse_container import ADMIN, ClickHouseServer, clickhouse_server
from tests.sql.clickhouse_http import http

pytestmark = pytest.mark.sql


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouseServer]:
    with clickhouse_server() as running:
        running.query("CREATE DATABASE analytics ENGINE = Atomic")
        yield running


@pytest.fixture
def client(server: ClickHouseServer) -> Iterator[Any]:
    connection = server.client()
    yield connection
    connection.disconnect()


VALUES: list[tuple[str, Any]] = [
    ("Int8", -5), ("UInt64", 2**64 - 1), ("UInt128", 2**127 + 3), ("Int256", -(2**200)), ("Float64", 0.1),
    ("Bool", True), ("String", "héllo\0"), ("FixedString(3)", "abc"), ("Decimal(12, 2)", Decimal("-1.05")),
    ("Decimal(38, 9)", Decimal("12345678901234567890.123456789")), ("Date", date(2024, 2, 29)),
    ("Date32", date(1960, 1, 1)), ("DateTime('UTC')", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ("DateTime64(6, 'UTC')", datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
    ("UUID", UUID("12345678-1234-5678-1234-567812345678")), ("Enum8('a' = 1, 'b' = 2)", "b"),
    ("LowCardinality(String)", "low"), ("LowCardinality(Nullable(String))", None), ("Nullable(Int32)", None),
    ("Nullable(Decimal(10, 2))", Decimal("3.50")), ("Array(String)", ["a", "", "c" * 300]),
    ("Array(Nullable(Int8))", [1, None]), ("Array(Array(UInt8))", [[1], [], [2, 3]]),
    ("Array(LowCardinality(String))", ["x", "y", "x"]), ("Map(String, UInt64)", {"k": 1, "l": 2}),
    ("Tuple(Int8, String)", (1, "t")), ("Tuple(a Int8, b Array(String))", (1, ["z"])), ("IPv4", "10.0.0.1"),
]  # fmt: skip


@pytest.mark.parametrize("compression", [False, "lz4"])
def test_types_roundtrip_over_the_native_protocol(server: ClickHouseServer, compression: object) -> None:
    if compression:
        pytest.importorskip("clickhouse_cityhash", reason="pip install clickhouse-driver[lz4]")
    client = server.client(compression=compression, settings={"namedtuple_as_json": False})
    names = [f"c{index}" for index in range(len(VALUES))]
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in zip(names, VALUES, strict=True))
    client.execute("DROP TABLE IF EXISTS analytics.types")
    client.execute(f"CREATE TABLE analytics.types (n UInt8, {columns}) ENGINE = MergeTree ORDER BY n")
    row = tuple(value for _, value in VALUES)
    client.execute("INSERT INTO analytics.types VALUES", [(1, *row), (2, *row)])
    found = client.execute("SELECT * EXCEPT n FROM analytics.types ORDER BY n")
    for (kind, value), *got in zip(VALUES, *found, strict=True):
        assert [_comparable(kind, item) for item in got] == [_comparable(kind, value)] * 2, kind
    client.disconnect()


def _comparable(kind: str, value: Any) -> Any:
    """The driver leaves out the zone of times in the server's own."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    return str(value) if kind == "IPv4" else value


def test_header_of_an_empty_answer(client: Any) -> None:
    assert client.execute("SELECT 1 AS a, 'x' AS b WHERE 0", with_column_types=True) == (
        [], [("a", "UInt8"), ("b", "String")])  # fmt: skip
    assert client.execute("SHOW TABLES FROM analytics LIKE 'nope'", with_column_types=True)[1] == [("name", "String")]
    assert client.execute("CREATE DATABASE IF NOT EXISTS analytics") == []


def test_errors_keep_code_and_message(server: ClickHouseServer, client: Any) -> None:
    for statement, code, text in (
        ("SELECT throwIf(number = 3) FROM numbers(4)", 395, "throwIf"),
        ("SELECT * FROM analytics.nope", 60, "nope"),
        ("SELEC", 62, "Syntax error"),
        ("SELECT 1; SELECT 2", 62, "Multi-statements are not allowed"),
        ("SELECT nope", 47, "nope"),
    ):
        with pytest.raises(ServerException, match=text) as caught:
            client.execute(statement)
        assert caught.value.code == code
        status, headers, body = http(server, "/", data=statement.encode(), method="POST")
        assert status >= 400
        assert headers["X-ClickHouse-Exception-Code"] == str(code)
        assert body.startswith(f"Code: {code}. DB::Exception: ".encode())
    with pytest.raises(ServerException, match="throwIf"):
        client.execute("SELECT throwIf(number = 5000000) FROM numbers(10000000)")
    with pytest.raises(IncompleteRead):
        http(server, "/?query=SELECT+throwIf(number=5000000)+FROM+numbers(10000000)")
    assert client.execute("SELECT 1") == [(1,)]


def test_errors_of_inserts_reach_the_client(server: ClickHouseServer, client: Any) -> None:
    client.execute("CREATE OR REPLACE TABLE analytics.strict (a UInt8, CONSTRAINT small CHECK a < 10) "
                   "ENGINE = MergeTree ORDER BY a")  # fmt: skip
    with pytest.raises(ServerException) as caught:
        client.execute("INSERT INTO analytics.strict VALUES", [(1,), (50,)])
    assert caught.value.code == 469
    with pytest.raises(ServerException) as caught:
        client.execute("INSERT INTO analytics.strict VALUES (50)")
    assert caught.value.code == 469
    with pytest.raises(RuntimeError, match="Code: 469"):
        server.query("INSERT INTO analytics.strict FORMAT CSV", data=b"1\n50\n")
    with pytest.raises(RuntimeError, match="Code: 27"):
        server.query("INSERT INTO analytics.strict FORMAT TSV", data=b"x\n")
    with pytest.raises(ServerException) as caught:
        client.execute("INSERT INTO analytics.strict (nope) VALUES", [(1,)])
    assert caught.value.code == 16
    assert client.execute("INSERT INTO analytics.strict VALUES", [(2,)]) == 1
    small = server.client(settings={"insert_block_size": 1})
    with pytest.raises(ServerException) as caught:
        small.execute("INSERT INTO analytics.strict VALUES", [(3,), (50,), (4,)])
    assert caught.value.code == 469
    client.execute("CREATE OR REPLACE TABLE analytics.nowhere (a UInt8) ENGINE = Null")
    client.execute("CREATE MATERIALIZED VIEW IF NOT EXISTS analytics.nowhere_mv TO analytics.strict AS "
                   "SELECT throwIf(a = 5) + a AS a FROM analytics.nowhere")  # fmt: skip
    with pytest.raises(ServerException, match="throwIf"):
        client.execute("INSERT INTO analytics.nowhere VALUES", [(5,)])
    client.execute("DROP TABLE analytics.nowhere_mv")


def test_insert_forms(server: ClickHouseServer, client: Any) -> None:
    client.execute("CREATE OR REPLACE TABLE analytics.forms (a Int64, b String DEFAULT 'd', m Int64 MATERIALIZED a+1) "
                   "ENGINE = MergeTree ORDER BY a")  # fmt: skip
    assert client.execute("INSERT INTO analytics.forms (a) VALUES", [(1,), (2,)]) == 2
    client.execute("INSERT INTO analytics.forms VALUES (3, 'in\n\nline'),\n\n(11, ';')")
    client.execute("INSERT INTO analytics.forms SELECT 4, 'select'")
    client.execute("INSERT INTO analytics.forms (* EXCEPT (b)) VALUES", [(5,)])
    columns = [list(range(12, 70012)), ["x"] * 70000]
    assert client.execute("INSERT INTO analytics.forms VALUES", columns, columnar=True) == 70000
    server.query("INSERT INTO analytics.forms FORMAT JSONEachRow", data=b'{"a": 6}\n{"a": 7, "b": "json"}')
    server.query("", data=b"INSERT INTO analytics.forms (a, b) FORMAT CSV\n8,csv\n")
    server.query("INSERT INTO analytics.forms (a) VALUES", data=b"(9)")
    server.query("INSERT INTO analytics.forms (a, b) SETTINGS max_threads = 1 FORMAT JSONEachRow",
                 data=b'{"a": 10,\n\n"b": "\\n\\n"}')  # fmt: skip
    assert client.execute("SELECT a, b, m FROM analytics.forms WHERE a < 12 ORDER BY a") == [
        (1, "d", 2), (2, "d", 3), (3, "in\n\nline", 4), (4, "select", 5), (5, "d", 6), (6, "d", 7), (7, "json", 8),
        (8, "csv", 9), (9, "d", 10), (10, "\n\n", 11), (11, ";", 12),
    ]  # fmt: skip
    assert client.execute("SELECT count(), uniqExact(a) FROM analytics.forms") == [(70011, 70011)]


def test_parameters(server: ClickHouseServer, client: Any) -> None:
    text = "it's\n\\ \t%"
    statement = "SELECT {text:String}, {number:UInt8} + 1, {list:Array(String)}"
    escaped = "it's%5Cn%5C%5C%20%5Ct%25"
    path = f"/?param_text={escaped}&param_number=4&param_list=['a']"
    assert json.loads(http(server, path + "&default_format=JSONCompact", data=statement.encode())[2])["data"] == [
        [text, 5, ["a"]]]  # fmt: skip
    assert client.execute("SELECT %(text)s, %(number)s + 1", {"text": text, "number": 4}) == [(text, 5)]
    server_side = server.client(settings={"server_side_params": True})
    assert server_side.execute("SELECT {text:String}, {number:UInt8} + 1", {"text": text, "number": 4}) == [(text, 5)]


def test_a_big_answer_comes_in_pieces(server: ClickHouseServer, client: Any) -> None:
    statement = "SELECT number, repeat('x', 100) FROM numbers(1000000)"
    seen = last = 0
    started = time.monotonic()
    first_at = 0.0
    for number, _ in client.execute_iter(statement, chunk_size=1):
        first_at = first_at or time.monotonic() - started
        seen, last = seen + 1, number
    assert (seen, last) == (1000000, 999999)
    assert first_at < (time.monotonic() - started) / 2
    url = f"http://{server.host}:{server.http_port}/?query=" + statement.replace(" ", "+")
    headers = {"X-ClickHouse-User": ADMIN, "X-ClickHouse-Key": server.users[ADMIN].password}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert sum(1 for _ in answer) == 1000000


def test_http_pages_formats_and_compression(server: ClickHouseServer) -> None:
    assert http(server, "/ping", headers={})[2] == b"Ok.\n"
    assert http(server, "/", headers={})[2] == b"Ok.\n"
    assert http(server, "/nope")[0] == 404
    status, headers, body = http(server, "/?query=SELECT+1+AS+a+FORMAT+JSON&query_id=mine")
    assert (status, json.loads(body)["data"]) == (200, [{"a": 1}])
    assert headers["Content-Type"].startswith("application/json")
    assert (headers["X-ClickHouse-Format"], headers["X-ClickHouse-Query-Id"]) == ("JSON", "mine")
    assert "read_rows" in json.loads(headers["X-ClickHouse-Summary"])
    assert http(server, "/?query=SELECT+1+WHERE+0&default_format=TSVWithNames")[2] == b"1\n"
    query = "/?query=SELECT+number+FROM+numbers(200000)&default_format=CSVWithNames"
    lines = http(server, query)[2].split()
    assert (len(lines), lines[0], lines.count(b'"number"')) == (200001, b'"number"', 1)
    headers = {"X-ClickHouse-User": ADMIN, "X-ClickHouse-Key": server.users[ADMIN].password, "Accept-Encoding": "gzip"}
    status, answer, body = http(server, query + "&enable_http_compression=1", headers=headers)
    assert answer["Content-Encoding"] == "gzip"
    assert gzip.decompress(body).split() == lines
    assert http(server, "/?query=SELECT+1&compress=1")[2][16:17] == b"\x82"
    packed = gzip.compress(b"SELECT 42")
    assert http(server, "/", data=packed, headers={**headers, "Content-Encoding": "gzip"})[2] == b"42\n"
