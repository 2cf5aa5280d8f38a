"""The Docker engine: one that answers is used, an installed one is started, else it is installed (Debian, root)."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain import debian
from toolchain.console import Part, ToolchainError, say, step
from toolchain.places import Places
from toolchain.preflight import is_root, need_free
from toolchain.processes import runs

ANSWER_SECONDS = 10.0
START_SECONDS = 90.0
ENGINE_GIB = 3.0
PID_FILE = Path("/var/run/docker.pid")
SYSTEMD = Path("/run/systemd/system")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the engine said: its version and data folder, or why it didn't answer."""

    version: str = ""
    data: str = ""
    error: str = ""


def ask(timeout: float = ANSWER_SECONDS) -> Answer:
    """Ask the engine that the docker command is set up for, at most ``timeout`` seconds."""
    if not shutil.which("docker"):
        return Answer(error="no docker command on PATH")
    command = ["docker", "info", "--format", "{{.ServerVersion}}|{{.DockerRootDir}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return Answer(error=f"no answer within {timeout:.0f} s")
    version, _, data = done.stdout.strip().partition("|")
    if done.returncode == 0 and version:
        return Answer(version=version, data=data)
    return Answer(error=(done.stderr.strip() or "the engine doesn't answer").splitlines()[-1])


def needs(environ: Mapping[str, str] = os.environ) -> list[debian.Need]:
    """What must be installed before an engine can answer.

    Raises:
        ToolchainError: installing would not help: another engine is chosen, or this user may not use it.
    """
    answer = ask()
    if answer.version:
        return []
    host = environ.get("DOCKER_HOST", "")
    if host and host != "unix:///var/run/docker.sock":
        raise ToolchainError(
            f"the Docker engine at DOCKER_HOST={host} doesn't answer ({answer.error}); "
            "start it, or unset DOCKER_HOST to use the local engine"
        )
    if "permission denied" in answer.error.lower():
        raise ToolchainError(
            "this user may not use the Docker engine (permission denied on its socket); "
            "run as root, or: sudo usermod -aG docker $USER, then log in again"
        )
    return debian.missing([debian.DOCKERD])


def ensure_engine(places: Places, environ: Mapping[str, str] = os.environ, *, room: bool = True) -> Part:
    """Make the engine answer, and with ``room`` see that its disk has some.

    Raises:
        ToolchainError: it can't be reached, started or installed; says why and what to do.
    """
    started = time.monotonic()
    answer, source = ask(), "present"
    if not answer.version:
        debian.require(needs(environ), logs=places.logs)
        _ensure_client(places)
        if not ask().version:
            _start(places)
        answer, source = ask(), "started"
        if not answer.version:
            raise ToolchainError(f"the Docker engine was started and doesn't answer: {answer.error}")
    if room and Path(answer.data).is_dir():
        cure = "free some (docker system prune) or move Docker's data-root to a larger disk"
        need_free(Path(answer.data), ENGINE_GIB, purpose="the Docker engine", cure=cure)
    seconds = time.monotonic() - started
    return Part(name="Docker engine", version=answer.version, source=source, where=answer.data, seconds=seconds)


def _ensure_client(places: Places) -> None:
    """Newer Debian keeps the docker command in a package of its own."""
    if not shutil.which("docker"):
        client = debian.Need(
            command="docker", packages=("docker-cli",), why="talks to the engine", elsewhere="install Docker's CLI"
        )
        debian.require([client], logs=places.logs)


def _start(places: Places) -> None:
    if not is_root():
        raise ToolchainError(
            "the Docker engine is installed but doesn't answer, and this user is not root; "
            "start it: sudo systemctl start docker (or sudo dockerd), or run this as root"
        )
    if SYSTEMD.is_dir():
        with step("starting the Docker engine (systemctl start docker)"):
            done = subprocess.run(["systemctl", "start", "docker"], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise ToolchainError(f"systemctl start docker failed: {done.stderr.strip()}; see journalctl -u docker")
            _wait(None, Path("journalctl -u docker"))
        return
    if other := running_engine(PID_FILE):
        say(f"dockerd (process {other}) runs and doesn't answer yet; waiting for it")
        _wait(None, Path("the log of that process"), hint=f"; end process {other} and run this again")
        return
    PID_FILE.unlink(missing_ok=True)
    places.logs.mkdir(parents=True, exist_ok=True)
    log = places.logs / "dockerd.log"
    with step(f"starting the Docker engine (no systemd here; log {log})"), log.open("ab") as output:
        engine = subprocess.Popen(
            [shutil.which("dockerd") or "/usr/sbin/dockerd"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
        )
        _wait(engine, log)


def running_engine(pid_file: Path, proc: Path = Path("/proc")) -> int | None:
    """Process number of a live dockerd; a pid file that outlived its engine doesn't count, nor does a zombie."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return None
    return pid if runs(pid, "dockerd", proc) else None


def _wait(engine: subprocess.Popen[bytes] | None, log: Path, hint: str = "") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if ask(timeout=5).version:
            return
        if engine and engine.poll() is not None:
            break
        time.sleep(0.5)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.is_file() else ""
    ended = "ended" if engine and engine.poll() is not None else f"did not answer within {START_SECONDS:.0f} s"
    raise ToolchainError(f"the Docker engine {ended}; its log: {log}{hint}\n{tail}".rstrip())
