"""Runs one long command: output to a log file, a line of progress now and then, a deadline, an error with the cure."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

PROGRESS_SECONDS: Final = 15
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


class CommandError(Exception):
    """A command failed, is missing, or took too long; the message says which and the cure."""


def run_logged(
    command: Sequence[str],
    *,
    what: str,
    cure: str,
    deadline: float,
    log: Callable[[str], None],
    log_file: Path,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run ``command`` to its end, at most ``deadline`` seconds.

    Raises:
        CommandError: not found, non-zero exit or past the deadline; with the last lines of its output.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log_file.open("ab") as output:
        output.write(f"\n$ {' '.join(command)}\n".encode())
        output.flush()
        offset = output.tell()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it only makes one system call
            )
        except FileNotFoundError as error:
            raise CommandError(f"{what}: the command {command[0]!r} is missing; install it and run again") from error
        done = threading.Event()
        ticker = threading.Thread(target=_report, args=(done, what, log_file, started, log), daemon=True)
        ticker.start()
        try:
            code = process.wait(timeout=deadline)
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"{what}: not done after {deadline:.0f} s; {cure} (output: {log_file})") from error
        finally:
            done.set()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    if code != 0:
        tail = "\n".join(_tail(log_file, offset, lines=15))
        raise CommandError(f"{what}: {command[0]} ended with code {code}; {cure} (output: {log_file})\n{tail}")


def end_with_parent() -> None:
    """In the child: be told to end when this program is killed, so that no build goes on unseen beside the next one."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _report(done: threading.Event, what: str, log_file: Path, started: float, log: Callable[[str], None]) -> None:
    while not done.wait(PROGRESS_SECONDS):
        last = _tail(log_file, 0, lines=1)
        log(f"{what}: {time.monotonic() - started:.0f} s: {last[0][:100] if last else ''}")


def _tail(log_file: Path, offset: int, *, lines: int) -> list[str]:
    with log_file.open("rb") as stream:
        stream.seek(max(offset, log_file.stat().st_size - 8192))
        text = stream.read().decode(errors="replace")
    return [line for line in text.replace("\r", "\n").splitlines() if line.strip()][-lines:]
