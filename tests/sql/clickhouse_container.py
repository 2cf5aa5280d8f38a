"""Starts a ClickHouse for tests: the image of ``.local/images.json``, or the built image's server as a plain process.

Which one: the environment variable ``CDC_CLICKHOUSE_PROCESS_VENV`` names a virtual environment with ``chdb-core``
and makes it a process; without it a container of ``.local/images.json`` (key ``clickhouse``) or of ``image``.

    with clickhouse_server() as server:
        client = server.client()                        # clickhouse_driver.Client as cdc_admin
        server.query("SELECT 1", user="analytics_user")  # over HTTP, answer as text
        server.restart(kill=True)                       # kill -9 and start again on the same data
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

REPOSITORY = Path(__file__).resolve().parents[2]
PROCESS_VENV = "CDC_CLICKHOUSE_PROCESS_VENV"
ADMIN = "cdc_admin"
READER = "analytics_user"


@dataclass(frozen=True, kw_only=True)
class User:
    """A user for ``users.d``; ``profile`` is ``default`` or ``readonly`` (readonly = 1)."""

    password: str
    profile: str = "default"
    grants: tuple[str, ...] = ()


DEFAULT_USERS: Mapping[str, User] = {
    ADMIN: User(password="admin-secret"),
    READER: User(password="reader-secret", profile="readonly", grants=("GRANT SELECT ON analytics.*",)),
}


@dataclass(kw_only=True)
class ClickHouseServer:
    """A running server. Ports are on 127.0.0.1. ``folder`` holds its configuration, and its data for a process."""

    http_port: int
    native_port: int
    metrics_port: int
    users: Mapping[str, User]
    folder: Path
    image: str | None
    network: str | None = None
    name: str = ""
    host: str = "127.0.0.1"
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def is_process(self) -> bool:
        """Whether the server is a plain process, not a container."""
        return self.image is None

    def client(self, user: str = ADMIN, database: str = "default", **options: Any) -> Any:
        """A clickhouse_driver client over the native protocol; ``options`` go to it."""
        from clickhouse_driver import Client  # noqa: PLC0415  (only tests that need it pay for it)

        return Client(
            host=self.host,
            port=self.native_port,
            user=user,
            password=self.users[user].password,
            database=database,
            **options,
        )

    def query(
        self, sql: str, user: str = ADMIN, data: bytes | None = None, timeout: float = 60, **parameters: str
    ) -> str:
        """Runs one statement over HTTP and returns the answer; raises RuntimeError with the server's text."""
        url = f"http://{self.host}:{self.http_port}/?" + urlencode({"query": sql, **parameters})
        headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": self.users[user].password}
        request = urllib.request.Request(url, data=data or b"", headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"HTTP {error.code}: {error.read().decode()}") from None

    def start(self, timeout: float = 60) -> None:
        """Starts the server (again, on the same data) and waits until ``/ping`` answers."""
        if self.image is None:
            self._process = self._start_process()
        elif self._container_exists():
            _docker("start", self.name)
        else:
            self._run_container()
        self.wait(timeout)

    def wait(self, timeout: float = 60) -> None:
        """Waits until ``/ping`` answers; raises TimeoutError with the end of the log after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://{self.host}:{self.http_port}/ping", timeout=2) as answer,
            ):
                if answer.read() == b"Ok.\n":
                    return
            if self._process is not None and self._process.poll() is not None:
                break
            time.sleep(0.1)
        raise TimeoutError(f"ClickHouse did not answer /ping within {timeout} s:\n{self.log()[-4000:]}")

    def stop(self, *, kill: bool = False) -> float:
        """Stops with SIGTERM (or SIGKILL); returns the seconds it took. The data stays."""
        started = time.monotonic()
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            self._process.wait(30)
            self._process = None
        elif self.image is not None:
            _docker("kill", self.name) if kill else _docker("stop", "--time", "30", self.name)
        return time.monotonic() - started

    def restart(self, *, kill: bool = False) -> None:
        """Stops (``kill``: with SIGKILL) and starts again on the same data."""
        self.stop(kill=kill)
        self.start()

    def log(self) -> str:
        """What the server wrote to stdout and stderr so far."""
        if self.image is None:
            file = self.folder / "server.log"
            return file.read_text(errors="replace") if file.exists() else ""
        answer = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=False)
        return answer.stdout + answer.stderr

    def remove(self) -> None:
        """Ends the server and removes its container, volume and files."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        if self.image is not None:
            subprocess.run(["docker", "rm", "-f", "-v", self.name], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start_process(self) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY / "images" / "clickhouse"),
            "CLICKHOUSE_CONFIG_DIR": str(self.folder / "etc"),
        }
        python = Path(os.environ[PROCESS_VENV]) / "bin" / "python"
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen([python, "-m", "server"], env=environment, stdout=log, stderr=log)

    def _container_exists(self) -> bool:
        answer = subprocess.run(["docker", "inspect", self.name], capture_output=True, check=False)
        return answer.returncode == 0

    def _run_container(self) -> None:
        published = [(self.http_port, 8123), (self.native_port, 9000), (self.metrics_port, 9363)]
        ports = [part for host, inner in published for part in ("-p", f"{self.host}:{host}:{inner}")]
        folders = [
            part
            for name in ("config.d", "users.d")
            for part in ("-v", f"{self.folder}/etc/{name}:/etc/clickhouse-server/{name}:ro")
        ]
        network = ["--network", self.network] if self.network else []
        assert self.image is not None
        _docker("run", "-d", "--name", self.name, *network, *ports, *folders, self.image)


