"""Runs an API server and its store on 127.0.0.1 for as long as the tests last."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

from tests.kube.client import Kubernetes
from toolchain.kubernetes import ControlPlane
from toolchain.recipes_run import end_with_parent

START_SECONDS = 90.0
STOP_SECONDS = 15.0


@contextmanager
def running(programs: ControlPlane, home: Path) -> Iterator[Kubernetes]:
    """A server that holds nothing but what Kubernetes itself puts there; ``home`` takes its data and logs."""
    with ExitStack() as stack:
        client_port, peer_port, api_port = _free_ports(3)
        etcd = f"http://127.0.0.1:{client_port}"
        peer = f"http://127.0.0.1:{peer_port}"
        stack.enter_context(
            _process(
                [
                    str(programs.etcd),
                    f"--data-dir={home / 'etcd'}",
                    *(f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}"),
                    *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
                    f"--initial-cluster=default={peer}",
                    "--unsafe-no-fsync",
                ],
                home / "etcd.log",
            )
        )
        token = secrets.token_urlsafe(24)
        key, tokens = home / "service-account.key", home / "tokens.csv"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True, timeout=60)
        _private(tokens, f'{token},tests,tests,"system:masters"\n'.encode())
        server = stack.enter_context(
            _process(
                [
                    str(programs.api_server),
                    f"--etcd-servers={etcd}",
                    f"--cert-dir={home / 'certificates'}",
                    *("--bind-address=127.0.0.1", f"--secure-port={api_port}"),
                    # Only written into the object that tells pods where the server is; loopback is not allowed there.
                    "--advertise-address=192.0.2.1",
                    "--service-account-issuer=https://kubernetes.default.svc",
                    *(f"--service-account-signing-key-file={key}", f"--service-account-key-file={key}"),
                    *(f"--token-auth-file={tokens}", "--authorization-mode=RBAC"),
                    # Nothing here makes the namespaces' default service accounts.
                    "--disable-admission-plugins=ServiceAccount",
                ],
                home / "kube-apiserver.log",
            )
        )
        url = f"https://127.0.0.1:{api_port}"
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {token}"
        session.trust_env = False  # REQUESTS_CA_BUNDLE would win over `verify`
        session.verify = str(home / "certificates" / "apiserver.crt")
        _wait(url, session, server, home / "kube-apiserver.log")
        yield Kubernetes(url=url, session=session)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)


@contextmanager
def _process(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - it only makes one system call
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, session: requests.Session, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            answer = session.get(f"{url}/readyz", timeout=5)
            if answer.status_code == 200:
                return
            last = answer.text
        except (requests.RequestException, OSError) as error:
            # OSError: its certificate is not written yet.
            last = str(error)
        if server.poll() is not None or time.monotonic() > end:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise RuntimeError(f"the API server did not get ready: {last}\n{tail}")
        time.sleep(0.2)
