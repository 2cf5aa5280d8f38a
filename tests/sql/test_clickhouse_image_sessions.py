"""The ClickHouse that a stack gets: users, sessions, concurrency, limits, restart and crash."""

from __future__ import annotations

import base64
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from clickhouse_driver.errors import ServerException

from tests.sql.clickhouse_container import ADMIN, READER, ClickHouseServer, User, clickhouse_server
from tests.sql.clickhouse_http import http

pytestmark = pytest.mark.sql
SLOW = "SELECT sum(sleepEachRow(0.5)) FROM numbers(6) SETTINGS max_block_size = 1"


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


def test_wrong_password_and_unknown_user(server: ClickHouseServer) -> None:
    for user, password in ((ADMIN, "wrong"), ("default", ""), ("nobody", "x")):
        with pytest.raises(ServerException) as caught:
            _client(server, user, password).execute("SELECT 1")
        assert caught.value.code == 516
        headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
        status, _, body = http(server, "/?query=SELECT+1", headers=headers)
        assert status in (401, 403)
        assert body.startswith(b"Code: 516.")


def _client(server: ClickHouseServer, user: str, password: str) -> Any:
    from clickhouse_driver import Client  # noqa: PLC0415

    return Client(host=server.host, port=server.native_port, user=user, password=password)


def test_three_ways_to_log_in_over_http(server: ClickHouseServer) -> None:
    password = server.users[READER].password
    basic = base64.b64encode(f"{READER}:{password}".encode()).decode()
    assert http(server, "/?query=SELECT+1", headers={"Authorization": f"Basic {basic}"})[2] == b"1\n"
    assert http(server, f"/?query=SELECT+1&user={READER}&password={password}", headers={})[2] == b"1\n"
    assert server.query("SELECT 1", user=READER) == "1\n"


def test_reader_reads_only_what_is_granted(server: ClickHouseServer, client: Any) -> None:
    client.execute("CREATE DATABASE IF NOT EXISTS secret ENGINE = Atomic")
    client.execute("CREATE OR REPLACE TABLE secret.t (a Int8) ENGINE = MergeTree ORDER BY a")
    client.execute("CREATE OR REPLACE TABLE analytics.open (a Int8) ENGINE = MergeTree ORDER BY a")
    client.execute("CREATE OR REPLACE VIEW analytics.leak SQL SECURITY INVOKER AS SELECT * FROM secret.t")
    reader = server.client(READER)
    assert reader.execute("SELECT count() FROM analytics.open") == [(0,)]
    for statement in (
        "SELECT * FROM secret.t", "SELECT (SELECT count() FROM secret.t)", "SELECT * FROM analytics.leak",
        "SELECT 1 IN (SELECT a FROM secret.t)", "SELECT * FROM merge('secret', 't')",
        "EXPLAIN SELECT * FROM secret.t",
        "INSERT INTO analytics.open VALUES (1)", "DROP TABLE analytics.open",
        "CREATE TABLE analytics.x (a Int8) ENGINE = Memory",
        "ALTER TABLE analytics.open DELETE WHERE 1", "TRUNCATE TABLE analytics.open", "SYSTEM FLUSH LOGS",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
        "SET ROLE cdc_everything", "/* */ set role all", "SET max_threads = 1", "SET readonly = 0",
    ):  # fmt: skip
        with pytest.raises(ServerException) as caught:
            reader.execute(statement)
        assert caught.value.code in (164, 497, 636), statement
    assert "secret" not in server.query("SHOW DATABASES", user=READER)


def test_a_slow_query_blocks_nobody(server: ClickHouseServer) -> None:
    with ThreadPoolExecutor(4) as pool:
        started = time.monotonic()
        slow = [pool.submit(server.query, SLOW) for _ in range(2)]
        time.sleep(0.3)
        before = time.monotonic()
        assert server.query("SELECT 1") == "1\n"
        assert http(server, "/ping")[2] == b"Ok.\n"
        assert server.client().execute("SELECT 2") == [(2,)]
        assert time.monotonic() - before < 1
        assert [item.result() for item in slow] == ["0\n", "0\n"]
        assert 2.5 < time.monotonic() - started < 5