@contextlib.contextmanager
def clickhouse_server(
    *,
    users: Mapping[str, User] = DEFAULT_USERS,
    config: Mapping[str, str] | None = None,
    image: str | None = None,
    network: str | None = None,
    timeout: float = 60,
) -> Iterator[ClickHouseServer]:
    """A server that is ready, and is removed with its data afterwards.

    ``users`` become ``users.d/test.xml``; ``config`` maps a file name to XML text for ``config.d``; ``image`` is a
    reference (default: the one of ``.local/images.json``); ``network`` is a Docker network to join;
    ``timeout`` in seconds for the start. Raises RuntimeError when there is neither an image nor a process venv.
    """
    as_process = bool(os.environ.get(PROCESS_VENV)) and image is None
    reference = None if as_process else image or image_reference()
    folder = Path(tempfile.mkdtemp(prefix="cdc-clickhouse-"))
    http, native, metrics = _free_ports(3)
    server = ClickHouseServer(
        http_port=http,
        native_port=native,
        metrics_port=metrics,
        users=users,
        folder=folder,
        image=reference,
        network=network,
        name=f"cdc-test-clickhouse-{uuid.uuid4().hex[:8]}",
    )
    try:
        _write_configuration(server, config or {})
        server.start(timeout)
        yield server
    finally:
        server.remove()


def image_reference() -> str:
    """The reference of ClickHouse in ``.local/images.json``; raises RuntimeError with the cure when it is absent."""
    file = REPOSITORY / ".local" / "images.json"
    if file.exists() and "clickhouse" in (images := json.loads(file.read_text())):
        return str(images["clickhouse"]["reference"])
    raise RuntimeError(
        f"No ClickHouse image in {file}: run `python -m toolchain images`, or set {PROCESS_VENV} "
        "to a virtual environment with chdb-core"
    )


def _write_configuration(server: ClickHouseServer, config: Mapping[str, str]) -> None:
    etc = server.folder / "etc"
    for name in ("config.d", "users.d"):
        (etc / name).mkdir(parents=True)
    server.folder.chmod(0o755)
    (etc / "users.d" / "test.xml").write_text(users_xml(server.users))
    for name, text in config.items():
        (etc / "config.d" / name).write_text(text)
    if server.is_process:
        shutil.copy(REPOSITORY / "images" / "clickhouse" / "config.xml", etc / "config.xml")
        shutil.copy(REPOSITORY / "images" / "clickhouse" / "users.xml", etc / "users.xml")
        (etc / "config.d" / "zz-process.xml").write_text(
            f"<clickhouse><listen_host>127.0.0.1</listen_host><path>{server.folder}/data/</path>"
            f"<http_port>{server.http_port}</http_port><tcp_port>{server.native_port}</tcp_port>"
            f"<prometheus><port>{server.metrics_port}</port></prometheus></clickhouse>"
        )


def users_xml(users: Mapping[str, User]) -> str:
    """The text of a ``users.d`` file with these users and the profile ``readonly``."""
    entries = "".join(
        f"<{name}><password>{user.password}</password><networks><ip>::/0</ip></networks>"
        f"<profile>{user.profile}</profile><quota>default</quota>"
        + (f"<grants>{''.join(f'<query>{grant}</query>' for grant in user.grants)}</grants>" if user.grants else "")
        + f"</{name}>"
        for name, user in users.items()
    )
    return (
        f"<clickhouse><profiles><readonly><readonly>1</readonly></readonly></profiles>"
        f'<users><default remove="remove"/>{entries}</users></clickhouse>'
    )


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [int(item.getsockname()[1]) for item in sockets]


def _docker(*arguments: str) -> str:
    answer = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"docker {' '.join(arguments[:2])} failed: {answer.stderr.strip()}")
    return answer.stdout
