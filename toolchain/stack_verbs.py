"""The verbs that work a stack: what the Makefile calls, each with all it needs brought first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from components.settings import Settings
from toolchain.console import ToolchainError, say
from toolchain.crds import ensure_crds
from toolchain.ensure import ensure, pulumi_variables
from toolchain.kubernetes import ensure_control_plane
from toolchain.places import Places
from toolchain.stack import Stack
from toolchain.summary import print_summary

Verb = Callable[[Places], None]


def stack_verbs(images: Verb) -> dict[str, Verb]:
    """The verbs by name; ``images`` is the verb that brings every part's image."""

    def up(places: Places) -> None:
        """Bring the stack up; ends with what runs and the first rows."""
        started = time.monotonic()
        settings = _early(places)
        ensure(places, platform=settings.platform)
        stack = _stack(places)
        if settings.platform == "docker":
            stack.check_ports()
            images(places)
        stack.up()
        shown = print_summary(stack.outputs())
        say(f"`up` of stack {stack.name} took {time.monotonic() - started:.0f} s")
        if not shown:
            raise ToolchainError("not all of it works: see the health of each part and the first query above")

    def down(places: Places) -> None:
        """Remove all that up made; KEEP_DATA=1 keeps volumes and passwords."""
        ensure(places, room=False, platform=_early(places).platform)
        _stack(places).down(keep_data=os.environ.get("KEEP_DATA", "") not in ("", "0"))

    def preview(places: Places) -> None:
        """Show what up would change."""
        ensure(places, room=False, platform=_early(places).platform)
        _stack(places).preview()

    def status(places: Places) -> None:
        """What runs, where, and the first query."""
        if not print_summary(_stack(places).outputs()):
            raise ToolchainError(f"stack {_stack_name()} does not deliver; `make up` mends what is down")

    def demo(places: Places) -> None:
        """A living shop, with what arrives of it each second; DEMO_RATE and DEMO_SECONDS bound it."""
        _demo(places, up)

    def top(places: Places) -> None:
        """A live view of the hops, until Ctrl-C."""
        _until_interrupted(places, "top")

    def bench(places: Places) -> None:
        """Measure a stack of its own, which is new and gone afterwards; BENCH_SCALE=0.01 for a trial."""
        _bench(places, up, down)

    def test(places: Places) -> None:
        """Every check that this machine can run."""
        ensure(places)
        images(places)
        ensure_control_plane(places)
        ensure_crds(places)
        _run(places, [sys.executable, "-m", "pytest", "--durations=15"])

    return {
        "up": up,
        "down": down,
        "preview": preview,
        "status": status,
        "demo": demo,
        "bench": bench,
        "top": top,
        "test": test,
    } | {verb: _pipeline_verb(verb) for verb in ("smoke", "latency", "health", "doctor")}


def _demo(places: Places, up: Verb) -> None:
    _early(places)
    ensure(places, room=False)
    if not _stack(places).running():
        up(places)
    limits = [("--rate", os.environ.get("DEMO_RATE")), ("--seconds", os.environ.get("DEMO_SECONDS"))]
    _until_interrupted(places, "demo", *(word for name, value in limits if value for word in (name, value)))


def _bench(places: Places, up: Verb, down: Verb) -> None:
    os.environ["STACK"] = "bench"
    scale = os.environ.get("BENCH_SCALE") or "1"
    # A trial's figures are printed only: the page keeps those of the full size.
    page = ["--write", "docs/performance.md"] if float(scale) >= 1 else []
    down(places)
    try:
        up(places)
        _pipeline(places, "bench", "--scale", scale, *page)
    finally:
        down(places)


def _pipeline_verb(verb: str) -> Verb:
    def run(places: Places) -> None:
        _pipeline(places, verb)

    run.__doc__ = f"`python -m cdc {verb}` on the running stack."
    return run


def _until_interrupted(places: Places, *arguments: str) -> None:
    """`python -m cdc` on the running stack; Ctrl-C is for it alone, so that it ends as it wants to."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        _pipeline(places, *arguments)
    finally:
        signal.signal(signal.SIGINT, before)


def _pipeline(places: Places, *arguments: str) -> None:
    """`python -m cdc` on the running stack."""
    outputs = ["pulumi", "stack", "output", "--json", "--show-secrets", "--stack", _stack_name()]
    environment = _environment(places)
    answer = subprocess.run(outputs, cwd=places.root, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise ToolchainError(f"stack {_stack_name()} can't be asked: {answer.stderr.strip()}; is it up? `make up`")
    _run(places, [sys.executable, "-m", "cdc", "--outputs", "-", *arguments], stdin=answer.stdout)


def _early(places: Places) -> Settings:
    """The stack's settings; what can't be deployed is refused before anything is installed, built or pulled."""
    return Stack(name=_stack_name(), root=places.root, environment={}, log=say).settings()


def _stack(places: Places) -> Stack:
    return Stack(name=_stack_name(), root=places.root, environment=_environment(places), log=say)


def _stack_name() -> str:
    return os.environ.get("STACK") or "dev"


def _environment(places: Places) -> dict[str, str]:
    return {**os.environ, **pulumi_variables(places)}


def _run(places: Places, command: list[str], *, stdin: str | None = None) -> None:
    """Run a part of ours in the foreground; its exit status is ours."""
    done = subprocess.run(command, cwd=places.root, env=_environment(places), input=stdin, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
