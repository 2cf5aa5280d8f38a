"""The toolchain on machines that lack something: one message each, naming the thing and the cure."""

from __future__ import annotations

import collections
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain import debian, engine, preflight
from toolchain.console import Part, ToolchainError, table
from toolchain.places import ROOT, Places

Commands = Callable[[str, str], Path]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(root=tmp_path / "clone", cache=tmp_path / "cache")
    found.logs.mkdir(parents=True)
    return found


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """A PATH with nothing of this machine but a shell's basics; the result adds a fake command to it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "sleep", "cat", "touch", "chmod", "dirname", "mkdir", "cksum", "rm"):
        (folder / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(debian, "_in_sbin", lambda command: False)
    monkeypatch.delenv("DOCKER_HOST", raising=False)

    def add(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return add


@pytest.fixture
def not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(engine, "PID_FILE", tmp_path / "docker.pid")
    monkeypatch.setattr(engine, "SYSTEMD", tmp_path / "no-systemd")


def test_cache_is_where_the_environment_says(tmp_path: Path) -> None:
    assert Places.of({"CDC_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}).cache == Path("/a/b")
    assert Places.of({"XDG_CACHE_HOME": "/c"}).cache == Path("/c/cdc-pipeline")
    assert Places.of({"HOME": "/h"}).cache == Path("/h/.cache/cdc-pipeline")


def test_table_aligns_its_columns() -> None:
    lines = table(
        [
            Part(name="a", version="1", source="built", where="/x", seconds=2.6),
            Part(name="longer", version="10", source="present", where="/y"),
        ]
    ).splitlines()
    assert [line.index("/") for line in lines[1:]] == [lines[0].index("WHERE")] * 2
    assert " 3 " in lines[1]


@pytest.mark.parametrize(
    ("system", "processor", "expected"),
    [
        ("Linux", "x86_64", ("linux", "amd64")),
        ("Linux", "aarch64", ("linux", "arm64")),
        ("Darwin", "arm64", ("darwin", "arm64")),
    ],
)
def test_machine_in_gos_names(system: str, processor: str, expected: tuple[str, str]) -> None:
    found = preflight.machine(system, processor)
    assert (found.system, found.architecture) == expected


@pytest.mark.parametrize(("system", "processor"), [("Linux", "riscv64"), ("Windows", "AMD64"), ("Linux", "i686")])
def test_unsupported_machine_is_named_with_the_cure(system: str, processor: str) -> None:
    with pytest.raises(ToolchainError, match=rf"{system} on {processor} is not supported; use Linux or macOS"):
        preflight.machine(system, processor)


def test_full_disk_names_folder_need_and_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = collections.namedtuple("usage", "total used free")
    asked: list[Path] = []

    def disk_usage(path: Path) -> object:
        asked.append(path)
        return usage(10 << 30, 9 << 30, 1 << 30)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    folder = tmp_path / "not" / "yet"
    with pytest.raises(
        ToolchainError, match=rf"disk nearly full: builds needs 6 GiB free at {folder}, 1.0 GiB are; move"
    ):
        preflight.need_free(folder, 6, purpose="builds", cure="move it")
    assert asked == [tmp_path]
    preflight.need_free(folder, 0.5, purpose="builds", cure="move it")


@pytest.mark.usefixtures("not_root", "commands")
def test_everything_missing_is_said_in_one_message(places: Places) -> None:
    with pytest.raises(ToolchainError) as error:
        debian.require([debian.DOCKERD, debian.GO, *debian.IMAGE_TOOLS], logs=places.logs)
    text = str(error.value)
    for word in ("dockerd", "go ", "debootstrap", "mvn", "java"):
        assert f"  {word}" in text
    assert "sudo apt-get install" in text
    assert "docker.io" in text.splitlines()[-1]
    assert "openjdk-17-jre-headless" in text.splitlines()[-1]


@pytest.mark.usefixtures("root")
def test_root_gets_missing_packages_installed(places: Places, commands: Commands, tmp_path: Path) -> None:
    said = tmp_path / "said"
    go = tmp_path / "bin" / "go"
    commands("apt-get", f'echo "$@" >> {said}; case "$*" in *install*) touch {go}; chmod 755 {go};; esac')
    debian.require([debian.GO], logs=places.logs)
    update, install = said.read_text().splitlines()
    assert update.endswith("update -q")
    assert install.endswith("install -q -y --no-install-recommends golang-go")
    debian.require([debian.GO], logs=places.logs)
    assert len(said.read_text().splitlines()) == 2


@pytest.mark.usefixtures("root")
def test_failed_apt_names_packages_and_log(places: Places, commands: Commands) -> None:
    commands("apt-get", "echo 'E: no space left'; exit 100")
    with pytest.raises(
        ToolchainError, match=r"installing golang-go failed: apt-get update(.|\n)*apt.log(.|\n)*E: no space left"
    ):
        debian.require([debian.GO], logs=places.logs)


def test_engine_that_answers_is_used(places: Places, commands: Commands, tmp_path: Path) -> None:
    commands("docker", f"echo '27.1|{tmp_path}/nowhere'")
    part = engine.ensure_engine(places, {})
    assert (part.version, part.source, part.where) == ("27.1", "present", f"{tmp_path}/nowhere")


def test_engine_that_hangs_is_left_after_the_deadline(commands: Commands) -> None:
    commands("docker", "exec sleep 60")
    started = time.monotonic()
    assert "no answer within" in engine.ask(timeout=0.3).error
    assert time.monotonic() - started < 5


def test_remote_engine_that_is_down_is_not_replaced(places: Places, commands: Commands) -> None:
    commands("docker", "echo 'connection refused' >&2; exit 1")
    with pytest.raises(
        ToolchainError, match=r"DOCKER_HOST=tcp://far:2375 doesn't answer \(connection refused\).*unset"
    ):
        engine.ensure_engine(places, {"DOCKER_HOST": "tcp://far:2375"})


def test_forbidden_socket_names_the_group(places: Places, commands: Commands) -> None:
    commands("docker", "echo 'permission denied while trying to connect to the socket' >&2; exit 1")
    with pytest.raises(ToolchainError, match="usermod -aG docker"):
        engine.ensure_engine(places, {})


@pytest.mark.usefixtures("not_root", "commands")
def test_no_docker_and_no_root(places: Places) -> None:
    with pytest.raises(
        ToolchainError, match=r"dockerd \(runs the containers\): install Docker Engine(.|\n)*or run this as root"
    ):
        engine.ensure_engine(places, {})


@pytest.mark.usefixtures("not_root")
def test_stopped_engine_and_no_root(places: Places, commands: Commands) -> None:
    commands("docker", "echo 'cannot connect' >&2; exit 1")
    commands("dockerd", "exit 0")
    with pytest.raises(ToolchainError, match="not root; start it: sudo systemctl start docker"):
        engine.ensure_engine(places, {})


@pytest.mark.usefixtures("root")
def test_stopped_engine_is_started(places: Places, commands: Commands, tmp_path: Path) -> None:
    up = tmp_path / "up"
    commands("docker", f"[ -e {up} ] && echo '20.10|{tmp_path}/none' || {{ echo 'cannot connect' >&2; exit 1; }}")
    commands("dockerd", f"echo starting; touch {up}; exec sleep 2")
    engine.PID_FILE.write_text("999999999")
    part = engine.ensure_engine(places, {})
    assert (part.source, part.version) == ("started", "20.10")
    assert (places.logs / "dockerd.log").read_text() == "starting\n"
    assert not engine.PID_FILE.exists()


@pytest.mark.usefixtures("root")
def test_engine_that_ends_at_once_shows_its_log(places: Places, commands: Commands) -> None:
    commands("docker", "echo 'cannot connect' >&2; exit 1")
    commands("dockerd", "echo 'failed to load iptables'; exit 1")
    with pytest.raises(ToolchainError, match=r"engine ended; its log: .*dockerd.log\nfailed to load iptables"):
        engine.ensure_engine(places, {})


def test_pid_file_of_another_program_does_not_count(tmp_path: Path) -> None:
    pid_file, proc = tmp_path / "pid", tmp_path / "proc"
    proc.mkdir()  # without it the machine's own processes would be asked
    assert engine.running_engine(pid_file, proc) is None
    pid_file.write_text("12\n")
    assert engine.running_engine(pid_file, proc) is None
    (proc / "12").mkdir(parents=True)
    for stat, found in (("bash) S", None), ("dockerd) Z", None), ("dockerd) S", 12), ("od) d) S", None)):
        (proc / "12" / "stat").write_text(f"12 ({stat} 1 12 12 0\n")
        assert engine.running_engine(pid_file, proc) == found


def _clone(tmp_path: Path) -> Path:
    clone = tmp_path / "clone"
    (clone / "toolchain").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "toolchain" / "bootstrap.sh", clone / "toolchain")
    for name in ("requirements.txt", "requirements-dev.txt"):
        (clone / name).write_text("")
    return clone


def _bootstrap(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(clone / "toolchain" / "bootstrap.sh"), *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_bootstrap_without_python_and_root(tmp_path: Path, commands: Commands) -> None:
    commands("id", "echo 1000")
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        commands(name, "exit 1")
    clone = _clone(tmp_path)
    script = clone / "toolchain" / "bootstrap.sh"
    script.write_text(script.read_text().replace("/usr/bin/python3", "/nonexistent/python3"))
    done = _bootstrap(clone, "ensure")
    assert done.returncode == 1
    assert "no Python 3.11 or newer with venv on PATH; install it" in done.stderr


def test_bootstrap_runs_the_verb_when_nothing_changed(tmp_path: Path) -> None:
    clone = _clone(tmp_path)
    venv = clone / ".local" / "venv" / "bin"
    venv.mkdir(parents=True)
    fake = venv / "python"
    fake.write_text('#!/bin/sh\necho "ran $*"\n')
    fake.chmod(0o755)
    wanted = subprocess.run(["cksum"], input="", capture_output=True, text=True, check=True).stdout.strip()
    (venv.parent / ".requirements").write_text(wanted)
    done = _bootstrap(clone, "ensure", "x")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran -m toolchain ensure x\n", "")
    (clone / "requirements.txt").write_text("surely-not-a-package-of-anyone==0\n")
    done = _bootstrap(clone, "venv")
    assert "ran -m pip install" not in done.stdout
    assert "Python packages: done" in done.stderr
    assert "ran -m pip install" in (clone / ".local" / "logs" / "venv.log").read_text()
