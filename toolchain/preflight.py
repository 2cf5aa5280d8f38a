"""Checks that come before any work, so that a machine that can't do it says so at once."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from toolchain.console import ToolchainError

GIB = 1 << 30
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Operating system and processor, in Go's names."""

    system: str
    architecture: str


def machine(system: str | None = None, processor: str | None = None) -> Machine:
    """This machine's system and processor.

    Raises:
        ToolchainError: one that neither the downloads nor the builds cover.
    """
    system = system or platform.system()
    processor = processor or platform.machine()
    if system not in SYSTEMS or processor.lower() not in ARCHITECTURES:
        raise ToolchainError(
            f"{system} on {processor} is not supported; use Linux or macOS on x86_64 or arm64 "
            "(or put pulumi, its docker and random plugins, and a Docker engine there yourself)"
        )
    return Machine(system=SYSTEMS[system], architecture=ARCHITECTURES[processor.lower()])


def need_free(folder: Path, gib: float, *, purpose: str, cure: str) -> None:
    """Check that the disk below ``folder`` has ``gib`` GiB free.

    Raises:
        ToolchainError: less is free; names folder, need, what is there and the cure.
    """
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free / GIB
    if free < gib:
        raise ToolchainError(
            f"disk nearly full: {purpose} needs {gib:g} GiB free at {folder}, {free:.1f} GiB are; {cure}"
        )


def is_root() -> bool:
    """Whether system packages can be installed and daemons started."""
    return os.geteuid() == 0
