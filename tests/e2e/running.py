"""A stack that was brought up for real, and what tests do with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
import yaml

from cdc.connections import Connections
from components.settings import Settings

ROOT = Path(__file__).parents[2]


@dataclass(kw_only=True)
class Stack:
    """One stack under test: its configuration file is ours, so tests may change it."""

    name: str
    config: dict[str, Any]
    printed: list[str] = field(default_factory=list)
    is_up: bool = False

    @property
    def file(self) -> Path:
        return ROOT / f"Pulumi.{self.name}.yaml"

    def write_config(self, overrides: Mapping[str, Any] | None = None) -> None:
        """Write the stack's file; the salt that Pulumi keeps in it stays."""
        known = yaml.safe_load(self.file.read_text()) if self.file.exists() else {}
        values = {f"cdc:{key}": value for key, value in {**self.config, **(overrides or {})}.items()}
        self.file.write_text(yaml.safe_dump({**(known or {}), "config": values}))

    def make(self, target: str, *, expect: int = 0, timeout: float = 2400, **variables: str) -> str:
        """Run ``make <target>`` as a user would; returns what it printed."""
        done = subprocess.run(
            ["make", "--no-print-directory", target],
            cwd=ROOT,
            env={**os.environ, "STACK": self.name, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=timeout,
            check=False,
        )
        self.printed.append(done.stdout)
        if target in ("up", "down"):
            self.is_up = target == "up" and (self.is_up or done.returncode == 0)
        assert (done.returncode == 0) is (expect == 0), f"make {target} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def pulumi(self, *arguments: str) -> str:
        """Run the Pulumi that ``make env`` gives, on this stack."""
        script = f'eval "$(make --no-print-directory env)" && pulumi {" ".join(arguments)} --stack {self.name}'
        return subprocess.run(
            ["bash", "-c", script], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=600
        ).stdout

    def planned_changes(self) -> list[str]:
        """What ``pulumi preview`` would change: ``op type`` of each step that is not ``same``."""
        steps = json.loads(self.pulumi("preview", "--json"))["steps"]
        return [
            f"{step['op']} {step['urn'].split('::')[-2].split('$')[-1]}"
            for step in steps
            if step["op"] not in ("same", "read")
        ]

    def connections(self) -> Connections:
        return Connections(outputs=json.loads(self.pulumi("stack", "output", "--json", "--show-secrets")))


@dataclass(kw_only=True)
class Live:
    """The running pipeline as tests use it; both sides stay connected."""

    stack: Stack
    connections: Connections

    def source(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connections.postgres() as connection:
            # Without values a % in the text is a plain %.
            cursor = connection.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def analytics(self, sql: str, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        client = self.connections.clickhouse()
        try:
            return list(client.execute(sql, values))
        finally:
            client.disconnect()

    def cdc(self, *arguments: str, expect: int = 0) -> str:
        """Run ``python -m cdc`` on this stack; returns what it printed, progress included."""
        done = subprocess.run(
            [sys.executable, "-m", "cdc", "--outputs", "-", *arguments],
            cwd=ROOT,
            input=json.dumps(dict(self.connections.outputs)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == expect, f"cdc {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def admin(self, sql: str, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement in ClickHouse that nobody else may: to break things."""
        client = self.connections.clickhouse_admin()
        try:
            return list(client.execute(sql, values) or [])
        finally:
            client.disconnect()

    def container(self, part: str) -> str:
        return str(self.connections.outputs["containers"][part])

    def kill(self, part: str) -> float:
        """Kill the part's process as a crash would (no stop by Docker's hand); returns when."""
        pid = int(docker("inspect", "--format", "{{.State.Pid}}", self.container(part)))
        assert pid > 1
        os.kill(pid, signal.SIGKILL)
        return time.monotonic()

    def wait_healthy(self, part: str, timeout: float = 120) -> None:
        eventually(
            lambda: docker("inspect", "--format", "{{.State.Health.Status}}", self.container(part)).strip()
            == "healthy",
            timeout,
            f"{part} healthy",
        )

    @property
    def tables(self) -> list[str]:
        """The captured tables, ``schema.table``."""
        return Settings.from_mapping(self.stack.config).tables

    def wait_equal(self, timeout: float = 60, tables: Sequence[str] = ()) -> int:
        """Wait until ClickHouse holds exactly the rows of PostgreSQL, in every captured table (or ``tables``); returns
        how many rows that are. Shows the difference."""
        count = 0
        for table in tables or self.tables:
            count += self._wait_equal(table, timeout)
        assert not self.analytics("SELECT * FROM ingest_errors FINAL WHERE replayed_at IS NULL"), (
            "messages were quarantined"
        )
        return count

    def _wait_equal(self, table: str, timeout: float) -> int:
        schema, _, name = table.partition(".")
        shown = ", ".join(
            f'"{row[0]}"'
            for row in self.source(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
                " ORDER BY ordinal_position",
                schema,
                name,
            )
        )
        there: Counter[tuple[Any, ...]] = Counter()
        here: Counter[tuple[Any, ...]] = Counter()

        def equal() -> bool:
            nonlocal there, here
            there = Counter(_plain(row) for row in self.source(f"SELECT {shown} FROM {table}"))
            here = Counter(_plain(row) for row in self.analytics(f"SELECT {shown} FROM {name}"))
            return there == here

        try:
            eventually(equal, timeout, f"{table} equal on both sides")
        except AssertionError as error:
            only_there, only_here = [sorted(side, key=str)[:5] for side in (there - here, here - there)]
            raise AssertionError(
                f"{error}: PostgreSQL has {there.total()} rows of {table}, ClickHouse {here.total()}; "
                f"only in PostgreSQL: {only_there}; only in ClickHouse: {only_here}"
            ) from None
        return there.total()

    def arrived(self, order: int) -> bool:
        return self.analytics("SELECT count() FROM orders WHERE id = %(id)s", {"id": order}) == [(1,)]

    def connector(self) -> dict[str, Any]:
        url = f"{self.connections.connect_url}/connectors/{self.connections.outputs['connectorName']}/status"
        answer: dict[str, Any] = requests.get(url, timeout=10).json()
        return answer


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Times without a zone mean UTC on both sides."""
    return tuple(
        value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) and value.tzinfo else value
        for value in row
    )


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


def eventually(probe: Callable[[], bool], timeout: float, what: str, *, every: float = 0.1) -> float:
    """Wait for ``probe``; returns the seconds it took. A probe that fails while a part is away counts as not yet."""
    start = time.monotonic()
    last: Exception | None = None
    while time.monotonic() - start < timeout:
        try:
            if probe():
                return time.monotonic() - start
            last = None
        except Exception as error:
            last = error
        time.sleep(every)
    raise AssertionError(f"not within {timeout:.0f} s: {what}" + (f" (last: {last})" if last else ""))


@contextmanager
def listening_on(port: int) -> Iterator[None]:
    """Occupy a port of 127.0.0.1."""
    import socket  # noqa: PLC0415

    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        yield
