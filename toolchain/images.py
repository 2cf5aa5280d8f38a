"""Has the image of every part in the engine, pulled or built; the answer is ``.local/images.json``."""

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components.versions import UPSTREAM_IMAGES
from toolchain import images_plan, images_registry, recipes, recipes_build
from toolchain.images_plan import ABSENT, BUILT, PULLED, Candidate
from toolchain.recipes import DEFAULT_VERSIONS, Recipe, RecipeError
from toolchain.recipes_build import Builder
from toolchain.recipes_fetch import cache_root
from toolchain.recipes_run import CommandError

Log = Callable[[str], None]
Entry = dict[str, Any]

REPOSITORY: Final = Path(__file__).resolve().parents[1]
MODES: Final = ("auto", "pull", "build")


class ImageError(Exception):
    """An image is not to be had; the message names the image and the cure."""


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where recipes are read and results are written."""

    images: Path = REPOSITORY / "images"
    local: Path = REPOSITORY / ".local"


def ensure_images(
    mode: str,
    versions: Mapping[str, str],
    log: Log,
    *,
    parts: Iterable[str] | None = None,
    folders: Folders | None = None,
    probe_seconds: float = images_registry.PROBE_SECONDS,
) -> dict[str, Entry]:
    """Have the image of every part in the engine, and write ``.local/images.json``.

    Args:
        mode: ``auto`` (pull where a registry answers, else build; a part stays what it is), ``pull`` or ``build``.
        versions: by name (``postgres``, ``kafka``, ``debezium``, ...); missing ones are the pinned ones.
        parts: default: every part that can be pulled or built.

    Returns:
        part -> ``reference``, ``source`` (``pulled`` or ``built``), ``version``, ``requested`` (the settings' version,
        which a built ClickHouse does not share), ``size`` in bytes. A part that can be
        neither pulled nor built is left out with a warning, and recorded as ``absent`` in the file alone.

    Raises:
        ImageError: unknown mode or part, a failed pull or build, a missing tool; with the cure.
    """
    if mode not in MODES:
        raise ImageError(f"images: {mode!r} is not one of {', '.join(MODES)}; correct the stack's setting `images`")
    folders = folders or Folders()
    known = sorted({*UPSTREAM_IMAGES, *images_plan.buildable(folders.images)})
    wanted = known if parts is None else list(dict.fromkeys(parts))
    if unknown := [part for part in wanted if part not in known]:
        raise ImageError(f"unknown image part {', '.join(unknown)}; known parts: {', '.join(known)}")
    values = _values(mode, versions)
    builder = Builder(images=folders.images, logs=folders.local / "logs", versions=values, log=log)
    started = time.monotonic()
    try:
        with _only_run(log):
            result = _resolve(mode, wanted, builder, folders, probe_seconds)
            kept = {} if parts is None else read_result(folders)
            left_out = {part: {"source": ABSENT} for part in wanted if part not in result}
            record = {**kept, **result, **left_out}
            write_atomic(folders.local / "images.json", json.dumps(record, indent=2) + "\n")
    except (RecipeError, CommandError) as error:
        raise ImageError(str(error)) from error
    summary = ", ".join(f"{part} {entry['version']} {entry['source']}" for part, entry in result.items())
    log(f"images ready in {time.monotonic() - started:.1f} s: {summary}")
    return result


def host_requirements(
    mode: str = "auto", versions: Mapping[str, str] | None = None, *, folders: Folders | None = None
) -> dict[str, str]:
    """Commands that building may call and that are missing here: command -> Debian package.

    Empty when no image has to be built. In mode ``auto`` it does not ask registries: it names what a build would need.
    """
    folders = folders or Folders()
    values = _values(mode, versions or {})
    before = read_result(folders) if mode == "auto" else {}
    parts = [
        part
        for part in images_plan.buildable(folders.images)
        if before.get(part, {}).get("source") != PULLED and not (mode == "pull" and part in UPSTREAM_IMAGES)
    ]
    try:
        return _missing_commands(folders.images, parts, values)
    except (RecipeError, CommandError) as error:
        raise ImageError(str(error)) from error


def _values(mode: str, versions: Mapping[str, str]) -> dict[str, str]:
    """What recipes are filled in with. Where all is pulled, what we must build stands on a pulled image too."""
    return {**DEFAULT_VERSIONS, **versions, **({recipes.BASES: PULLED} if mode == "pull" else {})}


def _missing_commands(images: Path, parts: Iterable[str], versions: Mapping[str, str]) -> dict[str, str]:
    recipe_of: dict[str, Recipe] = {}
    final: list[list[str]] = []
    for part in parts:
        chain = recipes.chain(images, part, versions)
        final.append([recipes.tag(images, recipe, versions) for recipe in chain])
        recipe_of |= dict(zip(final[-1], chain, strict=True))
    present = recipes_build.image_sizes(recipe_of) if shutil.which("docker") else {}
    # A base matters only for a part that is not there itself.
    absent = {tag for tags in final if tags[-1] not in present for tag in tags if tag not in present}
    needed = recipes_build.needed_commands([recipe_of[tag] for tag in sorted(absent)])
    return {command: package for command, package in needed.items() if shutil.which(command) is None}


def _resolve(mode: str, wanted: list[str], builder: Builder, folders: Folders, seconds: float) -> dict[str, Entry]:
    candidates = [images_plan.candidate(folders.images, part, builder.versions) for part in wanted]
    present = recipes_build.image_sizes(name for one in candidates for name in (one.tag, one.upstream) if name)
    if mode == "auto":
        before = read_result(folders)
        plan = images_plan.automatic(candidates, before=before, present=present, seconds=seconds, log=builder.log)
    else:
        plan = {one.part: images_plan.forced(mode, one) for one in candidates}
    result: dict[str, Entry] = {}
    for one in candidates:
        if plan[one.part] == ABSENT:
            why = f"no registry answers for {one.upstream}" if mode == "auto" else f"images: {mode}"
            builder.log(f"WARNING: {one.part} is left out: {why}, and there is no recipe images/{one.part}")
        elif plan[one.part] == PULLED and _pulled(one, builder, present, may_build=mode == "auto"):
            result[one.part] = {"reference": one.upstream, "source": PULLED, "version": one.upstream_version}
        else:
            if one.tag not in present:
                _build(one.part, builder)
            result[one.part] = {"reference": one.tag, "source": BUILT, "version": one.built_version}
    sizes = recipes_build.image_sizes(entry["reference"] for entry in result.values())
    requested = {one.part: one.upstream_version for one in candidates}
    return {
        part: {**entry, "requested": requested[part], "size": sizes.get(entry["reference"], 0)}
        for part, entry in result.items()
    }


def _pulled(one: Candidate, builder: Builder, present: Mapping[str, int], *, may_build: bool) -> bool:
    """Pull the upstream image; False when that failed and the part is to be built instead."""
    if one.upstream is None or one.upstream in present:
        return one.upstream is not None
    try:
        images_registry.pull(one.upstream, part=one.part, log=builder.log, log_file=builder.log_file(one.part))
    except CommandError as error:
        if not may_build or one.tag is None:
            raise
        builder.log(f"{str(error).splitlines()[0]}; building it instead")
        return False
    return True


def _build(part: str, builder: Builder) -> None:
    if missing := _missing_commands(builder.images, [part], builder.versions):
        raise ImageError(
            f"building image {part} needs {', '.join(missing)}, missing here; "
            f"run: apt-get install --no-install-recommends {' '.join(sorted(set(missing.values())))}"
        )
    recipes_build.build_part(builder, part)


def read_result(folders: Folders) -> dict[str, Entry]:
    """What ``images.json`` says; empty when it is missing or unreadable (it is then simply made again)."""
    try:
        found = json.loads((folders.local / "images.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return {part: entry for part, entry in found.items() if isinstance(entry, dict)} if isinstance(found, dict) else {}


def write_atomic(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new text, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _only_run(log: Log) -> Iterator[None]:
    """One run at a time, over all clones: they share the cache and the engine's tags."""
    cache = cache_root()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "images.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log("another run is making images; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        # Nobody else builds now: what an interrupted run left behind can go.
        recipes_build.remove_work(cache / "work")
        yield
