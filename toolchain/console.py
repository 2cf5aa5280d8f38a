"""What a person sees: one line when a step starts, one when it is done, a table at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


class ToolchainError(Exception):
    """Something is missing or broken; the message names the thing and the cure."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One line of the closing table."""

    name: str
    version: str
    source: str
    """``present``, ``started``, ``downloaded``, ``built`` or ``pulled``."""
    where: str
    seconds: float = 0.0


def say(text: str) -> None:
    """Print one line of progress; standard error, so that the output of ``env`` stays clean."""
    sys.stderr.write(f"[toolchain] {text}\n")
    sys.stderr.flush()


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say that ``what`` starts, and how many seconds it took once it is done."""
    started = time.monotonic()
    say(f"{what} ...")
    yield
    say(f"{what}: done in {time.monotonic() - started:.0f} s")


def table(parts: Sequence[Part]) -> str:
    """The closing table, one aligned line for each part."""
    header = ("PART", "VERSION", "SOURCE", "SECONDS", "WHERE")
    rows = [(part.name, part.version, part.source, f"{part.seconds:.0f}", part.where) for part in parts]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    )
