"""`ensure`: Docker engine, Pulumi CLI and plugins; quick when they are there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from components import versions
from toolchain import debian, engine, golang, preflight, pulumi_parts, session
from toolchain.console import Part, ToolchainError
from toolchain.gobuild import FREE_GIB
from toolchain.golang import Go
from toolchain.lock import locked
from toolchain.places import Places
from toolchain.pulumi_parts import PLUGINS, Workshop

MODES = ("auto", "download", "build")
MODE_VARIABLE = "CDC_TOOLCHAIN"


def workshop(places: Places, environ: Mapping[str, str] = os.environ) -> Workshop:
    """What the parts are made with, from the environment.

    Raises:
        ToolchainError: unsupported machine, or CDC_TOOLCHAIN has an unknown value.
    """
    mode = environ.get(MODE_VARIABLE, "auto")
    if mode not in MODES:
        raise ToolchainError(f"{MODE_VARIABLE}={mode!r} is not one of {', '.join(MODES)}; correct or unset it")
    machine = preflight.machine()

    @cache
    def go() -> Go:
        return golang.ensure_go(places, machine)

    return Workshop(places=places, machine=machine, mode=mode, go=go, environ=environ)


def ensure(
    places: Places, environ: Mapping[str, str] = os.environ, *, room: bool = True, platform: str = "docker"
) -> list[Part]:
    """Have CLI and plugins, and the engine or the plugin that ``platform`` needs; returns the closing table's lines.

    Without ``room`` a nearly full disk is no reason to stop: for what makes nothing, or frees space.

    Raises:
        ToolchainError: something can't be had here; the message names it and the cure.
    """
    shop = workshop(places, environ)
    places.logs.mkdir(parents=True, exist_ok=True)
    session.ensure_state(places, environ)
    missing_parts = lacking(shop)
    on_docker = platform == "docker"
    _require_everything(shop, build=bool(missing_parts), docker=on_docker)
    parts = [engine.ensure_engine(places, environ, room=room)] if on_docker else []
    if missing_parts:
        cure = "free some, or set CDC_CACHE to a folder on a larger disk"
        preflight.need_free(places.cache, FREE_GIB, purpose="building Pulumi and its plugins", cure=cure)
        with locked(places.cache / "lock"):
            folder, made = _make(shop)
    else:
        folder, made = _make(shop)
    if not on_docker:
        pulumi_parts.ensure_official_plugin(shop, "kubernetes", versions.PLUGIN_KUBERNETES, folder)
    _write_record(places, folder, [*parts, *made])
    return [*parts, *made]


def _require_everything(shop: Workshop, *, build: bool, docker: bool) -> None:
    """Install what this run will need from the system; what can't be installed is named in one message."""
    needs = engine.needs(shop.environ) if docker else []
    if build and not golang.candidates(shop.places, shop.machine):
        official = pulumi_parts.official_cli(shop.machine).url
        if not shop.may_download(official, f"Pulumi CLI {pulumi_parts.CLI.version}"):
            needs.append(debian.GO)
    debian.require(needs, logs=shop.places.logs)


def lacking(shop: Workshop) -> list[str]:
    """Names of the parts that are not there yet."""
    plugins = [name for name in PLUGINS if not pulumi_parts.find_plugin(shop, name)]
    return ([] if pulumi_parts.find_cli(shop) else ["cli"]) + plugins


def _make(shop: Workshop) -> tuple[Path, list[Part]]:
    """Find or make each part; what another run made while this one waited for the lock is found."""
    started = time.monotonic()
    folder, source = pulumi_parts.find_cli(shop) or pulumi_parts.make_cli(shop)
    parts = [
        Part(
            name="Pulumi CLI",
            version=pulumi_parts.CLI.version,
            source=source,
            where=str(folder),
            seconds=time.monotonic() - started,
        )
    ]
    home = str(session.pulumi_home(shop.places, shop.environ))
    for name, plugin in PLUGINS.items():
        started = time.monotonic()
        source = pulumi_parts.find_plugin(shop, name) or pulumi_parts.make_plugin(shop, name, folder)
        seconds = time.monotonic() - started
        parts.append(Part(name=plugin.title, version=plugin.version, source=source, where=home, seconds=seconds))
    return folder, parts


def _write_record(places: Places, folder: Path, parts: list[Part]) -> None:
    text = json.dumps({"programs": str(folder), "parts": [vars(part) for part in parts]}, indent=2) + "\n"
    partial = places.record.with_name(f".{places.record.name}.{os.getpid()}")
    partial.write_text(text)
    partial.rename(places.record)


def pulumi_variables(places: Places, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables for running pulumi, as the last ``ensure`` settled them.

    Raises:
        ToolchainError: ``ensure`` hasn't run, or what it made is gone.
    """
    try:
        programs = Path(json.loads(places.record.read_text())["programs"])
    except (OSError, ValueError, KeyError):
        programs = Path("/nonexistent")
    if not (programs / "pulumi").exists():
        raise ToolchainError("the toolchain isn't ready; run: toolchain/bootstrap.sh ensure")
    return session.variables(places, programs, environ)


def ensure_image_tools(needed: Mapping[str, str], places: Places) -> None:
    """Install the commands (name -> Debian package) that building images calls.

    Raises:
        ToolchainError: they can't be installed here; one message lists them all.
    """
    known = {need.command: need for need in debian.IMAGE_TOOLS}
    other = {"why": "builds images", "elsewhere": "install it"}
    needs = [
        known.get(command) or debian.Need(command=command, packages=(package,), **other)
        for command, package in needed.items()
    ]
    debian.require(needs, logs=places.logs)
