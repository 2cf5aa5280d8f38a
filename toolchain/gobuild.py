"""Builds from Go modules: pinned by go.mod and go.sum under toolchain/go, kept by content hash, whole or not there."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain.console import ToolchainError, say
from toolchain.golang import Go
from toolchain.places import Places
from toolchain.preflight import Machine
from toolchain.recipes_run import CommandError, run_logged

BUILD_DEADLINE = 3600.0
FETCH_DEADLINE = 900.0
PROBE_SECONDS = 30.0
PROBE_MODULE = "github.com/pkg/errors@v0.9.1"
"""A small module that every part needs anyway."""
READ_ONLY = ("-mod=readonly", "-trimpath", "-buildvcs=false")
FREE_GIB = 7.0
"""Free space that building everything needs: modules, compiled packages and the results."""


@dataclass(frozen=True, kw_only=True)
class GoPart:
    """One program built from a module of ours under toolchain/go."""

    name: str
    """Folder in the cache."""
    title: str
    version: str
    package: str
    program: str
    minutes: float
    """What it took on two cores with nothing cached; only told to the person who waits."""
    linker_flags: str = ""
    source: str = ""
    """Folder under toolchain/go, where that isn't called as the part: programs that share a module."""

    def module(self, places: Places) -> Path:
        """Folder of go.mod, go.sum and, for the plugins, main.go."""
        return places.root / "toolchain" / "go" / (self.source or self.name)


def content_hash(part: GoPart, places: Places, machine: Machine) -> str:
    """Hash of everything that decides what the build gives."""
    digest = hashlib.sha256(
        "\0".join([part.version, part.package, part.linker_flags, machine.system, machine.architecture]).encode()
    )
    for path in sorted(part.module(places).iterdir()):
        if path.name in {"go.mod", "go.sum"} or path.suffix == ".go":
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def folder(part: GoPart, places: Places, machine: Machine) -> Path:
    """Where the finished part lies; it exists only when it is whole."""
    return places.cache / part.name / content_hash(part, places, machine)


def build(part: GoPart, *, places: Places, machine: Machine, go: Callable[[], Go]) -> Path:
    """Build ``part`` unless its content is in the cache; returns its folder.

    A build that fails or is cut short leaves Go's own caches, so that the next run goes on from there.

    Raises:
        ToolchainError: the build fails; with the last lines of its output and where the rest is.
    """
    target = folder(part, places, machine)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(".*.partial"):
        shutil.rmtree(leftover)
    partial = target.parent / f".{target.name}.partial"
    partial.mkdir()
    found = go()
    started = time.monotonic()
    say(f"building {part.title} {part.version} from Go modules (about {part.minutes:g} min) ...")
    _compile(part, places, partial / part.program, found)
    partial.rename(target)
    say(f"building {part.title}: done in {time.monotonic() - started:.0f} s")
    return target


def _compile(part: GoPart, places: Places, output: Path, go: Go) -> None:
    fetch_modules(part, places, go)
    _go(
        ["build", "-v", *READ_ONLY, "-ldflags", f"-s -w {part.linker_flags}".strip(), "-o", str(output), part.package],
        part=part,
        places=places,
        go=go,
        cure="mend what it says (disk, memory) and run this again: it goes on from there",
        deadline=BUILD_DEADLINE,
        environ={"GOPROXY": "off"},
    )


def fetch_modules(part: GoPart, places: Places, go: Go) -> None:
    """Fetch the modules that the part is built from; nothing is asked of the network when all are there.

    Raises:
        ToolchainError: the module source hangs, refuses a module, or gives one that differs from go.sum.
    """
    listing = ["list", "-deps", "-f", "{{.ImportPath}}", *READ_ONLY, part.package]
    command = [str(go.command), "-C", str(part.module(places)), *listing]
    environ = {**go.environ, "GOPROXY": "off"}
    if subprocess.run(command, capture_output=True, timeout=FETCH_DEADLINE, check=False, env=environ).returncode == 0:
        return
    probe_source(go, part.module(places))
    say(f"fetching the modules of {part.title} ...")
    listing.insert(1, "-x")
    cure = "check the network and GOPROXY and run this again: it goes on from there"
    _go(listing, part=part, places=places, go=go, cure=cure, deadline=FETCH_DEADLINE)


def probe_source(go: Go, module: Path, seconds: float = PROBE_SECONDS) -> None:
    """Check with one small module that the module source answers: the go command itself waits for ever.

    Raises:
        ToolchainError: it hangs or refuses.
    """
    source = go.environ.get("GOPROXY") or "Go's default"
    cure = "check the network, or set GOPROXY to a source that answers, and run this again"
    with tempfile.TemporaryDirectory() as empty:
        environ = {**go.environ, "GOMODCACHE": empty}
        command = [str(go.command), "-C", str(module), "mod", "download", PROBE_MODULE]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, env=environ)
        except subprocess.TimeoutExpired as error:
            raise ToolchainError(
                f"the Go module source (GOPROXY: {source}) doesn't answer within {seconds:g} s; {cure}"
            ) from error
    if done.returncode != 0:
        raise ToolchainError(f"the Go module source (GOPROXY: {source}) refuses: {done.stderr.strip()}; {cure}")


def _go(
    arguments: list[str],
    *,
    part: GoPart,
    places: Places,
    go: Go,
    cure: str,
    deadline: float,
    environ: Mapping[str, str] | None = None,
) -> None:
    try:
        run_logged(
            [str(go.command), "-C", str(part.module(places)), *arguments],
            what=f"{part.title} {part.version}: go {arguments[0]}",
            cure=cure,
            deadline=deadline,
            log=say,
            log_file=places.logs / f"build-{part.name}.log",
            env={**go.environ, **(environ or {})},
        )
    except CommandError as error:
        raise ToolchainError(str(error)) from error


def module_folder(module: Path, path: str, go: Go) -> Path:
    """Folder of the sources of the module ``path``, as pinned by the go.mod in ``module`` and fetched before.

    Raises:
        ToolchainError: it isn't there.
    """
    done = subprocess.run(
        [str(go.command), "-C", str(module), "list", "-m", "-f", "{{.Dir}}", path],
        capture_output=True,
        text=True,
        check=False,
        env={**go.environ, "GOPROXY": "off"},
        timeout=FETCH_DEADLINE,
    )
    if done.returncode != 0 or not done.stdout.strip():
        raise ToolchainError(
            f"the sources of {path} are not in the module cache: {done.stderr.strip()}; run this again"
        )
    return Path(done.stdout.strip())


def copy_program(source: Path, target: Path) -> None:
    """Copy a script out of the read-only module cache and make it executable."""
    shutil.copyfile(source, target)
    target.chmod(0o755)
    os.utime(target)
