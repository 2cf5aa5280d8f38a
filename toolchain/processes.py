"""Whether a process that somebody wrote down is still the one that runs."""

from __future__ import annotations

import os
from pathlib import Path


def runs(pid: int, name: str, proc: Path = Path("/proc")) -> bool:
    """Whether ``pid`` is a live process called ``name``: not a zombie, and not another that got the same number."""
    if not proc.is_dir():
        return _exists(pid)
    try:
        found, _, rest = (proc / str(pid) / "stat").read_text().partition("(")[2].rpartition(") ")
    except OSError:
        return False
    return found == name and rest[:1] not in ("Z", "X")


def _exists(pid: int) -> bool:
    """All that a system without /proc tells."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0
