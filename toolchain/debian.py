"""System packages: what is missing is installed on Debian and Ubuntu as root, else all named in one message."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from toolchain.console import ToolchainError, say, step
from toolchain.preflight import is_root
from toolchain.recipes_run import CommandError, run_logged

INSTALL_DEADLINE = 900.0


@dataclass(frozen=True, kw_only=True)
class Need:
    """A command this run can't do without."""

    command: str
    packages: tuple[str, ...]
    """Debian packages that bring it."""
    why: str
    elsewhere: str
    """How to get it where apt can't be used."""


DOCKERD = Need(
    command="dockerd",
    packages=("docker.io", "iptables", "ca-certificates"),
    why="runs the containers",
    elsewhere="install Docker Engine or Docker Desktop and start it",
)
GO = Need(
    command="go",
    packages=("golang-go",),
    why="builds Pulumi where it can't be downloaded",
    elsewhere="install Go 1.26 or newer and put it on PATH",
)
IMAGE_TOOLS = (
    Need(command="debootstrap", packages=("debootstrap",), why="makes the base image", elsewhere="install debootstrap"),
    Need(command="mvn", packages=("maven",), why="fetches Kafka and Debezium", elsewhere="install Maven 3.8 or newer"),
    Need(
        command="java",
        packages=("openjdk-17-jre-headless",),
        why="runs Maven",
        elsewhere="install a Java 17 runtime",
    ),
)


def missing(needs: Sequence[Need], which: Callable[[str], str | None] = shutil.which) -> list[Need]:
    """Those of ``needs`` whose command is not on PATH (nor in the folders where apt puts daemons)."""
    return [need for need in needs if not which(need.command) and not _in_sbin(need.command)]


def require(needs: Sequence[Need], *, logs: Path) -> None:
    """Install what is missing of ``needs``.

    Raises:
        ToolchainError: it can't be installed here; one message lists everything that is missing with its cure.
    """
    absent = missing(needs)
    if not absent:
        return
    packages = sorted({package for need in absent for package in need.packages})
    if not is_root() or not shutil.which("apt-get"):
        raise ToolchainError(_unmet(absent, packages))
    _install(packages, logs)
    if absent := missing(needs):
        raise ToolchainError(_unmet(absent, packages))


def _unmet(absent: Sequence[Need], packages: Sequence[str]) -> str:
    lines = [f"  {need.command} ({need.why}): {need.elsewhere}" for need in absent]
    cure = f"on Debian or Ubuntu: sudo apt-get install {' '.join(packages)}, or run this as root"
    return "\n".join(["missing on this machine:", *lines, cure])


def _install(packages: Sequence[str], logs: Path) -> None:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    cure = "check the package sources (apt-get update) and run this again"
    with step(f"installing Debian packages {' '.join(packages)}"):
        try:
            for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *packages]):
                run_logged(
                    ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::http::Timeout=30", *command],
                    what=f"apt-get {command[0]}",
                    cure=cure,
                    deadline=INSTALL_DEADLINE,
                    log=say,
                    log_file=logs / "apt.log",
                    env=environ,
                )
        except CommandError as error:
            raise ToolchainError(f"installing {' '.join(packages)} failed: {error}") from error


def _in_sbin(command: str) -> bool:
    return any((Path(folder) / command).exists() for folder in ("/usr/sbin", "/sbin"))


def unpacked(package: str, command: str, *, cache: Path, logs: Path) -> Path:
    """The program ``command``: from PATH, or taken out of its Debian package into ``cache``, nothing installed.

    For packages that would start a service when installed. Raises ToolchainError where it can't be had.
    """
    if found := shutil.which(command):
        return Path(found)
    program = cache / "debian" / package / "usr" / "bin" / command
    if not program.exists():
        if not shutil.which("apt-get"):
            raise ToolchainError(f"{command} is missing and this is no Debian: install {package} and put it on PATH")
        program.parents[2].parent.mkdir(parents=True, exist_ok=True)
        with step(f"fetching {command}"), TemporaryDirectory(dir=cache / "debian") as folder:
            _unpack(package, Path(folder), logs)
            with suppress(OSError):  # another run was faster: its copy is as good
                (Path(folder) / "tree").rename(program.parents[2])
    if not program.exists():
        raise ToolchainError(f"the Debian package {package} has no /usr/bin/{command}: install it and put it on PATH")
    return program


def _unpack(package: str, folder: Path, logs: Path) -> None:
    """Download and extract ``package`` to ``folder``/tree; the package lists are fetched when there are none yet."""
    download = ["env", "-C", str(folder), "apt-get", "-q", "download", package]
    steps = (
        [["apt-get", "-q", "update"], download]
        if not any(Path("/var/lib/apt/lists").glob("*_Packages*"))
        else [download]
    )
    cure = "check the package sources (apt-get update) and run this again"
    try:
        for arguments in steps:
            run_logged(
                arguments,
                what=f"apt-get {package}",
                cure=cure,
                deadline=INSTALL_DEADLINE,
                log=say,
                log_file=logs / "apt.log",
            )
        archives = [str(archive) for archive in folder.glob("*.deb")]
        run_logged(
            ["dpkg-deb", "-x", *archives, str(folder / "tree")],
            what=f"unpacking {package}",
            cure=cure,
            deadline=INSTALL_DEADLINE,
            log=say,
            log_file=logs / "apt.log",
        )
    except CommandError as error:
        raise ToolchainError(f"{package} can't be fetched: {error}") from error