def test_settings_and_databases_stay_in_their_session(server: ClickHouseServer) -> None:
    first, second = server.client(), server.client()
    ask = "SELECT getSetting('max_threads'), getSetting('max_block_size'), currentDatabase()"
    plain = second.execute(ask)
    first.execute("USE analytics")
    first.execute("SET max_threads = 7")
    assert first.execute(ask, settings={"max_block_size": 1234}) == [(7, 1234, "analytics")]
    assert first.execute(ask) == [(7, plain[0][1], "analytics")]
    assert first.execute(ask, settings={"max_threads": 3})[0][0] == 3
    assert first.execute(ask)[0][0] == 7
    assert second.execute(ask) == plain
    assert server.query(ask, max_threads="5", database="analytics").split("\t")[::2] == ["5", "analytics\n"]
    assert server.query(ask).split("\t")[2] == "default\n"
    first.execute("CREATE TEMPORARY TABLE mine (a Int8)")
    assert first.execute("SELECT count() FROM mine") == [(0,)]
    with pytest.raises(ServerException):
        second.execute("SELECT count() FROM mine")


def test_unknown_settings(server: ClickHouseServer, client: Any) -> None:
    assert client.execute("SELECT 1", settings={"no_such_setting": 1}) == [(1,)]
    status, _, body = http(server, "/?query=SELECT+1&no_such_setting=1", method="POST", data=b"")
    assert (status, body[:9]) == (404, b"Code: 115")


def test_readonly_for_one_query(server: ClickHouseServer, client: Any) -> None:
    with pytest.raises(ServerException) as caught:
        client.execute("CREATE TABLE analytics.no (a Int8) ENGINE = Memory", settings={"readonly": 1})
    assert caught.value.code == 164
    client.execute("CREATE OR REPLACE TABLE analytics.yes (a Int8) ENGINE = MergeTree ORDER BY a")
    assert http(server, "/?query=DROP+TABLE+analytics.yes")[0] >= 400
    assert http(server, "/?query=DROP+TABLE+analytics.yes", method="POST", data=b"")[0] == 200


def test_cancel_stops_a_query(server: ClickHouseServer, client: Any) -> None:
    progress = client.execute_iter("SELECT sleepEachRow(0.1) FROM numbers(600) SETTINGS max_block_size = 1")
    next(progress)
    started = time.monotonic()
    client.cancel()
    assert client.execute("SELECT 1") == [(1,)]
    client.disconnect()
    assert time.monotonic() - started < 5
    other = server.client()
    leaving = server.client(send_receive_timeout=1)
    with pytest.raises(Exception, match=r".*"):
        leaving.execute("SELECT sum(sleepEachRow(0.1)) FROM numbers(600) SETTINGS max_block_size = 1")
    leaving.disconnect()
    deadline = time.monotonic() + 10
    ask = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow(0.1)%' AND query NOT LIKE '%processes%'"
    while other.execute(ask) != [(0,)]:
        assert time.monotonic() < deadline, "the query of a client that left goes on"
        time.sleep(0.2)


def test_http_sessions(server: ClickHouseServer) -> None:
    server.query("CREATE TEMPORARY TABLE kept AS SELECT 5 AS a", session_id="s1")
    assert server.query("SELECT a FROM kept", session_id="s1") == "5\n"
    with pytest.raises(RuntimeError, match="Code: 60"):
        server.query("SELECT a FROM kept", session_id="s2")


