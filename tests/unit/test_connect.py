"""The Connect client against a server that plays Connect's bad days; the good ones are in tests/e2e."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cdc import connect
from cdc.connect import ConnectClient, ConnectError, ConnectUnreachableError, NoConnectorError
from cdc.connect_failures import explain
from cdc.waiting import Deadline

CONFIG = {"connector.class": "x.Postgres", "topic.prefix": "p"}
Answer = tuple[int, Any]


class Peer:
    """Answers by script: for ``METHOD /path`` a list of answers, the last of which stays."""

    def __init__(self) -> None:
        self.script: dict[str, list[Answer | Callable[[], Answer]]] = {}
        self.calls: list[str] = []
        self.bodies: dict[str, Any] = {}
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                call = f"{self.command} {self.path}"
                length = int(self.headers.get("Content-Length") or 0)
                peer.bodies[call] = json.loads(self.rfile.read(length) or b"null")
                peer.calls.append(call)
                answers = peer.script.get(call, [(404, {"message": f"nothing at {call}"})])
                next_one = answers.pop(0) if len(answers) > 1 else answers[0]
                code, body = next_one() if callable(next_one) else next_one
                data = b"" if body is None else json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.on("GET /connector-plugins", (200, []))

    def on(self, call: str, *answers: Answer | Callable[[], Answer]) -> None:
        self.script[call] = list(answers)

    def count(self, call: str) -> int:
        return self.calls.count(call)


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    peer.on("PUT /connector-plugins/x.Postgres/config/validate", (200, {"configs": []}))
    peer.on("PUT /connectors/c/config", (201, {}))
    peer.on("POST /connectors/c/restart?includeTasks=true&onlyFailed=true", (202, {}))
    yield peer
    peer.server.shutdown()
    peer.server.server_close()


def client(peer: Peer, seconds: float = 15) -> ConnectClient:
    return ConnectClient(peer.url, Deadline(seconds))


def status(connector: str = "RUNNING", *tasks: str, trace: str = "") -> Answer:
    listed = [{"id": number, "state": state, "trace": trace} for number, state in enumerate(tasks)]
    return 200, {"connector": {"state": connector}, "tasks": listed, "type": "source"}


def test_rebalance_is_waited_out(peer: Peer) -> None:
    busy = (409, {"message": "Cannot complete request momentarily due to stale configuration"})
    peer.on("PUT /connectors/c/config", busy, busy, (500, {"message": "Request timed out"}), (200, {}))
    client(peer).put_config("c", CONFIG)
    assert peer.count("PUT /connectors/c/config") == 4


def test_an_endless_rebalance_ends_at_the_deadline(peer: Peer) -> None:
    peer.on("PUT /connectors/c/config", (409, {"message": "rebalance"}))
    started = time.monotonic()
    with pytest.raises(ConnectUnreachableError, match="HTTP 409: rebalance"):
        client(peer, 1.5).put_config("c", CONFIG)
    assert time.monotonic() - started < 4


def test_a_server_error_is_not_repeated(peer: Peer) -> None:
    peer.on("PUT /connectors/c/config", (500, {"message": "disk full"}))
    with pytest.raises(ConnectError, match="disk full"):
        client(peer).put_config("c", CONFIG)
    assert peer.count("PUT /connectors/c/config") == 1


def test_nobody_listens() -> None:
    with pytest.raises(ConnectUnreachableError, match="Check that Kafka Connect runs"):
        ConnectClient("http://user:hidden@127.0.0.1:1", Deadline(0.5)).names()


def test_credentials_of_the_url_stay_out_of_messages() -> None:
    with pytest.raises(ConnectUnreachableError) as caught:
        ConnectClient("http://user:hidden@127.0.0.1:1", Deadline(0.1)).names()
    assert "hidden" not in str(caught.value)


def test_a_hanging_call_is_cut_off(peer: Peer) -> None:
    def hang() -> Answer:
        time.sleep(5)
        return 200, []

    peer.on("GET /connectors", hang)
    started = time.monotonic()
    with pytest.raises(ConnectUnreachableError, match="Timeout"):
        client(peer, 1.0).names()
    assert time.monotonic() - started < 4


def test_validation_lists_every_finding(peer: Peer) -> None:
    findings = [
        {"value": {"name": "slot.name", "errors": ["is not valid"]}},
        {"value": {"name": "database.hostname", "errors": ["no route"]}},
        {"value": {"name": "topic.prefix", "errors": []}},
    ]
    peer.on("PUT /connector-plugins/x.Postgres/config/validate", (200, {"configs": findings}))
    with pytest.raises(ConnectError) as caught:
        client(peer).ensure("c", CONFIG)
    assert "slot.name: is not valid" in str(caught.value)
    assert "database.hostname: no route" in str(caught.value)
    assert peer.count("PUT /connectors/c/config") == 0


def test_missing_plugin_is_named(peer: Peer) -> None:
    with pytest.raises(ConnectError, match=r"other\.Plugin is not installed"):
        client(peer).validate({"connector.class": "other.Plugin"})


def test_404_of_a_starting_worker_is_not_believed(peer: Peer) -> None:
    peer.on("GET /connectors/c/config", (404, {}), (404, {}), (200, {"name": "c", "tasks.max": "1"}))
    assert client(peer).config("c") == {"tasks.max": "1"}


def test_gone_is_gone(peer: Peer) -> None:
    with pytest.raises(NoConnectorError):
        client(peer).status("c")
    assert client(peer).delete("c") is False


def test_ensure_waits_until_all_tasks_run_and_stay(peer: Peer) -> None:
    peer.on(
        "GET /connectors/c/status",
        (404, {}), status("UNASSIGNED"), status("RUNNING"), status("RUNNING", "RUNNING"),
        status("RUNNING", "UNASSIGNED"), status("RUNNING", "RUNNING"),
    )  # fmt: skip
    assert client(peer, 30).ensure("c", CONFIG).running
    assert peer.count("GET /connectors/c/status") >= 8
    assert peer.bodies["PUT /connectors/c/config"] == {**CONFIG, "name": "c"}


def test_failed_task_is_restarted_once_then_explained(peer: Peer) -> None:
    trace = 'org.X: outer\n\tat a.b\nCaused by: FATAL: password authentication failed for user "d"\n\tat c.d\n' * 5
    peer.on("GET /connectors/c/status", status("RUNNING", "FAILED", trace=trace))
    with pytest.raises(ConnectError) as caught:
        client(peer).ensure("c", CONFIG)
    assert peer.count("POST /connectors/c/restart?includeTasks=true&onlyFailed=true") == 1
    assert "task 0 FAILED" in str(caught.value)
    assert "password authentication failed" in str(caught.value)
    assert "Cure: the source refuses the connector's password" in str(caught.value)
    assert "at a.b" not in str(caught.value)


def test_failed_task_that_a_restart_heals(peer: Peer) -> None:
    peer.on("GET /connectors/c/status", status("RUNNING", "FAILED"), status("RUNNING", "RUNNING"))
    assert client(peer).wait_running("c").running


def test_paused_connector_is_resumed(peer: Peer) -> None:
    peer.on("PUT /connectors/c/resume", (202, None))
    peer.on("GET /connectors/c/status", status("PAUSED", "PAUSED"), status("RUNNING", "RUNNING"))
    assert client(peer).ensure("c", CONFIG).running
    assert peer.count("PUT /connectors/c/resume") == 1


def test_never_running_ends_with_the_last_state(peer: Peer) -> None:
    peer.on("GET /connectors/c/status", status("RUNNING"))
    with pytest.raises(ConnectError, match="no task yet"):
        client(peer, 1).wait_running("c")


def test_offsets_and_names(peer: Peer) -> None:
    offset = {"partition": {"server": "p"}, "offset": {"lsn": 5}}
    peer.on("GET /connectors/c/offsets", (200, {"offsets": [offset]}))
    peer.on("GET /connectors", (200, ["b", "a"]))
    assert client(peer).offsets("c") == [offset]
    assert client(peer).names() == ["a", "b"]


def test_a_stored_offset_is_overwritten_whole(peer: Peer) -> None:
    peer.on("PATCH /connectors/c/offsets", (200, {"message": "done"}))
    client(peer).set_offset("c", {"server": "p"}, {"lsn": 5})
    body = {"offsets": [{"partition": {"server": "p"}, "offset": {"lsn": 5}}]}
    assert peer.bodies["PATCH /connectors/c/offsets"] == body


def test_running_without_reading_is_a_failure(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "MOVING_SECONDS", 1.0)
    peer.on("GET /connectors/c/status", status("RUNNING", "RUNNING"))
    peer.on("GET /connectors/c/offsets", (200, {"offsets": [{"offset": {"lsn": 5}}]}))
    with pytest.raises(ConnectError, match="is RUNNING but has read nothing for 1 s"):
        client(peer).ensure("c", {**CONFIG, "heartbeat.interval.ms": "100"})


@pytest.mark.parametrize("offset", [{"lsn": 6}, {"lsn": 5, "snapshot": "INITIAL"}])
def test_moving_offset_or_snapshot_counts_as_reading(peer: Peer, offset: dict[str, Any]) -> None:
    peer.on("GET /connectors/c/status", status("RUNNING", "RUNNING"))
    before, after = {"offsets": [{"offset": {"lsn": 5}}]}, {"offsets": [{"offset": offset}]}
    peer.on("GET /connectors/c/offsets", (200, before), (200, before), (200, after))
    assert client(peer).ensure("c", {**CONFIG, "heartbeat.interval.ms": "100"}).running


@pytest.mark.parametrize(
    ("trace", "cure"),
    [
        ('replication slot "s" is active for PID 7', "another consumer"),
        ("Publication autocreation is disabled, please create one", "publication is missing"),
        ("but this is no longer available on the server.", "slot lost"),
        ("ERROR: permission denied for table orders", "lacks a right"),
        ("Topic t not present in metadata after 60000 ms.", "topic is missing"),
    ],
)
def test_known_causes_have_a_cure(trace: str, cure: str) -> None:
    assert cure in explain(f"x.Y: wrapped\nCaused by: {trace}")


def test_long_lines_keep_both_ends() -> None:
    text = explain("x.E: start " + "y" * 5000 + " no longer available on the server")
    assert len(text) < 1000
    assert "start" in text
    assert "no longer available on the server" in text
