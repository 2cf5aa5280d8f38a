"""Go, for the builds: one that is new enough is used, else an older one fetches the pinned toolchain module."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain import debian
from toolchain.console import ToolchainError, say, step
from toolchain.places import Places
from toolchain.preflight import Machine
from toolchain.recipes_run import CommandError, run_logged

NEEDED = (1, 26)
PINNED = "1.26.8"
PINNED_SUMS = {
    "linux-amd64": "h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM=",
    "linux-arm64": "h1:sYL/O6MqS68ML0kjsQ36WoYIpJqkw60TxizWUYUKQMc=",
}
"""Hashes (go.sum's h1) of the module golang.org/toolchain@v0.0.1-go<PINNED>.<system>-<architecture>."""
DOWNLOAD_DEADLINE = 600.0


@dataclass(frozen=True, kw_only=True)
class Go:
    """A Go that can build the parts."""

    command: Path
    version: str
    environ: Mapping[str, str]


def build_environ(places: Places, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment of every go command: caches of our own, nothing fetched behind our back, the same result anywhere."""
    return {
        **environ,
        "GOMODCACHE": str(places.cache / "go" / "mod"),
        "GOCACHE": str(places.cache / "go" / "build"),
        "GOFLAGS": "-modcacherw",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }


def version_of(command: Path) -> tuple[int, ...]:
    """Version of a go command, () if it can't be run."""
    try:
        environ = {**os.environ, "GOTOOLCHAIN": "local"}
        done = subprocess.run(
            [str(command), "version"], capture_output=True, text=True, timeout=20, check=False, env=environ
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", done.stdout)
    return tuple(int(number) for number in found.groups(default="0")) if found else ()


def candidates(places: Places, machine: Machine) -> list[Path]:
    """Go commands that may be here, best first: PATH, the usual folders, the toolchain that was fetched before."""
    found = shutil.which("go")
    places_of_go = [Path("/usr/local/go/bin/go"), Path("/usr/lib/go/bin/go"), fetched(places, machine) / "bin" / "go"]
    return ([Path(found)] if found else []) + [path for path in places_of_go if path.exists()]


def fetched(places: Places, machine: Machine) -> Path:
    """Where the pinned toolchain module lies once it was fetched."""
    module = f"toolchain@v0.0.1-go{PINNED}.{machine.system}-{machine.architecture}"
    return places.cache / "go" / "mod" / "golang.org" / module


def ensure_go(places: Places, machine: Machine) -> Go:
    """A Go of at least ``NEEDED``.

    Raises:
        ToolchainError: there is none and it can't be installed or fetched.
    """
    environ = build_environ(places)
    if (go := _new_enough(candidates(places, machine), environ)) is not None:
        return go
    debian.require([debian.GO], logs=places.logs)
    old = candidates(places, machine)
    if (go := _new_enough(old, environ)) is not None:
        return go
    _fetch(old[0], places, machine, environ)
    if (go := _new_enough([fetched(places, machine) / "bin" / "go"], environ)) is not None:
        return go
    raise ToolchainError(f"the fetched Go {PINNED} doesn't run; delete {fetched(places, machine)} and run this again")


def _new_enough(commands: list[Path], environ: Mapping[str, str]) -> Go | None:
    for command in commands:
        if (version := version_of(command))[:2] >= NEEDED:
            return Go(command=command, version=".".join(map(str, version)), environ=environ)
    return None


def _fetch(old: Path, places: Places, machine: Machine, environ: Mapping[str, str]) -> None:
    module = f"golang.org/toolchain@v0.0.1-go{PINNED}.{machine.system}-{machine.architecture}"
    output = places.logs / "go-toolchain.json"
    output.unlink(missing_ok=True)
    # Go 1.19 takes only a module's own directory or none: an empty one keeps a go.mod nearby out of it.
    empty = places.cache / "go" / "empty"
    empty.mkdir(parents=True, exist_ok=True)
    found = ".".join(map(str, version_of(old)))
    with step(f"fetching Go {PINNED} as a module (this machine's Go is {found})"):
        try:
            run_logged(
                ["/bin/sh", "-c", f'cd "$1" && exec "$2" mod download -json "{module}"', "sh", str(empty), str(old)],
                what=f"go mod download {module}",
                cure=f"put Go {NEEDED[0]}.{NEEDED[1]} or newer on PATH, or check GOPROXY, and run this again",
                deadline=DOWNLOAD_DEADLINE,
                log=say,
                log_file=output,
                env=environ,
            )
        except CommandError as error:
            raise ToolchainError(str(error)) from error
        _verify(output, module, machine)
        for folder in ("bin", "pkg/tool"):
            for path in (fetched(places, machine) / folder).rglob("*"):
                if path.is_file():
                    path.chmod(0o755)


def _verify(output: Path, module: str, machine: Machine) -> None:
    text = output.read_text()
    got = json.loads(text[text.index("{") : text.rindex("}") + 1])["Sum"]
    wanted = PINNED_SUMS.get(f"{machine.system}-{machine.architecture}", "")
    if wanted and got != wanted:
        raise ToolchainError(f"{module} has the checksum {got}, not {wanted}; don't use this module source")
