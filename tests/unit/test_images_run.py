"""Long commands: deadline, errors, and the end of the program that started them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain.recipes_run import CommandError, run_logged


def test_a_command_past_its_deadline_is_ended_and_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"pulling x: not done after 0 s; try y"):
        run_logged(["sleep", "60"], what="pulling x", cure="try y", deadline=0.2, log=print, log_file=tmp_path / "log")


def test_a_failing_command_shows_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"(?s)making x: sh ended with code 3; try y.*it broke"):
        run_logged(
            ["sh", "-c", "echo it broke >&2; exit 3"],
            what="making x", cure="try y", deadline=10, log=print, log_file=tmp_path / "log",
        )  # fmt: skip


def test_a_missing_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="'no-such-tool-here' is missing"):
        run_logged(["no-such-tool-here"], what="x", cure="y", deadline=1, log=print, log_file=tmp_path / "log")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no signal for it")
def test_a_command_ends_when_this_program_is_killed(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from toolchain.recipes_run import run_logged\n"
        "run_logged(['sh', '-c', 'echo $$ > pid.new; mv pid.new pid; exec sleep 60'], what='', cure='', deadline=60,"
        " log=print, log_file=Path('log'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=environment)
    pid = tmp_path / "pid"
    wait_for(pid.is_file)
    child = Path("/proc") / pid.read_text().strip()
    parent.kill()
    parent.wait()
    wait_for(lambda: not child.exists() or "\nState:\tZ" in (child / "status").read_text())


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited 10 s in vain"
        time.sleep(0.05)