def test_many_clients(server: ClickHouseServer) -> None:
    server.query("CREATE TABLE analytics.many (thread UInt8, a UInt32) ENGINE = MergeTree ORDER BY a")

    def work(thread: int) -> int:
        client = server.client()
        total = 0
        for turn in range(15):
            client.execute("INSERT INTO analytics.many VALUES", [(thread, turn * 100 + i) for i in range(100)])
            total += client.execute("SELECT count() FROM analytics.many WHERE thread = %(t)s", {"t": thread})[0][0]
            assert server.query(f"SELECT {thread} + 1") == f"{thread + 1}\n"
        client.disconnect()
        return total

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(8))) == {sum(range(100, 1600, 100))}


def test_metrics(server: ClickHouseServer) -> None:
    with urllib.request.urlopen(f"http://{server.host}:{server.metrics_port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    values = {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if not line.startswith("#")}
    assert values["ClickHouseProfileEvents_Query"] > 10
    assert values["ClickHouseAsyncMetrics_Uptime"] > 0
    assert "ClickHouseMetrics_KafkaConsumers" in values
    assert len(values) > 500


def test_limit_of_concurrent_queries() -> None:
    limit = {"limit.xml": "<clickhouse><max_concurrent_queries>2</max_concurrent_queries></clickhouse>"}
    with clickhouse_server(config=limit) as server, ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(server.query, SLOW) for _ in range(2)]
        time.sleep(0.8)
        with pytest.raises(RuntimeError, match=r"(?s)HTTP 503.*Code: 202.*Too many simultaneous queries"):
            server.query("SELECT 1")
        assert http(server, "/ping")[2] == b"Ok.\n"
        assert [item.result() for item in slow] == ["0\n", "0\n"]
        assert server.query("SELECT 1") == "1\n"


KAFKA = """CREATE TABLE analytics.queue (raw String) ENGINE = Kafka SETTINGS kafka_broker_list = '127.0.0.1:1',
    kafka_topic_list = 't', kafka_group_name = 'g', kafka_format = 'JSONAsString', kafka_handle_error_mode = 'stream'"""


def test_restart_and_crash_keep_data_and_kafka_tables() -> None:
    users = {ADMIN: User(password="p"), "idle": User(password="q")}
    with clickhouse_server(users=users) as server:
        server.query("CREATE DATABASE analytics ENGINE = Atomic")
        server.query("CREATE TABLE analytics.kept (a Int64, s String) ENGINE = MergeTree ORDER BY a")
        server.query(KAFKA)
        server.query("CREATE MATERIALIZED VIEW analytics.mv TO analytics.kept AS "
                     "SELECT 1 AS a, raw AS s FROM analytics.queue")  # fmt: skip
        server.query("INSERT INTO analytics.kept SELECT number, 'x' FROM numbers(100000)")
        count = "SELECT count(), sum(a) FROM analytics.kept"
        before = server.query(count)
        idle = server.client("idle")
        idle.execute("SELECT 1")
        assert server.stop() < 10, "an idle client must not hold up the end"
        server.start()
        assert server.query(count) == before
        writer = threading.Thread(target=_write_until_it_breaks, args=(server,))
        writer.start()
        time.sleep(1)
        server.restart(kill=True)
        writer.join()
        server.query("SELECT 1")
        rows = int(server.query("SELECT count() FROM analytics.kept").strip())
        assert rows > 100000
        assert server.query("SELECT count() FROM system.kafka_consumers WHERE table = 'queue'") == "1\n"
        tables = server.query("SELECT name FROM system.tables WHERE database = 'analytics' ORDER BY name")
        assert tables.split() == ["kept", "mv", "queue"]
        server.query("DROP TABLE analytics.mv")
        server.query("DROP TABLE analytics.queue")
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(server.query, SLOW.replace("6", "100"))
            time.sleep(0.5)
            assert server.stop() < 15
            assert running.exception() is not None


def _write_until_it_breaks(server: ClickHouseServer) -> None:
    try:
        while True:
            server.query("INSERT INTO analytics.kept SELECT number + 1000000, 'y' FROM numbers(1000)")
    except (RuntimeError, OSError):
        return
